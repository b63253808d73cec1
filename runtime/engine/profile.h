/* What a session's steps consist of, and where their time goes. */
#ifndef VKM_PROFILE_H
#define VKM_PROFILE_H

#include "gpu/gpu.h"
#include "kernels/cost.h"
#include "kernels/kernels.h"
#include "model/forward.h"

/* Added up over steps. */
struct vkm_profile {
    bool timed;     /* times of kernels are wanted: steps are recorded with timestamps */
    uint32_t steps; /* with a forward pass */
    uint32_t barriers;
    double record_seconds; /* of the host: describing steps and encoding them, */
    double submit_seconds; /* handing them to the device and taking results back, */
    double wait_seconds;   /* and waiting for it meanwhile */
    double step_seconds;   /* of steps by the clock: from where each was started, or the one before
                              it had ended, until it had ended itself */
    uint32_t dispatches[VKM_KERNEL_COUNT];
    double seconds[VKM_KERNEL_COUNT]; /* on the device; this and what follows only where timed */
    struct vkm_cost cost[VKM_KERNEL_COUNT];
    bool rounds[VKM_KERNEL_COUNT]; /* some of it on a path of units that are not float32's */
};

/* The rows of a step: `length` positions of each sequence were there before, and each of its
 * `sequences` has so many rows. */
struct vkm_profile_rows {
    uint32_t sequences, rows_each, length;
};

/* The mean over MoE layers of the distinct experts that the n_rows rows of the newest step chose,
 * by what it left in state->topk_ids; of one row K. */
vkmoe_status vkm_profile_experts(const struct vkm_state *state, const struct vkm_config *config,
                                 uint32_t n_rows, double *mean, vkmoe_error *err);

/* Counts a step that has ended. Where the profile is timed, experts are counted in what the step
 * left in state->topk_ids: nothing may have written there since, unless it has one row. */
vkmoe_status vkm_profile_step(struct vkm_profile *p, const struct vkm_stream *stream,
                              const struct vkm_commands *commands, const struct vkm_state *state,
                              const struct vkm_config *config, const struct vkm_profile_rows *rows,
                              vkmoe_error *err);

#endif
