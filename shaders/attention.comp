/* y[r, h] = sum over p <= rows[r].position of softmax_p(scale q[r, h] . k[p]) v[p]: online softmax
 * over the blocks of the KV cache. Workgroups: (query heads, rows), 64 lanes each.
 * For the scores, a lane takes four neighbouring positions and every fourth element of the head; for
 * the values, pairs of elements lane, lane + 64, ... of the head and every position. Positions past
 * the row's own count for nothing, whatever the cache holds there. */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "lib/mem.glsl"
#include "lib/math.glsl"

layout(constant_id = 1) const uint PAIRS = 1; /* of elements, for each lane: ceil(head_dim / 128) */

const uint LANES = 64u;
const uint QUADS = VKM_KV_BLOCK / 4u;

shared float query[1024];
shared vec4 partial[4u * QUADS];
shared vec4 scores[QUADS];
shared vec4 weights[QUADS];

void main()
{
    uint lane = gl_LocalInvocationID.x;
    uint head = gl_WorkGroupID.x;
    uint r = gl_WorkGroupID.y;
    uvec4 row = ld_uvec4(p.rows, r);
    uint kv_head = head / (p.n_heads / p.n_kv_heads);
    uint pairs = p.head_dim / 2u;
    uint head_bytes = p.head_dim * VKM_KV_BLOCK * 4u;
    uint length = row.y + 1u;

    uvec2 q = addr_add(addr_row(p.qkv, r, p.qkv_ld * 4u), head * p.head_dim * 4u);
    for (uint i = lane; i < p.head_dim; i += LANES)
        query[i] = ld_f32(q, i);
    barrier();

    float largest = -VKM_FLT_MAX;
    float sum = 0.0;
    vec2 y[PAIRS];
    [[unroll]] for (uint j = 0u; j < PAIRS; j++)
        y[j] = vec2(0.0);

    for (uint first = 0u; first < length; first += VKM_KV_BLOCK) {
        uint count = min(length - first, VKM_KV_BLOCK);
        uint block = ld_u32(p.blocks, row.z * p.block_stride + first / VKM_KV_BLOCK);
        uvec2 offset = umul64(block * p.n_kv_heads + kv_head, head_bytes);
        uvec2 keys = addr_add(p.k_cache, offset);
        uvec2 values = addr_add(p.v_cache, offset);

        uint quad = lane % QUADS;
        uint part = lane / QUADS;
        vec4 dots = vec4(0.0);
        if (quad * 4u < count) {
            for (uint d = part; d < p.head_dim; d += 4u)
                dots += query[d] * ld_vec4(keys, d * QUADS + quad);
        }
        partial[part * QUADS + quad] = dots;
        barrier();
        float score = 0.0;
        for (uint i = 0u; i < 4u; i++)
            score += partial[i * QUADS + lane / 4u][lane % 4u];
        score = lane < count ? score * p.scale : -VKM_FLT_MAX;
        scores[lane / 4u][lane % 4u] = score;
        barrier();
        vec4 tops = scores[0];
        for (uint i = 1u; i < QUADS; i++)
            tops = max(tops, scores[i]);
        float top = max(largest, max(max(tops.x, tops.y), max(tops.z, tops.w)));
        float weight = lane < count ? exp(clamp(score - top, -100.0, 0.0)) : 0.0;
        weights[lane / 4u][lane % 4u] = weight;
        barrier();

        float shrink = exp(clamp(largest - top, -100.0, 0.0));
        largest = top;
        vec4 block_sum = vec4(0.0);
        for (uint i = 0u; i < QUADS; i++)
            block_sum += weights[i];
        sum = sum * shrink + dot(block_sum, vec4(1.0));
        [[unroll]] for (uint j = 0u; j < PAIRS; j++) {
            uint i = lane + j * LANES;
            if (i >= pairs)
                continue;
            vec2 v = y[j] * shrink;
            for (uint at = 0u; at < count; at += 4u) {
                vec4 w = weights[at / 4u];
                /* A quad's end past count has weight 0 and repeats the last value. */
                [[unroll]] for (uint t = 0u; t < 4u; t++)
                    v += w[t] * ld_vec2(values, min(at + t, count - 1u) * pairs + i);
            }
            y[j] = v;
        }
    }

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
