/* Generation: one token after the other, each chosen on the device. */
#include <string.h>

#include "base/array.h"
#include "engine/engine.h"
#include "engine/sampling.h"
#include "kernels/ops.h"

#define AHEAD_SECONDS 0.05 /* of work that the device has in hand, where a step takes less */

static bool is_eos(const struct vkmoe_session *s, int32_t token)
{
    const struct vkm_generation_defaults *g = &s->model->generation;
    for (uint32_t i = 0; i < g->n_eos; i++) {
        if (g->eos_token_ids[i] == token)
            return true;
    }
    return token == s->model->info.eos_token;
}

static void set_sampler(struct vkmoe_session *s, const vkmoe_sampling *sampling)
{
    struct vkm_view view = s->state.samplers;
    struct vkm_sampler *sampler = (struct vkm_sampler *)(void *)(view.buffer->mapped + view.offset);
    *sampler = vkm_sampling_lower(sampling);
}

static struct vkm_row newest_row(const struct vkmoe_session *s)
{
    return (struct vkm_row){.token = (uint32_t)s->tokens.items[s->tokens.count - 1],
                            .position = (uint32_t)s->tokens.count - 1};
}

/* The token that a step left in its word. */
static struct vkm_view sampled_word(const struct vkmoe_session *s, uint32_t slot)
{
    return vkm_view_slice(s->state.sampled, slot * VKM_SAMPLED_STRIDE * sizeof(uint32_t),
                          sizeof(uint32_t));
}

static int32_t sampled_token(const struct vkmoe_session *s, uint32_t slot)
{
    struct vkm_view word = sampled_word(s, slot);
    return *(const int32_t *)(const void *)(word.buffer->mapped + word.offset);
}

/* Samples from logits that are already there. */
static vkmoe_status choose(struct vkmoe_session *s, const struct vkm_batch *batch, vkmoe_step *info,
                           int32_t *token, vkmoe_error *err)
{
    struct vkm_step step = {0};
    struct vkm_state at = s->state;
    uint64_t row_bytes = vkm_ld(s->model->info.vocab_size) * sizeof(float);
    at.logits = vkm_view_slice(s->state.logits, s->logits_row * row_bytes, row_bytes);
    vkm_host_rows(s->state.next)[0] = newest_row(s);
    vkmoe_status status = vkm_step_prepare(s, &step, &at, batch, VKM_STEP_SAMPLE, err);
    if (status == VKMOE_OK)
        status = vkm_step_run(s, &step, info, err);
    vkm_step_finish(&step);
    if (status == VKMOE_OK)
        *token = sampled_token(s, 0);
    return status;
}

/* Steps that the device has in hand, oldest first, in the ring session->decode. */
struct ahead {
    uint32_t first, count;
};

static uint32_t slot(const struct ahead *a, uint32_t index)
{
    return (a->first + index) % VKM_STEPS_AHEAD;
}

/* The recorded decode step, recorded again where the sampler needs other kernels than before, or
 * attention another split of the context. */
static vkmoe_status record_decode(struct vkmoe_session *s, uint32_t slot,
                                  const struct vkm_batch *batch, vkmoe_error *err)
{
    struct vkm_step *step = &s->decode[slot];
    struct vkm_state at = s->state;
    at.sampled = sampled_word(s, slot);
    if (step->commands && step->penalises == batch->penalise && step->cuts == batch->cut &&
        step->steers == batch->steer && step->bound == batch->bound)
        return VKMOE_OK;
    vkm_step_finish(step);
    step->penalises = batch->penalise;
    step->cuts = batch->cut;
    step->steers = batch->steer;
    step->bound = batch->bound;
    return vkm_step_prepare(s, step, &at, batch, VKM_STEP_FORWARD | VKM_STEP_SAMPLE, err);
}

/* Gives the device the step that computes the token after those in hand; the first of them is the
 * pending one. */
static vkmoe_status start_step(struct vkmoe_session *s, struct ahead *a, vkmoe_error *err)
{
    vkmoe_status status = vkm_session_extend(s, a->count + 1, err);
    if (status != VKMOE_OK)
        return status;
    if (a->count == 0)
        vkm_host_rows(s->state.next)[0] = newest_row(s); /* each step writes the one after it */
    s->has_logits = false;
    s->memory->logits_of = s;
    status = vkm_step_start(s, &s->decode[slot(a, a->count)], err);
    a->count += status == VKMOE_OK;
    s->memory->routed += status == VKMOE_OK;
    return status;
}

/* How many steps to have in hand: no more than the device does in AHEAD_SECONDS, but one. */
static size_t depth(const struct vkmoe_session *s)
{
    double steps = s->decode_seconds > 0 ? AHEAD_SECONDS / s->decode_seconds : 1;
    return steps < 1 ? 1 : steps > VKM_STEPS_AHEAD ? VKM_STEPS_AHEAD : (size_t)steps;
}

/* Keeps the device busy with at most `wanted` steps. That one more cannot be started is a failure
 * only where none is in hand, but for a lost device, which is told by the call that finds it. */
static vkmoe_status start_steps(struct vkmoe_session *s, struct ahead *a, size_t wanted,
                                const struct vkm_batch *batch, vkmoe_error *err)
{
    size_t room = s->state.params.context - s->tokens.count, most = depth(s);
    vkmoe_status status = VKMOE_OK;
    most = most < wanted ? most : wanted;
    most = most < room ? most : room;
    while (a->count < most && status == VKMOE_OK) {
        uint32_t next = slot(a, a->count);
        struct vkm_batch at = *batch;
        at.bound = vkm_attention_bound((uint32_t)s->tokens.count + a->count);
        status = record_decode(s, next, &at, err);
        if (status == VKMOE_OK && a->count > 0 && !vkm_commands_is_short(s->decode[next].commands))
            break; /* it would be waited for before the steps in hand */
        if (status == VKMOE_OK)
            status = start_step(s, a, err);
    }
    return a->count > 0 && status != VKMOE_DEVICE_LOST ? VKMOE_OK : status;
}

/* Waits for the oldest step: the pending token is computed, and another one chosen. */
static vkmoe_status end_step(struct vkmoe_session *s, struct ahead *a, vkmoe_step *info,
                             int32_t *token, vkmoe_error *err)
{
    uint32_t oldest = a->first;
    a->first = slot(a, 1);
    a->count--;
    info->n_tokens = 1;
    double start = vkm_seconds();
    vkmoe_status status = vkm_step_end(s, &s->decode[oldest], info, err);
    if (status != VKMOE_OK)
        return status;
    if (vkm_seconds() - start > 0.5 * info->seconds) /* else it ended while the caller was busy */
        s->decode_seconds = info->seconds;
    s->sequence.length++;
    s->pending = false;
    s->has_logits = a->count == 0;
    s->logits_row = 0;
    *token = sampled_token(s, oldest);
    return VKMOE_OK;
}

/* Lets steps end whose tokens nobody wants, and gives their room in the cache back. */
static void drop_steps(struct vkmoe_session *s, struct ahead *a)
{
    for (; a->count > 0; a->count--) {
        (void)vkm_commands_end(s->decode[a->first].commands, NULL);
        a->first = slot(a, 1);
    }
    vkm_kv_truncate(&s->memory->kv, &s->sequence, s->sequence.length);
}

/* Where nothing says what follows, the newest token is computed again. */
static vkmoe_status make_ready(struct vkmoe_session *s, vkmoe_error *err)
{
    if (s->tokens.count == 0)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "nothing was evaluated yet: there is nothing to continue");
    if (s->pending || (s->has_logits && s->memory->logits_of == s))
        return VKMOE_OK;
    vkmoe_status status = vkm_session_truncate(s, (uint32_t)s->tokens.count - 1, err);
    s->pending = status == VKMOE_OK;
    return status;
}

static vkmoe_status next_token(struct vkmoe_session *s, struct ahead *a, size_t wanted,
                               const struct vkm_batch *batch, vkmoe_step *info, int32_t *token,
                               vkmoe_error *err)
{
    if (!s->pending)
        return choose(s, batch, info, token, err);
    vkmoe_status status = start_steps(s, a, wanted, batch, err);
    return status == VKMOE_OK ? end_step(s, a, info, token, err) : status;
}

/* The chosen token becomes the newest, its computation pending. */
static vkmoe_status push(struct vkmoe_session *s, int32_t token, vkmoe_error *err)
{
    if (!VKM_ARRAY_RESERVE(vkm_gpu_allocator(s->model->gpu), &s->tokens, 1))
        return vkm_fail_memory(err, sizeof(token), "the sequence's tokens");
    s->tokens.items[s->tokens.count++] = token;
    s->pending = true;
    return VKMOE_OK;
}

/* One token after the other; returns with steps in hand. */
static vkmoe_status generate(struct vkmoe_session *s, const vkmoe_generate_params *params,
                             struct ahead *a, size_t *n, vkmoe_error *err)
{
    struct vkm_batch batch = {.rows = s->state.next,
                              .n_rows = 1,
                              .n_logits = 1,
                              .penalise = vkm_sampling_penalises(&params->sampling),
                              .cut = vkm_sampling_cuts(&params->sampling),
                              .steer = s->steers};
    vkmoe_status status = VKMOE_OK;
    while (*n < params->max_tokens && status == VKMOE_OK) {
        int32_t token;
        vkmoe_step info = {.done = *n + 1, .total = params->max_tokens};
        if (vkm_session_take_cancel(s, err))
            return VKMOE_CANCELLED;
        if (s->tokens.count >= s->state.params.context)
            return vkm_fail(err, VKMOE_CONTEXT_FULL,
                            "the context of %u tokens is full: there is no room for another",
                            s->state.params.context);
        status = next_token(s, a, params->max_tokens - *n, &batch, &info, &token, err);
        if (status != VKMOE_OK || (!params->ignore_eos && is_eos(s, token)))
            break;
        status = push(s, token, err);
        if (status != VKMOE_OK)
            break;
        ++*n;
        if (params->on_token && !params->on_token(params->user, token))
            break;
    }
    return status;
}

vkmoe_status vkmoe_session_generate(vkmoe_session *session, const vkmoe_generate_params *params,
                                    size_t *count, vkmoe_error *err)
{
    struct vkmoe_session *s = session;
    VKM_REQUIRE(session, err);
    VKM_REQUIRE(params, err);
    size_t n = 0;
    double start = vkm_seconds();
    vkmoe_status status = vkm_sampling_check(&params->sampling, err);
    if (status == VKMOE_OK)
        status = make_ready(s, err);
    if (status == VKMOE_OK) {
        set_sampler(s, &params->sampling);
        struct ahead ahead = {0};
        status = generate(s, params, &ahead, &n, err);
        drop_steps(s, &ahead);
    }
    if (status == VKMOE_CANCELLED)
        atomic_store(&s->cancelled, false);
    s->stats.generated_tokens += n;
    s->stats.generation_seconds += vkm_seconds() - start;
    if (count)
        *count = n;
    return status;
}
