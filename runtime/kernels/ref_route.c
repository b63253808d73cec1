/* The router: softmax over the experts and the choice of K of them. */
#include <float.h>

#include "kernels/ref.h"

/* Of each row; what is too small for a normal float becomes 0. */
static void softmax(size_t rows, const float *logits, float *probs, uint32_t n, uint32_t ld)
{
    for (; rows > 0; rows--, logits += ld, probs += ld) {
        double largest = vkm_ref_largest(logits, 0, n);
        double sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += vkm_ref_exp(logits[i], largest, 1);
        for (size_t i = 0; i < n; i++) {
            double prob = sum > 0 ? vkm_ref_exp(logits[i], largest, 1) / sum : 0;
            probs[i] = prob < (double)FLT_MIN ? 0 : (float)prob;
        }
        vkm_ref_pad(probs, n, ld);
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
    float *probs = vkm_ref_out(ref, &p->probs);
    uint32_t *ids = vkm_ref_out(ref, &p->ids);
    float *gates = vkm_ref_out(ref, &p->gates);
    softmax(ref->groups[1], logits, probs, p->n, p->ld);
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

/* --- with the host's say --- */

static float noise_of(const struct vkm_params_topk_steered *p, const struct vkm_row *row,
                      uint32_t expert)
{
    const uint32_t key[2] = {p->seed_low, p->seed_high};
    uint32_t sum = 0, words[4];
    for (uint32_t part = 1; part <= 2; part++) {
        vkm_ref_philox(key, (uint32_t[4]){row->position, 0, p->layer, 2 * expert + part}, words);
        for (size_t i = 0; i < 4; i++)
            sum += (words[i] & 0xffff) + (words[i] >> 16);
    }
    return (float)((int32_t)sum - 524280) * p->noise;
}

/* What an expert is ranked by: first whether it is forced or off, then its score. */
static uint64_t standing(const struct vkm_params_topk_steered *p, const struct vkm_row *row,
                         const uint32_t *states, uint32_t expert, float logit)
{
    if (states[expert] != VKM_EXPERT_FREE)
        return states[expert] == VKM_EXPERT_FORCED ? UINT64_MAX : 0;
    float score = p->noise != 0 ? logit + noise_of(p, row, expert) : logit;
    return UINT64_C(1) + vkm_ref_order_key(score);
}

static void choose_steered(const struct vkm_params_topk_steered *p, const struct vkm_row *row,
                           const float *logits, const float *probs, const uint32_t *states,
                           uint32_t *ids, float *gates)
{
    uint64_t best[VKM_MAX_EXPERTS_SORTED];
    uint32_t forced = 0;
    double sum = 0;
    for (uint32_t i = 0; i < p->n; i++) {
        best[i] = standing(p, row, states, i, logits[i]);
        forced += states[i] == VKM_EXPERT_FORCED;
    }
    for (uint32_t i = 0; i < p->n; i++) {
        uint32_t rank = 0;
        for (uint32_t j = 0; j < p->n; j++)
            rank += best[j] > best[i] || (best[j] == best[i] && j < i);
        if (rank >= forced && rank < forced + p->skip)
            continue;
        rank -= rank >= forced ? p->skip : 0;
        if (rank >= p->k)
            continue;
        ids[rank] = i;
        sum += (double)probs[i];
    }
    double factor = (p->normalise ? 1 / (sum + 1e-20) : 1) * (double)p->scale;
    for (uint32_t s = 0; s < p->k; s++)
        gates[s] = (float)((double)probs[ids[s]] * factor);
}

void vkm_ref_topk_steered(const struct vkm_ref *ref, const void *params)
{
    const struct vkm_params_topk_steered *p = params;
    const float *logits = vkm_ref_in(ref, &p->logits);
    float *probs = vkm_ref_out(ref, &p->probs);
    const struct vkm_row *rows = vkm_ref_in(ref, &p->rows);
    const uint32_t *states = vkm_ref_in(ref, &p->states);
    uint32_t *ids = vkm_ref_out(ref, &p->ids);
    float *gates = vkm_ref_out(ref, &p->gates);
    softmax(ref->groups[1], logits, probs, p->n, p->ld);
    for (size_t r = 0; r < ref->groups[1]; r++, ids += p->k, gates += p->k) {
        if (p->vocab == 0) {
            choose_steered(p, &rows[r], logits + r * p->ld, probs + r * p->ld, states, ids, gates);
            continue;
        }
        const uint32_t *table = vkm_ref_in(ref, &p->table);
        for (uint32_t s = 0; s < p->k; s++) {
            uint32_t token = rows[r].token;
            ids[s] = token < p->vocab ? table[token * p->k + s] : p->n;
            bool on = ids[s] < p->n && states[ids[s]] != VKM_EXPERT_OFF;
            gates[s] = on ? p->scale / (float)p->k : 0;
        }
    }
}

/* --- kept --- */

/* The parameters that topk_kept has in common with topk_steered. */
static struct vkm_params_topk_steered steered_of(const struct vkm_params_topk_kept *p)
{
    return (struct vkm_params_topk_steered){
        .logits = p->logits,
        .probs = p->probs,
        .rows = p->rows,
        .states = p->states,
        .table = p->table,
        .ids = p->ids,
        .gates = p->gates,
        .n = p->n,
        .ld = vkm_ld(p->n),
        .k = p->k,
        .normalise = p->normalise,
        .skip = p->skip,
        .vocab = p->vocab,
        .layer = p->layer,
        .seed_low = p->seed_low,
        .seed_high = p->seed_high,
        .scale = p->scale,
        .noise = p->noise,
    };
}

/* The expert that stands highest, and is then out of the way; those at 0 are off. */
static uint32_t take_best(uint64_t *standings, uint32_t n)
{
    uint32_t best = VKM_NO_EXPERT;
    for (uint32_t i = 0; i < n; i++)
        if (standings[i] > (best < n ? standings[best] : 0))
            best = i;
    if (best < n)
        standings[best] = 0;
    return best;
}

/* What was chosen of a row's experts, then the best of those that are left. */
static void rank_row(const struct vkm_params_topk_steered *p, const struct vkm_row *row,
                     const float *logits, const uint32_t *states, const uint32_t *chosen,
                     uint32_t ranks, uint32_t *ids)
{
    uint64_t standings[VKM_MAX_EXPERTS_SORTED];
    for (uint32_t i = 0; i < p->n; i++)
        standings[i] = p->vocab > 0 ? 0 : standing(p, row, states, i, logits[i]);
    for (uint32_t slot = 0; slot < p->k; slot++) {
        ids[slot] = chosen[slot] < p->n ? chosen[slot] : VKM_NO_EXPERT;
        if (ids[slot] < p->n)
            standings[ids[slot]] = 0;
    }
    for (uint32_t slot = p->k; slot < ranks; slot++)
        ids[slot] = take_best(standings, p->n);
}

void vkm_ref_topk_kept(const struct vkm_ref *ref, const void *params)
{
    const struct vkm_params_topk_kept *p = params;
    const struct vkm_params_topk_steered steered = steered_of(p);
    const float *logits = vkm_ref_in(ref, &p->logits);
    const float *probs = vkm_ref_out(ref, &p->probs);
    const struct vkm_row *rows = vkm_ref_in(ref, &p->rows);
    const uint32_t *states = vkm_ref_in(ref, &p->states);
    vkm_ref_topk_steered(ref, &steered);
    const uint32_t *ids = vkm_ref_out(ref, &p->ids);
    const float *gates = vkm_ref_out(ref, &p->gates);
    uint32_t *all_ids = vkm_ref_out(ref, &p->kept_ids);
    float *all_weights = vkm_ref_out(ref, &p->kept_weights);
    for (size_t r = 0; r < ref->groups[1]; r++) {
        if (rows[r].position >= p->positions)
            continue;
        size_t at = (size_t)rows[r].sequence * p->positions + rows[r].position;
        uint32_t *kept = all_ids + at * p->ranks;
        float *weights = all_weights + at * 2 * p->ranks;
        rank_row(&steered, &rows[r], logits + r * steered.ld, states, ids + r * p->k, p->ranks,
                 kept);
        for (uint32_t slot = 0; slot < p->ranks; slot++)
            weights[slot] = kept[slot] < p->n ? probs[r * steered.ld + kept[slot]] : 0;
        for (uint32_t slot = 0; slot < p->ranks; slot++)
            weights[p->ranks + slot] = slot < p->k ? gates[r * p->k + slot] : 0;
    }
}

/* --- counting --- */

static uint32_t mass(float x)
{
    return x > 0 ? (uint32_t)(fminf(x, VKM_MASS_MOST) * VKM_MASS_UNIT) : 0;
}

static void add(uint32_t *words, uint32_t x)
{
    uint32_t before = words[0];
    words[0] += x;
    words[1] += words[0] < before;
}

void vkm_ref_route_count(const struct vkm_ref *ref, const void *params)
{
    const struct vkm_params_route_count *p = params;
    const uint32_t *ids = vkm_ref_in(ref, &p->ids);
    const float *gates = vkm_ref_in(ref, &p->gates), *probs = vkm_ref_in(ref, &p->probs);
    uint32_t *counts = vkm_ref_out(ref, &p->counts);
    uint32_t *pairs = p->use_pairs ? vkm_ref_out(ref, &p->pairs) : NULL;
    for (size_t r = 0; r < p->n_rows; r++) {
        const uint32_t *row = ids + r * p->k;
        for (size_t e = 0; e < p->n; e++)
            add(counts + e * VKM_COUNT_WORDS + 3, mass(probs[r * p->ld + e]));
        for (size_t i = 0; i < p->k; i++) {
            if (row[i] >= p->n)
                continue;
            uint32_t *of = counts + row[i] * VKM_COUNT_WORDS;
            of[0]++;
            add(of + 1, mass(gates[r * p->k + i]));
            for (size_t j = 0; pairs && j < p->k; j++)
                if (row[j] < p->n && row[j] != row[i])
                    pairs[(size_t)row[i] * p->n + row[j]]++;
        }
    }
}
