/* order[sorted index] = pair, stable: a pair comes after those of its expert in earlier sort tiles
 * (offsets) and before it in its own. One workgroup of VKM_SORT_TILE lanes per sort tile, one pair
 * each. */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "lib/mem.glsl"

shared uint experts[VKM_SORT_TILE];

void main()
{
    uint lane = gl_LocalInvocationID.x;
    uint tile = gl_WorkGroupID.x;
    uint pair = tile * VKM_SORT_TILE + lane;
    uint expert = pair < p.n_pairs ? ld_u32(p.ids, pair) : p.n_experts;
    experts[lane] = expert;
    barrier();
    if (expert >= p.n_experts)
        return;
    uint rank = 0u;
    for (uint i = 0u; i < lane; i++)
        rank += uint(experts[i] == expert);
    st_u32(p.order, ld_u32(p.offsets, tile * p.n_experts + expert) + rank, pair);
}
