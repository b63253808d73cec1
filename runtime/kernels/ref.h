/* What the float64 reference kernels share. */
#ifndef VKM_REF_H
#define VKM_REF_H

#include "base/rows.h"
#include "kernels/kernels.h"

static inline const void *vkm_ref_in(const struct vkm_ref *ref, const struct vkm_view *view)
{
    return ref->view(ref->user, view, false);
}

static inline void *vkm_ref_out(const struct vkm_ref *ref, const struct vkm_view *view)
{
    return ref->view(ref->user, view, true);
}

/* Element i of float32 memory; its absolute value when magnitudes are asked for. */
static inline double vkm_ref_f32(const struct vkm_ref *ref, const float *data, size_t i)
{
    return ref->magnitude ? fabs((double)data[i]) : (double)data[i];
}

/* What lies behind a matrix of n_rows rows of ld elements, in the dispatch's storage type. */
static inline const void *vkm_ref_behind(const struct vkm_ref *ref, const void *weights,
                                         size_t n_rows, size_t ld)
{
    return (const unsigned char *)weights + vkm_matrix_bytes(ref->dtype, n_rows, ld);
}

/* Element i of row `row` of such a matrix. */
static inline double vkm_ref_weight(const struct vkm_ref *ref, const void *weights, size_t row,
                                    size_t ld, size_t i)
{
    double value = (double)vkm_row_load(weights, ref->dtype, ld, row, i);
    return ref->magnitude ? fabs(value) : value;
}

/* Eight-bit integers times a scale, from the values of one group, n of them, at most VKM_GROUP. The
 * scale is about the largest magnitude / 127; 0 where that is below 2^-100, NaN where a value is no
 * finite number. Only exact or correctly rounded operations, so that lib/gemm_int8.glsl gets the
 * same bits. */
struct vkm_int8_group {
    float scale;
    int32_t quants[VKM_GROUP];
};
void vkm_round_int8(const float *values, size_t n, struct vkm_int8_group *group);

/* Row `row` of weights (ld elements apart) times the vector x, over n elements; x, and weights
 * where they are, rounded as ref->rounding says. */
double vkm_ref_dot(const struct vkm_ref *ref, const void *weights, size_t row, size_t ld,
                   const float *x, size_t n);

/* Zeroes elements [from, to) of a row. */
void vkm_ref_pad(float *row, size_t from, size_t to);

/* An FFN in memory: gate, up and down rows. */
struct vkm_ref_ffn {
    const void *weights;
    size_t width, width_ld;   /* of the activation between up and down */
    size_t hidden, hidden_ld; /* of input and output */
};

/* h[o] = silu(gate[o] . x) * (up[o] . x); h is filled up to width_ld. */
void vkm_ref_ffn_up(const struct vkm_ref *ref, const struct vkm_ref_ffn *ffn, const float *x,
                    float *h);
/* down[o] . h */
double vkm_ref_ffn_down(const struct vkm_ref *ref, const struct vkm_ref_ffn *ffn, size_t o,
                        const float *h);

/* The weights of an expert, through the table of addresses; NULL for an id beyond it. */
const void *vkm_ref_expert(const struct vkm_ref *ref, const uint32_t *experts, uint32_t id,
                           uint32_t n_experts);

/* Maps float bits to integers in the order of top-K: NaN lowest, then -Inf .. Inf, -0 equal to 0.
 */
uint32_t vkm_ref_order_key(float value);

/* The largest logit in [begin, end), clamped to finite; -FLT_MAX where all are NaN. */
double vkm_ref_largest(const float *logits, size_t begin, size_t end);
/* exp((logit - largest) * factor), logit and argument clamped; 0 for NaN. */
double vkm_ref_exp(float logit, double largest, double factor);

/* The key of sample_cut: the least one that top-k, top-p and min-p leave. */
uint32_t vkm_ref_cut(const float *logits, uint32_t vocab, const struct vkm_sampler *sampler);

/* Philox4x32-10. */
void vkm_ref_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4]);

#endif
