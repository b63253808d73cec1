/* The base layer's numbers, containers and memory hook. Files are in test_file.c. */
#include "unit.h"

#include <math.h>

#include "base/array.h"
#include "base/dtype.h"

/* The value of a half-precision number, from its definition. */
static double half_value(uint16_t h)
{
    int exponent = (h >> 10) & 31, mantissa = h & 0x3ff;
    double sign = h & 0x8000 ? -1 : 1;
    if (exponent == 0)
        return sign * ldexp(mantissa, -24);
    if (exponent == 31)
        return mantissa ? NAN : sign * INFINITY;
    return sign * ldexp(1024 + mantissa, exponent - 25);
}

static bool half_is_nan(uint16_t h)
{
    return (h & 0x7fff) > 0x7c00;
}

static void every_f16_survives_float32_and_back(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 65536; i++) {
        uint16_t h = (uint16_t)i;
        float f = vkm_f16_f32(h);
        if (half_is_nan(h)) {
            assert_true(isnan(f));
            assert_true(half_is_nan(vkm_f32_f16(f)));
            continue;
        }
        if ((double)f != half_value(h) || !signbit(f) != !(h & 0x8000))
            fail_msg("f16 %04x became %a", h, (double)f);
        if (vkm_f32_f16(f) != h)
            fail_msg("f16 %04x came back as %04x", h, vkm_f32_f16(f));
    }
}

static void every_bf16_survives_float32_and_back(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 65536; i++) {
        uint16_t h = (uint16_t)i;
        float f = vkm_bf16_f32(h);
        assert_int_equal(vkm_f32_bits(f), i << 16);
        if (isnan(f))
            assert_true(isnan(vkm_bf16_f32(vkm_f32_bf16(f))));
        else
            assert_int_equal(vkm_f32_bf16(f), h);
    }
}

/* Between neighbours a < b of a 16-bit format: below the middle goes to a, above it to b, the
 * middle itself to the one whose last bit is 0. `from` and `to` convert; codes of one sign are in
 * order. */
static void check_rounding(uint16_t first, uint16_t last, float (*from)(uint16_t),
                           uint16_t (*to)(float))
{
    for (uint32_t code = first; code < last; code++) {
        uint16_t low = (uint16_t)code, high = (uint16_t)(code + 1);
        double a = (double)from(low), b = (double)from(high);
        float middle = (float)((a + b) / 2);
        uint16_t even = low & 1 ? high : low;
        assert_true((double)middle == (a + b) / 2);
        for (int sign = 0; sign < 2; sign++) {
            float s = sign ? -1.0f : 1.0f;
            uint16_t bit = (uint16_t)(sign << 15);
            if (to(s * middle) != (even | bit) || to(s * nextafterf(middle, 0)) != (low | bit) ||
                to(s * nextafterf(middle, INFINITY)) != (high | bit))
                fail_msg("around %a, between %04x and %04x: %04x %04x %04x", (double)(s * middle),
                         low, high, to(s * nextafterf(middle, 0)), to(s * middle),
                         to(s * nextafterf(middle, INFINITY)));
        }
    }
}

static void f16_rounds_to_nearest_even_everywhere(void **state)
{
    (void)state;
    check_rounding(0, 0x7bff, vkm_f16_f32, vkm_f32_f16);
}

static void bf16_rounds_to_nearest_even_everywhere(void **state)
{
    (void)state;
    check_rounding(0, 0x7f7f, vkm_bf16_f32, vkm_f32_bf16);
}

static void what_16_bits_cannot_hold_becomes_infinite(void **state)
{
    (void)state;
    assert_int_equal(vkm_f32_f16(65504.0f), 0x7bff);
    assert_int_equal(vkm_f32_f16(65519.996f), 0x7bff);
    assert_int_equal(vkm_f32_f16(65520.0f), 0x7c00);
    assert_int_equal(vkm_f32_f16(-3e38f), 0xfc00);
    assert_int_equal(vkm_f32_f16(INFINITY), 0x7c00);
    assert_int_equal(vkm_f32_bf16(vkm_bits_f32(0x7f7f7fff)), 0x7f7f);
    assert_int_equal(vkm_f32_bf16(vkm_bits_f32(0x7f7f8000)), 0x7f80);
    assert_int_equal(vkm_f32_bf16(-INFINITY), 0xff80);
    /* and what is too small becomes a zero of its sign */
    assert_int_equal(vkm_f32_f16(0x1p-25f), 0);
    assert_int_equal(vkm_f32_f16(-0x1p-26f), 0x8000);
    assert_int_equal(vkm_f32_f16(0x1.000002p-25f), 1);
}

static void a_nan_of_any_payload_stays_nan(void **state)
{
    (void)state;
    for (uint32_t shift = 0; shift < 23; shift++) {
        for (uint32_t sign = 0; sign < 2; sign++) {
            float nan = vkm_bits_f32(sign << 31 | 0x7f800000u | 1u << shift);
            assert_true(half_is_nan(vkm_f32_f16(nan)));
            assert_int_equal(vkm_f32_f16(nan) >> 15, sign);
            assert_true(isnan(vkm_bf16_f32(vkm_f32_bf16(nan))));
            assert_int_equal(vkm_f32_bf16(nan) >> 15, sign);
        }
    }
    assert_true(isnan(vkm_bf16_f32(vkm_f32_bf16(vkm_bits_f32(0x7fffffffu)))));
}

static void elements_are_stored_and_loaded_by_dtype(void **state)
{
    (void)state;
    uint32_t memory[4];
    for (int d = VKM_DTYPE_F32; d <= VKM_DTYPE_BF16; d++) {
        enum vkm_dtype dtype = (enum vkm_dtype)d, parsed = VKM_DTYPE_COUNT;
        memset(memory, 0xa5, sizeof(memory));
        vkm_store_f32(memory, dtype, 1, -2.5f);
        assert_true(vkm_load_f32(memory, dtype, 1) == -2.5f);
        const unsigned char *bytes = (const unsigned char *)memory;
        for (size_t i = 0; i < sizeof(memory); i++)
            if (i / vkm_dtype_size(dtype) != 1)
                assert_int_equal(bytes[i], 0xa5);
        assert_true(vkm_dtype_parse(vkm_dtype_name(dtype), &parsed));
        assert_int_equal(parsed, dtype);
    }
    enum vkm_dtype untouched = VKM_DTYPE_COUNT;
    assert_false(vkm_dtype_parse("F8_E4M3", &untouched));
    assert_false(vkm_dtype_parse("", &untouched));
    assert_int_equal(untouched, VKM_DTYPE_COUNT);
    assert_true(isnan(vkm_load_f32(memory, VKM_DTYPE_I32, 0)));
}

/* --- memory --- */

struct numbers {
    uint32_t *items;
    size_t count, capacity;
};

/* Plants `bits` at every place of up to 40 ordinary elements and asks for the first that is not
 * finite. */
static void check_planted(enum vkm_dtype dtype, uint32_t bits, bool finite)
{
    uint32_t words[40];
    unsigned char *data = (unsigned char *)words;
    size_t size = vkm_dtype_size(dtype);
    for (size_t n = 1; n <= 40; n++) {
        for (size_t at = 0; at < n; at++) {
            for (size_t i = 0; i < n; i++)
                vkm_store_f32(data, dtype, i, i % 2 ? -1.99e4f : 6e-8f);
            memcpy(data + at * size, &bits, size);
            assert_int_equal(vkm_first_nonfinite(data, dtype, n), finite ? n : at);
        }
    }
}

static void the_first_element_that_is_not_finite_is_found_anywhere(void **state)
{
    (void)state;
    static const struct {
        enum vkm_dtype dtype;
        uint32_t bits[8]; /* four that are not finite, and four that are, at the limits */
    } cases[] = {
        {VKM_DTYPE_F32,
         {0x7f800000, 0xff800000, 0x7f800001, 0xffffffff, 0x7f7fffff, 0xff7fffff, 0, 0x80000001}},
        {VKM_DTYPE_F16, {0x7c00, 0xfc00, 0x7c01, 0xffff, 0x7bff, 0xfbff, 0, 0x83ff}},
        {VKM_DTYPE_BF16, {0x7f80, 0xff80, 0x7f81, 0xffff, 0x7f7f, 0xff7f, 0, 0x807f}},
    };
    for (size_t i = 0; i < VKM_COUNT(cases); i++)
        for (size_t k = 0; k < 8; k++)
            check_planted(cases[i].dtype, cases[i].bits[k], k >= 4);
    static const int32_t integers[2] = {-1, 0x7f800000};
    assert_int_equal(vkm_first_nonfinite(integers, VKM_DTYPE_I32, 2), 2);
    assert_int_equal(vkm_first_nonfinite(integers, VKM_DTYPE_F32, 0), 0);
}

static void an_array_grows_and_keeps_what_it_holds(void **state)
{
    (void)state;
    struct numbers numbers = {0};
    for (uint32_t i = 0; i < 5000; i++) {
        assert_true(VKM_ARRAY_RESERVE(NULL, &numbers, 1));
        assert_true(numbers.capacity > numbers.count);
        numbers.items[numbers.count++] = i * 7;
    }
    assert_true(VKM_ARRAY_RESERVE(NULL, &numbers, 100000));
    assert_true(numbers.capacity >= 105000);
    assert_int_equal(numbers.count, 5000);
    for (uint32_t i = 0; i < 5000; i++)
        assert_int_equal(numbers.items[i], i * 7);
    vkm_free(NULL, numbers.items);
}

static void an_array_that_cannot_grow_is_unchanged(void **state)
{
    (void)state;
    struct scarce scarce = {.fail_at = 1};
    vkmoe_allocator a = scarce_allocator(&scarce);
    struct numbers numbers = {0};
    assert_true(VKM_ARRAY_RESERVE(&a, &numbers, 8));
    struct numbers before = numbers;
    assert_false(VKM_ARRAY_RESERVE(&a, &numbers, 1000));
    assert_memory_equal(&numbers, &before, sizeof(before));
    assert_false(VKM_ARRAY_RESERVE(&a, &numbers, SIZE_MAX));
    assert_false(VKM_ARRAY_RESERVE(&a, &numbers, SIZE_MAX / 2));
    numbers.count = 8;
    assert_false(VKM_ARRAY_RESERVE(&a, &numbers, SIZE_MAX - 4));
    numbers.count = 0;
    assert_memory_equal(&numbers, &before, sizeof(before));
    vkm_free(&a, numbers.items);
    assert_int_equal(scarce.live, 0);
}

static void sizes_that_overflow_are_refused(void **state)
{
    (void)state;
    assert_null(vkm_malloc(NULL, SIZE_MAX / 2, 3));
    assert_null(vkm_calloc(NULL, SIZE_MAX, 2));
    void *memory = vkm_malloc(NULL, 0, 16);
    assert_non_null(memory);
    assert_null(vkm_realloc(NULL, memory, SIZE_MAX / 8 + 1, 8));
    vkm_free(NULL, memory);
    uint64_t product;
    assert_true(vkm_mul_u64(UINT64_C(1) << 32, UINT32_MAX, &product));
    assert_true(product == UINT64_C(0xffffffff00000000));
    assert_false(vkm_mul_u64(UINT64_C(1) << 32, UINT64_C(1) << 32, &product));
    assert_true(vkm_mul_u64(0, UINT64_MAX, &product) && product == 0);
    assert_int_equal(vkm_ceil_div(UINT32_MAX, 2), 0x80000000u);
    assert_int_equal(vkm_align_up(257, 256), 512);
}

static void all_memory_comes_from_the_hook(void **state)
{
    (void)state;
    struct scarce scarce = {.fail_at = -1};
    vkmoe_allocator a = scarce_allocator(&scarce);
    unsigned char *zeroed = vkm_calloc(&a, 37, 3);
    char *copy = vkm_strdup(&a, "copy");
    char *text = vkm_format(&a, "%s-%d", "text", 42);
    void *moved = vkm_realloc(&a, NULL, 2, 2);
    moved = vkm_realloc(&a, moved, 400, 2);
    assert_int_equal(scarce.calls, 5);
    assert_int_equal(scarce.live, 4);
    for (int i = 0; i < 111; i++)
        assert_int_equal(zeroed[i], 0);
    assert_string_equal(copy, "copy");
    assert_string_equal(text, "text-42");
    vkm_free(&a, zeroed);
    vkm_free(&a, copy);
    vkm_free(&a, text);
    vkm_free(&a, moved);
    vkm_free(&a, NULL);
    assert_int_equal(scarce.live, 0);
}

static void a_failing_hook_yields_null(void **state)
{
    (void)state;
    struct scarce scarce = {0};
    vkmoe_allocator a = scarce_allocator(&scarce);
    assert_null(vkm_malloc(&a, 1, 1));
    scarce.calls = 0;
    assert_null(vkm_calloc(&a, 1, 1));
    scarce.calls = 0;
    assert_null(vkm_strdup(&a, "x"));
    scarce.calls = 0;
    assert_null(vkm_format(&a, "%d", 1));
    scarce.calls = 1;
    char *kept = vkm_strdup(&a, "kept");
    scarce.calls = 0;
    assert_null(vkm_realloc(&a, kept, 100, 1));
    assert_string_equal(kept, "kept");
    vkm_free(&a, kept);
    assert_int_equal(scarce.live, 0);
}

static void a_formatted_string_is_as_long_as_it_needs_to_be(void **state)
{
    (void)state;
    char *text = vkm_format(NULL, "%*d|%s", 5000, 7, "end");
    assert_int_equal(strlen(text), 5004);
    assert_string_equal(text + 4999, "7|end");
    vkm_free(NULL, text);
    text = vkm_format(NULL, "%s", "");
    assert_string_equal(text, "");
    vkm_free(NULL, text);
}

/* --- hash, errors, log --- */

static void the_hash_is_fnv_1a(void **state)
{
    (void)state;
    /* From the authors' test vectors. */
    assert_true(vkm_hash(VKM_HASH_INIT, "", 0) == UINT64_C(0xcbf29ce484222325));
    assert_true(vkm_hash(VKM_HASH_INIT, "a", 1) == UINT64_C(0xaf63dc4c8601ec8c));
    assert_true(vkm_hash(VKM_HASH_INIT, "foobar", 6) == UINT64_C(0x85944171f73967e8));
    uint64_t parts = vkm_hash(vkm_hash(VKM_HASH_INIT, "foo", 3), "bar", 3);
    assert_true(parts == vkm_hash(VKM_HASH_INIT, "foobar", 6));
}

static void a_failure_is_a_status_and_a_bounded_sentence(void **state)
{
    (void)state;
    vkmoe_error err;
    assert_int_equal(vkm_fail(NULL, VKMOE_IO, "%d", 1), VKMOE_IO);
    assert_int_equal(vkm_fail(&err, VKMOE_BAD_FORMAT, "%0*d", 3000, 1), VKMOE_BAD_FORMAT);
    assert_int_equal(err.status, VKMOE_BAD_FORMAT);
    assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
    assert_int_equal(vkm_fail_memory(&err, 12345, "a test"), VKMOE_OUT_OF_HOST_MEMORY);
    assert_non_null(strstr(err.message, "12345"));
    assert_non_null(strstr(err.message, "a test"));
}

static void every_status_has_its_own_text(void **state)
{
    (void)state;
    static const vkmoe_status all[] = {
#define STATUS_ID(name, value, text) VKMOE_##name,
        VKMOE_STATUS_LIST(STATUS_ID)
#undef STATUS_ID
    };
    for (size_t i = 0; i < VKM_COUNT(all); i++) {
        assert_int_equal(all[i], i);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(vkmoe_status_text(all[i]), vkmoe_status_text(all[j]));
    }
    assert_non_null(vkmoe_status_text((vkmoe_status)-7));
    assert_non_null(vkmoe_status_text((vkmoe_status)1000));
}

struct lines {
    int count;
    vkmoe_log_level level;
    char last[4096];
};

static void keep_line(void *user, vkmoe_log_level level, const char *line)
{
    struct lines *lines = user;
    lines->count++;
    lines->level = level;
    snprintf(lines->last, sizeof(lines->last), "%s", line);
}

static void the_log_gets_whole_lines_or_nothing(void **state)
{
    (void)state;
    struct lines lines = {0};
    vkmoe_log log = {keep_line, &lines}, silent = {0};
    vkm_log(&log, VKMOE_LOG_WARNING, "%s %d", "line", 3);
    assert_string_equal(lines.last, "line 3");
    assert_int_equal(lines.level, VKMOE_LOG_WARNING);
    vkm_log(&log, VKMOE_LOG_DEBUG, "%0*d", 9000, 1);
    assert_int_equal(strlen(lines.last), 2047);
    vkm_log(&silent, VKMOE_LOG_ERROR, "lost");
    vkm_log(NULL, VKMOE_LOG_ERROR, "lost");
    assert_int_equal(lines.count, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_f16_survives_float32_and_back),
        cmocka_unit_test(every_bf16_survives_float32_and_back),
        cmocka_unit_test(f16_rounds_to_nearest_even_everywhere),
        cmocka_unit_test(bf16_rounds_to_nearest_even_everywhere),
        cmocka_unit_test(what_16_bits_cannot_hold_becomes_infinite),
        cmocka_unit_test(a_nan_of_any_payload_stays_nan),
        cmocka_unit_test(elements_are_stored_and_loaded_by_dtype),
        cmocka_unit_test(the_first_element_that_is_not_finite_is_found_anywhere),
        cmocka_unit_test(an_array_grows_and_keeps_what_it_holds),
        cmocka_unit_test(an_array_that_cannot_grow_is_unchanged),
        cmocka_unit_test(sizes_that_overflow_are_refused),
        cmocka_unit_test(all_memory_comes_from_the_hook),
        cmocka_unit_test(a_failing_hook_yields_null),
        cmocka_unit_test(a_formatted_string_is_as_long_as_it_needs_to_be),
        cmocka_unit_test(the_hash_is_fnv_1a),
        cmocka_unit_test(a_failure_is_a_status_and_a_bounded_sentence),
        cmocka_unit_test(every_status_has_its_own_text),
        cmocka_unit_test(the_log_gets_whole_lines_or_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
