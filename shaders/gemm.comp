/* Matrix products of many batch rows: y[r, o] = w[o] . x[r] (+ bias[o]).
 *   ADD      adds to what y holds
 *   SWIGLU   h[r, o] = silu(gate[o] . x[r]) * (up[o] . x[r]) for one FFN
 *   EXPERTS  grouped: each tile of sorted pairs has an expert of its own. With SWIGLU, x's rows are
 *            gathered through order and h stays sorted; else h is read sorted and y's rows are
 *            scattered through order
 * A workgroup of 128 lanes makes a tile of VKM_TILE_ROWS rows by VKM_TILE_COLS columns; K goes by in
 * steps of 32 through shared memory, [row or column][K] in vectors of four, each padded by a vector
 * so that lanes on neighbouring columns hit different banks. A lane owns 4 rows by 2 columns.
 * Workgroups: column tiles on x, row tiles on y, column tiles folded into z where x does not suffice.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "lib/mem.glsl"
#include "lib/weights.glsl"
#include "lib/math.glsl"

#ifdef SWIGLU
#define SUM vec2 /* gate, up */
#define N_OUT p.width
#define OUT_LD p.h_ld
#define OUT p.h
#else
#define SUM float
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

const uint STEP4 = 8u;          /* vectors of four along K in one step */
const uint PITCH = STEP4 + 1u;  /* and in a row of shared memory */
const uint LANE_ROWS = 4u;
const uint LANE_COLS = 2u;
const uint COL_LANES = VKM_TILE_COLS / LANE_COLS;
/* Steps after which the sums are added to the totals, so that rounding grows with the square root of
 * K's length at most. */
const uint FLUSH = 4u;

shared vec4 tile_x[VKM_TILE_ROWS * PITCH];
shared vec4 tile_w[VKM_TILE_COLS * PITCH];
#ifdef SWIGLU
shared vec4 tile_up[VKM_TILE_COLS * PITCH];
#endif

void store(uint row, uint o, SUM sum)
{
    uvec2 out_row = addr_row(OUT, row, OUT_LD * 4u);
    if (o >= N_OUT) {
#ifndef ADD
        if (o < OUT_LD)
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

void main()
{
    uint lane = gl_LocalInvocationID.x;
    uint first_col = (gl_WorkGroupID.x + gl_WorkGroupID.z * gl_NumWorkGroups.x) * VKM_TILE_COLS;
    if (first_col >= OUT_LD)
        return;
#ifdef EXPERTS
    uvec4 tile = ld_uvec4(p.tiles, gl_WorkGroupID.y); /* expert, first sorted index, rows */
    if (tile.x >= p.n_experts)
        return;
    uvec2 w = ld_uvec2(p.experts, tile.x);
    uint first_row = tile.y;
    uint n_rows = tile.z;
#else
    uvec2 w = p.w;
    uint first_row = gl_WorkGroupID.y * VKM_TILE_ROWS;
    uint n_rows = min(p.n_rows - first_row, VKM_TILE_ROWS);
#endif

    /* What this lane brings to shared memory: vector `load_k` of a step, of two rows of x and two
     * rows of each matrix. Past the end, the last row again: its products are not stored. */
    uint load_k = lane % STEP4;
    uint load_at = lane / STEP4;
    const uint LOAD_ROWS = 128u / STEP4;
    uvec2 x_rows[2];
    uvec2 w_rows[2];
#ifdef SWIGLU
    uvec2 up_rows[2];
#endif
    [[unroll]] for (uint i = 0u; i < 2u; i++) {
        uint row = first_row + min(load_at + i * LOAD_ROWS, n_rows - 1u);
#if defined(EXPERTS) && defined(SWIGLU)
        row = ld_u32(p.order, row) / p.k;
#endif
        x_rows[i] = addr_row(IN, row, IN_LD * 4u);
        uint o = min(first_col + load_at + i * LOAD_ROWS, N_OUT - 1u);
#if defined(SWIGLU)
        w_rows[i] = ffn_gate(w, o, p.k_ld);
        up_rows[i] = ffn_up(w, o, p.width, p.k_ld);
#elif defined(EXPERTS)
        w_rows[i] = ffn_down(w, o, p.width, p.k_ld, p.h_ld);
#else
        w_rows[i] = weight_row(w, o, p.k_ld);
#endif
    }

    uint my_rows = lane / COL_LANES * LANE_ROWS; /* and the three that follow */
    uint my_col = lane % COL_LANES;              /* and the one COL_LANES further */
    SUM totals[LANE_ROWS * LANE_COLS];
    SUM sums[LANE_ROWS * LANE_COLS];
    [[unroll]] for (uint i = 0u; i < LANE_ROWS * LANE_COLS; i++) {
        totals[i] = SUM(0);
        sums[i] = SUM(0);
    }
    uint steps = IN_LD / (4u * STEP4);
    for (uint step = 0u; step < steps; step++) {
        [[unroll]] for (uint i = 0u; i < 2u; i++) {
            uint at = (load_at + i * LOAD_ROWS) * PITCH + load_k;
            uint k = step * STEP4 + load_k;
            tile_x[at] = ld_vec4(x_rows[i], k);
            tile_w[at] = ld_weights(w_rows[i], k);
#ifdef SWIGLU
            tile_up[at] = ld_weights(up_rows[i], k);
#endif
        }
        barrier();
        for (uint k = 0u; k < STEP4; k++) {
            vec4 x[LANE_ROWS];
            [[unroll]] for (uint r = 0u; r < LANE_ROWS; r++)
                x[r] = tile_x[(my_rows + r) * PITCH + k];
            [[unroll]] for (uint c = 0u; c < LANE_COLS; c++) {
                uint at = (my_col + c * COL_LANES) * PITCH + k;
                vec4 weights = tile_w[at];
#ifdef SWIGLU
                vec4 up_weights = tile_up[at];
#endif
                [[unroll]] for (uint r = 0u; r < LANE_ROWS; r++) {
#ifdef SWIGLU
                    sums[r * LANE_COLS + c] += vec2(dot(weights, x[r]), dot(up_weights, x[r]));
#else
                    sums[r * LANE_COLS + c] += dot(weights, x[r]);
#endif
                }
            }
        }
        barrier();
        if (step % FLUSH == FLUSH - 1u || step == steps - 1u) {
            [[unroll]] for (uint i = 0u; i < LANE_ROWS * LANE_COLS; i++) {
                totals[i] += sums[i];
                sums[i] = SUM(0);
            }
        }
    }

    [[unroll]] for (uint r = 0u; r < LANE_ROWS; r++) {
        if (my_rows + r >= n_rows)
            continue;
        uint row = first_row + my_rows + r;
#if defined(EXPERTS) && !defined(SWIGLU)
        row = ld_u32(p.order, row);
#endif
        [[unroll]] for (uint c = 0u; c < LANE_COLS; c++)
            store(row, first_col + my_col + c * COL_LANES, totals[r * LANE_COLS + c]);
    }
}
