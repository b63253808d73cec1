/* Text as it is streamed: whole characters only, and nothing of what ends it. */
#include "tokenizer_fixture.h"

#include "../../apps/cli/stream.h"

#define REPLACEMENT "\xef\xbf\xbd"

static struct {
    char text[1024];
    size_t size, writes;
    size_t most; /* after so many writes no more is wanted; 0: always */
} seen;

static bool is_whole(const char *text, size_t size)
{
    for (size_t at = 0; at < size;) {
        unsigned char lead = (unsigned char)text[at];
        at += lead < 0x80 ? 1 : lead < 0xc2 ? size + 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
        if (at > size)
            return false;
    }
    return true;
}

static bool collect(void *user, const char *text, size_t size)
{
    (void)user;
    assert_true(seen.size + size < sizeof(seen.text));
    if (!is_whole(text, size))
        fail_msg("a piece of %zu bytes is not made of whole characters", size);
    memcpy(seen.text + seen.size, text, size);
    seen.size += size;
    seen.text[seen.size] = '\0';
    return ++seen.writes != seen.most;
}

static struct cli_stream stream_of(const char *const *stops)
{
    struct cli_stream s = {.stops = stops, .write = collect};
    while (stops && stops[s.n_stops])
        s.n_stops++;
    memset(&seen, 0, sizeof(seen));
    return s;
}

/* Feeds text in pieces of `step` bytes and compares all that is written. */
static void expect_written(struct cli_stream *s, const char *text, size_t step, const char *wanted)
{
    size_t size = strlen(text);
    bool more = true;
    for (size_t at = 0; at < size && more; at += step)
        more = cli_stream_bytes(s, text + at, size - at < step ? size - at : step);
    assert_true(more == !s->stopped);
    cli_stream_finish(s);
    assert_string_equal(seen.text, wanted);
}

static const char *const characters = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z";

static void characters_are_never_split(void **state)
{
    (void)state;
    for (size_t step = 1; step < 12; step++) {
        struct cli_stream s = stream_of(NULL);
        expect_written(&s, characters, step, characters);
    }
}

static void a_character_is_written_as_soon_as_it_is_whole(void **state)
{
    static const size_t written[] = {1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11};
    struct cli_stream s = stream_of(NULL);
    (void)state;
    for (size_t i = 0; i < sizeof(written) / sizeof(written[0]); i++) {
        assert_true(cli_stream_bytes(&s, characters + i, 1));
        assert_int_equal(seen.size, written[i]);
    }
    cli_stream_finish(&s);
}

static void tokens_that_are_bytes_make_characters(void **state)
{
    vkmoe_tokenizer *t = fixture_load(fixture_new(), NULL);
    struct cli_stream s = stream_of(NULL);
    (void)state;
    s.tokenizer = t;
    for (const char *p = characters; *p; p++)
        assert_true(cli_stream_token(&s, (unsigned char)*p));
    assert_true(cli_stream_token(&s, 99999)); /* the vocabulary of a model can be larger */
    cli_stream_finish(&s);
    assert_string_equal(seen.text, characters);
    vkmoe_tokenizer_destroy(t);
}

static void half_a_character_at_the_end_is_replaced(void **state)
{
    static const char *const texts[][2] = {
        {"a\xc3", "a" REPLACEMENT},
        {"a\xe2\x82", "a" REPLACEMENT REPLACEMENT},
        {"\xf0\x9f\x98", REPLACEMENT REPLACEMENT REPLACEMENT},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct cli_stream s = stream_of(NULL);
        expect_written(&s, texts[i][0], 1, texts[i][1]);
    }
}

static void bytes_that_are_no_text_are_replaced(void **state)
{
    static const char *const texts[][2] = {
        {"\x80x", REPLACEMENT "x"},
        {"\xff\xc3\xa9", REPLACEMENT "\xc3\xa9"},
        {"\xc3x", REPLACEMENT "x"},
        {"\xe2\x82\xc3\xa9", REPLACEMENT REPLACEMENT "\xc3\xa9"},
        {"\xed\xa0\x80!", REPLACEMENT REPLACEMENT REPLACEMENT "!"}, /* a surrogate */
        {"\xc0\xaf", REPLACEMENT REPLACEMENT},                      /* an overlong slash */
        {"\xf4\x90\x80\x80", REPLACEMENT REPLACEMENT REPLACEMENT REPLACEMENT},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        for (size_t step = 1; step < 5; step++) {
            struct cli_stream s = stream_of(NULL);
            expect_written(&s, texts[i][0], step, texts[i][1]);
        }
    }
}

static void text_ends_before_a_stop_however_it_comes(void **state)
{
    static const struct {
        const char *stops[4], *text, *wanted;
        bool stopped;
    } cases[] = {
        {{"END"}, "one END two", "one ", true},
        {{"END"}, "one EN", "one EN", false},
        {{"END"}, "EENDX", "E", true},
        {{"aab"}, "aaab", "a", true},
        {{"abab", "ba"}, "xabax", "xa", true},
        {{"abcd", "bc"}, "abce", "a", true},
        {{"\n\n"}, "a\nb\n\nc", "a\nb", true},
        {{"\xe2\x82\xac"}, "1\xc3\xa9\xe2\x82\xac", "1\xc3\xa9", true},
        {{"END"}, "END", "", true},
        {{"long enough to be held", "x"}, "long enough to be", "long enough to be", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t step = 1; step < 16; step++) {
            struct cli_stream s = stream_of(cases[i].stops);
            expect_written(&s, cases[i].text, step, cases[i].wanted);
            assert_true(s.stopped == cases[i].stopped);
        }
    }
}

static void what_may_begin_a_stop_waits_and_the_rest_does_not(void **state)
{
    static const char *const stops[] = {"User:", NULL};
    struct cli_stream s = stream_of(stops);
    (void)state;
    assert_true(cli_stream_bytes(&s, "hello Us", 8));
    assert_string_equal(seen.text, "hello ");
    assert_true(cli_stream_bytes(&s, "ual", 3));
    assert_string_equal(seen.text, "hello Usual");
    assert_true(cli_stream_bytes(&s, " User", 5));
    assert_string_equal(seen.text, "hello Usual ");
    assert_false(cli_stream_bytes(&s, ": more", 6));
    assert_false(cli_stream_bytes(&s, "and more", 8));
    cli_stream_finish(&s);
    assert_string_equal(seen.text, "hello Usual ");
}

static void white_space_before_the_text_is_dropped_where_asked(void **state)
{
    (void)state;
    for (size_t step = 1; step < 8; step++) {
        struct cli_stream kept = stream_of(NULL);
        expect_written(&kept, " \n a b ", step, " \n a b ");
        struct cli_stream trimmed = stream_of(NULL);
        trimmed.trim_start = true;
        expect_written(&trimmed, " \n a b ", step, "a b ");
    }
}

static void a_writer_can_end_it(void **state)
{
    struct cli_stream s = stream_of(NULL);
    (void)state;
    seen.most = 2;
    assert_true(cli_stream_bytes(&s, "a", 1));
    assert_false(cli_stream_bytes(&s, "b", 1));
    cli_stream_finish(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(characters_are_never_split),
        cmocka_unit_test(a_character_is_written_as_soon_as_it_is_whole),
        cmocka_unit_test_setup_teardown(tokens_that_are_bytes_make_characters, test_folder_setup,
                                        test_folder_teardown),
        cmocka_unit_test(half_a_character_at_the_end_is_replaced),
        cmocka_unit_test(bytes_that_are_no_text_are_replaced),
        cmocka_unit_test(text_ends_before_a_stop_however_it_comes),
        cmocka_unit_test(what_may_begin_a_stop_waits_and_the_rest_does_not),
        cmocka_unit_test(white_space_before_the_text_is_dropped_where_asked),
        cmocka_unit_test(a_writer_can_end_it),
    };
    return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
