/* Models whose KV cache rounds: how far what they compute may be from exact, whatever the size of a
 * head, and however the context came about; and that a refusal offers one. What rounding costs in
 * quality is test_quality's. */
#include "checkpoint.h"

#include <math.h>
#include <string.h>

#define COUNT 140u /* tokens: three blocks of the cache */

/* Mean squared error of the logits that a kind of cache may cause, over their mean square. */
static const struct {
    const char *name;
    double bound;
} kinds[VKMOE_KV_COUNT] = {{"f32", 1e-11}, {"f16", 1e-7}, {"bf16", 5e-6}, {"q8", 4e-5}};

/* Dense ones: a choice of experts that flips has nothing to do with how well a number is kept. */
static const struct test_shape shapes[] = {
    {.dense = true, .hidden = 54, .heads = 9, .kv_heads = 3},  /* heads of 6 */
    {.dense = true, .hidden = 80, .heads = 4, .kv_heads = 2},  /* of 20 */
    {.dense = true, .hidden = 102, .heads = 3},                /* of 34 */
    {.dense = true, .hidden = 288, .heads = 3, .kv_heads = 1}, /* of 96 */
};

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

static double nmse(const struct test_trace *got, const struct test_trace *expected)
{
    double error = 0, power = 0;
    for (size_t i = 0; i < (size_t)expected->count * expected->vocab; i++) {
        double e = (double)expected->logits[i], difference = (double)got->logits[i] - e;
        error += difference * difference;
        power += e * e;
    }
    return error / power;
}

static vkmoe_session *session_of(vkmoe_model *model, vkmoe_kv kv, uint32_t context, uint32_t chunk)
{
    vkmoe_error err;
    vkmoe_session *s = NULL;
    const vkmoe_session_params params = {.context = context, .chunk = chunk, .kv = kv};
    assert_ok(vkmoe_session_create(model, &params, &s, &err), &err);
    return s;
}

/* All at once, and in chunks that end anywhere in a block. */
static void expect_close(vkmoe_model *model, vkmoe_kv kv, const struct test_trace *exact)
{
    static const uint32_t chunks[] = {COUNT, 13};
    for (size_t i = 0; i < sizeof(chunks) / sizeof(chunks[0]); i++) {
        vkmoe_session *s = session_of(model, kv, COUNT, chunks[i]);
        struct test_trace got = test_trace_eval(model, s, exact->tokens, COUNT);
        double is = nmse(&got, exact);
        print_message("%s, chunks of %u: NMSE %.2e\n", kinds[kv].name, chunks[i], is);
        assert_true(is <= kinds[kv].bound);
        assert_true(kv == VKMOE_KV_F32 || is > kinds[VKMOE_KV_F32].bound); /* it was rounded */
        test_trace_free(&got);
        vkmoe_session_destroy(s);
    }
}

static void a_cache_that_rounds_keeps_its_bound(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        const struct test_shape shape = test_shape_complete(&shapes[i]);
        char *folder = test_folder_make();
        int32_t tokens[COUNT];
        vkmoe_model *model;
        vkmoe_error err;
        for (uint32_t t = 0; t < COUNT; t++)
            tokens[t] = (int32_t)((t * 7919u + t * t * 31u + 5u) % shape.vocab);
        checkpoint_write(&shape, folder);
        struct test_trace exact = oracle_trace(&shape, folder, tokens, COUNT);
        assert_ok(vkmoe_model_load(device, folder, NULL, &model, &err), &err);
        for (int kv = 0; kv < VKMOE_KV_COUNT; kv++)
            expect_close(model, (vkmoe_kv)kv, &exact);
        vkmoe_model_destroy(model);
        test_trace_free(&exact);
        test_folder_remove(folder);
    }
}

static vkmoe_plan plan_for(const vkmoe_model_params *params)
{
    vkmoe_plan plan;
    vkmoe_error err;
    assert_ok(vkmoe_model_plan(device, VKMOE_TEST_MODEL, params, &plan, &err), &err);
    return plan;
}

/* With as much memory as the plan needs for each kind of cache: allocations come in blocks, so that
 * one may fit where another was planned. */
static void a_smaller_cache_is_offered_where_it_is_enough(void **state)
{
    static const char *const words[VKMOE_KV_COUNT] = {
        "", " a KV cache of 16 bits", " a KV cache of 16 bits", " a KV cache of 8 bits"};
    uint32_t offered[VKMOE_KV_COUNT] = {0};
    vkmoe_error refused;
    (void)state;
    for (uint32_t context = 2048; context <= 16384; context *= 2) {
        for (int kv = VKMOE_KV_F16; kv < VKMOE_KV_COUNT; kv++) {
            vkmoe_model_params params = {
                .context = context, .chunk = 1, .memory_limit = 1, .kv = (vkmoe_kv)kv};
            params.memory_limit = plan_for(&params).device_bytes;
            params.kv = VKMOE_KV_F32;
            vkmoe_plan plan = plan_for(&params);
            if (plan.fits)
                continue;
            vkmoe_model *none;
            test_assert_fails(vkmoe_model_load(device, VKMOE_TEST_MODEL, &params, &none, &refused),
                              &refused, VKMOE_OUT_OF_DEVICE_MEMORY, words[plan.remedies.kv]);
            offered[plan.remedies.kv]++;
            for (int k = VKMOE_KV_F16; k <= (int)plan.remedies.kv; k++) {
                params.kv = (vkmoe_kv)k;
                assert_int_equal(plan_for(&params).fits, k == (int)plan.remedies.kv);
            }
            vkmoe_model *model;
            vkmoe_error err;
            assert_ok(vkmoe_model_load(device, VKMOE_TEST_MODEL, &params, &model, &err), &err);
            vkmoe_session_destroy(session_of(model, params.kv, context, 1));
            vkmoe_model_destroy(model);
        }
    }
    assert_true(offered[VKMOE_KV_F16] > 0 && offered[VKMOE_KV_Q8] > 0);
    assert_int_equal(offered[VKMOE_KV_F32], 0);
    vkmoe_model_params least = {.context = 64, .chunk = 1, .memory_limit = 1};
    assert_int_equal(plan_for(&least).remedies.kv, VKMOE_KV_F32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cache_that_rounds_keeps_its_bound),
        cmocka_unit_test(a_smaller_cache_is_offered_where_it_is_enough),
    };
    return cmocka_run_group_tests_name("kv_cache", tests, open_device, close_device);
}
