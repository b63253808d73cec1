/* The tokenizer's files: what is read, what is refused, and that nothing makes the reader crash. */
#include "tokenizer_fixture.h"

struct refusal {
    const char *key, *value; /* replaced in the root object */
    vkmoe_status status;
    const char *sentence;
};

static void expect_refusal(json_t *root, const struct refusal *r)
{
    vkmoe_error err = {0};
    fixture_set(root, r->key, r->value);
    vkmoe_status status = fixture_try(root, NULL, &err);
    expect_failure(status, &err, r->status, r->sentence, "tokenizer.json");
}

static void other_kinds_of_tokenizer_are_refused_by_name(void **state)
{
    static const struct refusal cases[] = {
        {"model", "{\"type\": \"Unigram\", \"vocab\": []}", VKMOE_UNSUPPORTED, "Unigram"},
        {"model", "{\"type\": \"WordPiece\", \"vocab\": {}}", VKMOE_UNSUPPORTED, "WordPiece"},
        {"model", "{\"byte_fallback\": true}", VKMOE_UNSUPPORTED, "byte_fallback"},
        {"model", "{\"dropout\": 0.5}", VKMOE_UNSUPPORTED, "dropout"},
        {"model", "{\"end_of_word_suffix\": \"</w>\"}", VKMOE_UNSUPPORTED, "end_of_word_suffix"},
        {"model", "{\"continuing_subword_prefix\": \"##\"}", VKMOE_UNSUPPORTED,
         "continuing_subword_prefix"},
        {"normalizer", "{\"type\": \"Lowercase\"}", VKMOE_UNSUPPORTED, "normalizer Lowercase"},
        {"normalizer", "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Strip\"}]}",
         VKMOE_UNSUPPORTED, "normalizer Strip"},
        {"pre_tokenizer", "null", VKMOE_UNSUPPORTED, "ByteLevel"},
        {"pre_tokenizer", "{\"type\": \"Sequence\", \"pretokenizers\": []}", VKMOE_UNSUPPORTED,
         "ByteLevel"},
        {"pre_tokenizer", "{\"type\": \"Metaspace\"}", VKMOE_UNSUPPORTED, "step Metaspace"},
        {"pre_tokenizer",
         "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"ByteLevel\"}, "
         "{\"type\": \"Digits\"}]}",
         VKMOE_UNSUPPORTED, "after ByteLevel Digits"},
        {"pre_tokenizer",
         "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"(\"}, \"behavior\": \"Isolated\"}",
         VKMOE_UNSUPPORTED, "\"(\" fails at offset 1"},
        {"pre_tokenizer",
         "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"\\\\C\"}, \"behavior\": \"Isolated\"}",
         VKMOE_UNSUPPORTED, "\\C"},
        {"pre_tokenizer",
         "{\"type\": \"Split\", \"pattern\": {\"String\": \"a\"}, \"behavior\": \"Odd\"}",
         VKMOE_UNSUPPORTED, "behavior Odd"},
        {"decoder", "{\"type\": \"WordPiece\"}", VKMOE_UNSUPPORTED, "decoder WordPiece"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        expect_refusal(fixture_new(), cases + i);
}

static void malformed_parts_are_refused_by_name(void **state)
{
    static const struct refusal cases[] = {
        {"model", "null", VKMOE_BAD_FORMAT, "model.vocab"},
        {"model", "7", VKMOE_BAD_FORMAT, "model.vocab"},
        {"model", "{\"type\": 7}", VKMOE_BAD_FORMAT, "type"},
        {"model", "{\"vocab\": [], \"merges\": []}", VKMOE_BAD_FORMAT, "model.vocab"},
        {"model", "{\"vocab\": {}, \"merges\": []}", VKMOE_BAD_FORMAT, "empty"},
        {"model", "{\"vocab\": {\"a\": 0}}", VKMOE_BAD_FORMAT, "model.merges"},
        {"model", "{\"vocab\": {\"a\": -1}, \"merges\": []}", VKMOE_BAD_FORMAT, "\"a\""},
        {"model", "{\"vocab\": {\"a\": 1.0}, \"merges\": []}", VKMOE_BAD_FORMAT, "\"a\""},
        {"model", "{\"vocab\": {\"a\": \"0\"}, \"merges\": []}", VKMOE_BAD_FORMAT, "\"a\""},
        {"model", "{\"vocab\": {\"a\": 2147483647}, \"merges\": []}", VKMOE_BAD_FORMAT, "\"a\""},
        {"model", "{\"vocab\": {\"a\": 4294967297}, \"merges\": []}", VKMOE_BAD_FORMAT, "\"a\""},
        {"model", "{\"vocab\": {\"a\": 5, \"b\": 5}, \"merges\": []}", VKMOE_BAD_FORMAT,
         "id 5 belongs to both \"a\" and \"b\""},
        {"model", "{\"vocab\": {\"a\": 0}, \"merges\": [], \"unk_token\": \"?\"}", VKMOE_BAD_FORMAT,
         "unk_token"},
        {"model", "{\"vocab\": {\"a\": 0}, \"merges\": [], \"unk_token\": 0}", VKMOE_BAD_FORMAT,
         "unk_token"},
        {"model", "{\"vocab\": {\"a\": 0}, \"merges\": [], \"ignore_merges\": 1}", VKMOE_BAD_FORMAT,
         "ignore_merges"},
        {"normalizer", "\"NFC\"", VKMOE_BAD_FORMAT, "type"},
        {"normalizer", "{\"type\": \"Sequence\"}", VKMOE_BAD_FORMAT, "normalizers"},
        {"pre_tokenizer", "[]", VKMOE_BAD_FORMAT, "type"},
        {"pre_tokenizer", "{\"type\": \"Sequence\", \"pretokenizers\": {}}", VKMOE_BAD_FORMAT,
         "pretokenizers"},
        {"pre_tokenizer", "{\"type\": \"Split\", \"behavior\": \"Isolated\"}", VKMOE_BAD_FORMAT,
         "pattern"},
        {"pre_tokenizer", "{\"type\": \"Split\", \"pattern\": {\"String\": \"a\"}}",
         VKMOE_BAD_FORMAT, "behavior"},
        {"pre_tokenizer", "{\"type\": \"Digits\", \"individual_digits\": \"yes\"}",
         VKMOE_BAD_FORMAT, "individual_digits"},
        {"decoder", "{}", VKMOE_BAD_FORMAT, "type"},
        {"added_tokens", "{}", VKMOE_BAD_FORMAT, "added_tokens"},
        {"added_tokens", "[7]", VKMOE_BAD_FORMAT, "content"},
        {"added_tokens", "[{\"id\": 300}]", VKMOE_BAD_FORMAT, "content"},
        {"added_tokens", "[{\"content\": \"x!\"}]", VKMOE_BAD_FORMAT, "\"x!\""},
        {"added_tokens", "[{\"id\": -5, \"content\": \"x!\"}]", VKMOE_BAD_FORMAT, "\"x!\""},
        {"added_tokens", "[{\"id\": 97, \"content\": \"x!\"}]", VKMOE_BAD_FORMAT,
         "id 97 belongs to both \"a\" and \"x!\""},
        {"added_tokens", "[{\"id\": 300, \"content\": \"a\"}]", VKMOE_BAD_FORMAT, "97 already"},
        {"added_tokens", "[{\"id\": 300, \"content\": \"x!\", \"special\": \"no\"}]",
         VKMOE_BAD_FORMAT, "special"},
        {"added_tokens", "[{\"id\": 300, \"content\": \"x!\", \"lstrip\": 0}]", VKMOE_BAD_FORMAT,
         "lstrip"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        expect_refusal(fixture_new(), cases + i);
}

static void merges_must_join_tokens_of_the_vocabulary(void **state)
{
    static const struct {
        const char *merge, *sentence;
    } cases[] = {
        {"\"zz a\"", "\"zz\""},         {"\"a zz\"", "\"zz\""},
        {"\"a a\"", "\"aa\""},          {"[\"a\", \"zz\"]", "\"zz\""},
        {"\"ab\"", "merges[1]"},        {"\"a b c\"", "merges[1]"},
        {"\" b\"", "merges[1]"},        {"[\"a\"]", "merges[1]"},
        {"[\"a\", 7]", "merges[1]"},    {"7", "merges[1]"},
        {"[\"a\", \"\"]", "merges[1]"}, {"null", "merges[1]"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char list[128];
        vkmoe_error err = {0};
        json_t *root = fixture_new();
        fixture_merge(root, "a", "b");
        snprintf(list, sizeof(list), "[\"a b\", %s]", cases[i].merge);
        fixture_set_model(root, "merges", list);
        expect_failure(fixture_try(root, NULL, &err), &err, VKMOE_BAD_FORMAT, cases[i].sentence,
                       "model.merges[1]");
    }
}

static vkmoe_status try_text(const char *text, size_t size, vkmoe_error *err)
{
    vkmoe_tokenizer *t = NULL;
    test_folder_write("tokenizer.json", text, size);
    vkmoe_status status = vkmoe_tokenizer_load(test_folder_path(""), NULL, &t, err);
    vkmoe_tokenizer_destroy(t);
    return status;
}

static void a_missing_file_is_not_found(void **state)
{
    vkmoe_error err = {0};
    vkmoe_tokenizer *t = NULL;
    (void)state;
    expect_failure(vkmoe_tokenizer_load(test_folder_path("nowhere"), NULL, &t, &err), &err,
                   VKMOE_NOT_FOUND, "nowhere/tokenizer.json", NULL);
    assert_null(t);
}

static void a_truncated_file_is_malformed_wherever_it_ends(void **state)
{
    (void)state;
    json_t *root = json_pack("{s:{s:{s:i, s:i, s:i}, s:[s]}, s:{s:s}, s:[{s:i, s:s}]}", "model",
                             "vocab", "a", 0, "b", 1, "ab", 2, "merges", "a b", "pre_tokenizer",
                             "type", "ByteLevel", "added_tokens", "id", 3, "content", "<é>");
    char *text = json_dumps(root, 0);
    size_t size = strlen(text);
    vkmoe_error err = {0};
    json_decref(root);
    assert_int_equal(try_text(text, size, &err), VKMOE_OK);
    for (size_t n = 0; n < size; n++)
        expect_failure(try_text(text, n, &err), &err, VKMOE_BAD_FORMAT, "tokenizer.json", NULL);
    free(text);
}

static void a_damaged_file_never_crashes_the_reader(void **state)
{
    size_t size;
    uint64_t random = 7;
    (void)state;
    char *text = test_file_read(VKMOE_TEST_MODEL "/tokenizer.json", &size);
    for (int round = 0; round < 300; round++) {
        char kept[4];
        size_t at[4];
        vkmoe_error err = {0};
        for (int i = 0; i < 4; i++) {
            size_t range = round % 2 ? size : 2600; /* the parts before the vocabulary */
            at[i] = random_u32(&random) % range;
            kept[i] = text[at[i]];
            text[at[i]] = "\"{}[],:0a\\"[random_u32(&random) % 10];
        }
        expect_sane(try_text(text, size, &err), &err);
        for (int i = 4; i-- > 0;)
            text[at[i]] = kept[i];
    }
    free(text);
}

static int32_t bos_of(json_t *root, const char *config)
{
    vkmoe_tokenizer *t = fixture_load(root, config);
    int32_t *ids = NULL;
    size_t count;
    assert_int_equal(vkmoe_tokenizer_encode(t, "x", 1, true, &ids, &count, NULL), VKMOE_OK);
    int32_t first = count == 2 ? ids[0] : -1;
    assert_true(first == -1 || first == vkmoe_tokenizer_bos(t));
    vkmoe_tokenizer_free(t, ids);
    vkmoe_tokenizer_destroy(t);
    return first;
}

static void the_configuration_decides_about_bos(void **state)
{
    static const char template[] =
        "{\"type\": \"Sequence\", \"processors\": [{\"type\": \"ByteLevel\"}, {\"type\": "
        "\"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"<s>\"}}, "
        "{\"Sequence\": {\"id\": \"A\"}}]}]}";
    static const char plain[] =
        "{\"type\": \"TemplateProcessing\", \"single\": [{\"Sequence\": {}}]}";
    static const struct {
        const char *config, *processor;
        int32_t bos;
    } cases[] = {
        {NULL, "null", -1},
        {NULL, template, 300},
        {NULL, plain, -1},
        {"{}", "null", -1},
        {"{\"bos_token\": \"<s>\"}", "null", -1},
        {"{\"bos_token\": \"<s>\", \"add_bos_token\": true}", "null", 300},
        {"{\"bos_token\": {\"content\": \"<s>\"}, \"add_bos_token\": true}", "null", 300},
        {"{\"bos_token\": null, \"add_bos_token\": true}", "null", -1},
        {"{\"bos_token\": \"<s>\", \"add_bos_token\": false}", template, -1},
        {"{\"bos_token\": \"<s>\"}", template, 300},
        {"{\"bos_token\": \"<s>\", \"tokenizer_class\": \"LlamaTokenizerFast\"}", plain, 300},
        {"{\"bos_token\": \"<s>\", \"tokenizer_class\": \"GPT2TokenizerFast\"}", "null", -1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *root = fixture_new();
        fixture_add(root, 300, "<s>", "{\"special\": true}");
        fixture_set(root, "post_processor", cases[i].processor);
        assert_int_equal(bos_of(root, cases[i].config), cases[i].bos);
    }
}

static void a_malformed_configuration_is_refused(void **state)
{
    static const struct {
        const char *config, *sentence;
    } cases[] = {
        {"{", "line"},
        {"[]", "object"},
        {"{\"add_bos_token\": 1}", "add_bos_token"},
        {"{\"bos_token\": 1}", "bos_token"},
        {"{\"bos_token\": {}}", "bos_token"},
        {"{\"bos_token\": \"<none>\"}", "\"<none>\""},
        {"{\"eos_token\": \"<none>\"}", "eos_token"},
        {"{\"tokenizer_class\": []}", "tokenizer_class"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        vkmoe_error err = {0};
        expect_failure(fixture_try(fixture_new(), cases[i].config, &err), &err, VKMOE_BAD_FORMAT,
                       cases[i].sentence, "tokenizer_config.json");
    }
}

/* A tokenizer in which every part has something to allocate. */
static void write_rich(void)
{
    json_t *root = fixture_new();
    fixture_merge(root, "b", "c");
    fixture_set(root, "normalizer", "{\"type\": \"NFC\"}");
    fixture_set(root, "pre_tokenizer",
                "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Digits\"}, {\"type\": "
                "\"Split\", \"pattern\": {\"Regex\": \"(?:b|c)+\"}, \"behavior\": \"Isolated\"}, "
                "{\"type\": \"ByteLevel\", \"add_prefix_space\": true}]}");
    fixture_add(root, 300, "<s>", "{\"special\": true}");
    fixture_add(root, 301, "e\u0301", "{\"normalized\": true}");
    vkmoe_tokenizer_destroy(
        fixture_load(root, "{\"bos_token\": \"<s>\", \"add_bos_token\": true}"));
}

/* Loads, encodes and decodes with the n-th allocation failing; true if n was past the last one. */
static bool survives_scarcity(long n)
{
    static const char text[] = "ab 12 <s>é bcbc";
    struct scarce scarce = {.fail_at = n};
    vkmoe_allocator allocator = scarce_allocator(&scarce);
    vkmoe_tokenizer_params params = {&allocator};
    vkmoe_error err = {0};
    vkmoe_tokenizer *t = NULL;
    int32_t *ids = NULL;
    char *bytes = NULL;
    size_t count, size;
    vkmoe_status status = vkmoe_tokenizer_load(test_folder_path(""), &params, &t, &err);
    if (status == VKMOE_OK)
        status = vkmoe_tokenizer_encode(t, text, sizeof(text) - 1, true, &ids, &count, &err);
    if (status == VKMOE_OK)
        status = vkmoe_tokenizer_decode(t, ids, count, false, &bytes, &size, &err);
    if (status == VKMOE_OK)
        assert_string_equal(bytes, " a b  12 e\u0301  bcbc");
    else
        expect_failure(status, &err, VKMOE_OUT_OF_HOST_MEMORY, "memory", NULL);
    vkmoe_tokenizer_free(t, ids);
    vkmoe_tokenizer_free(t, bytes);
    vkmoe_tokenizer_destroy(t);
    assert_int_equal(scarce.live, 0);
    return scarce.calls <= n;
}

static void memory_may_run_out_at_any_allocation(void **state)
{
    (void)state;
    write_rich();
    long n = 0;
    while (!survives_scarcity(n))
        n++;
    assert_true(n > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_kinds_of_tokenizer_are_refused_by_name),
        cmocka_unit_test(malformed_parts_are_refused_by_name),
        cmocka_unit_test(merges_must_join_tokens_of_the_vocabulary),
        cmocka_unit_test(a_missing_file_is_not_found),
        cmocka_unit_test(a_truncated_file_is_malformed_wherever_it_ends),
        cmocka_unit_test(a_damaged_file_never_crashes_the_reader),
        cmocka_unit_test(the_configuration_decides_about_bos),
        cmocka_unit_test(a_malformed_configuration_is_refused),
        cmocka_unit_test(memory_may_run_out_at_any_allocation),
    };
    return cmocka_run_group_tests(tests, test_folder_setup, test_folder_teardown);
}
