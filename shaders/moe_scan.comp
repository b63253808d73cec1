/* From the histograms: where each sort tile's pairs of each expert begin in the sorted order, the
 * lists of tiles of sorted pairs of one expert, one list for each height that tiles have, and the
 * workgroup counts of the products over them. One workgroup; a lane owns a run of neighbouring
 * experts. */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "lib/mem.glsl"

shared uint counts[VKM_MAX_EXPERTS_SORTED];     /* pairs of each expert */
shared uint lane_pairs[gl_WorkGroupSize.x];     /* of each lane's experts, */
shared uvec4 lane_tiles[gl_WorkGroupSize.x];    /* and their tiles of each height */

/* The list of the lowest tiles that hold so many pairs, which are not more than the highest do. */
uint list_of(uint pairs)
{
    uint list = 0u;
    while (p.least_rows << list < pairs)
        list++;
    return list;
}

/* The tiles of an expert: as many of the highest as its pairs fill, and one for what is left. */
uvec4 tiles_of(uint pairs)
{
    uint most = p.least_rows << p.n_heights - 1u;
    uvec4 tiles = uvec4(0u);
    tiles[p.n_heights - 1u] = pairs / most;
    if (pairs % most > 0u)
        tiles[list_of(pairs % most)]++;
    return tiles;
}

void put_tiles(uint expert, uint pair, uint pairs, inout uvec4 at)
{
    uint most = p.least_rows << p.n_heights - 1u;
    for (uint done = 0u; done < pairs; done += most) {
        uint rows = min(pairs - done, most);
        uint list = list_of(rows);
        st_uvec4(p.tiles, list * p.list_tiles + at[list], uvec4(expert, pair + done, rows, 0u));
        at[list]++;
    }
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
    uint pairs = 0u;
    uvec4 tiles = uvec4(0u);
    for (uint e = first; e < end; e++) {
        pairs += counts[e];
        tiles += tiles_of(counts[e]);
    }
    lane_pairs[lane] = pairs;
    lane_tiles[lane] = tiles;
    barrier();
    uint pair = 0u;
    uvec4 at = uvec4(0u), total = uvec4(0u);
    for (uint l = 0u; l < lanes; l++) {
        if (l < lane) {
            pair += lane_pairs[l];
            at += lane_tiles[l];
        }
        total += lane_tiles[l];
    }

    for (uint e = first; e < end; e++) {
        put_tiles(e, pair, counts[e], at);
        for (uint t = 0u; t < p.n_sort_tiles; t++) {
            st_u32(p.offsets, t * n + e, pair);
            pair += ld_u32(p.histogram, t * n + e);
        }
    }
    if (lane < p.n_heights) {
        st_u32(p.args, 6u * lane, p.up_groups);
        st_u32(p.args, 6u * lane + 1u, total[lane]);
        st_u32(p.args, 6u * lane + 2u, 1u);
        st_u32(p.args, 6u * lane + 3u, p.down_groups);
        st_u32(p.args, 6u * lane + 4u, total[lane]);
        st_u32(p.args, 6u * lane + 5u, 1u);
    }
}
