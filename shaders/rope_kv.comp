/* Rotates queries in place and keys on their way into the cache; copies values into the cache.
 * Workgroups: (query, key, value heads; rows); lanes along the pairs of elements that
 * runtime/kernels/kv_layout.h speaks of. Element i of the first half of a head turns with element i of
 * the second by position * frequency[i], whose cos and sin are composed from the tables of (position
 * mod 256) and (position div 256); in plain float32 operations, because what is rounded again
 * would show any other last bit. */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "lib/mem.glsl"
#include "lib/kv.glsl"

const uint LANES = gl_WorkGroupSize.x; /* Q8: a multiple of 2 KV_GROUP */

/* Elements i and i + head_dim / 2 of a query or a key at x, turned. */
vec2 turned(uvec2 x, uint position, uint i)
{
    uint half_dim = p.head_dim / 2u;
    float a = ld_f32(x, i);
    float b = ld_f32(x, i + half_dim);
    vec2 low = ld_vec2(p.rope_low, (position % VKM_ROPE_SPLIT) * half_dim + i);
    vec2 high = ld_vec2(p.rope_high, (position / VKM_ROPE_SPLIT) * half_dim + i);
    precise float c = low.x * high.x - low.y * high.y;
    precise float s = low.y * high.x + low.x * high.y;
    precise vec2 t = vec2(a * c - b * s, b * c + a * s);
    return t;
}

#ifdef KV_F32
void store(uvec2 part, bool is_value, uint at, uint i, vec2 pair)
{
    uint pairs = p.head_dim / 2u;
    if (is_value) {
        st_vec2(part, at * pairs + i, pair);
    } else {
        st_f32(part, i * VKM_KV_BLOCK + at, pair.x);
        st_f32(part, (i + pairs) * VKM_KV_BLOCK + at, pair.y);
    }
}
#else
/* Where word `word` of position `at` lies. */
uint word_place(bool is_value, uint at, uint word)
{
    return is_value ? at * kv_row_words(p.head_dim) + word : word * VKM_KV_BLOCK + at;
}
#endif

#ifdef KV_F16
/* v / 2^shift, to the nearest, ties to even. */
uint shift_rounded(uint v, uint shift)
{
    return (v + (1u << (shift - 1u)) - 1u + (v >> shift & 1u)) >> shift;
}

uint half_of(float x)
{
    uint bits = floatBitsToUint(x), sign = bits >> 16 & 0x8000u;
    bits &= 0x7fffffffu;
    if (bits >= 0x7f800000u)
        return sign | (bits > 0x7f800000u ? 0x7e00u : 0x7c00u);
    uint exponent = bits >> 23;
    if (exponent < 102u)
        return sign;
    if (exponent < 113u) /* denormal: in units of 2^-24 */
        return sign | shift_rounded(bits & 0x7fffffu | 0x800000u, 126u - exponent);
    return sign | min(shift_rounded(bits - 0x38000000u, 13u), 0x7bffu);
}
#endif

#ifdef KV_BF16
uint half_of(float x)
{
    uint bits = floatBitsToUint(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return bits >> 16 | 0x40u;
    return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}
#endif

#if defined(KV_F16) || defined(KV_BF16)
void store(uvec2 part, bool is_value, uint at, uint i, vec2 pair)
{
    st_u32(part, word_place(is_value, at, i), half_of(pair.x) | half_of(pair.y) << 16);
}
#endif

#ifdef KV_Q8
shared vec2 group_pairs[LANES];

/* The scale of the 16 pairs from `first` on. */
float scale_of(uint first)
{
    uint largest = 0u; /* as bits: a NaN is the largest of all */
    for (uint i = 0u; i < KV_GROUP; i++) {
        uvec2 bits = floatBitsToUint(group_pairs[first + i]) & 0x7fffffffu;
        largest = max(largest, max(bits.x, bits.y));
    }
    if (largest >= 0x7f800000u)
        return uintBitsToFloat(0x7fc00000u);
    if (largest < 0x0d800000u) /* 2^-100 */
        return 0.0;
    float magnitude = uintBitsToFloat(largest);
    uint scale = floatBitsToUint(magnitude * (1.0 / 127.0)) & 0xffff0000u;
    return uintBitsToFloat(127.0 * uintBitsToFloat(scale) < magnitude ? scale + 0x10000u : scale);
}

/* x / scale to the nearest, ties to even: a guess, and what is left of x, which is exact. */
uint quant_of(float x, float scale, float inverse)
{
    float q = floor(x * inverse + 0.5);
    float rest = x - q * scale;
    float half_step = 0.5 * scale;
    int n = int(q);
    if (abs(rest) > half_step || (abs(rest) == half_step && (n & 1) == 1))
        n += rest > 0.0 ? 1 : -1;
    return uint(n) & 0xffu;
}

/* All pairs of a head: as many at a time as there are lanes. */
void store_head(uvec2 part, uvec2 x, bool is_value, uint position)
{
    uint lane = gl_LocalInvocationID.x, at = position % VKM_KV_BLOCK;
    uint pairs = p.head_dim / 2u, words = kv_row_words(p.head_dim);
    for (uint first = 0u; first < pairs; first += LANES) {
        uint i = first + lane;
        vec2 pair = vec2(0.0);
        if (i < pairs)
            pair = is_value ? ld_vec2(x, i) : turned(x, position, i);
        group_pairs[lane] = pair;
        barrier();
        uint word = first / 2u + lane;
        if (lane < LANES / 2u && word < words) {
            float scale = scale_of(2u * lane / KV_GROUP * KV_GROUP);
            float inverse = 1.0 / scale;
            vec2 a = group_pairs[2u * lane], b = group_pairs[2u * lane + 1u];
            uint quants = 0u;
            if (scale > 0.0) /* and no NaN */
                quants = quant_of(a.x, scale, inverse) | quant_of(a.y, scale, inverse) << 8 |
                         quant_of(b.x, scale, inverse) << 16 | quant_of(b.y, scale, inverse) << 24;
            st_u32(part, word_place(is_value, at, word), quants);
        }
        uint group = (lane - LANES / 2u) * 2u; /* of those at hand */
        if (lane >= LANES / 2u && group * KV_GROUP < min(LANES, pairs - first)) {
            uint low = floatBitsToUint(scale_of(group * KV_GROUP)) >> 16;
            uint high = floatBitsToUint(scale_of((group + 1u) * KV_GROUP)) & 0xffff0000u;
            uint scale_word = words + (first / KV_GROUP + group) / 2u;
            st_u32(part, scale_word * VKM_KV_BLOCK + at, low | high);
        }
        barrier();
    }
}
#endif

void main()
{
    uint head = gl_WorkGroupID.x;
    uvec4 row = ld_uvec4(p.rows, gl_WorkGroupID.y);
    uint position = row.y, pairs = p.head_dim / 2u;
    uvec2 x = addr_row(p.qkv, gl_WorkGroupID.y, p.qkv_ld * 4u);
    x = addr_row(x, head, p.head_dim * 4u);

    if (head < p.n_heads) {
        for (uint i = gl_LocalInvocationID.x; i < pairs; i += LANES) {
            vec2 t = turned(x, position, i);
            st_f32(x, i, t.x);
            st_f32(x, i + pairs, t.y);
        }
        return;
    }
    uint kv_head = (head - p.n_heads) % p.n_kv_heads;
    bool is_value = head >= p.n_heads + p.n_kv_heads;
    uint block = ld_u32(p.blocks, row.z * p.block_stride + position / VKM_KV_BLOCK);
    uvec2 part = addr_row(is_value ? p.v_cache : p.k_cache, block * p.n_kv_heads + kv_head,
                          kv_part_bytes(p.head_dim));
#ifdef KV_Q8
    store_head(part, x, is_value, position);
#else
    for (uint i = gl_LocalInvocationID.x; i < pairs; i += LANES) {
        vec2 pair = is_value ? ld_vec2(x, i) : turned(x, position, i);
        store(part, is_value, position % VKM_KV_BLOCK, i, pair);
    }
#endif
}
