/* Keys and values in their storage types: layout, rounding, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <string.h>

#include "conform/random.h"
#include "kernels/kv_layout.h"

#define POSITIONS 64u
#define MOST_DIM 256u
#define GUARD 64u /* words */

static const enum vkm_dtype types[] = {VKM_DTYPE_F32, VKM_DTYPE_F16, VKM_DTYPE_BF16, VKM_DTYPE_Q8};
static const uint32_t dims[] = {2, 4, 6, 20, 30, 32, 34, 40, 64, 80, 96, 98, 128, 256};

/* A head's part of a block between guard words. */
static uint32_t memory[GUARD + MOST_DIM * POSITIONS + GUARD];

static uint32_t *part_memory(void)
{
    return memory + GUARD;
}

static void clear(void)
{
    memset(memory, 0xa5, sizeof(memory));
}

/* One position stored and read again. */
static void through(enum vkm_dtype dtype, enum vkm_kv_side side, uint32_t dim, const float *row,
                    float *out)
{
    const struct vkm_kv_part part = {dtype, side, dim};
    vkm_kv_put_row(part_memory(), &part, 17, row);
    for (uint32_t i = 0; i < dim; i++)
        out[i] = vkm_kv_element(part_memory(), &part, 17, i);
}

static float one_through(enum vkm_dtype dtype, float value)
{
    const float row[2] = {value, value};
    float out[2];
    through(dtype, VKM_KV_VALUES, 2, row, out);
    assert_int_equal(vkm_f32_bits(out[0]), vkm_f32_bits(out[1]));
    return out[0];
}

static void a_position_takes_the_words_that_its_type_says(void **state)
{
    (void)state;
    static const struct {
        uint32_t dim, f32, half, q8;
    } sizes[] = {{2, 2, 1, 2},     {20, 20, 10, 6},  {30, 30, 15, 9},    {32, 32, 16, 9},
                 {40, 40, 20, 11}, {64, 64, 32, 17}, {128, 128, 64, 34}, {256, 256, 128, 68}};
    for (size_t i = 0; i < VKM_COUNT(sizes); i++) {
        assert_int_equal(vkm_kv_words(VKM_DTYPE_F32, sizes[i].dim), sizes[i].f32);
        assert_int_equal(vkm_kv_words(VKM_DTYPE_F16, sizes[i].dim), sizes[i].half);
        assert_int_equal(vkm_kv_words(VKM_DTYPE_BF16, sizes[i].dim), sizes[i].half);
        assert_int_equal(vkm_kv_words(VKM_DTYPE_Q8, sizes[i].dim), sizes[i].q8);
    }
}

/* Small integers, which all types hold exactly beside a 127. */
static float small_integer(uint32_t at, uint32_t i)
{
    return i % 32 == 5 || i < 2 ? 127.0f : (float)((int32_t)((at * 37 + i * 11) % 255) - 127);
}

static void every_position_has_words_of_its_own_inside_the_part(void **state)
{
    (void)state;
    for (size_t t = 0; t < VKM_COUNT(types); t++) {
        for (size_t d = 0; d < VKM_COUNT(dims); d++) {
            for (int side = 0; side < 2; side++) {
                const struct vkm_kv_part part = {types[t], (enum vkm_kv_side)side, dims[d]};
                uint32_t words = vkm_kv_words(types[t], dims[d]) * POSITIONS;
                float row[MOST_DIM];
                clear();
                for (uint32_t n = 0; n < POSITIONS; n++) {
                    uint32_t at = n * 29 % POSITIONS;
                    for (uint32_t i = 0; i < dims[d]; i++)
                        row[i] = (float)((at * 37 + i * 11) % 63) - 31;
                    vkm_kv_put_row(part_memory(), &part, at, row);
                }
                for (uint32_t at = 0; at < POSITIONS; at++)
                    for (uint32_t i = 0; i < dims[d]; i++) {
                        float is = vkm_kv_element(part_memory(), &part, at, i);
                        float was = (float)((at * 37 + i * 11) % 63) - 31;
                        assert_true(fabsf(is - was) <= (types[t] == VKM_DTYPE_Q8 ? 0.125f : 0));
                    }
                for (uint32_t i = 0; i < GUARD; i++) {
                    assert_int_equal(memory[i], 0xa5a5a5a5u);
                    assert_int_equal(part_memory()[words + i], 0xa5a5a5a5u);
                }
            }
        }
    }
}

static void a_group_whose_largest_is_127_holds_integers_exactly(void **state)
{
    (void)state;
    float row[MOST_DIM], out[MOST_DIM];
    for (uint32_t at = 0; at < 50; at++) {
        for (uint32_t i = 0; i < MOST_DIM; i++)
            row[i] = small_integer(at, i);
        through(VKM_DTYPE_Q8, VKM_KV_VALUES, MOST_DIM, row, out);
        assert_memory_equal(row, out, sizeof(row));
    }
}

static void rounding_keeps_the_bound_of_its_type(void **state)
{
    (void)state;
    static const double bounds[] = {0, 1e-6, 1e-5, 1e-4};
    for (size_t t = 0; t < VKM_COUNT(types); t++) {
        struct vkm_random random = {.key = 7};
        double error = 0, power = 0;
        for (uint32_t n = 0; n < 400; n++) {
            float row[128], out[128];
            for (uint32_t i = 0; i < 128; i++) /* nearly normal */
                row[i] = vkm_random_f32(&random, -1, 1) + vkm_random_f32(&random, -1, 1) +
                         vkm_random_f32(&random, -1, 1);
            through(types[t], (enum vkm_kv_side)(n % 2), 128, row, out);
            for (uint32_t i = 0; i < 128; i++) {
                double difference = (double)out[i] - (double)row[i];
                error += difference * difference;
                power += (double)row[i] * (double)row[i];
            }
        }
        print_message("%s: NMSE %.2e\n", vkm_dtype_name(types[t]), error / power);
        assert_true(error / power <= bounds[t]);
        assert_true(types[t] == VKM_DTYPE_F32 || error > 0);
    }
}

static void ties_go_to_the_even_number(void **state)
{
    (void)state;
    assert_true(one_through(VKM_DTYPE_BF16, 1 + 0x1p-8f) == 1);
    assert_true(one_through(VKM_DTYPE_BF16, 1 + 0x1.8p-7f) == 1 + 0x1p-6f);
    assert_true(one_through(VKM_DTYPE_F16, 1 + 0x1p-11f) == 1);
    assert_true(one_through(VKM_DTYPE_F16, 1 + 0x1.8p-10f) == 1 + 0x1p-9f);
    assert_true(one_through(VKM_DTYPE_F16, 0x1.8p-24f) == 0x1p-23f); /* denormals */
    assert_true(one_through(VKM_DTYPE_F16, 0x1p-25f) == 0);
    const float row[4] = {127, 2.5f, -3.5f, 0.5f};
    float out[4];
    through(VKM_DTYPE_Q8, VKM_KV_VALUES, 4, row, out);
    assert_true(out[0] == 127 && out[1] == 2 && out[2] == -4 && out[3] == 0);
}

static void a_scale_is_the_least_that_reaches_the_largest(void **state)
{
    (void)state;
    struct vkm_random random = {.key = 3};
    for (uint32_t n = 0; n < 20000; n++) {
        float largest = ldexpf(vkm_random_f32(&random, 1, 2), (int)(n % 200) - 95);
        const float row[2] = {largest, -largest / 3};
        const struct vkm_kv_part part = {VKM_DTYPE_Q8, VKM_KV_VALUES, 2};
        vkm_kv_put_row(part_memory(), &part, 0, row);
        uint32_t bits = part_memory()[POSITIONS] << 16;
        double scale = (double)vkm_bits_f32(bits);
        assert_true(127 * scale >= (double)largest);
        assert_true(127 * (double)vkm_bits_f32(bits - 0x10000u) < (double)largest);
        double rest = fabs((double)vkm_kv_element(part_memory(), &part, 0, 1) - (double)row[1]);
        assert_true(rest <= scale / 2);
    }
}

static void what_is_too_large_or_no_number_stays_as_bad_as_it_is(void **state)
{
    (void)state;
    assert_true(one_through(VKM_DTYPE_F16, 65519) == 65504);
    assert_true(one_through(VKM_DTYPE_F16, -1e30f) == -65504);
    for (size_t t = 0; t < VKM_COUNT(types); t++) {
        assert_true(isnan(one_through(types[t], NAN)));
        float infinite = one_through(types[t], -INFINITY);
        assert_true(types[t] == VKM_DTYPE_Q8 ? isnan(infinite) : infinite == -INFINITY);
        assert_true(one_through(types[t], 0) == 0);
    }
    assert_true(one_through(VKM_DTYPE_Q8, 0x1p-101f) == 0);
    assert_true(fabsf(one_through(VKM_DTYPE_Q8, 0x1p-100f) - 0x1p-100f) <= 0x1p-108f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_position_takes_the_words_that_its_type_says),
        cmocka_unit_test(every_position_has_words_of_its_own_inside_the_part),
        cmocka_unit_test(a_group_whose_largest_is_127_holds_integers_exactly),
        cmocka_unit_test(rounding_keeps_the_bound_of_its_type),
        cmocka_unit_test(ties_go_to_the_even_number),
        cmocka_unit_test(a_scale_is_the_least_that_reaches_the_largest),
        cmocka_unit_test(what_is_too_large_or_no_number_stays_as_bad_as_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
