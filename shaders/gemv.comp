/* Matrix-vector products for a few batch rows: y[r, o] = w[o] . x[r] (+ bias[o]).
 *   ADD      adds to what y holds
 *   SWIGLU   h[r, o] = silu(gate[o] . x[r]) * (up[o] . x[r]) for one FFN
 *   EXPERTS  with SWIGLU: each row is a (row, slot) pair with an expert's FFN of its own
 * A team (lib/team.glsl) owns NR outputs of RB batch rows; its lanes stride along K four elements
 * at a time, so that each weight is loaded and decoded once for RB rows. On the path WIDE each lane
 * (lib/wide.glsl) owns NR outputs of RB rows. Workgroups: teams on x, folded into z where x does not
 * suffice; blocks of RB rows (or pairs, with RB = 1) on y. */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "lib/mem.glsl"
#include "lib/math.glsl"

layout(constant_id = 1) const uint NR = 4;
layout(constant_id = 2) const uint RB = 1;

#ifdef PATH_WIDE
#define GROUPS
#else
#define RUN_ROWS NR
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
#ifdef EXPERTS
#define N_ROWS p.n_pairs
#else
#define N_ROWS p.n_rows
#endif

uint first_row()
{
    return gl_WorkGroupID.y * RB;
}

/* Finishes output o of the block's row r, and stores it if there is one. */
void store(uint r, uint o, VKM_SUM sum)
{
    uint row = first_row() + r;
    if (row >= N_ROWS || o >= OUT_LD)
        return;
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
    if (p.use_bias != 0u)
        sum += ld_f32(p.bias, o);
#ifdef ADD
    sum += ld_f32(out_row, o);
#endif
    st_f32(out_row, o, sum);
#endif
}

/* Row r of the block. Rows past the end repeat the last one; their sums are not stored. */
uvec2 x_row(uint r)
{
    uint row = min(first_row() + r, N_ROWS - 1u);
#ifdef EXPERTS
    row /= p.k;
#endif
    return addr_row(p.x, row, p.k_ld * 4u);
}

/* The weights of the block; false where its expert is none, and all sums are 0. */
bool find_weights(out uvec2 w)
{
#ifdef EXPERTS
    uint expert = ld_u32(p.ids, first_row());
    w = uvec2(0u);
    if (expert >= p.n_experts)
        return false;
    w = ld_uvec2(p.experts, expert);
#else
    w = p.w;
#endif
    return true;
}

#ifdef PATH_WIDE
#ifdef SWIGLU
const uint WIDE_COLS = 2u * NR; /* gates, then up alike */
#else
const uint WIDE_COLS = NR;
#endif
#define WIDE_ROWS RB
#include "lib/wide.glsl"

void main()
{
    uint first_out = wide_index() * WIDE_LANES * NR + wide_lane();
    if (wide_index() * WIDE_LANES * NR >= OUT_LD)
        return;
    uvec2 x[RB], w;
    [[unroll]] for (uint r = 0u; r < RB; r++)
        x[r] = x_row(r);
    uint n_groups = find_weights(w) ? p.k_ld / 32u : 0u;
    weight_row rows[WIDE_COLS];
    [[unroll]] for (uint n = 0u; n < NR; n++) {
        rows[n] = row_within(w, first_out + n * WIDE_LANES, N_OUT, p.k_ld);
#ifdef SWIGLU
        rows[NR + n] = row_within(ffn_up(w, p.width, p.k_ld), first_out + n * WIDE_LANES, N_OUT,
                                  p.k_ld);
#endif
    }
    float sums[WIDE_SUMS];
    [[unroll]] for (uint i = 0u; i < WIDE_SUMS; i++)
        sums[i] = 0.0;
    wide_product(rows, x, n_groups, sums);
    [[unroll]] for (uint i = 0u; i < NR * RB; i++) {
        uint r = i / NR, n = i % NR;
        uint o = first_out + n * WIDE_LANES;
#ifdef SWIGLU
        store(r, o, vec2(sums[r * WIDE_COLS + n], sums[r * WIDE_COLS + NR + n]));
#else
        store(r, o, sums[i]);
#endif
    }
}

#else
const uint VKM_SUMS = NR * RB;
#include "lib/team.glsl"

void team_result(uint index, VKM_SUM sum)
{
    store(index / NR, team_index() * NR + index % NR, sum);
}

void main()
{
    uint first_out = team_index() * NR;
    if (first_out >= OUT_LD)
        return;

    uvec2 x[RB], w;
    [[unroll]] for (uint r = 0u; r < RB; r++)
        x[r] = x_row(r);
    uint n_runs = find_weights(w) ? row_runs(p.k_ld) : 0u;
    weight_row rows[NR];
#ifdef SWIGLU
    weight_row up_rows[NR];
    uvec2 up = ffn_up(w, p.width, p.k_ld);
#endif
    [[unroll]] for (uint n = 0u; n < NR; n++) {
        rows[n] = row_within(w, first_out + n, N_OUT, p.k_ld);
#ifdef SWIGLU
        up_rows[n] = row_within(up, first_out + n, N_OUT, p.k_ld);
#endif
    }

    VKM_SUM sums[VKM_SUMS];
    [[unroll]] for (uint i = 0u; i < VKM_SUMS; i++)
        sums[i] = VKM_SUM(0);
    for (uint run = team_lane(); run < n_runs; run += team_lanes()) {
        weight_run runs[NR];
#ifdef SWIGLU
        weight_run up_runs[NR];
#endif
        ld_runs(rows, run, runs);
#ifdef SWIGLU
        ld_runs(up_rows, run, up_runs);
#endif
        if (RB == 1u) {
            vec4 v[RUN4] = ld_x_run(x[0], run);
            float v_sum = x_run_sum(v);
            [[unroll]] for (uint n = 0u; n < NR; n++) {
#ifdef SWIGLU
                sums[n] += vec2(run_dot(runs[n], v, v_sum), run_dot(up_runs[n], v, v_sum));
#else
                sums[n] += run_dot(runs[n], v, v_sum);
#endif
            }
            continue;
        }
        [[unroll]] for (uint i = 0u; i < RUN4; i++) {
            vec4 weights[NR];
#ifdef SWIGLU
            vec4 up_weights[NR];
#endif
            [[unroll]] for (uint n = 0u; n < NR; n++) {
                weights[n] = run_weights(runs[n], i);
#ifdef SWIGLU
                up_weights[n] = run_weights(up_runs[n], i);
#endif
            }
            [[unroll]] for (uint r = 0u; r < RB; r++) {
                vec4 v = ld_vec4(x[r], run * RUN4 + i);
                [[unroll]] for (uint n = 0u; n < NR; n++) {
#ifdef SWIGLU
                    sums[r * NR + n] += vec2(dot4(weights[n], v), dot4(up_weights[n], v));
#else
                    sums[r * NR + n] += dot4(weights[n], v);
#endif
                }
            }
        }
    }
    team_finish(sums);
}
#endif
