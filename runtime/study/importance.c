/* Importance: what a text's loss becomes without one expert. */
#include <math.h>
#include <string.h>

#include "study/windows.h"

/* Tokens whose differences are added up before their spread is looked at: neighbours depend on each
 * other, and of few runs the spread is not known. */
#define RUN 16

struct run {
    struct vkm_windows windows;
    const int32_t *text;
    size_t count;
    size_t n_windows, experts; /* of all layers */
    vkmoe_importance *result;
    uint8_t *states; /* what the caller wants of the experts, with one of them off */
    uint8_t *used;   /* [n_windows, experts]: whether a token chose it */
    uint64_t *chosen;
    float *base, *losses; /* of the whole text with all experts, of a window without one */
};

static vkmoe_status allocate(struct run *r, const vkmoe_allocator *a, vkmoe_error *err)
{
    size_t n = r->experts;
    r->states = vkm_malloc(a, n, 1);
    r->used = vkm_malloc(a, r->n_windows, n);
    r->chosen = vkm_malloc(a, n, sizeof(*r->chosen));
    r->base = vkm_malloc(a, r->count, sizeof(*r->base));
    r->losses = vkm_malloc(a, r->windows.room, sizeof(*r->losses));
    if (!r->states || !r->used || !r->chosen || !r->base || !r->losses)
        return vkm_fail_memory(err, r->n_windows * n, "what is kept of the windows");
    const uint8_t *wanted = r->windows.params->experts;
    memset(r->states, VKMOE_EXPERT_FREE, n);
    if (wanted)
        memcpy(r->states, wanted, n);
    return VKMOE_OK;
}

static void release(struct run *r, const vkmoe_allocator *a)
{
    vkm_free(a, r->states);
    vkm_free(a, r->used);
    vkm_free(a, r->chosen);
    vkm_free(a, r->base);
    vkm_free(a, r->losses);
}

static size_t window_size(const struct run *r, size_t window)
{
    size_t begin = window * r->windows.room;
    return r->count - begin < r->windows.room ? r->count - begin : r->windows.room;
}

/* Tokens of a window that have a loss. */
static size_t window_scored(const struct run *r, size_t window)
{
    return window_size(r, window) - !r->windows.params->bos;
}

/* With all experts. */
static vkmoe_status measure_base(struct run *r, vkmoe_error *err)
{
    vkmoe_importance *out = r->result;
    double sum = 0;
    out->scored = 0;
    memset(out->chosen, 0, r->experts * sizeof(*out->chosen));
    for (size_t w = 0; w < r->n_windows; w++) {
        size_t n = window_scored(r, w);
        vkmoe_status status =
            vkm_windows_eval(&r->windows, r->text + w * r->windows.room, window_size(r, w),
                             r->base + out->scored, r->chosen, err);
        if (status != VKMOE_OK)
            return status;
        for (size_t i = 0; i < n; i++)
            sum += (double)r->base[out->scored + i];
        for (size_t e = 0; e < r->experts; e++) {
            r->used[w * r->experts + e] = n > 0 && r->chosen[e] > 0;
            out->chosen[e] += r->chosen[e];
        }
        out->scored += n;
    }
    if (out->scored == 0)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT, "windows of one token have none to score");
    out->nll = sum / (double)out->scored;
    return VKMOE_OK;
}

/* Differences, added up run by run as they come. */
struct spread {
    double sum, squares, products, counts; /* of runs: s, s * s, s * n, n * n */
    double run, in_run;
    uint64_t scored, runs;
};

static void end_run(struct spread *s)
{
    if (s->in_run == 0)
        return;
    s->sum += s->run;
    s->squares += s->run * s->run;
    s->products += s->run * s->in_run;
    s->counts += s->in_run * s->in_run;
    s->runs++;
    s->run = s->in_run = 0;
}

static void add_difference(struct spread *s, double difference)
{
    s->run += difference;
    s->in_run++;
    s->scored++;
    if (s->in_run == RUN)
        end_run(s);
}

static void finish(struct spread *s, double *harm, double *standard_error)
{
    end_run(s);
    double n = (double)s->scored, runs = (double)s->runs, mean = s->sum / n;
    double about = s->squares - 2 * mean * s->products + mean * mean * s->counts;
    *harm = mean;
    *standard_error = s->runs > 1 ? sqrt(fmax(0, about) * runs / (runs - 1)) / n : 0;
}

static vkmoe_status measure_without(struct run *r, size_t expert, vkmoe_error *err)
{
    struct spread spread = {0};
    uint8_t state = r->states[expert];
    r->states[expert] = VKMOE_EXPERT_OFF;
    vkmoe_status status = vkmoe_session_set_experts(r->windows.session, r->states, err);
    r->states[expert] = state;
    for (size_t w = 0; w < r->n_windows && status == VKMOE_OK; w++) {
        bool used = r->used[w * r->experts + expert] != 0;
        if (used)
            status = vkm_windows_eval(&r->windows, r->text + w * r->windows.room, window_size(r, w),
                                      r->losses, NULL, err);
        for (size_t i = 0; i < window_scored(r, w) && status == VKMOE_OK; i++)
            add_difference(&spread,
                           used ? (double)r->losses[i] - (double)r->base[spread.scored] : 0);
    }
    if (status == VKMOE_OK)
        finish(&spread, &r->result->harm[expert], &r->result->standard_error[expert]);
    r->result->runs = spread.runs;
    return status;
}

static bool is_asked(const struct run *r, const uint8_t *only, size_t expert)
{
    return (!only || only[expert]) && r->states[expert] != VKMOE_EXPERT_OFF;
}

static vkmoe_status measure(struct run *r, const uint8_t *only, vkmoe_error *err)
{
    struct vkm_windows *w = &r->windows;
    w->total = r->n_windows;
    r->result->runs = 0;
    for (size_t e = 0; e < r->experts; e++) {
        r->result->harm[e] = r->result->standard_error[e] = (double)NAN;
        w->total += is_asked(r, only, e) ? r->n_windows : 0;
    }
    vkmoe_status status = measure_base(r, err);
    for (size_t e = 0; e < r->experts && status == VKMOE_OK; e++)
        for (size_t i = 0; i < r->n_windows && is_asked(r, only, e); i++)
            w->total -= !r->used[i * r->experts + e];
    for (size_t e = 0; e < r->experts && status == VKMOE_OK; e++)
        if (is_asked(r, only, e))
            status = measure_without(r, e, err);
    return status;
}

vkmoe_status vkmoe_importance_run(vkmoe_model *model, const int32_t *tokens, size_t count,
                                  const uint8_t *only, const vkmoe_study_params *params,
                                  vkmoe_importance *result, vkmoe_error *err)
{
    static const vkmoe_study_params defaults;
    VKM_REQUIRE(model && result && (tokens || count == 0), err);
    VKM_REQUIRE(result->harm && result->standard_error && result->chosen, err);
    struct run r = {.text = tokens, .count = count, .result = result};
    const vkmoe_study_params *p = params ? params : &defaults;
    if (count + p->bos < 2)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "a text of %zu tokens has none to score, expected at least %d", count,
                        p->bos ? 1 : 2);
    vkmoe_status status = vkm_windows_open(&r.windows, model, p, err);
    if (status == VKMOE_OK) {
        r.n_windows = (size_t)vkm_windows_of(&r.windows, count);
        r.experts = (size_t)r.windows.n_layers * r.windows.n_experts;
        status = allocate(&r, vkm_gpu_allocator(model->gpu), err);
    }
    if (status == VKMOE_OK)
        status = measure(&r, only, err);
    release(&r, vkm_gpu_allocator(model->gpu));
    vkm_windows_close(&r.windows);
    return status;
}
