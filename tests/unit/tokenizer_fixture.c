#include "tokenizer_fixture.h"

#include "text/byte_level.h"

static json_t *parse(const char *text)
{
    json_error_t error;
    json_t *json = json_loads(text, JSON_DECODE_ANY, &error);
    if (!json)
        fail_msg("%s: %s", text, error.text);
    return json;
}

json_t *fixture_new(void)
{
    json_t *vocab = json_object();
    for (unsigned i = 0; i < 256; i++) {
        char text[3] = {0};
        vkm_byte_level_put(text, (unsigned char)i);
        json_object_set_new(vocab, text, json_integer(i));
    }
    return json_pack("{s:[], s:{s:s, s:[{s:s, s:b, s:b}]}, s:{s:s}, s:{s:s, s:o, s:[]}}",
                     "added_tokens", "pre_tokenizer", "type", "Sequence", "pretokenizers", "type",
                     "ByteLevel", "add_prefix_space", 0, "use_regex", 0, "decoder", "type",
                     "ByteLevel", "model", "type", "BPE", "vocab", vocab, "merges");
}

void fixture_merge(json_t *root, const char *a, const char *b)
{
    char text[256];
    json_t *model = json_object_get(root, "model");
    json_t *vocab = json_object_get(model, "vocab");
    snprintf(text, sizeof(text), "%s%s", a, b);
    json_object_set_new(vocab, text, json_integer((json_int_t)json_object_size(vocab)));
    snprintf(text, sizeof(text), "%s %s", a, b);
    json_array_append_new(json_object_get(model, "merges"), json_string(text));
}

void fixture_add(json_t *root, int id, const char *content, const char *flags)
{
    json_t *token = parse(flags);
    json_object_set_new(token, "id", json_integer(id));
    json_object_set_new(token, "content", json_string(content));
    json_array_append_new(json_object_get(root, "added_tokens"), token);
}

void fixture_steps(json_t *root, const char *steps)
{
    char text[2048];
    json_t *list = json_object_get(json_object_get(root, "pre_tokenizer"), "pretokenizers");
    snprintf(text, sizeof(text), "[%s]", steps);
    json_t *added = parse(text);
    for (size_t i = 0; i < json_array_size(added); i++)
        json_array_insert(list, i, json_array_get(added, i));
    json_decref(added);
}

void fixture_set(json_t *root, const char *key, const char *value)
{
    json_object_set_new(root, key, parse(value));
}

void fixture_set_model(json_t *root, const char *key, const char *value)
{
    fixture_set(json_object_get(root, "model"), key, value);
}

static void write(json_t *root, const char *config)
{
    char *text = json_dumps(root, 0);
    assert_non_null(text);
    test_folder_write_text("tokenizer.json", text);
    free(text);
    json_decref(root);
    remove(test_folder_path("tokenizer_config.json"));
    if (config)
        test_folder_write_text("tokenizer_config.json", config);
}

vkmoe_tokenizer *fixture_load(json_t *root, const char *config)
{
    vkmoe_error err = {0};
    vkmoe_tokenizer *t = NULL;
    write(root, config);
    if (vkmoe_tokenizer_load(test_folder_path(""), NULL, &t, &err) != VKMOE_OK)
        fail_msg("%s", err.message);
    return t;
}

vkmoe_status fixture_try(json_t *root, const char *config, vkmoe_error *err)
{
    vkmoe_tokenizer *t = NULL;
    write(root, config);
    vkmoe_status status = vkmoe_tokenizer_load(test_folder_path(""), NULL, &t, err);
    assert_true((status == VKMOE_OK) == (t != NULL));
    vkmoe_tokenizer_destroy(t);
    return status;
}

void expect_ids(const vkmoe_tokenizer *t, const char *text, const char *wanted)
{
    char found[1024] = "";
    vkmoe_error err = {0};
    int32_t *ids = NULL;
    size_t count, used = 0;
    if (vkmoe_tokenizer_encode(t, text, strlen(text), false, &ids, &count, &err) != VKMOE_OK)
        fail_msg("\"%s\": %s", text, err.message);
    for (size_t i = 0; i < count && used < sizeof(found); i++)
        used += (size_t)snprintf(found + used, sizeof(found) - used, i ? " %d" : "%d", ids[i]);
    vkmoe_tokenizer_free(t, ids);
    assert_string_equal(found, wanted);
}

void expect_round_trip(const vkmoe_tokenizer *t, const char *text, size_t size)
{
    vkmoe_error err = {0};
    int32_t *ids = NULL;
    char *bytes = NULL;
    size_t count = 0, found = 0;
    if (vkmoe_tokenizer_encode(t, text, size, false, &ids, &count, &err) != VKMOE_OK ||
        vkmoe_tokenizer_decode(t, ids, count, true, &bytes, &found, &err) != VKMOE_OK)
        fail_msg("%s", err.message);
    assert_int_equal(found, size);
    assert_memory_equal(bytes, text, size);
    assert_int_equal(bytes[size], 0);
    vkmoe_tokenizer_free(t, ids);
    vkmoe_tokenizer_free(t, bytes);
}
