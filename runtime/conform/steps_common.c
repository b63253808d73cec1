/* Running a step over random tokens, and hashing what it leaves. */
#include "conform/steps.h"

#include <string.h>

#include "kernels/ops.h"

void vkm_step_draw(struct vkm_steps *s, uint32_t count, struct vkm_step_tokens *out)
{
    uint32_t vocab = s->model->info.vocab_size;
    out->count = vkm_min_u32(count, VKM_STEPS_MAX_TOKENS);
    for (uint32_t i = 0; i < out->count; i++)
        out->ids[i] = (int32_t)vkm_random_below(&s->random, vocab);
}

uint32_t vkm_step_capacity(const struct vkmoe_session *session)
{
    const struct vkm_state_params *p = &session->state.params;
    return vkm_min_u32(VKM_STEPS_MAX_TOKENS,
                       vkm_min_u32(p->context, vkm_min_u32(p->max_rows, p->max_logits)));
}

vkmoe_status vkm_step_session(struct vkmoe_model *model, vkmoe_kv kv, struct vkmoe_session **out,
                              vkmoe_error *err)
{
    uint32_t context = vkm_min_u32(model->info.max_context, VKM_STEPS_MAX_TOKENS);
    vkmoe_session_params params = {.context = context, .chunk = context, .kv = kv};
    return vkmoe_session_create(model, &params, out, err);
}

vkmoe_status vkm_step_of_tokens(struct vkmoe_session *session, const struct vkm_step_tokens *tokens,
                                struct vkm_step *step, vkmoe_error *err)
{
    struct vkm_row *row = vkm_host_rows(session->state.rows);
    struct vkm_batch batch = {
        .rows = session->state.rows,
        .n_rows = tokens->count,
        .n_logits = tokens->count,
        .consecutive = true,
        .bound = vkm_attention_bound(tokens->count),
    };
    vkmoe_session_reset(session);
    vkmoe_status status = vkm_session_extend(session, tokens->count, err);
    if (status != VKMOE_OK)
        return status;
    session->sequence.length = tokens->count; /* for the next reset */
    for (uint32_t i = 0; i < tokens->count; i++)
        row[i] = (struct vkm_row){.token = (uint32_t)tokens->ids[i], .position = i};
    return vkm_step_record(step, session->model->gpu, &session->model->weights,
                           &session->memory->kv, &session->state, &batch, VKM_STEP_FORWARD, err);
}

/* Continues a hash over the first `bytes` of a view. */
static vkmoe_status hash_view(struct vkmoe_session *session, struct vkm_view view, uint64_t bytes,
                              uint64_t *hash, vkmoe_error *err)
{
    struct vkm_gpu *gpu = session->model->gpu;
    void *data = vkm_malloc(vkm_gpu_allocator(gpu), (size_t)bytes, 1);
    if (!data)
        return vkm_fail_memory(err, (size_t)bytes, "what a step left");
    vkmoe_status status = vkm_buffer_read(gpu, vkm_view_slice(view, 0, bytes), data, err);
    if (status == VKMOE_OK)
        *hash = vkm_hash(*hash, data, (size_t)bytes);
    vkm_free(vkm_gpu_allocator(gpu), data);
    return status;
}

vkmoe_status vkm_step_hash(struct vkmoe_session *session, uint32_t n_tokens, uint64_t *hash,
                           vkmoe_error *err)
{
    const vkmoe_model_info *info = &session->model->info;
    const struct vkm_state *state = &session->state;
    uint64_t routing = (uint64_t)n_tokens * info->n_experts_per_token * sizeof(uint32_t);
    *hash = VKM_HASH_INIT;
    vkmoe_status status =
        hash_view(session, state->logits,
                  (uint64_t)n_tokens * vkm_ld(info->vocab_size) * sizeof(float), hash, err);
    for (uint32_t i = 0; i < info->n_moe_layers && status == VKMOE_OK; i++) {
        uint64_t at = i * state->trace_stride;
        status =
            hash_view(session, vkm_view_slice(state->topk_ids, at, routing), routing, hash, err);
        if (status == VKMOE_OK)
            status = hash_view(session, vkm_view_slice(state->topk_gates, at, routing), routing,
                               hash, err);
    }
    return status;
}

vkmoe_status vkm_step_eval(struct vkmoe_session *session, const struct vkm_step_tokens *tokens,
                           uint64_t *hash, vkmoe_error *err)
{
    const vkmoe_model_info *info = &session->model->info;
    const vkmoe_allocator *a = vkm_gpu_allocator(session->model->gpu);
    size_t logits = (size_t)tokens->count * info->vocab_size;
    size_t routes = (size_t)tokens->count * info->n_moe_layers * info->n_experts_per_token;
    vkmoe_trace trace = {
        .logits = vkm_malloc(a, logits, sizeof(float)),
        .topk_ids = vkm_malloc(a, routes, sizeof(int32_t)),
        .topk_gates = vkm_malloc(a, routes, sizeof(float)),
    };
    vkmoe_status status = VKMOE_OK;
    vkmoe_session_reset(session);
    if (!trace.logits || !trace.topk_ids || !trace.topk_gates)
        status = vkm_fail_memory(err, logits * sizeof(float), "a trace");
    else
        status = vkmoe_session_eval(session, tokens->ids, tokens->count, &trace, err);
    if (status == VKMOE_OK) {
        *hash = vkm_hash(VKM_HASH_INIT, trace.logits, logits * sizeof(float));
        *hash = vkm_hash(*hash, trace.topk_ids, routes * sizeof(int32_t));
        *hash = vkm_hash(*hash, trace.topk_gates, routes * sizeof(float));
    }
    vkm_free(a, trace.logits);
    vkm_free(a, trace.topk_ids);
    vkm_free(a, trace.topk_gates);
    return status;
}
