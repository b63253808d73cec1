/* How long dispatches are expected to take, so that no submit is too long. */
#include "support.h"

#include "gpu/rates.h"
#include "kernels/cost.h"
#include "kernels/ops.h"

static const struct vkm_caps caps = {.max_groups = {1u << 20, 1u << 20, 1u << 20},
                                     .max_invocations = 128,
                                     .shared_bytes = 16384,
                                     .paths = {true}};

/* One dispatch, as it is recorded. */
static struct vkm_op recorded(enum vkm_kernel_id kernel, enum vkm_dtype dtype, const void *params)
{
    struct vkm_stream stream;
    struct vkm_recorder recorder;
    vkmoe_error err;
    vkm_stream_init(&stream, &vkm_kernels, NULL);
    vkm_recorder_init(&recorder, &stream, &caps);
    vkm_op(&recorder, kernel, (struct vkm_launch){.n_rows = 1, .dtype = dtype}, params);
    vkm_recorder_finish(&recorder);
    assert_ok(vkm_recorder_status(&recorder, &err), &err);
    assert_int_equal(stream.ops.count, 1);
    struct vkm_op op = stream.ops.items[0];
    vkm_stream_finish(&stream);
    return op;
}

static struct vkm_op attention(uint32_t positions)
{
    return recorded(VKM_K_attention, VKM_DTYPE_F32,
                    &(struct vkm_params_attention){.n_rows = 1,
                                                   .n_heads = 16,
                                                   .n_kv_heads = 16,
                                                   .head_dim = 128,
                                                   .n_splits = 1,
                                                   .span = positions});
}

static struct vkm_op gemv(uint32_t n_out, uint32_t k, enum vkm_dtype dtype)
{
    return recorded(
        VKM_K_gemv, dtype,
        &(struct vkm_params_gemv){.k_ld = k, .n_out = n_out, .n_rows = 1, .y_ld = n_out});
}

static int init_rates(void **state)
{
    static struct vkm_rates rates;
    vkmoe_error err;
    assert_ok(vkm_rates_init(&rates, &vkm_kernels, NULL, &err), &err);
    *state = &rates;
    return 0;
}

static int finish_rates(void **state)
{
    vkm_rates_finish(*state, NULL);
    return 0;
}
#define WITH_RATES(function) cmocka_unit_test_setup_teardown((function), init_rates, finish_rates)

static void assert_near(double value, double expected)
{
    if (value < 0.9 * expected || value > 1.1 * expected)
        fail_msg("%g ns, expected about %g", value, expected);
}

/* Timed at 128 positions, 32768 take 256 times as long: far more than a submit may. */
static void a_longer_context_is_expected_to_take_longer(void **state)
{
    struct vkm_rates *r = *state;
    struct vkm_op near = attention(128), far = attention(32768);
    vkm_rates_learn(r, &near, 1000000);
    assert_near(vkm_rates_estimate(r, &near), 1e6);
    assert_near(vkm_rates_estimate(r, &far), 256e6);
}

static void larger_matrices_and_other_weights_have_times_of_their_own(void **state)
{
    struct vkm_rates *r = *state;
    struct vkm_op small = gemv(1024, 1024, VKM_DTYPE_BF16), wide = gemv(1024, 8192, VKM_DTYPE_BF16);
    struct vkm_op q8 = gemv(1024, 1024, VKM_DTYPE_Q8), large = gemv(8192, 8192, VKM_DTYPE_BF16);
    vkm_rates_learn(r, &small, 1000);
    assert_near(vkm_rates_estimate(r, &wide), 8000); /* as many workgroups, longer rows */
    assert_true(vkm_rates_estimate(r, &q8) >= 1e6);  /* not known */
    vkm_rates_learn(r, &q8, 300);
    assert_near(vkm_rates_estimate(r, &small), 1000);
    vkm_rates_learn(r, &large, 640000); /* ten times slower, out of a cache */
    assert_near(vkm_rates_estimate(r, &large), 640000);
    assert_near(vkm_rates_estimate(r, &small), 1000);
}

static void what_is_not_known_is_expected_to_be_slow(void **state)
{
    struct vkm_rates *r = *state;
    struct vkm_op small = gemv(32, 32, VKM_DTYPE_BF16), large = gemv(16384, 8192, VKM_DTYPE_BF16);
    assert_true(vkm_rates_estimate(r, &small) >= 1e6);
    assert_true(vkm_rates_estimate(r, &large) >= 100e6);
    vkm_rates_learn(r, &large, 1000000); /* then a smaller one takes no longer */
    assert_true(vkm_rates_estimate(r, &small) <= 1e6);
}

static void what_slows_down_is_learnt(void **state)
{
    struct vkm_rates *r = *state;
    struct vkm_op op = gemv(1024, 1024, VKM_DTYPE_BF16);
    vkm_rates_learn(r, &op, 5000000); /* with its compilation */
    vkm_rates_learn(r, &op, 1000);
    assert_near(vkm_rates_estimate(r, &op), 1000);
    for (int i = 0; i < 28; i++)
        vkm_rates_learn(r, &op, 4000);
    assert_near(vkm_rates_estimate(r, &op), 4000);
}

static void streams_are_timed_until_known_and_rarely_after(void **state)
{
    struct vkm_rates *r = *state;
    struct vkm_op op = gemv(1024, 1024, VKM_DTYPE_BF16), far = gemv(8192, 8192, VKM_DTYPE_BF16);
    struct vkm_stream stream = {.set = &vkm_kernels, .ops = {.items = &op, .count = 1}};
    unsigned timed = 0;
    assert_true(vkm_rates_wants(r, &stream, false));
    vkm_rates_learn(r, &op, 1000);
    assert_false(vkm_rates_wants(r, &stream, false));
    assert_true(vkm_rates_wants(r, &stream, true)); /* the first had compilation in it, maybe */
    vkm_rates_learn(r, &op, 1000);
    for (int i = 0; i < 10 * 256; i++)
        timed += vkm_rates_wants(r, &stream, true);
    assert_in_range(timed, 9, 11);
    stream.ops.items = &far;
    assert_true(vkm_rates_wants(r, &stream, false));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RATES(a_longer_context_is_expected_to_take_longer),
        WITH_RATES(larger_matrices_and_other_weights_have_times_of_their_own),
        WITH_RATES(what_is_not_known_is_expected_to_be_slow),
        WITH_RATES(what_slows_down_is_learnt),
        WITH_RATES(streams_are_timed_until_known_and_rarely_after),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
