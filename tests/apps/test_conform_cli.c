/* `vkmoe conform` as users meet it: what it runs, what it refuses, its reports. */
#include "support.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "conform/bundle.h"
#include "conform_report.h"
#include "exported.h"
#include "gpu/paths.h"
#include "page.h"
#include "process.h"

/* --- reports --- */

/* What the device can do, and what it cannot and why. */
static void check_capabilities(const json_t *device)
{
    size_t i;
    json_t *one;
    assert_true(exported_integer(device, "max_allocation") > 0);
    assert_true(json_array_size(json_object_get(device, "heaps")) > 0);
    assert_true(json_is_null(json_object_get(device, "tuning")));
    assert_true(json_array_size(json_object_get(device, "paths")) > 1);
    assert_string_equal(
        exported_string(json_array_get(json_object_get(device, "paths"), 0), "state"), "trusted");
    json_array_foreach(json_object_get(device, "paths"), i, one)
    {
        if (strcmp(exported_string(one, "state"), "missing") == 0)
            assert_true(exported_string(one, "reason")[0]);
    }
}

/* Sums must agree from the cases up; returns the cases of all devices. */
static json_int_t check_sums(const json_t *root, json_int_t *failed)
{
    json_int_t total = 0;
    size_t d, t, c;
    json_t *device, *test, *one;
    *failed = 0;
    json_array_foreach(json_object_get(root, "devices"), d, device)
    {
        json_int_t cases = 0, bad = 0;
        const json_t *key = json_object_get(device, "key");
        assert_int_equal(strlen(exported_string(key, "device_uuid")), 36);
        assert_true(exported_integer(key, "driver_id") > 0);
        (void)exported_integer(key, "driver_version");
        check_capabilities(device);
        json_array_foreach(json_object_get(device, "tests"), t, test)
        {
            const json_t *list = json_object_get(test, "cases");
            json_int_t own = 0;
            json_array_foreach(list, c, one)
            {
                assert_true(exported_string(one, "name")[0]);
                bool passed = json_is_true(json_object_get(one, "passed"));
                bool tested = json_is_true(json_object_get(one, "tested"));
                own += tested && !passed;
                if (tested && !passed)
                    assert_true(exported_string(one, "failure")[0] &&
                                exported_string(one, "reproduce")[0]);
            }
            assert_int_equal(json_array_size(list), exported_integer(test, "cases_run"));
            assert_int_equal(own, exported_integer(test, "failed"));
            assert_int_equal(json_array_size(json_object_get(test, "errors")), VKMOE_CONFORM_BINS);
            cases += exported_integer(test, "cases_run");
            bad += own;
        }
        assert_int_equal(cases, exported_integer(device, "cases_run"));
        assert_int_equal(bad, exported_integer(device, "failed"));
        total += cases;
        *failed += bad;
    }
    return total;
}

/* It says of every test what the whole report says, on a line of its own, and of cases only those
 * that measured something: none of a kernel's that passed. */
static void check_summary(const char *path, const json_t *whole)
{
    size_t size, t;
    json_t *test, *root = exported_json(path);
    const json_t *device = json_array_get(json_object_get(root, "devices"), 0);
    const json_t *other = json_array_get(json_object_get(whole, "devices"), 0);
    const json_t *tests = json_object_get(device, "tests");
    assert_true(json_equal(json_object_get(root, "passed"), json_object_get(whole, "passed")));
    assert_true(json_equal(json_object_get(device, "key"), json_object_get(other, "key")));
    assert_int_equal(json_array_size(tests), json_array_size(json_object_get(other, "tests")));
    json_array_foreach(tests, t, test)
    {
        const json_t *full = json_array_get(json_object_get(other, "tests"), t);
        assert_string_equal(exported_string(test, "kernel"), exported_string(full, "kernel"));
        assert_int_equal(exported_integer(test, "cases_run"), exported_integer(full, "cases_run"));
        assert_true(json_equal(json_object_get(test, "nmse"), json_object_get(full, "nmse")));
        assert_null(json_object_get(test, "cases"));
    }
    char *text = test_file_read(path, &size);
    /* And one line for the report, one for the device, one for each of its paths. */
    assert_int_equal(text_lines(text), json_array_size(tests) +
                                           json_array_size(json_object_get(device, "paths")) + 2);
    free(text);
    json_decref(root);
}

/* The report is of the suite that the library says it holds, which is always the same. */
static void check_suite(const json_t *root)
{
    uint64_t suite[2] = {0, 1};
    char text[17];
    vkmoe_error err;
    for (int i = 0; i < 2; i++)
        assert_ok(vkmoe_conform_suite(&suite[i], &err), &err);
    assert_true(suite[0] == suite[1]);
    snprintf(text, sizeof(text), "%016llx", (unsigned long long)suite[0]);
    assert_string_equal(exported_string(root, "suite"), text);
}

static void a_good_driver_passes_and_the_reports_are_complete(void **state)
{
    struct test_process list = {0}, run = {0};
    const char *json, *summary, *html;
    json_int_t failed;
    size_t size;
    (void)state;
    json = test_folder_path("report.json");
    summary = test_folder_path("summary.json");
    html = test_folder_path("report.html");
    test_vkmoe(&list, "conform", "--list", "--kernel", "s*m*");
    test_process_assert_code(&list, 0);
    test_vkmoe(&run, "conform", "--kernel", "s*m*", "--json", json, "--summary", summary, "--html",
               html);
    test_process_assert_code(&run, 0);
    assert_non_null(strstr(run.out, "sample_blocks"));
    assert_non_null(strstr(run.out, "sample_cut"));
    assert_non_null(strstr(run.out, "passed\n"));
    json_t *root = exported_json(json);
    assert_true(json_is_true(json_object_get(root, "passed")));
    check_suite(root);
    json_int_t cases = check_sums(root, &failed);
    assert_int_equal(failed, 0);
    assert_int_equal(cases + 2, text_lines(list.out)); /* two lines tell the device */
    check_summary(summary, root);
    json_decref(root);
    char *page = test_file_read(html, &size);
    page_assert_well_formed(page);
    assert_non_null(strstr(page, "sample_blocks"));
    assert_non_null(strstr(page, "<th>Path base</th><td>always trusted</td>"));
    assert_non_null(strstr(page, "<svg"));
    assert_null(strstr(page, "<script"));
    page_assert_links_open_details(page);
    free(page);
    test_process_free(&list);
    test_process_free(&run);
}

static void a_case_that_is_listed_can_be_run_alone_and_again(void **state)
{
    struct test_process p[2] = {{0}};
    (void)state;
    for (int i = 0; i < 2; i++) {
        test_vkmoe(&p[i], "conform", "--kernel", "rmsnorm", "--case",
                   "width=1407 rows=3 index=1 plain", "--seed", "5");
        test_process_assert_code(&p[i], 0);
        assert_non_null(strstr(p[i].out, "all 1 cases in 1 tests passed"));
    }
    assert_string_equal(p[0].out, p[1].out);
    test_process_free(&p[0]);
    test_vkmoe(&p[0], "conform", "--kernel", "rmsnorm", "--case", "width=1407 rows=3 index=1 plain",
               "--seed", "6");
    assert_string_not_equal(p[0].out, p[1].out);
    test_process_free(&p[0]);
    test_process_free(&p[1]);
}

static void every_device_gets_its_turn(void **state)
{
    struct test_process p = {0};
    (void)state;
    test_vkmoe(&p, "conform", "--device", "all", "--kernel", "kv_copy");
    test_process_assert_code(&p, 0);
    assert_non_null(strstr(p.out, "device 0: "));
    assert_non_null(strstr(p.out, "all 6 cases"));
    test_process_free(&p);
}

/* The same driver by two files, as one GPU may be offered by two drivers. */
static void a_device_of_two_drivers_is_named_by_its_driver_too(void **state)
{
    const char *icd = getenv("VK_DRIVER_FILES"), *twin = test_folder_path("twin.json");
    struct test_process once = {0}, twice = {0};
    char uuid[37], id[16], selector[64], both[4096];
    size_t size;
    (void)state;
    if (!icd || strchr(icd, ':'))
        skip();
    test_vkmoe(&once, "conform", "--list", "--kernel", "kv_copy");
    test_assert_part(once.out, "uuid ");
    assert_int_equal(sscanf(strstr(once.out, "uuid "), "uuid %36s, driver id %15[0-9]", uuid, id),
                     2);
    snprintf(selector, sizeof(selector), "%s/%s", uuid, id);
    test_process_free(&once);
    test_vkmoe(&once, "conform", "--list", "--kernel", "kv_copy", "--device", selector);
    test_process_assert_code(&once, 0);
    test_process_free(&once);
    snprintf(selector, sizeof(selector), "%s/%s9", uuid, id);
    test_vkmoe(&once, "conform", "--list", "--kernel", "kv_copy", "--device", selector);
    test_process_assert_sentence(&once, 1, selector);
    char *text = test_file_read(icd, &size);
    test_file_write(twin, text, size);
    free(text);
    snprintf(both, sizeof(both), "%s:%s", icd, twin);
    twice.variables[0][0] = "VK_DRIVER_FILES";
    twice.variables[0][1] = both;
    test_vkmoe(&twice, "conform", "--list", "--kernel", "kv_copy", "--device", uuid);
    test_process_assert_sentence(&twice, 1, "2 drivers offer the device");
    test_assert_part(twice.err, "indices 0, 1");
    test_process_free(&once);
    test_process_free(&twice);
}

static void wrong_usage_is_one_sentence(void **state)
{
    static const struct {
        const char *arguments[4];
        int code;
        const char *part;
    } wrong[] = {
        {{"--seed", "-1"}, 2, "--seed"},
        {{"--replay", "x", "--list"}, 2, "--replay"},
        {{"--list", "--html", "x"}, 2, "--list"},
        {{"--replay", "x", "--seed", "1"}, 2, "--replay"},
        {{"--full", "--quick"}, 2, "exclude each other"},
        {{"voodoo"}, 2, "voodoo"},
        {{"--kernal", "gemv"}, 2, "--kernal"},
        {{"--replay", "x", "--no-subgroups"}, 2, "--replay"},
        {{"--replay", "x", "--tiled-rows", "3"}, 2, "--replay"},
        {{"--replay", "x", "--path", "base"}, 2, "--replay"},
        {{"--device", "voodoo"}, 1, "voodoo"},
        {{"--replay", "/nowhere"}, 1, "/nowhere/manifest.json"},
        {{"--device", "reference", "--kernel", "kv_copy"},
         1,
         "compares a device with the reference"},
        {{"--json", "x", "--html", "x"}, 2, "two reports would go to the file x"},
        {{"--json", ""}, 1, "cannot write ''"},
        {{"--json", "/nowhere/report.json"}, 1, "/nowhere/report.json"},
        {{"--html", "/"}, 1, "cannot write /"},
        {{"-m", "/nowhere"}, 1, "no such folder"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct test_process p = {0};
        test_vkmoe(&p, "conform", wrong[i].arguments[0], wrong[i].arguments[1],
                   wrong[i].arguments[2], wrong[i].arguments[3]);
        test_process_assert_sentence(&p, wrong[i].code, wrong[i].part);
        test_process_free(&p);
    }
}

static void a_pattern_that_fits_nothing_is_a_failure(void **state)
{
    struct test_process p = {0};
    (void)state;
    test_vkmoe(&p, "conform", "--kernel", "voodoo");
    test_process_assert_code(&p, 1);
    test_assert_part(p.err, "no case fits --kernel 'voodoo'");
    assert_null(strstr(p.out, "passed"));
    test_process_free(&p);
    test_vkmoe(&p, "conform", "--kernel", "gemv", "--path", "base", "--weights", "BF16", "--case",
               "k=10944 n=2048 *");
    test_process_assert_code(&p, 1);
    test_assert_part(p.err, "no quick case fits --kernel 'gemv' and --case 'k=10944 n=2048 *' and "
                            "--path 'base' and --weights 'BF16'; ");
    test_assert_part(p.err, " of --full do");
    test_process_free(&p);
}

static void a_folder_that_cannot_be_exported_to_is_told_before_any_case(void **state)
{
    struct test_process p = {0};
    const char *file = test_folder_path("file");
    (void)state;
    test_file_write(file, "x", 1);
    test_vkmoe(&p, "conform", "--kernel", "kv_copy", "--export", file);
    test_process_assert_code(&p, 1);
    assert_non_null(strstr(p.err, "Not a directory"));
    assert_non_null(strstr(p.out, "0 cases were run"));
    test_process_free(&p);
}

/* Where a driver crashes, that line is the last. */
static void each_case_is_named_before_it_runs(void **state)
{
    struct test_process p = {0};
    (void)state;
    test_vkmoe(&p, "conform", "--kernel", "kv_copy", "--case", "words=128 *", "-v", "-v");
    test_process_assert_code(&p, 0);
    assert_non_null(strstr(p.err, "next: kv_copy (-, base), case words=128 blocks=64"));
    test_process_free(&p);
}

struct reader {
    const char *path;
    char text[8192];
};

static void *read_pipe(void *user)
{
    struct reader *r = user;
    FILE *f = fopen(r->path, "r");
    if (f) {
        r->text[fread(r->text, 1, sizeof(r->text) - 1, f)] = '\0';
        fclose(f);
    }
    return NULL;
}

/* Nor does trying whether it can be written end what its reader reads. */
static void a_report_into_a_pipe_leaves_the_pipe(void **state)
{
    struct reader r = {.path = test_folder_path("pipe")};
    struct test_process p = {0};
    struct stat there;
    pthread_t thread;
    (void)state;
    assert_int_equal(mkfifo(r.path, 0600), 0);
    assert_int_equal(pthread_create(&thread, NULL, read_pipe, &r), 0);
    test_vkmoe(&p, "conform", "--kernel", "kv_copy", "--summary", r.path);
    test_process_assert_code(&p, 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_non_null(strstr(r.text, "\"passed\": true"));
    assert_int_equal(stat(r.path, &there), 0);
    assert_true(S_ISFIFO(there.st_mode));
    test_process_free(&p);
}

static void assert_command(const struct conform_test *t, const char *expected)
{
    struct conform_case c = {.name = "k=1 *"};
    struct conform_device d = {.info = {.uuid = "0-1", .driver_id = 13}};
    const struct conform_report r = {.seed = 7, .full = true};
    char *command = NULL;
    size_t size;
    FILE *f = open_memstream(&command, &size);
    assert_non_null(f);
    conform_command(f, &r, &d, t, &c);
    assert_int_equal(fclose(f), 0);
    assert_string_equal(command, expected);
    free(command);
}

static void the_command_that_runs_a_case_again_names_driver_path_and_storage_type(void **state)
{
    (void)state;
    assert_command(&(struct conform_test){.kernel = "gemv", .weights = "Q8", .path = "subgroup"},
                   "vkmoe conform --device 0-1/13 --kernel gemv --path subgroup --weights Q8 "
                   "--case 'k=1 *' --seed 7 --full");
    assert_command(&(struct conform_test){.kernel = "topk", .weights = "-", .path = "base"},
                   "vkmoe conform --device 0-1/13 --kernel topk --path base "
                   "--case 'k=1 *' --seed 7 --full");
}

static void a_failure_is_in_the_reports(void **state)
{
    struct exported e;
    struct test_process p = {0};
    const char *json, *html;
    json_int_t failed;
    size_t size;
    (void)state;
    exported_spoiled(VKM_K_rmsnorm, "width=33 rows=3*", &e);
    json = test_folder_path("report.json");
    html = test_folder_path("report.html");
    test_vkmoe(&p, "conform", "--replay", e.bundle, "--json", json, "--html", html);
    test_process_assert_code(&p, 1);
    json_t *root = exported_json(json);
    assert_true(json_is_false(json_object_get(root, "passed")));
    assert_string_equal(exported_string(root, "replay"), e.bundle);
    assert_null(json_object_get(root, "seed")); /* the folder has it */
    assert_int_equal(check_sums(root, &failed), 1);
    assert_int_equal(failed, 1);
    json_decref(root);
    char *page = test_file_read(html, &size);
    page_assert_well_formed(page);
    assert_non_null(strstr(page, "1 of 1 cases failed"));
    assert_non_null(strstr(page, " --replay"));
    assert_non_null(strstr(page, "the case in "));
    free(page);
    test_process_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FOLDER(a_good_driver_passes_and_the_reports_are_complete),
        TEST_IN_FOLDER(a_case_that_is_listed_can_be_run_alone_and_again),
        TEST_IN_FOLDER(every_device_gets_its_turn),
        TEST_IN_FOLDER(a_device_of_two_drivers_is_named_by_its_driver_too),
        TEST_IN_FOLDER(wrong_usage_is_one_sentence),
        TEST_IN_FOLDER(a_pattern_that_fits_nothing_is_a_failure),
        TEST_IN_FOLDER(a_folder_that_cannot_be_exported_to_is_told_before_any_case),
        TEST_IN_FOLDER(each_case_is_named_before_it_runs),
        TEST_IN_FOLDER(a_report_into_a_pipe_leaves_the_pipe),
        cmocka_unit_test(the_command_that_runs_a_case_again_names_driver_path_and_storage_type),
        TEST_IN_FOLDER(a_failure_is_in_the_reports),
    };
    return cmocka_run_group_tests_name("conform", tests, NULL, NULL);
}
