/* Sampling a token from logits. */
#include "kernels/ref.h"

#include <float.h>
#include <string.h>

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

/* 0 for a token that the cut leaves out. */
static double kept_mass(float logit, uint32_t cut, double largest, double factor)
{
    return vkm_ref_order_key(logit) < cut ? 0 : vkm_ref_exp(logit, largest, factor);
}

static double mass(const float *logits, uint32_t begin, uint32_t end, uint32_t cut, double largest,
                   double factor)
{
    double sum = 0;
    for (uint32_t i = begin; i < end; i++)
        sum += kept_mass(logits[i], cut, largest, factor);
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

void vkm_ref_penalise(const struct vkm_ref *ref, const void *params)
{
    const struct vkm_params_penalise *p = params;
    const float *logits = vkm_ref_in(ref, &p->logits);
    struct batch batch = {
        .rows = vkm_ref_in(ref, &p->rows),
        .index = p->use_index ? vkm_ref_in(ref, &p->index) : NULL,
        .samplers = vkm_ref_in(ref, &p->samplers),
    };
    const uint32_t *history = vkm_ref_in(ref, &p->history);
    float *y = vkm_ref_out(ref, &p->y);
    for (size_t i = 0; i < ref->groups[1]; i++) {
        struct vkm_row row = batch_row(&batch, i);
        const struct vkm_sampler *s = &batch.samplers[row.sequence];
        const float *in = logits + i * p->ld;
        float *out = y + i * p->ld;
        memcpy(out, in, p->vocab * sizeof(float));
        vkm_ref_pad(out, p->vocab, p->ld);
        for (uint32_t back = 0; back < s->repeat_last && back <= row.position; back++) {
            uint32_t at = row.position - back;
            uint32_t token =
                at < p->history_ld ? history[(size_t)row.sequence * p->history_ld + at] : p->vocab;
            if (token < p->vocab)
                out[token] = (float)(in[token] > 0 ? (double)in[token] / (double)s->repeat_penalty
                                                   : (double)in[token] * (double)s->repeat_penalty);
        }
    }
}

/* What tokens add up to: how many they are, or their masses in units of 2^-31. */
struct amount {
    const float *logits;
    uint32_t vocab;
    uint32_t least; /* keys below count nothing */
    bool masses;
    double largest, factor;
};

static uint32_t largest_of(const float *logits, uint32_t vocab)
{
    return vkm_ref_order_key(logits[argmax(logits, 0, vocab)]);
}

static uint64_t amount_from(const struct amount *a, uint32_t key)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < a->vocab; i++) {
        uint32_t own = vkm_ref_order_key(a->logits[i]);
        if (own >= key && own >= a->least)
            sum += a->masses ? (uint64_t)(vkm_ref_exp(a->logits[i], a->largest, a->factor) * 0x1p31)
                             : 1;
    }
    return sum;
}

/* The largest key from which upwards there is at least `wanted`. */
static uint32_t largest_key(const struct amount *a, uint64_t wanted)
{
    uint32_t key = 0;
    for (uint32_t bit = 0x80000000u; bit > 0; bit /= 2)
        if (amount_from(a, key | bit) >= wanted)
            key |= bit;
    return key;
}

uint32_t vkm_ref_cut(const float *logits, uint32_t vocab, const struct vkm_sampler *s)
{
    struct amount a = {.logits = logits,
                       .vocab = vocab,
                       .largest = vkm_ref_largest(logits, 0, vocab),
                       .factor = (double)s->inverse_temperature};
    uint32_t cut = 0;
    if (s->top_k > 0 && s->top_k < vocab)
        cut = largest_key(&a, s->top_k);
    if (s->top_p > 0) {
        a.least = cut;
        a.masses = true;
        uint64_t wanted = (uint64_t)((double)amount_from(&a, 0) * (double)s->top_p * 0x1p-32);
        cut = vkm_max_u32(cut, largest_key(&a, wanted > 0 ? wanted : 1));
    }
    if (s->min_p_distance < FLT_MAX && largest_of(logits, vocab) > 0) {
        float limit = fmaxf((float)a.largest - s->min_p_distance, -FLT_MAX);
        cut = vkm_max_u32(cut, vkm_ref_order_key(limit));
    }
    return cut;
}

void vkm_ref_sample_cut(const struct vkm_ref *ref, const void *params)
{
    const struct vkm_params_sample_cut *p = params;
    const float *logits = vkm_ref_in(ref, &p->logits);
    struct batch batch = {
        .rows = vkm_ref_in(ref, &p->rows),
        .index = p->use_index ? vkm_ref_in(ref, &p->index) : NULL,
        .samplers = vkm_ref_in(ref, &p->samplers),
    };
    uint32_t *cut = vkm_ref_out(ref, &p->cut);
    for (size_t i = 0; i < ref->groups[1]; i++)
        cut[i] = vkm_ref_cut(logits + i * p->ld, p->vocab,
                             &batch.samplers[batch_row(&batch, i).sequence]);
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
    const uint32_t *cuts = p->use_cut ? vkm_ref_in(ref, &p->cut) : NULL;
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
            best[2 * out + 1] = (float)mass(row, begin, end, cuts ? cuts[i] : 0, largest, factor);
            at[out] = argmax(row, begin, end);
            best[2 * out] = row[at[out]];
        }
    }
}

/* The token at which the running sum of probabilities passes u. */
static uint32_t draw(const float *logits, uint32_t vocab, uint32_t cut, double factor, double u)
{
    double largest = vkm_ref_largest(logits, 0, vocab);
    double limit = u * mass(logits, 0, vocab, cut, largest, factor), sum = 0;
    for (uint32_t i = 0; i < vocab; i++) {
        sum += kept_mass(logits[i], cut, largest, factor);
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
    const uint32_t *cuts = p->use_cut ? vkm_ref_in(ref, &p->cut) : NULL;
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
            sampled[i] = draw(values, p->vocab, cuts ? cuts[i] : 0, (double)s->inverse_temperature,
                              ((double)(out[0] >> 8) + 0.5) * 0x1p-24);
        }
        next[i] = (struct vkm_row){sampled[i], row.position + 1, row.sequence, 0};
    }
}

void vkm_ref_token_loss(const struct vkm_ref *ref, const void *params)
{
    const struct vkm_params_token_loss *p = params;
    const float *logits = vkm_ref_in(ref, &p->logits);
    const uint32_t *targets = vkm_ref_in(ref, &p->targets);
    float *loss = vkm_ref_out(ref, &p->loss);
    for (size_t i = 0; i < ref->groups[1]; i++) {
        const float *row = logits + i * p->ld;
        uint32_t target = targets[i];
        loss[i] = 0;
        if (target >= p->vocab)
            continue;
        uint32_t best = argmax(row, 0, p->vocab);
        double largest = fmin((double)row[best], FLT_MAX), others = 0;
        for (uint32_t t = 0; t < p->vocab; t++)
            others += t == best ? 0 : vkm_ref_exp(row[t], largest, 1);
        double distance = largest - fmax(-FLT_MAX, fmin((double)row[target], FLT_MAX));
        loss[i] = isnan(row[target]) ? NAN : (float)(fmin(distance, FLT_MAX) + log1p(others));
    }
}
