/* Kernels that treat each row alone: embedding and norm; and random weights. */
#include "kernels/ref.h"

void vkm_ref_embed(const struct vkm_ref *ref, const void *params)
{
    const struct vkm_params_embed *p = params;
    const void *table = vkm_ref_in(ref, &p->table);
    const struct vkm_row *rows = vkm_ref_in(ref, &p->rows);
    float *y = vkm_ref_out(ref, &p->y);
    uint32_t *history = vkm_ref_out(ref, &p->history);
    for (size_t r = 0; r < ref->groups[1]; r++) {
        size_t token = rows[r].token;
        if (rows[r].position < p->history_ld)
            history[(size_t)rows[r].sequence * p->history_ld + rows[r].position] = rows[r].token;
        for (size_t i = 0; i < p->ld; i++)
            y[r * p->ld + i] =
                token < p->vocab ? (float)vkm_ref_weight(ref, table, token, p->ld, i) : 0;
    }
}

static uint32_t hash(uint32_t x)
{
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    return x ^ x >> 16;
}

void vkm_ref_random_words(const struct vkm_ref *ref, const void *params)
{
    const struct vkm_params_random_words *p = params;
    uint32_t *w = vkm_ref_out(ref, &p->w);
    for (uint32_t i = 0; i < p->words; i++)
        w[i] = i % p->block_words < p->block_head ? (hash(i ^ hash(p->seed)) & p->mask) | p->base
                                                  : p->scales;
}

void vkm_ref_rmsnorm(const struct vkm_ref *ref, const void *params)
{
    const struct vkm_params_rmsnorm *p = params;
    const float *x = vkm_ref_in(ref, &p->x);
    const float *weight = vkm_ref_in(ref, &p->weight);
    const uint32_t *index = p->use_index ? vkm_ref_in(ref, &p->index) : NULL;
    float *y = vkm_ref_out(ref, &p->y);
    for (size_t r = 0; r < ref->groups[1]; r++) {
        const float *in = x + (index ? index[r] : r) * p->ld;
        float *out = y + r * p->ld;
        double squares = 0;
        for (size_t i = 0; i < p->width; i++)
            squares += (double)in[i] * (double)in[i];
        double scale = 1 / sqrt(squares / p->width + (double)p->eps);
        for (size_t i = 0; i < p->width; i++)
            out[i] = (float)((double)weight[i] * (double)in[i] * scale);
        vkm_ref_pad(out, p->width, p->ld);
    }
}
