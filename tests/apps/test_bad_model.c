/* Bad checkpoints and tokenizers as users meet them: each ends with exit code 1, nothing on stdout
 * and one sentence on stderr that names file and tensor. */
#include "broken_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/safetensors.h"
#include "process.h"

#define PROJECTION "model.layers.1.mlp.experts.3.up_proj.weight"

/* --- safetensors --- */

/* Changes the entry of PROJECTION in the checkpoint's header, expects a refusal that names file,
 * tensor and `part`, and mends it again. */
static void expect_entry_refused(const char *key, json_t *value, const char *part)
{
    static const char name[] = "model.safetensors";
    json_t *header = broken_model_header(name);
    json_t *good = json_deep_copy(header);
    json_object_set_new(json_object_get(header, PROJECTION), key, value);
    broken_model_write_header(name, header);
    broken_model_expect(test_folder(), part, PROJECTION);
    broken_model_expect(test_folder(), part, test_folder_path(name));
    broken_model_write_header(name, good);
}

static void a_tensor_that_is_not_what_it_should_be_is_named(void **state)
{
    (void)state;
    expect_entry_refused("dtype", json_string("F99"), "is F99, expected BF16, F16 or F32");
    expect_entry_refused("dtype", json_string("I16"), "is I16, expected BF16, F16 or F32");
    expect_entry_refused("dtype", json_string("F64"), "expected 2560 elements of F64");
    expect_entry_refused("dtype", json_integer(16), "no dtype string");
    expect_entry_refused("dtype", json_string("B\nF"), "is B?F");
    expect_entry_refused("shape", json_pack("[i, i]", 64, 40), "shape [64, 40], expected [40, 64]");
    expect_entry_refused("shape", json_pack("[i]", 2560), "shape [2560], expected [40, 64]");
    expect_entry_refused("shape", json_pack("[i, i]", -40, -64), "entry 0");
    expect_entry_refused("shape", json_pack("[f, f]", 40.0, 64.0), "entry 0");
    expect_entry_refused("shape", json_pack("[I, I]", INT64_MAX, INT64_MAX), "64 bits");
    expect_entry_refused("data_offsets", json_pack("[i, i]", -2, 5118), "bytes -2 to 5118");
    expect_entry_refused("data_offsets", json_pack("[I, I]", INT64_MAX - 1, INT64_MAX),
                         "expected an ascending range within");
    expect_entry_refused("data_offsets", json_pack("[i, i]", 5120, 0), "bytes 5120 to 0");
}

static void overlapping_tensors_are_refused_by_name(void **state)
{
    json_t *header = broken_model_header("model.safetensors");
    json_t *entry = json_object_get(header, PROJECTION);
    json_int_t begin =
        json_integer_value(json_array_get(json_object_get(entry, "data_offsets"), 0));
    (void)state;
    json_object_set_new(entry, "data_offsets", json_pack("[I, I]", begin - 2, begin + 5118));
    broken_model_write_header("model.safetensors", header);
    broken_model_expect(test_folder(), PROJECTION, "where the tensor before it ends");
}

static void a_header_of_absurd_length_is_refused(void **state)
{
    static const unsigned char lengths[][8] = {
        {0},
        {16},
        {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
        {0xf0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        test_folder_write("model.safetensors", lengths[i], 8);
        broken_model_expect(test_folder(), test_folder_path("model.safetensors"), "header");
    }
}

static void a_checkpoint_cut_at_any_byte_is_refused_by_the_reader(void **state)
{
    const struct test_shape tiny =
        test_shape_complete(&(struct test_shape){.vocab = 3,
                                                 .hidden = 6,
                                                 .heads = 3,
                                                 .dense_width = 5,
                                                 .expert_width = 1,
                                                 .experts = 2,
                                                 .top_k = 1,
                                                 .storage = STORE_MIXED});
    const char *path = test_folder_path("model.safetensors");
    struct vkm_checkpoint *c = NULL;
    vkmoe_error err;
    struct stat st;
    (void)state;
    checkpoint_write(&tiny, test_folder());
    assert_ok(vkm_checkpoint_open(NULL, test_folder(), &c, &err), &err);
    vkm_checkpoint_close(c);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size > 1000);
    for (off_t size = st.st_size - 1; size >= 0; size--) {
        assert_int_equal(truncate(path, size), 0);
        test_assert_fails(vkm_checkpoint_open(NULL, test_folder(), &c, &err), &err,
                          VKMOE_BAD_FORMAT, path);
    }
}

static void missing_and_extra_tensors_are_named(void **state)
{
    static const char name[] = "model.safetensors";
    json_t *header = broken_model_header(name);
    json_t *good = json_deep_copy(header);
    (void)state;
    json_object_set(header, "model.layers.1.mlp.experts.8.up_proj.weight",
                    json_object_get(header, PROJECTION));
    json_object_del(header, PROJECTION);
    broken_model_write_header(name, header);
    broken_model_expect(test_folder(), PROJECTION, "has no tensor");
    broken_model_write_header(name, json_deep_copy(good));
    broken_model_configure("num_hidden_layers", "1");
    broken_model_expect(test_folder(), "model.layers.1.", "has no place in the model");
    json_decref(good);
}

static void a_tensor_listed_twice_is_named(void **state)
{
    (void)state;
    static const char entry[] = "\"a\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[%d,%d]}";
    char bytes[256] = "";
    size_t size = 8;
    bytes[size++] = '{';
    size += (size_t)snprintf(bytes + size, 100, entry, 0, 2);
    bytes[size++] = ',';
    size += (size_t)snprintf(bytes + size, 100, entry, 2, 4);
    bytes[size++] = '}';
    bytes[0] = (char)(size - 8);
    test_folder_write("model.safetensors", bytes, size + 4);
    broken_model_expect(test_folder(), "duplicate object key", "\"a\"");
}

static void tensors_that_other_programs_leave_are_no_error(void **state)
{
    const struct test_shape tied = {.tied = true};
    struct test_process p = {0};
    (void)state;
    broken_model_write(&tied);
    json_t *header = broken_model_header("model.safetensors");
    json_object_set_new(
        header, "model.layers.0.self_attn.rotary_emb.inv_freq",
        json_pack("{s:s, s:[i], s:[i, i]}", "dtype", "F32", "shape", 0, "data_offsets", 0, 0));
    json_object_set_new(
        header, "lm_head.weight",
        json_pack("{s:s, s:[i], s:[i, i]}", "dtype", "BF16", "shape", 0, "data_offsets", 0, 0));
    broken_model_write_header("model.safetensors", header);
    test_vkmoe(&p, "run", "-m", test_folder(), "-p", "a", "-n", "1");
    test_process_assert_code(&p, 0);
    test_process_free(&p);
}

static void shards_that_are_not_as_their_index_says_are_named(void **state)
{
    static const char index[] = "model.safetensors.index.json";
    static const char second[] = "model-00002-of-00002.safetensors";
    struct test_shape shards = broken_model_shape;
    (void)state;
    unlink(test_folder_path("model.safetensors"));
    shards.shards = 2;
    broken_model_write(&shards);
    json_t *good = broken_model_json(index), *wrong = json_deep_copy(good);
    assert_int_equal(rename(test_folder_path(second), test_folder_path("away")), 0);
    broken_model_expect(test_folder(), second, index);
    assert_int_equal(rename(test_folder_path("away"), test_folder_path(second)), 0);
    json_object_set_new(json_object_get(wrong, "weight_map"), "nothing", json_string(second));
    broken_model_write_json(index, wrong);
    broken_model_expect(test_folder(), "\"nothing\"", second);
    wrong = json_deep_copy(good);
    json_object_set_new(json_object_get(wrong, "weight_map"), PROJECTION,
                        json_string("../../etc/passwd"));
    broken_model_write_json(index, wrong);
    broken_model_expect(test_folder(), PROJECTION, "the plain name of a file in the same folder");
    broken_model_write_json(index, good);
    assert_int_equal(truncate(test_folder_path(second), 1000), 0);
    broken_model_expect(test_folder(), test_folder_path(second), NULL);
}

/* --- weights --- */

struct cutter {
    char path[4096];
    off_t size;
};

static bool cut(void *user, uint64_t done, uint64_t total)
{
    const struct cutter *c = user;
    (void)done, (void)total;
    assert_int_equal(truncate(c->path, c->size), 0);
    return true;
}

static void a_file_that_shrinks_while_it_is_read_is_a_failure_that_names_it(void **state)
{
    static const off_t sizes[] = {0, 1, 4096, 100000, 200000};
    vkmoe_device *device;
    vkmoe_error err;
    (void)state;
    assert_ok(vkmoe_device_open(NULL, &device, &err), &err);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct cutter cutter = {.size = sizes[i]};
        snprintf(cutter.path, sizeof(cutter.path), "%s/model.safetensors", test_folder());
        vkmoe_model_params params = {.progress = cut, .user = &cutter};
        vkmoe_model *model = NULL;
        broken_model_write(&broken_model_shape);
        test_assert_fails(vkmoe_model_load(device, test_folder(), &params, &model, &err), &err,
                          VKMOE_IO, "cut while it was being read");
        test_assert_fails(err.status, &err, VKMOE_IO, cutter.path);
    }
    vkmoe_device_close(device);
}

static void a_weight_that_is_not_finite_is_named_with_its_place(void **state)
{
    static const uint16_t bf16[] = {0x7fc0, 0x7f80, 0xff80}, f16[] = {0x7e00, 0x7c00, 0xfc00};
    static const uint32_t f32[] = {0x7fc00000, 0x7f800000, 0xff800000};
    static const struct {
        enum test_storage storage;
        const void *values;
        size_t size;
    } kinds[] = {{STORE_BF16, bf16, 2}, {STORE_F16, f16, 2}, {STORE_F32, f32, 4}};
    static const struct {
        const char *tensor;
        size_t index;
        const char *place;
    } places[] = {
        {"model.embed_tokens.weight", 1535 * 64 + 63, "[1535, 63] of tensor model.embed_tokens"},
        {PROJECTION, 64, "[1, 0] of tensor " PROJECTION},
        {"model.norm.weight", 7, "[7] of tensor model.norm.weight"},
    };
    static const char *const values[] = {"is NaN", "is infinity", "is -infinity"};
    (void)state;
    for (size_t k = 0; k < 3; k++) {
        for (size_t i = 0; i < 3; i++) {
            struct test_shape shape = broken_model_shape;
            shape.storage = kinds[k].storage;
            broken_model_write(&shape);
            broken_model_poke(places[i].tensor, places[i].index,
                              (const char *)kinds[k].values + i * kinds[k].size, kinds[k].size);
            broken_model_expect(test_folder(), places[i].place, values[i]);
        }
    }
}

/* --- tokenizers --- */

static void a_tokenizer_that_cannot_be_meant_is_refused_by_name(void **state)
{
    static const struct {
        const char *key, *value, *part;
    } cases[] = {
        {"type", "\"Unigram\"", "Unigram"},
        {"type", "\"WordPiece\"", "WordPiece"},
        {"vocab", "{}", "model.merges[0] needs the token"},
        {"vocab", "{\"a\": 16777216}", "the id of the token \"a\""},
        {"vocab", "{\"a\": 1, \"b\": 1}", "the id 1 belongs to both"},
        {"merges", "[\"a b c\"]", "model.merges[0] is not a pair"},
        {"merges", "[[\"a\", \"\"], [\"\", \"a\"]]", "model.merges[0] is not a pair"},
        {"merges", "[\"zzzz zzzz\"]", "model.merges[0] needs the token \"zzzz\""},
    };
    (void)state;
    json_t *good = broken_model_json("tokenizer.json");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *root = json_deep_copy(good);
        json_object_set_new(json_object_get(root, "model"), cases[i].key,
                            json_loads(cases[i].value, JSON_DECODE_ANY, NULL));
        broken_model_write_json("tokenizer.json", root);
        broken_model_expect(test_folder(), test_folder_path("tokenizer.json"), cases[i].part);
    }
    json_decref(good);
}

/* Each of these merges makes what the one before it needs; text is finite, so merging ends. */
static void merges_that_need_one_another_come_to_an_end(void **state)
{
    struct test_process p = {.input = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", .input_size = 31};
    (void)state;
    test_folder_write_text(
        "tokenizer.json",
        "{\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false}, "
        "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"aa\": 1, \"aaaa\": 2, "
        "\"aaa\": 3}, \"merges\": [\"aa aa\", \"a aa\", \"aa a\", \"a a\", \"a a\"]}}");
    unlink(test_folder_path("tokenizer_config.json"));
    test_vkmoe(&p, "tokenize", "-m", test_folder());
    test_process_assert_code(&p, 0);
    struct test_process back = {.input = p.out, .input_size = p.out_size};
    test_vkmoe(&back, "detokenize", "-m", test_folder());
    assert_string_equal(back.out, p.input);
    test_process_free(&back);
    test_process_free(&p);
}

static void a_vocabulary_beyond_the_models_is_refused_with_both_sizes(void **state)
{
    const struct test_shape narrow = {.vocab = 1500};
    (void)state;
    broken_model_write(&narrow);
    broken_model_expect(test_folder(), "token ids up to 1535", "vocab_size of 1500");
}

static void an_unknown_chat_template_is_refused_with_the_option_that_chooses_one(void **state)
{
    static const char name[] = "tokenizer_config.json";
    struct test_process p = {0}, chosen = {0};
    json_t *config = broken_model_json(name);
    (void)state;
    json_object_set_new(config, "chat_template", json_string("{{ messages }}"));
    broken_model_write_json(name, config);
    test_vkmoe(&p, "chat", "-m", test_folder());
    test_process_assert_sentence(&p, 1, test_folder_path(name));
    test_process_assert_sentence(&p, 1, "; --chat-template NAME chooses one of them");
    test_vkmoe(&chosen, "chat", "-m", test_folder(), "--chat-template", "plain");
    test_process_assert_code(&chosen, 0);
    test_process_free(&p);
    test_process_free(&chosen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BROKEN_MODEL_TEST(a_tensor_that_is_not_what_it_should_be_is_named),
        BROKEN_MODEL_TEST(overlapping_tensors_are_refused_by_name),
        BROKEN_MODEL_TEST(a_header_of_absurd_length_is_refused),
        BROKEN_MODEL_TEST(a_checkpoint_cut_at_any_byte_is_refused_by_the_reader),
        BROKEN_MODEL_TEST(missing_and_extra_tensors_are_named),
        BROKEN_MODEL_TEST(a_tensor_listed_twice_is_named),
        BROKEN_MODEL_TEST(tensors_that_other_programs_leave_are_no_error),
        BROKEN_MODEL_TEST(shards_that_are_not_as_their_index_says_are_named),
        BROKEN_MODEL_TEST(a_file_that_shrinks_while_it_is_read_is_a_failure_that_names_it),
        BROKEN_MODEL_TEST(a_weight_that_is_not_finite_is_named_with_its_place),
        BROKEN_MODEL_TEST(a_tokenizer_that_cannot_be_meant_is_refused_by_name),
        BROKEN_MODEL_TEST(merges_that_need_one_another_come_to_an_end),
        BROKEN_MODEL_TEST(a_vocabulary_beyond_the_models_is_refused_with_both_sizes),
        BROKEN_MODEL_TEST(an_unknown_chat_template_is_refused_with_the_option_that_chooses_one),
    };
    return cmocka_run_group_tests_name("bad models", tests, NULL, NULL);
}
