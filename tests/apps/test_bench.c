/* vkmoe bench: what it measures, and models whose weights are made up. */
#include "../golden/checkpoint.h"
#include "../golden/trace.h"
#include "support.h"

#include <jansson.h>
#include <math.h>
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

static void check_result(const json_t *result, const char *test, bool generation)
{
    double seconds = 0;
    size_t i;
    json_t *kernel;
    assert_string_equal(json_string_value(json_object_get(result, "test")), test);
    assert_true(number(result, "mean") > 0);
    assert_true(number(result, "sd") >= 0);
    assert_int_equal(number(result, "repetitions"), 2);
    assert_true(number(result, "dispatches") > number(result, "barriers"));
    assert_true(number(result, "barriers") > 3);
    assert_true(number(result, "read_bandwidth") > 0);
    assert_true((number(result, "weight_bytes") > 0) == generation);
    json_array_foreach(json_object_get(result, "kernels"), i, kernel) seconds +=
        number(kernel, "seconds");
    assert_true(i > 8);
    assert_true(seconds > 0);
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
        {"-p", "0", "-n", "0"},       {"--layers", "2", "-p", "1"}, {"-r", "0", "-p", "1"},
        {"-m", "a", "--config", "b"}, {"-d", "-1", "-p", "1"},
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
        cmocka_unit_test(fewer_layers_are_fewer_dispatches),
        cmocka_unit_test(absurd_requests_are_usage_errors),
        cmocka_unit_test(invented_weights_are_the_same_each_time_and_sane),
    };
    return cmocka_run_group_tests(tests, make_checkpoint, remove_checkpoint);
}
