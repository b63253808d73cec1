/* Rows of weights in their storage types: layout, rounding, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/rows.h"
#include "conform/random.h"

#define WIDTH 100 /* three groups and a part of one */
#define LD 128
#define ROW 5u /* in its panel */
#define GUARD 16

static const enum vkm_dtype quantised[] = {VKM_DTYPE_Q8, VKM_DTYPE_Q4};

/* A panel with one row between guard bytes; of the plain types the rows before it too. */
struct stored {
    enum vkm_dtype dtype;
    bool good;
    _Alignas(16) unsigned char bytes[GUARD + 4 * LD * (ROW + 1) + GUARD];
};

static struct stored store(enum vkm_dtype dtype, const float *values, size_t n, size_t ld)
{
    struct stored s = {.dtype = dtype};
    size_t size = (size_t)vkm_matrix_bytes(dtype, ROW + 1, ld);
    memset(s.bytes, 0xa5, sizeof(s.bytes));
    s.good = vkm_row_store(s.bytes + GUARD, dtype, ld, ROW, values, n);
    for (size_t i = 0; i < GUARD; i++) {
        assert_int_equal(s.bytes[i], 0xa5);
        assert_int_equal(s.bytes[GUARD + size + i], 0xa5);
    }
    return s;
}

static double loaded(const struct stored *s, size_t ld, size_t i)
{
    return (double)vkm_row_load(s->bytes + GUARD, s->dtype, ld, ROW, i);
}

static void matrices_take_whole_panels_where_they_are_quantised(void **state)
{
    (void)state;
    static const struct {
        uint64_t rows, ld, f32, bf16, q8, q4;
    } sizes[] = {{1, 32, 128, 64, 1088, 640},
                 {8, 128, 4096, 2048, 1088, 640},
                 {9, 2048, 73728, 36864, 34816, 20480},
                 {2048, 1408, 11534336, 5767168, 3063808, 1802240}};
    for (size_t i = 0; i < VKM_COUNT(sizes); i++) {
        uint64_t n = sizes[i].rows, ld = sizes[i].ld;
        assert_int_equal(vkm_matrix_bytes(VKM_DTYPE_F32, n, ld), sizes[i].f32);
        assert_int_equal(vkm_matrix_bytes(VKM_DTYPE_BF16, n, ld), sizes[i].bf16);
        assert_int_equal(vkm_matrix_bytes(VKM_DTYPE_Q8, n, ld), sizes[i].q8);
        assert_int_equal(vkm_matrix_bytes(VKM_DTYPE_Q4, n, ld), sizes[i].q4);
    }
    assert_int_equal(vkm_matrix_bytes(VKM_DTYPE_F32, 1, 3), 12); /* biases are not padded */
    assert_int_equal(vkm_stored_rows(VKM_DTYPE_BF16, 9), 9);
    assert_int_equal(vkm_stored_rows(VKM_DTYPE_Q8, 9), 16);
}

/* Two panels of two blocks; the place of row 11's elements from 128 on. */
#define WIDE (LD + 32)

static void bytes_lie_as_described(void **state)
{
    (void)state;
    unsigned char q4[4 * 640], q8[4 * 1088];
    float values[WIDE] = {0};
    uint16_t scales[2];
    for (int i = 0; i < 32; i++)
        values[LD + i] = (float)(i % 16) * 0.5f - 4; /* Q4: scale 0.5, minimum -4 */
    assert_true(vkm_row_store(q4, VKM_DTYPE_Q4, WIDE, 11, values, WIDE));
    const unsigned char *block = q4 + 3 * 640;
    assert_int_equal(block[3 * 64], 0x40); /* elements 0 and 4 */
    assert_int_equal(block[3 * 64 + 3], 0x73);
    assert_int_equal(block[3 * 64 + 4], 0xc8); /* 8 and 12 */
    memcpy(scales, block + 512 + 3 * 4, sizeof(scales));
    assert_int_equal(scales[0], 0x3800); /* 0.5 */
    assert_int_equal(scales[1], 0xc400); /* -4 */
    for (size_t i = 0; i < WIDE; i++)
        assert_true(vkm_row_load(q4, VKM_DTYPE_Q4, WIDE, 11, i) == values[i]);

    for (int i = 0; i < 32; i++)
        values[32 + i] = (float)(i * 8 - 121) * 0.25f; /* Q8: scale 0.25, from -121 to 127 */
    assert_true(vkm_row_store(q8, VKM_DTYPE_Q8, WIDE, 11, values, WIDE));
    block = q8 + 2 * 1088;
    assert_int_equal((int8_t)block[3 * 128 + 32], -121);
    assert_int_equal((int8_t)block[3 * 128 + 63], 127);
    memcpy(scales, block + 1024 + (8 + 3) * 2, sizeof(*scales));
    assert_int_equal(scales[0], 0x3400); /* 0.25 */
    for (size_t i = 32; i < 64; i++)
        assert_true(vkm_row_load(q8, VKM_DTYPE_Q8, WIDE, 11, i) == values[i]);
}

static void rows_of_a_panel_do_not_touch_one_another(void **state)
{
    (void)state;
    struct vkm_random random = {.key = 8};
    for (size_t t = 0; t < VKM_COUNT(quantised); t++) {
        unsigned char together[2 * 2 * 1088], alone[sizeof(together)];
        float values[16][WIDE];
        memset(together, 0xa5, sizeof(together));
        for (size_t r = 0; r < 16; r++) {
            for (size_t i = 0; i < WIDE; i++)
                values[r][i] = vkm_random_f32(&random, -1, 1);
            vkm_row_store(together, quantised[t], WIDE, r, values[r], WIDE);
        }
        for (size_t r = 0; r < 16; r++) {
            vkm_row_store(alone, quantised[t], WIDE, r, values[r], WIDE);
            for (size_t i = 0; i < WIDE; i++)
                assert_true(vkm_row_load(together, quantised[t], WIDE, r, i) ==
                            vkm_row_load(alone, quantised[t], WIDE, r, i));
        }
    }
}

static void rows_that_fill_a_panel_are_zeros(void **state)
{
    (void)state;
    for (size_t t = 0; t < VKM_COUNT(quantised); t++) {
        struct stored s = store(quantised[t], NULL, 0, LD);
        assert_true(s.good);
        for (size_t i = 0; i < LD; i++)
            assert_true(loaded(&s, LD, i) == 0);
    }
}

/* Spread by rounding to even steps: step / sqrt(12). */
static double group_error(enum vkm_dtype dtype, const float *values, const struct stored *s,
                          size_t first, double *allowed)
{
    double low = 1e30, high = -1e30, sum = 0;
    for (size_t i = first; i < first + VKM_GROUP; i++) {
        double x = (double)values[i], off = loaded(s, LD, i) - x;
        low = x < low ? x : low;
        high = x > high ? x : high;
        sum += off * off;
    }
    double step = dtype == VKM_DTYPE_Q8 ? fmax(-low, high) / 127 : (high - low) / 15;
    *allowed = step / sqrt(12) * 1.35; /* 32 samples scatter */
    return sqrt(sum / VKM_GROUP);
}

static void values_come_back_as_near_as_the_steps_allow(void **state)
{
    (void)state;
    struct vkm_random random = {.key = 7};
    for (int round = 0; round < 200; round++) {
        float values[LD], size = exp2f((float)(round % 30) - 15), shift = (float)(round % 3 - 1);
        for (size_t i = 0; i < LD; i++)
            values[i] = size * (shift + vkm_random_f32(&random, -1, 1));
        for (size_t t = 0; t < VKM_COUNT(quantised); t++) {
            struct stored s = store(quantised[t], values, LD, LD);
            assert_true(s.good);
            for (size_t first = 0; first < LD; first += VKM_GROUP) {
                double allowed, error = group_error(quantised[t], values, &s, first, &allowed);
                if (error > allowed)
                    fail_msg("%s: error %g of a group, at most %g expected",
                             vkm_dtype_name(quantised[t]), error, allowed);
            }
        }
    }
}

static void rows_end_in_padding_that_is_finite_and_zero_where_it_can_be(void **state)
{
    (void)state;
    float values[WIDTH];
    for (size_t i = 0; i < WIDTH; i++)
        values[i] = 3;
    for (size_t t = 0; t < VKM_COUNT(quantised); t++) {
        struct stored s = store(quantised[t], values, WIDTH, LD);
        for (size_t i = 0; i < LD; i++) {
            double value = loaded(&s, LD, i);
            if (i < WIDTH)
                assert_true(fabs(value - 3) < 3e-3);
            else
                assert_true(quantised[t] == VKM_DTYPE_Q8 ? value == 0 : fabs(value) < 4);
        }
    }
    struct stored plain = store(VKM_DTYPE_BF16, values, WIDTH, LD);
    assert_true(loaded(&plain, LD, WIDTH - 1) == 3.0 && loaded(&plain, LD, WIDTH) == 0);
}

static void zeros_stay_zeros_and_the_smallest_values_keep_their_size(void **state)
{
    (void)state;
    float values[LD] = {0};
    for (size_t t = 0; t < VKM_COUNT(quantised); t++) {
        struct stored s = store(quantised[t], values, LD, LD);
        for (size_t i = 0; i < LD; i++)
            assert_true(s.good && loaded(&s, LD, i) == 0);
    }
    /* Scales below the normal numbers of f16: coarser, but nothing is cut off. */
    for (int i = 0; i < LD; i++)
        values[i] = ldexpf((float)(i % 32 - 16), -19);
    for (size_t t = 0; t < VKM_COUNT(quantised); t++) {
        struct stored s = store(quantised[t], values, LD, LD);
        for (size_t i = 0; i < LD; i++)
            assert_true(fabs(loaded(&s, LD, i) - (double)values[i]) <=
                        (quantised[t] == VKM_DTYPE_Q8 ? 0x1.4p-23 : 0x1p-18));
    }
}

static void values_beyond_a_scale_are_refused(void **state)
{
    (void)state;
    static const float limits[] = {65504.0f * 127, 65504.0f};
    for (size_t t = 0; t < VKM_COUNT(quantised); t++) {
        float values[LD] = {[70] = limits[t]};
        assert_true(store(quantised[t], values, LD, LD).good);
        values[70] = -limits[t];
        assert_true(store(quantised[t], values, LD, LD).good);
        values[70] = limits[t] * 1.01f;
        assert_false(store(quantised[t], values, LD, LD).good);
        values[70] = -3e38f;
        values[71] = 3e38f;
        assert_false(store(quantised[t], values, LD, LD).good);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matrices_take_whole_panels_where_they_are_quantised),
        cmocka_unit_test(bytes_lie_as_described),
        cmocka_unit_test(rows_of_a_panel_do_not_touch_one_another),
        cmocka_unit_test(rows_that_fill_a_panel_are_zeros),
        cmocka_unit_test(values_come_back_as_near_as_the_steps_allow),
        cmocka_unit_test(rows_end_in_padding_that_is_finite_and_zero_where_it_can_be),
        cmocka_unit_test(zeros_stay_zeros_and_the_smallest_values_keep_their_size),
        cmocka_unit_test(values_beyond_a_scale_are_refused),
    };
    return cmocka_run_group_tests_name("rows", tests, NULL, NULL);
}
