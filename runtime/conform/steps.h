/* Checks beyond single kernels: whole steps of a model. */
#ifndef VKM_STEPS_H
#define VKM_STEPS_H

#include "conform/random.h"
#include "conform/report.h"
#include "engine/engine.h"

/* Runs the checks that report->params->kernels selects, on a device opened as `device` says. */
vkmoe_status vkm_steps_run(const vkmoe_device_params *device, struct vkm_report *report,
                           vkmoe_error *err);

/* --- what the checks share --- */

struct vkm_steps {
    const vkmoe_device_params *device_params; /* of the device under test */
    struct vkm_report *report;
    struct vkmoe_device *device;
    struct vkmoe_model *model; /* on the device */
    const char *path;          /* the model's folder */
    struct vkm_random random;  /* keyed by seed, check and case name */
    uint32_t count;            /* how much of it: tokens, repeats or rounds, as the check says */
    /* For tests of the checks themselves; NULL: nothing. `meddle` comes where something may go
     * wrong unseen: with `step`, once it was recorded; without, before a repeat, before memory is
     * taken, after an evaluation was cancelled. `run` runs a step in the device's place. */
    void (*meddle)(void *user, struct vkmoe_session *session, struct vkm_step *step);
    vkmoe_status (*run)(void *user, const struct vkm_gpu *gpu, const struct vkm_stream *stream,
                        vkmoe_error *err);
    void *user;
};

/* What a check found. */
struct vkm_finding {
    char sentence[512]; /* empty: all is well */
    char note[2048];    /* what was measured, or why nothing could be tested */
    bool untested;      /* nothing could be */
    double nmse;
    vkmoe_conform_element worst; /* its view is "" where there is none */
};

/* The status tells that the check could not be made, and is itself a failure of the case. */
typedef vkmoe_status vkm_step_check(struct vkm_steps *s, struct vkm_finding *f, vkmoe_error *err);
vkm_step_check vkm_check_routing;      /* count: tokens */
vkm_step_check vkm_check_determinism;  /* count: repeats */
vkm_step_check vkm_check_barriers;     /* count: repeats */
vkm_step_check vkm_check_memory_limit; /* count: rounds */
vkm_step_check vkm_check_exhaustion;   /* count: rounds */
vkm_step_check vkm_check_cancel;       /* count: rounds */

/* Fails with CANCELLED if the caller wants to stop. */
vkmoe_status vkm_step_go_on(const struct vkm_steps *s, vkmoe_error *err);
/* Lets s->meddle do what it does, if there is one. */
void vkm_step_meddle(struct vkm_steps *s, struct vkmoe_session *session, struct vkm_step *step);
/* Notes the first thing that is wrong; later ones are dropped. */
void vkm_finding_fail(struct vkm_finding *f, const char *format, ...) VKM_PRINTF(2, 3);

/* Tokens of one sequence. */
#define VKM_STEPS_MAX_TOKENS 100u
struct vkm_step_tokens {
    int32_t ids[VKM_STEPS_MAX_TOKENS];
    uint32_t count;
};
/* Draws `count` tokens from the vocabulary. */
void vkm_step_draw(struct vkm_steps *s, uint32_t count, struct vkm_step_tokens *out);
/* How many tokens a session can compute in one step with the logits of all. */
uint32_t vkm_step_capacity(const struct vkmoe_session *session);
/* A session with room for such tokens, its cache of this kind. */
vkmoe_status vkm_step_session(struct vkmoe_model *model, vkmoe_kv kv, struct vkmoe_session **out,
                              vkmoe_error *err);
/* Begins the session anew, records one step over all the tokens, with all logits, and hands it out
 * unencoded: to be finished with vkm_step_finish. */
vkmoe_status vkm_step_of_tokens(struct vkmoe_session *session, const struct vkm_step_tokens *tokens,
                                struct vkm_step *step, vkmoe_error *err);
/* Hashes what such a step left: logits and routing. */
vkmoe_status vkm_step_hash(struct vkmoe_session *session, uint32_t n_tokens, uint64_t *hash,
                           vkmoe_error *err);
/* Evaluates the tokens in a session begun anew, as callers of the public API do, and hashes logits
 * and routing. */
vkmoe_status vkm_step_eval(struct vkmoe_session *session, const struct vkm_step_tokens *tokens,
                           uint64_t *hash, vkmoe_error *err);

/* Small random models, `which` of so many shapes. */
#define VKM_RANDOM_MODELS 3u
const char *vkm_random_model_name(uint32_t which);
/* Writes one to a new folder; *folder is its path, to be removed and freed with
 * vkm_random_model_remove. */
vkmoe_status vkm_random_model_write(const vkmoe_allocator *a, uint32_t which, uint64_t seed,
                                    char **folder, vkmoe_error *err);
void vkm_random_model_remove(const vkmoe_allocator *a, char *folder); /* accepts NULL */

#endif
