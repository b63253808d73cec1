/* Routing parity: which experts the device and the reference choose over the same tokens, and what
 * that does to the logits. */
#include "conform/steps.h"

#include <float.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MARGIN_BOUND 1e-5 /* between the last expert chosen and the first left out, as logits */
#define LOGIT_BOUND 1e-4  /* difference of a logit, in units of the largest */

/* One side's outcome for one sequence of n tokens. */
struct outcome {
    float *logits;    /* [n, vocab] */
    int32_t *experts; /* [moe layers, n, k] */
    double *margins;  /* [moe layers, n]; only the reference's */
};

/* A flip that follows from no other in its sequence. */
struct flip {
    uint32_t layer, position;
    double margin;
};
#define FLIPS_KEPT 8u
/* Margins are counted by decade: below 1e-8, below 1e-7, ..., and at the bound and beyond. */
#define MARGIN_LEAST 1e-8
#define MARGIN_DECADES 5u

struct parity {
    const vkmoe_allocator *allocator;
    struct vkmoe_session *device, *reference;
    const vkmoe_model_info *info;
    struct outcome got, expected;
    int32_t *piece; /* the experts of a part of a sequence */

    uint32_t tokens, clean; /* compared, and of them before any flip in their sequence */
    uint32_t *flips;        /* [moe layers] tokens with another set of experts */
    struct flip worst_flips[FLIPS_KEPT]; /* that follow from no other, by falling margin */
    uint32_t n_first;                    /* all of these */
    uint32_t first[MARGIN_DECADES];      /* the same by margin */
    uint32_t later[MARGIN_DECADES];      /* those that may follow from others, by margin */
    uint32_t agree;                      /* tokens with the same likeliest next token */
    double error, power;                 /* sums of squares over the logits of clean tokens */
    double worst;                        /* difference, in units of the largest logit */
    vkmoe_conform_element element;
};

/* --- memory --- */

static void outcome_drop(struct parity *p, struct outcome *o)
{
    vkm_free(p->allocator, o->logits);
    vkm_free(p->allocator, o->experts);
    vkm_free(p->allocator, o->margins);
}

static bool outcome_make(struct parity *p, struct outcome *o)
{
    size_t n = VKM_STEPS_MAX_TOKENS, layers = p->info->n_moe_layers;
    o->logits = vkm_malloc(p->allocator, n * p->info->vocab_size, sizeof(float));
    o->experts =
        vkm_malloc(p->allocator, layers * n * p->info->n_experts_per_token, sizeof(int32_t));
    o->margins = vkm_malloc(p->allocator, layers * n, sizeof(double));
    return o->logits && o->experts && o->margins;
}

/* --- the reference --- */

/* The gap in router logits between the k-th and the next. */
static double margin(const float *logits, uint32_t n, uint32_t k)
{
    double last = INFINITY; /* the k-th largest, found by taking the largest below, k times */
    uint32_t taken = 0;
    while (taken <= k) {
        double next = -INFINITY;
        uint32_t same = 0;
        for (uint32_t i = 0; i < n; i++) {
            double x = (double)logits[i];
            if (x >= last)
                continue;
            same = x > next ? 1 : same + (x >= next);
            next = x > next ? x : next;
        }
        if (same == 0)
            return INFINITY; /* nothing is left out */
        if (taken < k && taken + same > k)
            return 0; /* a tie across the border */
        if (taken == k)
            return last - next;
        taken += same;
        last = next;
    }
    return INFINITY;
}

/* Runs the step op by op, and looks at the router logits after each choice. */
static void run_reference(struct parity *p, const struct vkm_step *step, uint32_t n)
{
    uint32_t layer = 0;
    struct vkm_stream one = step->stream;
    one.ops.count = 1;
    for (size_t i = 0; i < step->stream.ops.count; i++) {
        one.ops.items = step->stream.ops.items + i;
        vkm_reference_run(p->reference->model->gpu, &one, 0);
        if (one.ops.items[0].kernel != VKM_K_topk)
            continue;
        const struct vkm_params_topk *t = vkm_op_params(&one, one.ops.items);
        const float *logits =
            (const float *)(const void *)(t->logits.buffer->mapped + t->logits.offset);
        for (uint32_t r = 0; r < n && layer < p->info->n_moe_layers; r++)
            p->expected.margins[layer * n + r] = margin(logits + (size_t)r * t->ld, t->n, t->k);
        layer++;
    }
}

static vkmoe_status eval_reference(struct parity *p, const struct vkm_step_tokens *tokens,
                                   vkmoe_error *err)
{
    const struct vkm_state *state = &p->reference->state;
    uint32_t n = tokens->count, vocab = p->info->vocab_size, k = p->info->n_experts_per_token;
    struct vkm_step step;
    vkmoe_status status = vkm_step_of_tokens(p->reference, tokens, &step, err);
    if (status != VKMOE_OK)
        return status;
    run_reference(p, &step, n);
    vkm_step_finish(&step);
    const unsigned char *logits = state->logits.buffer->mapped + state->logits.offset;
    for (uint32_t r = 0; r < n; r++)
        memcpy(p->expected.logits + (size_t)r * vocab,
               logits + (size_t)r * vkm_ld(vocab) * sizeof(float), vocab * sizeof(float));
    for (uint32_t i = 0; i < p->info->n_moe_layers; i++)
        memcpy(p->expected.experts + (size_t)i * n * k,
               state->topk_ids.buffer->mapped + state->topk_ids.offset + i * state->trace_stride,
               (size_t)n * k * sizeof(int32_t));
    return VKMOE_OK;
}

/* --- comparing --- */

/* Whether two lists of k distinct experts hold the same ones. */
static bool same_experts(const int32_t *a, const int32_t *b, uint32_t k)
{
    for (uint32_t i = 0; i < k; i++) {
        bool found = false;
        for (uint32_t j = 0; j < k && !found; j++)
            found = a[i] == b[j];
        if (!found)
            return false;
    }
    return true;
}

static uint32_t decade(double margin)
{
    uint32_t i = 0;
    for (double bound = MARGIN_LEAST; i + 1 < MARGIN_DECADES && !(margin < bound); bound *= 10)
        i++;
    return i;
}

/* Puts a flip into its place among the worst, if it has one. */
static void keep_flip(struct parity *p, struct flip flip)
{
    uint32_t n = vkm_min_u32(p->n_first, FLIPS_KEPT), at = n;
    while (at > 0 && p->worst_flips[at - 1].margin < flip.margin)
        at--;
    p->n_first++;
    if (at == FLIPS_KEPT)
        return;
    memmove(p->worst_flips + at + 1, p->worst_flips + at,
            (vkm_min_u32(n, FLIPS_KEPT - 1) - at) * sizeof(flip));
    p->worst_flips[at] = flip;
}

/* Counts the flips of token r. *spoiled: an earlier one may be the cause of what follows. */
static void compare_experts(struct parity *p, uint32_t n, uint32_t r, bool *spoiled,
                            struct vkm_finding *f)
{
    uint32_t k = p->info->n_experts_per_token;
    for (uint32_t i = 0; i < p->info->n_moe_layers; i++) {
        size_t at = ((size_t)i * n + r) * k;
        if (same_experts(p->got.experts + at, p->expected.experts + at, k))
            continue;
        double gap = p->expected.margins[(size_t)i * n + r];
        p->flips[i]++;
        (*spoiled ? p->later : p->first)[decade(gap)]++;
        if (!*spoiled) {
            keep_flip(p, (struct flip){i, r, gap});
            if (!(gap <= MARGIN_BOUND))
                vkm_finding_fail(f,
                                 "MoE layer %u, position %u: the device chose other experts than "
                                 "the reference, whose margin there is %.3g; at most %.0e may flip",
                                 i, r, gap, MARGIN_BOUND);
        }
        *spoiled = true;
    }
}

static uint32_t likeliest(const float *logits, uint32_t n)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++)
        best = logits[i] > logits[best] ? i : best;
    return best;
}

/* The logits of token r, where nothing has spoiled them. */
static void compare_logits(struct parity *p, uint32_t r, struct vkm_finding *f)
{
    uint32_t vocab = p->info->vocab_size;
    const float *got = p->got.logits + (size_t)r * vocab;
    const float *expected = p->expected.logits + (size_t)r * vocab;
    double largest = 0;
    p->clean++;
    for (uint32_t i = 0; i < vocab; i++)
        largest = fmax(largest, fabs((double)expected[i]));
    for (uint32_t i = 0; i < vocab; i++) {
        double difference = fabs((double)got[i] - (double)expected[i]);
        difference = isnan(difference) ? (double)INFINITY : difference;
        p->error += difference * difference;
        p->power += (double)expected[i] * (double)expected[i];
        if (!(difference <= LOGIT_BOUND * largest))
            vkm_finding_fail(f, "position %u: logit %u is %.9g, expected %.9g", r, i,
                             vkm_plain_nan((double)got[i]), vkm_plain_nan((double)expected[i]));
        if (difference > p->worst * largest) {
            p->worst = difference / largest;
            p->element = (vkmoe_conform_element){"logits", (uint64_t)r * vocab + i,
                                                 vkm_plain_nan((double)got[i]),
                                                 vkm_plain_nan((double)expected[i])};
        }
    }
}

static void compare(struct parity *p, uint32_t n, struct vkm_finding *f)
{
    uint32_t vocab = p->info->vocab_size;
    bool spoiled = false;
    for (uint32_t r = 0; r < n; r++) {
        p->tokens++;
        compare_experts(p, n, r, &spoiled, f);
        p->agree += likeliest(p->got.logits + (size_t)r * vocab, vocab) ==
                    likeliest(p->expected.logits + (size_t)r * vocab, vocab);
        if (!spoiled)
            compare_logits(p, r, f);
    }
}

/* --- the check --- */

/* Appends to the note what fits. */
static void say(struct vkm_finding *f, const char *format, ...) VKM_PRINTF(2, 3);
static void say(struct vkm_finding *f, const char *format, ...)
{
    size_t at = strlen(f->note);
    va_list args;
    va_start(args, format);
    vsnprintf(f->note + at, sizeof(f->note) - at, format, args);
    va_end(args);
}

/* "3 at margins below 1e-08, 1 below 1e-07, ..., 2 wider" */
static void describe_margins(const uint32_t counts[MARGIN_DECADES], struct vkm_finding *f)
{
    double bound = MARGIN_LEAST;
    for (uint32_t i = 0; i + 1 < MARGIN_DECADES; i++, bound *= 10)
        say(f, "%s%u %sbelow %.0e", i ? ", " : "", counts[i], i ? "" : "at margins ", bound);
    say(f, ", %u wider", counts[MARGIN_DECADES - 1]);
}

/* The rate of each layer, and the margins. */
static void describe_flips(const struct parity *p, struct vkm_finding *f)
{
    for (uint32_t i = 0; i < p->info->n_moe_layers; i++)
        say(f, "%s%.3g%%", i ? ", " : " (by layer ", 100.0 * p->flips[i] / p->tokens);
    say(f, "); %u of them follow from no other: ", p->n_first);
    describe_margins(p->first, f);
    say(f, "; of the others ");
    describe_margins(p->later, f);
    say(f, "; the widest of the first:");
    for (uint32_t i = 0; i < p->n_first && i < FLIPS_KEPT; i++)
        say(f, "%s layer %u position %u: %.2g", i ? "," : "", p->worst_flips[i].layer,
            p->worst_flips[i].position, p->worst_flips[i].margin);
    if (p->n_first > FLIPS_KEPT)
        say(f, ", ...");
}

static void describe(const struct parity *p, struct vkm_finding *f)
{
    uint32_t flips = 0, layers = p->info->n_moe_layers;
    f->nmse = !isfinite(p->error) ? (double)INFINITY : p->power > 0 ? p->error / p->power : 0;
    for (uint32_t i = 0; i < layers; i++)
        flips += p->flips[i];
    say(f,
        "likeliest token the same for %u of %u; logits off by at most %.2g of the largest, NMSE "
        "%.2g; %u of %llu routings flipped",
        p->agree, p->tokens, p->worst, f->nmse, flips, (unsigned long long)p->tokens * layers);
    if (flips > 0)
        describe_flips(p, f);
    if (p->worst > 0)
        f->worst = p->element;
}

/* Evaluates a sequence in pieces of so many tokens, each with its own kernels. */
static vkmoe_status eval_device(struct parity *p, const struct vkm_step_tokens *tokens,
                                uint32_t piece, vkmoe_error *err)
{
    uint32_t k = p->info->n_experts_per_token;
    vkmoe_session_reset(p->device);
    for (uint32_t at = 0; at < tokens->count; at += piece) {
        uint32_t n = vkm_min_u32(piece, tokens->count - at);
        vkmoe_trace trace = {.logits = p->got.logits + (size_t)at * p->info->vocab_size,
                             .topk_ids = p->piece};
        vkmoe_status status = vkmoe_session_eval(p->device, tokens->ids + at, n, &trace, err);
        if (status != VKMOE_OK)
            return status;
        for (uint32_t i = 0; i < p->info->n_moe_layers; i++)
            memcpy(p->got.experts + ((size_t)i * tokens->count + at) * k,
                   p->piece + (size_t)i * n * k, (size_t)n * k * sizeof(*p->piece));
    }
    return VKMOE_OK;
}

/* By turns as a prompt, token by token and a few at a time: decoding has kernels of its own. */
static vkmoe_status run_sequences(struct vkm_steps *s, struct parity *p, struct vkm_finding *f,
                                  vkmoe_error *err)
{
    static const uint32_t pieces[] = {VKM_STEPS_MAX_TOKENS, 1, 7};
    const uint32_t kinds = (uint32_t)VKM_COUNT(pieces);
    vkmoe_status status = VKMOE_OK;
    struct vkm_step_tokens tokens;
    uint32_t most = vkm_min_u32(vkm_step_capacity(p->device), vkm_step_capacity(p->reference));
    most = vkm_min_u32(most, (s->count + kinds - 1) / kinds); /* one of each kind at least */
    for (uint32_t i = 0; p->tokens < s->count && status == VKMOE_OK; i++) {
        vkm_step_draw(s, vkm_min_u32(most, s->count - p->tokens), &tokens);
        status = vkm_step_go_on(s, err);
        if (status == VKMOE_OK)
            status = eval_device(p, &tokens, pieces[i % kinds], err);
        if (status == VKMOE_OK)
            status = eval_reference(p, &tokens, err);
        if (status == VKMOE_OK)
            compare(p, tokens.count, f);
    }
    return status;
}

static vkmoe_status run_parity(struct vkm_steps *s, struct vkmoe_model *reference,
                               struct vkm_finding *f, vkmoe_error *err)
{
    struct parity p = {.allocator = vkm_gpu_allocator(s->model->gpu), .info = &s->model->info};
    p.flips = vkm_calloc(p.allocator, p.info->n_moe_layers, sizeof(*p.flips));
    vkmoe_status status = VKMOE_OK;
    p.piece = vkm_malloc(p.allocator, (size_t)VKM_STEPS_MAX_TOKENS * p.info->n_moe_layers,
                         p.info->n_experts_per_token * sizeof(*p.piece));
    bool room = outcome_make(&p, &p.got);
    if (!outcome_make(&p, &p.expected) || !room || !p.flips || !p.piece)
        status = vkm_fail_memory(err, VKM_STEPS_MAX_TOKENS * p.info->vocab_size, "logits");
    if (status == VKMOE_OK)
        status = vkm_step_session(s->model, VKMOE_KV_F32, &p.device, err);
    if (status == VKMOE_OK)
        status = vkm_step_session(reference, VKMOE_KV_F32, &p.reference, err);
    if (status == VKMOE_OK)
        status = run_sequences(s, &p, f, err);
    if (status == VKMOE_OK)
        describe(&p, f);
    vkmoe_session_destroy(p.device);
    vkmoe_session_destroy(p.reference);
    outcome_drop(&p, &p.got);
    outcome_drop(&p, &p.expected);
    vkm_free(p.allocator, p.piece);
    vkm_free(p.allocator, p.flips);
    return status;
}

vkmoe_status vkm_check_routing(struct vkm_steps *s, struct vkm_finding *f, vkmoe_error *err)
{
    vkmoe_device_params params = *s->device_params;
    struct vkmoe_device *device = NULL;
    struct vkmoe_model *reference = NULL;
    params.selector = "reference";
    vkmoe_status status = vkmoe_device_open(&params, &device, err);
    if (status == VKMOE_OK)
        status = vkmoe_model_load(device, s->path, NULL, &reference, err);
    if (status == VKMOE_OK)
        status = run_parity(s, reference, f, err);
    vkmoe_model_destroy(reference);
    vkmoe_device_close(device);
    return status;
}
