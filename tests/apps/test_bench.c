/* vkmoe bench: what it measures, and models whose weights are made up. */
#include "../golden/checkpoint.h"
#include "../golden/trace.h"
#include "support.h"

#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <vkmoe/bench.h>

#include "process.h"

static char *folder; /* a small checkpoint: its config.json is what counts */

static int make_checkpoint(void **state)
{
    (void)state;
    const struct test_shape shape = test_shape_complete(
        &(struct test_shape){.shared = 1, .first_dense = 1, .layers = 3, .hidden = 96});
    folder = test_folder_make();
    checkpoint_write(&shape, folder);
    return 0;
}

static int remove_checkpoint(void **state)
{
    (void)state;
    test_folder_remove(folder);
    return 0;
}

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value))
        fail_msg("%s is no number", key);
    return json_number_value(value);
}

static void check_peak(const json_t *result, const char *key)
{
    const json_t *peak = json_object_get(result, key);
    assert_true(number(peak, "measured") > 0);
    assert_true(number(peak, "nominal") >= 0);
    assert_true(number(peak, "rate") >= number(peak, "measured"));
}

/* On a CPU driver, where no kernel may beat the peak. *all: the seconds of kernels, *weights: those
 * that they spend on weights. */
static void check_kernels(const json_t *result, double *all, double *weights)
{
    *weights = 0;
    double seconds = 0, most = INFINITY;
    size_t i;
    json_t *kernel;
    json_array_foreach(json_object_get(result, "kernels"), i, kernel)
    {
        double taken = number(kernel, "seconds"), bytes = number(kernel, "bytes");
        seconds += taken;
        assert_true(taken <= most); /* the slowest first */
        most = taken;
        assert_true(bytes > 0 && number(kernel, "operations") >= 0);
        assert_true(number(kernel, "dispatches") >= 1);
        assert_true(number(kernel, "share") >= 0 && number(kernel, "share") <= 1);
        assert_true(number(kernel, "weight_bytes") <= bytes);
        *weights += taken * number(kernel, "weight_bytes") / bytes;
        if (taken > 0)
            assert_true(fabs(number(kernel, "bytes_per_second") * taken / bytes - 1) < 1e-9);
    }
    assert_true(i > 8);
    assert_true(seconds > 0);
    *all = seconds;
}

/* Both clocks are the host's on CPU drivers, and the step is the one that has those kernels. */
static void check_step(const json_t *result, double kernels, double weights)
{
    double step = number(result, "step_seconds"), over = number(result, "step_over_weights");
    assert_true(weights > 0 && weights < kernels);
    assert_true(step >= kernels && step < 3600);
    assert_true(fabs(over * weights / step - 1) < 1e-6);
}

static void check_result(const json_t *result, const char *test, bool generation)
{
    assert_string_equal(json_string_value(json_object_get(result, "test")), test);
    assert_true(number(result, "mean") > 0);
    assert_true(number(result, "sd") >= 0);
    assert_int_equal(number(result, "repetitions"), 2);
    assert_int_equal(number(result, "depth"), 10);
    assert_true(number(result, "dispatches") > number(result, "barriers"));
    assert_true(number(result, "barriers") > 3);
    assert_true(number(result, "read_bandwidth") > 0);
    assert_true((number(result, "weight_bytes") > 0) == generation);
    assert_true(number(result, "dispatches_per_token") > number(result, "barriers_per_token"));
    assert_true(number(result, "record_seconds_per_token") > 0);
    assert_true(number(result, "submit_seconds_per_token") > 0);
    double host = number(result, "record_seconds_per_token") +
                  number(result, "submit_seconds_per_token") +
                  number(result, "wait_seconds_per_token");
    assert_true(host > 0 && host < 3600);
    check_peak(result, "peak_memory");
    check_peak(result, "peak_arithmetic");
    double kernels, weights;
    check_kernels(result, &kernels, &weights);
    if (generation)
        check_step(result, kernels, weights);
    else
        assert_true(number(result, "step_seconds") == 0 &&
                    number(result, "step_over_weights") == 0);
}

static void json_has_every_test_with_its_kernels(void **state)
{
    (void)state;
    struct test_process p = {0};
    test_vkmoe(&p, "bench", "--config", folder, "-p", "40", "-n", "6", "-d", "10", "-r", "2",
               "--profile", "--json");
    test_process_assert_code(&p, 0);
    json_t *root = json_loads(p.out, 0, NULL);
    json_t *results = json_object_get(root, "results");
    assert_int_equal(json_array_size(results), 2);
    check_result(json_array_get(results, 0), "pp40@d10", false);
    check_result(json_array_get(results, 1), "tg6@d10", true);
    json_decref(root);
    test_process_free(&p);
}

/* The only result of a run, to be released with *root. */
static json_t *single_result(struct test_process *p, json_t **root)
{
    test_process_assert_code(p, 0);
    *root = json_loads(p->out, 0, NULL);
    json_t *results = json_object_get(*root, "results");
    assert_int_equal(json_array_size(results), 1);
    return json_array_get(results, 0);
}

/* Bytes that one kernel moves in a step. */
static double kernel_bytes(const json_t *result, const char *name)
{
    size_t i;
    json_t *kernel;
    json_array_foreach(json_object_get(result, "kernels"), i, kernel)
    {
        if (strcmp(json_string_value(json_object_get(kernel, "name")), name) == 0)
            return number(kernel, "bytes");
    }
    fail_msg("%s is not among the kernels", name);
    return 0;
}

static void sequences_together_share_a_step_and_its_weights(void **state)
{
    static const char *const batches[] = {"1", "5"};
    json_t *root[2], *result[2];
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct test_process p = {0};
        test_vkmoe(&p, "bench", "--config", folder, "-p", "0", "-n", "7", "-d", "70", "-b",
                   batches[i], "-r", "2", "--profile", "--json");
        result[i] = single_result(&p, &root[i]);
        test_process_free(&p);
    }
    assert_string_equal(json_string_value(json_object_get(result[0], "test")), "tg7@d70");
    assert_string_equal(json_string_value(json_object_get(result[1], "test")), "tg7b5@d70");
    assert_int_equal(number(result[1], "batch"), 5);
    assert_int_equal(number(result[1], "tokens"), 35);
    assert_true(number(result[1], "kv_bytes") == 5 * number(result[0], "kv_bytes"));
    /* As many dispatches for five tokens as for one; the head's weights are read once. */
    assert_true(fabs(number(result[1], "dispatches_per_token") * 5 -
                     number(result[1], "dispatches")) < 1e-6);
    assert_true(kernel_bytes(result[1], "gemv") < 3 * kernel_bytes(result[0], "gemv"));
    assert_true(kernel_bytes(result[1], "attention") > 4 * kernel_bytes(result[0], "attention"));
    for (int i = 0; i < 2; i++) {
        double kernels, weights;
        check_kernels(result[i], &kernels, &weights);
        check_step(result[i], kernels, weights);
    }
    assert_true(number(result[1], "weight_bytes") >= number(result[0], "weight_bytes"));
    json_decref(root[0]);
    json_decref(root[1]);
}

/* Copies of one sequence would choose the same experts in every row. */
static void sequences_together_differ_at_any_depth(void **state)
{
    static const char *const depths[] = {"0", "1", "9"};
    (void)state;
    for (size_t i = 0; i < sizeof(depths) / sizeof(depths[0]); i++) {
        double bytes[2];
        for (int j = 0; j < 2; j++) {
            json_t *root;
            struct test_process p = {0};
            test_vkmoe(&p, "bench", "--config", folder, "-p", "0", "-n", "1", "-d", depths[i], "-b",
                       j ? "6" : "1", "-r", "1", "--json");
            bytes[j] = number(single_result(&p, &root), "weight_bytes");
            json_decref(root);
            test_process_free(&p);
        }
        assert_true(bytes[1] > bytes[0]);
    }
}

/* Eight tokens to a turn, and an interval as soon as the pairs are enough for one. */
static void counting_is_measured_against_not_counting(void **state)
{
    static const char *const repetitions[] = {"2", "3"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct test_process p = {0};
        json_t *root;
        test_vkmoe(&p, "bench", "--config", folder, "-p", "0", "-n", "17", "-r", repetitions[i],
                   "--count-routing", "--json");
        const json_t *counting = json_object_get(single_result(&p, &root), "counting");
        const json_t *interval = json_object_get(counting, "interval_95");
        double ratio = number(counting, "ratio");
        assert_int_equal(number(counting, "pairs"), i ? 6 : 4);
        assert_true(ratio > 0 && ratio < 1e3);
        assert_int_equal(json_array_size(interval), i ? 2 : 0);
        if (i)
            assert_true(json_number_value(json_array_get(interval, 0)) <= ratio &&
                        ratio <= json_number_value(json_array_get(interval, 1)));
        json_decref(root);
        test_process_free(&p);
    }
}

static void an_interrupt_in_a_repetition_ends_with_130(void **state)
{
    (void)state;
    struct test_process p = {0};
    const char *const argv[] = {VKMOE_PROGRAM, "bench",  "--config", folder, "-p",     "0",
                                "-n",          "100000", "-r",       "1000", "--json", NULL};
    test_process_start(&p, argv);
    test_process_signal(p.pid, SIGINT);
    test_process_wait(&p);
    test_process_assert_code(&p, 130);
    assert_string_equal(p.out, "");
    test_process_free(&p);
}

static void a_chart_is_drawn_beside_the_table(void **state)
{
    (void)state;
    struct test_process p = {0};
    const char *path = test_folder_path("kernels.svg");
    test_vkmoe(&p, "bench", "--config", folder, "-p", "40", "-n", "3", "-r", "1", "--svg", path);
    test_process_assert_code(&p, 0);
    test_assert_part(p.out, "+-");
    test_assert_part(p.out, "GFLOP/s");
    size_t size;
    char *svg = test_file_read(path, &size);
    test_assert_part(svg, "<svg");
    test_assert_part(svg, "pp40: ");
    test_assert_part(svg, "tg3: ");
    test_assert_part(svg, "attention");
    test_assert_part(svg, "moe_gemm_up");
    free(svg);
    test_process_free(&p);
    test_vkmoe(&p, "bench", "--config", folder, "-p", "1", "-n", "0", "-r", "1", "--svg",
               test_folder_path("no/such/folder.svg"));
    test_process_assert_sentence(&p, 1, "folder.svg"); /* before anything is measured */
    test_process_free(&p);
}

static void fewer_layers_are_fewer_dispatches(void **state)
{
    double dispatches[2];
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct test_process p = {0};
        test_vkmoe(&p, "bench", "--config", folder, "--layers", i ? "3" : "1", "-p", "0", "-n", "3",
                   "-r", "1", "--json");
        test_process_assert_code(&p, 0);
        json_t *root = json_loads(p.out, 0, NULL);
        json_t *results = json_object_get(root, "results");
        assert_int_equal(json_array_size(results), 1);
        dispatches[i] = number(json_array_get(results, 0), "dispatches");
        json_decref(root);
        test_process_free(&p);
    }
    assert_true(dispatches[0] < dispatches[1]);
}

static void absurd_requests_are_usage_errors(void **state)
{
    static const char *const wrong[][4] = {
        {"-p", "0", "-n", "0"},
        {"--layers", "2", "-p", "1"},
        {"-r", "0", "-p", "1"},
        {"-m", "a", "--config", "b"},
        {"-d", "-1", "-p", "1"},
        {"-b", "0", "-n", "1"},
        {"-b", "2", "-n", "0"},
        {"--svg", "", "-n", "1"},
        {"--count-routing", "-n", "0", "--json"},
        {"--tune", "--count-routing", "-v", "-v"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct test_process p = {0};
        test_vkmoe(&p, "bench", wrong[i][0], wrong[i][1], wrong[i][2], wrong[i][3]);
        test_process_assert_code(&p, 2);
        assert_string_equal(p.out, "");
        test_process_free(&p);
    }
}

/* Logits of a few tokens by a model that was made up. */
static float *invented_logits(vkmoe_device *device, uint32_t *vocab)
{
    static const int32_t tokens[] = {1, 2, 3, 5, 8, 13};
    vkmoe_error err;
    vkmoe_model *model = NULL;
    vkmoe_session *session = NULL;
    assert_ok(vkmoe_model_invent(device, folder, 0, NULL, &model, &err), &err);
    assert_ok(vkmoe_session_create(model, NULL, &session, &err), &err);
    *vocab = vkmoe_model_get_info(model)->vocab_size;
    vkmoe_trace trace = {.logits = calloc(6 * *vocab, sizeof(float))};
    assert_non_null(trace.logits);
    assert_ok(vkmoe_session_eval(session, tokens, 6, &trace, &err), &err);
    vkmoe_session_destroy(session);
    vkmoe_model_destroy(model);
    return trace.logits;
}

static void invented_weights_are_the_same_each_time_and_sane(void **state)
{
    (void)state;
    vkmoe_error err;
    vkmoe_device *device = NULL;
    uint32_t vocab;
    double sum = 0, squares = 0;
    assert_ok(vkmoe_device_open(NULL, &device, &err), &err);
    float *a = invented_logits(device, &vocab), *b = invented_logits(device, &vocab);
    assert_memory_equal(a, b, 6 * vocab * sizeof(float));
    for (uint32_t i = 0; i < 6 * vocab; i++) {
        assert_true(isfinite(a[i]));
        sum += (double)a[i];
        squares += (double)a[i] * (double)a[i];
    }
    double n = 6.0 * vocab, variance = squares / n - sum / n * (sum / n);
    assert_true(variance > 0.01 && variance < 100);
    free(a);
    free(b);
    vkmoe_device_close(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_has_every_test_with_its_kernels),
        cmocka_unit_test(sequences_together_share_a_step_and_its_weights),
        cmocka_unit_test(sequences_together_differ_at_any_depth),
        cmocka_unit_test(counting_is_measured_against_not_counting),
        cmocka_unit_test(an_interrupt_in_a_repetition_ends_with_130),
        TEST_IN_FOLDER(a_chart_is_drawn_beside_the_table),
        cmocka_unit_test(fewer_layers_are_fewer_dispatches),
        cmocka_unit_test(absurd_requests_are_usage_errors),
        cmocka_unit_test(invented_weights_are_the_same_each_time_and_sane),
    };
    return cmocka_run_group_tests(tests, make_checkpoint, remove_checkpoint);
}
