/* y[r, h] = sum over p <= rows[r].position of softmax_p(scale q[r, h] . k[p]) v[p]: online softmax
 * over runs of 256 positions, four blocks of the KV cache. Workgroups: (query heads, blocks of ROWS
 * rows), 64 lanes each; the rows of a block are consecutive positions of one sequence, so that keys
 * and values are read once for all of them. For the scores, a lane takes four neighbouring positions;
 * for the values, pairs of elements lane, lane + 64, ... of the head and every position. Positions
 * past the block's last count for nothing, whatever the cache holds there. */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "lib/mem.glsl"
#include "lib/math.glsl"

layout(constant_id = 1) const uint PAIRS = 1; /* of elements, for each lane: ceil(head_dim / 128) */
layout(constant_id = 2) const uint ROWS = 1;

const uint LANES = 64u;
const uint QUADS = VKM_KV_BLOCK / 4u; /* of positions in a block */
const uint RUN = LANES * 4u;          /* positions */
const uint HEAD = PAIRS * 2u * LANES; /* elements from one query to the next */

shared float query[ROWS * HEAD];
shared vec4 tops[ROWS * LANES / 4u];
shared vec4 weights[ROWS * LANES];

/* The block of the cache that holds position `at` of the sequence, from base on. */
uvec2 block_address(uint sequence, uint at, uint kv_head)
{
    uint block = ld_u32(p.blocks, sequence * p.block_stride + at / VKM_KV_BLOCK);
    return umul64(block * p.n_kv_heads + kv_head, p.head_dim * VKM_KV_BLOCK * 4u);
}

float largest_of(vec4 v)
{
    return max(max(v.x, v.y), max(v.z, v.w));
}

/* The largest that any lane left for row k. */
float top_of(uint k)
{
    vec4 top = tops[k * (LANES / 4u)];
    for (uint i = 1u; i < LANES / 4u; i++)
        top = max(top, tops[k * (LANES / 4u) + i]);
    return largest_of(top);
}

void main()
{
    uint lane = gl_LocalInvocationID.x;
    uint head = gl_WorkGroupID.x;
    uint r = gl_WorkGroupID.y * ROWS;
    uint n = min(ROWS, p.n_rows - r);
    uvec4 row = ld_uvec4(p.rows, r);
    uint kv_head = head / (p.n_heads / p.n_kv_heads);
    uint pairs = p.head_dim / 2u;
    uint own = row.y + 1u;  /* positions of the first row; each one after it has one more */
    uint length = row.y + n; /* of the last */

    for (uint k = 0u; k < n; k++) {
        uvec2 q = addr_add(addr_row(p.qkv, r + k, p.qkv_ld * 4u), head * p.head_dim * 4u);
        for (uint i = lane; i < p.head_dim; i += LANES)
            query[k * HEAD + i] = ld_f32(q, i);
    }
    barrier();

    float largest[ROWS];
    vec4 sums[ROWS];
    vec2 y[ROWS * PAIRS];
    [[unroll]] for (uint k = 0u; k < ROWS; k++) {
        largest[k] = -VKM_FLT_MAX;
        sums[k] = vec4(0.0);
        [[unroll]] for (uint j = 0u; j < PAIRS; j++)
            y[k * PAIRS + j] = vec2(0.0);
    }

    for (uint first = 0u; first < length; first += RUN) {
        uint mine = first + lane * 4u; /* and the three positions that follow */
        uvec4 positions = mine + uvec4(0u, 1u, 2u, 3u);
        vec4 scores[ROWS];
        [[unroll]] for (uint k = 0u; k < ROWS; k++)
            scores[k] = vec4(0.0);
        if (mine < length) {
            uvec2 keys = addr_add(p.k_cache, block_address(row.z, mine, kv_head));
            uint quad = lane % QUADS;
            for (uint d = 0u; d < p.head_dim; d += 2u) {
                vec4 a = ld_vec4(keys, d * QUADS + quad);
                vec4 b = ld_vec4(keys, d * QUADS + QUADS + quad);
                [[unroll]] for (uint k = 0u; k < ROWS; k++) {
                    scores[k] += query[k * HEAD + d] * a;
                    scores[k] += query[k * HEAD + d + 1u] * b;
                }
            }
        }
        [[unroll]] for (uint k = 0u; k < ROWS; k++) {
            bvec4 seen = lessThan(positions, uvec4(min(own + k, length)));
            scores[k] = mix(vec4(-VKM_FLT_MAX), scores[k] * p.scale, seen);
            tops[k * (LANES / 4u) + lane / 4u][lane % 4u] = largest_of(scores[k]);
        }
        barrier();
        [[unroll]] for (uint k = 0u; k < ROWS; k++) {
            bvec4 seen = lessThan(positions, uvec4(min(own + k, length)));
            float top = max(largest[k], top_of(k));
            vec4 w = mix(vec4(0.0), exp(clamp(scores[k] - top, -100.0, 0.0)), seen);
            weights[k * LANES + lane] = w;
            float shrink = exp(clamp(largest[k] - top, -100.0, 0.0));
            largest[k] = top;
            sums[k] = sums[k] * shrink + w;
            [[unroll]] for (uint j = 0u; j < PAIRS; j++)
                y[k * PAIRS + j] *= shrink;
        }
        barrier();

        uint end = min(length - first, RUN);
        for (uint from = 0u; from < end; from += VKM_KV_BLOCK) {
            uvec2 values = addr_add(p.v_cache, block_address(row.z, first + from, kv_head));
            uint count = min(end - from, VKM_KV_BLOCK);
            [[unroll]] for (uint j = 0u; j < PAIRS; j++) {
                uint i = lane + j * LANES;
                if (i >= pairs)
                    continue;
                for (uint at = 0u; at < count; at += 4u) {
                    /* A quad's end past count has weight 0 and repeats the last value. */
                    vec2 v[4];
                    [[unroll]] for (uint t = 0u; t < 4u; t++)
                        v[t] = ld_vec2(values, min(at + t, count - 1u) * pairs + i);
                    [[unroll]] for (uint k = 0u; k < ROWS; k++) {
                        vec4 w4 = weights[k * LANES + (from + at) / 4u];
                        [[unroll]] for (uint t = 0u; t < 4u; t++)
                            y[k * PAIRS + j] += w4[t] * v[t];
                    }
                }
            }
        }
    }

    [[unroll]] for (uint k = 0u; k < ROWS; k++)
        tops[k * (LANES / 4u) + lane / 4u][lane % 4u] = dot(sums[k], vec4(1.0));
    barrier();
    [[unroll]] for (uint k = 0u; k < ROWS; k++) {
        vec4 total = vec4(0.0);
        for (uint i = 0u; i < LANES / 4u; i++)
            total += tops[k * (LANES / 4u) + i];
        float sum = dot(total, vec4(1.0));
        uvec2 y_row = addr_row(p.y, r + k, p.y_ld * 4u);
        [[unroll]] for (uint j = 0u; j < PAIRS; j++) {
            uint i = lane + j * LANES;
            if (k < n && i < pairs)
                st_vec2(y_row, head * pairs + i, y[k * PAIRS + j] / sum);
        }
        if (k < n && head == p.n_heads - 1u) {
            for (uint i = p.n_heads * p.head_dim + lane; i < p.y_ld; i += LANES)
                st_f32(y_row, i, 0.0);
        }
    }
}
