/* The steps of a tokenizer before merging: added tokens, normal forms, and where text is cut. */
#include "text/pretokenizer.h"
#include "tokenizer_fixture.h"

struct pieces {
    char text[4096];
    size_t used;
};

static vkmoe_status collect(void *user, const char *piece, size_t size)
{
    struct pieces *p = user;
    assert_true(size > 0 && p->used + size + 2 < sizeof(p->text));
    if (p->used > 0)
        p->text[p->used++] = '|';
    memcpy(p->text + p->used, piece, size);
    p->used += size;
    p->text[p->used] = '\0';
    return VKMOE_OK;
}

/* Cuts text by a pre_tokenizer given as JSON and compares the pieces, written with | between. */
static void expect_pieces_of(json_t *json, const char *text, const char *wanted)
{
    struct pieces pieces = {0};
    vkmoe_error err = {0};
    const struct vkm_source source = {NULL, "tokenizer.json", &err};
    struct vkm_pretokenizer *p = NULL;
    struct vkm_cutter *c = NULL;
    if (vkm_pretokenizer_create(&source, json, &p) != VKMOE_OK ||
        vkm_cutter_create(p, &c, &err) != VKMOE_OK ||
        vkm_cutter_run(c, text, strlen(text), collect, &pieces, &err) != VKMOE_OK)
        fail_msg("%s", err.message);
    vkm_cutter_destroy(c);
    vkm_pretokenizer_destroy(p);
    assert_string_equal(pieces.text, wanted);
}

/* The same for steps before a ByteLevel step that does not split. */
static void expect_pieces(const char *steps, const char *text, const char *wanted)
{
    json_t *root = fixture_new();
    fixture_steps(root, steps);
    expect_pieces_of(json_object_get(root, "pre_tokenizer"), text, wanted);
    json_decref(root);
}

#define SPLIT(kind, pattern, behaviour, invert)                                                    \
    "{\"type\": \"Split\", \"pattern\": {\"" kind "\": \"" pattern                                 \
    "\"}, \"behavior\": \"" behaviour "\", \"invert\": " invert "}"
#define REGEX(pattern) SPLIT("Regex", pattern, "Isolated", "false")
#define DASH(behaviour, invert) SPLIT("String", "-", behaviour, invert)

static void each_behaviour_places_the_match(void **state)
{
    (void)state;
    expect_pieces(DASH("Isolated", "false"), "-ab-c--d-", "-|ab|-|c|-|-|d|-");
    expect_pieces(DASH("Removed", "false"), "-ab-c--d-", "ab|c|d");
    expect_pieces(DASH("MergedWithPrevious", "false"), "-ab-c--d-", "-|ab-|c-|-|d-");
    expect_pieces(DASH("MergedWithNext", "false"), "-ab-c--d-", "-ab|-c|-|-d|-");
    expect_pieces(DASH("Contiguous", "false"), "-ab-c--d-", "-|ab|-|c|--|d|-");
}

static void an_inverted_split_takes_what_does_not_match(void **state)
{
    (void)state;
    expect_pieces(DASH("Isolated", "true"), "-ab-c--d-", "-|ab|-|c|-|-|d|-");
    expect_pieces(DASH("Removed", "true"), "-ab-c--d-", "-|-|-|-|-");
    expect_pieces(DASH("MergedWithPrevious", "true"), "-ab-c--d-", "-ab|-c|-|-d|-");
    expect_pieces(DASH("MergedWithNext", "true"), "-ab-c--d-", "-|ab-|c-|-|d-");
    expect_pieces(DASH("Contiguous", "true"), "-ab-c--d-", "-|ab|-|c|--|d|-");
    expect_pieces(DASH("Removed", "true"), "abc", "");
}

static void a_string_pattern_is_no_regex(void **state)
{
    (void)state;
    expect_pieces(SPLIT("String", ".", "Isolated", "false"), "a.b", "a|.|b");
    expect_pieces(SPLIT("String", "(é", "Isolated", "false"), "a(éb", "a|(é|b");
}

static void every_piece_is_a_text_of_its_own_for_the_next_step(void **state)
{
    (void)state;
    expect_pieces(SPLIT("String", ",", "Isolated", "false") "," REGEX("^x") "," REGEX("y$"),
                  "xxy,xyy,zx", "x|x|y|,|x|y|y|,|zx");
    expect_pieces(SPLIT("String", ",", "Removed", "false") "," REGEX("(?<=a)b"), "ab,b", "a|b|b");
}

static void character_classes_know_unicode(void **state)
{
    (void)state;
    expect_pieces(REGEX("\\\\s"), "a\u3000b\u00a0c\u200bd", "a|\u3000|b|\u00a0|c\u200bd");
    expect_pieces(REGEX("\\\\d+"), "a３٣½b", "a|３٣|½b");
    expect_pieces(REGEX("(?i:é)"), "aÉb", "a|É|b");
    expect_pieces(REGEX("[一-龥]+"), "a你好b", "a|你好|b");
}

static void anchors_match_at_every_line(void **state)
{
    (void)state;
    expect_pieces(REGEX("^a"), "aa\\naa", "a|a\\naa");
    expect_pieces(REGEX("^a"), "aa\naa", "a|a\n|a|a");
    expect_pieces(REGEX("a$"), "aa\naa\n", "a|a|\na|a|\n");
    expect_pieces(REGEX("a\\\\z"), "aa\naa", "aa\na|a");
}

static void trailing_spaces_are_found_at_every_line_end(void **state)
{
    (void)state;
    expect_pieces(REGEX("\\\\s+$"), "a  b  ", "a  b|  ");
    expect_pieces(REGEX("\\\\s+$"), "  \n  x \ny", "  |\n  x| |\ny");
    expect_pieces(REGEX("\\\\s+$"), " \n \n", " \n \n");
    expect_pieces(REGEX("\\\\s+$"), "x\n\n\n y", "x|\n\n|\n y");
}

static void empty_matches_cut_without_taking_text(void **state)
{
    (void)state;
    expect_pieces(REGEX("(?=[A-Z])"), "fooBarÉßX", "foo|BarÉß|X");
    expect_pieces(REGEX("b*"), "abba", "a|bb|a");
    expect_pieces(REGEX("b+|(?=C)"), "bbaCaC", "bb|a|Ca|C");
    expect_pieces(SPLIT("Regex", "b*", "MergedWithNext", "false"), "abbac", "a|bba|c");
    expect_pieces(SPLIT("String", "", "Isolated", "false"), "aé", "a|é");
}

static void digits_stand_alone_or_together(void **state)
{
    (void)state;
    expect_pieces("{\"type\": \"Digits\", \"individual_digits\": true}", "a12 ３½b",
                  "a|1|2| |３|½|b");
    expect_pieces("{\"type\": \"Digits\", \"individual_digits\": false}", "a12 ３½b",
                  "a|12| |３½|b");
}

static void byte_level_splits_as_gpt2_does(void **state)
{
    json_t *json = json_pack("{s:s, s:b}", "type", "ByteLevel", "add_prefix_space", 0);
    (void)state;
    expect_pieces_of(json, "I'll see: 12 été's  x ", "I|'ll| see|:| 12| été|'s| | x| ");
    json_decref(json);
}

static void byte_level_puts_a_space_before_pieces(void **state)
{
    json_t *json = json_pack("{s:s, s:b}", "type", "ByteLevel", "add_prefix_space", 1);
    (void)state;
    expect_pieces_of(json, "ab c", " ab| c");
    expect_pieces_of(json, " ab c", " ab| c");
    expect_pieces_of(json, "", "");
    json_decref(json);
    json = json_pack("{s:s, s:[{s:s, s:b}, {s:s, s:b, s:b}]}", "type", "Sequence", "pretokenizers",
                     "type", "Digits", "individual_digits", 1, "type", "ByteLevel",
                     "add_prefix_space", 1, "use_regex", 0);
    expect_pieces_of(json, "a1 b", " a| 1| b");
    json_decref(json);
}

static void deepseek_steps_cut_as_expected(void **state)
{
    json_error_t error;
    json_t *root = json_load_file(VKMOE_TEST_MODEL "/tokenizer.json", 0, &error);
    const json_t *steps = json_object_get(root, "pre_tokenizer");
    (void)state;
    assert_non_null(root);
    expect_pieces_of((json_t *)(uintptr_t)steps, "Hi you,  7x\r\n 你好a世界  \n",
                     "Hi| you|,|  |7|x|\r|\n| |你好|a|世界|  |\n");
    json_decref(root);
}

static void a_runaway_pattern_is_an_error_not_a_hang(void **state)
{
    (void)state;
    vkmoe_error err = {0};
    int32_t *ids = NULL;
    size_t count;
    json_t *root = fixture_new();
    fixture_steps(root, REGEX("(?:a+)+b"));
    vkmoe_tokenizer *t = fixture_load(root, NULL);
    const char *text = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac b";
    expect_failure(vkmoe_tokenizer_encode(t, text, strlen(text), false, &ids, &count, &err), &err,
                   VKMOE_UNSUPPORTED, "limit", NULL);
    assert_null(ids);
    vkmoe_tokenizer_destroy(t);
}

static void deep_patterns_outgrow_the_jit_stack_unharmed(void **state)
{
    (void)state;
    size_t size = 200000;
    char *text = malloc(size + 1);
    json_t *root = fixture_new();
    fixture_steps(root, REGEX("(?:ab|cd)+"));
    vkmoe_tokenizer *t = fixture_load(root, NULL);
    assert_non_null(text);
    for (size_t i = 0; i < size; i++)
        text[i] = "abcd"[i % 4];
    expect_round_trip(t, text, size);
    free(text);
    vkmoe_tokenizer_destroy(t);
}

static void the_longest_added_token_wins_at_the_leftmost_place(void **state)
{
    (void)state;
    json_t *root = fixture_new();
    fixture_add(root, 300, "ab", "{}");
    fixture_add(root, 301, "abcd", "{}");
    fixture_add(root, 302, "bcde", "{}");
    vkmoe_tokenizer *t = fixture_load(root, NULL);
    expect_ids(t, "xabcde", "120 301 101");
    expect_ids(t, "xabcxab", "120 300 99 120 300");
    expect_ids(t, "bcdeab", "302 300");
    vkmoe_tokenizer_destroy(t);
}

/* DeepSeek's files have such tokens, for the bytes that UTF-8 never holds. */
static void an_added_character_of_the_byte_alphabet_stands_for_itself(void **state)
{
    (void)state;
    json_t *root = fixture_new();
    json_object_del(json_object_get(json_object_get(root, "model"), "vocab"), "ÿ");
    fixture_add(root, 300, "ÿ", "{}");
    vkmoe_tokenizer *t = fixture_load(root, NULL);
    expect_ids(t, "aÿb", "97 300 98");
    expect_round_trip(t, "aÿb", strlen("aÿb"));
    vkmoe_tokenizer_destroy(t);
}

static void added_tokens_may_take_the_space_beside_them(void **state)
{
    (void)state;
    json_t *root = fixture_new();
    fixture_add(root, 300, "<l>", "{\"lstrip\": true}");
    fixture_add(root, 301, "<r>", "{\"rstrip\": true}");
    fixture_add(root, 302, "<n>", "{}");
    vkmoe_tokenizer *t = fixture_load(root, NULL);
    expect_ids(t, "a \t <l> b", "97 300 32 98");
    expect_ids(t, "a <r> \u00a0\u2003b", "97 32 301 98");
    expect_ids(t, "a <n> b", "97 32 302 32 98");
    expect_ids(t, "<r>  <l>", "301 300");
    vkmoe_tokenizer_destroy(t);
}

static void a_single_word_token_does_not_match_inside_a_word(void **state)
{
    (void)state;
    json_t *root = fixture_new();
    fixture_add(root, 300, "is", "{\"single_word\": true}");
    vkmoe_tokenizer *t = fixture_load(root, NULL);
    expect_ids(t, "is", "300");
    expect_ids(t, "(is) is.", "40 300 41 32 300 46");
    expect_ids(t, "his", "104 105 115");
    expect_ids(t, "is_", "105 115 95");
    expect_ids(t, "éis", "195 169 105 115");
    vkmoe_tokenizer_destroy(t);
}

static void normalised_tokens_are_matched_in_normalised_text(void **state)
{
    (void)state;
    json_t *root = fixture_new();
    fixture_set(root, "normalizer", "{\"type\": \"NFC\"}");
    fixture_add(root, 300, "cafe\u0301", "{\"normalized\": true}");
    fixture_add(root, 301, "the\u0301", "{\"normalized\": false}");
    vkmoe_tokenizer *t = fixture_load(root, NULL);
    expect_ids(t, "caf\u00e9", "300");
    expect_ids(t, "cafe\u0301", "300");
    expect_ids(t, "the\u0301", "301");
    expect_ids(t, "th\u00e9", "116 104 195 169");
    vkmoe_tokenizer_destroy(t);
}

static void text_takes_the_normal_form(void **state)
{
    static const struct {
        const char *normalizer, *ids;
    } cases[] = {
        {"null", "101 204 129 239 172 129"},
        {"{\"type\": \"Sequence\", \"normalizers\": []}", "101 204 129 239 172 129"},
        {"{\"type\": \"NFC\"}", "195 169 239 172 129"},
        {"{\"type\": \"NFD\"}", "101 204 129 239 172 129"},
        {"{\"type\": \"NFKC\"}", "195 169 102 105"},
        {"{\"type\": \"NFKD\"}", "101 204 129 102 105"},
        {"{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFKD\"}, {\"type\": \"NFC\"}]}",
         "195 169 102 105"},
        {"{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"}, {\"type\": \"NFD\"}]}",
         "101 204 129 239 172 129"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *root = fixture_new();
        fixture_set(root, "normalizer", cases[i].normalizer);
        vkmoe_tokenizer *t = fixture_load(root, NULL);
        expect_ids(t, "e\u0301\ufb01", cases[i].ids);
        expect_ids(t, "", "");
        vkmoe_tokenizer_destroy(t);
    }
}

static void marks_take_canonical_order_however_many(void **state)
{
    enum { PAIRS = 300000 };
    (void)state;
    json_t *root = fixture_new();
    fixture_set(root, "normalizer", "{\"type\": \"NFD\"}");
    vkmoe_tokenizer *t = fixture_load(root, NULL);
    int32_t *ids = NULL;
    size_t count;
    char *text = malloc(4 * PAIRS);
    assert_non_null(text);
    for (size_t i = 0; i < PAIRS; i++)
        memcpy(text + 4 * i, "\u0301\u0316", 4); /* classes 230 and 220 */
    assert_int_equal(vkmoe_tokenizer_encode(t, text, 4 * PAIRS, false, &ids, &count, NULL),
                     VKMOE_OK);
    assert_int_equal(count, 4 * PAIRS);
    for (size_t i = 0; i < count; i += 2) {
        assert_int_equal(ids[i], 0xcc);
        assert_int_equal(ids[i + 1], i < count / 2 ? 0x96 : 0x81);
    }
    vkmoe_tokenizer_free(t, ids);
    free(text);
    vkmoe_tokenizer_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_behaviour_places_the_match),
        cmocka_unit_test(an_inverted_split_takes_what_does_not_match),
        cmocka_unit_test(a_string_pattern_is_no_regex),
        cmocka_unit_test(every_piece_is_a_text_of_its_own_for_the_next_step),
        cmocka_unit_test(character_classes_know_unicode),
        cmocka_unit_test(anchors_match_at_every_line),
        cmocka_unit_test(trailing_spaces_are_found_at_every_line_end),
        cmocka_unit_test(empty_matches_cut_without_taking_text),
        cmocka_unit_test(digits_stand_alone_or_together),
        cmocka_unit_test(byte_level_splits_as_gpt2_does),
        cmocka_unit_test(byte_level_puts_a_space_before_pieces),
        cmocka_unit_test(deepseek_steps_cut_as_expected),
        cmocka_unit_test(a_runaway_pattern_is_an_error_not_a_hang),
        cmocka_unit_test(deep_patterns_outgrow_the_jit_stack_unharmed),
        cmocka_unit_test(the_longest_added_token_wins_at_the_leftmost_place),
        cmocka_unit_test(an_added_character_of_the_byte_alphabet_stands_for_itself),
        cmocka_unit_test(added_tokens_may_take_the_space_beside_them),
        cmocka_unit_test(a_single_word_token_does_not_match_inside_a_word),
        cmocka_unit_test(normalised_tokens_are_matched_in_normalised_text),
        cmocka_unit_test(text_takes_the_normal_form),
        cmocka_unit_test(marks_take_canonical_order_however_many),
    };
    return cmocka_run_group_tests(tests, test_folder_setup, test_folder_teardown);
}
