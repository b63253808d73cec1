#include "kernels/tiles.h"

#include "base/rows.h"
#include "kernels/launch.h"

enum {
    TILE_ROWS = 32, /* where one height does */
    TILE_COLS = 32, /* fixed by the lanes of lib/gemm_shared.glsl, gemm_int8 and gemm_fp16 */
    WIDE_COLS = 64, /* of large matrices, for which activations are brought less often then */
    MOST_ROWS_SHARED = 64,
    TILE_LANES = 128, /* for so many rows or fewer: eight sums a lane, in SwiGLU sixteen */
    MOST_ROWS_MATRIX = 128,
    MATRIX_TEAMS = 4,  /* subgroups, in lib/gemm_coopmat.glsl, */
    TEAM_MATRICES = 8, /* and how many sums of matrices each may have, in SwiGLU twice */
};

/* Sums of a matrix. */
static uint32_t unit(const struct vkm_caps *caps)
{
    return vkm_matrix_rows(caps->matrix) * vkm_matrix_cols(caps->matrix);
}

/* Bytes of shared memory, as the files of lib/ declare them. */
static uint32_t shared_bytes(const struct vkm_caps *caps, enum vkm_path path, enum vkm_dtype dtype,
                             uint32_t matrices, uint32_t rows, uint32_t cols)
{
    const uint32_t lines = rows + matrices * cols, half = 2, word = 4;
    bool factors = vkm_dtype_is_quantised(dtype) && !vkm_dtype_has_one_scale(dtype);
    uint32_t vectors = vkm_matrix_k(caps->matrix) > 8 ? 10 : 6;
    switch (path) {
    case VKM_PATH_BASE:
        return lines * 9 * 4 * word;
    case VKM_PATH_FP16:
        return lines * (17 * 4 * half + (factors ? 4u : 2u) * 2 * word);
    case VKM_PATH_INT8:
        return lines * (33 + 4 * 2) * word + (factors ? matrices * cols * 4 * word : 0u);
    case VKM_PATH_COOPMAT:
        return lines * (vectors * 4 * half + word) + rows * 2 * word +
               matrices * MATRIX_TEAMS * unit(caps) * word;
    default: /* of others nothing is known: no tile fits but the lowest */
        return UINT32_MAX;
    }
}

uint32_t vkm_tile_lanes(uint32_t rows)
{
    return TILE_LANES * vkm_max_u32(1, rows / TILE_ROWS);
}

static bool fits(const struct vkm_caps *caps, enum vkm_path path, enum vkm_dtype dtype, bool swiglu,
                 uint32_t rows, uint32_t cols)
{
    if (path == VKM_PATH_COOPMAT && rows * cols > TEAM_MATRICES * MATRIX_TEAMS * unit(caps))
        return false;
    if (path != VKM_PATH_COOPMAT && vkm_tile_lanes(rows) > caps->max_invocations)
        return false;
    return shared_bytes(caps, path, dtype, swiglu ? 2 : 1, rows, cols) <= caps->shared_bytes;
}

/* The least height for which each subgroup has a matrix. */
static uint32_t least_rows(const struct vkm_caps *caps, enum vkm_path path, uint32_t cols)
{
    if (path != VKM_PATH_COOPMAT || cols >= MATRIX_TEAMS * vkm_matrix_cols(caps->matrix))
        return VKM_TILE_LEAST;
    return vkm_max_u32(VKM_TILE_LEAST, 2 * vkm_matrix_rows(caps->matrix));
}

static struct vkm_tiling one_height(struct vkm_tiling t, uint32_t rows)
{
    uint32_t most = vkm_tiling_most(&t);
    t.least_rows = vkm_min_u32(vkm_max_u32(rows, t.least_rows), most);
    t.n_heights = 1;
    return t;
}

struct vkm_tiling vkm_tiling(const struct vkm_caps *caps, enum vkm_path path, enum vkm_dtype dtype,
                             bool swiglu)
{
    bool matrix = path == VKM_PATH_COOPMAT;
    if (path == VKM_PATH_SUBGROUP || path == VKM_PATH_WIDE)
        return (struct vkm_tiling){TILE_ROWS, 1, TILE_COLS};
    bool wide = matrix && fits(caps, path, dtype, true, MOST_ROWS_SHARED, WIDE_COLS);
    struct vkm_tiling t = {.n_heights = 1, .cols = wide ? WIDE_COLS : TILE_COLS};
    t.least_rows = least_rows(caps, path, t.cols);
    uint32_t most = vkm_min_u32(matrix ? MOST_ROWS_MATRIX : MOST_ROWS_SHARED,
                                vkm_launch_setting(caps, VKM_SETTING_tile_rows));
    while (vkm_tiling_most(&t) < most && t.n_heights < VKM_TILE_HEIGHTS &&
           fits(caps, path, dtype, swiglu, 2 * vkm_tiling_most(&t), t.cols))
        t.n_heights++;
    return caps->tile_rows > 0 ? one_height(t, caps->tile_rows) : t;
}

struct vkm_tiling vkm_tiling_for(struct vkm_tiling t, uint32_t n_rows)
{
    while (t.n_heights > 1 && t.least_rows << (t.n_heights - 2) >= n_rows)
        t.n_heights--;
    return t;
}

uint32_t vkm_tiling_most(const struct vkm_tiling *tiling)
{
    return tiling->least_rows << (tiling->n_heights - 1);
}
