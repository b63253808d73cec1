/* The comparator must catch what is wrong, and only that. */
#include "support.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "conform/compare.h"
#include "conform/conform.h"

#define N 1000u

struct pair {
    float got[N], expected[N], magnitude[N];
};

static void fill(struct pair *p)
{
    for (uint32_t i = 0; i < N; i++) {
        p->expected[i] = 0.5f + (float)((i * 37) % 100) / 100;
        p->magnitude[i] = 2;
    }
    memcpy(p->got, p->expected, sizeof(p->got));
}

static const char *compare(enum vkm_metric metric, const struct pair *p, struct vkm_compare *out)
{
    vkm_compare_f32(metric, p->got, p->expected, p->magnitude, N, out);
    return out->broken;
}

static void equal_values_pass(void **state)
{
    (void)state;
    struct pair p;
    struct vkm_compare c;
    fill(&p);
    p.got[3] = p.expected[3] = NAN;
    p.got[4] = p.expected[4] = -INFINITY;
    p.got[5] = p.expected[5] = vkm_bits_f32(VKM_POISON);
    p.got[6] = -0.0f;
    p.expected[6] = 0;
    p.got[7] = p.expected[7] = -1;
    p.magnitude[7] = -1; /* an element that was left alone */
    for (int metric = VKM_METRIC_EXACT; metric <= VKM_METRIC_PRODUCT; metric++) {
        assert_null(compare((enum vkm_metric)metric, &p, &c));
        assert_true(c.nmse == 0);
    }
}

/* One element changed: every metric must name it. */
static void assert_caught(float got, float expected)
{
    struct pair p;
    struct vkm_compare c;
    fill(&p);
    p.got[N - 1] = got;
    p.expected[N - 1] = expected;
    for (int metric = VKM_METRIC_EXACT; metric <= VKM_METRIC_PRODUCT; metric++) {
        assert_non_null(compare((enum vkm_metric)metric, &p, &c));
        assert_int_equal(c.index, N - 1);
    }
}

static void what_no_metric_allows_is_caught(void **state)
{
    (void)state;
    float poison = vkm_bits_f32(VKM_POISON);
    assert_caught(NAN, 1);
    assert_caught(1, NAN);
    assert_caught(INFINITY, 1);
    assert_caught(1, INFINITY);
    assert_caught(-INFINITY, INFINITY);
    assert_caught(NAN, INFINITY);
    assert_caught(poison, 1);   /* not written */
    assert_caught(poison, NAN); /* not written, though a NaN is expected */
    assert_caught(1, poison);   /* must be left alone */
    assert_caught(NAN, poison);
    assert_caught(1e-20f, 0);
    assert_caught(FLT_TRUE_MIN, 0);
    assert_caught(1.5f, 1);
}

/* One that is not finite, or was not written, is no small error and none that is left out. */
static void what_is_not_finite_is_an_infinite_error(void **state)
{
    static const float expected[] = {1, 2, 3, 4};
    const float got[] = {NAN, -NAN, INFINITY, vkm_bits_f32(VKM_POISON)};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct vkm_compare c;
        uint64_t bins[VKM_ERROR_BINS] = {0};
        float wrong[4];
        char text[32];
        memcpy(wrong, expected, sizeof(wrong));
        wrong[1] = got[i];
        for (int metric = VKM_METRIC_EXACT; metric <= VKM_METRIC_PRODUCT; metric++) {
            vkm_compare_f32((enum vkm_metric)metric, wrong, expected, expected, 4, &c);
            assert_int_equal(c.index, 1);
            assert_true(isinf(c.nmse) && c.nmse > 0);
        }
        snprintf(text, sizeof(text), "%g", c.got);
        assert_string_equal(text, isinf(got[i]) ? "inf" : "nan");
        vkm_compare_errors(wrong, expected, 4, bins);
        assert_int_equal(bins[0], 3);
        assert_int_equal(bins[VKM_ERROR_BINS - 1], 1);
    }
}

static void errors_are_counted_by_size(void **state)
{
    const float poison = vkm_bits_f32(VKM_POISON);
    const float expected[] = {1, 1, -1, 1, NAN, INFINITY, poison, 1};
    const float got[] = {1, 1 + 0x1p-23f, -1, 1e30f, NAN, INFINITY, poison, 1};
    uint64_t bins[VKM_ERROR_BINS] = {0};
    (void)state;
    vkm_compare_errors(got, expected, 8, bins);
    assert_int_equal(bins[0], 3);
    assert_int_equal(bins[12], 1); /* 2^-24 <= error < 2^-22 */
    assert_int_equal(bins[VKM_ERROR_BINS - 2], 1);
    assert_int_equal(bins[VKM_ERROR_BINS - 1], 0);
}

static void shifted_elements_are_caught(void **state)
{
    (void)state;
    struct pair p;
    struct vkm_compare c;
    fill(&p);
    memmove(p.got + 1, p.got, sizeof(float) * (N - 1));
    for (int metric = VKM_METRIC_EXACT; metric <= VKM_METRIC_PRODUCT; metric++)
        assert_non_null(compare((enum vkm_metric)metric, &p, &c));
}

static void bounds_lie_where_they_should(void **state)
{
    (void)state;
    struct pair p;
    struct vkm_compare c;
    fill(&p);
    p.got[9] = p.expected[9] + 15 * 0x1p-24f * 2;
    assert_null(compare(VKM_METRIC_PRODUCT, &p, &c));
    assert_null(compare(VKM_METRIC_NMSE, &p, &c));
    assert_non_null(compare(VKM_METRIC_EXACT, &p, &c));
    p.got[9] = p.expected[9] + 17 * 0x1p-24f * 2;
    assert_non_null(compare(VKM_METRIC_PRODUCT, &p, &c));
    assert_int_equal(c.index, 9);
    assert_null(compare(VKM_METRIC_NMSE, &p, &c));

    fill(&p);
    for (uint32_t i = 0; i < N; i++)
        p.got[i] *= 1 + 0.5e-5f;
    assert_null(compare(VKM_METRIC_NMSE, &p, &c));
    assert_true(c.nmse > 2.4e-11 && c.nmse < 2.6e-11);
    for (uint32_t i = 0; i < N; i++)
        p.got[i] = p.expected[i] * (1 + 2e-5f);
    assert_non_null(compare(VKM_METRIC_NMSE, &p, &c));
}

static void sums_in_float16_have_bounds_of_their_own(void **state)
{
    static const struct {
        float by;
        size_t n;
        bool passes;
    } all[] = {{0.99e-3f, N, true},   {1.01e-3f, N, false}, {1.01e-3f, 256, false},
               {1.01e-3f, 255, true}, {3.1e-3f, 255, true}, {3.2e-3f, 255, false},
               {3.1e-3f, 1, true}};
    (void)state;
    struct pair p;
    struct vkm_compare c;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        fill(&p);
        for (uint32_t k = 0; k < N; k++)
            p.got[k] *= 1 + all[i].by;
        vkm_compare_f32(VKM_METRIC_HALF_SUMS, p.got, p.expected, NULL, all[i].n, &c);
        assert_int_equal(!c.broken, all[i].passes);
    }
    fill(&p);
    for (uint32_t k = 0; k < N; k++)
        p.got[k] *= 1 + 0.99e-3f;
    assert_non_null(compare(VKM_METRIC_HALF, &p, &c));
}

static void denormals_may_flush(void **state)
{
    (void)state;
    struct pair p;
    struct vkm_compare c;
    fill(&p);
    p.expected[0] = 1e-40f;
    p.got[0] = 0;
    for (int metric = VKM_METRIC_EXACT; metric <= VKM_METRIC_PRODUCT; metric++)
        assert_null(compare((enum vkm_metric)metric, &p, &c));
    p.got[0] = 2e-40f;
    assert_non_null(compare(VKM_METRIC_EXACT, &p, &c));
    assert_null(compare(VKM_METRIC_NMSE, &p, &c));
    p.got[0] = 1;
    assert_non_null(compare(VKM_METRIC_NMSE, &p, &c));
    vkm_compare_f32(VKM_METRIC_NMSE, (float[]){0, 2e-44f}, (float[]){1e-40f, 3e-44f}, NULL, 2, &c);
    assert_null(c.broken);
}

static void integers_match_exactly(void **state)
{
    (void)state;
    uint32_t expected[4] = {1, 2, 3, VKM_POISON}, got[4] = {1, 2, 3, VKM_POISON};
    struct vkm_compare c;
    vkm_compare_u32(got, expected, 4, &c);
    assert_null(c.broken);
    got[2] = 4;
    vkm_compare_u32(got, expected, 4, &c);
    assert_non_null(c.broken);
    assert_int_equal(c.index, 2);
    got[2] = 3;
    got[3] = 0;
    vkm_compare_u32(got, expected, 4, &c);
    assert_non_null(strstr(c.broken, "left alone"));
    got[3] = VKM_POISON;
    got[0] = VKM_POISON;
    vkm_compare_u32(got, expected, 4, &c);
    assert_non_null(strstr(c.broken, "not written"));
}

static void globs(void **state)
{
    (void)state;
    assert_true(vkm_glob("*", "") && vkm_glob("*", "gemv") && vkm_glob("gemv", "gemv"));
    assert_true(vkm_glob("moe_*_up", "moe_gemv_up") && vkm_glob("g??v", "gemv"));
    assert_true(vkm_glob("*rows=3*", "k=1 rows=3 bias"));
    assert_false(vkm_glob("gemv", "gemv_add") || vkm_glob("gemv_add", "gemv"));
    assert_false(vkm_glob("", "gemv") || vkm_glob("?", "") || vkm_glob("*v", "gemm"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_values_pass),
        cmocka_unit_test(what_no_metric_allows_is_caught),
        cmocka_unit_test(what_is_not_finite_is_an_infinite_error),
        cmocka_unit_test(errors_are_counted_by_size),
        cmocka_unit_test(shifted_elements_are_caught),
        cmocka_unit_test(bounds_lie_where_they_should),
        cmocka_unit_test(sums_in_float16_have_bounds_of_their_own),
        cmocka_unit_test(denormals_may_flush),
        cmocka_unit_test(integers_match_exactly),
        cmocka_unit_test(globs),
    };
    return cmocka_run_group_tests_name("comparator", tests, NULL, NULL);
}
