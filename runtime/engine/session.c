/* Sessions: what they own, how they fork and roll back. */
#include <string.h>

#include "base/array.h"
#include "engine/engine.h"

vkmoe_status vkm_session_check(const struct vkm_config *config, const vkmoe_session_params *params,
                               vkmoe_error *err)
{
    if (params && params->context > VKM_MAX_CONTEXT)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT, "a context of %u tokens; at most %u",
                        params->context, VKM_MAX_CONTEXT);
    if (params && params->cache_tokens > VKM_MAX_CONTEXT)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT, "a cache for %u tokens; at most %u",
                        params->cache_tokens, VKM_MAX_CONTEXT);
    if (params && (unsigned)params->kv >= VKMOE_KV_COUNT)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "keys and values are to be kept as kind %d of %d", (int)params->kv,
                        (int)VKMOE_KV_COUNT);
    struct vkm_router routing;
    vkmoe_status status =
        vkm_router_resolve(config, params ? &params->routing : NULL, &routing, err);
    if (status != VKMOE_OK || !params || params->keep_ranks == 0 ||
        (params->keep_ranks >= routing.k && params->keep_ranks <= config->n_routed_experts))
        return status;
    return vkm_fail(
        err, VKMOE_INVALID_ARGUMENT,
        "keep_ranks is %u, expected %u, which a token activates, to %u, which there are",
        params->keep_ranks, routing.k, config->n_routed_experts);
}

static void memory_release(struct vkm_gpu *gpu, struct vkm_session_memory *m)
{
    if (!m || --m->users > 0)
        return;
    vkm_kv_finish(&m->kv);
    vkm_buffer_destroy(gpu, m->activations);
    vkm_free(vkm_gpu_allocator(gpu), m);
}

/* Refuses what would not fit beside what the device holds by now; *chunk is what it is planned
 * with.
 */
static vkmoe_status check_room(const struct vkmoe_model *m, const vkmoe_session_params *params,
                               uint32_t *chunk, vkmoe_error *err)
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
    if (status == VKMOE_OK)
        *chunk = plan.chunk;
    return status == VKMOE_OK ? vkm_plan_refuse(&plan, m->force, err) : status;
}

static vkmoe_status init(struct vkmoe_session *s, const vkmoe_session_params *params,
                         vkmoe_error *err)
{
    struct vkm_gpu *gpu = s->model->gpu;
    const struct vkm_config *c = &s->model->weights.config;
    vkmoe_session_params planned = params ? *params : (vkmoe_session_params){0};
    vkmoe_status status = check_room(s->model, params, &planned.chunk, err);
    if (status != VKMOE_OK)
        return status;
    s->memory = vkm_calloc(vkm_gpu_allocator(gpu), 1, sizeof(*s->memory));
    if (!s->memory)
        return vkm_fail_memory(err, sizeof(*s->memory), "a session");
    s->memory->users = 1;
    s->on_step = params ? params->on_step : NULL;
    s->user = params ? params->user : NULL;
    struct vkm_state_params layout = vkm_session_layout(gpu, c, &planned);
    uint32_t cached = params && params->cache_tokens > 0 ? params->cache_tokens : layout.context;
    status = vkm_kv_init(&s->memory->kv, gpu, c, vkm_kv_dtype(layout.kv),
                         vkm_ceil_div(cached, VKM_KV_BLOCK), err);
    if (status == VKMOE_OK)
        status = vkm_kv_sequence_init(&s->memory->kv, &s->sequence, layout.context, err);
    if (status == VKMOE_OK)
        status = vkm_state_init(&s->state, gpu, c, &layout, err);
    if (status == VKMOE_OK) {
        s->memory->activations = s->state.device;
        s->state.device = NULL;
        status = vkm_routing_prepare(s, params ? params->routing.table : NULL, err);
    }
    return status;
}

static struct vkmoe_session *session_alloc(struct vkmoe_model *model, vkmoe_error *err)
{
    struct vkmoe_session *s = vkm_calloc(vkm_gpu_allocator(model->gpu), 1, sizeof(*s));
    if (!s) {
        vkm_fail_memory(err, sizeof(*s), "a session");
        return NULL;
    }
    s->model = model;
    atomic_init(&s->cancelled, false);
    return s;
}

vkmoe_status vkmoe_session_create(vkmoe_model *model, const vkmoe_session_params *params,
                                  vkmoe_session **out, vkmoe_error *err)
{
    VKM_REQUIRE(model, err);
    VKM_REQUIRE(out, err);
    struct vkmoe_session *s = session_alloc(model, err);
    if (!s)
        return VKMOE_OUT_OF_HOST_MEMORY;
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
    struct vkm_gpu *gpu = session->model->gpu;
    const vkmoe_allocator *a = vkm_gpu_allocator(gpu);
    vkm_usage_store(&session->model->usage, gpu);
    for (uint32_t i = 0; i < VKM_STEPS_AHEAD; i++)
        vkm_step_finish(&session->decode[i]);
    vkm_state_finish(&session->state);
    if (session->memory) {
        vkm_kv_sequence_finish(&session->memory->kv, &session->sequence);
        if (session->memory->logits_of == session)
            session->memory->logits_of = NULL;
    }
    memory_release(gpu, session->memory);
    vkm_free(a, session->tokens.items);
    vkm_free(a, session);
}

/* --- growing and shrinking --- */

/* Tells the device which blocks hold the sequence, from number `first` on. */
static void publish_blocks(struct vkmoe_session *s, uint32_t first)
{
    struct vkm_view view = s->state.blocks;
    if (first < s->sequence.count)
        memcpy(view.buffer->mapped + view.offset + first * sizeof(uint32_t),
               s->sequence.blocks + first, (s->sequence.count - first) * sizeof(uint32_t));
}

vkmoe_status vkm_session_extend(struct vkmoe_session *s, uint32_t extra, vkmoe_error *err)
{
    uint32_t before = s->sequence.count;
    if (extra > s->state.params.context - s->sequence.length)
        return vkm_fail(err, VKMOE_CONTEXT_FULL,
                        "the context of %u tokens holds %u, and %u more do not fit",
                        s->state.params.context, s->sequence.length, extra);
    if (!VKM_ARRAY_RESERVE(vkm_gpu_allocator(s->model->gpu), &s->tokens, extra))
        return vkm_fail_memory(err, extra * sizeof(int32_t), "the sequence's tokens");
    vkmoe_status status = vkm_kv_extend(&s->memory->kv, &s->sequence, extra, err);
    if (status == VKMOE_OK)
        publish_blocks(s, before);
    return status;
}

/* Gives `to` a copy of the block in which position `length` of `from` lies. */
static vkmoe_status copy_tail(struct vkmoe_session *to, const struct vkmoe_session *from,
                              uint32_t length, vkmoe_error *err)
{
    struct vkm_kv *kv = &to->memory->kv;
    uint32_t index = length / VKM_KV_BLOCK, block;
    vkmoe_status status = vkm_kv_take(kv, &block, err);
    if (status != VKMOE_OK)
        return status;
    status = vkm_step_copy_block(to, from->sequence.blocks[index], block, err);
    if (status != VKMOE_OK)
        vkm_kv_give_back(kv, block);
    else
        vkm_kv_put(kv, &to->sequence, index, block);
    return status;
}

vkmoe_status vkm_session_truncate(struct vkmoe_session *s, uint32_t length, vkmoe_error *err)
{
    vkmoe_status status = VKMOE_OK;
    if (length >= s->sequence.length)
        return VKMOE_OK;
    if (length % VKM_KV_BLOCK > 0 && vkm_kv_is_shared(&s->memory->kv, &s->sequence, length))
        status = copy_tail(s, s, length, err);
    if (status != VKMOE_OK)
        return status;
    vkm_kv_truncate(&s->memory->kv, &s->sequence, length);
    publish_blocks(s, length / VKM_KV_BLOCK);
    s->has_logits = false;
    return VKMOE_OK;
}

vkmoe_status vkmoe_session_rollback(vkmoe_session *session, uint32_t length, vkmoe_error *err)
{
    VKM_REQUIRE(session, err);
    if (length > session->tokens.count)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "a session of %zu tokens cannot be rolled back to %u",
                        session->tokens.count, length);
    if (length == session->tokens.count)
        return VKMOE_OK;
    vkmoe_status status = vkm_session_truncate(session, length, err);
    if (status != VKMOE_OK)
        return status;
    session->tokens.count = length;
    session->pending = false;
    return VKMOE_OK;
}

void vkmoe_session_reset(vkmoe_session *session)
{
    vkm_kv_truncate(&session->memory->kv, &session->sequence, 0);
    session->tokens.count = 0;
    session->pending = false;
    session->has_logits = false;
}

/* --- forks --- */

static vkmoe_status fork_tokens(struct vkmoe_session *s, const struct vkmoe_session *from,
                                vkmoe_error *err)
{
    size_t n = from->tokens.count;
    if (!VKM_ARRAY_RESERVE(vkm_gpu_allocator(s->model->gpu), &s->tokens, n))
        return vkm_fail_memory(err, n * sizeof(int32_t), "the sequence's tokens");
    if (n > 0)
        memcpy(s->tokens.items, from->tokens.items, n * sizeof(int32_t));
    s->tokens.count = n;
    s->pending = from->pending;
    memcpy(s->state.history.buffer->mapped + s->state.history.offset,
           from->state.history.buffer->mapped + from->state.history.offset,
           from->sequence.length * sizeof(uint32_t));
    return VKMOE_OK;
}

static vkmoe_status fork_cache(struct vkmoe_session *s, const struct vkmoe_session *from,
                               vkmoe_error *err)
{
    uint32_t length = from->sequence.length;
    vkmoe_status status = VKMOE_OK;
    vkm_kv_fork(&s->memory->kv, &from->sequence, length, &s->sequence);
    if (length % VKM_KV_BLOCK > 0)
        status = copy_tail(s, from, length, err);
    if (status != VKMOE_OK)
        return status;
    s->sequence.length = length;
    publish_blocks(s, 0);
    return VKMOE_OK;
}

vkmoe_status vkmoe_session_fork(vkmoe_session *session, vkmoe_session **out, vkmoe_error *err)
{
    VKM_REQUIRE(session, err);
    VKM_REQUIRE(out, err);
    const struct vkm_config *c = &session->model->weights.config;
    struct vkmoe_session *s = session_alloc(session->model, err);
    if (!s)
        return VKMOE_OUT_OF_HOST_MEMORY;
    s->memory = session->memory;
    s->memory->users++;
    s->on_step = session->on_step;
    s->user = session->user;
    vkmoe_status status =
        vkm_kv_sequence_init(&s->memory->kv, &s->sequence, session->state.params.context, err);
    if (status == VKMOE_OK)
        status = vkm_state_fork(&s->state, &session->state, c, err);
    if (status == VKMOE_OK)
        vkm_routing_inherit(s, session);
    if (status == VKMOE_OK)
        status = fork_tokens(s, session, err);
    if (status == VKMOE_OK)
        status = fork_cache(s, session, err);
    if (status != VKMOE_OK) {
        vkmoe_session_destroy(s);
        return status;
    }
    *out = s;
    return VKMOE_OK;
}

/* --- the rest --- */

void vkmoe_session_cancel(vkmoe_session *session)
{
    atomic_store(&session->cancelled, true);
}

void vkmoe_session_clear_cancel(vkmoe_session *session)
{
    atomic_store(&session->cancelled, false);
}

bool vkm_session_take_cancel(struct vkmoe_session *s, vkmoe_error *err)
{
    if (!atomic_exchange(&s->cancelled, false))
        return false;
    vkm_fail(err, VKMOE_CANCELLED, "cancelled");
    return true;
}

uint32_t vkmoe_session_length(const vkmoe_session *session)
{
    return (uint32_t)session->tokens.count;
}

uint32_t vkmoe_session_context(const vkmoe_session *session)
{
    return session->state.params.context;
}

const int32_t *vkmoe_session_tokens(const vkmoe_session *session)
{
    return session->tokens.items;
}

void vkmoe_session_get_stats(const vkmoe_session *session, vkmoe_session_stats *stats)
{
    *stats = session->stats;
    stats->device_bytes = vkm_gpu_memory_used(session->model->gpu);
    stats->kv = session->state.params.kv;
    stats->kv_bytes = vkm_kv_held(&session->memory->kv);
}
