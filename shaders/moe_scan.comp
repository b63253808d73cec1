/* From the histograms: where each sort tile's pairs of each expert begin in the sorted order, the
 * list of tiles of at most VKM_TILE_ROWS sorted pairs of one expert, and the workgroup counts of
 * the products over them. One workgroup; a lane owns a run of neighbouring experts. */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "lib/mem.glsl"

shared uint counts[VKM_MAX_EXPERTS_SORTED];      /* pairs of each expert */
shared uint begins[VKM_MAX_EXPERTS_SORTED];      /* its first sorted index */
shared uint tile_begins[VKM_MAX_EXPERTS_SORTED]; /* its first tile */
shared uvec2 lane_sums[gl_WorkGroupSize.x];      /* pairs and tiles of each lane's experts */

uint tiles_of(uint pairs)
{
    return (pairs + VKM_TILE_ROWS - 1u) / VKM_TILE_ROWS;
}

void main()
{
    uint lane = gl_LocalInvocationID.x;
    uint lanes = gl_WorkGroupSize.x;
    uint n = min(p.n_experts, VKM_MAX_EXPERTS_SORTED);

    for (uint e = lane; e < n; e += lanes) {
        uint count = 0u;
        for (uint t = 0u; t < p.n_sort_tiles; t++)
            count += ld_u32(p.histogram, t * n + e);
        counts[e] = count;
    }
    barrier();

    uint per_lane = (n + lanes - 1u) / lanes;
    uint first = min(lane * per_lane, n);
    uint end = min(first + per_lane, n);
    uvec2 sum = uvec2(0u);
    for (uint e = first; e < end; e++)
        sum += uvec2(counts[e], tiles_of(counts[e]));
    lane_sums[lane] = sum;
    barrier();
    uvec2 begin = uvec2(0u);
    uvec2 total = uvec2(0u);
    for (uint l = 0u; l < lanes; l++) {
        if (l == lane)
            begin = total;
        total += lane_sums[l];
    }
    for (uint e = first; e < end; e++) {
        begins[e] = begin.x;
        tile_begins[e] = begin.y;
        begin += uvec2(counts[e], tiles_of(counts[e]));
    }
    barrier();

    for (uint e = lane; e < n; e += lanes) {
        uint offset = begins[e];
        for (uint t = 0u; t < p.n_sort_tiles; t++) {
            st_u32(p.offsets, t * n + e, offset);
            offset += ld_u32(p.histogram, t * n + e);
        }
        for (uint t = 0u; t < tiles_of(counts[e]); t++) {
            uint done = t * VKM_TILE_ROWS;
            uint rows = min(counts[e] - done, VKM_TILE_ROWS);
            st_uvec4(p.tiles, tile_begins[e] + t, uvec4(e, begins[e] + done, rows, 0u));
        }
    }
    if (lane == 0u) {
        st_u32(p.args, 0u, p.up_groups);
        st_u32(p.args, 1u, total.y);
        st_u32(p.args, 2u, 1u);
        st_u32(p.args, 3u, p.down_groups);
        st_u32(p.args, 4u, total.y);
        st_u32(p.args, 5u, 1u);
    }
}
