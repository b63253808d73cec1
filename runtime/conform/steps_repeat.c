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

/* What came of repeats. */
struct repeats {
    uint32_t done, same; /* the first counts as the same */
    uint32_t sampled;    /* tokens, in each */
    uint64_t first;      /* the first one's hash */
};

static vkmoe_status repeat_once(struct vkm_steps *s, struct vkmoe_session *session,
                                const struct vkm_step_tokens *tokens, struct repeats *r,
                                vkmoe_error *err)
{
    uint64_t hash = 0;
    vkm_step_meddle(s, session, NULL);
    vkmoe_status status = vkm_step_eval(session, tokens, &hash, err);
    if (status == VKMOE_OK)
        status = generate(session, &hash, err);
    if (status != VKMOE_OK)
        return status;
    r->first = r->done == 0 ? hash : r->first;
    r->sampled = vkmoe_session_length(session) - tokens->count;
    r->done++;
    r->same += hash == r->first;
    return VKMOE_OK;
}

vkmoe_status vkm_check_determinism(struct vkm_steps *s, struct vkm_finding *f, vkmoe_error *err)
{
    struct vkmoe_session *session = NULL;
    struct vkm_step_tokens tokens;
    struct repeats r = {0};
    vkmoe_status status = vkm_step_session(s->model, s->report->params->kv, &session, err);
    if (status != VKMOE_OK)
        return status;
    vkm_step_draw(s, vkmoe_session_context(session) * 3 / 4, &tokens);
    while (r.done < s->count && status == VKMOE_OK) {
        status = vkm_step_go_on(s, err);
        if (status == VKMOE_OK)
            status = repeat_once(s, session, &tokens, &r, err);
        if (r.same < r.done)
            vkm_finding_fail(f, "repeat %u of the same prompt and generation gave other bits",
                             r.done - 1);
    }
    if (r.done > 0)
        snprintf(f->note, sizeof(f->note),
                 "%u tokens evaluated and %u sampled, %u times: logits, routing and text hash to "
                 "%016llx in %u of them",
                 tokens.count, r.sampled, r.done, (unsigned long long)r.first, r.same);
    vkmoe_session_destroy(session);
    return status;
}

/* Encodes the step as it is now, runs it and hashes what it leaves. */
static vkmoe_status run_step(struct vkm_steps *s, struct vkmoe_session *session,
                             struct vkm_step *step, uint32_t n_tokens, uint64_t *hash,
                             vkmoe_error *err)
{
    struct vkm_gpu *gpu = session->model->gpu;
    vkmoe_status status =
        s->run ? s->run(s->user, gpu, &step->stream, err) : vkm_stream_run(gpu, &step->stream, err);
    if (status == VKMOE_OK)
        status = vkm_step_hash(session, n_tokens, hash, err);
    return status;
}

/* What came of widened barriers. */
struct widened {
    uint32_t steps, same;
    size_t dispatches, barriers; /* in all steps, as recorded */
};

static size_t count_barriers(const struct vkm_stream *stream)
{
    size_t n = 0;
    for (size_t i = 0; i < stream->ops.count; i++)
        n += stream->ops.items[i].barrier;
    return n;
}

/* The step as recorded, and with a barrier before every dispatch. */
static vkmoe_status compare_barriers(struct vkm_steps *s, struct vkmoe_session *session,
                                     const struct vkm_step_tokens *tokens, struct widened *w,
                                     vkmoe_error *err)
{
    struct vkm_step step;
    uint64_t recorded = 0, widened = 0;
    vkmoe_status status = vkm_step_of_tokens(session, tokens, &step, err);
    if (status != VKMOE_OK)
        return status;
    vkm_step_meddle(s, session, &step);
    size_t barriers = count_barriers(&step.stream);
    status = run_step(s, session, &step, tokens->count, &recorded, err);
    for (size_t i = 0; i < step.stream.ops.count; i++)
        step.stream.ops.items[i].barrier = true;
    if (status == VKMOE_OK)
        status = run_step(s, session, &step, tokens->count, &widened, err);
    if (status == VKMOE_OK) {
        w->steps++;
        w->same += recorded == widened;
        w->dispatches += step.stream.ops.count;
        w->barriers += barriers;
    }
    vkm_step_finish(&step);
    return status;
}

vkmoe_status vkm_check_barriers(struct vkm_steps *s, struct vkm_finding *f, vkmoe_error *err)
{
    struct vkmoe_session *session = NULL;
    struct vkm_step_tokens tokens;
    struct widened w = {0};
    vkmoe_status status = vkm_step_session(s->model, s->report->params->kv, &session, err);
    if (status != VKMOE_OK)
        return status;
    /* By turns the kernels of decoding, of a few rows, and of a prompt. */
    static const uint32_t sizes[] = {1, 7, VKM_STEPS_MAX_TOKENS};
    while (w.steps < s->count && status == VKMOE_OK) {
        uint32_t most = vkm_step_capacity(session);
        vkm_step_draw(s, vkm_min_u32(most, sizes[w.steps % VKM_COUNT(sizes)]), &tokens);
        status = vkm_step_go_on(s, err);
        if (status == VKMOE_OK)
            status = compare_barriers(s, session, &tokens, &w, err);
        if (w.same < w.steps)
            vkm_finding_fail(
                f,
                "in round %u a step of %u tokens gave other bits with a barrier before "
                "every dispatch than with those that are needed",
                w.steps - 1, tokens.count);
    }
    if (w.steps > 0)
        snprintf(f->note, sizeof(f->note),
                 "%u steps of %zu dispatches in all, %zu of them behind a barrier; with one before "
                 "each, %u gave the same bits",
                 w.steps, w.dispatches, w.barriers, w.same);
    vkmoe_session_destroy(session);
    return status;
}
