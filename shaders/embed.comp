/* Embedding: y[r] = table[rows[r].token] as float32, zeros for a token outside the vocabulary; the
 * token is noted in its sequence's history. One workgroup per row, lanes along the row. */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "lib/mem.glsl"
#include "lib/math.glsl"
#include "lib/weights.glsl"

void main()
{
    uint r = gl_WorkGroupID.y;
    uvec4 row = ld_uvec4(p.rows, r); /* token, position, sequence */
    uint token = row.x;
    bool known = token < p.vocab;
    weight_row source = row_of(p.table, known ? token : 0u, p.ld);
    uvec2 y = addr_row(p.y, r, p.ld * 4u);
    for (uint i = gl_LocalInvocationID.x; i < p.ld / 4u; i += gl_WorkGroupSize.x)
        st_vec4(y, i, known ? ld_weights(source, i) : vec4(0.0));
    if (gl_LocalInvocationID.x == 0u && row.y < p.history_ld)
        st_u32(addr_row(p.history, row.z, p.history_ld * 4u), row.y, token);
}
