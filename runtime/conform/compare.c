#include "conform/compare.h"

#include <float.h>

#define PRODUCT_BOUND (16 * 0x1p-24)
#define PRODUCT_FLOOR 1e-30

void vkm_compare_u32(const uint32_t *got, const uint32_t *expected, size_t n,
                     struct vkm_compare *out)
{
    *out = (struct vkm_compare){0};
    for (size_t i = 0; i < n; i++) {
        if (got[i] == expected[i])
            continue;
        out->broken = expected[i] == VKM_POISON ? "was written, but must be left alone"
                      : got[i] == VKM_POISON    ? "was not written"
                                                : "differs";
        out->index = i;
        out->got = got[i];
        out->expected = expected[i];
        return;
    }
}

/* The rule that bit patterns alone break, or NULL. */
static const char *check_bits(float got, float expected)
{
    uint32_t g = vkm_f32_bits(got), e = vkm_f32_bits(expected);
    if (g == e)
        return NULL;
    if (e == VKM_POISON)
        return "was written, but must be left alone";
    if (g == VKM_POISON)
        return "was not written";
    if (isnan(expected) != isnan(got))
        return isnan(got) ? "is NaN" : "should be NaN";
    if (!isnan(got) && got != expected && (isinf(got) || isinf(expected)))
        return "differs in being infinite";
    if (expected == 0 && got != 0)
        return "should be exactly zero";
    return NULL;
}

/* The rule of the metric that one pair of finite values breaks, or NULL. A device may flush
 * denormals, so they have no part in the mean error either. */
static const char *check_metric(enum vkm_metric metric, double got, double expected,
                                double magnitude)
{
    switch (metric) {
    case VKM_METRIC_EXACT:
        if (got != expected && !(got == 0 && fabs(expected) < (double)FLT_MIN))
            return "is not exact";
        return NULL;
    case VKM_METRIC_PRODUCT:
        if (fabs(got - expected) > PRODUCT_BOUND * fabs(magnitude) + PRODUCT_FLOOR)
            return "is off by more than a product may be";
        return NULL;
    case VKM_METRIC_NMSE:
    case VKM_METRIC_HALF:
    case VKM_METRIC_HALF_SUMS:
        return NULL;
    }
    return NULL;
}

/* Whether the difference of the two is beyond all measure. */
static bool off_by_infinity(float got, float expected)
{
    if (isfinite(got) && isfinite(expected))
        return false;
    return check_bits(got, expected) != NULL;
}

static double nmse_bound(enum vkm_metric metric, size_t elements)
{
    if (metric == VKM_METRIC_HALF_SUMS)
        return elements < VKM_NMSE_FEW ? VKM_NMSE_BOUND_HALF_SUMS_FEW : VKM_NMSE_BOUND_HALF_SUMS;
    return metric == VKM_METRIC_HALF ? VKM_NMSE_BOUND_HALF : VKM_NMSE_BOUND;
}

void vkm_compare_f32(enum vkm_metric metric, const float *got, const float *expected,
                     const float *magnitude, size_t n, struct vkm_compare *out)
{
    double error = 0, power = 0, worst = -1;
    size_t elements = 0;
    *out = (struct vkm_compare){0};
    for (size_t i = 0; i < n; i++) {
        double g = (double)got[i], e = (double)expected[i], difference = fabs(g - e);
        const char *broken = check_bits(got[i], expected[i]);
        if (!broken && isfinite(g) && isfinite(e)) {
            broken = check_metric(metric, g, e, magnitude ? (double)magnitude[i] : 0);
            if (fmax(fabs(g), fabs(e)) >= (double)FLT_MIN) {
                error += difference * difference;
                power += e * e;
                elements++;
            }
        }
        if (off_by_infinity(got[i], expected[i]))
            error = (double)INFINITY;
        bool first = broken && !out->broken;
        if (first || (!out->broken && difference > worst)) {
            out->broken = broken;
            out->index = i;
            out->got = vkm_plain_nan(g);
            out->expected = vkm_plain_nan(e);
            worst = difference;
        }
    }
    out->nmse = isinf(error) ? (double)INFINITY : power > 0 ? error / power : 0;
    if (!out->broken && out->nmse > nmse_bound(metric, elements))
        out->broken = "is the worst of a view whose mean error is too large";
}

void vkm_compare_errors(const float *got, const float *expected, size_t n,
                        uint64_t bins[VKM_ERROR_BINS])
{
    double power = 0;
    size_t finite = 0;
    for (size_t i = 0; i < n; i++) {
        double e = (double)expected[i];
        power += isfinite(e) ? e * e : 0;
        finite += isfinite(e);
    }
    double scale = power > 0 ? sqrt(power / (double)finite) : 1;
    for (size_t i = 0; i < n; i++) {
        double difference = fabs((double)got[i] - (double)expected[i]);
        if (!isfinite(difference)) {
            bins[VKM_ERROR_BINS - 1] += off_by_infinity(got[i], expected[i]);
            continue;
        }
        /* ilogb(x) = e means 2^e <= x < 2^(e + 1) */
        int bin = difference > 0 ? (ilogb(difference / scale) + 1 + 46 + 1) / 2 : 0;
        bin = difference > 0 && bin < 1 ? 1 : bin;
        bins[bin < VKM_ERROR_BINS - 1 ? bin : VKM_ERROR_BINS - 2]++;
    }
}
