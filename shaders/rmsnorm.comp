/* Root-mean-square norm: y[i] = weight * x[j] / sqrt(mean(x[j]^2) + eps), j = index[i] or i.
 * One workgroup per row, lanes along the row. */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "lib/mem.glsl"
#include "lib/reduce.glsl"

void main()
{
    uint i = gl_WorkGroupID.y;
    uint j = p.use_index != 0u ? ld_u32(p.index, i) : i;
    uvec2 x = addr_row(p.x, j, p.ld * 4u);
    uvec2 y = addr_row(p.y, i, p.ld * 4u);
    float squares = 0.0;
    for (uint c = gl_LocalInvocationID.x; c < p.ld / 4u; c += gl_WorkGroupSize.x) {
        vec4 v = ld_vec4(x, c);
        squares += dot(v, v);
    }
    float norm = 1.0 / sqrt(group_sum(squares) / float(p.width) + p.eps);
    for (uint c = gl_LocalInvocationID.x; c < p.ld / 4u; c += gl_WorkGroupSize.x) {
        vec4 v = ld_vec4(p.weight, c) * (ld_vec4(x, c) * norm);
        /* Padding stays zero even where the norm is NaN. */
        bvec4 padding = greaterThanEqual(c * 4u + uvec4(0u, 1u, 2u, 3u), uvec4(p.width));
        st_vec4(y, c, mix(v, vec4(0.0), padding));
    }
}
