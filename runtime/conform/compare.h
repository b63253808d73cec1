/* Holds what a kernel wrote against what its reference wrote. */
#ifndef VKM_COMPARE_H
#define VKM_COMPARE_H

#include "gpu/kernel.h"

/* Fills memory before a kernel runs. Each of its halves is a NaN in every storage type; as an index
 * it is out of bounds. No kernel computes it. */
#define VKM_POISON 0x7fc17fc1u

#define VKM_NMSE_BOUND 1e-10
#define VKM_NMSE_BOUND_HALF 1e-8

struct vkm_compare {
    const char *broken; /* the rule that does not hold, as part of a sentence; NULL: all hold */
    size_t index;       /* the element that breaks it, or the worst one */
    double got, expected;
    double nmse; /* over the elements where both sides are finite */
};

/* Integers match exactly. */
void vkm_compare_u32(const uint32_t *got, const uint32_t *expected, size_t n,
                     struct vkm_compare *out);

/* Floats by metric; a zero, an infinity, a NaN and an element that the reference leaves poisoned
 * must be matched in every metric. magnitude: the sum of |a b| for PRODUCT, else unused. */
void vkm_compare_f32(enum vkm_metric metric, const float *got, const float *expected,
                     const float *magnitude, size_t n, struct vkm_compare *out);

/* Counts finite elements by how far they are off. bins[0]: exact; bins[i]: the difference, divided
 * by the root mean square of what is expected, is below 2^(2 i - 46) and in no bin before; the last
 * takes all that is larger. */
#define VKM_ERROR_BINS 24
void vkm_compare_errors(const float *got, const float *expected, size_t n,
                        uint64_t bins[VKM_ERROR_BINS]);

#endif
