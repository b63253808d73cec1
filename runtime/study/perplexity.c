/* Perplexity: the mean loss of a text's tokens, window by window. */
#include "vkmoe/eval.h"

#include <math.h>
#include <string.h>

#include "engine/engine.h"

struct run {
    struct vkmoe_session *session;
    const vkmoe_perplexity_params *params;
    const int32_t *text;
    uint32_t room;   /* tokens of text in a window */
    uint32_t step;   /* that a window but the first adds */
    int32_t *tokens; /* of the window, BOS first where wanted */
    float *losses;
};

/* A window of the text, and where the tokens begin that it is there to score. */
struct window {
    uint64_t begin, score, end;
};

static struct window window_at(const struct run *r, const vkmoe_perplexity *p)
{
    uint64_t step = p->next == 0 ? r->room : r->step;
    struct window w = {.score = p->next, .end = p->next + step};
    if (w.end > p->tokens)
        w.end = p->tokens;
    if (r->step == r->room)
        w.begin = w.score;
    else
        w.begin = w.end > r->room ? w.end - r->room : 0;
    return w;
}

static void finish(vkmoe_perplexity *p)
{
    double n = (double)p->scored, w = (double)p->windows;
    if (p->scored == 0)
        return;
    p->nll = p->sum / n;
    p->perplexity = exp(p->nll);
    double spread =
        p->sum_squares - 2 * p->nll * p->sum_products + p->nll * p->nll * p->count_squares;
    p->standard_error = p->windows > 1 ? sqrt(fmax(0, spread) * w / (w - 1)) / n : 0;
    p->bits_per_byte = p->bytes > 0 ? p->sum / log(2) / (double)p->bytes : 0;
}

/* losses[i] is that of tokens[i + 1]. */
static void take(const struct run *r, const struct window *w, vkmoe_perplexity *p)
{
    uint64_t first = r->params->bos || w->score > w->begin ? w->score : w->score + 1;
    const float *loss = r->losses + (first - w->begin) - !r->params->bos;
    double sum = 0, n = (double)(w->end - first);
    for (uint64_t i = first; i < w->end; i++) {
        sum += (double)loss[i - first];
        if (r->params->token_bytes)
            p->bytes += r->params->token_bytes[i];
    }
    p->sum += sum;
    p->sum_squares += sum * sum;
    p->sum_products += sum * n;
    p->count_squares += n * n;
    p->scored += w->end - first;
    p->windows++;
    p->next = w->end;
    finish(p);
}

static vkmoe_status score_window(const struct run *r, vkmoe_perplexity *p, vkmoe_error *err)
{
    struct window w = window_at(r, p);
    bool bos = r->params->bos;
    size_t n = (size_t)(w.end - w.begin);
    const vkmoe_trace trace = {.losses = r->losses};
    if (bos)
        r->tokens[0] = r->params->bos_token;
    memcpy(r->tokens + bos, r->text + w.begin, n * sizeof(*r->tokens));
    vkmoe_session_reset(r->session);
    vkmoe_status status = vkmoe_session_eval(r->session, r->tokens, n + bos, &trace, err);
    if (status == VKMOE_OK)
        take(r, &w, p);
    return status;
}

static vkmoe_status score_all(const struct run *r, vkmoe_perplexity *p, vkmoe_error *err)
{
    vkmoe_status status = VKMOE_OK;
    while (p->next < p->tokens && status == VKMOE_OK) {
        if (!r->params->bos && p->tokens - p->next == 1 && r->step == r->room) {
            p->next++; /* a window of one token has nothing to score */
        } else {
            status = score_window(r, p, err);
        }
        if (status == VKMOE_OK && r->params->progress && !r->params->progress(r->params->user, p))
            status = vkm_fail(err, VKMOE_CANCELLED, "cancelled");
    }
    return status;
}

static vkmoe_status check(const vkmoe_perplexity_params *p, size_t count, vkmoe_error *err)
{
    if (count + p->bos < 2)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "a text of %zu tokens has none to score, expected at least %d", count,
                        p->bos ? 1 : 2);
    if (p->resume && (p->resume->tokens != count || p->resume->next > count))
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "the measurement to go on from is of %llu tokens, the text has %zu",
                        (unsigned long long)p->resume->tokens, count);
    return VKMOE_OK;
}

/* A session of one window, and room for it. */
static vkmoe_status open_run(struct run *r, struct vkmoe_model *m, vkmoe_error *err)
{
    const vkmoe_allocator *a = vkm_gpu_allocator(m->gpu);
    const vkmoe_session_params params = {.context = r->params->context,
                                         .chunk = r->params->chunk,
                                         .routing = r->params->routing,
                                         .kv = r->params->kv};
    vkmoe_status status = vkmoe_session_create(m, &params, &r->session, err);
    if (status == VKMOE_OK && r->params->experts)
        status = vkmoe_session_set_experts(r->session, r->params->experts, err);
    if (status != VKMOE_OK)
        return status;
    uint32_t context = vkmoe_session_context(r->session);
    if (context < 2)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT, "windows of %u tokens, expected at least 2",
                        context);
    r->room = context - r->params->bos;
    r->step = r->params->stride > 0 ? r->params->stride : r->room;
    if (r->step > r->room)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "a stride of %u tokens, expected at most the %u of a window", r->step,
                        r->room);
    r->tokens = vkm_malloc(a, context, sizeof(*r->tokens));
    r->losses = vkm_malloc(a, context, sizeof(*r->losses));
    if (!r->tokens || !r->losses)
        return vkm_fail_memory(err, context * sizeof(*r->tokens), "a window");
    return VKMOE_OK;
}

vkmoe_status vkmoe_perplexity_run(vkmoe_model *model, const int32_t *tokens, size_t count,
                                  const vkmoe_perplexity_params *params, vkmoe_perplexity *result,
                                  vkmoe_error *err)
{
    static const vkmoe_perplexity_params defaults;
    VKM_REQUIRE(model && result, err);
    VKM_REQUIRE(tokens || count == 0, err);
    struct run r = {.params = params ? params : &defaults, .text = tokens};
    vkmoe_status status = check(r.params, count, err);
    if (status != VKMOE_OK)
        return status;
    vkmoe_perplexity p = {.tokens = count};
    if (r.params->resume)
        p = *r.params->resume;
    status = open_run(&r, model, err);
    if (status == VKMOE_OK && r.params->on_session)
        r.params->on_session(r.params->user, r.session);
    if (status == VKMOE_OK)
        status = score_all(&r, &p, err);
    if (r.session && r.params->on_session)
        r.params->on_session(r.params->user, NULL);
    vkmoe_session_destroy(r.session);
    vkm_free(vkm_gpu_allocator(model->gpu), r.tokens);
    vkm_free(vkm_gpu_allocator(model->gpu), r.losses);
    *result = p;
    return status;
}
