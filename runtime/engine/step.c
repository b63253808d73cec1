/* Steps on the device: recording, running, and compiling ahead. */
#include <time.h>

#include "engine/engine.h"
#include "engine/sampling.h"
#include "gpu/once.h"
#include "kernels/ops.h"

#define DEFAULT_CHUNK 256u /* where memory and device suggest no larger one */
#define DEFAULT_CONTEXT 4096u
#define LOGITS_BYTES (UINT64_C(64) << 20) /* at most, in one step */

double vkm_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static struct vkm_state_params layout_for_chunk(const struct vkm_gpu *gpu,
                                                const struct vkm_config *config, uint32_t context,
                                                uint32_t chunk, const struct vkm_router *routing,
                                                vkmoe_kv kv)
{
    const struct vkm_attention_shape shape = {.n_heads = config->num_attention_heads,
                                              .head_dim = config->head_dim,
                                              .n_rows = chunk,
                                              .kv = vkm_kv_dtype(kv)};
    uint64_t row_bytes = (uint64_t)vkm_ld(config->vocab_size) * sizeof(float);
    uint64_t logits = LOGITS_BYTES / row_bytes;
    return (struct vkm_state_params){
        .max_rows = chunk,
        .max_logits = logits < 1       ? 1
                      : logits < chunk ? (uint32_t)logits
                                       : chunk,
        .sequences = 1,
        .context = context,
        .routing = *routing,
        .kv = kv,
        .parts = vkm_attention_max_parts(vkm_gpu_caps(gpu), &shape, vkm_attention_bound(context)),
    };
}

static bool fits(const struct vkm_gpu *gpu, const struct vkm_config *config,
                 const struct vkm_state_params *layout)
{
    const struct vkm_caps *caps = vkm_gpu_caps(gpu);
    uint64_t pairs = (uint64_t)layout->max_rows * layout->routing.k;
    if (layout->max_rows > caps->max_groups[1] || pairs > UINT32_MAX ||
        (pairs > 0 && vkm_moe_list_tiles((uint32_t)pairs, config->n_routed_experts,
                                         VKM_TILE_LEAST) > caps->max_groups[1]))
        return false;
    return vkm_state_bytes(config, layout).device <= vkm_gpu_max_buffer(gpu);
}

struct vkm_state_params vkm_session_layout(const struct vkm_gpu *gpu,
                                           const struct vkm_config *config,
                                           const vkmoe_session_params *params)
{
    uint32_t context = params ? params->context : 0;
    uint32_t chunk = params ? params->chunk : 0;
    vkmoe_kv kv = params ? params->kv : VKMOE_KV_F32;
    struct vkm_router routing = {0};
    (void)vkm_router_resolve(config, params ? &params->routing : NULL, &routing,
                             NULL); /* checked */
    routing.count_pairs = params && params->count_pairs && routing.k > 0;
    routing.count = routing.count_pairs || (params && params->count_routing && routing.k > 0);
    routing.keep = params && routing.k > 0 ? params->keep_ranks : 0;
    if (context == 0)
        context = vkm_min_u32(config->max_position_embeddings, DEFAULT_CONTEXT);
    if (chunk == 0)
        chunk = DEFAULT_CHUNK;
    chunk = vkm_min_u32(chunk, context);
    struct vkm_state_params layout = layout_for_chunk(gpu, config, context, chunk, &routing, kv);
    while (layout.max_rows > 1 && !fits(gpu, config, &layout))
        layout = layout_for_chunk(gpu, config, context, layout.max_rows / 2, &routing, kv);
    return layout;
}

/* --- recording and running --- */

void vkm_step_finish(struct vkm_step *step)
{
    vkm_commands_destroy(step->commands);
    vkm_stream_finish(&step->stream);
    *step = (struct vkm_step){0};
}

vkmoe_status vkm_step_record(struct vkm_step *step, struct vkm_gpu *gpu,
                             const struct vkm_weights *w, const struct vkm_kv *kv,
                             const struct vkm_state *s, const struct vkm_batch *batch,
                             enum vkm_step_parts parts, vkmoe_error *err)
{
    struct vkm_recorder r;
    *step = (struct vkm_step){0};
    vkm_stream_init(&step->stream, vkm_gpu_kernels(gpu), vkm_gpu_allocator(gpu));
    vkm_recorder_init(&r, &step->stream, vkm_gpu_caps(gpu));
    if (parts & VKM_STEP_FORWARD)
        vkm_forward(&r, w, kv, s, batch);
    if (parts & VKM_STEP_LOSS)
        vkm_forward_loss(&r, &w->config, s, batch);
    if (parts & VKM_STEP_SAMPLE)
        vkm_forward_sample(&r, &w->config, s, batch);
    vkm_recorder_finish(&r);
    vkmoe_status status = vkm_recorder_status(&r, err);
    if (status != VKMOE_OK)
        vkm_step_finish(step);
    return status;
}

vkmoe_status vkm_step_prepare(struct vkmoe_session *s, struct vkm_step *step,
                              const struct vkm_state *state, const struct vkm_batch *batch,
                              enum vkm_step_parts parts, vkmoe_error *err)
{
    struct vkm_gpu *gpu = s->model->gpu;
    double start = vkm_seconds();
    vkmoe_status status =
        vkm_step_record(step, gpu, &s->model->weights, &s->memory->kv, state, batch, parts, err);
    if (status != VKMOE_OK)
        return status;
    status = vkm_commands_create(gpu, &step->stream, s->profile && s->profile->timed,
                                 &step->commands, err);
    if (s->profile)
        s->profile->record_seconds += vkm_seconds() - start;
    if (status != VKMOE_OK)
        vkm_step_finish(step);
    return status;
}

/* What the host was at between two moments: at work, or waiting for the device. */
static void add_host_time(struct vkm_profile *p, const struct vkm_gpu *gpu, double start,
                          double waited)
{
    double waits = vkm_gpu_waited(gpu) - waited;
    p->wait_seconds += waits;
    p->submit_seconds += vkm_seconds() - start - waits;
}

vkmoe_status vkm_step_start(struct vkmoe_session *s, struct vkm_step *step, vkmoe_error *err)
{
    double waited = vkm_gpu_waited(s->model->gpu);
    step->started = vkm_seconds();
    vkmoe_status status = vkm_commands_start(step->commands, &s->cancelled, err);
    if (s->profile)
        add_host_time(s->profile, s->model->gpu, step->started, waited);
    return status;
}

/* Before the sequence is told that it has grown. */
static vkmoe_status add_to_profile(struct vkmoe_session *s, const struct vkm_step *step,
                                   const vkmoe_step *info, vkmoe_error *err)
{
    const struct vkm_profile_rows rows = {1, info->n_tokens, s->sequence.length};
    return vkm_profile_step(s->profile, &step->stream, step->commands, &s->state,
                            &s->model->weights.config, &rows, err);
}

vkmoe_status vkm_step_end(struct vkmoe_session *s, struct vkm_step *step, vkmoe_step *info,
                          vkmoe_error *err)
{
    double start = vkm_seconds(), waited = vkm_gpu_waited(s->model->gpu);
    vkmoe_status status = vkm_commands_end(step->commands, err);
    double now = vkm_seconds(), before = s->step_ended;
    info->seconds = now - (step->started > before ? step->started : before);
    s->step_ended = now;
    if (s->profile) {
        add_host_time(s->profile, s->model->gpu, start, waited);
        s->profile->step_seconds += info->seconds;
    }
    if (status == VKMOE_OK && s->profile)
        status = add_to_profile(s, step, info, err);
    if (status != VKMOE_OK || !s->on_step)
        return status;
    s->told = info->n_tokens;
    bool go_on = s->on_step(s->user, info);
    s->told = 0;
    return go_on ? VKMOE_OK : vkm_fail(err, VKMOE_CANCELLED, "cancelled");
}

vkmoe_status vkm_step_run(struct vkmoe_session *s, struct vkm_step *step, vkmoe_step *info,
                          vkmoe_error *err)
{
    vkmoe_status status = vkm_step_start(s, step, err);
    return status == VKMOE_OK ? vkm_step_end(s, step, info, err) : status;
}

vkmoe_status vkm_step_copy_block(struct vkmoe_session *s, uint32_t from, uint32_t to,
                                 vkmoe_error *err)
{
    struct vkm_once once;
    vkm_once_begin(&once, s->model->gpu);
    vkm_forward_copy_block(&once.recorder, &s->memory->kv, from, to);
    return vkm_once_run(&once, err);
}

/* --- compiling ahead --- */

/* A stream over stand-in memory names the pipelines that a real one will use. */
static vkmoe_status compile_batch(struct vkmoe_model *m, const struct vkm_state *s,
                                  const struct vkm_kv *kv, const struct vkm_batch *batch,
                                  const atomic_bool *cancel, vkmoe_error *err)
{
    struct vkm_step step = {0};
    vkmoe_status status = vkm_step_record(&step, m->gpu, &m->weights, kv, s, batch,
                                          VKM_STEP_FORWARD | VKM_STEP_SAMPLE, err);
    if (status == VKMOE_OK)
        status = vkm_gpu_compile(m->gpu, &step.stream, cancel, err);
    vkm_step_finish(&step);
    return status;
}

vkmoe_status vkm_model_compile(struct vkmoe_model *m, uint32_t prompt_tokens, vkmoe_kv kind,
                               const atomic_bool *cancel, vkmoe_error *err)
{
    const struct vkm_config *c = &m->weights.config;
    const vkmoe_allocator *a = vkm_gpu_allocator(m->gpu);
    struct vkm_state_params params =
        vkm_session_layout(m->gpu, c, &(vkmoe_session_params){.kv = kind, .chunk = m->chunk});
    struct vkm_state s;
    struct vkm_buffer stand_ins[3];
    struct vkm_buffer cache = {.size = vkm_kv_bytes(c, vkm_kv_dtype(kind), 1)};
    struct vkm_buffer **layers = vkm_calloc(a, c->num_hidden_layers, sizeof(struct vkm_buffer *));
    if (!layers)
        return vkm_fail_memory(err, c->num_hidden_layers * sizeof(struct vkm_buffer *), "layers");
    for (uint32_t i = 0; i < c->num_hidden_layers; i++)
        layers[i] = &cache;
    struct vkm_kv kv = {.dtype = vkm_kv_dtype(kind), .keys = layers, .values = layers};
    vkm_state_plan(&s, c, &params, stand_ins);
    /* Of decoding in a full context, so that what combines its splits is there in time. */
    struct vkm_batch decode = {.rows = s.next,
                               .n_rows = 1,
                               .bound = vkm_attention_bound(params.context),
                               .n_logits = 1,
                               .penalise = vkm_sampling_penalises(&m->sampling),
                               .cut = vkm_sampling_cuts(&m->sampling)};
    /* The last chunk of a prompt, and the full ones before it. */
    uint32_t last = prompt_tokens % params.max_rows;
    bool full = prompt_tokens == 0 || prompt_tokens >= params.max_rows;
    struct vkm_batch prefill = {
        .rows = s.rows,
        .consecutive = true,
        .n_logits = 1,
        .select_logits = true,
        .bound = vkm_attention_bound(vkm_min_u32(prompt_tokens, params.context))};
    vkmoe_status status = compile_batch(m, &s, &kv, &decode, cancel, err);
    if (status == VKMOE_OK && last > 0) {
        prefill.n_rows = last;
        status = compile_batch(m, &s, &kv, &prefill, cancel, err);
    }
    if (status == VKMOE_OK &&
        prompt_tokens == 0) { /* a short one, in the lowest tiles it may get */
        prefill.n_rows = vkm_min_u32(2 * vkm_gemm_threshold(vkm_gpu_caps(m->gpu)), params.max_rows);
        status = compile_batch(m, &s, &kv, &prefill, cancel, err);
    }
    if (status == VKMOE_OK && full) {
        prefill.n_rows = params.max_rows;
        status = compile_batch(m, &s, &kv, &prefill, cancel, err);
    }
    vkm_free(a, layers);
    return status;
}
