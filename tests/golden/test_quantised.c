/* Weights quantised while they are loaded: the device computes with them what the reference
 * executor does, in less memory. What they cost in quality is test_quality's. */
#include "checkpoint.h"

#define BOS 1534 /* of the shipped model */

static const char *const names[VKMOE_WEIGHTS_COUNT] = {"as stored", "Q8", "Q4"};

static struct test_log device_log;
static vkmoe_device *device;

static int open_device(void **state)
{
    (void)state;
    vkmoe_error err;
    test_log_init(&device_log);
    vkmoe_device_params params = {.log = &device_log.log};
    assert_ok(vkmoe_device_open(&params, &device, &err), &err);
    return 0;
}

static int close_device(void **state)
{
    (void)state;
    vkmoe_device_close(device);
    return device_log.errors;
}

struct loaded {
    vkmoe_model *model;
    vkmoe_session *session;
};

static struct loaded load(vkmoe_device *on, const char *folder, vkmoe_weights weights)
{
    struct loaded l;
    vkmoe_error err;
    vkmoe_model_params params = {.weights = weights};
    assert_ok(vkmoe_model_load(on, folder, &params, &l.model, &err), &err);
    assert_ok(vkmoe_session_create(l.model, NULL, &l.session, &err), &err);
    return l;
}

static void unload(struct loaded *l)
{
    vkmoe_session_destroy(l->session);
    vkmoe_model_destroy(l->model);
}

static void compare_with_reference(const char *folder, const int32_t *tokens, uint32_t count)
{
    vkmoe_device *reference;
    vkmoe_error err;
    vkmoe_device_params params = {.selector = "reference", .log = &device_log.log};
    assert_ok(vkmoe_device_open(&params, &reference, &err), &err);
    for (int w = VKMOE_WEIGHTS_Q8; w < VKMOE_WEIGHTS_COUNT; w++) {
        struct loaded exact = load(reference, folder, (vkmoe_weights)w);
        struct loaded l = load(device, folder, (vkmoe_weights)w);
        struct test_trace expected = test_trace_eval(exact.model, exact.session, tokens, count);
        struct test_trace got = test_trace_eval(l.model, l.session, tokens, count);
        test_trace_compare(&expected, 0, &got, names[w], NULL);
        test_trace_free(&got);
        test_trace_free(&expected);
        unload(&l);
        unload(&exact);
    }
    vkmoe_device_close(reference);
}

static void quantised_weights_compute_what_the_reference_does(void **state)
{
    static const int32_t tokens[] = {BOS, 887, 58, 12, 700, 3, 3, 1000, 401, 9, 77, 512};
    (void)state;
    compare_with_reference(VKMOE_TEST_MODEL, tokens, sizeof(tokens) / sizeof(tokens[0]));
}

/* Heads of 6: queries, keys and values are no whole panels, and stay as stored. */
static void rows_that_are_no_whole_panels_compute_what_the_reference_does(void **state)
{
    static const int32_t tokens[] = {1, 8, 5, 1, 2, 7, 3};
    const struct test_shape shape = test_shape_complete(&(struct test_shape){.hidden = 54,
                                                                             .heads = 9,
                                                                             .kv_heads = 3,
                                                                             .dense_width = 131,
                                                                             .expert_width = 13,
                                                                             .shared = 1});
    (void)state;
    char *folder = test_folder_make();
    checkpoint_write(&shape, folder);
    compare_with_reference(folder, tokens, sizeof(tokens) / sizeof(tokens[0]));
    test_folder_remove(folder);
}

static uint64_t weight_bytes(vkmoe_weights weights)
{
    struct loaded l = load(device, VKMOE_TEST_MODEL, weights);
    uint64_t bytes = vkmoe_model_get_info(l.model)->weight_bytes;
    unload(&l);
    return bytes;
}

static void quantised_weights_take_less_memory(void **state)
{
    (void)state;
    double as_stored = (double)weight_bytes(VKMOE_WEIGHTS_STORED);
    /* More than their bits say: an expert's 64 columns fill half a block. */
    assert_true((double)weight_bytes(VKMOE_WEIGHTS_Q8) < 0.7 * as_stored);
    assert_true((double)weight_bytes(VKMOE_WEIGHTS_Q4) < 0.5 * as_stored);
}

static void a_kind_of_weights_that_is_not_listed_is_refused(void **state)
{
    vkmoe_model *model;
    vkmoe_error err;
    vkmoe_model_params params = {.weights = VKMOE_WEIGHTS_COUNT};
    (void)state;
    test_assert_fails(vkmoe_model_load(device, VKMOE_TEST_MODEL, &params, &model, &err), &err,
                      VKMOE_INVALID_ARGUMENT, "kind 3 of 3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantised_weights_compute_what_the_reference_does),
        cmocka_unit_test(rows_that_are_no_whole_panels_compute_what_the_reference_does),
        cmocka_unit_test(quantised_weights_take_less_memory),
        cmocka_unit_test(a_kind_of_weights_that_is_not_listed_is_refused),
    };
    return cmocka_run_group_tests_name("quantised", tests, open_device, close_device);
}
