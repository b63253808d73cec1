/* Conformance on several devices side by side tells the same as on one; a run ends when its caller
 * says so, and leaves nothing behind. */
#include "support.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "process.h"
#include "vkmoe/conform.h"

#define KERNELS "moe_[hs]*" /* three kernels, one variant each */

static void more_jobs_tell_the_same_in_the_same_order(void **state)
{
    struct test_process one = {0}, three = {0};
    (void)state;
    test_vkmoe(&one, "conform", "--kernel", KERNELS, "--jobs", "1");
    test_vkmoe(&three, "conform", "--kernel", KERNELS, "--jobs", "3");
    test_process_assert_code(&one, 0);
    test_process_assert_code(&three, 0);
    test_assert_part(one.out, "all 168 cases in 3 tests passed");
    assert_string_equal(one.out, three.out);
    test_process_free(&one);
    test_process_free(&three);
}

/* --- stopping --- */

struct listener {
    uint32_t limit; /* times it is asked before it wants to stop */
    uint32_t asked;
    uint32_t cases, results; /* told, and added up from results */
};

static bool stops(void *user)
{
    struct listener *l = user;
    l->asked++;
    return l->asked > l->limit;
}

static void on_case(void *user, const vkmoe_conform_case *c)
{
    struct listener *l = user;
    assert_true(c->passed);
    l->cases++;
}

static void on_result(void *user, const vkmoe_conform_result *r)
{
    struct listener *l = user;
    l->results += r->cases;
}

static vkmoe_conform_totals run_until(uint32_t limit, uint32_t jobs, struct listener *l,
                                      vkmoe_status expected)
{
    vkmoe_error err = {0};
    vkmoe_conform_totals totals;
    vkmoe_conform_params params = {.kernels = KERNELS,
                                   .jobs = jobs,
                                   .stops = stops,
                                   .on_case = on_case,
                                   .on_result = on_result,
                                   .user = l};
    *l = (struct listener){.limit = limit};
    assert_int_equal(vkmoe_conform_run(NULL, &params, &totals, &err), expected);
    assert_int_equal(l->cases, totals.cases);
    assert_int_equal(l->results, totals.cases);
    assert_int_equal(totals.failed, 0);
    return totals;
}

static void a_caller_that_wants_to_stop_is_told_of_what_was_run(void **state)
{
    struct listener l;
    (void)state;
    uint32_t all = run_until(UINT32_MAX, 3, &l, VKMOE_OK).cases;
    assert_true(all > 100);
    assert_int_equal(run_until(101, 1, &l, VKMOE_CANCELLED).cases, 100); /* asked once before */
    assert_int_equal(l.asked, 102);
    assert_int_equal(run_until(0, 1, &l, VKMOE_CANCELLED).cases, 0);
    assert_int_equal(run_until(0, 3, &l, VKMOE_CANCELLED).cases, 0);
    assert_int_equal(l.asked, 1);
}

static void no_check_of_whole_steps_is_counted_that_was_stopped(void **state)
{
    struct listener l = {.limit = 1};
    vkmoe_error err = {0};
    vkmoe_conform_totals totals;
    vkmoe_conform_params params = {
        .kernels = "determinism", .stops = stops, .on_case = on_case, .user = &l};
    (void)state;
    assert_int_equal(vkmoe_conform_run(NULL, &params, &totals, &err), VKMOE_CANCELLED);
    assert_int_equal(totals.cases, 0);
    assert_int_equal(l.cases, 0);
}

/* Until something is in the folder. */
static void await_entry(const char *folder)
{
    const struct timespec pause = {.tv_nsec = 10000000};
    for (int i = 0; i < 30000 && test_folder_count(folder) == 0; i++)
        nanosleep(&pause, NULL);
    assert_true(test_folder_count(folder) > 0);
}

static void an_interrupt_ends_with_130_and_leaves_no_folder(void **state)
{
    struct test_process p = {.variables = {{"TMPDIR", test_folder()}}};
    const char *const argv[] = {VKMOE_PROGRAM,    "conform", "--kernel",
                                "routing-parity", "--full",  NULL};
    (void)state;
    test_process_start(&p, argv);
    await_entry(test_folder()); /* of the random models, on which it then works for long */
    test_process_signal(p.pid, SIGINT);
    test_process_wait(&p);
    test_process_assert_code(&p, 130);
    test_assert_part(p.out, "not finished");
    assert_int_equal(test_folder_count(test_folder()), 0);
    test_process_free(&p);
}

static void an_interrupt_among_the_kernels_keeps_the_reports(void **state)
{
    struct test_process p = {0};
    size_t size;
    const char *json = test_folder_path("report.json");
    const char *const argv[] = {VKMOE_PROGRAM, "conform", "--json", json, NULL};
    const struct timespec pause = {.tv_nsec = 10000000};
    (void)state;
    test_process_start(&p, argv);
    for (int i = 0; i < 30000 && test_process_written(&p) == 0; i++)
        nanosleep(&pause, NULL);
    test_process_signal(p.pid, SIGINT);
    test_process_wait(&p);
    test_process_assert_code(&p, 130);
    test_assert_part(p.out, "not finished");
    char *report = test_file_read(json, &size);
    test_assert_part(report, "\"passed\": false");
    free(report);
    test_process_free(&p);
}

static void as_many_jobs_as_make_no_sense_are_refused(void **state)
{
    struct test_process p = {0};
    (void)state;
    test_vkmoe(&p, "conform", "--jobs", "5");
    test_process_assert_sentence(&p, 2, "--jobs");
    test_process_free(&p);
    p = (struct test_process){0};
    test_vkmoe(&p, "conform", "--jobs", "0");
    test_process_assert_sentence(&p, 2, "--jobs");
    test_process_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(more_jobs_tell_the_same_in_the_same_order),
        cmocka_unit_test(a_caller_that_wants_to_stop_is_told_of_what_was_run),
        cmocka_unit_test(no_check_of_whole_steps_is_counted_that_was_stopped),
        TEST_IN_FOLDER(an_interrupt_ends_with_130_and_leaves_no_folder),
        TEST_IN_FOLDER(an_interrupt_among_the_kernels_keeps_the_reports),
        cmocka_unit_test(as_many_jobs_as_make_no_sense_are_refused),
    };
    return cmocka_run_group_tests_name("conform_jobs", tests, NULL, NULL);
}
