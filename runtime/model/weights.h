/* A model's weights on a device: names bound and shapes checked, then repacked and uploaded. */
#ifndef VKM_WEIGHTS_H
#define VKM_WEIGHTS_H

#include "base/rows.h"
#include "gpu/gpu.h"
#include "kernels/kernels.h"
#include "model/config.h"
#include "model/checkpoint.h"
#include "vkmoe/plan.h"

/* Rows of weights, [n_out, ld(n_in)], with an optional bias. */
struct vkm_matrix {
    struct vkm_view view;
    struct vkm_view bias; /* [n_out] float32, or absent */
    uint32_t n_out, n_in;
    enum vkm_dtype dtype;
};

/* gate [width, ld(hidden)], up [width, ld(hidden)], down [hidden, ld(width)]. */
struct vkm_ffn {
    struct vkm_view view; /* absent where there is none */
    uint32_t width;
    enum vkm_dtype dtype;
};

struct vkm_layer {
    struct vkm_view input_norm; /* [ld(hidden)] float32 */
    struct vkm_view post_norm;  /* [ld(hidden)] float32 */
    struct vkm_matrix qkv;      /* queries, keys, values: [(heads + 2 kv heads) head_dim, hidden] */
    struct vkm_matrix o;        /* [hidden, heads * head_dim] */
    struct vkm_ffn ffn;         /* the dense FFN, or the shared experts as one */
    bool is_moe;
    struct vkm_matrix router;   /* [n_routed, hidden] float32 */
    struct vkm_view experts;    /* [n_routed] addresses of their FFNs */
    struct vkm_view expert_ffn; /* the buffers they lie in: the first of a chain */
    enum vkm_dtype expert_dtype;
};

struct vkm_weights {
    struct vkm_gpu *gpu;
    struct vkm_config config;
    struct vkm_matrix embed;       /* [vocab, hidden] */
    struct vkm_matrix lm_head;     /* [vocab, hidden]; the same view as embed where they are tied */
    struct vkm_view final_norm;    /* [ld(hidden)] float32 */
    struct vkm_layer *layers;      /* [num_hidden_layers] */
    uint64_t bytes;                /* of all buffers */
    uint64_t host_bytes;           /* of them, bytes of experts in host memory */
    struct vkm_matrix host_sample; /* as many rows as lie in the first buffer of those, to time */
    struct {
        struct vkm_buffer **items;
        size_t count, capacity;
    } buffers;
    struct { /* what remains to be uploaded: tensors, and tables of experts' addresses */
        struct vkm_piece *items;
        size_t count, capacity;
    } pieces;
    struct {
        struct vkm_table *items;
        size_t count, capacity;
    } tables;
};

/* A tensor of the checkpoint, the rows it fills and how they are stored. */
struct vkm_piece {
    const struct vkm_tensor *source; /* [rows, cols], or [cols] with rows = 1 */
    struct vkm_view target;          /* [rows, ld] of dtype */
    uint32_t rows, cols, ld;
    enum vkm_dtype dtype;
};

/* Addresses to be written to a view. */
struct vkm_table {
    struct vkm_view target;
    uint64_t *addresses; /* owned */
    size_t count;
};

/* Which experts lie in host memory, to be read over the bus. */
struct vkm_placement {
    uint32_t n_layers;  /* MoE layers */
    uint32_t n_experts; /* routed, in each */
    uint32_t n_host;    /* of all of them, in host memory */
    bool *on_host;      /* [n_layers, n_experts] */
};

/* Bytes of one FFN of a width. */
uint64_t vkm_ffn_bytes(const struct vkm_config *config, uint32_t width, enum vkm_dtype dtype);

/* Bytes from one expert of a layer to the next. */
uint64_t vkm_expert_bytes(const struct vkm_config *config, enum vkm_dtype dtype);

/* What a part of the model is stored as, if the file has it as `file`. */
enum vkm_dtype vkm_weights_dtype(vkmoe_part part, vkmoe_weights weights, enum vkm_dtype file);

/* What a model's weights are made of. */
struct vkm_weights_params {
    const struct vkm_config *config;
    const struct vkm_checkpoint *checkpoint; /* NULL: every tensor is there, in BF16; only for a
                                                rehearsal, or to be made random */
    const struct vkm_placement *placement;   /* NULL: every expert lies on the device */
    vkmoe_weights weights;
};

/* Finds every tensor the configuration asks for, checks dtypes and shapes, and allocates memory;
 * nothing is read yet. Tensors of one group (q, k, v; one FFN; all experts of a layer) that differ
 * in dtype and are not quantised by vkmoe are stored as the smallest that holds each exactly. */
vkmoe_status vkm_weights_bind(struct vkm_gpu *gpu, const struct vkm_weights_params *params,
                              struct vkm_weights *w, vkmoe_error *err);

/* Puts the pieces in the order in which they lie in the files. */
void vkm_weights_sort(struct vkm_weights *w);

/* Weights of blocks that are kept as float32, between bind and upload. */
struct vkm_widened {
    uint64_t bytes, file_bytes; /* on the device, in the file */
};
struct vkm_widened vkm_weights_widened(const struct vkm_weights *w);

/* Reports bytes of the checkpoint read so far; returns false to cancel. */
typedef bool vkm_progress_fn(void *user, uint64_t done, uint64_t total);
/* Reads, repacks and uploads what bind found, in the order of the file. Fails with BAD_FORMAT at a
 * weight that is not finite, or that is too large for its group's scale. */
vkmoe_status vkm_weights_upload(struct vkm_weights *w, vkm_progress_fn *progress, void *user,
                                vkmoe_error *err);
/* Makes weights up instead, the same for the same seed; bound without a checkpoint. */
vkmoe_status vkm_weights_randomise(struct vkm_weights *w, uint32_t seed, vkmoe_error *err);
void vkm_weights_finish(struct vkm_weights *w); /* accepts a zeroed struct */

#endif
