/* The device memory of a step: its rows, the activations between kernels, and what comes out. */
#ifndef VKM_STATE_H
#define VKM_STATE_H

#include "gpu/gpu.h"
#include "model/router.h"
#include "vkmoe/model.h"

/* Steps of one row that may be in the device's hand at once. */
#define VKM_STEPS_AHEAD 4u
#define VKM_SAMPLED_STRIDE                                                                         \
    4u /* words between the tokens that they choose: views begin at 16 bytes */

struct vkm_state_params {
    uint32_t max_rows;   /* batch rows of one step */
    uint32_t max_logits; /* of them, rows whose logits are computed */
    uint32_t sequences;
    uint32_t context; /* positions of one sequence */
    struct vkm_router routing;
    vkmoe_kv kv;    /* the cache that attention reads */
    uint64_t parts; /* that attention leaves at most: vkm_attention_max_parts */
};

/* Shapes with R = max_rows, P = R * k, k = vkm_router_most, L = max_logits; ld as in
 * shaders/params.h.
 */
struct vkm_state {
    struct vkm_gpu *gpu;
    struct vkm_state_params params;
    struct vkm_buffer *device; /* what activations lie in; NULL where they are another's */
    struct vkm_buffer *host;   /* mapped */
    struct vkm_buffer *kept;   /* mapped, for the host to read; NULL where no routes are kept */

    /* written by the host, host memory */
    struct vkm_view rows;       /* [R] struct vkm_row */
    struct vkm_view next;       /* [L] struct vkm_row: the rows of the step after this one */
    struct vkm_view logit_rows; /* [L] uint: which batch rows get logits */
    struct vkm_view blocks;     /* [sequences, block_stride] uint */
    struct vkm_view samplers;   /* [sequences] struct vkm_sampler */
    struct vkm_view sampled;    /* [L] uint, or VKM_STEPS_AHEAD of one: the tokens chosen */
    struct vkm_view history;    /* [sequences, context] uint: written by the device as well */
    struct vkm_view targets;    /* [L] uint: tokens whose loss is wanted */
    struct vkm_view losses;     /* [L], written by the device */
    struct vkm_view experts;    /* of each MoE layer [n_routed_experts] uint, VKM_EXPERT_*,
                                 * experts_stride bytes apart */
    struct vkm_view table;      /* [vocab, k] uint, where routing goes by a table */
    uint64_t experts_stride;
    uint32_t block_stride;

    /* constant through a session */
    struct vkm_view rope_low, rope_high;

    /* activations */
    struct vkm_view x;                           /* [R, ld(hidden)] residual stream */
    struct vkm_view normed;                      /* [R, ld(hidden)] */
    struct vkm_view qkv;                         /* [R, ld(q + k + v)] */
    struct vkm_view attended;                    /* [R, ld(heads * head_dim)] */
    struct vkm_view parts;                       /* [parts, head_dim + 2] of split attention */
    struct vkm_view ffn_hidden;                  /* [R, ld(width)] of dense and shared FFNs */
    struct vkm_view router_logits, router_probs; /* [R, ld(experts)] */
    struct vkm_view expert_hidden;               /* [P, ld(expert width)] */
    struct vkm_view expert_out;                  /* [P, ld(hidden)], tiled form only */
    struct vkm_view histogram, offsets, tiles, sort_args, order; /* the expert sort */
    struct vkm_view logits;                                      /* [L, ld(vocab)] */
    struct vkm_view penalised;                                   /* [sequences, ld(vocab)] */
    struct vkm_view cut;                                         /* [L] uint */
    struct vkm_view best, best_at; /* [L, vocab blocks, 2], [L, vocab blocks] */

    /* routing of each MoE layer, in order: [moe layers] times [R, k], trace_stride bytes apart */
    struct vkm_view topk_ids, topk_gates;
    uint64_t trace_stride;

    /* what was chosen in each MoE layer, where it is counted: [experts, VKM_COUNT_WORDS] uint,
     * counts_stride bytes apart, and [experts, experts] uint, pairs_stride apart */
    struct vkm_view counts, pairs;
    uint64_t counts_stride, pairs_stride;

    /* which experts ranked first, where that is kept, of each MoE layer: [sequences, context, keep]
     * uint, kept_ids_stride bytes apart, and [sequences, context, 2, keep], kept_weights_stride
     * apart: see topk_kept */
    struct vkm_view kept_ids, kept_weights;
    uint64_t kept_ids_stride, kept_weights_stride;
};

/* Bytes of a state's buffers. */
struct vkm_state_bytes {
    uint64_t device, host, kept;
};
struct vkm_state_bytes vkm_state_bytes(const struct vkm_config *config,
                                       const struct vkm_state_params *params);
/* Allocates it and lays it out, without writing anything. */
vkmoe_status vkm_state_allocate(struct vkm_state *s, struct vkm_gpu *gpu,
                                const struct vkm_config *config,
                                const struct vkm_state_params *params, vkmoe_error *err);
/* Allocates it, fills the RoPE tables and zeroes what the host writes. */
vkmoe_status vkm_state_init(struct vkm_state *s, struct vkm_gpu *gpu,
                            const struct vkm_config *config, const struct vkm_state_params *params,
                            vkmoe_error *err);
/* A state for other sequences: host memory of its own, zeroed, and the activations of `from`, whose
 * device memory must outlive it. */
vkmoe_status vkm_state_fork(struct vkm_state *s, const struct vkm_state *from,
                            const struct vkm_config *config, vkmoe_error *err);
/* The same views over stand-in buffers without memory, to record a stream that is only compiled. */
void vkm_state_plan(struct vkm_state *s, const struct vkm_config *config,
                    const struct vkm_state_params *params, struct vkm_buffer stand_ins[3]);
void vkm_state_finish(struct vkm_state *s); /* accepts a zeroed struct */

#endif
