/* What stands behind the public handles. */
#ifndef VKM_ENGINE_H
#define VKM_ENGINE_H

#include "engine/usage.h"
#include "model/forward.h"
#include "model/plan.h"

struct vkmoe_device {
    struct vkm_gpu *gpu;
};

struct vkmoe_model {
    struct vkm_gpu *gpu;
    struct vkm_weights weights;
    struct vkm_generation_defaults generation;
    vkmoe_model_info info;
    vkmoe_generation_defaults defaults;
    uint64_t memory_limit; /* as asked for */
    uint64_t device_bytes; /* of it, what the weights take */
    uint32_t n_host_experts;
    bool force;
    vkmoe_host_cost cost;
    struct vkm_usage usage; /* of its experts, while some are in host memory */
};

/* A recorded step that can be run again. */
struct vkm_step {
    struct vkm_stream stream;
    struct vkm_commands *commands; /* NULL until recorded */
};

struct vkmoe_session {
    struct vkmoe_model *model;
    struct vkm_kv kv;
    struct vkm_kv_sequence sequence;
    struct vkm_state state;
    struct vkm_step decode; /* one row: forward and sample */
    int32_t last_token;     /* newest token of the sequence */
    bool pending;           /* it was chosen, but is not in the KV cache yet */
    bool has_logits;        /* else: state.logits holds what follows from it, in logits_row */
    uint32_t logits_row;
    vkmoe_session_stats stats;
};

/* How a session asks for its state: the chunk halved until activations fit one buffer and the
 * device's workgroup counts. */
struct vkm_state_params vkm_session_layout(const struct vkm_gpu *gpu,
                                           const struct vkm_config *config,
                                           const vkmoe_session_params *params);

vkmoe_status vkm_session_check(const vkmoe_session_params *params, vkmoe_error *err);

/* As vkm_checkpoint_open, but a folder without weights is no failure: *out is NULL then. */
vkmoe_status vkm_checkpoint_open_any(const vkmoe_allocator *a, const char *folder,
                                     struct vkm_checkpoint **out, vkmoe_error *err);

/* What is to be loaded, or which session is to be made of what is. */
struct vkm_plan_request {
    struct vkm_gpu *gpu;
    const char *name; /* of the model, for messages */
    const struct vkm_config *config;
    const struct vkm_checkpoint *checkpoint; /* NULL: weights of BF16 */
    vkmoe_session_params session;
    uint64_t memory_limit;
    const uint64_t *usage; /* NULL: not known */
    bool loaded;           /* plan for the session alone */
    uint64_t loaded_bytes;
};

/* As vkm_plan_make, and a reason where it does not fit. */
vkmoe_status vkm_plan_request(const struct vkm_plan_request *request, vkmoe_plan *plan,
                              struct vkm_placement *placement, vkmoe_error *err);
/* OUT_OF_DEVICE_MEMORY for a plan that does not fit, unless forced. */
vkmoe_status vkm_plan_refuse(const vkmoe_plan *plan, bool force, vkmoe_error *err);

/* How many bytes of weights a product reads in a second. */
vkmoe_status vkm_measure_reads(struct vkm_gpu *gpu, const struct vkm_matrix *m,
                               double *bytes_per_second, vkmoe_error *err);

/* Compiles the pipelines that a session of the model needs for a prompt of so many tokens (0:
 * unknown) and for decoding. */
vkmoe_status vkm_model_compile(struct vkmoe_model *model, uint32_t prompt_tokens, vkmoe_error *err);

#endif
