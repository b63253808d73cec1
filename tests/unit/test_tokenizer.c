/* The tokenizer: the ids of the shipped model's texts, round trips, and merging. */
#include <pthread.h>
#include <time.h>

#include "tokenizer_fixture.h"

struct shipped {
    vkmoe_tokenizer *tokenizer;
    json_t *golden;
};

static int load_shipped(void **state)
{
    static struct shipped s;
    vkmoe_error err = {0};
    json_error_t error;
    test_folder_setup(state);
    s.golden = json_load_file(VKMOE_GOLDEN "/manifest.json", JSON_ALLOW_NUL, &error);
    assert_non_null(s.golden);
    if (vkmoe_tokenizer_load(VKMOE_TEST_MODEL, NULL, &s.tokenizer, &err) != VKMOE_OK)
        fail_msg("%s", err.message);
    *state = &s;
    return 0;
}

static int drop_shipped(void **state)
{
    struct shipped *s = *state;
    vkmoe_tokenizer_destroy(s->tokenizer);
    json_decref(s->golden);
    return test_folder_teardown(state);
}

static void expect_golden(const vkmoe_tokenizer *t, const json_t *entry, bool bos)
{
    const char *text = json_string_value(json_object_get(entry, "text"));
    size_t size = json_string_length(json_object_get(entry, "text"));
    const json_t *wanted = json_object_get(entry, "ids");
    vkmoe_error err = {0};
    int32_t *ids = NULL;
    size_t count;
    assert_int_equal(vkmoe_tokenizer_encode(t, text, size, bos, &ids, &count, &err), VKMOE_OK);
    if (count != json_array_size(wanted))
        fail_msg("\"%s\": %zu ids, expected %zu", text, count, json_array_size(wanted));
    for (size_t i = 0; i < count; i++)
        if (ids[i] != json_integer_value(json_array_get(wanted, i)))
            fail_msg("\"%s\": id %zu is %d, expected %d", text, i, ids[i],
                     (int)json_integer_value(json_array_get(wanted, i)));
    vkmoe_tokenizer_free(t, ids);
    expect_round_trip(t, text, size);
}

static void golden_texts_get_their_ids(void **state)
{
    const struct shipped *s = *state;
    const json_t *texts = json_object_get(s->golden, "tokenizer");
    assert_true(json_array_size(texts) > 0);
    for (size_t i = 0; i < json_array_size(texts); i++)
        expect_golden(s->tokenizer, json_array_get(texts, i), false);
}

static void golden_prompts_get_their_ids_with_bos(void **state)
{
    const struct shipped *s = *state;
    const json_t *cases = json_object_get(s->golden, "cases");
    assert_true(json_array_size(cases) > 0);
    for (size_t i = 0; i < json_array_size(cases); i++)
        expect_golden(s->tokenizer, json_array_get(cases, i), true);
}

static void golden_continuations_decode_to_their_text(void **state)
{
    const struct shipped *s = *state;
    const json_t *list = json_object_get(s->golden, "greedy");
    assert_true(json_array_size(list) > 0);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *wanted = json_object_get(json_array_get(list, i), "ids");
        const json_t *text = json_object_get(json_array_get(list, i), "text");
        int32_t ids[1024];
        size_t count = json_array_size(wanted), size;
        char *bytes = NULL;
        assert_true(count <= 1024);
        for (size_t k = 0; k < count; k++)
            ids[k] = (int32_t)json_integer_value(json_array_get(wanted, k));
        assert_int_equal(
            vkmoe_tokenizer_decode(s->tokenizer, ids, count, false, &bytes, &size, NULL), VKMOE_OK);
        assert_int_equal(size, json_string_length(text));
        assert_memory_equal(bytes, json_string_value(text), size);
        vkmoe_tokenizer_free(s->tokenizer, bytes);
    }
}

static void the_shipped_model_names_its_special_tokens(void **state)
{
    const vkmoe_tokenizer *t = ((const struct shipped *)*state)->tokenizer;
    assert_int_equal(vkmoe_tokenizer_size(t), 1536);
    assert_int_equal(vkmoe_tokenizer_bos(t), 1534);
    assert_int_equal(vkmoe_tokenizer_eos(t), 1535);
}

/* Appends a character as UTF-8; returns how many bytes that took. */
static size_t put(char *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n; i-- > 1; c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)((n == 2 ? 0xc0u : n == 3 ? 0xe0u : 0xf0u) | c);
    return n;
}

static void every_character_survives_a_round_trip(void **state)
{
    const vkmoe_tokenizer *t = ((const struct shipped *)*state)->tokenizer;
    char text[4 * 4096];
    for (uint32_t block = 0; block < 0x110000; block += 4096) {
        size_t size = 0;
        for (uint32_t c = block; c < block + 4096; c++)
            if (c < 0xd800 || c > 0xdfff)
                size += put(text + size, c);
        expect_round_trip(t, text, size);
    }
}

static void random_texts_survive_a_round_trip(void **state)
{
    static const struct {
        uint32_t low, count;
    } ranges[] = {{0, 0x100},       {0, 0x20},        {' ', 95},          {0x80, 0x700},
                  {0x4e00, 0x5000}, {0xac00, 0x2000}, {0x1f300, 0x400},   {0x200b, 5},
                  {'0', 10},        {0x300, 0x50},    {0x10000, 0x50000}, {0x2000, 0x70}};
    const vkmoe_tokenizer *t = ((const struct shipped *)*state)->tokenizer;
    uint64_t seed = 1;
    for (int round = 0; round < 4000; round++) {
        char text[4 * 64];
        size_t size = 0;
        uint32_t length = random_u32(&seed) % 64;
        size_t kind = random_u32(&seed) % (sizeof(ranges) / sizeof(ranges[0]) + 1);
        for (uint32_t i = 0; i < length; i++) {
            size_t k = kind < sizeof(ranges) / sizeof(ranges[0])
                           ? kind
                           : random_u32(&seed) % (sizeof(ranges) / sizeof(ranges[0]));
            size += put(text + size, ranges[k].low + random_u32(&seed) % ranges[k].count);
        }
        expect_round_trip(t, text, size);
    }
}

static void zero_bytes_are_text_like_any_other(void **state)
{
    const vkmoe_tokenizer *t = ((const struct shipped *)*state)->tokenizer;
    expect_round_trip(t, "a\0b\0\0 c\0", 8);
}

static void invalid_utf8_is_refused_at_its_offset(void **state)
{
    static const struct {
        const char *text;
        size_t size;
        const char *offset;
    } cases[] = {
        {"\xff", 1, "offset 0"},          {"abc\x80", 4, "offset 3"},
        {"ab\xc0\xaf", 4, "offset 2"},    {"\xe4\xbd\xa0\xe4\xbd", 5, "offset 3"},
        {"x\xed\xa0\x80", 4, "offset 1"}, {"\xf4\x90\x80\x80", 4, "offset 0"},
        {"é\xc3(", 4, "offset 2"},        {"\xf0\x9f\x99", 3, "offset 0"},
        {"\0\0\xfe", 3, "offset 2"},      {"\xe0\x80\x80", 3, "offset 0"},
    };
    const vkmoe_tokenizer *t = ((const struct shipped *)*state)->tokenizer;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        vkmoe_error err = {0};
        int32_t *ids = NULL;
        size_t count;
        vkmoe_status status =
            vkmoe_tokenizer_encode(t, cases[i].text, cases[i].size, true, &ids, &count, &err);
        expect_failure(status, &err, VKMOE_BAD_FORMAT, "UTF-8", cases[i].offset);
        assert_null(ids);
    }
}

static void bos_comes_first_but_never_twice(void **state)
{
    const vkmoe_tokenizer *t = ((const struct shipped *)*state)->tokenizer;
    static const struct {
        const char *text;
        bool add_bos;
        size_t count, bos;
    } cases[] = {
        {"", true, 1, 1},
        {"", false, 0, 0},
        {"<｜begin▁of▁sentence｜>", true, 1, 1},
        {"<｜begin▁of▁sentence｜>", false, 1, 1},
        {"<｜begin▁of▁sentence｜><｜begin▁of▁sentence｜>", true, 2, 2},
        {"7<｜begin▁of▁sentence｜>", true, 3, 2},
        {"<｜begin▁of▁sentence｜>7", true, 2, 1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int32_t *ids = NULL;
        size_t count, bos = 0;
        assert_int_equal(vkmoe_tokenizer_encode(t, cases[i].text, strlen(cases[i].text),
                                                cases[i].add_bos, &ids, &count, NULL),
                         VKMOE_OK);
        for (size_t k = 0; k < count; k++)
            bos += ids[k] == vkmoe_tokenizer_bos(t);
        vkmoe_tokenizer_free(t, ids);
        assert_int_equal(count, cases[i].count);
        assert_int_equal(bos, cases[i].bos);
    }
}

static void special_tokens_have_text_only_on_request(void **state)
{
    const vkmoe_tokenizer *t = ((const struct shipped *)*state)->tokenizer;
    const int32_t ids[] = {1534, 'a', 1535};
    char *bytes = NULL;
    size_t size;
    assert_int_equal(vkmoe_tokenizer_decode(t, ids, 3, true, &bytes, &size, NULL), VKMOE_OK);
    assert_string_equal(bytes, "<｜begin▁of▁sentence｜>a<｜end▁of▁sentence｜>");
    vkmoe_tokenizer_free(t, bytes);
    assert_int_equal(vkmoe_tokenizer_decode(t, ids, 3, false, &bytes, &size, NULL), VKMOE_OK);
    assert_string_equal(bytes, "a");
    vkmoe_tokenizer_free(t, bytes);
}

static void tokens_decode_to_any_bytes(void **state)
{
    const vkmoe_tokenizer *t = ((const struct shipped *)*state)->tokenizer;
    const int32_t ids[] = {0xff, 0, 0xe4, 0xc0};
    char *bytes = NULL;
    size_t size;
    assert_int_equal(vkmoe_tokenizer_decode(t, ids, 4, false, &bytes, &size, NULL), VKMOE_OK);
    assert_int_equal(size, 4);
    assert_memory_equal(bytes, "\xff\0\xe4\xc0", 5);
    vkmoe_tokenizer_free(t, bytes);
    assert_int_equal(vkmoe_tokenizer_decode(t, NULL, 0, false, &bytes, &size, NULL), VKMOE_OK);
    assert_string_equal(bytes, "");
    vkmoe_tokenizer_free(t, bytes);
}

static void ids_outside_the_vocabulary_are_refused(void **state)
{
    const vkmoe_tokenizer *t = ((const struct shipped *)*state)->tokenizer;
    const int32_t wrong[] = {-1, 1536, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < 4; i++) {
        vkmoe_error err = {0};
        char *bytes = NULL;
        size_t size;
        const int32_t ids[] = {'a', wrong[i]};
        expect_failure(vkmoe_tokenizer_decode(t, ids, 2, true, &bytes, &size, &err), &err,
                       VKMOE_INVALID_ARGUMENT, "vocabulary", NULL);
        assert_null(bytes);
    }
}

static void null_arguments_are_refused(void **state)
{
    const vkmoe_tokenizer *t = ((const struct shipped *)*state)->tokenizer;
    vkmoe_error err = {0};
    vkmoe_tokenizer *made = NULL;
    int32_t *ids = NULL;
    char *bytes = NULL;
    size_t n;
    assert_int_equal(vkmoe_tokenizer_load(NULL, NULL, &made, &err), VKMOE_INVALID_ARGUMENT);
    assert_int_equal(vkmoe_tokenizer_load("x", NULL, NULL, &err), VKMOE_INVALID_ARGUMENT);
    assert_int_equal(vkmoe_tokenizer_encode(NULL, "", 0, false, &ids, &n, &err),
                     VKMOE_INVALID_ARGUMENT);
    assert_int_equal(vkmoe_tokenizer_encode(t, NULL, 1, false, &ids, &n, NULL),
                     VKMOE_INVALID_ARGUMENT);
    assert_int_equal(vkmoe_tokenizer_decode(NULL, NULL, 0, false, &bytes, &n, &err),
                     VKMOE_INVALID_ARGUMENT);
    assert_int_equal(vkmoe_tokenizer_decode(t, NULL, 1, false, &bytes, &n, NULL),
                     VKMOE_INVALID_ARGUMENT);
    vkmoe_tokenizer_destroy(NULL);
    vkmoe_tokenizer_free(NULL, NULL);
    vkmoe_tokenizer_free(t, NULL);
}

struct worker {
    const struct shipped *shipped;
    pthread_t thread;
    bool right;
};

static void *work(void *user)
{
    struct worker *w = user;
    const vkmoe_tokenizer *t = w->shipped->tokenizer;
    const json_t *cases = json_object_get(w->shipped->golden, "cases");
    w->right = true;
    for (size_t i = 0; i < 20 * json_array_size(cases); i++) {
        const json_t *entry = json_array_get(cases, i % json_array_size(cases));
        const char *text = json_string_value(json_object_get(entry, "text"));
        const json_t *wanted = json_object_get(entry, "ids");
        int32_t *ids = NULL;
        size_t count;
        vkmoe_status status =
            vkmoe_tokenizer_encode(t, text, strlen(text), true, &ids, &count, NULL);
        w->right = w->right && status == VKMOE_OK && count == json_array_size(wanted);
        for (size_t k = 0; k < count && w->right; k++)
            w->right = ids[k] == json_integer_value(json_array_get(wanted, k));
        vkmoe_tokenizer_free(t, ids);
    }
    return NULL;
}

static void threads_share_one_tokenizer(void **state)
{
    struct worker workers[4];
    for (size_t i = 0; i < 4; i++) {
        workers[i].shipped = *state;
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, workers + i), 0);
    }
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
    for (size_t i = 0; i < 4; i++)
        assert_true(workers[i].right);
}

/* A quadratic encoder would need hours for these. */
static void a_word_of_a_megabyte_takes_seconds_at_most(void **state)
{
    static const char *const units[] = {"a", "the", " ", "\t ", "1", "!?", "你", "<｜begin▁", "\n"};
    const vkmoe_tokenizer *t = ((const struct shipped *)*state)->tokenizer;
    size_t size = (size_t)1 << 20;
    char *text = malloc(size + 8);
    clock_t start = clock();
    assert_non_null(text);
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        size_t n = strlen(units[i]), used = 0;
        for (; used + n <= size; used += n)
            memcpy(text + used, units[i], n);
        text[used++] = '7';
        expect_round_trip(t, text, used);
    }
    free(text);
    assert_true(clock() - start < 60 * CLOCKS_PER_SEC);
}

/* Encodes as the definition of byte-pair encoding has it: join the pair of the lowest rank, the
 * leftmost of equals, and look again. Pairs and results are given in order of rank. */
static size_t merge_by_definition(const int32_t (*merges)[3], size_t n_merges, int32_t *ids,
                                  size_t count)
{
    for (;;) {
        size_t best = n_merges, at = 0;
        for (size_t i = 0; i + 1 < count; i++)
            for (size_t m = 0; m < best; m++)
                if (merges[m][0] == ids[i] && merges[m][1] == ids[i + 1]) {
                    best = m;
                    at = i;
                }
        if (best == n_merges)
            return count;
        ids[at] = merges[best][2];
        memmove(ids + at + 1, ids + at + 2, (count - at - 2) * sizeof(*ids));
        count--;
    }
}

static void merging_follows_the_ranks(void **state)
{
    enum { MERGES = 60 };
    (void)state;
    for (uint64_t seed = 1; seed < 30; seed++) {
        uint64_t random = seed;
        char texts[3 + MERGES][64] = {"a", "b", "c"};
        int32_t ids[3 + MERGES] = {'a', 'b', 'c'}, merges[MERGES][3];
        size_t known = 3, n = 0;
        json_t *root = fixture_new();
        for (int attempt = 0; attempt < 1000 && n < MERGES; attempt++) {
            size_t x = random_u32(&random) % known, y = random_u32(&random) % known;
            char joined[128];
            snprintf(joined, sizeof(joined), "%s%s", texts[x], texts[y]);
            if (strlen(joined) > 12 ||
                json_object_get(json_object_get(json_object_get(root, "model"), "vocab"), joined))
                continue;
            fixture_merge(root, texts[x], texts[y]);
            memcpy(texts[known], joined, strlen(joined) + 1);
            ids[known] = (int32_t)(256 + n);
            merges[n][0] = ids[x];
            merges[n][1] = ids[y];
            merges[n++][2] = ids[known++];
        }
        vkmoe_tokenizer *t = fixture_load(root, NULL);
        for (int round = 0; round < 50; round++) {
            char text[80];
            int32_t wanted[80], *found = NULL;
            size_t size = random_u32(&random) % sizeof(text), count;
            for (size_t i = 0; i < size; i++)
                wanted[i] = text[i] = (char)('a' + random_u32(&random) % 3);
            size_t n_wanted = merge_by_definition(merges, n, wanted, size);
            assert_int_equal(vkmoe_tokenizer_encode(t, text, size, false, &found, &count, NULL),
                             VKMOE_OK);
            assert_int_equal(count, n_wanted);
            for (size_t i = 0; i < count; i++)
                assert_int_equal(found[i], wanted[i]);
            vkmoe_tokenizer_free(t, found);
        }
        vkmoe_tokenizer_destroy(t);
    }
}

static void equal_ranks_merge_from_the_left(void **state)
{
    (void)state;
    json_t *root = fixture_new();
    fixture_merge(root, "a", "a");
    vkmoe_tokenizer *t = fixture_load(root, NULL);
    expect_ids(t, "aaaaa", "256 256 97");
    vkmoe_tokenizer_destroy(t);
}

static void merges_may_be_strings_or_pairs(void **state)
{
    (void)state;
    for (int pairs = 0; pairs < 2; pairs++) {
        json_t *root = fixture_new();
        fixture_merge(root, "l", "o");
        fixture_merge(root, "Ġ", "lo");
        if (pairs)
            fixture_set_model(root, "merges", "[[\"l\",\"o\"],[\"Ġ\",\"lo\"]]");
        vkmoe_tokenizer *t = fixture_load(root, NULL);
        expect_ids(t, "lo lol", "256 257 108");
        vkmoe_tokenizer_destroy(t);
    }
}

static void of_a_merge_listed_twice_the_last_rank_counts(void **state)
{
    (void)state;
    json_t *root = fixture_new();
    fixture_merge(root, "a", "b");
    fixture_merge(root, "b", "c");
    json_array_append_new(json_object_get(json_object_get(root, "model"), "merges"),
                          json_string("a b"));
    vkmoe_tokenizer *t = fixture_load(root, NULL);
    expect_ids(t, "abc", "97 257");
    vkmoe_tokenizer_destroy(t);
}

static void ignore_merges_takes_whole_tokens_first(void **state)
{
    (void)state;
    for (int ignore = 0; ignore < 2; ignore++) {
        json_t *root = fixture_new();
        fixture_merge(root, "b", "c");
        fixture_merge(root, "a", "b");
        fixture_merge(root, "ab", "c");
        fixture_set_model(root, "ignore_merges", ignore ? "true" : "false");
        vkmoe_tokenizer *t = fixture_load(root, NULL);
        expect_ids(t, "abc", ignore ? "258" : "97 256");
        expect_ids(t, "abcd", "97 256 100");
        vkmoe_tokenizer_destroy(t);
    }
}

static void a_byte_without_a_token_becomes_the_unknown_token(void **state)
{
    (void)state;
    for (int fuse = 0; fuse < 2; fuse++) {
        json_t *root = fixture_new();
        json_object_del(json_object_get(json_object_get(root, "model"), "vocab"), "q");
        fixture_add(root, 300, "<unk>", "{\"special\": true}");
        fixture_set_model(root, "unk_token", "\"<unk>\"");
        fixture_set_model(root, "fuse_unk", fuse ? "true" : "false");
        vkmoe_tokenizer *t = fixture_load(root, NULL);
        expect_ids(t, "aqqbq", fuse ? "97 300 98 300" : "97 300 300 98 300");
        vkmoe_tokenizer_destroy(t);
    }
}

static void a_byte_without_any_token_is_refused(void **state)
{
    (void)state;
    vkmoe_error err = {0};
    int32_t *ids = NULL;
    size_t count;
    json_t *root = fixture_new();
    json_object_del(json_object_get(json_object_get(root, "model"), "vocab"), "q");
    vkmoe_tokenizer *t = fixture_load(root, NULL);
    expect_failure(vkmoe_tokenizer_encode(t, "aq", 2, false, &ids, &count, &err), &err,
                   VKMOE_UNSUPPORTED, "0x71", NULL);
    assert_null(ids);
    vkmoe_tokenizer_destroy(t);
}

static void holes_in_the_ids_are_allowed_but_have_no_text(void **state)
{
    (void)state;
    vkmoe_error err = {0};
    char *bytes = NULL;
    size_t size;
    const int32_t hole = 1000;
    json_t *root = fixture_new();
    fixture_add(root, 2000, "far", "{}");
    vkmoe_tokenizer *t = fixture_load(root, NULL);
    assert_int_equal(vkmoe_tokenizer_size(t), 2001);
    expect_ids(t, "a far", "97 32 2000");
    expect_failure(vkmoe_tokenizer_decode(t, &hole, 1, true, &bytes, &size, &err), &err,
                   VKMOE_INVALID_ARGUMENT, "1000", NULL);
    vkmoe_tokenizer_destroy(t);
}

int main(void)
{
    const struct CMUnitTest shipped[] = {
        cmocka_unit_test(golden_texts_get_their_ids),
        cmocka_unit_test(golden_prompts_get_their_ids_with_bos),
        cmocka_unit_test(golden_continuations_decode_to_their_text),
        cmocka_unit_test(the_shipped_model_names_its_special_tokens),
        cmocka_unit_test(every_character_survives_a_round_trip),
        cmocka_unit_test(random_texts_survive_a_round_trip),
        cmocka_unit_test(zero_bytes_are_text_like_any_other),
        cmocka_unit_test(invalid_utf8_is_refused_at_its_offset),
        cmocka_unit_test(bos_comes_first_but_never_twice),
        cmocka_unit_test(special_tokens_have_text_only_on_request),
        cmocka_unit_test(tokens_decode_to_any_bytes),
        cmocka_unit_test(ids_outside_the_vocabulary_are_refused),
        cmocka_unit_test(null_arguments_are_refused),
        cmocka_unit_test(threads_share_one_tokenizer),
        cmocka_unit_test(a_word_of_a_megabyte_takes_seconds_at_most),
        cmocka_unit_test(merging_follows_the_ranks),
        cmocka_unit_test(equal_ranks_merge_from_the_left),
        cmocka_unit_test(merges_may_be_strings_or_pairs),
        cmocka_unit_test(of_a_merge_listed_twice_the_last_rank_counts),
        cmocka_unit_test(ignore_merges_takes_whole_tokens_first),
        cmocka_unit_test(a_byte_without_a_token_becomes_the_unknown_token),
        cmocka_unit_test(a_byte_without_any_token_is_refused),
        cmocka_unit_test(holes_in_the_ids_are_allowed_but_have_no_text),
    };
    return cmocka_run_group_tests(shipped, load_shipped, drop_shipped);
}
