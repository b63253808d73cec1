/* Routed experts in the prefill form: products over pairs sorted by expert, and their sum. */
#include "kernels/ref.h"

/* One entry of the tile list. */
struct tile {
    uint32_t expert, first, rows, zero;
};

void vkm_ref_moe_gemm_up(const struct vkm_ref *ref, const void *params)
{
    const struct vkm_params_moe_gemm_up *p = params;
    const float *x = vkm_ref_in(ref, &p->x);
    const struct tile *tiles = vkm_ref_in(ref, &p->tiles);
    const uint32_t *order = vkm_ref_in(ref, &p->order);
    const uint32_t *experts = vkm_ref_in(ref, &p->experts);
    float *h = vkm_ref_out(ref, &p->h);
    struct vkm_ref_ffn ffn = {.width = p->width, .width_ld = p->h_ld, .hidden_ld = p->k_ld};
    for (const struct tile *t = tiles; t < tiles + ref->groups[1]; t++) {
        ffn.weights = vkm_ref_expert(ref, experts, t->expert, p->n_experts);
        for (size_t i = t->first; i < (size_t)t->first + t->rows; i++)
            vkm_ref_ffn_up(ref, &ffn, x + (size_t)(order[i] / p->k) * p->k_ld, h + i * p->h_ld);
    }
}

void vkm_ref_moe_gemm_down(const struct vkm_ref *ref, const void *params)
{
    const struct vkm_params_moe_gemm_down *p = params;
    const float *h = vkm_ref_in(ref, &p->h);
    const struct tile *tiles = vkm_ref_in(ref, &p->tiles);
    const uint32_t *order = vkm_ref_in(ref, &p->order);
    const uint32_t *experts = vkm_ref_in(ref, &p->experts);
    float *y = vkm_ref_out(ref, &p->y);
    struct vkm_ref_ffn ffn = {.width = p->width, .width_ld = p->h_ld, .hidden_ld = p->k_ld};
    for (const struct tile *t = tiles; t < tiles + ref->groups[1]; t++) {
        ffn.weights = vkm_ref_expert(ref, experts, t->expert, p->n_experts);
        for (size_t i = t->first; i < (size_t)t->first + t->rows; i++) {
            float *out = y + (size_t)order[i] * p->y_ld;
            for (size_t o = 0; o < p->n_out; o++)
                out[o] = (float)vkm_ref_ffn_down(ref, &ffn, o, h + i * p->h_ld);
            vkm_ref_pad(out, p->n_out, p->y_ld);
        }
    }
}

void vkm_ref_moe_combine(const struct vkm_ref *ref, const void *params)
{
    const struct vkm_params_moe_combine *p = params;
    const float *y = vkm_ref_in(ref, &p->y);
    const float *gates = vkm_ref_in(ref, &p->gates);
    float *x = vkm_ref_out(ref, &p->x);
    for (size_t r = 0; r < p->n_rows; r++)
        for (size_t i = 0; i < p->ld; i++) {
            double sum = vkm_ref_f32(ref, x, r * p->ld + i);
            for (size_t pair = r * p->k; pair < (r + 1) * p->k; pair++)
                sum += vkm_ref_f32(ref, gates, pair) * vkm_ref_f32(ref, y, pair * p->ld + i);
            x[r * p->ld + i] = (float)sum;
        }
}
