/* Copies a block of the KV cache, keys and values. One invocation copies four words of each. */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "lib/mem.glsl"

void copy(uvec2 cache, uint i)
{
    uvec2 from = addr_row(cache, p.from, p.words * 4u);
    uvec2 to = addr_row(cache, p.to, p.words * 4u);
    st_uvec4(to, i, ld_uvec4(from, i));
}

void main()
{
    uint i = gl_GlobalInvocationID.x;
    if (i >= p.words / 4u)
        return;
    copy(p.k_cache, i);
    copy(p.v_cache, i);
}
