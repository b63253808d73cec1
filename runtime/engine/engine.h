/* What stands behind the public handles. */
#ifndef VKM_ENGINE_H
#define VKM_ENGINE_H

#include <stdatomic.h>

#include "engine/profile.h"
#include "engine/tuning.h"
#include "engine/usage.h"
#include "model/plan.h"

struct vkmoe_device {
    struct vkm_gpu *gpu;
    struct vkm_tuning tuning; /* what gpu goes by, where there is a tuning file */
};

struct vkmoe_model {
    struct vkm_gpu *gpu;
    struct vkm_weights weights;
    struct vkm_generation_defaults generation;
    vkmoe_model_info info;
    vkmoe_sampling sampling;
    vkmoe_weights kept;    /* what they are on the device */
    uint64_t memory_limit; /* as asked for */
    uint64_t device_bytes; /* of it, what the weights take */
    uint32_t n_host_experts;
    uint32_t chunk; /* of the session that it was planned with */
    bool force;
    vkmoe_host_cost cost;
    struct vkm_usage usage; /* of its experts, while some are in host memory */
};

/* A recorded step that can be run again. */
struct vkm_step {
    struct vkm_stream stream;
    struct vkm_commands *commands; /* NULL until recorded */
    double started;                /* when it was last given to the device */
    /* Of a decode step, what was recorded: the kernels of the sampler, the split of the context. */
    bool penalises, cuts, steers;
    uint32_t bound;
};

/* Device memory that a session and its forks share. */
struct vkm_session_memory {
    uint32_t users;
    struct vkm_kv kv;
    struct vkm_buffer *activations;
    const struct vkmoe_session *logits_of; /* who computed the logits in it, NULL: nobody */
    uint64_t routed;                       /* tokens whose routing is counted */
};

struct vkmoe_session {
    struct vkmoe_model *model;
    struct vkm_session_memory *memory;
    struct vkm_kv_sequence sequence; /* what is computed: all tokens but a pending one */
    struct vkm_state state;
    /* One row: forward and sample. The same step several times over, each leaving its token in its
     * own word of state.sampled, so that the device has more than one in hand. */
    struct vkm_step decode[VKM_STEPS_AHEAD];
    double decode_seconds; /* of the newest; 0: not known */
    double step_ended;     /* when the newest step of any kind did */
    struct {
        int32_t *items;
        size_t count, capacity;
    } tokens;
    uint32_t told;       /* tokens computed by the step that on_step is being told of */
    bool steers;         /* experts were switched off or forced */
    bool pending;        /* the newest token was chosen, but is not computed yet */
    bool has_logits;     /* state.logits holds what follows from what is computed, unless another */
    uint32_t logits_row; /* session has used that memory since; in this row */
    bool (*on_step)(void *user, const vkmoe_step *step);
    void *user;
    struct vkm_profile *profile; /* or NULL */
    atomic_bool cancelled;
    vkmoe_session_stats stats;
};

/* At the public boundary: what must be given. */
#define VKM_REQUIRE(argument, err)                                                                 \
    do {                                                                                           \
        if (!(argument))                                                                           \
            return vkm_fail((err), VKMOE_INVALID_ARGUMENT, "%s: %s is missing (NULL)", __func__,   \
                            #argument);                                                            \
    } while (0)

/* --- device.c --- */

/* What the device layer makes of params, which may be NULL. */
vkmoe_status vkm_device_gpu_params(const vkmoe_device_params *params, struct vkm_gpu_params *out,
                                   vkmoe_error *err);

/* vkmoe_device_open over a Vulkan loader of the caller's; NULL: the system's. */
vkmoe_status vkm_device_open(const vkmoe_device_params *params, vkm_vulkan_loader *loader,
                             vkmoe_device **out, vkmoe_error *err);

/* --- step.c --- */

enum vkm_step_parts { VKM_STEP_FORWARD = 1, VKM_STEP_SAMPLE = 2, VKM_STEP_LOSS = 4 };

/* Records a step, to be finished with vkm_step_finish; on failure it is left empty. */
vkmoe_status vkm_step_record(struct vkm_step *step, struct vkm_gpu *gpu,
                             const struct vkm_weights *w, const struct vkm_kv *kv,
                             const struct vkm_state *s, const struct vkm_batch *batch,
                             enum vkm_step_parts parts, vkmoe_error *err);
/* The same for a session, and makes it ready to run. */
vkmoe_status vkm_step_prepare(struct vkmoe_session *s, struct vkm_step *step,
                              const struct vkm_state *state, const struct vkm_batch *batch,
                              enum vkm_step_parts parts, vkmoe_error *err);
/* Gives it to the device, and waits for it only where it is more than one submit, in whose midst a
 * cancel ends it with CANCELLED. */
vkmoe_status vkm_step_start(struct vkmoe_session *s, struct vkm_step *step, vkmoe_error *err);
/* Waits for it and tells the session's listener, who may end the call with CANCELLED. info->seconds
 * counts from the start, or from the end of the step before where that was later. */
vkmoe_status vkm_step_end(struct vkmoe_session *s, struct vkm_step *step, vkmoe_step *info,
                          vkmoe_error *err);
/* Both. */
vkmoe_status vkm_step_run(struct vkmoe_session *s, struct vkm_step *step, vkmoe_step *info,
                          vkmoe_error *err);
void vkm_step_finish(struct vkm_step *step);
/* Copies one block of the KV cache to another. */
vkmoe_status vkm_step_copy_block(struct vkmoe_session *s, uint32_t from, uint32_t to,
                                 vkmoe_error *err);

/* How a session asks for its state: the chunk, where it is 0 the least that is chosen, halved until
 * activations fit one buffer and the device's workgroup counts. */
struct vkm_state_params vkm_session_layout(const struct vkm_gpu *gpu,
                                           const struct vkm_config *config,
                                           const vkmoe_session_params *params);

vkmoe_status vkm_session_check(const struct vkm_config *config, const vkmoe_session_params *params,
                               vkmoe_error *err);

/* As vkm_checkpoint_open, but a folder without weights is no failure: *out is NULL then. */
vkmoe_status vkm_checkpoint_open_any(const vkmoe_allocator *a, const char *path,
                                     struct vkm_checkpoint **out, vkmoe_error *err);

/* What weights are made into if that is asked for: those of a GGUF file, and those that are
 * quantised already, stay as the file has them, with a warning where that is something else. */
vkmoe_weights vkm_weights_kept(const struct vkm_gpu *gpu, const struct vkm_checkpoint *checkpoint,
                               vkmoe_weights asked);

/* What they then are on the device: what they are made into, or what they were quantised as before.
 */
vkmoe_weights vkm_weights_found(const struct vkm_checkpoint *checkpoint, vkmoe_weights kept);

/* What is to be loaded, or which session is to be made of what is. */
struct vkm_plan_request {
    struct vkm_gpu *gpu;
    const char *name; /* of the model, for messages */
    const struct vkm_config *config;
    const struct vkm_checkpoint *checkpoint; /* NULL: weights of BF16 */
    vkmoe_weights weights;                   /* what they are kept as */
    vkmoe_session_params session;
    uint64_t memory_limit;
    bool limit_alone;      /* judge by it alone, whatever the device has */
    const uint64_t *usage; /* NULL: not known */
    bool loaded;           /* plan for the session alone */
    uint64_t loaded_bytes;
};

/* As vkm_plan_make, and a reason where it does not fit. A chunk of 0 is chosen, plan->chunk: what
 * sessions are made with. */
vkmoe_status vkm_plan_request(const struct vkm_plan_request *request, vkmoe_plan *plan,
                              struct vkm_placement *placement, vkmoe_error *err);
/* OUT_OF_DEVICE_MEMORY for a plan that does not fit, unless forced. */
vkmoe_status vkm_plan_refuse(const vkmoe_plan *plan, bool force, vkmoe_error *err);

/* Seconds that the first op of a stream takes in the fastest of a few runs, and of as many more as
 * begin within `spend` seconds. */
vkmoe_status vkm_time_stream(struct vkm_gpu *gpu, const struct vkm_stream *stream, double spend,
                             double *seconds, vkmoe_error *err);
/* How many bytes of weights a product reads in a second. */
vkmoe_status vkm_measure_reads(struct vkm_gpu *gpu, const struct vkm_matrix *m,
                               double *bytes_per_second, vkmoe_error *err);

/* Compiles the pipelines that a session of the model, with such a cache, needs for a prompt of so
 * many tokens (0: unknown) and for decoding; CANCELLED soon after *cancel (may be NULL) turns true.
 */
vkmoe_status vkm_model_compile(struct vkmoe_model *model, uint32_t prompt_tokens, vkmoe_kv kv,
                               const atomic_bool *cancel, vkmoe_error *err);

/* --- session.c --- */

/* Makes room for `extra` tokens and tells the device where they lie. */
vkmoe_status vkm_session_extend(struct vkmoe_session *s, uint32_t extra, vkmoe_error *err);
/* Forgets what was computed from position `length` on; the tokens are left to the caller. */
vkmoe_status vkm_session_truncate(struct vkmoe_session *s, uint32_t length, vkmoe_error *err);

/* --- eval.c --- */

/* Counts which experts the newest step of n rows chose, for the next time that not all fit on the
 * device. */
vkmoe_status vkm_session_count_use(struct vkmoe_session *s, uint32_t n, vkmoe_error *err);

/* --- routing.c --- */

/* Writes what routing needs of the host; `table` as in vkmoe_routing. */
vkmoe_status vkm_routing_prepare(struct vkmoe_session *s, const uint32_t *table, vkmoe_error *err);
/* What a fork takes over. */
void vkm_routing_inherit(struct vkmoe_session *s, const struct vkmoe_session *from);

/* True once after vkmoe_session_cancel. */
bool vkm_session_take_cancel(struct vkmoe_session *s, vkmoe_error *err);
double vkm_seconds(void); /* monotonic */

static inline struct vkm_row *vkm_host_rows(struct vkm_view view)
{
    return (struct vkm_row *)(void *)(view.buffer->mapped + view.offset);
}

#endif
