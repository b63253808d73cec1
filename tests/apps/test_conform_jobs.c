/* Conformance on several devices side by side tells the same as on one; a run ends when its caller
 * says so, and leaves nothing behind. */
#include "support.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "process.h"
#include "vkmoe/conform.h"

#define KERNELS "moe_[hs]*" /* three kernels, one variant each */

static void compare_jobs(const char *kernels, const char *cases, const char *summary)
{
    struct test_process one = {0}, three = {0};
    test_vkmoe(&one, "conform", "--kernel", kernels, "--case", cases, "--jobs", "1");
    test_vkmoe(&three, "conform", "--kernel", kernels, "--case", cases, "--jobs", "3");
    test_process_assert_code(&one, 0);
    test_process_assert_code(&three, 0);
    test_assert_part(one.out, summary);
    assert_string_equal(one.out, three.out);
    test_process_free(&one);
    test_process_free(&three);
}

static void more_jobs_tell_the_same_in_the_same_order(void **state)
{
    (void)state;
    compare_jobs(KERNELS, "*", " cases in 3 tests passed");
}

/* Checks of whole steps run beside the kernels then, and are told after them. */
static void checks_come_after_kernels_with_more_jobs_too(void **state)
{
    (void)state;
    compare_jobs("[rk][avo][_un]*", "[rw]*", " tests passed");
}

/* --- memory for one --- */

#define LARGE (UINT64_C(32) << 20) /* bytes; what a suite keeps of its arenas is larger */

struct shortage {
    atomic_uint granted, refused; /* large blocks */
};

/* There is memory for what one suite keeps, and for no more. */
static void *allocate_scarcely(void *user, size_t size)
{
    struct shortage *s = user;
    if (size < LARGE || atomic_fetch_add(&s->granted, 1) < 2)
        return malloc(size);
    atomic_fetch_add(&s->refused, 1);
    return NULL;
}

static void *reallocate(void *user, void *memory, size_t size)
{
    (void)user;
    return realloc(memory, size);
}

static void release(void *user, void *memory)
{
    (void)user;
    free(memory);
}

static void devices_without_memory_are_done_without(void **state)
{
    struct shortage shortage = {0};
    const vkmoe_allocator scarce = {.allocate = allocate_scarcely,
                                    .reallocate = reallocate,
                                    .release = release,
                                    .user = &shortage};
    const vkmoe_device_params device = {.allocator = &scarce};
    const vkmoe_conform_params alone = {.kernels = KERNELS, .jobs = 1};
    const vkmoe_conform_params params = {.kernels = KERNELS, .jobs = 3};
    vkmoe_conform_totals totals, expected;
    vkmoe_error err = {0};
    (void)state;
    assert_ok(vkmoe_conform_run(NULL, &alone, &expected, &err), &err);
    assert_true(expected.cases > 100);
    vkmoe_status status = vkmoe_conform_run(&device, &params, &totals, &err);
    assert_ok(status, &err);
    assert_int_equal(totals.cases, expected.cases);
    assert_int_equal(totals.failed, 0);
    assert_int_equal(atomic_load(&shortage.refused), 2);
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
    struct listener l = {.limit = 0};
    vkmoe_error err = {0};
    vkmoe_conform_totals totals;
    vkmoe_conform_params params = {
        .kernels = "determinism", .stops = stops, .on_case = on_case, .user = &l};
    (void)state;
    for (params.jobs = 1; params.jobs <= 2; params.jobs++) {
        l.asked = 0;
        assert_int_equal(vkmoe_conform_run(NULL, &params, &totals, &err), VKMOE_CANCELLED);
        assert_int_equal(totals.cases, 0);
        assert_int_equal(l.cases, 0);
    }
}

struct watcher {
    bool begun, ended; /* the checks of whole steps, which keep a model in $TMPDIR meanwhile */
    bool told;         /* of one of them */
    uint32_t results;
};

static bool stops_after_checks(void *user)
{
    struct watcher *w = user;
    bool there = test_folder_count(test_folder()) > 0;
    w->ended = w->ended || (w->begun && !there);
    w->begun = w->begun || there;
    return w->ended;
}

static void note_check(void *user, const vkmoe_conform_result *r)
{
    struct watcher *w = user;
    w->told = w->told || strcmp(r->test.kernel, "cancel") == 0;
    w->results++;
}

static void checks_that_have_ended_are_told_of_when_kernels_are_stopped(void **state)
{
    struct watcher w = {0};
    vkmoe_error err = {0};
    vkmoe_conform_totals totals;
    const vkmoe_conform_params params = {.kernels = "[cgam]*",
                                         .jobs = 2,
                                         .stops = stops_after_checks,
                                         .on_result = note_check,
                                         .user = &w};
    const char *before = getenv("TMPDIR");
    (void)state;
    assert_int_equal(setenv("TMPDIR", test_folder(), 1), 0);
    vkmoe_status status = vkmoe_conform_run(NULL, &params, &totals, &err);
    assert_int_equal(before ? setenv("TMPDIR", before, 1) : unsetenv("TMPDIR"), 0);
    assert_int_equal(status, VKMOE_CANCELLED);
    assert_true(w.ended && w.told);
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
        cmocka_unit_test(checks_come_after_kernels_with_more_jobs_too),
        cmocka_unit_test(devices_without_memory_are_done_without),
        cmocka_unit_test(a_caller_that_wants_to_stop_is_told_of_what_was_run),
        cmocka_unit_test(no_check_of_whole_steps_is_counted_that_was_stopped),
        TEST_IN_FOLDER(checks_that_have_ended_are_told_of_when_kernels_are_stopped),
        TEST_IN_FOLDER(an_interrupt_ends_with_130_and_leaves_no_folder),
        TEST_IN_FOLDER(an_interrupt_among_the_kernels_keeps_the_reports),
        cmocka_unit_test(as_many_jobs_as_make_no_sense_are_refused),
    };
    return cmocka_run_group_tests_name("conform_jobs", tests, NULL, NULL);
}
