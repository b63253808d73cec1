/* y[r, h] from the parts that attention left of its splits (params.h), in their order. Workgroups:
 * (query heads, rows). A lane takes pairs of elements; each of them goes through the splits, of
 * which there are few. */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "lib/mem.glsl"
#include "lib/math.glsl"

void main()
{
    uint lane = gl_LocalInvocationID.x;
    uint head = gl_WorkGroupID.x;
    uint r = gl_WorkGroupID.y;
    uint pairs = p.head_dim / 2u;
    uint last = ld_uvec4(p.rows, r).y / p.span; /* split that has positions of the row */
    uint used = min(last + 1u, p.n_splits);
    uvec2 parts = addr_row(p.parts, (r * p.n_heads + head) * p.n_splits, (p.head_dim + 2u) * 4u);
    uvec2 y_row = addr_row(p.y, r, p.y_ld * 4u);

    float largest = -VKM_FLT_MAX;
    for (uint s = 0u; s < used; s++)
        largest = max(largest, ld_vec2(parts, s * (pairs + 1u) + pairs).x);

    for (uint i = lane; i < pairs; i += gl_WorkGroupSize.x) {
        vec2 y = vec2(0.0), y_rest = vec2(0.0);
        float sum = 0.0, sum_rest = 0.0;
        for (uint s = 0u; s < used; s++) {
            vec2 of = ld_vec2(parts, s * (pairs + 1u) + pairs); /* largest and sum */
            float w = exp(clamp(of.x - largest, -100.0, 0.0));
            add_to(sum, sum_rest, w * of.y);
            add_to(y, y_rest, w * ld_vec2(parts, s * (pairs + 1u) + i));
        }
        st_vec2(y_row, head * pairs + i, (y + y_rest) / (sum + sum_rest));
    }
    if (head == p.n_heads - 1u) {
        for (uint i = p.n_heads * p.head_dim + lane; i < p.y_ld; i += gl_WorkGroupSize.x)
            st_f32(y_row, i, 0.0);
    }
}
