/* vkmoe eval as scripts see it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "folder.h"
#include "measured.h"
#include "sums_task.h"

static void write_task(const char *name, size_t n_items, const char *after)
{
    char *sums = sums_task(n_items);
    size_t size = strlen(sums) + strlen(after) + 1;
    char *text = malloc(size);
    assert_non_null(text);
    snprintf(text, size, "%s%s", sums, after);
    test_folder_write_text(name, text);
    free(text);
    free(sums);
}

static json_t *load(const char *name)
{
    json_t *root = json_load_file(test_folder_path(name), 0, NULL);
    assert_non_null(root);
    return root;
}

static size_t lines_of(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static double number_at(const json_t *item, const char *key, size_t i)
{
    const json_t *value = json_array_get(json_object_get(item, key), i);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

/* The choice that is likeliest by log-likelihood over `key`; NULL: by itself. */
static size_t best(const json_t *item, const char *key)
{
    size_t at = 0;
    double most = -INFINITY;
    for (size_t i = 0; i < json_array_size(json_object_get(item, "log_likelihood")); i++) {
        double value = number_at(item, "log_likelihood", i) / (key ? number_at(item, key, i) : 1);
        assert_true(value < 0);
        at = value > most ? i : at;
        most = fmax(most, value);
    }
    return at;
}

/* Each rule's figures, counted again from the items. */
static void assert_accuracy(const json_t *root, const char *rule, const char *picked,
                            const char *over)
{
    const json_t *accuracy = json_object_get(root, rule), *items = json_object_get(root, "results");
    const json_t *item;
    size_t i, correct = 0;
    json_array_foreach(items, i, item)
    {
        size_t choice = (size_t)measured_number(json_object_get(item, "picked"), picked);
        assert_int_equal(choice, best(item, over));
        correct += choice == (size_t)measured_number(item, "answer");
    }
    double n = (double)json_array_size(items), p = (double)correct / n;
    assert_true(measured_number(accuracy, "correct") == (double)correct);
    assert_true(fabs(measured_number(accuracy, "mean") - p) < 1e-12);
    assert_true(number_at(accuracy, "interval_95", 0) <= p &&
                number_at(accuracy, "interval_95", 1) >= p);
    /* Far above chance, 1 in 4. */
    assert_true(number_at(accuracy, "interval_95", 0) > 0.7);
}

/* The same choices, and log-likelihoods but for rounding, as items may have come together
 * otherwise.
 */
static void assert_same_results(const json_t *a, const json_t *b)
{
    const json_t *results = json_object_get(a, "results"), *others = json_object_get(b, "results");
    const json_t *item;
    size_t i;
    assert_int_equal(json_array_size(results), json_array_size(others));
    assert_true(json_equal(json_object_get(a, "acc"), json_object_get(b, "acc")));
    json_array_foreach(results, i, item)
    {
        const json_t *other = json_array_get(others, i);
        assert_true(json_equal(json_object_get(item, "id"), json_object_get(other, "id")));
        assert_true(json_equal(json_object_get(item, "picked"), json_object_get(other, "picked")));
        for (size_t c = 0; c < 4; c++)
            assert_true(fabs(number_at(item, "log_likelihood", c) -
                             number_at(other, "log_likelihood", c)) < 1e-4);
    }
}

static void sums_are_solved_far_above_chance(void **state)
{
    (void)state;
    struct test_process p = {.folder = test_folder()};
    write_task("task", 24, "");
    test_vkmoe(&p, "eval", "task", "--json", "-");
    json_t *root = measured_json(&p);
    assert_int_equal(measured_number(root, "items"), 24);
    assert_int_equal(measured_number(root, "of"), 24);
    assert_true(measured_number(root, "chance") == 0.25);
    assert_int_equal(json_array_size(json_object_get(root, "results")), 24);
    assert_accuracy(root, "acc", "sum", NULL);
    assert_accuracy(root, "acc_per_token", "per_token", "tokens");
    assert_accuracy(root, "acc_per_byte", "per_byte", "bytes");
    const json_t *last = json_array_get(json_object_get(root, "results"), 23);
    assert_int_equal(measured_number(last, "line"), 24);
    assert_int_equal(measured_number(last, "answer"), 3);
    assert_string_equal(json_string_value(json_object_get(last, "id")), "sum 23");
    json_decref(root);
}

static void routing_options_are_heard(void **state)
{
    (void)state;
    struct test_process p = {.folder = test_folder()}, q = p;
    write_task("task", 2, "");
    test_vkmoe(&p, "eval", "task", "--json", "-");
    test_vkmoe(&q, "eval", "task", "--json", "-", "--experts", "2", "--experts-off", "*:0-9");
    json_t *a = measured_json(&p), *b = measured_json(&q);
    const json_t *first = json_array_get(json_object_get(a, "results"), 0);
    const json_t *second = json_array_get(json_object_get(b, "results"), 0);
    assert_true(fabs(number_at(first, "log_likelihood", 0) -
                     number_at(second, "log_likelihood", 0)) > 1e-3);
    json_decref(a);
    json_decref(b);
}

/* The shipped model takes 21 MiB, and 32 more with room for the choices of many items. */
static void a_small_device_scores_fewer_items_at_once(void **state)
{
    (void)state;
    struct test_process p = {.folder = test_folder()}, roomy = p;
    write_task("task", 4, "");
    test_vkmoe(&p, "eval", "task", "--memory-limit", "24M", "--json", "-");
    test_vkmoe(&roomy, "eval", "task", "--json", "-");
    json_t *a = measured_json(&p), *b = measured_json(&roomy);
    assert_same_results(a, b);
    json_decref(a);
    json_decref(b);
}

/* A task on stdin, a number as id, and choices of different counts. */
static void results_go_to_files_and_a_table(void **state)
{
    (void)state;
    static const char task[] = "{\"context\": \"12 + 7 =\", \"choices\": [\" 19\\n\", \" 91\\n\"], "
                               "\"answer\": 0, \"id\": 7}\n"
                               "\n"
                               "{\"context\": \"\", \"choices\": [\"5\", \"ROMEO:\", \"x y\"], "
                               "\"answer\": 1, \"id\": \"a \\\"b\\\", c\", \"other\": null}";
    struct test_process p = {
        .folder = test_folder(), .input = task, .input_size = sizeof(task) - 1};
    size_t size;
    test_vkmoe(&p, "eval", "-", "--json", "all.json", "--csv", "all.csv");
    test_process_assert_code(&p, 0);
    test_assert_part(p.out, "2 of 2 items of -, by chance 41.7 %\n");
    test_assert_part(p.out, "per byte ");
    test_process_free(&p);
    json_t *root = load("all.json");
    const json_t *item = json_array_get(json_object_get(root, "results"), 1);
    assert_int_equal(measured_number(item, "line"), 3);
    assert_int_equal(measured_number(item, "context_tokens"), 1); /* BOS */
    assert_int_equal(number_at(item, "bytes", 1), 6);
    json_decref(root);
    char *csv = test_file_read(test_folder_path("all.csv"), &size);
    assert_int_equal(lines_of(csv), 1 + 2 + 3);
    test_assert_part(csv, "line,id,choice,is_answer,tokens,bytes,log_likelihood\n1,7,0,1,");
    test_assert_part(csv, "\n3,\"a \"\"b\"\", c\",1,1,");
    free(csv);
}

/* --- what is wrong with a task --- */

#define GOOD "{\"context\": \"1 + 1 =\", \"choices\": [\" 2\", \" 3\"], \"answer\": 0}\n"

static const struct {
    const char *line, *part;
} broken[] = {
    {"{\"context\": \"1 +", "not JSON"},
    {"[1, 2]", "not an object"},
    {"{\"context\": \"a\xff\", \"choices\": [\"b\", \"c\"], \"answer\": 0}", "not JSON"},
    {"{\"context\": \"a\", \"context\": \"b\", \"choices\": [\"b\", \"c\"], \"answer\": 0}",
     "not JSON"},
    {"{\"choices\": [\"b\", \"c\"], \"answer\": 0}", "'context' is missing"},
    {"{\"context\": \"a\", \"choices\": \"b\", \"answer\": 0}", "'choices' is missing or no list"},
    {"{\"context\": \"a\", \"choices\": [\"b\"], \"answer\": 0}", "'choices' has 1 texts"},
    {"{\"context\": \"a\", \"choices\": [\"b\", 3], \"answer\": 0}", "choice 1 is no text"},
    {"{\"context\": \"a\", \"choices\": [\"b\", \"\"], \"answer\": 0}", "choice 1 has no tokens"},
    {"{\"context\": \"a\", \"choices\": [\"b\", \"c\"], \"answer\": \"b\"}",
     "'answer' is missing or no whole number"},
    {"{\"context\": \"a\", \"choices\": [\"b\", \"c\"], \"answer\": 2}",
     "'answer' is 2, expected 0 to 1"},
    {"{\"context\": \"a\", \"choices\": [\"b\", \"c\"], \"answer\": -1}", "'answer' is -1"},
    {"{\"context\": \"one two three four five six seven eight nine ten\", "
     "\"choices\": [\" b\", \" c\"], \"answer\": 0}",
     "expected at most the 16"},
};

static void what_is_no_item_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        char text[1024];
        struct test_process p = {.folder = test_folder()};
        snprintf(text, sizeof(text), "%s\n" GOOD, broken[i].line);
        test_folder_write_text("task", text);
        test_vkmoe(&p, "eval", "task", "-c", "16");
        test_process_assert_sentence(&p, 1, broken[i].part);
        test_assert_part(p.err, "vkmoe: task: line 1: ");
        test_process_free(&p);
    }
}

/* Found by the reader of lines, by the tokenizer, and by the session. */
static void what_was_done_before_a_broken_line_is_kept(void **state)
{
    (void)state;
    static const char *const parts[] = {"not an object", "choice 1 has no tokens",
                                        "expected at most the 16"};
    size_t found = 0;
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        char text[1024];
        struct test_process p = {.folder = test_folder()};
        if (found == 3 || strcmp(broken[i].part, parts[found]) != 0)
            continue;
        found++;
        snprintf(text, sizeof(text), GOOD "\n" GOOD "%s\n" GOOD, broken[i].line);
        test_folder_write_text("task", text);
        test_vkmoe(&p, "eval", "task", "-c", "16", "--json", "out");
        test_process_assert_code(&p, 1);
        test_assert_part(p.err, "vkmoe: task: line 4: ");
        test_assert_part(p.err, broken[i].part);
        assert_int_equal(lines_of(p.err), 1);
        test_assert_part(p.out, "2 of 4 items of task");
        test_process_free(&p);
        json_t *root = load("out");
        assert_int_equal(measured_number(root, "items"), 2);
        assert_int_equal(json_array_size(json_object_get(root, "results")), 2);
        json_decref(root);
    }
    assert_int_equal(found, 3);
}

static void what_cannot_begin_is_one_sentence(void **state)
{
    (void)state;
    static const struct {
        const char *arguments[5], *part;
        int code;
    } cases[] = {
        {{"empty"}, "the task empty is empty", 1},
        {{"blank"}, "the task blank is empty", 1},
        {{"nowhere"}, "nowhere", 1},
        {{"task", "--json", "gone/out"}, "gone/out", 1},
        {{"task", "--csv", "gone/out"}, "gone/out", 1},
        {{"task", "--resume", "gone/out"}, "gone/out", 1},
        {{"task", "--experts", "99"}, "experts", 1},
        {{"-v"}, "one task is needed", 2},
        {{"task", "other"}, "one task is needed, not 2 words", 2},
        {{"task", "--json"}, "--json needs a value", 2},
        {{"task", "--resume", ""}, "--resume: an empty name", 2},
        {{"task", "--json", "-", "--csv", "-"}, "exclude each other", 2},
        {{"task", "-c", "0"}, "-c: '0'", 2},
    };
    test_folder_write_text("task", GOOD);
    test_folder_write_text("empty", "");
    test_folder_write_text("blank", "\n \t\r\n");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *const *a = cases[i].arguments;
        struct test_process p = {.folder = test_folder()};
        test_vkmoe(&p, "eval", a[0], a[1], a[2], a[3], a[4]);
        test_process_assert_sentence(&p, cases[i].code, cases[i].part);
        test_process_free(&p);
    }
}

/* --- going on --- */

static void a_task_goes_on_from_its_file_once_it_is_mended(void **state)
{
    (void)state;
    struct test_process p = {.folder = test_folder()}, stopped = p, rest = p, again = p;
    write_task("task", 8, "");
    test_vkmoe(&p, "eval", "task", "--json", "-");
    json_t *whole = measured_json(&p);

    write_task("task", 5, "{\"context\": 3}\n");
    test_vkmoe(&stopped, "eval", "task", "--resume", "state");
    test_process_assert_code(&stopped, 1);
    test_assert_part(stopped.err, "task: line 6: 'context'");
    test_process_free(&stopped);

    write_task("task", 8, "");
    test_vkmoe(&rest, "eval", "task", "--resume", "state", "--json", "-");
    test_assert_part(rest.err, "going on from state, where 5 of 8 items are done");
    json_t *root = measured_json(&rest);
    assert_same_results(root, whole);
    json_decref(root);

    test_vkmoe(&again, "eval", "task", "--resume", "state", "--json", "-");
    test_assert_part(again.err, "where 8 of 8 items are done");
    root = measured_json(&again);
    assert_same_results(root, whole);
    json_decref(root);
    json_decref(whole);
}

static void a_file_of_another_task_is_refused_and_kept(void **state)
{
    (void)state;
    static const struct {
        const char *arguments[3], *part;
    } cases[] = {
        {{"other"}, "state: 'done' is "},
        {{"short"}, "3 lines are done, but short has fewer"},
        {{"task", "-c", "200"}, "state: 'context' is not 200"},
        {{"task", "--experts", "3"}, "state: 'routing' is "},
        {{"task", "--weights", "q8"}, "state: 'weights' is bf16, expected q8"},
        {{"task", "--kv", "q8"}, "state: 'kv' is f32, expected q8"},
    };
    struct test_process p = {.folder = test_folder()};
    size_t size;
    write_task("task", 3, "");
    write_task("short", 2, "");
    test_folder_write_text("other", GOOD GOOD GOOD);
    test_vkmoe(&p, "eval", "task", "--resume", "state");
    test_process_assert_code(&p, 0);
    test_process_free(&p);
    char *before = test_file_read(test_folder_path("state"), &size);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *const *a = cases[i].arguments;
        struct test_process bad = {.folder = test_folder()};
        test_vkmoe(&bad, "eval", "--resume", "state", a[0], a[1], a[2]);
        test_process_assert_sentence(&bad, 1, cases[i].part);
        test_process_free(&bad);
    }
    json_t *root = load("state");
    json_object_set_new(json_array_get(json_object_get(root, "results"), 1), "tokens",
                        json_integer(3));
    assert_int_equal(json_dump_file(root, test_folder_path("spoiled"), 0), 0);
    json_decref(root);
    test_folder_write_text("text", "{");
    static const char *const spoiled[][2] = {
        {"spoiled", "spoiled: result 1 is not one of vkmoe eval"}, {"text", "text: not JSON"}};
    for (size_t i = 0; i < 2; i++) {
        struct test_process bad = {.folder = test_folder()};
        test_vkmoe(&bad, "eval", "--resume", spoiled[i][0], "task");
        test_process_assert_sentence(&bad, 1, spoiled[i][1]);
        test_process_free(&bad);
    }
    char *after = test_file_read(test_folder_path("state"), &size);
    assert_string_equal(before, after);
    free(before);
    free(after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FOLDER(sums_are_solved_far_above_chance),
        TEST_IN_FOLDER(routing_options_are_heard),
        TEST_IN_FOLDER(a_small_device_scores_fewer_items_at_once),
        TEST_IN_FOLDER(results_go_to_files_and_a_table),
        TEST_IN_FOLDER(what_is_no_item_is_named),
        TEST_IN_FOLDER(what_was_done_before_a_broken_line_is_kept),
        TEST_IN_FOLDER(what_cannot_begin_is_one_sentence),
        TEST_IN_FOLDER(a_task_goes_on_from_its_file_once_it_is_mended),
        TEST_IN_FOLDER(a_file_of_another_task_is_refused_and_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
