/* Multiplies and adds as fast as that goes: chains of their own, all in registers. */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "lib/mem.glsl"

const uint VECTORS = VKM_PROBE_CHAINS / 4u;

void main()
{
    uint i = gl_GlobalInvocationID.x;
    if (i >= p.count)
        return;
    vec4 v[VECTORS];
    [[unroll]] for (uint c = 0u; c < VECTORS; c++)
        v[c] = vec4(uvec4(i % 64u + 4u * c) + uvec4(0u, 1u, 2u, 3u)) / 64.0;
    for (uint round = 0u; round < p.rounds; round++)
        [[unroll]] for (uint j = 0u; j < VKM_PROBE_UNROLL; j++)
            [[unroll]] for (uint c = 0u; c < VECTORS; c++)
                v[c] = fma(v[c], vec4(p.factor), vec4(p.addend));
    vec4 sum = vec4(0.0);
    [[unroll]] for (uint c = 0u; c < VECTORS; c++)
        sum += v[c];
    st_f32(p.y, i, sum.x + sum.y + sum.z + sum.w);
}
