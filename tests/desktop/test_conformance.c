/* Following the conformance suite, which scripts stand for here; no display, no device. */
#include <string.h>
#include <sys/stat.h>

#include "conformance.h"
#include "support.h"

/* Makes a script the program that is run. */
static void set_script(const char *text)
{
    g_autofree char *whole = g_strdup_printf("#!/bin/sh\n%s", text);
    g_autofree char *path = g_strdup(test_folder_path("script"));
    test_folder_write_text("script", whole);
    assert_int_equal(chmod(path, 0700), 0);
    g_setenv("VKMOE_CONFORMANCE", path, TRUE);
}

static void start(MoeConformance *conformance)
{
    const vkmoe_device_info info = {.index = 3, .name = "Some GPU", .usable = true};
    const MoeConformanceParams params = {.kernels = "topk*", .model = "/models/a"};
    g_autoptr(MoeDevice) device = moe_device_new(&info);
    moe_conformance_start(conformance, device, &params);
    assert_true(moe_conformance_is_running(conformance));
    assert_null(moe_conformance_outcome(conformance));
}

static void await_end(MoeConformance *conformance)
{
    while (moe_conformance_is_running(conformance))
        g_main_context_iteration(NULL, TRUE);
}

static guint count(MoeConformance *conformance)
{
    return g_list_model_get_n_items(moe_conformance_results(conformance));
}

/* Runs the script to its end. */
static MoeConformance *run_script(const char *text)
{
    MoeConformance *conformance = moe_conformance_new(test_folder_path("reports"));
    set_script(text);
    start(conformance);
    await_end(conformance);
    return conformance;
}

static void assert_passed(MoeConformance *conformance, gboolean expected)
{
    gboolean passed = !expected;
    g_object_get(conformance, "passed", &passed, NULL);
    assert_int_equal(passed, expected);
}

static void what_could_not_be_tested_is_neither_passed_nor_failed(void **state)
{
    (void)state;
    g_autoptr(MoeConformance) c =
        run_script("printf 'total\\t2\\ncase\\ttopk\\tpassed\\ncase\\texhaustion\\tuntested\\n'\n"
                   "printf 'report\\t/reports/x.html\\nend\\t0\\t\\n'\n");
    assert_true(g_str_has_prefix(moe_conformance_outcome(c), "1 of 2 cases passed, in "));
    assert_passed(c, TRUE);
}

static void what_passes_is_listed_with_its_report(void **state)
{
    (void)state;
    g_autoptr(MoeConformance) c =
        run_script("printf 'total\\t2\\ncase\\ttopk\\tpassed\\ncase\\ttopk\\tpassed\\n'\n"
                   "printf 'result\\ttopk\\tbase\\t2\\t0\\t1.5e-14\\t\\n'\n"
                   "printf 'report\\t/reports/x.html\\nend\\t0\\t\\n'\n");
    assert_true(g_str_has_prefix(moe_conformance_outcome(c), "All 2 cases passed, in "));
    assert_string_equal(moe_conformance_report(c), "/reports/x.html");
    assert_passed(c, TRUE);
    assert_int_equal(count(c), 1);
    g_autoptr(MoeConformanceResult) result = g_list_model_get_item(moe_conformance_results(c), 0);
    assert_string_equal(moe_conformance_result_kernel(result), "topk");
    assert_string_equal(moe_conformance_result_variant(result), "base");
    assert_int_equal(moe_conformance_result_cases(result), 2);
    assert_true(moe_conformance_result_nmse(result) > 1e-14);
}

static void what_fails_stands_first_with_its_sentence(void **state)
{
    (void)state;
    g_autoptr(MoeConformance) c =
        run_script("printf 'total\\t2\\ncase\\tembed\\tpassed\\n'\n"
                   "printf 'result\\tembed\\tbase\\t1\\t0\\t0\\t\\ncase\\tgemv\\tfailed\\n'\n"
                   "printf 'result\\tgemv\\tBF16, base\\t1\\t1\\t0.5\\ty[3] is wrong\\n'\n"
                   "printf 'report\\t/reports/x.html\\nend\\t0\\t\\n'\nexit 1\n");
    assert_non_null(strstr(moe_conformance_outcome(c), "1 of 2 cases failed"));
    assert_passed(c, FALSE);
    g_autoptr(MoeConformanceResult) first = g_list_model_get_item(moe_conformance_results(c), 0);
    assert_string_equal(moe_conformance_result_kernel(first), "gemv");
    assert_string_equal(moe_conformance_result_sentence(first), "y[3] is wrong");
    assert_int_equal(moe_conformance_result_failed(first), 1);
}

static void a_driver_that_crashes_the_test_is_named_with_the_kernel(void **state)
{
    (void)state;
    g_autoptr(MoeConformance) c =
        run_script("printf 'total\\t9\\ncase\\tgemv\\tpassed\\ncase\\tattention\\tpassed\\n'\n"
                   "kill -SEGV $$\n");
    assert_string_equal(moe_conformance_outcome(c),
                        "The driver crashed the test: it ended by signal 11 after 2 cases, the "
                        "last of them of attention.");
    assert_null(moe_conformance_report(c));
    assert_passed(c, FALSE);
}

static void what_went_wrong_is_one_sentence(void **state)
{
    static const struct {
        const char *script, *sentence;
    } cases[] = {
        {"printf 'end\\t9\\tthe device is lost\\n'", "Not finished: the device is lost."},
        {"printf 'total\\t0\\nend\\t0\\t\\n'", "There was nothing to test."},
        {"printf 'case\\ta\\tpassed\\nunreported\\tno space\\nend\\t10\\tstopped\\n'",
         "Stopped after 1 cases, of which 0 failed. There is no report: no space."},
        {"printf 'nonsense\\n\\n\\tend\\n'; exit 3",
         "The driver crashed the test: it ended too early before the first case."},
    };
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(MoeConformance) c = run_script(cases[i].script);
        assert_string_equal(moe_conformance_outcome(c), cases[i].sentence);
        assert_passed(c, FALSE);
    }
}

static void a_program_that_is_not_there_is_one_sentence(void **state)
{
    (void)state;
    g_autoptr(MoeConformance) c = moe_conformance_new(test_folder_path("reports"));
    g_setenv("VKMOE_CONFORMANCE", "/nonexistent/program", TRUE);
    start(c);
    await_end(c);
    assert_true(g_str_has_prefix(moe_conformance_outcome(c), "Not finished: "));
    assert_non_null(strstr(moe_conformance_outcome(c), "/nonexistent/program"));
}

static void the_device_and_what_to_test_are_handed_over(void **state)
{
    (void)state;
    g_autofree char *folder = g_strdup(test_folder_path("reports"));
    g_autofree char *expected =
        g_strdup_printf("Not finished: 3 quick topk* /models/a %s.", folder);
    g_autoptr(MoeConformance) c = run_script("printf 'end\\t3\\t%s\\n' \"$*\"");
    assert_string_equal(moe_conformance_outcome(c), expected);
    assert_true(g_file_test(folder, G_FILE_TEST_IS_DIR));
}

/* Handles events until a case was heard of. */
static void await_case(MoeConformance *c)
{
    guint cases = 0;
    while (cases == 0) {
        g_main_context_iteration(NULL, TRUE);
        g_object_get(c, "cases", &cases, NULL);
    }
}

static void it_stops_when_asked_and_at_once_when_asked_twice(void **state)
{
    (void)state;
    g_autoptr(MoeConformance) c = moe_conformance_new(test_folder_path("reports"));
    set_script("trap 'printf \"end\\t10\\tstopped\\n\"; exit 1' TERM\n"
               "printf 'total\\t9\\ncase\\tgemv\\tpassed\\n'\nwhile :; do sleep 0.1; done\n");
    start(c);
    await_case(c);
    moe_conformance_cancel(c);
    await_end(c);
    assert_string_equal(moe_conformance_outcome(c), "Stopped after 1 cases, of which 0 failed.");
    gboolean passed, stopped;
    g_object_get(c, "passed", &passed, "stopped", &stopped, NULL);
    assert_false(passed);
    assert_true(stopped);
    /* One that hangs does not hear. */
    set_script("trap '' TERM\nprintf 'total\\t9\\ncase\\tgemv\\tpassed\\n'\n"
               "while :; do sleep 0.1; done\n");
    start(c);
    await_case(c);
    moe_conformance_cancel(c);
    moe_conformance_cancel(c);
    await_end(c);
    assert_string_equal(moe_conformance_outcome(c), "Stopped after 1 cases, of which 0 failed.");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FOLDER(what_could_not_be_tested_is_neither_passed_nor_failed),
        TEST_IN_FOLDER(what_passes_is_listed_with_its_report),
        TEST_IN_FOLDER(what_fails_stands_first_with_its_sentence),
        TEST_IN_FOLDER(a_driver_that_crashes_the_test_is_named_with_the_kernel),
        TEST_IN_FOLDER(what_went_wrong_is_one_sentence),
        TEST_IN_FOLDER(a_program_that_is_not_there_is_one_sentence),
        TEST_IN_FOLDER(the_device_and_what_to_test_are_handed_over),
        TEST_IN_FOLDER(it_stops_when_asked_and_at_once_when_asked_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
