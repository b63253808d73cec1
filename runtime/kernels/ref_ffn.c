/* SwiGLU FFNs: one that serves every row, and routed experts. */
#include "kernels/ref.h"

/* The clamp keeps exp finite; beyond it silu is 0 in any case. */
static double silu(double g)
{
    return g / (1 + exp(fmin(-g, 80)));
}

void vkm_ref_ffn_up(const struct vkm_ref *ref, const struct vkm_ref_ffn *ffn, const float *x,
                    float *h)
{
    size_t ld = ffn->hidden_ld;
    const void *up_rows = vkm_ref_behind(ref, ffn->weights, ffn->width, ld);
    for (size_t o = 0; o < ffn->width; o++) {
        double gate = vkm_ref_dot(ref, ffn->weights, o, ld, x, ld);
        double up = vkm_ref_dot(ref, up_rows, o, ld, x, ld);
        h[o] = (float)(silu(gate) * up);
    }
    vkm_ref_pad(h, ffn->width, ffn->width_ld);
}

double vkm_ref_ffn_down(const struct vkm_ref *ref, const struct vkm_ref_ffn *ffn, size_t o,
                        const float *h)
{
    const void *up = vkm_ref_behind(ref, ffn->weights, ffn->width, ffn->hidden_ld);
    const void *down = vkm_ref_behind(ref, up, ffn->width, ffn->hidden_ld);
    return vkm_ref_dot(ref, down, o, ffn->width_ld, h, ffn->width);
}

#define FFN_UP(name)                                                                               \
    void vkm_ref_##name(const struct vkm_ref *ref, const void *params)                             \
    {                                                                                              \
        const struct vkm_params_##name *p = params;                                                \
        const float *x = vkm_ref_in(ref, &p->x);                                                   \
        float *h = vkm_ref_out(ref, &p->h);                                                        \
        struct vkm_ref_ffn ffn = {                                                                 \
            .weights = vkm_ref_in(ref, &p->w),                                                     \
            .width = p->width,                                                                     \
            .width_ld = p->h_ld,                                                                   \
            .hidden_ld = p->k_ld,                                                                  \
        };                                                                                         \
        for (size_t r = 0; r < p->n_rows; r++)                                                     \
            vkm_ref_ffn_up(ref, &ffn, x + r * p->k_ld, h + r * p->h_ld);                           \
    }

FFN_UP(ffn_gemv_up)
FFN_UP(ffn_gemm_up)

void vkm_ref_moe_gemv_up(const struct vkm_ref *ref, const void *params)
{
    const struct vkm_params_moe_gemv_up *p = params;
    const float *x = vkm_ref_in(ref, &p->x);
    const uint32_t *ids = vkm_ref_in(ref, &p->ids);
    const uint32_t *experts = vkm_ref_in(ref, &p->experts);
    float *h = vkm_ref_out(ref, &p->h);
    struct vkm_ref_ffn ffn = {.width = p->width, .width_ld = p->h_ld, .hidden_ld = p->k_ld};
    for (size_t pair = 0; pair < p->n_pairs; pair++) {
        ffn.weights = vkm_ref_expert(ref, experts, ids[pair], p->n_experts);
        if (ffn.weights)
            vkm_ref_ffn_up(ref, &ffn, x + pair / p->k * p->k_ld, h + pair * p->h_ld);
        else
            vkm_ref_pad(h + pair * p->h_ld, 0, p->h_ld);
    }
}

void vkm_ref_moe_gemv_down(const struct vkm_ref *ref, const void *params)
{
    const struct vkm_params_moe_gemv_down *p = params;
    const float *h = vkm_ref_in(ref, &p->h);
    const uint32_t *ids = vkm_ref_in(ref, &p->ids);
    const float *gates = vkm_ref_in(ref, &p->gates);
    const uint32_t *experts = vkm_ref_in(ref, &p->experts);
    float *x = vkm_ref_out(ref, &p->x);
    struct vkm_ref_ffn expert = {.width = p->width, .width_ld = p->h_ld, .hidden_ld = p->x_ld};
    struct vkm_ref_ffn shared = {
        .weights = p->shared_width ? vkm_ref_in(ref, &p->shared_w) : NULL,
        .width = p->shared_width,
        .width_ld = p->shared_ld,
        .hidden_ld = p->x_ld,
    };
    const float *shared_h = p->shared_width ? vkm_ref_in(ref, &p->shared_h) : NULL;
    for (size_t r = 0; r < ref->groups[1]; r++)
        for (size_t o = 0; o < p->n_out; o++) {
            double sum = vkm_ref_f32(ref, x, r * p->x_ld + o);
            for (size_t pair = r * p->k; pair < (r + 1) * p->k; pair++) {
                expert.weights = vkm_ref_expert(ref, experts, ids[pair], p->n_experts);
                if (expert.weights)
                    sum += vkm_ref_f32(ref, gates, pair) *
                           vkm_ref_ffn_down(ref, &expert, o, h + pair * p->h_ld);
            }
            if (shared_h)
                sum += vkm_ref_ffn_down(ref, &shared, o, shared_h + r * p->shared_ld);
            x[r * p->x_ld + o] = (float)sum;
        }
}
