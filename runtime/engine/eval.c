/* Evaluation: tokens into the KV cache, logits and routing out. */
#include <string.h>

#include "engine/engine.h"
#include "kernels/ops.h"

/* The tokens of one call, and how many of them are computed. */
struct evaluation {
    const int32_t *tokens;
    size_t count, done;
    const vkmoe_trace *trace; /* or NULL */
};

/* Copies one array of the chunk's routing, per MoE layer, to its place in the caller's. */
static vkmoe_status read_routing(struct vkmoe_session *s, struct vkm_view view, size_t done,
                                 uint32_t n, size_t count, unsigned char *to, vkmoe_error *err)
{
    uint64_t row = s->state.params.routing.k * sizeof(uint32_t);
    vkmoe_status status = VKMOE_OK;
    for (uint32_t i = 0; i < s->model->info.n_moe_layers && status == VKMOE_OK; i++)
        status =
            vkm_buffer_read(s->model->gpu, vkm_view_slice(view, i * s->state.trace_stride, n * row),
                            to + (i * count + done) * row, err);
    return status;
}

/* The padding between rows is read too: one copy costs less than one for each row. */
static vkmoe_status read_logits(struct vkmoe_session *s, const vkmoe_trace *t, size_t done,
                                uint32_t n, vkmoe_error *err)
{
    const vkmoe_allocator *a = vkm_gpu_allocator(s->model->gpu);
    uint32_t vocab = s->model->info.vocab_size, ld = vkm_ld(vocab);
    uint64_t size = (uint64_t)n * ld * sizeof(float);
    float *rows = vkm_malloc(a, (size_t)size, 1);
    if (!rows)
        return vkm_fail_memory(err, (size_t)size, "logits");
    vkmoe_status status =
        vkm_buffer_read(s->model->gpu, vkm_view_slice(s->state.logits, 0, size), rows, err);
    for (uint32_t i = 0; i < n && status == VKMOE_OK; i++)
        memcpy(t->logits + (done + i) * vocab, rows + (size_t)i * ld, vocab * sizeof(float));
    vkm_free(a, rows);
    return status;
}

/* What follows each row is the next token; after the last of all there is none. */
static void set_targets(struct vkmoe_session *s, const struct evaluation *e, uint32_t n)
{
    struct vkm_view view = s->state.targets;
    uint32_t *targets = (uint32_t *)(void *)(view.buffer->mapped + view.offset);
    for (uint32_t i = 0; i < n; i++)
        targets[i] = e->done + i + 1 < e->count ? (uint32_t)e->tokens[e->done + i + 1] : UINT32_MAX;
}

static void read_losses(const struct vkmoe_session *s, const struct evaluation *e, uint32_t n)
{
    struct vkm_view view = s->state.losses;
    bool last = e->done + n == e->count;
    memcpy(e->trace->losses + e->done, view.buffer->mapped + view.offset,
           (n - last) * sizeof(float));
}

static vkmoe_status read_trace(struct vkmoe_session *s, const vkmoe_trace *t, size_t done,
                               uint32_t n, size_t count, vkmoe_error *err)
{
    vkmoe_status status = t->logits ? read_logits(s, t, done, n, err) : VKMOE_OK;
    if (t->topk_ids && status == VKMOE_OK)
        status =
            read_routing(s, s->state.topk_ids, done, n, count, (unsigned char *)t->topk_ids, err);
    if (t->topk_gates && status == VKMOE_OK)
        status = read_routing(s, s->state.topk_gates, done, n, count,
                              (unsigned char *)t->topk_gates, err);
    return status;
}

vkmoe_status vkm_session_count_use(struct vkmoe_session *s, uint32_t n, vkmoe_error *err)
{
    struct vkmoe_model *m = s->model;
    const vkmoe_allocator *a = vkm_gpu_allocator(m->gpu);
    uint64_t size = s->state.topk_ids.size, stride = s->state.trace_stride;
    unsigned char *ids = vkm_malloc(a, (size_t)size, 1);
    if (!ids)
        return vkm_fail_memory(err, (size_t)size, "the experts chosen");
    vkmoe_status status = vkm_buffer_read(m->gpu, s->state.topk_ids, ids, err);
    for (uint32_t i = 0; i < m->info.n_moe_layers && status == VKMOE_OK; i++)
        vkm_usage_add(&m->usage, m->gpu, i, (const uint32_t *)(const void *)(ids + i * stride),
                      (size_t)n * s->state.params.routing.k);
    vkm_free(a, ids);
    return status;
}

/* Of every row. */
static bool wants_logits(const vkmoe_trace *t)
{
    return t && (t->logits || t->losses);
}

/* One step over the next n tokens. Logits: of all rows, of the last, or of none. */
static vkmoe_status eval_chunk(struct vkmoe_session *s, const struct evaluation *e, uint32_t n,
                               vkmoe_error *err)
{
    bool all_logits = wants_logits(e->trace), losses = all_logits && e->trace->losses;
    bool last = e->done + n == e->count;
    struct vkm_row *row = vkm_host_rows(s->state.rows);
    struct vkm_step step = {0};
    struct vkm_batch batch = {.rows = s->state.rows,
                              .n_rows = n,
                              .consecutive = true,
                              .bound = vkm_attention_bound(s->sequence.length + n),
                              .n_logits = all_logits ? n : last,
                              .select_logits = !all_logits,
                              .steer = s->steers};
    vkmoe_step info = {.prompt = true, .done = e->done + n, .total = e->count, .n_tokens = n};
    for (uint32_t i = 0; i < n; i++)
        row[i] = (struct vkm_row){.token = (uint32_t)e->tokens[e->done + i],
                                  .position = s->sequence.length + i};
    uint32_t *logit_row =
        (uint32_t *)(void *)(s->state.logit_rows.buffer->mapped + s->state.logit_rows.offset);
    logit_row[0] = n - 1;
    if (losses)
        set_targets(s, e, n);
    vkmoe_status status =
        vkm_step_prepare(s, &step, &s->state, &batch,
                         losses ? VKM_STEP_FORWARD | VKM_STEP_LOSS : VKM_STEP_FORWARD, err);
    if (status == VKMOE_OK)
        status = vkm_step_run(s, &step, &info, err);
    vkm_step_finish(&step);
    s->memory->routed += status == VKMOE_OK ? n : 0;
    if (status == VKMOE_OK && losses)
        read_losses(s, e, n);
    if (status == VKMOE_OK)
        s->sequence.length += n;
    s->logits_row = all_logits ? n - 1 : 0;
    return status;
}

static vkmoe_status check_tokens(const struct vkmoe_session *s, const int32_t *tokens, size_t count,
                                 vkmoe_error *err)
{
    uint32_t vocab = s->model->info.vocab_size;
    if (count == 0)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT, "there are no tokens to evaluate");
    for (size_t i = 0; i < count; i++) {
        if (tokens[i] < 0 || (uint32_t)tokens[i] >= vocab)
            return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                            "token %zu is %d, outside the vocabulary of %u", i, tokens[i], vocab);
    }
    if (count > UINT32_MAX)
        return vkm_fail(err, VKMOE_CONTEXT_FULL, "%zu tokens do not fit any context", count);
    return VKMOE_OK;
}

/* The caller's arrays must be of the K that is written into them. */
static vkmoe_status check_trace(const struct vkmoe_session *s, const vkmoe_trace *t,
                                vkmoe_error *err)
{
    uint32_t k = s->state.params.routing.k;
    uint32_t expected =
        t && t->experts_per_token > 0 ? t->experts_per_token : s->model->info.n_experts_per_token;
    if (!t || (!t->topk_ids && !t->topk_gates) || k == expected)
        return VKMOE_OK;
    return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                    "the trace has room for %u experts of each token, the session chooses %u",
                    expected, k);
}

static vkmoe_status eval_chunks(struct vkmoe_session *s, struct evaluation *e, vkmoe_error *err)
{
    uint32_t chunk = wants_logits(e->trace) ? s->state.params.max_logits : s->state.params.max_rows;
    vkmoe_status status = VKMOE_OK;
    while (e->done < e->count && status == VKMOE_OK) {
        uint32_t n = e->count - e->done < chunk ? (uint32_t)(e->count - e->done) : chunk;
        if (vkm_session_take_cancel(s, err))
            return VKMOE_CANCELLED;
        status = eval_chunk(s, e, n, err);
        if (status == VKMOE_OK && s->model->n_host_experts > 0)
            status = vkm_session_count_use(s, n, err);
        if (status == VKMOE_OK && e->trace)
            status = read_trace(s, e->trace, e->done, n, e->count, err);
        e->done += n;
    }
    return status;
}

/* Evaluates tokens chunk by chunk; on failure the sequence is what it was. */
static vkmoe_status append(struct vkmoe_session *s, const int32_t *tokens, size_t count,
                           const vkmoe_trace *trace, vkmoe_error *err)
{
    struct evaluation e = {.tokens = tokens, .count = count, .trace = trace};
    uint32_t length = s->sequence.length;
    vkmoe_status status = vkm_session_extend(s, (uint32_t)count, err);
    if (status != VKMOE_OK)
        return status;
    s->has_logits = false;
    s->memory->logits_of = s;
    status = eval_chunks(s, &e, err);
    if (status != VKMOE_OK) {
        vkm_kv_truncate(&s->memory->kv, &s->sequence, length);
        return status;
    }
    s->has_logits = true;
    return VKMOE_OK;
}

vkmoe_status vkmoe_session_eval(vkmoe_session *session, const int32_t *tokens, size_t count,
                                const vkmoe_trace *trace, vkmoe_error *err)
{
    struct vkmoe_session *s = session;
    VKM_REQUIRE(session, err);
    VKM_REQUIRE(tokens || count == 0, err);
    double start = vkm_seconds();
    vkmoe_status status = check_tokens(s, tokens, count, err);
    if (status == VKMOE_OK)
        status = check_trace(s, trace, err);
    if (status == VKMOE_OK && s->pending) {
        int32_t newest = s->tokens.items[s->tokens.count - 1]; /* the list may move */
        status = append(s, &newest, 1, NULL, err);
        s->pending = status != VKMOE_OK;
    }
    if (status == VKMOE_OK)
        status = append(s, tokens, count, trace, err);
    if (status == VKMOE_CANCELLED)
        atomic_store(&s->cancelled, false);
    if (status != VKMOE_OK)
        return status;
    memcpy(s->tokens.items + s->tokens.count, tokens, count * sizeof(*tokens));
    s->tokens.count += count;
    s->stats.prompt_tokens += count;
    s->stats.prompt_seconds += vkm_seconds() - start;
    return VKMOE_OK;
}
