#include "broken_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "process.h"

/* A copy: what breaks it must not break the shipped one. */
static void copy_tokenizer(const char *name)
{
    char from[4096];
    snprintf(from, sizeof(from), "%s/%s", VKMOE_TEST_MODEL, name);
    json_t *root = json_load_file(from, 0, NULL);
    assert_non_null(root);
    broken_model_write_json(name, root);
}

void broken_model_write(const struct test_shape *shape)
{
    struct test_shape s = *shape;
    s.vocab = s.vocab ? s.vocab : 1536;
    s = test_shape_complete(&s);
    checkpoint_write(&s, test_folder());
    copy_tokenizer("tokenizer.json");
    copy_tokenizer("tokenizer_config.json");
}

const struct test_shape broken_model_shape = {.shared = 1, .first_dense = 1};

int broken_model_setup(void **state)
{
    test_folder_setup(state);
    broken_model_write(&broken_model_shape);
    return 0;
}

json_t *broken_model_json(const char *name)
{
    json_t *root = json_load_file(test_folder_path(name), 0, NULL);
    assert_non_null(root);
    return root;
}

void broken_model_write_json(const char *name, json_t *root)
{
    char *text = json_dumps(root, 0);
    assert_non_null(text);
    test_folder_write_text(name, text);
    free(text);
    json_decref(root);
}

void broken_model_configure(const char *key, const char *value)
{
    json_t *config = broken_model_json("config.json");
    if (value)
        assert_int_equal(json_object_set_new(config, key, json_loads(value, JSON_DECODE_ANY, NULL)),
                         0);
    else
        json_object_del(config, key);
    broken_model_write_json("config.json", config);
}

/* The whole file, to be freed; *header is the size of its header. */
static char *read_checkpoint(const char *name, size_t *size, size_t *header)
{
    char *bytes = test_file_read(test_folder_path(name), size);
    *header = 0;
    for (int i = 0; i < 8; i++)
        *header |= (size_t)(unsigned char)bytes[i] << (8 * i);
    return bytes;
}

json_t *broken_model_header(const char *name)
{
    size_t size, header;
    char *bytes = read_checkpoint(name, &size, &header);
    json_t *root = json_loadb(bytes + 8, header, 0, NULL);
    assert_non_null(root);
    free(bytes);
    return root;
}

void broken_model_write_header(const char *name, json_t *root)
{
    size_t size, header;
    char *bytes = read_checkpoint(name, &size, &header);
    char *text = json_dumps(root, JSON_COMPACT);
    size_t length = (strlen(text) + 7) / 8 * 8, data = size - 8 - header;
    char *file = malloc(8 + length + data);
    assert_non_null(file);
    for (int i = 0; i < 8; i++)
        file[i] = (char)(length >> (8 * i));
    memset(file + 8, ' ', length);
    memcpy(file + 8, text, strlen(text));
    memcpy(file + 8 + length, bytes + 8 + header, data);
    test_folder_write(name, file, 8 + length + data);
    free(file);
    free(text);
    free(bytes);
    json_decref(root);
}

void broken_model_poke(const char *tensor, size_t index, const void *bytes, size_t size)
{
    size_t file_size, header_size;
    char *file = read_checkpoint("model.safetensors", &file_size, &header_size);
    json_t *header = json_loadb(file + 8, header_size, 0, NULL);
    const json_t *entry = json_object_get(header, tensor);
    assert_non_null(entry);
    size_t begin =
        (size_t)json_integer_value(json_array_get(json_object_get(entry, "data_offsets"), 0));
    memcpy(file + 8 + header_size + begin + index * size, bytes, size);
    test_folder_write("model.safetensors", file, file_size);
    json_decref(header);
    free(file);
}

void broken_model_expect(const char *folder, const char *part, const char *part2)
{
    struct test_process p = {0};
    test_vkmoe(&p, "run", "-m", folder, "-p", "a", "-n", "2");
    test_process_assert_sentence(&p, 1, part);
    if (part2)
        test_process_assert_sentence(&p, 1, part2);
    test_process_free(&p);
}
