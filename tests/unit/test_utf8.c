/* Text from anywhere, made fit to be shown: control characters, malformed bytes, cuts. */
#include "base/base.h"
#include "base/json.h"
#include "base/utf8.h"
#include "unit.h"

static void malformed_text_is_found_at_its_first_bad_byte(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t bad;
    } cases[] = {
        {"", 0},
        {"plain", 5},
        {"\xc3\xa9", 2},
        {"a\xff", 1},
        {"ab\xc3", 2},
        {"\xc0\x80", 0},
        {"\xe2\x82\xac\xe2", 3},
        {"\xed\xa0\x80", 0},
        {"\xf4\x90\x80\x80", 0},
        {"\xf0\x9f\x98\x80", 4},
        {"a\x80"
         "b",
         1},
    };
    for (size_t i = 0; i < VKM_COUNT(cases); i++)
        assert_int_equal(vkm_utf8_check(cases[i].text, strlen(cases[i].text)), cases[i].bad);
}

static void what_cannot_be_shown_becomes_a_question_mark(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"a plain path/\xc3\xa9\xe2\x82\xac", "a plain path/\xc3\xa9\xe2\x82\xac"},
        {"two\nlines\r\t", "two?lines??"},
        {"\x1b[31mred\x7f", "?[31mred?"},
        {"\xff\xc3", "??"},
        {"\xc2\x9b"
         "31m",
         "?31m"},
        {"\xe2\x80\xa8|\xe2\x80\xa9", "?|?"},
        {"\xed\xa0\x80", "???"},
    };
    for (size_t i = 0; i < VKM_COUNT(cases); i++) {
        char text[64];
        snprintf(text, sizeof(text), "%s", cases[i][0]);
        vkm_utf8_make_printable(text);
        assert_string_equal(text, cases[i][1]);
    }
}

/* Of n two-byte characters after `before` bytes: what is left in 16 bytes. */
static void check_cut(size_t before, size_t n, const char *expected)
{
    char all[128] = "", text[16];
    memset(all, 'x', before);
    for (size_t i = 0; i < n; i++)
        strcat(all, "\xc3\xa9");
    vkm_utf8_finish(text, sizeof(text), snprintf(text, sizeof(text), "%s", all));
    assert_string_equal(text, expected);
    assert_int_equal(vkm_utf8_check(text, strlen(text)), strlen(text));
}

static void long_text_is_cut_between_characters(void **state)
{
    (void)state;
    check_cut(15, 0, "xxxxxxxxxxxxxxx");
    check_cut(16, 0, "xxxxxxxxxxxx...");
    check_cut(1, 7, "x\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9");
    check_cut(0, 8, "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9...");
    check_cut(1, 8, "x\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9...");
}

/* A sentence from a path of `size` bytes, each `unit` again and again. */
static void check_sentence(const char *unit, size_t size)
{
    static char path[5000];
    vkmoe_error err;
    size_t n = strlen(unit);
    for (size_t i = 0; i < size; i++)
        path[i] = unit[i % n];
    path[size] = '\0';
    assert_int_equal(vkm_fail(&err, VKMOE_IO, "cannot open %s", path), VKMOE_IO);
    size_t length = strlen(err.message);
    assert_true(length < sizeof(err.message));
    assert_int_equal(vkm_utf8_check(err.message, length), length);
    for (size_t i = 0; i < length; i++)
        assert_true((unsigned char)err.message[i] >= 0x20 && err.message[i] != 0x7f);
    assert_memory_equal(err.message, "cannot open ", 12);
    if (size > sizeof(err.message))
        assert_string_equal(err.message + length - 3, "...");
}

static void every_sentence_is_one_printable_line_whatever_a_path_holds(void **state)
{
    (void)state;
    static const char *const units[] = {"x",  "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
                                        "\n", "\xff",     "\x80",         "a\xc2"};
    for (size_t i = 0; i < VKM_COUNT(units); i++) {
        for (size_t size = 1000; size < 1030; size++)
            check_sentence(units[i], size);
        check_sentence(units[i], 4999);
        check_sentence(units[i], 1);
    }
}

static void a_piece_of_a_file_inside_a_sentence_is_printable_and_short(void **state)
{
    (void)state;
    char out[VKM_PRINTABLE_SIZE], text[1000];
    assert_string_equal(vkm_printable(out, "a\nb\xff"), "a?b?");
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(strlen(vkm_printable(out, text)), VKM_PRINTABLE_SIZE - 1);
    assert_string_equal(out + VKM_PRINTABLE_SIZE - 5, "x...");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_text_is_found_at_its_first_bad_byte),
        cmocka_unit_test(what_cannot_be_shown_becomes_a_question_mark),
        cmocka_unit_test(long_text_is_cut_between_characters),
        cmocka_unit_test(every_sentence_is_one_printable_line_whatever_a_path_holds),
        cmocka_unit_test(a_piece_of_a_file_inside_a_sentence_is_printable_and_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
