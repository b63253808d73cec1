/* vkmoe perplexity as scripts see it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "folder.h"
#include "measured.h"

static void write_text(const char *name, size_t copies)
{
    char text[16384] = "";
    for (size_t i = 0; i < copies; i++)
        strcat(text, measured_document()->text);
    test_folder_write_text(name, text);
}

static void a_held_out_text_costs_what_the_float64_model_says(void **state)
{
    (void)state;
    struct test_process p = {.folder = test_folder()};
    write_text("text", 1);
    test_vkmoe(&p, "perplexity", "-f", "text", "--json");
    json_t *root = measured_json(&p);
    double nll = measured_document()->nll / (double)measured_document()->n_tokens;
    assert_int_equal(measured_number(root, "tokens"), measured_document()->n_tokens);
    assert_int_equal(measured_number(root, "bytes"), strlen(measured_document()->text));
    assert_true(fabs(measured_number(root, "nll") - nll) <= 1e-4 * nll);
    assert_true(fabs(measured_number(root, "perplexity") - exp(nll)) <= 1e-3 * exp(nll));
    double bits = measured_document()->nll / log(2) / (double)strlen(measured_document()->text);
    assert_true(fabs(measured_number(root, "bits_per_byte") - bits) <= 1e-4 * bits);
    json_decref(root);
}

static void the_text_tells_the_same(void **state)
{
    (void)state;
    struct test_process p = {.folder = test_folder(), .input = measured_document()->text};
    p.input_size = strlen(measured_document()->text);
    char line[64];
    test_vkmoe(&p, "perplexity", "-f", "-");
    test_process_assert_code(&p, 0);
    snprintf(line, sizeof(line), "%.4f nats per token",
             measured_document()->nll / (double)measured_document()->n_tokens);
    test_assert_part(p.out, line);
    snprintf(line, sizeof(line), "tokens         %zu in 1 windows", measured_document()->n_tokens);
    test_assert_part(p.out, line);
    test_process_free(&p);
}

/* From a file that says that all is done, and from one that says that nothing is. */
static void a_measurement_goes_on_from_its_file(void **state)
{
    (void)state;
    struct test_process whole = {.folder = test_folder()}, first = whole, rest = whole;
    write_text("text", 3);
    test_vkmoe(&whole, "perplexity", "-f", "text", "-c", "64", "--json", "--resume", "whole");
    json_t *expected = measured_json(&whole);
    json_t *state_file = json_load_file(test_folder_path("whole"), 0, NULL);
    assert_non_null(state_file);
    assert_int_equal(measured_number(state_file, "next"), measured_number(state_file, "tokens"));
    json_decref(state_file);

    test_vkmoe(&first, "perplexity", "-f", "text", "-c", "64", "--resume", "whole", "--json");
    test_assert_part(first.err, "going on from whole");
    json_t *again = measured_json(&first);
    assert_true(json_equal(again, expected));
    json_decref(again);

    state_file = json_load_file(test_folder_path("whole"), 0, NULL);
    json_object_set_new(state_file, "next", json_integer(0));
    json_object_set_new(state_file, "windows", json_integer(0));
    json_object_set_new(state_file, "scored", json_integer(0));
    json_object_set_new(state_file, "bytes", json_integer(0));
    static const char *const sums[] = {"sum", "sum_squares", "sum_products", "count_squares"};
    for (size_t i = 0; i < 4; i++)
        json_object_set_new(state_file, sums[i], json_real(0));
    assert_int_equal(json_dump_file(state_file, test_folder_path("begun"), 0), 0);
    json_decref(state_file);
    test_vkmoe(&rest, "perplexity", "-f", "text", "-c", "64", "--resume", "begun", "--json");
    again = measured_json(&rest);
    assert_true(json_equal(again, expected));
    json_decref(again);
    json_decref(expected);
}

static void a_file_of_another_measurement_is_refused_and_kept(void **state)
{
    (void)state;
    static const struct {
        const char *arguments[4], *part;
    } cases[] = {
        {{"-c", "32"}, "resume: 'context' is not 32"},
        {{"-c", "64", "--stride", "8"}, "resume: 'stride' is not 8"},
        {{"-c", "64", "--experts", "3"}, "'routing' is"},
        {{"-c", "64", "--weights", "q8"}, "resume: 'weights' is bf16, expected q8"},
        {{"-c", "64", "--kv", "bf16"}, "resume: 'kv' is f32, expected bf16"},
    };
    struct test_process p = {.folder = test_folder()};
    size_t size;
    write_text("text", 1);
    write_text("other", 2);
    test_vkmoe(&p, "perplexity", "-f", "text", "-c", "64", "--resume", "resume");
    test_process_assert_code(&p, 0);
    test_process_free(&p);
    char *before = test_file_read(test_folder_path("resume"), &size);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *const *a = cases[i].arguments;
        struct test_process bad = {.folder = test_folder()};
        test_vkmoe(&bad, "perplexity", "-f", "text", "--resume", "resume", a[0], a[1], a[2], a[3]);
        test_process_assert_sentence(&bad, 1, cases[i].part);
        test_process_free(&bad);
    }
    struct test_process bad = {.folder = test_folder()};
    test_vkmoe(&bad, "perplexity", "-f", "other", "-c", "64", "--resume", "resume");
    test_process_assert_sentence(&bad, 1, "resume: 'text' is ");
    test_process_free(&bad);
    char *after = test_file_read(test_folder_path("resume"), &size);
    assert_string_equal(before, after);
    free(before);
    free(after);
}

static void what_is_no_measurement_is_named(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "{", "[]", "{\"model\": 3}"};
    write_text("text", 1);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct test_process p = {.folder = test_folder()};
        test_folder_write_text("bad", texts[i]);
        test_vkmoe(&p, "perplexity", "-f", "text", "--resume", "bad");
        test_process_assert_sentence(&p, 1, "bad: ");
        test_process_free(&p);
    }
}

static void bad_texts_and_windows_are_one_sentence(void **state)
{
    (void)state;
    static const struct {
        const char *text, *arguments[4], *part;
        int code;
    } cases[] = {
        {"", {NULL}, "the text text is empty", 1},
        {"a\xff", {NULL}, "text: ", 1},
        {"some text", {"-c", "1"}, "windows of 1 tokens", 1},
        {"some text", {"-c", "8", "--stride", "9"}, "a stride of 9 tokens", 1},
        {"some text", {"-c", "0"}, "-c: '0'", 2},
        {"some text", {"--stride", "0"}, "--stride: '0'", 2},
        {"some text", {"more"}, "'more' is not an option", 2},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *const *a = cases[i].arguments;
        struct test_process p = {.folder = test_folder()};
        test_folder_write_text("text", cases[i].text);
        test_vkmoe(&p, "perplexity", "-f", "text", a[0], a[1], a[2], a[3]);
        test_process_assert_sentence(&p, cases[i].code, cases[i].part);
        test_process_free(&p);
    }
    struct test_process p = {.folder = test_folder()}, missing = p;
    test_vkmoe(&p, "perplexity");
    test_process_assert_sentence(&p, 2, "-f FILE");
    test_process_free(&p);
    test_vkmoe(&missing, "perplexity", "-f", "nowhere");
    test_process_assert_sentence(&missing, 1, "nowhere");
    test_process_free(&missing);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FOLDER(a_held_out_text_costs_what_the_float64_model_says),
        TEST_IN_FOLDER(the_text_tells_the_same),
        TEST_IN_FOLDER(a_measurement_goes_on_from_its_file),
        TEST_IN_FOLDER(a_file_of_another_measurement_is_refused_and_kept),
        TEST_IN_FOLDER(what_is_no_measurement_is_named),
        TEST_IN_FOLDER(bad_texts_and_windows_are_one_sentence),
    };
    return cmocka_run_group_tests(tests, measured_setup, measured_teardown);
}
