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

static const enum vkm_dtype quantised[] = {VKM_DTYPE_Q8, VKM_DTYPE_Q4, VKM_DTYPE_Q8K,
                                           VKM_DTYPE_Q4K};

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
        uint64_t rows, ld, f32, bf16, q8, q4, q8k, q4k;
    } sizes[] = {{1, 32, 128, 64, 1088, 640, 1280, 768},
                 {8, 128, 4096, 2048, 1088, 640, 1280, 768},
                 {9, 2048, 73728, 36864, 34816, 20480, 40960, 24576},
                 {2048, 1408, 11534336, 5767168, 3063808, 1802240, 3604480, 2162688}};
    for (size_t i = 0; i < VKM_COUNT(sizes); i++) {
        uint64_t n = sizes[i].rows, ld = sizes[i].ld;
        assert_int_equal(vkm_matrix_bytes(VKM_DTYPE_F32, n, ld), sizes[i].f32);
        assert_int_equal(vkm_matrix_bytes(VKM_DTYPE_BF16, n, ld), sizes[i].bf16);
        assert_int_equal(vkm_matrix_bytes(VKM_DTYPE_Q8, n, ld), sizes[i].q8);
        assert_int_equal(vkm_matrix_bytes(VKM_DTYPE_Q4, n, ld), sizes[i].q4);
        assert_int_equal(vkm_matrix_bytes(VKM_DTYPE_Q8K, n, ld), sizes[i].q8k);
        assert_int_equal(vkm_matrix_bytes(VKM_DTYPE_Q4K, n, ld), sizes[i].q4k);
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

static void groups_with_factors_lie_as_described(void **state)
{
    (void)state;
    static const enum vkm_dtype types[] = {VKM_DTYPE_Q8K, VKM_DTYPE_Q4K};
    for (size_t t = 0; t < VKM_COUNT(types); t++) {
        size_t bytes = vkm_panel_block_bytes(types[t]), width = t == 0 ? 128 : 64;
        struct vkm_group g = {.scale = 0.5f, .minimum = 0x1.234568p-3f, .factors = {-127, 63}};
        unsigned char matrix[4 * 1280];
        uint16_t scale;
        float minimum;
        for (int i = 0; i < 32; i++)
            g.quants[i] = t == 0 ? 4 * i - 128 : i % 16;
        vkm_row_put(matrix, types[t], WIDE, 11, 4, &g); /* the first of the second block */
        const unsigned char *block = matrix + 3 * bytes, *scales = block + 8 * width + 3 * 8;
        assert_int_equal(block[3 * width + 1], t == 0 ? 0x84 : 0x51); /* 1, or 1 and 5 */
        memcpy(&scale, scales, sizeof(scale));
        assert_int_equal(scale, 0x3800);
        assert_int_equal((int8_t)scales[2], -127);
        assert_int_equal((int8_t)scales[3], 63);
        memcpy(&minimum, scales + 4, sizeof(minimum));
        assert_true(minimum == g.minimum);
        for (size_t i = 0; i < 32; i++) {
            float value = (i < 16 ? -63.5f : 31.5f) * (float)g.quants[i] + minimum;
            assert_true(vkm_row_load(matrix, types[t], WIDE, 11, LD + i) == value);
        }
    }
}

static void types_join_in_the_smallest_that_holds_both(void **state)
{
    (void)state;
    static const enum vkm_dtype joins[][3] = {
        {VKM_DTYPE_BF16, VKM_DTYPE_BF16, VKM_DTYPE_BF16},
        {VKM_DTYPE_F16, VKM_DTYPE_BF16, 0},
        {VKM_DTYPE_Q8, VKM_DTYPE_Q8, VKM_DTYPE_Q8},
        {VKM_DTYPE_Q8, VKM_DTYPE_F16, 0},
        {VKM_DTYPE_Q4, VKM_DTYPE_Q4K, VKM_DTYPE_Q4K},
        {VKM_DTYPE_Q4, VKM_DTYPE_Q8, VKM_DTYPE_Q8K},
        {VKM_DTYPE_Q4K, VKM_DTYPE_Q8, VKM_DTYPE_Q8K},
        {VKM_DTYPE_Q4K, VKM_DTYPE_F32, 0},
    };
    _Static_assert(VKM_DTYPE_F32 == 0, "what else holds both");
    for (size_t i = 0; i < VKM_COUNT(joins); i++) {
        assert_int_equal(vkm_dtype_join(joins[i][0], joins[i][1]), joins[i][2]);
        assert_int_equal(vkm_dtype_join(joins[i][1], joins[i][0]), joins[i][2]);
    }
}

static void signs_of_scales_go_where_there_is_room_for_them(void **state)
{
    (void)state;
    static const struct {
        enum vkm_dtype dtype;
        int32_t factors[2], quant;
        bool fits;
    } cases[] = {
        {VKM_DTYPE_Q8, {1, 1}, -127, true},      {VKM_DTYPE_Q8, {1, 1}, -128, false},
        {VKM_DTYPE_Q4, {1, 1}, 3, false},        {VKM_DTYPE_Q4K, {5, 63}, 15, true},
        {VKM_DTYPE_Q8K, {1, 1}, -128, true},     {VKM_DTYPE_Q8K, {-128, 3}, -32, true},
        {VKM_DTYPE_Q8K, {-128, 3}, -128, false},
    };
    for (size_t i = 0; i < VKM_COUNT(cases); i++) {
        struct vkm_group g = {.scale = -2, .minimum = 3, .factors = {1, 1}};
        memcpy(g.factors, cases[i].factors, sizeof(g.factors));
        for (size_t k = 0; k < VKM_GROUP; k++)
            g.quants[k] = cases[i].quant;
        const struct vkm_group before = g;
        assert_int_equal(vkm_group_fit(cases[i].dtype, &g), cases[i].fits);
        for (size_t k = 0; k < VKM_GROUP && cases[i].fits; k++)
            assert_true(g.scale >= 0 && vkm_group_value(&g, k) == vkm_group_value(&before, k));
        g = before;
        g.scale = 2;
        assert_true(vkm_group_fit(cases[i].dtype, &g));
        assert_memory_equal(g.quants, before.quants, sizeof(g.quants));
        g.minimum = INFINITY;
        assert_false(vkm_group_fit(cases[i].dtype, &g));
    }
}

static void rows_of_a_panel_do_not_touch_one_another(void **state)
{
    (void)state;
    struct vkm_random random = {.key = 8};
    for (size_t t = 0; t < VKM_COUNT(quantised); t++) {
        unsigned char together[2 * 2 * 1280], alone[sizeof(together)];
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

static void any_stretch_of_a_row_reads_as_its_elements_do(void **state)
{
    (void)state;
    struct vkm_random random = {.key = 9};
    for (enum vkm_dtype dtype = 0; dtype < VKM_DTYPE_COUNT; dtype++) {
        unsigned char matrix[12 * WIDE * sizeof(float)];
        float values[WIDE], stretch[WIDE + 1];
        if (dtype == VKM_DTYPE_I32)
            continue;
        for (size_t i = 0; i < WIDE; i++)
            values[i] = vkm_random_f32(&random, -1, 1);
        assert_true(vkm_row_store(matrix, dtype, WIDE, 11, values, WIDE));
        for (size_t first = 0; first < WIDE; first += 7)
            for (size_t n = 0; first + n <= WIDE; n++) {
                stretch[n] = 3;
                vkm_row_read(matrix, dtype, WIDE, 11, first, n, stretch);
                for (size_t i = 0; i < n; i++)
                    assert_true(stretch[i] == vkm_row_load(matrix, dtype, WIDE, 11, first + i));
                assert_true(stretch[n] == 3);
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
    double step = dtype == VKM_DTYPE_Q8    ? fmax(-low, high) / 127
                  : dtype == VKM_DTYPE_Q8K ? (high - low) / 254 + 0x1p-24
                                           : (high - low) / 15;
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
                        (quantised[t] == VKM_DTYPE_Q8 || quantised[t] == VKM_DTYPE_Q8K ? 0x1.4p-23
                                                                                       : 0x1p-18));
    }
}

static void values_beyond_a_scale_are_refused(void **state)
{
    (void)state;
    static const float limits[] = {65504.0f * 127, 65504.0f, 65504.0f * 127, 65504.0f * 15};
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
        cmocka_unit_test(groups_with_factors_lie_as_described),
        cmocka_unit_test(types_join_in_the_smallest_that_holds_both),
        cmocka_unit_test(signs_of_scales_go_where_there_is_room_for_them),
        cmocka_unit_test(rows_of_a_panel_do_not_touch_one_another),
        cmocka_unit_test(any_stretch_of_a_row_reads_as_its_elements_do),
        cmocka_unit_test(rows_that_fill_a_panel_are_zeros),
        cmocka_unit_test(values_come_back_as_near_as_the_steps_allow),
        cmocka_unit_test(rows_end_in_padding_that_is_finite_and_zero_where_it_can_be),
        cmocka_unit_test(zeros_stay_zeros_and_the_smallest_values_keep_their_size),
        cmocka_unit_test(values_beyond_a_scale_are_refused),
    };
    return cmocka_run_group_tests_name("rows", tests, NULL, NULL);
}
