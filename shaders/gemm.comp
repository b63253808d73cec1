/* Matrix products of many batch rows: y[r, o] = w[o] . x[r] (+ bias[o]).
 *   ADD      adds to what y holds
 *   SWIGLU   h[r, o] = silu(gate[o] . x[r]) * (up[o] . x[r]) for one FFN
 *   EXPERTS  grouped: each tile of sorted pairs has an expert of its own. With SWIGLU, x's rows are
 *            gathered through order and h stays sorted; else h is read sorted and y's rows are
 *            scattered through order
 * A workgroup makes a tile of TILE_ROWS rows by TILE_COLS columns, through shared memory
 * (lib/gemm_shared.glsl), with subgroup arithmetic and lanes along K (lib/gemm_team.glsl), which
 * suits CPU drivers, as does a lane for each column (lib/gemm_wide.glsl), or with products of 8-bit
 * integers (lib/gemm_int8.glsl) or of float16 (lib/gemm_fp16.glsl, lib/gemm_coopmat.glsl). How tall
 * and wide tiles may be on each path: runtime/kernels/tiles.c.
 * Workgroups: column tiles on x, folded into z where x does not suffice; row tiles on y. */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "lib/mem.glsl"
#include "lib/math.glsl"

/* Rows of a tile that share a weight at a time, where lanes or subgroups make blocks of it. */
layout(constant_id = 1) const uint BLOCK_ROWS = 8;
layout(constant_id = 2) const uint TILE_ROWS = 32;
layout(constant_id = 3) const uint TILE_COLS = 32;
/* What a matrix unit multiplies at a time: rows, columns << 8, K << 16. */
layout(constant_id = 4) const uint MATRIX = 0x101010;

#if defined(PATH_WIDE)
#define GROUPS
#elif defined(PATH_SUBGROUP) /* columns of a block in lib/gemm_team.glsl */
#ifdef SWIGLU
#define RUN_ROWS 4u
#else
#define RUN_ROWS 8u
#endif
#endif
#if defined(PATH_INT8) || defined(PATH_FP16)
#define GROUPS
#elif defined(PATH_COOPMAT)
#define BOUNDS
#endif
#include "lib/weights.glsl"

#ifdef SWIGLU
#define VKM_SUM vec2 /* gate, up */
#define N_OUT p.width
#define OUT_LD p.h_ld
#define OUT p.h
#else
#define VKM_SUM float
#define N_OUT p.n_out
#define OUT_LD p.y_ld
#define OUT p.y
#endif
#if defined(EXPERTS) && !defined(SWIGLU)
#define IN p.h
#define IN_LD p.h_ld
#else
#define IN p.x
#define IN_LD p.k_ld
#endif

/* The tile: its first column, its first row (of the batch or of the sorted pairs), how many rows it
 * has, and the matrices. */
uint tile_col;
uint tile_row;
uint tile_rows;
uvec2 tile_weights;
#ifdef SWIGLU
uvec2 tile_up_weights;
#endif

/* False where there is nothing to do, for the whole workgroup alike. */
bool tile_begin()
{
    tile_col = (gl_WorkGroupID.x + gl_WorkGroupID.z * gl_NumWorkGroups.x) * TILE_COLS;
#ifdef EXPERTS
    uvec4 tile = ld_uvec4(p.tiles, gl_WorkGroupID.y); /* expert, first sorted index, rows */
    if (tile.x >= p.n_experts)
        return false;
    tile_row = tile.y;
    tile_rows = tile.z;
    tile_weights = ld_uvec2(p.experts, tile.x);
#ifndef SWIGLU
    tile_weights = ffn_down(tile_weights, p.width, p.k_ld);
#endif
#else
    tile_row = gl_WorkGroupID.y * TILE_ROWS;
    tile_rows = min(p.n_rows - tile_row, TILE_ROWS);
    tile_weights = p.w;
#endif
#ifdef SWIGLU
    tile_up_weights = ffn_up(tile_weights, p.width, p.k_ld);
#endif
    return tile_col < OUT_LD;
}

/* Where the tile's row r is read. Past the end, the last row again: its products are not stored. */
uvec2 tile_in(uint r)
{
    uint row = tile_row + min(r, tile_rows - 1u);
#if defined(EXPERTS) && defined(SWIGLU)
    row = ld_u32(p.order, row) / p.k;
#endif
    return addr_row(IN, row, IN_LD * 4u);
}

/* The weights of the tile's column c, likewise. */
weight_row tile_column(uint c)
{
    return row_within(tile_weights, tile_col + c, N_OUT, IN_LD);
}

#ifdef SWIGLU
weight_row tile_up_column(uint c)
{
    return row_within(tile_up_weights, tile_col + c, N_OUT, IN_LD);
}
#endif

/* Finishes the product of row r and column c, and stores it if the tile has them. */
void tile_store(uint r, uint c, VKM_SUM sum)
{
    uint row = tile_row + r;
    uint o = tile_col + c;
    if (r >= tile_rows || o >= OUT_LD)
        return;
#if defined(EXPERTS) && !defined(SWIGLU)
    row = ld_u32(p.order, row);
#endif
    uvec2 out_row = addr_row(OUT, row, OUT_LD * 4u);
    if (o >= N_OUT) {
#ifndef ADD
        st_f32(out_row, o, 0.0);
#endif
        return;
    }
#ifdef SWIGLU
    st_f32(out_row, o, silu(sum.x) * sum.y);
#else
#ifndef EXPERTS
    if (p.use_bias != 0u)
        sum += ld_f32(p.bias, o);
#endif
#ifdef ADD
    sum += ld_f32(out_row, o);
#endif
    st_f32(out_row, o, sum);
#endif
}

#if defined(PATH_WIDE)
#include "lib/gemm_wide.glsl"
#elif defined(PATH_SUBGROUP)
#include "lib/gemm_team.glsl"
#elif defined(PATH_INT8)
#include "lib/gemm_int8.glsl"
#elif defined(PATH_FP16)
#include "lib/gemm_fp16.glsl"
#elif defined(PATH_COOPMAT)
#include "lib/gemm_coopmat.glsl"
#else
#include "lib/gemm_shared.glsl"
#endif

void main()
{
    if (tile_begin())
        tile_product();
}
