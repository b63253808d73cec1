/* Rotates queries in place and keys on their way into the cache; copies values into the cache.
 * Workgroups: (query, key, value heads; rows); lanes along half a head: element i of the first
 * half turns with element i of the second by position * frequency[i], whose cos and sin are
 * composed from the tables of (position mod 256) and (position div 256). */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "lib/mem.glsl"

void main()
{
    uint head = gl_WorkGroupID.x;
    uvec4 row = ld_uvec4(p.rows, gl_WorkGroupID.y);
    uint position = row.y;
    uint half_dim = p.head_dim / 2u;
    uvec2 x = addr_row(p.qkv, gl_WorkGroupID.y, p.qkv_ld * 4u);
    x = addr_row(x, head, p.head_dim * 4u);

    uint kv_head = head < p.n_heads ? 0u : (head - p.n_heads) % p.n_kv_heads;
    bool is_query = head < p.n_heads;
    bool is_value = head >= p.n_heads + p.n_kv_heads;
    uint inside = position % VKM_KV_BLOCK;
    uvec2 cache = uvec2(0u);
    if (!is_query) {
        uint block = ld_u32(p.blocks, row.z * p.block_stride + position / VKM_KV_BLOCK);
        uint head_bytes = p.head_dim * VKM_KV_BLOCK * 4u;
        cache = addr_row(is_value ? p.v_cache : p.k_cache, block, p.n_kv_heads * head_bytes);
        cache = addr_row(cache, kv_head, head_bytes);
    }

    for (uint i = gl_LocalInvocationID.x; i < half_dim; i += gl_WorkGroupSize.x) {
        uint j = i + half_dim;
        float a = ld_f32(x, i);
        float b = ld_f32(x, j);
        if (is_value) {
            st_f32(cache, inside * p.head_dim + i, a);
            st_f32(cache, inside * p.head_dim + j, b);
            continue;
        }
        vec2 low = ld_vec2(p.rope_low, (position % VKM_ROPE_SPLIT) * half_dim + i);
        vec2 high = ld_vec2(p.rope_high, (position / VKM_ROPE_SPLIT) * half_dim + i);
        float c = low.x * high.x - low.y * high.y;
        float s = low.y * high.x + low.x * high.y;
        float turned_a = a * c - b * s;
        float turned_b = b * c + a * s;
        if (is_query) {
            st_f32(x, i, turned_a);
            st_f32(x, j, turned_b);
        } else {
            st_f32(cache, i * VKM_KV_BLOCK + inside, turned_a);
            st_f32(cache, j * VKM_KV_BLOCK + inside, turned_b);
        }
    }
}
