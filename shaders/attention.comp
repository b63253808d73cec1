/* y[r, h] = sum over p <= rows[r].position of softmax_p(scale q[r, h] . k[p]) v[p]: online softmax
 * over runs of 256 positions, four blocks of the KV cache. Workgroups: (query heads, rows), 64
 * lanes each. For the scores, a lane takes four neighbouring positions; for the values, pairs of
 * elements lane, lane + 64, ... of the head and every position. Positions past the row's own count
 * for nothing, whatever the cache holds there. */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "lib/mem.glsl"
#include "lib/math.glsl"

layout(constant_id = 1) const uint PAIRS = 1; /* of elements, for each lane: ceil(head_dim / 128) */

const uint LANES = 64u;
const uint QUADS = VKM_KV_BLOCK / 4u; /* of positions in a block */
const uint RUN = LANES * 4u;          /* positions */

shared float query[1024];
shared vec4 tops[LANES / 4u];
shared vec4 weights[LANES];

/* The block of the cache that holds position `at` of the row's sequence, from base on. */
uvec2 block_address(uvec4 row, uint at, uint kv_head)
{
    uint block = ld_u32(p.blocks, row.z * p.block_stride + at / VKM_KV_BLOCK);
    return umul64(block * p.n_kv_heads + kv_head, p.head_dim * VKM_KV_BLOCK * 4u);
}

void main()
{
    uint lane = gl_LocalInvocationID.x;
    uint head = gl_WorkGroupID.x;
    uint r = gl_WorkGroupID.y;
    uvec4 row = ld_uvec4(p.rows, r);
    uint kv_head = head / (p.n_heads / p.n_kv_heads);
    uint pairs = p.head_dim / 2u;
    uint length = row.y + 1u;

    uvec2 q = addr_add(addr_row(p.qkv, r, p.qkv_ld * 4u), head * p.head_dim * 4u);
    for (uint i = lane; i < p.head_dim; i += LANES)
        query[i] = ld_f32(q, i);
    barrier();

    float largest = -VKM_FLT_MAX;
    vec4 sums = vec4(0.0);
    vec2 y[PAIRS];
    [[unroll]] for (uint j = 0u; j < PAIRS; j++)
        y[j] = vec2(0.0);

    for (uint first = 0u; first < length; first += RUN) {
        uint mine = first + lane * 4u; /* and the three positions that follow */
        uvec4 positions = mine + uvec4(0u, 1u, 2u, 3u);
        vec4 scores = vec4(-VKM_FLT_MAX);
        if (mine < length) {
            uvec2 keys = addr_add(p.k_cache, block_address(row, mine, kv_head));
            uint quad = lane % QUADS;
            scores = vec4(0.0);
            for (uint d = 0u; d < p.head_dim; d += 2u) {
                scores += query[d] * ld_vec4(keys, d * QUADS + quad);
                scores += query[d + 1u] * ld_vec4(keys, d * QUADS + QUADS + quad);
            }
            scores = mix(vec4(-VKM_FLT_MAX), scores * p.scale, lessThan(positions, uvec4(length)));
        }
        tops[lane / 4u][lane % 4u] = max(max(scores.x, scores.y), max(scores.z, scores.w));
        barrier();
        vec4 top4 = tops[0];
        for (uint i = 1u; i < LANES / 4u; i++)
            top4 = max(top4, tops[i]);
        float top = max(largest, max(max(top4.x, top4.y), max(top4.z, top4.w)));
        vec4 w = exp(clamp(scores - top, -100.0, 0.0));
        w = mix(vec4(0.0), w, lessThan(positions, uvec4(length)));
        weights[lane] = w;
        barrier();

        float shrink = exp(clamp(largest - top, -100.0, 0.0));
        largest = top;
        sums = sums * shrink + w;
        [[unroll]] for (uint j = 0u; j < PAIRS; j++)
            y[j] *= shrink;
        uint end = min(length - first, RUN);
        for (uint from = 0u; from < end; from += VKM_KV_BLOCK) {
            uvec2 values = addr_add(p.v_cache, block_address(row, first + from, kv_head));
            uint count = min(end - from, VKM_KV_BLOCK);
            [[unroll]] for (uint j = 0u; j < PAIRS; j++) {
                uint i = lane + j * LANES;
                if (i >= pairs)
                    continue;
                vec2 v = y[j];
                for (uint at = 0u; at < count; at += 4u) {
                    vec4 w4 = weights[(from + at) / 4u];
                    /* A quad's end past count has weight 0 and repeats the last value. */
                    [[unroll]] for (uint t = 0u; t < 4u; t++)
                        v += w4[t] * ld_vec2(values, min(at + t, count - 1u) * pairs + i);
                }
                y[j] = v;
            }
        }
    }

    tops[lane / 4u][lane % 4u] = dot(sums, vec4(1.0));
    barrier();
    vec4 total = vec4(0.0);
    for (uint i = 0u; i < LANES / 4u; i++)
        total += tops[i];
    float sum = dot(total, vec4(1.0));
    uvec2 y_row = addr_row(p.y, r, p.y_ld * 4u);
    [[unroll]] for (uint j = 0u; j < PAIRS; j++) {
        uint i = lane + j * LANES;
        if (i < pairs)
            st_vec2(y_row, head * pairs + i, y[j] / sum);
    }
    if (head == p.n_heads - 1u) {
        for (uint i = p.n_heads * p.head_dim + lane; i < p.y_ld; i += LANES)
            st_f32(y_row, i, 0.0);
    }
}
