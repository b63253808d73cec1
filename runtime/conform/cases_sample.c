/* Cases of sampling. */
#include "conform/case.h"
#include "kernels/ref.h"

#include <float.h>
#include <string.h>

enum vocab_kind {
    VOCAB_PLAIN,
    VOCAB_PEAKED, /* a few tokens hold nearly all of the mass */
    VOCAB_TIES,
    VOCAB_SPECIAL, /* NaN and -Inf among the rest, a block of each */
    VOCAB_NAN,
    VOCAB_INFINITE, /* +Inf among the rest */
    VOCAB_COUNT,    /* of those that every size is tried with */
    VOCAB_LAST,     /* the last three tokens hold nearly all of the mass */
    VOCAB_NEAR      /* neighbouring floats */
};

static const char *const vocab_names[] = {
    [VOCAB_PLAIN] = "plain",     [VOCAB_PEAKED] = "peaked", [VOCAB_TIES] = "ties",
    [VOCAB_SPECIAL] = "special", [VOCAB_NAN] = "nan",       [VOCAB_INFINITE] = "infinite",
    [VOCAB_LAST] = "last",       [VOCAB_NEAR] = "near"};

struct sampling {
    uint32_t vocab, rows;
    enum vocab_kind kind;
    float inverse_temperature;
    bool use_index;
    uint32_t top_k; /* the cuts, of the first sequence; others get a little more of each */
    float top_p, min_p;
    uint32_t repeat_last;
};

/* The NaN next to infinity. */
static float least_nan(void)
{
    const uint32_t bits = 0x7f800001u;
    float nan;
    memcpy(&nan, &bits, sizeof(nan));
    return nan;
}

static float vocab_logit(struct vkm_random *r, enum vocab_kind kind, uint32_t i, uint32_t vocab)
{
    uint32_t die = vkm_random_below(r, 64);
    if (kind == VOCAB_NAN || (kind == VOCAB_SPECIAL && (i / VKM_VOCAB_BLOCK == 1 || die < 8)))
        return die % 2 ? NAN : least_nan();
    if (kind == VOCAB_SPECIAL && (i / VKM_VOCAB_BLOCK == 2 || die < 16))
        return -INFINITY;
    if (kind == VOCAB_INFINITE && die < 2)
        return INFINITY;
    if (kind == VOCAB_TIES)
        return (float)(die / 8);
    if (kind == VOCAB_NEAR)
        return 1 + (float)die * 0x1p-23f;
    if ((kind == VOCAB_PEAKED && die != 0) || (kind == VOCAB_LAST && i + 3 < vocab))
        return vkm_random_f32(r, -50, -40);
    return vkm_random_f32(r, -4, 4);
}

/* The inputs that both kernels share. */
struct sampling_data {
    struct vkm_view logits, rows, index, sampler;
    uint32_t ld;
};

static struct sampling_data make_sampling(struct vkm_suite *s, const struct sampling *c)
{
    enum { SEQUENCES = 5 };
    struct sampling_data d = {.ld = vkm_ld(c->vocab)};
    uint32_t batch = c->use_index ? c->rows + 3 : c->rows;
    d.logits = vkm_case_alloc(s, 4 * (uint64_t)c->rows * d.ld);
    d.rows = vkm_case_batch(s, batch, c->vocab, 1000000, SEQUENCES);
    d.sampler = vkm_case_alloc(s, SEQUENCES * sizeof(struct vkm_sampler));
    if (c->use_index)
        d.index = vkm_case_permutation(s, batch);
    float *logits = vkm_case_host(d.logits);
    struct vkm_sampler *samplers = vkm_case_host(d.sampler);
    for (uint32_t r = 0; r < c->rows; r++)
        for (uint32_t i = 0; i < c->vocab; i++)
            logits[r * d.ld + i] = vocab_logit(&s->random, c->kind, i, c->vocab);
    for (uint32_t i = 0; i < SEQUENCES; i++)
        samplers[i] = (struct vkm_sampler){
            .inverse_temperature =
                c->inverse_temperature > 0 ? c->inverse_temperature + 0.125f * (float)i : 0,
            .seed_low = (uint32_t)vkm_random_u64(&s->random),
            .seed_high = (uint32_t)vkm_random_u64(&s->random),
            .top_k = c->top_k > 0 ? c->top_k + i : 0,
            .top_p = (uint32_t)((double)c->top_p * 0x1p32),
            .min_p_distance = c->min_p > 0 ? -logf(c->min_p) / c->inverse_temperature : FLT_MAX,
            .repeat_penalty = 1.25f + 0.25f * (float)i,
            .repeat_last = c->repeat_last + (c->repeat_last < UINT32_MAX - i ? i : 0),
        };
    return d;
}

static bool sampling_case(struct vkm_suite *s, const struct sampling *c)
{
    return vkm_case(s, "vocab=%u rows=%u %s 1/t=%g index=%d top_k=%u top_p=%g min_p=%g last=%u",
                    c->vocab, c->rows, vocab_names[c->kind], (double)c->inverse_temperature,
                    c->use_index, c->top_k, (double)c->top_p, (double)c->min_p, c->repeat_last);
}

static bool cuts(const struct sampling *c)
{
    return c->top_k > 0 || c->top_p > 0 || c->min_p > 0;
}

/* --- penalise --- */

static void penalise(struct vkm_suite *s, const struct sampling *c, uint32_t history)
{
    enum { SEQUENCES = 5 };
    if (!sampling_case(s, c))
        return;
    struct sampling_data d = make_sampling(s, c);
    struct vkm_params_penalise p = {
        .logits = d.logits,
        .rows = d.rows,
        .index = d.index,
        .samplers = d.sampler,
        .history = vkm_case_uints(s, SEQUENCES * (uint64_t)history, c->vocab),
        .y = vkm_case_output(s, (uint64_t)c->rows * d.ld),
        .vocab = c->vocab,
        .ld = d.ld,
        .use_index = c->use_index,
        .history_ld = history,
    };
    struct vkm_row *rows = vkm_case_host(p.rows);
    for (uint32_t r = 0; r < c->rows + (c->use_index ? 3 : 0); r++)
        rows[r].position = r < 2 ? r : vkm_random_below(&s->random, history + 3);
    vkm_case_run(s, (struct vkm_launch){.n_rows = c->rows}, &p);
}

void vkm_cases_penalise(struct vkm_suite *s)
{
    static const uint32_t vocabs[] = {1, 31, 33, 511, 512, 513, 1407, 8192};
    for (size_t i = 0; i < VKM_COUNT(vocabs); i++)
        penalise(s, &(struct sampling){vocabs[i], 6, VOCAB_PLAIN, 1, i % 2, .repeat_last = 64},
                 200);
    penalise(s, &(struct sampling){700, 9, VOCAB_PLAIN, 1, true, .repeat_last = 0}, 64);
    penalise(s, &(struct sampling){700, 9, VOCAB_PLAIN, 0, true, .repeat_last = 1}, 64);
    penalise(s, &(struct sampling){700, 9, VOCAB_TIES, 1, false, .repeat_last = UINT32_MAX}, 1000);
    penalise(s, &(struct sampling){102400, 1, VOCAB_PLAIN, 1, false, .repeat_last = 256}, 4096);
}

/* --- sample_cut --- */

/* Whether float32 exponentials could find another top-p: the share sought lies too near to the
 * share of a run of likeliest tokens. */
static bool on_edge(const float *logits, uint32_t vocab, const struct vkm_sampler *s)
{
    struct vkm_sampler near = *s;
    uint32_t slack = s->top_p / 1000000 + 1;
    near.min_p_distance = FLT_MAX;
    near.top_p = s->top_p - (slack < s->top_p ? slack : 0);
    uint32_t low = vkm_ref_cut(logits, vocab, &near);
    near.top_p = s->top_p < UINT32_MAX - slack ? s->top_p + slack : UINT32_MAX;
    return low != vkm_ref_cut(logits, vocab, &near);
}

/* Moves each row's share to where float32 decides as float64 does. */
static void avoid_cut_edges(const struct sampling *c, const struct sampling_data *d)
{
    const float *logits = vkm_case_host(d->logits);
    const struct vkm_row *rows = vkm_case_host(d->rows);
    const uint32_t *index = c->use_index ? vkm_case_host(d->index) : NULL;
    struct vkm_sampler *samplers = vkm_case_host(d->sampler);
    for (uint32_t tries = 0, i = 0; i < c->rows && tries < 64; i++) {
        struct vkm_sampler *sampler = &samplers[rows[index ? index[i] : i].sequence];
        if (sampler->top_p > 0 && on_edge(logits + i * d->ld, c->vocab, sampler)) {
            sampler->top_p -= sampler->top_p / 997;
            i = UINT32_MAX; /* sequences may have several rows: all are looked at again */
            tries++;
        }
    }
}

static struct vkm_params_sample_cut cut_params(struct vkm_suite *s, const struct sampling *c,
                                               const struct sampling_data *d)
{
    avoid_cut_edges(c, d);
    return (struct vkm_params_sample_cut){
        .logits = d->logits,
        .rows = d->rows,
        .index = d->index,
        .samplers = d->sampler,
        .cut = vkm_case_output(s, c->rows),
        .vocab = c->vocab,
        .ld = d->ld,
        .use_index = c->use_index,
    };
}

static void sample_cut(struct vkm_suite *s, const struct sampling *c)
{
    if (!sampling_case(s, c))
        return;
    struct sampling_data d = make_sampling(s, c);
    struct vkm_params_sample_cut p = cut_params(s, c, &d);
    vkm_case_run(s, (struct vkm_launch){.n_rows = c->rows}, &p);
}

/* Every way to cut, alone and with the others. */
static void cut_shapes(struct vkm_suite *s,
                       void (*run)(struct vkm_suite *, const struct sampling *))
{
    static const struct {
        uint32_t top_k;
        float top_p, min_p;
    } cuts[] = {{1, 0, 0},     {40, 0, 0},        {0, 0.9f, 0},  {0, 0.5f, 0}, {0, 0, 0.05f},
                {7, 0.95f, 0}, {100, 0.9f, 0.1f}, {0, 1e-6f, 0}, {3, 0, 0.9f}, {50, 0.999f, 1e-4f}};
    static const uint32_t vocabs[] = {1, 2, 33, 511, 513, 1407};
    for (size_t i = 0; i < VKM_COUNT(vocabs); i++)
        for (size_t j = 0; j < VKM_COUNT(cuts); j++) {
            struct sampling c = {vocabs[i],
                                 3,
                                 (enum vocab_kind)((i + j) % VOCAB_COUNT),
                                 1,
                                 (i + j) % 2,
                                 cuts[j].top_k,
                                 cuts[j].top_p,
                                 cuts[j].min_p,
                                 0};
            run(s, &c);
        }
    run(s, &(struct sampling){8192, 2, VOCAB_PEAKED, 0.5f, true, 1000, 0.7f, 1e-6f, 0});
    run(s, &(struct sampling){102400, 1, VOCAB_TIES, 1, false, 5000, 0.9f, 0, 0});
}

void vkm_cases_sample_cut(struct vkm_suite *s)
{
    cut_shapes(s, sample_cut);
    sample_cut(s, &(struct sampling){8192, 3, VOCAB_PLAIN, 1, true, 0, 0.9f, 0, 0});
    sample_cut(s, &(struct sampling){102400, 1, VOCAB_PLAIN, 0.8f, false, 40, 0.95f, 0.05f, 0});
    sample_cut(s, &(struct sampling){700, 33, VOCAB_PLAIN, 1, true, 7, 0.8f, 0, 0});
    /* The least share; as many tokens as there are, and some more and fewer. */
    sample_cut(s, &(struct sampling){513, 6, VOCAB_PLAIN, 1, false, 0, 0x1p-32f, 0, 0});
    sample_cut(s, &(struct sampling){35, 9, VOCAB_PLAIN, 1, true, 33, 0, 0, 0});
    sample_cut(s, &(struct sampling){64, 9, VOCAB_NEAR, 1, false, 7, 0.7f, 0, 0});
}

/* --- sample_blocks and sample --- */

static struct vkm_params_sample_blocks blocks_params(struct vkm_suite *s, const struct sampling *c,
                                                     const struct sampling_data *d)
{
    uint64_t blocks = (uint64_t)c->rows * vkm_ceil_div(c->vocab, VKM_VOCAB_BLOCK);
    struct vkm_view cut = {0};
    if (cuts(c)) {
        struct vkm_params_sample_cut p = cut_params(s, c, d);
        vkm_case_reference(s, VKM_K_sample_cut, c->rows, &p);
        cut = p.cut;
    }
    return (struct vkm_params_sample_blocks){
        .logits = d->logits,
        .rows = d->rows,
        .index = d->index,
        .samplers = d->sampler,
        .cut = cut,
        .best = vkm_case_output(s, 2 * blocks),
        .at = vkm_case_output(s, blocks),
        .vocab = c->vocab,
        .ld = d->ld,
        .use_index = c->use_index,
        .use_cut = cuts(c),
    };
}

static void sample_blocks(struct vkm_suite *s, const struct sampling *c)
{
    bool infinite = c->kind == VOCAB_SPECIAL || c->kind == VOCAB_INFINITE;
    /* Infinity times the zero of a greedy row: such sums mean nothing. */
    if ((infinite && c->inverse_temperature == 0) || !sampling_case(s, c))
        return;
    struct sampling_data d = make_sampling(s, c);
    struct vkm_params_sample_blocks p = blocks_params(s, c, &d);
    vkm_case_run(s, (struct vkm_launch){.n_rows = c->rows}, &p);
}

/* How far, as a share of the total mass, u is from the nearest end of a token's share. */
static double margin(const float *logits, uint32_t vocab, uint32_t cut, double factor, double u)
{
    double largest = vkm_ref_largest(logits, 0, vocab), total = 0, sum = 0, nearest = 1;
    for (uint32_t i = 0; i < vocab; i++)
        if (vkm_ref_order_key(logits[i]) >= cut)
            total += vkm_ref_exp(logits[i], largest, factor);
    for (uint32_t i = 0; i < vocab; i++) {
        double mass =
            vkm_ref_order_key(logits[i]) >= cut ? vkm_ref_exp(logits[i], largest, factor) : 0;
        sum += mass;
        if (mass > 0)
            nearest = fmin(nearest, fabs(u - sum / total));
    }
    return nearest;
}

/* Moves each row to a position whose draw float32 sums cannot decide differently. */
static void avoid_edges(const struct sampling *c, const struct sampling_data *d,
                        struct vkm_view cut)
{
    const uint32_t *limits = cuts(c) ? vkm_case_host(cut) : NULL;
    const float *logits = vkm_case_host(d->logits);
    const struct vkm_sampler *samplers = vkm_case_host(d->sampler);
    const uint32_t *index = c->use_index ? vkm_case_host(d->index) : NULL;
    struct vkm_row *rows = vkm_case_host(d->rows);
    for (uint32_t i = 0; i < c->rows; i++) {
        struct vkm_row *row = &rows[index ? index[i] : i];
        const struct vkm_sampler *sampler = &samplers[row->sequence];
        const uint32_t key[2] = {sampler->seed_low, sampler->seed_high};
        uint32_t out[4];
        for (int tries = 0; tries < 64; tries++, row->position++) {
            vkm_ref_philox(key, (uint32_t[4]){row->position, row->sequence, 0, 0}, out);
            if (margin(logits + i * d->ld, c->vocab, limits ? limits[i] : 0,
                       (double)sampler->inverse_temperature,
                       ((out[0] >> 8) + 0.5) * 0x1p-24) > 1e-4)
                break;
        }
    }
}

static void sample(struct vkm_suite *s, const struct sampling *c)
{
    if (!sampling_case(s, c))
        return;
    struct sampling_data d = make_sampling(s, c);
    struct vkm_params_sample_blocks blocks = blocks_params(s, c, &d);
    struct vkm_params_sample p = {
        .logits = d.logits,
        .rows = d.rows,
        .index = d.index,
        .samplers = d.sampler,
        .cut = blocks.cut,
        .best = blocks.best,
        .at = blocks.at,
        .sampled = vkm_case_output(s, c->rows),
        .next_rows = vkm_case_output(s, 4 * (uint64_t)c->rows),
        .vocab = c->vocab,
        .ld = d.ld,
        .use_index = c->use_index,
        .use_cut = cuts(c),
    };
    if (c->inverse_temperature > 0)
        avoid_edges(c, &d, blocks.cut);
    vkm_case_reference(s, VKM_K_sample_blocks, c->rows, &blocks);
    vkm_case_run(s, (struct vkm_launch){.n_rows = c->rows}, &p);
}

static void sampling_shapes(struct vkm_suite *s,
                            void (*run)(struct vkm_suite *, const struct sampling *))
{
    static const uint32_t vocabs[] = {1, 2, 31, 33, 511, 512, 513, 1024, 1407, 8192};
    for (size_t i = 0; i < VKM_COUNT(vocabs); i++)
        for (uint32_t kind = 0; kind < VOCAB_COUNT; kind++) {
            /* Evenly spread mass of many tokens cannot be told apart in float32. */
            if (kind == VOCAB_PLAIN && vocabs[i] > 1407)
                continue;
            struct sampling c = {vocabs[i], 3, (enum vocab_kind)kind, 1, i % 2, .top_k = 0};
            run(s, &c);
            c.inverse_temperature = 0;
            run(s, &c);
        }
    run(s, &(struct sampling){512, 33, VOCAB_PEAKED, 0.75f, true, .top_k = 0});
    run(s, &(struct sampling){700, 100, VOCAB_TIES, 0, false, .top_k = 0});
    run(s, &(struct sampling){700, 9, VOCAB_PLAIN, 4, true, .top_k = 0});
    run(s, &(struct sampling){102400, 1, VOCAB_TIES, 0, false, .top_k = 0});
    /* Several blocks for each lane; mass in the last lane's block. */
    run(s, &(struct sampling){70000, 2, VOCAB_PLAIN, 0, false, .top_k = 0});
    run(s, &(struct sampling){65536, 2, VOCAB_LAST, 1, false, .top_k = 0});
    if (s->params->level == VKM_CONFORM_FULL)
        run(s, &(struct sampling){102400, 4, VOCAB_PEAKED, 1.5f, true, .top_k = 0});
}

void vkm_cases_sample_blocks(struct vkm_suite *s)
{
    sampling_shapes(s, sample_blocks);
    cut_shapes(s, sample_blocks);
}

void vkm_cases_sample(struct vkm_suite *s)
{
    sampling_shapes(s, sample);
    cut_shapes(s, sample);
}

/* --- token_loss --- */

/* Targets: of every kind the likeliest token, the last, one outside the vocabulary, and others. */
static void token_loss(struct vkm_suite *s, const struct sampling *c)
{
    if (!vkm_case(s, "vocab=%u rows=%u %s", c->vocab, c->rows, vocab_names[c->kind]))
        return;
    struct sampling_data d = make_sampling(s, c);
    struct vkm_params_token_loss p = {
        .logits = d.logits,
        .targets = vkm_case_uints(s, c->rows, c->vocab),
        .loss = vkm_case_output(s, c->rows),
        .vocab = c->vocab,
        .ld = d.ld,
    };
    uint32_t *targets = vkm_case_host(p.targets);
    const float *first = vkm_case_host(d.logits);
    targets[0] = 0;
    for (uint32_t i = 1; i < c->vocab; i++)
        if (vkm_ref_order_key(first[i]) > vkm_ref_order_key(first[targets[0]]))
            targets[0] = i;
    if (c->rows > 1)
        targets[1] = c->vocab - 1;
    if (c->rows > 2)
        targets[2] = c->vocab;
    vkm_case_run(s, (struct vkm_launch){.n_rows = c->rows}, &p);
}

void vkm_cases_token_loss(struct vkm_suite *s)
{
    static const uint32_t vocabs[] = {1, 2, 31, 33, 127, 256, 257, 1407, 8192};
    for (size_t i = 0; i < VKM_COUNT(vocabs); i++)
        for (int kind = 0; kind < VOCAB_COUNT; kind++)
            token_loss(s, &(struct sampling){.vocab = vocabs[i], .rows = 5, .kind = kind});
    token_loss(s, &(struct sampling){.vocab = 700, .rows = 5, .kind = VOCAB_LAST});
    token_loss(s, &(struct sampling){.vocab = 102400, .rows = 2, .kind = VOCAB_PLAIN});
}
