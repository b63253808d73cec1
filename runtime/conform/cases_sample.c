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
    VOCAB_COUNT
};

static const char *const vocab_names[] = {"plain", "peaked", "ties", "special", "nan", "infinite"};

struct sampling {
    uint32_t vocab, rows;
    enum vocab_kind kind;
    float inverse_temperature;
    bool use_index;
};

static float vocab_logit(struct vkm_random *r, enum vocab_kind kind, uint32_t i)
{
    uint32_t die = vkm_random_below(r, 64);
    if (kind == VOCAB_NAN || (kind == VOCAB_SPECIAL && (i / VKM_VOCAB_BLOCK == 1 || die < 8)))
        return NAN;
    if (kind == VOCAB_SPECIAL && (i / VKM_VOCAB_BLOCK == 2 || die < 16))
        return -INFINITY;
    if (kind == VOCAB_INFINITE && die < 2)
        return INFINITY;
    if (kind == VOCAB_TIES)
        return (float)(die / 8);
    if (kind == VOCAB_PEAKED && die != 0)
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
            logits[r * d.ld + i] = vocab_logit(&s->random, c->kind, i);
    for (uint32_t i = 0; i < SEQUENCES; i++)
        samplers[i] = (struct vkm_sampler){
            .inverse_temperature =
                c->inverse_temperature > 0 ? c->inverse_temperature + 0.125f * (float)i : 0,
            .seed_low = (uint32_t)vkm_random_u64(&s->random),
            .seed_high = (uint32_t)vkm_random_u64(&s->random),
        };
    return d;
}

static bool sampling_case(struct vkm_suite *s, const struct sampling *c)
{
    return vkm_case(s, "vocab=%u rows=%u %s 1/t=%g index=%d", c->vocab, c->rows,
                    vocab_names[c->kind], (double)c->inverse_temperature, c->use_index);
}

static struct vkm_params_sample_blocks blocks_params(struct vkm_suite *s, const struct sampling *c,
                                                     const struct sampling_data *d)
{
    uint64_t blocks = (uint64_t)c->rows * vkm_ceil_div(c->vocab, VKM_VOCAB_BLOCK);
    return (struct vkm_params_sample_blocks){
        .logits = d->logits,
        .rows = d->rows,
        .index = d->index,
        .samplers = d->sampler,
        .best = vkm_case_output(s, 2 * blocks),
        .at = vkm_case_output(s, blocks),
        .vocab = c->vocab,
        .ld = d->ld,
        .use_index = c->use_index,
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
static double margin(const float *logits, uint32_t vocab, double factor, double u)
{
    double largest = vkm_ref_largest(logits, 0, vocab), total = 0, sum = 0, nearest = 1;
    for (uint32_t i = 0; i < vocab; i++)
        total += vkm_ref_exp(logits[i], largest, factor);
    for (uint32_t i = 0; i < vocab; i++) {
        double mass = vkm_ref_exp(logits[i], largest, factor);
        sum += mass;
        if (mass > 0)
            nearest = fmin(nearest, fabs(u - sum / total));
    }
    return nearest;
}

/* Moves each row to a position whose draw float32 sums cannot decide differently. */
static void avoid_edges(const struct sampling *c, const struct sampling_data *d)
{
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
            if (margin(logits + i * d->ld, c->vocab, (double)sampler->inverse_temperature,
                       (out[0] >> 8) * 0x1p-24) > 1e-4)
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
        .best = blocks.best,
        .at = blocks.at,
        .sampled = vkm_case_output(s, c->rows),
        .next_rows = vkm_case_output(s, 4 * (uint64_t)c->rows),
        .vocab = c->vocab,
        .ld = d.ld,
        .use_index = c->use_index,
    };
    if (c->inverse_temperature > 0)
        avoid_edges(c, &d);
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
            struct sampling c = {vocabs[i], 3, (enum vocab_kind)kind, 1, i % 2};
            run(s, &c);
            c.inverse_temperature = 0;
            run(s, &c);
        }
    run(s, &(struct sampling){512, 33, VOCAB_PEAKED, 0.75f, true});
    run(s, &(struct sampling){700, 100, VOCAB_TIES, 0, false});
    run(s, &(struct sampling){700, 9, VOCAB_PLAIN, 4, true});
    run(s, &(struct sampling){102400, 1, VOCAB_TIES, 0, false});
    if (s->params->level == VKM_CONFORM_FULL)
        run(s, &(struct sampling){102400, 4, VOCAB_PEAKED, 1.5f, true});
}

void vkm_cases_sample_blocks(struct vkm_suite *s)
{
    sampling_shapes(s, sample_blocks);
}

void vkm_cases_sample(struct vkm_suite *s)
{
    sampling_shapes(s, sample);
}
