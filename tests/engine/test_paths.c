/* Paths that need a self-test: what is asked for, what the program that tests them may do, and what
 * is kept of it. Scripts take that program's place. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"
#include "process.h"

static const vkmoe_path_info *path_of(const vkmoe_device_info *device, const char *name)
{
    for (uint32_t i = 0; i < device->n_paths; i++)
        if (strcmp(device->paths[i].name, name) == 0)
            return &device->paths[i];
    fail_msg("there is no path %s", name);
    return NULL;
}

static const vkmoe_path_info *int8_of(const vkmoe_device_info *device)
{
    return path_of(device, "int8");
}

static const char *cache(void)
{
    return test_folder_path("cache");
}

/* Puts a script in the place of vkmoe-selftest, which notes that it ran. */
static void set_selftest(const char *script)
{
    char text[512];
    const char *path = test_folder_path("selftest");
    snprintf(text, sizeof(text), "#!/bin/sh\necho \"$@\" >>%s\n%s\n", test_folder_path("runs"),
             script);
    test_folder_write_text("selftest", text);
    assert_int_equal(chmod(path, 0755), 0);
    assert_int_equal(setenv("VKMOE_SELFTEST", path, 1), 0);
}

static unsigned runs(void)
{
    FILE *file = fopen(test_folder_path("runs"), "r");
    unsigned lines = 0;
    int c;
    while (file && (c = fgetc(file)) != EOF)
        lines += c == '\n';
    if (file)
        fclose(file);
    return lines;
}

static struct test_log device_log;

static vkmoe_device *open_with(const char *paths, double seconds)
{
    vkmoe_error err;
    vkmoe_device *device = NULL;
    vkmoe_device_params params = {.log = &device_log.log,
                                  .validation = true,
                                  .paths = paths,
                                  .cache_dir = cache(),
                                  .hang_seconds = seconds};
    test_log_init(&device_log);
    assert_ok(vkmoe_device_open(&params, &device, &err), &err);
    return device;
}

/* Opens the device with the path asked for, and tells what came of that. */
static vkmoe_path_info try_int8(double seconds)
{
    vkmoe_device *device = open_with("+int8", seconds);
    vkmoe_path_info info = *int8_of(vkmoe_device_get_info(device));
    vkmoe_device_close(device);
    assert_int_equal(device_log.errors, 0);
    return info;
}

/* What a listing says. */
static vkmoe_path_info listed(const char *cache_dir)
{
    vkmoe_error err;
    vkmoe_device_info infos[16];
    vkmoe_device_params params = {.cache_dir = cache_dir};
    size_t count;
    vkmoe_device *device = open_with("-int8", 0);
    uint32_t index = vkmoe_device_get_info(device)->index;
    vkmoe_device_close(device);
    assert_ok(vkmoe_device_list(&params, infos, 16, &count, &err), &err);
    assert_true(index < count);
    return *int8_of(&infos[index]);
}

/* --- one test for a driver --- */

static void a_path_that_passes_is_used_and_tested_once(void **state)
{
    (void)state;
    set_selftest("echo passed");
    assert_int_equal(listed(cache()).state, VKMOE_PATH_UNTESTED);
    for (int i = 0; i < 2; i++) {
        vkmoe_path_info info = try_int8(0);
        assert_int_equal(info.state, VKMOE_PATH_PASSED);
        assert_true(info.used);
        assert_int_equal(device_log.warnings, 0);
    }
    assert_int_equal(runs(), 1);
    assert_int_equal(listed(cache()).state, VKMOE_PATH_PASSED);
    assert_false(listed(cache()).used);
    assert_int_equal(listed(test_folder_path("elsewhere")).state, VKMOE_PATH_UNTESTED);
    assert_int_equal(listed("").state, VKMOE_PATH_UNTESTED);
}

static void assert_disabled(const vkmoe_path_info *info, const char *why)
{
    assert_int_equal(info->state, VKMOE_PATH_FAILED);
    assert_false(info->used);
    test_assert_part(info->reason, why);
    assert_int_equal(device_log.warnings, 1);
    test_assert_part(device_log.warning, "path int8 is not used");
    test_assert_part(device_log.warning, why);
}

/* The warning comes again, as it is asked for again, but no test. */
static void assert_disabled_for_good(double seconds, const char *why)
{
    for (int i = 0; i < 2; i++) {
        vkmoe_path_info info = try_int8(seconds);
        assert_disabled(&info, why);
    }
    assert_int_equal(runs(), 1);
    vkmoe_path_info info = listed(cache());
    assert_int_equal(info.state, VKMOE_PATH_FAILED);
    test_assert_part(info.reason, why);
}

static void a_path_that_fails_is_disabled_with_one_warning(void **state)
{
    (void)state;
    set_selftest("echo 'failed: gemm (Q8, int8), case k=1: y[0] differs'");
    assert_disabled_for_good(0, "gemm (Q8, int8), case k=1: y[0] differs");
}

static void a_crash_is_survived(void **state)
{
    (void)state;
    set_selftest("kill -ABRT $$");
    assert_disabled_for_good(0, "crashed with signal 6");
}

/* Also of a process that holds on to its stdout. It may have been slow: it gets another chance. */
static void a_hang_is_survived_and_no_verdict(void **state)
{
    (void)state;
    set_selftest("sleep 1000");
    for (int i = 0; i < 2; i++) {
        vkmoe_path_info info = try_int8(1);
        assert_int_equal(info.state, VKMOE_PATH_UNTESTED);
        assert_false(info.used);
        assert_int_equal(device_log.warnings, 1);
        test_assert_part(device_log.warning, "said nothing for 1 seconds");
    }
    assert_int_equal(runs(), 2);
    assert_int_equal(listed(cache()).state, VKMOE_PATH_UNTESTED);
}

/* All of it takes longer than it may be silent. */
static void a_test_that_goes_on_is_waited_for(void **state)
{
    (void)state;
    set_selftest("for i in 1 2 3 4; do echo .; sleep 1.5; done; echo passed");
    assert_int_equal(try_int8(5).state, VKMOE_PATH_PASSED);
}

static bool just_begun(void *user)
{
    unsigned *asked = user;
    return ++*asked < 5;
}

static void a_test_can_be_cancelled(void **state)
{
    (void)state;
    vkmoe_error err;
    vkmoe_device *device = NULL;
    unsigned asked = 0;
    vkmoe_device_params params = {.log = &device_log.log,
                                  .paths = "+int8",
                                  .cache_dir = cache(),
                                  .hang_seconds = 1e6,
                                  .go_on = just_begun,
                                  .user = &asked};
    set_selftest("sleep 1000");
    test_log_init(&device_log);
    test_assert_fails(vkmoe_device_open(&params, &device, &err), &err, VKMOE_CANCELLED,
                      "cancelled");
    assert_int_equal(device_log.warnings, 0);
    assert_int_equal(listed(cache()).state, VKMOE_PATH_UNTESTED);
}

static void a_test_is_announced(void **state)
{
    (void)state;
    struct test_process p = {.variables = {{"XDG_CACHE_HOME", test_folder()}}};
    set_selftest("echo passed");
    test_vkmoe(&p, "plan", "--paths=+int8");
    test_process_assert_code(&p, 0);
    test_assert_part(p.err, "testing the path int8 on ");
    assert_ptr_equal(strchr(p.err, '\n'), p.err + strlen(p.err) - 1); /* in one line */
    test_process_free(&p);
    test_vkmoe(&p, "plan", "--paths=+int8"); /* whose verdict is known */
    assert_string_equal(p.err, "");
    test_process_free(&p);
}

static void await_file(const char *path)
{
    for (int i = 0; i < 6000 && access(path, F_OK) != 0; i++)
        usleep(10000);
    if (access(path, F_OK) != 0)
        fail_msg("%s did not appear", path);
}

/* What asked for a test was killed: it sees its stdin end. */
static void a_test_does_not_outlive_who_asked_for_it(void **state)
{
    (void)state;
    char script[512];
    struct test_process p = {.variables = {{"XDG_CACHE_HOME", test_folder()}}};
    const char *const argv[] = {VKMOE_PROGRAM, "plan", "--paths=+int8", NULL};
    snprintf(script, sizeof(script), "cat >/dev/null; touch %s", test_folder_path("ended"));
    set_selftest(script);
    test_process_start(&p, argv);
    await_file(test_folder_path("runs"));
    assert_int_equal(access(test_folder_path("ended"), F_OK), -1);
    assert_int_equal(kill(p.pid, SIGKILL), 0);
    await_file(test_folder_path("ended"));
    test_process_wait(&p);
    test_process_free(&p);
}

static void many_words_are_no_verdict(void **state)
{
    (void)state;
    set_selftest("yes passed | head -c 100000");
    assert_int_equal(try_int8(0).state, VKMOE_PATH_UNTESTED);
    assert_int_equal(device_log.warnings, 1);
}

/* --- where nothing is learnt --- */

static void assert_off_for_now(const char *why)
{
    vkmoe_path_info info = try_int8(0);
    assert_int_equal(info.state, VKMOE_PATH_UNTESTED);
    assert_false(info.used);
    assert_int_equal(device_log.warnings, 1);
    test_assert_part(device_log.warning, why);
    assert_int_equal(listed(cache()).state, VKMOE_PATH_UNTESTED);
}

static void a_test_that_others_end_is_made_again(void **state)
{
    (void)state;
    set_selftest("kill -TERM $$");
    assert_off_for_now("was ended by signal 15");
    assert_off_for_now("was ended by signal 15");
    assert_int_equal(runs(), 2);
}

static void a_test_that_cannot_be_made_is_made_again(void **state)
{
    (void)state;
    set_selftest("echo 'error: host memory ran out'; exit 1");
    assert_off_for_now("could not be made: host memory ran out");
    set_selftest("exit 3");
    assert_off_for_now("ended without a verdict");
    assert_int_equal(runs(), 2);
}

static void without_its_program_a_path_stays_off(void **state)
{
    (void)state;
    assert_int_equal(setenv("VKMOE_SELFTEST", "/nowhere/selftest", 1), 0);
    assert_off_for_now("/nowhere/selftest, which tests it, cannot be run");
}

/* --- what is kept --- */

static char *verdict_file(void)
{
    char command[512];
    static char path[512];
    snprintf(command, sizeof(command), "ls %s/*-int8.verdict", cache());
    FILE *list = popen(command, "r");
    assert_non_null(list);
    assert_non_null(fgets(path, sizeof(path), list));
    assert_int_equal(pclose(list), 0);
    path[strcspn(path, "\n")] = '\0';
    return path;
}

/* A file that is damaged, or about another driver or build, is no verdict. */
static void only_a_verdict_on_this_driver_and_build_counts(void **state)
{
    static const char *const keys[] = {"\"driver_version\": ", "\"build\": \"", "\"uuid\": \"",
                                       "\"driver_id\": "};
    (void)state;
    set_selftest("echo passed");
    try_int8(0);
    const char *path = verdict_file();
    size_t size;
    char *text = test_file_read(path, &size);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        char *at = strstr(text, keys[i]);
        assert_non_null(at);
        at += strlen(keys[i]);
        char was = *at;
        *at = was == '9' ? '8' : '9';
        test_file_write(path, text, size);
        *at = was;
        assert_int_equal(listed(cache()).state, VKMOE_PATH_UNTESTED);
    }
    test_file_write(path, text, size / 2);
    assert_int_equal(listed(cache()).state, VKMOE_PATH_UNTESTED);
    assert_int_equal(try_int8(0).state, VKMOE_PATH_PASSED);
    assert_int_equal(runs(), 2);
    assert_int_equal(listed(cache()).state, VKMOE_PATH_PASSED);
    free(text);
}

static void without_a_cache_folder_each_device_is_tested(void **state)
{
    (void)state;
    vkmoe_error err;
    vkmoe_device_params params = {.paths = "+int8", .cache_dir = ""};
    set_selftest("echo passed");
    for (unsigned i = 1; i <= 2; i++) {
        vkmoe_device *device = NULL;
        assert_ok(vkmoe_device_open(&params, &device, &err), &err);
        assert_true(int8_of(vkmoe_device_get_info(device))->used);
        vkmoe_device_close(device);
        assert_int_equal(runs(), i);
    }
}

/* --- what is asked for --- */

static void a_forced_path_is_used_untested_and_a_forbidden_one_not(void **state)
{
    (void)state;
    set_selftest("echo 'failed: always'");
    vkmoe_device *device = open_with("++int8", 0);
    assert_true(int8_of(vkmoe_device_get_info(device))->used);
    vkmoe_device_close(device);
    device = open_with("-int8,-subgroup", 0);
    const vkmoe_device_info *info = vkmoe_device_get_info(device);
    assert_false(int8_of(info)->used);
    assert_true(info->paths[0].used);
    assert_false(info->paths[1].used);
    vkmoe_device_close(device);
    assert_int_equal(runs(), 0);
    assert_int_equal(device_log.warnings, 0);
}

/* Where the driver calls it fast, it is used without a word. */
static void unasked_for_a_path_is_used_only_where_it_suits(void **state)
{
    (void)state;
    set_selftest("echo passed");
    vkmoe_device *device = open_with(NULL, 0);
    const vkmoe_path_info *info = int8_of(vkmoe_device_get_info(device));
    assert_true(info->used == info->suits);
    assert_true(info->suits || info->reason[0]);
    assert_int_equal(runs(), info->suits);
    vkmoe_device_close(device);
}

static void what_cannot_be_run_is_refused(void **state)
{
    vkmoe_error err;
    vkmoe_device *device = NULL;
    vkmoe_device_params params = {.selector = "reference", .paths = "+int8", .cache_dir = ""};
    (void)state;
    test_assert_fails(vkmoe_device_open(&params, &device, &err), &err, VKMOE_UNSUPPORTED,
                      "reference cannot run the path int8: it lacks");
    params.paths = "int8";
    test_assert_fails(vkmoe_device_open(&params, &device, &err), &err, VKMOE_INVALID_ARGUMENT,
                      "expected -NAME, +NAME or ++NAME");
}

/* --- the real thing --- */

static void the_installed_test_passes(void **state)
{
    (void)state;
    unsetenv("VKMOE_SELFTEST");
    vkmoe_path_info info = try_int8(1200);
    if (device_log.warnings)
        print_error("%s\n", device_log.warning);
    assert_int_equal(info.state, VKMOE_PATH_PASSED);
    assert_true(info.used);
}

enum { TOKENS = 40 };

static void the_installed_test_ends_with_its_stdin(void **state)
{
    (void)state;
    char program[512];
    snprintf(program, sizeof(program), "%s", VKMOE_PROGRAM);
    *strrchr(program, '/') = '\0';
    strcat(program, "/../libexec/vkmoe/vkmoe-selftest");
    struct test_process p = {0}; /* whose stdin is empty */
    test_process_run(&p, (const char *const[]){program, "0", "no such uuid", "int8", NULL});
    test_process_assert_code(&p, 1);
    assert_null(strstr(p.out ? p.out : "", "error"));
    test_process_free(&p);
}

/* The logits of a prompt, with tiled products. */
static float *logits_of(const char *paths, vkmoe_weights weights, const char *folder,
                        uint32_t *vocab)
{
    vkmoe_error err;
    struct engine e = {0};
    int32_t tokens[TOKENS];
    vkmoe_device_params device = {.paths = paths, .tiled_rows = 1, .cache_dir = ""};
    vkmoe_model_params model = {.weights = weights};
    assert_ok(vkmoe_device_open(&device, &e.device, &err), &err);
    assert_ok(vkmoe_model_load(e.device, folder, &model, &e.model, &err), &err);
    *vocab = vkmoe_model_get_info(e.model)->vocab_size;
    float *logits = calloc(TOKENS * *vocab, sizeof(float));
    assert_non_null(logits);
    engine_tokens(&e, 5, tokens, TOKENS);
    vkmoe_session *s = engine_session(&e, &(vkmoe_session_params){.context = TOKENS});
    assert_ok(vkmoe_session_eval(s, tokens, TOKENS, &(vkmoe_trace){.logits = logits}, &err), &err);
    vkmoe_session_destroy(s);
    vkmoe_model_destroy(e.model);
    vkmoe_device_close(e.device);
    return logits;
}

/* Without the path the logits are those of float32 activations; with it they differ by what
 * rounding makes. */
static void check_rounding(const char *path, const char *forced, vkmoe_weights weights,
                           double bound)
{
    static const struct test_shape shape = {.layers = 2, .vocab = 200};
    struct test_shape complete = test_shape_complete(&shape);
    uint32_t vocab;
    double error = 0, power = 0;
    checkpoint_write(&complete, test_folder());
    float *plain = logits_of("-fp16,-int8,-coopmat", weights, test_folder(), &vocab);
    float *rounded = logits_of(forced, weights, test_folder(), &vocab);
    for (size_t i = 0; i < (size_t)TOKENS * vocab; i++) {
        double difference = (double)rounded[i] - (double)plain[i];
        error += difference * difference;
        power += (double)plain[i] * (double)plain[i];
    }
    print_message("%s: NMSE of the logits: %.2e\n", path, error / power);
    assert_true(error > 0);
    assert_true(error / power < bound);
    free(plain);
    free(rounded);
}

static void prompts_differ_by_the_rounding_of_activations(void **state)
{
    (void)state;
    check_rounding("int8", "++int8", VKMOE_WEIGHTS_Q8, 1e-3);
}

static bool is_missing(const char *path)
{
    vkmoe_device *device = open_with("-fp16", 0);
    bool missing = path_of(vkmoe_device_get_info(device), path)->state == VKMOE_PATH_MISSING;
    vkmoe_device_close(device);
    return missing;
}

static void prompts_differ_by_the_rounding_to_float16(void **state)
{
    (void)state;
    if (is_missing("fp16"))
        skip();
    check_rounding("fp16", "++fp16,-int8", VKMOE_WEIGHTS_Q8, 3e-6);
    check_rounding("fp16", "++fp16", VKMOE_WEIGHTS_Q4, 3e-6);
}

static void prompts_differ_by_the_rounding_for_matrix_units(void **state)
{
    (void)state;
    if (is_missing("coopmat"))
        skip();
    check_rounding("coopmat", "++coopmat", VKMOE_WEIGHTS_STORED, 3e-6);
    check_rounding("coopmat", "++coopmat", VKMOE_WEIGHTS_Q8, 3e-6);
    check_rounding("coopmat", "++coopmat", VKMOE_WEIGHTS_Q4, 3e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FOLDER(a_path_that_passes_is_used_and_tested_once),
        TEST_IN_FOLDER(a_path_that_fails_is_disabled_with_one_warning),
        TEST_IN_FOLDER(a_crash_is_survived),
        TEST_IN_FOLDER(a_hang_is_survived_and_no_verdict),
        TEST_IN_FOLDER(a_test_that_goes_on_is_waited_for),
        TEST_IN_FOLDER(a_test_can_be_cancelled),
        TEST_IN_FOLDER(a_test_is_announced),
        TEST_IN_FOLDER(a_test_does_not_outlive_who_asked_for_it),
        TEST_IN_FOLDER(many_words_are_no_verdict),
        TEST_IN_FOLDER(a_test_that_others_end_is_made_again),
        TEST_IN_FOLDER(a_test_that_cannot_be_made_is_made_again),
        TEST_IN_FOLDER(without_its_program_a_path_stays_off),
        TEST_IN_FOLDER(only_a_verdict_on_this_driver_and_build_counts),
        TEST_IN_FOLDER(without_a_cache_folder_each_device_is_tested),
        TEST_IN_FOLDER(a_forced_path_is_used_untested_and_a_forbidden_one_not),
        TEST_IN_FOLDER(unasked_for_a_path_is_used_only_where_it_suits),
        TEST_IN_FOLDER(what_cannot_be_run_is_refused),
        TEST_IN_FOLDER(the_installed_test_passes),
        TEST_IN_FOLDER(the_installed_test_ends_with_its_stdin),
        TEST_IN_FOLDER(prompts_differ_by_the_rounding_of_activations),
        TEST_IN_FOLDER(prompts_differ_by_the_rounding_to_float16),
        TEST_IN_FOLDER(prompts_differ_by_the_rounding_for_matrix_units),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
