/* Recording a kernel with its launch geometry: one function for each row of the table. */
#ifndef VKM_OPS_H
#define VKM_OPS_H

#include "gpu/gpu.h"
#include "gpu/recorder.h"
#include "kernels/kernels.h"
#include "kernels/tiles.h"

/* What geometry needs beyond the params. */
struct vkm_launch {
    uint32_t n_rows;      /* batch rows; for kernels over pairs: rows * k; unused by moe_scan,
                             an estimate of the work for moe_gemm_up and moe_gemm_down */
    enum vkm_dtype dtype; /* of the weights or the KV cache, where there is either */
    /* For moe_gemm_up and moe_gemm_down: workgroup counts, height and width of the tiles in the
     * list, of how many lists it is one, and whether it is beside the one before. */
    struct vkm_view indirect;
    uint32_t tile_rows, tile_cols, lists;
    bool beside;
};

/* vkm_op_NAME(recorder, launch, params) appends one dispatch of NAME: the best path that
 * recorder->caps offers, workgroup size and specialisation constants from the launch table. Errors
 * stick to the recorder. */
#define KERNEL(name, ...)                                                                          \
    void vkm_op_##name(struct vkm_recorder *r, struct vkm_launch launch,                           \
                       const struct vkm_params_##name *params);
#include "kernels/table.def"
#undef KERNEL

/* The same by kernel id, for tests and conformance. */
void vkm_op(struct vkm_recorder *r, enum vkm_kernel_id kernel, struct vkm_launch launch,
            const void *params);

/* The path of tiled products with such weights. */
enum vkm_path vkm_product_path(const struct vkm_caps *caps, enum vkm_dtype dtype);

/* The tiles of the grouped products of n_rows rows, whose column workgroups moe_scan writes into
 * its indirect arguments: ld / cols, rounded up. */
struct vkm_tiling vkm_moe_tiling(const struct vkm_caps *caps, enum vkm_dtype dtype,
                                 uint32_t n_rows);
/* How attention splits the context, see params.h. */
struct vkm_split {
    uint32_t count, span;
};
/* The heads that attention goes over, and how many rows at once. */
struct vkm_attention_shape {
    uint32_t n_heads, head_dim, n_rows;
    bool consecutive;
    enum vkm_dtype kv; /* storage type of the cache */
};
/* A bound on how many positions a step's rows see, of which there are few, so that a step recorded
 * for it may be run again and again. */
uint32_t vkm_attention_bound(uint32_t positions);
/* The split for rows that see at most `bound` positions: more than one only where the rows and
 * heads alone would leave the device idle. */
struct vkm_split vkm_attention_split(const struct vkm_caps *caps,
                                     const struct vkm_attention_shape *shape, uint32_t bound);
/* Parts that splits leave at most: for the shape's rows or fewer, consecutive or not. */
uint64_t vkm_attention_max_parts(const struct vkm_caps *caps,
                                 const struct vkm_attention_shape *shape, uint32_t bound);

/* Rows above which a tiled product is recorded instead of a row-blocked matrix-vector product. */
uint32_t vkm_gemm_threshold(const struct vkm_caps *caps);
/* Whether the pairs of n_rows rows and k of n_experts experts each are sorted, so that an expert is
 * read once for all: of few rows only where some are expected to share experts. */
bool vkm_groups_experts(const struct vkm_caps *caps, uint32_t n_rows, uint32_t k,
                        uint32_t n_experts);
/* Upper bounds for n_pairs pairs: tiles of one height that moe_scan can write, whose highest are so
 * high; tiles of all heights, whatever those are; and sort tiles. */
uint32_t vkm_moe_list_tiles(uint32_t n_pairs, uint32_t n_experts, uint32_t most_rows);
uint32_t vkm_moe_all_tiles(uint32_t n_pairs, uint32_t n_experts);
uint32_t vkm_moe_sort_tiles(uint32_t n_pairs);

#endif
