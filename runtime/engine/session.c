#include <float.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "engine/engine.h"
#include "kernels/ops.h"

#define DEFAULT_CHUNK 256u
#define DEFAULT_CONTEXT 4096u
#define LOGITS_BYTES (UINT64_C(64) << 20) /* at most, in one step */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static struct vkm_state_params layout_for_chunk(const struct vkm_config *config, uint32_t context,
                                                uint32_t chunk)
{
    uint64_t row_bytes = (uint64_t)vkm_ld(config->vocab_size) * sizeof(float);
    uint64_t logits = LOGITS_BYTES / row_bytes;
    return (struct vkm_state_params){
        .max_rows = chunk,
        .max_logits = logits < 1       ? 1
                      : logits < chunk ? (uint32_t)logits
                                       : chunk,
        .sequences = 1,
        .context = context,
    };
}

static bool fits(const struct vkm_gpu *gpu, const struct vkm_config *config,
                 const struct vkm_state_params *layout)
{
    const struct vkm_caps *caps = vkm_gpu_caps(gpu);
    uint64_t device, host, pairs = (uint64_t)layout->max_rows * config->num_experts_per_tok;
    if (layout->max_rows > caps->max_groups[1] || pairs > UINT32_MAX ||
        (pairs > 0 &&
         vkm_moe_max_tiles((uint32_t)pairs, config->n_routed_experts) > caps->max_groups[1]))
        return false;
    vkm_state_bytes(config, layout, &device, &host);
    return device <= vkm_gpu_max_buffer(gpu);
}

struct vkm_state_params vkm_session_layout(const struct vkm_gpu *gpu,
                                           const struct vkm_config *config,
                                           const vkmoe_session_params *params)
{
    uint32_t context = params ? params->context : 0;
    uint32_t chunk = params ? params->chunk : 0;
    if (context == 0)
        context = vkm_min_u32(config->max_position_embeddings, DEFAULT_CONTEXT);
    if (chunk == 0)
        chunk = DEFAULT_CHUNK;
    chunk = vkm_min_u32(chunk, context);
    struct vkm_state_params layout = layout_for_chunk(config, context, chunk);
    while (layout.max_rows > 1 && !fits(gpu, config, &layout))
        layout = layout_for_chunk(config, context, layout.max_rows / 2);
    return layout;
}

/* --- steps --- */

static void step_finish(struct vkm_step *step)
{
    vkm_commands_destroy(step->commands);
    vkm_stream_finish(&step->stream);
    *step = (struct vkm_step){0};
}

enum step_parts { STEP_FORWARD = 1, STEP_SAMPLE = 2 };

static vkmoe_status step_record(struct vkm_step *step, struct vkm_gpu *gpu,
                                const struct vkm_weights *w, const struct vkm_kv *kv,
                                const struct vkm_state *s, const struct vkm_batch *batch,
                                enum step_parts parts, vkmoe_error *err)
{
    struct vkm_recorder r;
    vkm_stream_init(&step->stream, vkm_gpu_kernels(gpu), vkm_gpu_allocator(gpu));
    vkm_recorder_init(&r, &step->stream, vkm_gpu_caps(gpu));
    if (parts & STEP_FORWARD)
        vkm_forward(&r, w, kv, s, batch);
    if (parts & STEP_SAMPLE)
        vkm_forward_sample(&r, &w->config, s, batch);
    vkm_recorder_finish(&r);
    return vkm_recorder_status(&r, err);
}

/* Records a step and makes it ready to run; on failure it is left empty. */
static vkmoe_status step_prepare(struct vkmoe_session *session, struct vkm_step *step,
                                 const struct vkm_state *state, const struct vkm_batch *batch,
                                 enum step_parts parts, vkmoe_error *err)
{
    struct vkm_gpu *gpu = session->model->gpu;
    vkmoe_status status =
        step_record(step, gpu, &session->model->weights, &session->kv, state, batch, parts, err);
    if (status == VKMOE_OK)
        status = vkm_commands_create(gpu, &step->stream, false, &step->commands, err);
    if (status != VKMOE_OK)
        step_finish(step);
    return status;
}

/* A stream over stand-in memory names the pipelines that a real one will use. */
static vkmoe_status compile_batch(struct vkmoe_model *m, const struct vkm_state *s,
                                  const struct vkm_kv *kv, const struct vkm_batch *batch,
                                  vkmoe_error *err)
{
    struct vkm_step step = {0};
    vkmoe_status status =
        step_record(&step, m->gpu, &m->weights, kv, s, batch, STEP_FORWARD | STEP_SAMPLE, err);
    if (status == VKMOE_OK)
        status = vkm_gpu_compile(m->gpu, &step.stream, err);
    step_finish(&step);
    return status;
}

vkmoe_status vkm_model_compile(struct vkmoe_model *m, uint32_t prompt_tokens, vkmoe_error *err)
{
    const struct vkm_config *c = &m->weights.config;
    const vkmoe_allocator *a = vkm_gpu_allocator(m->gpu);
    struct vkm_state_params params = vkm_session_layout(m->gpu, c, NULL);
    struct vkm_state s;
    struct vkm_buffer stand_ins[2];
    struct vkm_buffer cache = {.size = vkm_kv_bytes(c, 1)};
    struct vkm_buffer **layers = vkm_calloc(a, c->num_hidden_layers, sizeof(struct vkm_buffer *));
    if (!layers)
        return vkm_fail_memory(err, c->num_hidden_layers * sizeof(struct vkm_buffer *), "layers");
    for (uint32_t i = 0; i < c->num_hidden_layers; i++)
        layers[i] = &cache;
    struct vkm_kv kv = {.keys = layers, .values = layers};
    vkm_state_plan(&s, c, &params, stand_ins);
    struct vkm_batch decode = {.rows = s.next, .n_rows = 1, .n_logits = 1};
    /* The last chunk of a prompt, and the full ones before it. */
    uint32_t last = prompt_tokens % params.max_rows;
    bool full = prompt_tokens == 0 || prompt_tokens >= params.max_rows;
    struct vkm_batch prefill = {.rows = s.rows, .n_logits = 1, .select_logits = true};
    vkmoe_status status = compile_batch(m, &s, &kv, &decode, err);
    if (status == VKMOE_OK && last > 0) {
        prefill.n_rows = last;
        status = compile_batch(m, &s, &kv, &prefill, err);
    }
    if (status == VKMOE_OK && full) {
        prefill.n_rows = params.max_rows;
        status = compile_batch(m, &s, &kv, &prefill, err);
    }
    vkm_free(a, layers);
    return status;
}

/* --- sessions --- */

vkmoe_status vkm_session_check(const vkmoe_session_params *params, vkmoe_error *err)
{
    if (params && params->context > VKM_MAX_CONTEXT)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT, "a context of %u tokens; at most %u",
                        params->context, VKM_MAX_CONTEXT);
    return VKMOE_OK;
}

/* Refuses what would not fit beside what the device holds by now. */
static vkmoe_status check_room(const struct vkmoe_model *m, const vkmoe_session_params *params,
                               vkmoe_error *err)
{
    vkmoe_plan plan;
    struct vkm_plan_request request = {
        .gpu = m->gpu,
        .config = &m->weights.config,
        .session = params ? *params : (vkmoe_session_params){0},
        .memory_limit = m->memory_limit,
        .loaded = true,
        .loaded_bytes = m->device_bytes,
    };
    vkmoe_status status = vkm_plan_request(&request, &plan, NULL, err);
    return status == VKMOE_OK ? vkm_plan_refuse(&plan, m->force, err) : status;
}

static vkmoe_status init(struct vkmoe_session *s, const vkmoe_session_params *params,
                         vkmoe_error *err)
{
    struct vkm_gpu *gpu = s->model->gpu;
    const struct vkm_config *c = &s->model->weights.config;
    vkmoe_status status = check_room(s->model, params, err);
    if (status != VKMOE_OK)
        return status;
    struct vkm_state_params layout = vkm_session_layout(gpu, c, params);
    if (status == VKMOE_OK)
        status = vkm_kv_init(&s->kv, gpu, c, vkm_ceil_div(layout.context, VKM_KV_BLOCK), err);
    if (status == VKMOE_OK)
        status = vkm_kv_sequence_init(&s->kv, &s->sequence, layout.context, err);
    if (status == VKMOE_OK)
        status = vkm_state_init(&s->state, gpu, c, &layout, err);
    return status;
}

vkmoe_status vkmoe_session_create(vkmoe_model *model, const vkmoe_session_params *params,
                                  vkmoe_session **out, vkmoe_error *err)
{
    struct vkmoe_session *s = vkm_calloc(vkm_gpu_allocator(model->gpu), 1, sizeof(*s));
    if (!s)
        return vkm_fail_memory(err, sizeof(*s), "a session");
    s->model = model;
    vkmoe_status status = init(s, params, err);
    if (status != VKMOE_OK) {
        vkmoe_session_destroy(s);
        return status;
    }
    *out = s;
    return VKMOE_OK;
}

void vkmoe_session_destroy(vkmoe_session *session)
{
    if (!session)
        return;
    vkm_usage_store(&session->model->usage, session->model->gpu);
    step_finish(&session->decode);
    vkm_state_finish(&session->state);
    if (session->kv.gpu)
        vkm_kv_sequence_finish(&session->kv, &session->sequence);
    vkm_kv_finish(&session->kv);
    vkm_free(vkm_gpu_allocator(session->model->gpu), session);
}

/* Makes room for `extra` positions and tells the device where they lie. */
static vkmoe_status extend(struct vkmoe_session *s, uint32_t extra, vkmoe_error *err)
{
    uint32_t before = s->sequence.count;
    if (extra > s->state.params.context - s->sequence.length)
        return vkm_fail(err, VKMOE_CONTEXT_FULL,
                        "the context is full: it holds %u of %u tokens and %u more do not fit",
                        s->sequence.length, s->state.params.context, extra);
    vkmoe_status status = vkm_kv_extend(&s->kv, &s->sequence, extra, err);
    if (status == VKMOE_OK)
        memcpy(s->state.blocks.buffer->mapped + s->state.blocks.offset + before * sizeof(uint32_t),
               s->sequence.blocks + before, (s->sequence.count - before) * sizeof(uint32_t));
    return status;
}

static struct vkm_row *host_rows(struct vkm_view view)
{
    return (struct vkm_row *)(void *)(view.buffer->mapped + view.offset);
}

/* --- evaluation --- */

/* Copies one array of the chunk's routing, per MoE layer, to its place in the caller's. */
static vkmoe_status read_routing(struct vkmoe_session *s, struct vkm_view view, size_t done,
                                 uint32_t n, size_t count, unsigned char *to, vkmoe_error *err)
{
    uint64_t row = s->model->info.n_experts_per_token * sizeof(uint32_t);
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

/* Counts which experts the chunk chose, for the next time that not all fit on the device. */
static vkmoe_status count_use(struct vkmoe_session *s, uint32_t n, vkmoe_error *err)
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
                      (size_t)n * m->info.n_experts_per_token);
    vkm_free(a, ids);
    return status;
}

/* One step over n tokens. Logits: of all rows, of the last, or of none. */
static vkmoe_status eval_chunk(struct vkmoe_session *s, const int32_t *tokens, uint32_t n,
                               bool all_logits, bool last, vkmoe_error *err)
{
    struct vkm_row *row = host_rows(s->state.rows);
    struct vkm_step step = {0};
    struct vkm_batch batch = {.rows = s->state.rows,
                              .n_rows = n,
                              .n_logits = all_logits ? n : last,
                              .select_logits = !all_logits};
    for (uint32_t i = 0; i < n; i++)
        row[i] = (struct vkm_row){.token = (uint32_t)tokens[i], .position = s->sequence.length + i};
    uint32_t *logit_row =
        (uint32_t *)(void *)(s->state.logit_rows.buffer->mapped + s->state.logit_rows.offset);
    logit_row[0] = n - 1;
    vkmoe_status status = step_prepare(s, &step, &s->state, &batch, STEP_FORWARD, err);
    if (status == VKMOE_OK)
        status = vkm_commands_run(step.commands, err);
    step_finish(&step);
    if (status == VKMOE_OK)
        s->sequence.length += n;
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

/* Evaluates tokens chunk by chunk; on failure the sequence is what it was. */
static vkmoe_status append(struct vkmoe_session *s, const int32_t *tokens, size_t count,
                           const vkmoe_trace *trace, vkmoe_error *err)
{
    bool all_logits = trace && trace->logits;
    uint32_t chunk = all_logits ? s->state.params.max_logits : s->state.params.max_rows;
    uint32_t length = s->sequence.length;
    vkmoe_status status = extend(s, (uint32_t)count, err);
    if (status != VKMOE_OK)
        return status;
    s->has_logits = false;
    for (size_t done = 0; done < count && status == VKMOE_OK;) {
        uint32_t n = count - done < chunk ? (uint32_t)(count - done) : chunk;
        status = eval_chunk(s, tokens + done, n, all_logits, done + n == count, err);
        if (status == VKMOE_OK && s->model->n_host_experts > 0)
            status = count_use(s, n, err);
        if (status == VKMOE_OK && trace)
            status = read_trace(s, trace, done, n, count, err);
        s->logits_row = all_logits ? n - 1 : 0;
        done += n;
    }
    if (status != VKMOE_OK) {
        vkm_kv_truncate(&s->kv, &s->sequence, length);
        return status;
    }
    s->last_token = tokens[count - 1];
    s->pending = false;
    s->has_logits = true;
    return VKMOE_OK;
}

vkmoe_status vkmoe_session_eval(vkmoe_session *session, const int32_t *tokens, size_t count,
                                const vkmoe_trace *trace, vkmoe_error *err)
{
    struct vkmoe_session *s = session;
    double start = now();
    vkmoe_status status = check_tokens(s, tokens, count, err);
    if (status == VKMOE_OK && s->pending)
        status = append(s, &s->last_token, 1, NULL, err);
    if (status == VKMOE_OK)
        status = append(s, tokens, count, trace, err);
    if (status != VKMOE_OK)
        return status;
    s->stats.prompt_tokens += count;
    s->stats.prompt_seconds += now() - start;
    return VKMOE_OK;
}

/* --- generation --- */

static bool is_eos(const struct vkmoe_session *s, int32_t token)
{
    const struct vkm_generation_defaults *g = &s->model->generation;
    for (uint32_t i = 0; i < g->n_eos; i++) {
        if (g->eos_token_ids[i] == token)
            return true;
    }
    return token == s->model->info.eos_token;
}

static void set_sampler(struct vkmoe_session *s, const vkmoe_generate_params *p)
{
    struct vkm_view view = s->state.samplers;
    struct vkm_sampler *sampler = (struct vkm_sampler *)(void *)(view.buffer->mapped + view.offset);
    *sampler = (struct vkm_sampler){
        .inverse_temperature = p->temperature > 0 ? fminf(1.0f / p->temperature, FLT_MAX) : 0.0f,
        .seed_low = (uint32_t)p->seed,
        .seed_high = (uint32_t)(p->seed >> 32),
    };
}

/* Samples from logits that are already there. */
static vkmoe_status choose(struct vkmoe_session *s, const struct vkm_batch *batch, vkmoe_error *err)
{
    struct vkm_step step = {0};
    struct vkm_state at = s->state;
    uint64_t row_bytes = vkm_ld(s->model->info.vocab_size) * sizeof(float);
    at.logits = vkm_view_slice(s->state.logits, s->logits_row * row_bytes, row_bytes);
    host_rows(s->state.next)[0] =
        (struct vkm_row){.token = (uint32_t)s->last_token, .position = s->sequence.length - 1};
    vkmoe_status status = step_prepare(s, &step, &at, batch, STEP_SAMPLE, err);
    if (status == VKMOE_OK)
        status = vkm_commands_run(step.commands, err);
    step_finish(&step);
    return status;
}

/* Computes the pending token and samples from what follows. */
static vkmoe_status decode(struct vkmoe_session *s, const struct vkm_batch *batch, vkmoe_error *err)
{
    vkmoe_status status = extend(s, 1, err);
    if (status != VKMOE_OK)
        return status;
    host_rows(s->state.next)[0] =
        (struct vkm_row){.token = (uint32_t)s->last_token, .position = s->sequence.length};
    if (!s->decode.commands)
        status = step_prepare(s, &s->decode, &s->state, batch, STEP_FORWARD | STEP_SAMPLE, err);
    if (status == VKMOE_OK)
        status = vkm_commands_run(s->decode.commands, err);
    if (status == VKMOE_OK) {
        s->sequence.length++;
        s->pending = false;
        s->has_logits = true;
        s->logits_row = 0;
    }
    return status;
}

static vkmoe_status next_token(struct vkmoe_session *s, int32_t *token, vkmoe_error *err)
{
    struct vkm_batch batch = {.rows = s->state.next, .n_rows = 1, .n_logits = 1};
    vkmoe_status status = s->pending ? decode(s, &batch, err) : choose(s, &batch, err);
    if (status == VKMOE_OK)
        *token = *(int32_t *)(void *)(s->state.sampled.buffer->mapped + s->state.sampled.offset);
    return status;
}

vkmoe_status vkmoe_session_generate(vkmoe_session *session, const vkmoe_generate_params *params,
                                    size_t *count, vkmoe_error *err)
{
    struct vkmoe_session *s = session;
    size_t n = 0;
    double start = now();
    vkmoe_status status = VKMOE_OK;
    if (!s->pending && !s->has_logits)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "nothing was evaluated yet: there is nothing to continue");
    set_sampler(s, params);
    while (n < params->max_tokens && status == VKMOE_OK) {
        int32_t token;
        status = next_token(s, &token, err);
        if (status != VKMOE_OK || (!params->ignore_eos && is_eos(s, token)))
            break;
        s->last_token = token;
        s->pending = true;
        n++;
        if (params->on_token && !params->on_token(params->user, token))
            break;
    }
    s->stats.generated_tokens += n;
    s->stats.generation_seconds += now() - start;
    if (count)
        *count = n;
    return status;
}

void vkmoe_session_reset(vkmoe_session *session)
{
    vkm_kv_truncate(&session->kv, &session->sequence, 0);
    session->pending = false;
    session->has_logits = false;
}

uint32_t vkmoe_session_length(const vkmoe_session *session)
{
    return session->sequence.length + session->pending;
}

uint32_t vkmoe_session_context(const vkmoe_session *session)
{
    return session->state.params.context;
}

void vkmoe_session_get_stats(const vkmoe_session *session, vkmoe_session_stats *stats)
{
    *stats = session->stats;
    stats->device_bytes = vkm_gpu_memory_used(session->model->gpu);
}
