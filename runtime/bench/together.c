/* Several sequences that generate together, one row of each in every step. */
#include <math.h>
#include <string.h>

#include "bench/bench.h"
#include "engine/sampling.h"
#include "kernels/ops.h"

#define IN_HAND 2u /* steps that the device is given before the oldest is waited for */

struct vkm_together {
    struct vkmoe_model *model;
    struct vkm_together_params params;
    const int32_t *tokens;
    struct vkm_kv kv;
    struct vkm_kv_sequence *sequences; /* [params.sequences] */
    struct vkm_state state;
    struct vkm_step steps[IN_HAND];
    double step_ended; /* when the newest step did */
};

static struct vkm_state_params layout(const struct vkm_together *t)
{
    const struct vkm_config *c = &t->model->weights.config;
    const vkmoe_session_params session = {.context = t->params.depth + t->params.generate,
                                          .chunk = t->params.chunk > 0 ? t->params.chunk
                                                                       : t->model->chunk,
                                          .routing = t->params.routing,
                                          .kv = t->params.kv};
    struct vkm_state_params p = vkm_session_layout(t->model->gpu, c, &session);
    p.sequences = t->params.sequences;
    p.max_rows = vkm_max_u32(p.max_rows, p.sequences);
    p.max_logits = p.sequences;
    const struct vkm_attention_shape shape = {.n_heads = c->num_attention_heads,
                                              .head_dim = c->head_dim,
                                              .n_rows = p.max_rows,
                                              .kv = vkm_kv_dtype(t->params.kv)};
    p.parts = vkm_attention_max_parts(vkm_gpu_caps(t->model->gpu), &shape,
                                      vkm_attention_bound(p.context));
    return p;
}

static uint32_t *words(struct vkm_view view)
{
    return (uint32_t *)(void *)(view.buffer->mapped + view.offset);
}

/* All the blocks that each sequence will need, and what the device must know of it. */
static vkmoe_status add_sequence(struct vkm_together *t, uint32_t i, vkmoe_error *err)
{
    struct vkm_kv_sequence *s = &t->sequences[i];
    uint32_t context = t->state.params.context;
    struct vkm_sampler *samplers = (struct vkm_sampler *)(void *)words(t->state.samplers);
    vkmoe_status status = vkm_kv_sequence_init(&t->kv, s, context, err);
    if (status == VKMOE_OK)
        status = vkm_kv_extend(&t->kv, s, context, err);
    if (status != VKMOE_OK)
        return status;
    memcpy(words(t->state.blocks) + (size_t)i * t->state.block_stride, s->blocks,
           s->count * sizeof(*s->blocks));
    samplers[i] = vkm_sampling_lower(&(vkmoe_sampling){0});
    return VKMOE_OK;
}

static int32_t token_at(const struct vkm_together *t, uint32_t sequence, uint32_t position)
{
    return t->tokens[sequence + position];
}

static vkmoe_status prepare(struct vkm_together *t, struct vkm_step *step,
                            const struct vkm_batch *batch, enum vkm_step_parts parts, bool timed,
                            vkmoe_error *err)
{
    vkm_step_finish(step);
    vkmoe_status status = vkm_step_record(step, t->model->gpu, &t->model->weights, &t->kv,
                                          &t->state, batch, parts, err);
    if (status == VKMOE_OK)
        status = vkm_commands_create(t->model->gpu, &step->stream, timed, &step->commands, err);
    if (status != VKMOE_OK)
        vkm_step_finish(step);
    return status;
}

/* The prompt of one sequence, chunk by chunk. */
static vkmoe_status fill_sequence(struct vkm_together *t, uint32_t sequence, vkmoe_error *err)
{
    struct vkm_row *rows = vkm_host_rows(t->state.rows);
    vkmoe_status status = VKMOE_OK;
    for (uint32_t done = 0, n; done < t->params.depth && status == VKMOE_OK; done += n) {
        n = vkm_min_u32(t->params.depth - done, t->state.params.max_rows);
        for (uint32_t i = 0; i < n; i++)
            rows[i] = (struct vkm_row){.token = (uint32_t)token_at(t, sequence, done + i),
                                       .position = done + i,
                                       .sequence = sequence};
        const struct vkm_batch batch = {.rows = t->state.rows,
                                        .n_rows = n,
                                        .consecutive = true,
                                        .bound = vkm_attention_bound(done + n)};
        status = prepare(t, &t->steps[0], &batch, VKM_STEP_FORWARD, false, err);
        if (status == VKMOE_OK)
            status = vkm_commands_run(t->steps[0].commands, NULL, err);
        vkm_step_finish(&t->steps[0]);
        if (status == VKMOE_OK && !t->params.go_on(t->params.user))
            status = vkm_fail(err, VKMOE_CANCELLED, "cancelled");
    }
    return status;
}

static vkmoe_status init(struct vkm_together *t, vkmoe_error *err)
{
    struct vkm_gpu *gpu = t->model->gpu;
    const struct vkm_config *c = &t->model->weights.config;
    struct vkm_state_params p = layout(t);
    uint32_t n = p.sequences;
    t->sequences = vkm_calloc(vkm_gpu_allocator(gpu), n, sizeof(*t->sequences));
    if (!t->sequences)
        return vkm_fail_memory(err, n * sizeof(*t->sequences), "sequences");
    vkmoe_status status = vkm_kv_init(&t->kv, gpu, c, vkm_kv_dtype(t->params.kv),
                                      n * vkm_ceil_div(p.context, VKM_KV_BLOCK), err);
    if (status == VKMOE_OK)
        status = vkm_state_init(&t->state, gpu, c, &p, err);
    for (uint32_t i = 0; i < n && status == VKMOE_OK; i++)
        status = add_sequence(t, i, err);
    for (uint32_t i = 0; i < n && status == VKMOE_OK; i++)
        status = fill_sequence(t, i, err);
    return status;
}

vkmoe_status vkm_together_create(struct vkmoe_model *model,
                                 const struct vkm_together_params *params, const int32_t *tokens,
                                 struct vkm_together **out, vkmoe_error *err)
{
    struct vkm_together *t = vkm_calloc(vkm_gpu_allocator(model->gpu), 1, sizeof(*t));
    if (!t)
        return vkm_fail_memory(err, sizeof(*t), "sequences");
    t->model = model;
    t->params = *params;
    t->tokens = tokens;
    vkmoe_status status = init(t, err);
    if (status != VKMOE_OK) {
        vkm_together_destroy(t);
        return status;
    }
    *out = t;
    return VKMOE_OK;
}

void vkm_together_destroy(struct vkm_together *t)
{
    if (!t)
        return;
    for (uint32_t i = 0; i < IN_HAND; i++)
        vkm_step_finish(&t->steps[i]);
    for (uint32_t i = 0; i < t->params.sequences && t->sequences; i++)
        vkm_kv_sequence_finish(&t->kv, &t->sequences[i]);
    vkm_free(vkm_gpu_allocator(t->model->gpu), t->sequences);
    vkm_state_finish(&t->state);
    vkm_kv_finish(&t->kv);
    vkm_free(vkm_gpu_allocator(t->model->gpu), t);
}

/* --- steps --- */

/* The step in which rows are at `position`, recorded anew where the one that lies there is for a
 * shorter context. */
static vkmoe_status start(struct vkm_together *t, struct vkm_profile *profile, uint32_t position,
                          vkmoe_error *err)
{
    struct vkm_gpu *gpu = t->model->gpu;
    struct vkm_step *step = &t->steps[position % IN_HAND];
    bool timed = profile && profile->timed;
    const struct vkm_batch batch = {.rows = t->state.next,
                                    .n_rows = t->params.sequences,
                                    .n_logits = t->params.sequences,
                                    .bound = vkm_attention_bound(position + 1)};
    double begin = vkm_seconds(), waited = vkm_gpu_waited(gpu);
    vkmoe_status status = VKMOE_OK;
    if (!step->commands || step->bound != batch.bound)
        status = prepare(t, step, &batch, VKM_STEP_FORWARD | VKM_STEP_SAMPLE, timed, err);
    step->bound = batch.bound;
    double recorded = step->started = vkm_seconds();
    if (status == VKMOE_OK)
        status = vkm_commands_start(step->commands, NULL, err);
    if (profile) {
        double waits = vkm_gpu_waited(gpu) - waited;
        profile->record_seconds += recorded - begin;
        profile->wait_seconds += waits;
        profile->submit_seconds += vkm_seconds() - recorded - waits;
    }
    return status;
}

static vkmoe_status end(struct vkm_together *t, struct vkm_profile *profile, uint32_t position,
                        vkmoe_error *err)
{
    struct vkm_gpu *gpu = t->model->gpu;
    struct vkm_step *step = &t->steps[position % IN_HAND];
    const struct vkm_profile_rows rows = {t->params.sequences, 1, position};
    double begin = vkm_seconds(), waited = vkm_gpu_waited(gpu), before = t->step_ended;
    vkmoe_status status = vkm_commands_end(step->commands, err);
    t->step_ended = vkm_seconds();
    if (profile) {
        double waits = vkm_gpu_waited(gpu) - waited;
        profile->wait_seconds += waits;
        profile->submit_seconds += t->step_ended - begin - waits;
        profile->step_seconds += t->step_ended - fmax(step->started, before);
    }
    if (status == VKMOE_OK && profile)
        status = vkm_profile_step(profile, &step->stream, step->commands, &t->state,
                                  &t->model->weights.config, &rows, err);
    if (status == VKMOE_OK && !t->params.go_on(t->params.user))
        status = vkm_fail(err, VKMOE_CANCELLED, "cancelled");
    return status;
}

/* Where kernels are timed, what a step leaves is read before the next one starts. */
vkmoe_status vkm_together_run(struct vkm_together *t, struct vkm_profile *profile, vkmoe_error *err)
{
    uint32_t first = t->params.depth - 1, last = first + t->params.generate;
    uint32_t ahead = profile && profile->timed ? 1 : IN_HAND, started = first, ended = first;
    struct vkm_row *next = vkm_host_rows(t->state.next);
    vkmoe_status status = VKMOE_OK;
    for (uint32_t i = 0; i < IN_HAND && profile && profile->timed; i++)
        vkm_step_finish(&t->steps[i]); /* whether it has timestamps is not known */
    for (uint32_t i = 0; i < t->params.sequences; i++)
        next[i] = (struct vkm_row){
            .token = (uint32_t)token_at(t, i, first), .position = first, .sequence = i};
    while (ended < last && status == VKMOE_OK) {
        while (started < last && started - ended < ahead && status == VKMOE_OK) {
            status = start(t, profile, started, err);
            started += status == VKMOE_OK;
        }
        if (status == VKMOE_OK)
            status = end(t, profile, ended++, err);
    }
    for (; ended < started; ended++) /* what is still in hand when one fails */
        (void)vkm_commands_end(t->steps[ended % IN_HAND].commands, NULL);
    return status;
}

vkmoe_status vkm_together_experts(const struct vkm_together *t, double *mean, vkmoe_error *err)
{
    return vkm_profile_experts(&t->state, &t->model->weights.config, t->params.sequences, mean,
                               err);
}
