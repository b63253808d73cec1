/* What is left when memory ran out and when a step was cancelled: it must compute as before. */
#include "conform/steps.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/array.h"

/* --- memory that runs out --- */

#define GRANTED_BYTES (UINT64_C(64) << 20) /* where vkmoe itself refuses more */
/* So small are the last pieces that no session fits into what is left. */
#define LEAST_BYTES (UINT64_C(4) << 10)

struct hoard {
    struct vkm_gpu *gpu;
    struct {
        struct vkm_buffer **items;
        size_t count, capacity;
    } buffers;
    uint64_t bytes;
};

static void drop_hoard(struct hoard *h)
{
    for (size_t i = 0; i < h->buffers.count; i++)
        vkm_buffer_destroy(h->gpu, h->buffers.items[i]);
    vkm_free(vkm_gpu_allocator(h->gpu), h->buffers.items);
}

/* Takes device memory in ever smaller pieces until there is none left. */
static vkmoe_status take_all(struct hoard *h, struct vkm_finding *f, vkmoe_error *err)
{
    uint64_t size = vkm_gpu_max_buffer(h->gpu);
    while (size >= LEAST_BYTES) {
        vkmoe_error error = {0};
        struct vkm_buffer *buffer = NULL;
        if (!VKM_ARRAY_RESERVE(vkm_gpu_allocator(h->gpu), &h->buffers, 1))
            return vkm_fail_memory(err, sizeof(buffer), "a list of buffers");
        vkmoe_status status = vkm_buffer_create(h->gpu, VKM_MEMORY_DEVICE, size,
                                                "a check of full memory", &buffer, &error);
        if (status == VKMOE_OK) {
            h->buffers.items[h->buffers.count++] = buffer;
            h->bytes += size;
            continue;
        }
        if (status == VKMOE_DEVICE_LOST) {
            if (err)
                *err = error;
            return status;
        }
        if (status != VKMOE_OUT_OF_DEVICE_MEMORY)
            vkm_finding_fail(f, "asked for %llu bytes more than there were: %s",
                             (unsigned long long)size, error.message);
        size /= 2;
    }
    return VKMOE_OK;
}

/* Evaluates and compares with what came out before. */
static vkmoe_status expect_hash(struct vkmoe_session *session, const struct vkm_step_tokens *tokens,
                                uint64_t before, const char *when, struct vkm_finding *f,
                                vkmoe_error *err)
{
    uint64_t hash = 0;
    vkmoe_status status = vkm_step_eval(session, tokens, &hash, err);
    if (status == VKMOE_OK && hash != before)
        vkm_finding_fail(f, "%s, the same step gave other bits than before", when);
    return status;
}

/* A session that finds no memory must be refused, and no other way than that. */
static vkmoe_status expect_refusal(struct vkm_steps *s, struct vkm_finding *f, vkmoe_error *err)
{
    struct vkmoe_session *session = NULL;
    vkmoe_error error = {0};
    vkmoe_status status = vkm_step_session(s->model, s->report->params->kv, &session, &error);
    if (status == VKMOE_OK)
        vkm_finding_fail(f, "while there was no memory left, a session could be made");
    else if (status != VKMOE_OUT_OF_DEVICE_MEMORY)
        vkm_finding_fail(f, "while there was no memory left, a session was refused so: %s",
                         error.message);
    vkmoe_session_destroy(session);
    if (status == VKMOE_DEVICE_LOST && err)
        *err = error;
    return status == VKMOE_DEVICE_LOST ? status : VKMOE_OK;
}

/* And made once memory is there again. */
static vkmoe_status expect_session(struct vkm_steps *s, vkmoe_error *err)
{
    struct vkmoe_session *session = NULL;
    vkmoe_status status = vkm_step_session(s->model, s->report->params->kv, &session, err);
    vkmoe_session_destroy(session);
    return status;
}

/* One round of it; *bytes: that were had. */
static vkmoe_status fill(struct vkm_steps *s, struct vkmoe_session *session,
                         const struct vkm_step_tokens *tokens, uint64_t before, uint64_t *bytes,
                         struct vkm_finding *f, vkmoe_error *err)
{
    struct hoard h = {.gpu = s->model->gpu};
    uint64_t used = vkm_gpu_memory_used(h.gpu);
    vkm_step_meddle(s, session, NULL);
    vkmoe_status status = take_all(&h, f, err);
    if (status == VKMOE_OK)
        status = expect_refusal(s, f, err);
    if (status == VKMOE_OK)
        status = expect_hash(session, tokens, before, "while there was no memory left", f, err);
    *bytes = h.bytes;
    drop_hoard(&h);
    if (status == VKMOE_OK)
        status = expect_hash(session, tokens, before, "after memory had run out", f, err);
    if (status == VKMOE_OK && vkm_gpu_memory_used(h.gpu) > used)
        vkm_finding_fail(f, "%llu bytes of device memory were not given back",
                         (unsigned long long)(vkm_gpu_memory_used(h.gpu) - used));
    return status;
}

/* `limited`: it is vkmoe that refuses more, at a bound of its own; else the driver. */
static vkmoe_status fill_rounds(struct vkm_steps *s, bool limited, struct vkm_finding *f,
                                vkmoe_error *err)
{
    struct vkmoe_session *session = NULL;
    struct vkm_step_tokens tokens;
    uint64_t before = 0, bytes = 0;
    uint32_t rounds = 0;
    vkmoe_status status = vkm_step_session(s->model, s->report->params->kv, &session, err);
    if (status != VKMOE_OK)
        return status;
    vkm_step_draw(s, vkmoe_session_context(session), &tokens);
    status = vkm_step_eval(session, &tokens, &before, err);
    while (rounds < s->count && status == VKMOE_OK) {
        status = vkm_step_go_on(s, err);
        vkm_gpu_limit_growth(s->model->gpu, limited ? GRANTED_BYTES : UINT64_MAX);
        vkm_gpu_ignore_budget(s->model->gpu, !limited);
        if (status == VKMOE_OK)
            status = fill(s, session, &tokens, before, &bytes, f, err);
        vkm_gpu_ignore_budget(s->model->gpu, false);
        vkm_gpu_limit_growth(s->model->gpu, UINT64_MAX);
        if (status == VKMOE_OK)
            status = expect_session(s, err);
        rounds += status == VKMOE_OK;
    }
    if (rounds > 0 && !f->sentence[0])
        snprintf(f->note, sizeof(f->note),
                 "%.2f GiB were had, then %s refused the rest and a session, went on with what it "
                 "had, and made one afterwards; %u times",
                 (double)bytes / 0x1p30, limited ? "vkmoe, at a limit of its own," : "the driver",
                 rounds);
    vkmoe_session_destroy(session);
    return status;
}

vkmoe_status vkm_check_memory_limit(struct vkm_steps *s, struct vkm_finding *f, vkmoe_error *err)
{
    return fill_rounds(s, true, f, err);
}

vkmoe_status vkm_check_exhaustion(struct vkm_steps *s, struct vkm_finding *f, vkmoe_error *err)
{
    if (!vkm_gpu_caps(s->model->gpu)->cpu)
        return fill_rounds(s, false, f, err);
    f->untested = true;
    snprintf(f->note, sizeof(f->note),
             "this driver's memory is the host's, which is not to be used up; memory-limit sets it "
             "a limit");
    return VKMOE_OK;
}

/* --- cancelled submits --- */

#define MORE_ROUNDS 20u /* where none was in time */

struct canceller {
    struct vkmoe_session *session;
    double seconds; /* from now */
};

static void *cancel_later(void *user)
{
    const struct canceller *c = user;
    struct timespec left = {.tv_sec = (time_t)c->seconds,
                            .tv_nsec = (long)((c->seconds - floor(c->seconds)) * 1e9)};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
    vkmoe_session_cancel(c->session);
    return NULL;
}

/* Evaluates while another thread cancels at some moment of the time that it takes. */
static vkmoe_status cancel_once(struct vkm_steps *s, struct vkmoe_session *session,
                                const struct vkm_step_tokens *tokens, double seconds,
                                uint32_t *cancelled, struct vkm_finding *f, vkmoe_error *err)
{
    struct canceller c = {session, seconds * (double)vkm_random_f32(&s->random, 0, 0.9f)};
    pthread_t thread;
    vkmoe_error error = {0};
    vkmoe_session_reset(session);
    if (pthread_create(&thread, NULL, cancel_later, &c) != 0)
        return vkm_fail(err, VKMOE_INTERNAL, "a thread could not be started");
    vkmoe_status status = vkmoe_session_eval(session, tokens->ids, tokens->count, NULL, &error);
    pthread_join(thread, NULL);
    if (status == VKMOE_CANCELLED) {
        ++*cancelled;
        vkm_step_meddle(s, session, NULL);
        if (vkmoe_session_length(session) != 0)
            vkm_finding_fail(f, "a cancelled evaluation left %u tokens behind",
                             vkmoe_session_length(session));
    } else if (status != VKMOE_OK) {
        if (err)
            *err = error;
        return status;
    } else {
        /* It came too late, and would end the next call. */
        (void)vkm_session_take_cancel(session, NULL);
    }
    return VKMOE_OK;
}

vkmoe_status vkm_check_cancel(struct vkm_steps *s, struct vkm_finding *f, vkmoe_error *err)
{
    struct vkmoe_session *session = NULL;
    struct vkm_step_tokens tokens;
    uint64_t before = 0;
    uint32_t cancelled = 0;
    vkmoe_session_params params = {.chunk = 16}; /* several steps, so that most cancels hit */
    params.kv = s->report->params->kv;
    params.context = vkm_min_u32(s->model->info.max_context, VKM_STEPS_MAX_TOKENS);
    vkmoe_status status = vkmoe_session_create(s->model, &params, &session, err);
    if (status != VKMOE_OK)
        return status;
    vkm_step_draw(s, params.context, &tokens);
    status = vkm_step_eval(session, &tokens, &before, err); /* compiles */
    double start = vkm_seconds();
    if (status == VKMOE_OK)
        status = expect_hash(session, &tokens, before, "a second time", f, err);
    double seconds = vkm_seconds() - start;
    uint32_t rounds = 0, most = s->count * MORE_ROUNDS;
    while (rounds < (cancelled ? s->count : most) && status == VKMOE_OK) {
        status = vkm_step_go_on(s, err);
        if (status == VKMOE_OK)
            status = cancel_once(s, session, &tokens, seconds, &cancelled, f, err);
        if (status == VKMOE_OK)
            status = expect_hash(session, &tokens, before, "after a cancelled one", f, err);
        rounds += status == VKMOE_OK;
    }
    f->untested = status == VKMOE_OK && cancelled == 0;
    if (rounds > 0)
        snprintf(f->note, sizeof(f->note), "%u of %u evaluations were cancelled in time", cancelled,
                 rounds);
    vkmoe_session_destroy(session);
    return status;
}
