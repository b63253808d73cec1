/* The router: softmax over the experts and the choice of K of them. */
#include "kernels/ref.h"

void vkm_ref_softmax(const struct vkm_ref *ref, const void *params)
{
    const struct vkm_params_softmax *p = params;
    const float *logits = vkm_ref_in(ref, &p->logits);
    float *probs = vkm_ref_out(ref, &p->probs);
    for (size_t r = 0; r < ref->groups[1]; r++) {
        const float *in = logits + r * p->ld;
        float *out = probs + r * p->ld;
        double largest = vkm_ref_largest(in, 0, p->n);
        double sum = 0;
        for (size_t i = 0; i < p->n; i++)
            sum += vkm_ref_exp(in[i], largest, 1);
        for (size_t i = 0; i < p->n; i++)
            out[i] = sum > 0 ? (float)(vkm_ref_exp(in[i], largest, 1) / sum) : 0;
        vkm_ref_pad(out, p->n, p->ld);
    }
}

/* Whether logit a goes before logit b: the larger first, then the lower index. */
static bool before(const float *logits, uint32_t a, uint32_t b)
{
    uint32_t key_a = vkm_ref_order_key(logits[a]);
    uint32_t key_b = vkm_ref_order_key(logits[b]);
    return key_a > key_b || (key_a == key_b && a < b);
}

void vkm_ref_topk(const struct vkm_ref *ref, const void *params)
{
    const struct vkm_params_topk *p = params;
    const float *logits = vkm_ref_in(ref, &p->logits);
    const float *probs = vkm_ref_in(ref, &p->probs);
    uint32_t *ids = vkm_ref_out(ref, &p->ids);
    float *gates = vkm_ref_out(ref, &p->gates);
    for (size_t r = 0; r < ref->groups[1]; r++) {
        const float *row = logits + r * p->ld;
        double sum = 0;
        for (uint32_t i = 0; i < p->n; i++) {
            uint32_t rank = 0;
            for (uint32_t j = 0; j < p->n; j++)
                rank += before(row, j, i);
            if (rank >= p->k)
                continue;
            ids[r * p->k + rank] = i;
            sum += (double)probs[r * p->ld + i];
        }
        double factor = (p->normalise ? 1 / (sum + 1e-20) : 1) * (double)p->scale;
        for (size_t s = r * p->k; s < (r + 1) * p->k; s++)
            gates[s] = (float)((double)probs[r * p->ld + ids[s]] * factor);
    }
}
