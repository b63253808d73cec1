/* How tall and wide the tiles of products of many rows are. */
#ifndef VKM_TILES_H
#define VKM_TILES_H

#include "gpu/gpu.h"
#include "kernels/kernels.h"

#define VKM_TILE_LEAST 16u /* rows of any tile, at least */

/* Heights least_rows << i for i < n_heights, at most VKM_TILE_HEIGHTS of them; one width. */
struct vkm_tiling {
    uint32_t least_rows, n_heights, cols;
};

/* The tiles of a path with weights of such a type; swiglu: each column has a gate and an up. As
 * tall as pays and shared memory has room for; caps->tile_rows leaves one height, the nearest. */
struct vkm_tiling vkm_tiling(const struct vkm_caps *caps, enum vkm_path path, enum vkm_dtype dtype,
                             bool swiglu);
/* The same without the heights that n_rows do not need. */
struct vkm_tiling vkm_tiling_for(struct vkm_tiling tiling, uint32_t n_rows);
/* Invocations of a workgroup that makes tiles of so many rows, on paths without subgroups. */
uint32_t vkm_tile_lanes(uint32_t rows);
/* The greatest height. */
uint32_t vkm_tiling_most(const struct vkm_tiling *tiling);

#endif
