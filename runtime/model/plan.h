/* The memory plan: every buffer of a model and a session placed in a rehearsal of the device, by
 * the functions that make the real ones; and which experts go to host memory. */
#ifndef VKM_PLAN_H
#define VKM_PLAN_H

#include "model/state.h"
#include "model/weights.h"
#include "vkmoe/plan.h"

struct vkm_plan_params {
    const struct vkm_config *config;
    const struct vkm_checkpoint *checkpoint; /* NULL: weights of BF16 */
    vkmoe_weights weights;                   /* what they are kept as */
    bool loaded;                             /* the weights are there: plan for a session alone */
    uint64_t loaded_bytes;                   /* what they take of memory_limit */
    struct vkm_state_params state;
    uint32_t cached;       /* positions in the KV cache */
    uint64_t memory_limit; /* 0: none */
    bool limit_alone;      /* judge by it alone, whatever the heaps have left */
    /* [MoE layers, routed experts] how often each was chosen in the past, for the order in which
     * they go to host memory and what they then cost; NULL: not known. */
    const uint64_t *usage;
};

/* Fills *plan; its reason only where the KV cache is too large for one piece. *placement (to be
 * finished with vkm_placement_finish) says where experts go; NULL: not wanted. */
vkmoe_status vkm_plan_make(struct vkm_gpu *gpu, const struct vkm_plan_params *params,
                           vkmoe_plan *plan, struct vkm_placement *placement, vkmoe_error *err);

/* Bytes that count against memory_limit, of all that lies on the device now. */
uint64_t vkm_plan_device_bytes(const struct vkm_gpu *gpu);

void vkm_placement_finish(const vkmoe_allocator *a, struct vkm_placement *p); /* accepts zeroed */

#endif
