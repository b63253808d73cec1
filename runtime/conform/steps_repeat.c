/* The same step again: plainly, and with every barrier widened to full. */
#include "conform/steps.h"

#include <stdio.h>

/* Some tokens generated at a temperature, hashed. */
static vkmoe_status generate(struct vkmoe_session *session, uint64_t *hash, vkmoe_error *err)
{
    vkmoe_generate_params params = {
        .max_tokens = vkmoe_session_context(session) - vkmoe_session_length(session),
        .sampling = {.temperature = 1, .top_k = 40, .top_p = 0.95f, .seed = 7},
        .ignore_eos = true,
    };
    vkmoe_status status = vkmoe_session_generate(session, &params, NULL, err);
    if (status == VKMOE_OK)
        *hash = vkm_hash(*hash, vkmoe_session_tokens(session),
                         vkmoe_session_length(session) * sizeof(int32_t));
    return status;
}

vkmoe_status vkm_check_determinism(struct vkm_steps *s, struct vkm_finding *f, vkmoe_error *err)
{
    struct vkmoe_session *session = NULL;
    struct vkm_step_tokens tokens;
    uint64_t first = 0, hash = 0;
    vkmoe_status status = vkm_step_session(s->model, s->report->params->kv, &session, err);
    if (status != VKMOE_OK)
        return status;
    vkm_step_draw(s, vkmoe_session_context(session) * 3 / 4, &tokens);
    for (uint32_t i = 0; i < s->count && status == VKMOE_OK; i++) {
        status = vkm_step_go_on(s, err);
        if (status == VKMOE_OK)
            status = vkm_step_eval(session, &tokens, &hash, err);
        if (status == VKMOE_OK)
            status = generate(session, &hash, err);
        if (status == VKMOE_OK && i > 0 && hash != first)
            vkm_finding_fail(f, "repeat %u of the same prompt and generation gave other bits", i);
        first = i == 0 ? hash : first;
    }
    snprintf(
        f->note, sizeof(f->note),
        "%u tokens evaluated and %u sampled, %u times: logits, routing and text hash to %016llx",
        tokens.count, vkmoe_session_length(session) - tokens.count, s->count,
        (unsigned long long)first);
    vkmoe_session_destroy(session);
    return status;
}

/* Encodes the step as it is now, runs it and hashes what it leaves. */
static vkmoe_status run_step(struct vkmoe_session *session, struct vkm_step *step,
                             uint32_t n_tokens, uint64_t *hash, vkmoe_error *err)
{
    vkmoe_status status = vkm_stream_run(session->model->gpu, &step->stream, err);
    if (status == VKMOE_OK)
        status = vkm_step_hash(session, n_tokens, hash, err);
    return status;
}

/* The step as recorded, and with a barrier before every dispatch. */
static vkmoe_status compare_barriers(struct vkmoe_session *session,
                                     const struct vkm_step_tokens *tokens, uint32_t round,
                                     struct vkm_finding *f, vkmoe_error *err)
{
    struct vkm_step step;
    uint64_t recorded = 0, widened = 0;
    size_t barriers = 0;
    vkmoe_status status = vkm_step_of_tokens(session, tokens, &step, err);
    if (status != VKMOE_OK)
        return status;
    status = run_step(session, &step, tokens->count, &recorded, err);
    for (size_t i = 0; i < step.stream.ops.count; i++) {
        barriers += step.stream.ops.items[i].barrier;
        step.stream.ops.items[i].barrier = true;
    }
    if (status == VKMOE_OK)
        status = run_step(session, &step, tokens->count, &widened, err);
    if (status == VKMOE_OK && recorded != widened)
        vkm_finding_fail(f,
                         "in round %u a step of %u tokens gave other bits with a barrier before "
                         "every dispatch than with those that are needed",
                         round, tokens->count);
    snprintf(f->note, sizeof(f->note),
             "%zu dispatches, %zu of them behind a barrier; with one before each: the same bits",
             step.stream.ops.count, barriers);
    if (f->sentence[0])
        f->note[0] = '\0';
    vkm_step_finish(&step);
    return status;
}

vkmoe_status vkm_check_barriers(struct vkm_steps *s, struct vkm_finding *f, vkmoe_error *err)
{
    struct vkmoe_session *session = NULL;
    struct vkm_step_tokens tokens;
    vkmoe_status status = vkm_step_session(s->model, s->report->params->kv, &session, err);
    if (status != VKMOE_OK)
        return status;
    /* By turns the kernels of decoding, of a few rows, and of a prompt. */
    static const uint32_t sizes[] = {1, 7, VKM_STEPS_MAX_TOKENS};
    for (uint32_t i = 0; i < s->count && status == VKMOE_OK; i++) {
        uint32_t most = vkm_step_capacity(session);
        vkm_step_draw(s, vkm_min_u32(most, sizes[i % VKM_COUNT(sizes)]), &tokens);
        status = vkm_step_go_on(s, err);
        if (status == VKMOE_OK)
            status = compare_barriers(session, &tokens, i, f, err);
    }
    vkmoe_session_destroy(session);
    return status;
}
