/* Holds what a kernel wrote against what its reference wrote. */
#ifndef VKM_COMPARE_H
#define VKM_COMPARE_H

#include <math.h>

#include "gpu/kernel.h"

/* Fills memory before a kernel runs. Each of its halves is a NaN in every storage type; as an index
 * it is out of bounds. No kernel computes it. */
#define VKM_POISON 0x7fc17fc1u

#define VKM_NMSE_BOUND 1e-10
#define VKM_NMSE_BOUND_HALF 1e-8
/* What may be lost by rounding to float16. Over few elements the error is no mean yet, and the sums
 * may happen to cancel each other, which has been seen to make it eight times as large; a product
 * that is left out costs 1 / K, 9e-5 in the longest rows. */
#define VKM_NMSE_BOUND_HALF_SUMS 1e-6
#define VKM_NMSE_BOUND_HALF_SUMS_FEW 1e-5
#define VKM_NMSE_FEW 256

struct vkm_compare {
    const char *broken; /* the rule that does not hold, as part of a sentence; NULL: all hold */
    size_t index;       /* the element that breaks it, or the worst one */
    double got, expected;
    /* Over the elements where both sides are finite; infinite where one is not, or was not written,
     * that had to be. */
    double nmse;
};

/* A NaN without its sign and payload, for printing; any other value as it is. */
static inline double vkm_plain_nan(double value)
{
    return isnan(value) ? (double)NAN : value;
}

/* Integers match exactly. */
void vkm_compare_u32(const uint32_t *got, const uint32_t *expected, size_t n,
                     struct vkm_compare *out);

/* Floats by metric; a zero, an infinity, a NaN and an element that the reference leaves poisoned
 * must be matched in every metric. magnitude: the sum of |a b| for PRODUCT, else unused. */
void vkm_compare_f32(enum vkm_metric metric, const float *got, const float *expected,
                     const float *magnitude, size_t n, struct vkm_compare *out);

/* Counts elements by how far they are off. bins[0]: exact; bins[i]: the difference, divided by the
 * root mean square of what is expected, is below 2^(2 i - 46) and in no bin before; the last but
 * one takes all that is larger, the last those that are NaN, infinite or poisoned on one side
 * alone. Where both sides are, they are not counted. */
#define VKM_ERROR_BINS 25
void vkm_compare_errors(const float *got, const float *expected, size_t n,
                        uint64_t bins[VKM_ERROR_BINS]);

#endif
