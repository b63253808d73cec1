/* Fills memory with pseudo-random words. Invocations stride over the words. */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "lib/mem.glsl"

/* Two rounds of multiply and shift mix every bit of the index into every bit of the result. */
uint hash(uint x)
{
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    return x ^ x >> 16;
}

void main()
{
    uint stride = gl_WorkGroupSize.x * gl_NumWorkGroups.x;
    for (uint i = gl_GlobalInvocationID.x; i < p.words; i += stride)
        st_u32(p.w, i, i % p.block_words < p.block_head ? (hash(i ^ hash(p.seed)) & p.mask) | p.base
                                                    : p.scales);
}
