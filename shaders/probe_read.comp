/* Reads memory as fast as it comes: neighbouring invocations take neighbouring quads, four of them at
 * a time before any is needed. */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "lib/mem.glsl"

void main()
{
    uint i = gl_GlobalInvocationID.x;
    if (i >= p.count)
        return;
    uvec4 all = uvec4(0u);
    uint turns = i < p.quads ? (p.quads - i - 1u) / p.count + 1u : 0u;
    uint turn = 0u, at = i;
    for (; turn + 4u <= turns; turn += 4u) {
        uvec4 quads[4];
        [[unroll]] for (uint j = 0u; j < 4u; j++)
            quads[j] = ld_uvec4(p.x, at + j * p.count);
        all ^= quads[0] ^ quads[1] ^ quads[2] ^ quads[3];
        at += 4u * p.count;
    }
    for (; turn < turns; turn++) {
        all ^= ld_uvec4(p.x, at);
        at += p.count;
    }
    st_u32(p.y, i, all.x ^ all.y ^ all.z ^ all.w);
}
