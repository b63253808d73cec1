/* Generation: one token after the other, each chosen on the device. */
#include <string.h>

#include "base/array.h"
#include "engine/engine.h"
#include "engine/sampling.h"
#include "kernels/ops.h"

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

/* Samples from logits that are already there. */
static vkmoe_status choose(struct vkmoe_session *s, const struct vkm_batch *batch, vkmoe_step *info,
                           vkmoe_error *err)
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
    return status;
}

/* The recorded decode step, recorded again where the sampler needs other kernels than before, or
 * attention another split of the context. */
static vkmoe_status decode_step(struct vkmoe_session *s, const struct vkm_batch *batch,
                                vkmoe_error *err)
{
    if (s->decode.commands && s->decode_penalises == batch->penalise &&
        s->decode_cuts == batch->cut && s->decode_bound == batch->bound)
        return VKMOE_OK;
    vkm_step_finish(&s->decode);
    s->decode_penalises = batch->penalise;
    s->decode_cuts = batch->cut;
    s->decode_bound = batch->bound;
    return vkm_step_prepare(s, &s->decode, &s->state, batch, VKM_STEP_FORWARD | VKM_STEP_SAMPLE,
                            err);
}

/* Computes the pending token and samples from what follows. */
static vkmoe_status decode(struct vkmoe_session *s, const struct vkm_batch *batch, vkmoe_step *info,
                           vkmoe_error *err)
{
    vkmoe_status status = vkm_session_extend(s, 1, err);
    if (status != VKMOE_OK)
        return status;
    vkm_host_rows(s->state.next)[0] = newest_row(s);
    s->has_logits = false;
    s->memory->logits_of = s;
    info->n_tokens = 1;
    status = decode_step(s, batch, err);
    if (status == VKMOE_OK)
        status = vkm_step_run(s, &s->decode, info, err);
    if (status == VKMOE_OK) {
        s->sequence.length++;
        s->pending = false;
        s->has_logits = true;
        s->logits_row = 0;
    }
    return status;
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

static vkmoe_status next_token(struct vkmoe_session *s, const struct vkm_batch *batch,
                               vkmoe_step *info, int32_t *token, vkmoe_error *err)
{
    vkmoe_status status = s->pending ? decode(s, batch, info, err) : choose(s, batch, info, err);
    if (status == VKMOE_OK)
        *token = *(int32_t *)(void *)(s->state.sampled.buffer->mapped + s->state.sampled.offset);
    return status;
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

static vkmoe_status generate(struct vkmoe_session *s, const vkmoe_generate_params *params,
                             size_t *n, vkmoe_error *err)
{
    struct vkm_batch batch = {.rows = s->state.next,
                              .n_rows = 1,
                              .n_logits = 1,
                              .penalise = vkm_sampling_penalises(&params->sampling),
                              .cut = vkm_sampling_cuts(&params->sampling)};
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
        batch.bound = vkm_attention_bound((uint32_t)s->tokens.count);
        status = next_token(s, &batch, &info, &token, err);
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
        status = generate(s, params, &n, err);
    }
    if (status == VKMOE_CANCELLED)
        atomic_store(&s->cancelled, false);
    s->stats.generated_tokens += n;
    s->stats.generation_seconds += vkm_seconds() - start;
    if (count)
        *count = n;
    return status;
}
