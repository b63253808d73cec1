/* x[r, o] += sum over slots s of gates[r, s] * (down_s[o] . h[r * k + s]) + down_shared[o] .
 * shared_h[r]: the down projections of a row's experts as one long dot product per output.
 * A team (lib/team.glsl), or on the path WIDE each lane (lib/wide.glsl), owns NR outputs of one batch row. Workgroups: teams on x, folded into z
 * where x does not suffice; rows on y. */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "lib/mem.glsl"
#include "lib/math.glsl"

layout(constant_id = 1) const uint NR = 4;

#ifdef PATH_WIDE
#define GROUPS
#else
#define RUN_ROWS NR
#endif
#include "lib/weights.glsl"

void add(uint o, float sum)
{
    if (o >= p.n_out)
        return;
    uvec2 x = addr_row(p.x, gl_WorkGroupID.y, p.x_ld * 4u);
    st_f32(x, o, ld_f32(x, o) + sum);
}

#ifdef PATH_WIDE
#define WIDE_COLS NR
#define WIDE_ROWS 1u
#define WIDE_SUMS NR /* of the very type of its callers' arrays */
#include "lib/wide.glsl"

uint first_output()
{
    return wide_index() * NR * WIDE_LANES;
}

/* Number n of the lane's outputs. */
uint output_of(uint n)
{
    return first_output() + n * WIDE_LANES + wide_lane();
}

void dots_of(weight_row rows[NR], uvec2 h, uint width_ld, inout float dots[NR])
{
    uvec2 x[WIDE_ROWS] = {h};
    wide_product(rows, x, width_ld / 32u, dots);
}

void finish(float sums[NR])
{
    [[unroll]] for (uint n = 0u; n < NR; n++)
        add(output_of(n), sums[n]);
}

#else
#define VKM_SUM float
const uint VKM_SUMS = NR;
#include "lib/team.glsl"

uint first_output()
{
    return team_index() * NR;
}

uint output_of(uint n)
{
    return first_output() + n;
}

void dots_of(weight_row rows[NR], uvec2 h, uint width_ld, inout float dots[NR])
{
    for (uint run = team_lane(); run < row_runs(width_ld); run += team_lanes()) {
        weight_run runs[NR];
        ld_runs(rows, run, runs);
        vec4 v[RUN4] = ld_x_run(h, run);
        float v_sum = x_run_sum(v);
        [[unroll]] for (uint n = 0u; n < NR; n++)
            dots[n] += run_dot(runs[n], v, v_sum);
    }
}

void team_result(uint index, float sum)
{
    add(output_of(index), sum);
}

void finish(float sums[NR])
{
    team_finish(sums);
}
#endif

/* sums[n] += gate * (down[first_out + n] . h) for one FFN. */
void add_ffn(inout float sums[NR], uvec2 ffn, uint width, uvec2 h, uint width_ld, float gate)
{
    weight_row rows[NR];
    uvec2 down = ffn_down(ffn, width, p.x_ld);
    float dots[NR];
    [[unroll]] for (uint n = 0u; n < NR; n++) {
        rows[n] = row_within(down, output_of(n), p.n_out, width_ld);
        dots[n] = 0.0;
    }
    dots_of(rows, h, width_ld, dots);
    [[unroll]] for (uint n = 0u; n < NR; n++)
        sums[n] += gate * dots[n];
}

void main()
{
    uint r = gl_WorkGroupID.y;
    if (first_output() >= p.n_out)
        return;
    float sums[NR];
    [[unroll]] for (uint n = 0u; n < NR; n++)
        sums[n] = 0.0;
    for (uint s = 0u; s < p.k; s++) {
        uint pair = r * p.k + s;
        uint expert = ld_u32(p.ids, pair);
        if (expert < p.n_experts)
            add_ffn(sums, ld_uvec2(p.experts, expert), p.width, addr_row(p.h, pair, p.h_ld * 4u),
                    p.h_ld, ld_f32(p.gates, pair));
    }
    if (p.shared_width > 0u)
        add_ffn(sums, p.shared_w, p.shared_width, addr_row(p.shared_h, r, p.shared_ld * 4u),
                p.shared_ld, 1.0);
    finish(sums);
}
