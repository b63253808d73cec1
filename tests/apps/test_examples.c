/* The example programs do what their comments say. */
#include "support.h"

#include <string.h>

#include "process.h"

static void continue_writes_text(void **state)
{
    (void)state;
    struct test_process p = {0};
    test_process_run(&p, (const char *const[]){VKMOE_EXAMPLES "/example_continue", VKMOE_TEST_MODEL,
                                               "ROMEO:", NULL});
    test_process_assert_code(&p, 0);
    assert_true(p.out_size > 20);
    assert_int_equal(p.out[p.out_size - 1], '\n');
    test_process_free(&p);
}

static void branches_prints_the_experts_and_four_texts(void **state)
{
    (void)state;
    struct test_process p = {0};
    test_process_run(&p, (const char *const[]){VKMOE_EXAMPLES "/example_branches", VKMOE_TEST_MODEL,
                                               "ROMEO:\nI ", NULL});
    test_process_assert_code(&p, 0);
    size_t lines = 0, layers = 0;
    for (char *line = strtok(p.out, "\n"); line; line = strtok(NULL, "\n")) {
        lines++;
        layers += strncmp(line, "layer ", 6) == 0 && strstr(line, "expert ") != NULL;
    }
    assert_true(layers > 0);
    assert_int_equal(lines, layers + 4);
    test_process_free(&p);
}

static void routes_prints_the_experts_of_each_token(void **state)
{
    (void)state;
    struct test_process p = {0};
    test_process_run(&p, (const char *const[]){VKMOE_EXAMPLES "/example_routes", VKMOE_TEST_MODEL,
                                               "ROMEO:", NULL});
    test_process_assert_code(&p, 0);
    size_t lines = 0;
    assert_int_equal(strncmp(p.out, "':' ", 4), 0); /* the prompt's last token */
    for (char *line = strtok(p.out, "\n"); line; line = strtok(NULL, "\n")) {
        const char *first = strchr(line, '|');
        int ids[6], next;
        lines++;
        assert_non_null(first);
        assert_int_equal(sscanf(first, "| %d %d %d %d %d %d (%d) |", &ids[0], &ids[1], &ids[2],
                                &ids[3], &ids[4], &ids[5], &next),
                         7);
        for (size_t i = 0; i < 6; i++)
            assert_true(ids[i] >= 0 && ids[i] < 32 && ids[i] != next);
    }
    assert_int_equal(lines, 24);
    test_process_free(&p);
}

static void a_missing_model_ends_in_a_sentence(void **state)
{
    (void)state;
    static const char *const examples[] = {VKMOE_EXAMPLES "/example_continue",
                                           VKMOE_EXAMPLES "/example_branches",
                                           VKMOE_EXAMPLES "/example_routes"};
    for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
        struct test_process p = {0};
        test_process_run(&p, (const char *const[]){examples[i], "/nowhere", "a", NULL});
        test_process_assert_code(&p, 1);
        assert_non_null(strstr(p.err, "/nowhere"));
        test_process_free(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(continue_writes_text),
        cmocka_unit_test(branches_prints_the_experts_and_four_texts),
        cmocka_unit_test(routes_prints_the_experts_of_each_token),
        cmocka_unit_test(a_missing_model_ends_in_a_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
