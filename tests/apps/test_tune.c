/* Tuned launches: `vkmoe bench --tune`, the file that it leaves, and what goes by it. */
#include "../golden/checkpoint.h"
#include "../golden/trace.h"
#include "support.h"

#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <vkmoe/bench.h>

#include "engine/engine.h"
#include "process.h"

static char *folder; /* a small checkpoint */
static char *cache;  /* what `vkmoe/` of a cache folder would be */

static int make_folders(void **state)
{
    (void)state;
    const struct test_shape shape =
        test_shape_complete(&(struct test_shape){.shared = 1, .layers = 2, .hidden = 96});
    folder = test_folder_make();
    checkpoint_write(&shape, folder);
    return 0;
}

static int remove_folders(void **state)
{
    (void)state;
    test_folder_remove(folder);
    return 0;
}

static int make_cache(void **state)
{
    test_folder_setup(state);
    cache = strdup(test_folder_path("vkmoe"));
    return 0;
}

static int remove_cache(void **state)
{
    free(cache);
    return test_folder_teardown(state);
}
#define WITH_CACHE(function) cmocka_unit_test_setup_teardown((function), make_cache, remove_cache)

static vkmoe_device *open_device(struct test_log *log, bool no_tuning)
{
    vkmoe_error err;
    vkmoe_device *device = NULL;
    test_log_init(log);
    const vkmoe_device_params params = {
        .log = &log->log, .cache_dir = cache, .no_tuning = no_tuning};
    assert_ok(vkmoe_device_open(&params, &device, &err), &err);
    return device;
}

/* Choices that differ from the table wherever they can. */
static struct vkm_tuning other_launches(const struct vkm_caps *caps)
{
    struct vkm_tuning t = {.launch_class = vkm_launch_class(caps)};
    for (uint32_t k = 0; k < VKM_KERNEL_COUNT; k++) {
        struct vkm_geometry g = vkm_launch_geometry(caps, k, VKM_DTYPE_COUNT, false);
        g.lanes = g.lanes == 64 ? 32 : 64;
        if (vkm_launch_is_product(k))
            g.outputs = g.panels = g.outputs == 4 ? 2 : 4;
        for (int type = 0; type < VKM_TUNED_TYPES && vkm_launch_fits(caps, k, g); type++)
            if (vkm_kernels.kernels[k].has_dtype == (type < VKM_DTYPE_COUNT))
                t.kernels[k][type] = g;
    }
    t.settings[VKM_SETTING_tiled_rows] = 3;
    return t;
}

/* Keeps them, as tuning would that looked for all of them, or for those of one type of weights
 * alone, and returns the file's path, to be freed. */
static char *keep_type(const struct vkm_tuning *tuning, int only)
{
    vkm_tuned_set looked_for;
    for (uint32_t k = 0; k < VKM_KERNEL_COUNT; k++)
        for (int type = 0; type < VKM_TUNED_TYPES; type++)
            looked_for[k][type] = only < 0 || type == only;
    struct test_log log;
    vkmoe_error err;
    char *path = NULL;
    vkmoe_device *device = open_device(&log, true);
    struct vkm_tuning t = tuning ? *tuning : other_launches(vkm_gpu_caps(device->gpu));
    assert_ok(vkm_tuning_store(vkm_gpu_get_params(device->gpu), vkmoe_device_get_info(device), &t,
                               looked_for, &path, &err),
              &err);
    vkmoe_device_close(device);
    return path;
}

static char *keep(const struct vkm_tuning *tuning)
{
    return keep_type(tuning, -1);
}

static void tuning_leaves_a_file_that_later_sessions_go_by(void **state)
{
    (void)state;
    struct test_log log;
    vkmoe_error err;
    vkmoe_model *model = NULL;
    vkmoe_tune_result result;
    const vkmoe_tune_params params = {.seconds = 5};
    vkmoe_device *device = open_device(&log, false);
    assert_false(vkmoe_device_get_info(device)->tuned);
    assert_ok(vkmoe_model_invent(device, folder, 0, NULL, &model, &err), &err);
    assert_ok(vkmoe_bench_tune(model, &params, &result, &err), &err);
    assert_false(vkmoe_device_get_info(device)->tuned); /* goes on as it was opened */
    assert_true(result.seconds > 0);
    for (uint32_t i = 0; i < result.n_choices; i++) {
        const vkmoe_tune_choice *c = &result.choices[i];
        assert_true(c->ratio > 0 && c->noise >= 0);
        assert_true(!c->kept || (c->ratio < 0.97 && c->ratio < 1 - c->noise));
        assert_true(c->from[0] != c->to[0] || c->from[1] != c->to[1]);
    }
    size_t size;
    char *text = test_file_read(result.file, &size);
    test_assert_part(text, vkmoe_device_get_info(device)->uuid);
    free(text);
    vkmoe_model_destroy(model);
    vkmoe_device_close(device);
    device = open_device(&log, false);
    assert_true(vkmoe_device_get_info(device)->tuned);
    assert_int_equal(log.warnings, 0);
    vkmoe_device_close(device);
}

/* Logits of a few tokens on a device that is opened for them. */
static float *logits(bool no_tuning, bool tuned, uint32_t *count)
{
    static const int32_t tokens[] = {1, 2, 3, 5, 8};
    struct test_log log;
    vkmoe_error err;
    vkmoe_model *model = NULL;
    vkmoe_session *session = NULL;
    vkmoe_device *device = open_device(&log, no_tuning);
    assert_int_equal(vkmoe_device_get_info(device)->tuned, tuned);
    assert_ok(vkmoe_model_load(device, folder, NULL, &model, &err), &err);
    assert_ok(vkmoe_session_create(model, NULL, &session, &err), &err);
    *count = 5 * vkmoe_model_get_info(model)->vocab_size;
    vkmoe_trace trace = {.logits = calloc(*count, sizeof(float))};
    assert_non_null(trace.logits);
    for (int i = 0; i < 5; i++) { /* one row at a time: what is tuned */
        vkmoe_trace one = {.logits = trace.logits + (uint32_t)i * (*count / 5)};
        assert_ok(vkmoe_session_eval(session, &tokens[i], 1, &one, &err), &err);
    }
    vkmoe_session_destroy(session);
    vkmoe_model_destroy(model);
    vkmoe_device_close(device);
    return trace.logits;
}

static void the_same_file_gives_the_same_bits_and_the_same_answer(void **state)
{
    (void)state;
    uint32_t n;
    float *before = logits(false, false, &n);
    char *path = keep(NULL);
    float *once = logits(false, true, &n), *again = logits(false, true, &n);
    float *off = logits(true, false, &n);
    assert_memory_equal(once, again, n * sizeof(float));
    assert_memory_equal(before, off, n * sizeof(float));
    float largest = 0, difference = 0;
    for (uint32_t i = 0; i < n; i++) {
        largest = fmaxf(largest, fabsf(before[i]));
        difference = fmaxf(difference, fabsf(before[i] - once[i]));
    }
    assert_true(difference <= 1e-4f * largest);
    free(before);
    free(once);
    free(again);
    free(off);
    vkm_free(NULL, path);
}

static void tuning_with_other_weights_keeps_what_was_found(void **state)
{
    (void)state;
    struct test_log log;
    vkmoe_device *device = open_device(&log, true);
    struct vkm_tuning t = other_launches(vkm_gpu_caps(device->gpu)), none = {0}, now;
    uint32_t k = VKM_K_gemv;
    none.launch_class = t.launch_class;
    vkm_free(NULL, keep_type(&t, VKM_DTYPE_Q8));
    char *path = keep_type(&none, VKM_DTYPE_BF16); /* which found nothing */
    vkmoe_device_close(device);
    device = open_device(&log, false);
    now = device->tuning;
    assert_memory_equal(&now.kernels[k][VKM_DTYPE_Q8], &t.kernels[k][VKM_DTYPE_Q8],
                        sizeof(now.kernels[k][VKM_DTYPE_Q8]));
    assert_int_equal(now.kernels[k][VKM_DTYPE_BF16].lanes, 0);
    vkmoe_device_close(device);
    vkm_free(NULL, path);
    vkm_free(NULL, keep_type(&none, VKM_DTYPE_Q8)); /* what was looked for anew is replaced */
    device = open_device(&log, false);
    assert_int_equal(device->tuning.kernels[k][VKM_DTYPE_Q8].lanes, 0);
    assert_int_equal(log.warnings, 0);
    vkmoe_device_close(device);
}

static void a_file_that_does_not_fit_is_ignored_with_one_notice(void **state)
{
    (void)state;
    struct test_log log;
    size_t size;
    char *path = keep(NULL), *text = test_file_read(path, &size);
    for (int i = 0; i < 2; i++) {
        char *line = strstr(text, i == 0 ? "lanes " : "version ");
        assert_non_null(line);
        line[i == 0 ? 6 : 8] ^= 1; /* a digit, into another */
        if (i == 1) {              /* as if written under another version of the driver */
            size_t all = size - sizeof("hash 0123456789abcdef\n") + 1;
            snprintf(text + all, size - all + 1, "hash %016llx\n",
                     (unsigned long long)vkm_hash(VKM_HASH_INIT, text, all));
        }
        test_file_write(path, text, size);
        vkmoe_device *device = open_device(&log, false);
        assert_false(vkmoe_device_get_info(device)->tuned);
        assert_int_equal(log.warnings, 1);
        test_assert_part(log.warning, i == 0 ? "is damaged" : "another version of the driver");
        test_assert_part(log.warning, path);
        vkmoe_device_close(device);
        device = open_device(&log, true);
        assert_int_equal(log.warnings, 0);
        vkmoe_device_close(device);
    }
    free(text);
    vkm_free(NULL, path);
}

struct conformed {
    uint32_t failed;
    uint64_t tuning;
};

static void count_failures(void *user, const vkmoe_conform_case *result)
{
    ((struct conformed *)user)->failed += !result->passed;
}

static void note_tuning(void *user, const vkmoe_device_info *info)
{
    ((struct conformed *)user)->tuning = info->tuning;
}

static void tuned_launches_conform_and_are_named(void **state)
{
    static const char *const kernels[] = {"rmsnorm", "topk", "moe_gemv_down"};
    (void)state;
    char *path = keep(NULL), line[32];
    size_t size;
    char *text = test_file_read(path, &size);
    for (size_t i = 0; i < VKM_COUNT(kernels); i++) {
        vkmoe_error err;
        struct conformed seen = {0};
        const vkmoe_device_params device = {.cache_dir = cache};
        const vkmoe_conform_params params = {.kernels = kernels[i],
                                             .on_device = note_tuning,
                                             .on_case = count_failures,
                                             .user = &seen};
        vkmoe_conform_totals totals;
        assert_ok(vkmoe_conform_run(&device, &params, &totals, &err), &err);
        assert_int_equal(seen.failed, 0);
        snprintf(line, sizeof(line), "hash %016llx\n", (unsigned long long)seen.tuning);
        assert_non_null(strstr(text, line));
    }
    free(text);
    vkm_free(NULL, path);
}

static void count_tunings(void *user, vkmoe_log_level level, const char *line)
{
    (void)level;
    *(uint32_t *)user += strstr(line, "launches are tuned by ") != NULL;
}

/* The kernels' device says so, and that of whole steps. */
static void checks_of_whole_steps_are_tuned_too(void **state)
{
    uint32_t tunings = 0;
    struct conformed seen = {0};
    const vkmoe_log log = {.write = count_tunings, .user = &tunings};
    const vkmoe_device_params device = {.cache_dir = cache, .log = &log};
    const vkmoe_conform_params params = {
        .kernels = "cancel", .jobs = 1, .on_case = count_failures, .user = &seen};
    vkmoe_conform_totals totals;
    vkmoe_error err;
    (void)state;
    char *path = keep(NULL);
    assert_ok(vkmoe_conform_run(&device, &params, &totals, &err), &err);
    assert_true(totals.cases > 0);
    assert_int_equal(seen.failed, 0);
    assert_int_equal(tunings, 2);
    vkm_free(NULL, path);
}

static bool devices_say_tuned(const char *variable)
{
    struct test_process p = {
        .variables = {{"XDG_CACHE_HOME", test_folder()}, {"VKMOE_NO_TUNING", variable}}};
    test_vkmoe(&p, "devices", "--json");
    test_process_assert_code(&p, 0);
    json_t *root = json_loads(p.out, 0, NULL);
    const json_t *first = json_array_get(json_object_get(root, "devices"), 0);
    bool tuned = json_is_true(json_object_get(first, "tuned"));
    assert_true(tuned || json_is_false(json_object_get(first, "tuned")));
    json_decref(root);
    test_process_free(&p);
    return tuned;
}

static void the_listing_says_whether_a_file_is_in_use(void **state)
{
    (void)state;
    assert_false(devices_say_tuned(""));
    char *path = keep(NULL);
    assert_true(devices_say_tuned(""));
    assert_false(devices_say_tuned("1"));
    struct test_process p = {.variables = {{"XDG_CACHE_HOME", test_folder()}}};
    test_vkmoe(&p, "devices", "-v");
    test_assert_part(p.out, "launches as `vkmoe bench --tune` found them best");
    test_process_free(&p);
    vkm_free(NULL, path);
    struct test_log log;
    vkmoe_device *device = open_device(&log, true);
    const struct vkm_tuning none = {.launch_class = vkm_launch_class(vkm_gpu_caps(device->gpu))};
    vkmoe_device_close(device);
    vkm_free(NULL, keep(&none));
    assert_true(devices_say_tuned(""));
    test_vkmoe(&p, "devices", "-v");
    test_assert_part(p.out, "launches as vkmoe has them; `vkmoe bench --tune` found none better");
    test_process_free(&p);
}

static void the_command_tells_what_it_kept_and_can_be_interrupted(void **state)
{
    (void)state;
    struct test_process p = {.variables = {{"XDG_CACHE_HOME", test_folder()}}};
    const char *const argv[] = {VKMOE_PROGRAM, "bench", "--tune", "--config", folder, NULL};
    test_process_start(&p, argv);
    test_process_signal(p.pid, SIGINT);
    test_process_wait(&p);
    test_process_assert_code(&p, 130);
    test_process_free(&p);
    assert_false(devices_say_tuned(""));
    p = (struct test_process){.variables = {{"XDG_CACHE_HOME", test_folder()}}};
    test_vkmoe(&p, "bench", "--tune", "--config", folder, "--json");
    test_process_assert_code(&p, 0);
    test_assert_part(p.err, "tuning: workgroup sizes");
    json_t *root = json_loads(p.out, 0, NULL);
    assert_true(json_is_array(json_object_get(root, "choices")));
    assert_true(json_number_value(json_object_get(root, "seconds")) > 0);
    test_assert_part(json_string_value(json_object_get(root, "file")), ".tuning");
    json_decref(root);
    test_process_free(&p);
    assert_true(devices_say_tuned(""));
    static const char *const measuring[][2] = {{"--profile", NULL}, {"-p", "8"}, {"-n", "8"},
                                               {"-d", "8"},         {"-b", "8"}, {"-r", "2"}};
    for (size_t i = 0; i < VKM_COUNT(measuring); i++) {
        test_vkmoe(&p, "bench", "--tune", measuring[i][0], measuring[i][1]);
        test_process_assert_sentence(&p, 2, "--tune");
        test_process_free(&p);
    }
    p = (struct test_process){0};
    test_vkmoe(&p, "bench", "--tune", "--no-cache", "--config", folder);
    test_process_assert_code(&p, 1);
    test_assert_part(p.err, "no cache folder");
    test_process_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(tuning_leaves_a_file_that_later_sessions_go_by),
        WITH_CACHE(the_same_file_gives_the_same_bits_and_the_same_answer),
        WITH_CACHE(tuning_with_other_weights_keeps_what_was_found),
        WITH_CACHE(a_file_that_does_not_fit_is_ignored_with_one_notice),
        WITH_CACHE(tuned_launches_conform_and_are_named),
        WITH_CACHE(checks_of_whole_steps_are_tuned_too),
        WITH_CACHE(the_listing_says_whether_a_file_is_in_use),
        WITH_CACHE(the_command_tells_what_it_kept_and_can_be_interrupted),
    };
    return cmocka_run_group_tests(tests, make_folders, remove_folders);
}
