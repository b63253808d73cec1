/* histogram[t, e]: how many pairs of sort tile t go to expert e. One workgroup per sort tile. */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "lib/mem.glsl"

shared uint counts[VKM_MAX_EXPERTS_SORTED];

void main()
{
    uint tile = gl_WorkGroupID.x;
    uint lanes = gl_WorkGroupSize.x;
    uint n = min(p.n_experts, VKM_MAX_EXPERTS_SORTED);
    for (uint e = gl_LocalInvocationID.x; e < n; e += lanes)
        counts[e] = 0u;
    barrier();
    uint end = min((tile + 1u) * VKM_SORT_TILE, p.n_pairs);
    for (uint i = tile * VKM_SORT_TILE + gl_LocalInvocationID.x; i < end; i += lanes) {
        uint expert = ld_u32(p.ids, i);
        if (expert < n)
            atomicAdd(counts[expert], 1u);
    }
    barrier();
    for (uint e = gl_LocalInvocationID.x; e < n; e += lanes)
        st_u32(p.histogram, tile * n + e, counts[e]);
}
