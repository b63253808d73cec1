/* Whether texts differ in the experts that they use: a permutation test, and families of tests. */
#include "study/permute.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "kernels/ref.h"

#define ASK_EVERY 64 /* permutations between questions whether to stop */

struct test {
    const uint32_t *chosen;
    size_t n_windows;
    uint32_t n_texts, n_experts;
    uint32_t *text_of; /* [n_windows], dealt out */
    double *sums;      /* [n_texts, n_experts] */
    double *parts;     /* [2, n_experts]: of the divergence, as it is and dealt out */
    bool (*stop)(void *user);
    void *user;
};

static void add_up(const struct test *t, const uint32_t *text_of)
{
    memset(t->sums, 0, (size_t)t->n_texts * t->n_experts * sizeof(*t->sums));
    for (size_t w = 0; w < t->n_windows; w++) {
        const uint32_t *row = t->chosen + w * t->n_experts;
        double *sums = t->sums + (size_t)text_of[w] * t->n_experts;
        for (uint32_t e = 0; e < t->n_experts; e++)
            sums[e] += row[e];
    }
}

/* Sums into shares; false where a text has none. */
static bool share(const struct test *t)
{
    for (uint32_t i = 0; i < t->n_texts; i++) {
        double *sums = t->sums + (size_t)i * t->n_experts, total = 0;
        for (uint32_t e = 0; e < t->n_experts; e++)
            total += sums[e];
        for (uint32_t e = 0; e < t->n_experts; e++)
            sums[e] /= total;
        if (total == 0)
            return false;
    }
    return true;
}

/* The divergence of the shares, and what each expert adds to it, which is never negative. */
static double diverge(const struct test *t, double *parts)
{
    double sum = 0, texts = t->n_texts;
    for (uint32_t e = 0; e < t->n_experts; e++) {
        double mean = 0, part = 0;
        for (uint32_t i = 0; i < t->n_texts; i++)
            mean += t->sums[(size_t)i * t->n_experts + e] / texts;
        for (uint32_t i = 0; i < t->n_texts; i++) {
            double p = t->sums[(size_t)i * t->n_experts + e];
            part += p > 0 ? p * log(p / mean) : 0;
        }
        parts[e] = fmax(0, part / texts / log(texts));
        sum += parts[e];
    }
    return sum;
}

/* Deals the windows out by the seed, the same for the same number of the permutation. */
static void shuffle(const struct test *t, uint64_t seed, uint32_t number)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t words[4];
    for (size_t i = 0; i + 1 < t->n_windows; i++) {
        if (i % 4 == 0)
            vkm_ref_philox(key, (uint32_t[4]){number, (uint32_t)(i / 4), 0, UINT32_MAX - 1}, words);
        size_t at = i + (size_t)((uint64_t)words[i % 4] * (t->n_windows - i) >> 32);
        uint32_t text = t->text_of[at];
        t->text_of[at] = t->text_of[i];
        t->text_of[i] = text;
    }
}

/* Sums in another order round otherwise: what is as good as equal counts as equal. */
static bool is_as_large(double value, double observed)
{
    return value >= observed - 1e-12;
}

/* A permutation that leaves a text without choices counts as if it were as different. */
static vkmoe_status permute(const struct test *t, const uint32_t *text_of, uint32_t permutations,
                            uint64_t seed, vkmoe_affinity_layer *out, vkmoe_error *err)
{
    uint32_t n = t->n_experts, as_large = 1;
    double *parts = t->parts + n, sum = 0;
    for (uint32_t e = 0; e < n; e++)
        out->expert_p[e] = 1;
    for (uint32_t i = 0; i < permutations; i++) {
        if (i % ASK_EVERY == 0 && t->stop && t->stop(t->user))
            return vkm_fail(err, VKMOE_CANCELLED, "cancelled");
        memcpy(t->text_of, text_of, t->n_windows * sizeof(*text_of));
        shuffle(t, seed, i);
        add_up(t, t->text_of);
        bool whole = share(t);
        double divergence = whole ? diverge(t, parts) : 1;
        sum += divergence;
        as_large += is_as_large(divergence, out->divergence);
        for (uint32_t e = 0; e < n; e++)
            out->expert_p[e] += !whole || is_as_large(parts[e], t->parts[e]);
    }
    out->chance = permutations > 0 ? sum / permutations : 0;
    out->p = (double)as_large / (permutations + 1.0);
    for (uint32_t e = 0; e < n; e++)
        out->expert_p[e] /= permutations + 1.0;
    return VKMOE_OK;
}

static vkmoe_status check(const uint32_t *text_of, size_t n_windows, uint32_t n_texts,
                          vkmoe_error *err)
{
    if (n_texts < 2)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "%u text has nothing to differ from, expected at least 2", n_texts);
    if (n_windows > UINT32_MAX)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT, "%zu windows are too many", n_windows);
    for (size_t w = 0; w < n_windows; w++)
        if (text_of[w] >= n_texts)
            return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                            "window %zu is of text %u, expected one below %u", w, text_of[w],
                            n_texts);
    return VKMOE_OK;
}

vkmoe_status vkm_affinity_of(const uint32_t *chosen, const uint32_t *text_of, size_t n_windows,
                             uint32_t n_texts, uint32_t n_experts, uint32_t permutations,
                             uint64_t seed, bool (*stop)(void *user), void *user,
                             vkmoe_affinity_layer *out, vkmoe_error *err)
{
    vkmoe_status status = check(text_of, n_windows, n_texts, err);
    if (status != VKMOE_OK)
        return status;
    struct test t = {.chosen = chosen,
                     .n_windows = n_windows,
                     .n_texts = n_texts,
                     .n_experts = n_experts,
                     .text_of = vkm_malloc(NULL, n_windows, sizeof(uint32_t)),
                     .sums = vkm_malloc(NULL, (size_t)n_texts * n_experts, sizeof(double)),
                     .parts = vkm_malloc(NULL, 2 * (size_t)n_experts, sizeof(double)),
                     .stop = stop,
                     .user = user};
    if (!t.text_of || !t.sums || !t.parts) {
        status = vkm_fail_memory(err, n_windows * sizeof(uint32_t), "a permutation test");
    } else {
        add_up(&t, text_of);
        if (!share(&t))
            status = vkm_fail(err, VKMOE_INVALID_ARGUMENT, "a text has no token that chose");
    }
    if (status == VKMOE_OK) {
        out->divergence = diverge(&t, t.parts);
        status = permute(&t, text_of, permutations, seed, out, err);
    }
    vkm_free(NULL, t.text_of);
    vkm_free(NULL, t.sums);
    vkm_free(NULL, t.parts);
    return status;
}

vkmoe_status vkmoe_affinity_of(const uint32_t *chosen, const uint32_t *text_of, size_t n_windows,
                               uint32_t n_texts, uint32_t n_experts, uint32_t permutations,
                               uint64_t seed, vkmoe_affinity_layer *out, vkmoe_error *err)
{
    if (!chosen || !text_of || !out || !out->expert_p)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT, "%s: an argument is missing (NULL)", __func__);
    return vkm_affinity_of(chosen, text_of, n_windows, n_texts, n_experts, permutations, seed, NULL,
                           NULL, out, err);
}

/* --- families of tests --- */

struct ranked {
    double p;
    size_t at;
};

static int by_p(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    return (x->p > y->p) - (x->p < y->p);
}

static void adjust_holm(const struct ranked *order, size_t n, double *adjusted)
{
    double largest = 0;
    for (size_t i = 0; i < n; i++) {
        largest = fmax(largest, fmin(1, order[i].p * (double)(n - i)));
        adjusted[order[i].at] = largest;
    }
}

static void adjust_fdr(const struct ranked *order, size_t n, double *adjusted)
{
    double least = 1;
    for (size_t i = n; i-- > 0;) {
        least = fmin(least, order[i].p * (double)n / (double)(i + 1));
        adjusted[order[i].at] = least;
    }
}

vkmoe_status vkmoe_adjust(vkmoe_adjustment kind, const double *p, size_t n, double *adjusted,
                          vkmoe_error *err)
{
    if ((n > 0 && (!p || !adjusted)) || (kind != VKMOE_ADJUST_HOLM && kind != VKMOE_ADJUST_FDR))
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "%s: expected p values and one of the adjustments", __func__);
    struct ranked *order = vkm_malloc(NULL, n, sizeof(*order));
    if (!order)
        return vkm_fail_memory(err, n * sizeof(*order), "p values");
    for (size_t i = 0; i < n; i++)
        order[i] = (struct ranked){p[i], i};
    qsort(order, n, sizeof(*order), by_p);
    if (kind == VKMOE_ADJUST_HOLM)
        adjust_holm(order, n, adjusted);
    else
        adjust_fdr(order, n, adjusted);
    vkm_free(NULL, order);
    return VKMOE_OK;
}
