/* Sampling a token from logits. */
#include "kernels/ref.h"

void vkm_ref_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4])
{
    uint32_t k0 = key[0], k1 = key[1];
    uint32_t c[4] = {counter[0], counter[1], counter[2], counter[3]};
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)c[0] * 0xd2511f53u, b = (uint64_t)c[2] * 0xcd9e8d57u;
        uint32_t c1 = c[1], c3 = c[3];
        c[0] = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c[1] = (uint32_t)b;
        c[2] = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c[3] = (uint32_t)a;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    for (int i = 0; i < 4; i++)
        out[i] = c[i];
}

/* The first index of the largest logit in [begin, end). */
static uint32_t argmax(const float *logits, uint32_t begin, uint32_t end)
{
    uint32_t best = begin;
    for (uint32_t i = begin + 1; i < end; i++)
        if (vkm_ref_order_key(logits[i]) > vkm_ref_order_key(logits[best]))
            best = i;
    return best;
}

static double mass(const float *logits, uint32_t begin, uint32_t end, double largest, double factor)
{
    double sum = 0;
    for (uint32_t i = begin; i < end; i++)
        sum += vkm_ref_exp(logits[i], largest, factor);
    return sum;
}

/* Rows and samplers of a dispatch; output row i is batch row index[i]. */
struct batch {
    const struct vkm_row *rows;
    const uint32_t *index;
    const struct vkm_sampler *samplers;
};

static struct vkm_row batch_row(const struct batch *b, size_t i)
{
    return b->rows[b->index ? b->index[i] : i];
}

void vkm_ref_sample_blocks(const struct vkm_ref *ref, const void *params)
{
    const struct vkm_params_sample_blocks *p = params;
    const float *logits = vkm_ref_in(ref, &p->logits);
    struct batch batch = {
        .rows = vkm_ref_in(ref, &p->rows),
        .index = p->use_index ? vkm_ref_in(ref, &p->index) : NULL,
        .samplers = vkm_ref_in(ref, &p->samplers),
    };
    float *best = vkm_ref_out(ref, &p->best);
    uint32_t *at = vkm_ref_out(ref, &p->at);
    size_t n_blocks = vkm_ceil_div(p->vocab, VKM_VOCAB_BLOCK);
    for (size_t i = 0; i < ref->groups[1]; i++) {
        const float *row = logits + i * p->ld;
        double factor = (double)batch.samplers[batch_row(&batch, i).sequence].inverse_temperature;
        for (size_t block = 0; block < n_blocks; block++) {
            uint32_t begin = (uint32_t)block * VKM_VOCAB_BLOCK;
            uint32_t end = begin + vkm_min_u32(p->vocab - begin, VKM_VOCAB_BLOCK);
            double largest = vkm_ref_largest(row, begin, end);
            size_t out = i * n_blocks + block;
            best[2 * out + 1] = (float)mass(row, begin, end, largest, factor);
            at[out] = argmax(row, begin, end);
            best[2 * out] = row[at[out]];
        }
    }
}

/* The token at which the running sum of probabilities passes u. */
static uint32_t draw(const float *logits, uint32_t vocab, double factor, double u)
{
    double largest = vkm_ref_largest(logits, 0, vocab);
    double limit = u * mass(logits, 0, vocab, largest, factor), sum = 0;
    for (uint32_t i = 0; i < vocab; i++) {
        sum += vkm_ref_exp(logits[i], largest, factor);
        if (sum > limit)
            return i;
    }
    return 0;
}

void vkm_ref_sample(const struct vkm_ref *ref, const void *params)
{
    const struct vkm_params_sample *p = params;
    const float *logits = vkm_ref_in(ref, &p->logits);
    struct batch batch = {
        .rows = vkm_ref_in(ref, &p->rows),
        .index = p->use_index ? vkm_ref_in(ref, &p->index) : NULL,
        .samplers = vkm_ref_in(ref, &p->samplers),
    };
    uint32_t *sampled = vkm_ref_out(ref, &p->sampled);
    struct vkm_row *next = vkm_ref_out(ref, &p->next_rows);
    for (size_t i = 0; i < ref->groups[1]; i++) {
        struct vkm_row row = batch_row(&batch, i);
        const struct vkm_sampler *s = &batch.samplers[row.sequence];
        const float *values = logits + i * p->ld;
        if (s->inverse_temperature == 0) {
            sampled[i] = argmax(values, 0, p->vocab);
        } else {
            uint32_t key[2] = {s->seed_low, s->seed_high}, out[4];
            vkm_ref_philox(key, (uint32_t[4]){row.position, row.sequence, 0, 0}, out);
            sampled[i] = draw(values, p->vocab, (double)s->inverse_temperature,
                              (double)(out[0] >> 8) * 0x1p-24);
        }
        next[i] = (struct vkm_row){sampled[i], row.position + 1, row.sequence, 0};
    }
}
