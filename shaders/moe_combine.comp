/* x[r] += sum over slots s, in order, of gates[r, s] * y[r * k + s].
 * Workgroups: (parts of the row, rows); a lane owns four neighbouring elements. */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "lib/mem.glsl"

void main()
{
    uint r = gl_WorkGroupID.y;
    uint i = gl_GlobalInvocationID.x;
    if (i >= p.ld / 4u)
        return;
    uvec2 x = addr_row(p.x, r, p.ld * 4u);
    vec4 sum = vec4(0.0);
    for (uint pair = r * p.k; pair < (r + 1u) * p.k; pair++)
        sum += ld_f32(p.gates, pair) * ld_vec4(addr_row(p.y, pair, p.ld * 4u), i);
    st_vec4(x, i, ld_vec4(x, i) + sum);
}
