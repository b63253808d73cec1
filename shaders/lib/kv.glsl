/* The KV cache in the storage type that KV_F32, KV_F16, KV_BF16 or KV_Q8 names, as
 * runtime/kernels/kv_layout.h describes it. Everything is 32-bit words; halves and bytes come out of
 * them by shifts, which CPU drivers do faster than unpackHalf2x16 and its like.
 *
 * Reading: keys of four neighbouring positions at a time, an element of each; values of one position,
 * KV_RUN pairs of elements. Writing: see rope_kv.comp. */

#ifdef KV_Q8
const uint KV_RUN = 2u; /* pairs of elements that are read together */
#else
const uint KV_RUN = 1u;
#endif
#ifdef KV_F32
const uint KV_ROW = 2u; /* words of a run */
#else
const uint KV_ROW = 1u;
#endif
const uint KV_GROUP = 16u; /* pairs that share a scale */

uint kv_runs(uint head_dim)
{
    return (head_dim / 2u + KV_RUN - 1u) / KV_RUN;
}

/* Words of one position, without scales. */
uint kv_row_words(uint head_dim)
{
    return kv_runs(head_dim) * KV_ROW;
}

/* Bytes of a block that are one head's. */
uint kv_part_bytes(uint head_dim)
{
    uint words = kv_row_words(head_dim);
#ifdef KV_Q8
    words += (head_dim / 2u + 2u * KV_GROUP - 1u) / (2u * KV_GROUP);
#endif
    return words * VKM_KV_BLOCK * 4u;
}

/* A number in the low half of a word; what is above does not matter. */
#ifdef KV_F16
float kv_low(uint h)
{
    uint bits = (h & 0x7fffu) << 13, exponent = bits & 0x0f800000u;
    uint normal = bits + (exponent == 0x0f800000u ? 0x70000000u : 0x38000000u);
    /* mantissa * 2^-24, as (2^-14 + mantissa * 2^-24) - 2^-14 */
    uint denormal = floatBitsToUint(uintBitsToFloat(bits + 0x38800000u) - 6.103515625e-5);
    return uintBitsToFloat((exponent == 0u ? denormal : normal) | (h & 0x8000u) << 16);
}

vec4 kv_low(uvec4 h)
{
    uvec4 bits = (h & 0x7fffu) << 13, exponent = bits & 0x0f800000u;
    uvec4 normal = bits + mix(uvec4(0x38000000u), uvec4(0x70000000u),
                              equal(exponent, uvec4(0x0f800000u)));
    uvec4 denormal = floatBitsToUint(uintBitsToFloat(bits + 0x38800000u) - 6.103515625e-5);
    bits = mix(normal, denormal, equal(exponent, uvec4(0u)));
    return uintBitsToFloat(bits | (h & 0x8000u) << 16);
}
#define KV_HALVES(word) kv_low(word), kv_low((word) >> 16)
#else
#define KV_HALVES(word) uintBitsToFloat((word) << 16), uintBitsToFloat((word) & 0xffff0000u)
#endif

/* Keys of four positions. */
struct kv_keys {
    uvec2 at;  /* their first words */
    uint base; /* Q8: their first scales, in units of 16 bytes from there */
    uvec4 words;
    vec4 scale;
};

kv_keys kv_keys_at(uvec2 part, uint in_block, uint head_dim)
{
    return kv_keys(addr_add(part, in_block * 4u), kv_row_words(head_dim) * (VKM_KV_BLOCK / 4u),
                   uvec4(0u), vec4(1.0));
}

/* Keys come in kv_runs(head_dim) runs of 2 KV_RUN elements; number i of run `run` is this element of
 * the head. Where the last run is half empty, it is one of those before, and the key is zero. */
uint kv_key_element(uint run, uint i, uint pairs)
{
#ifdef KV_Q8
    return min(run * KV_RUN + i / 2u, pairs - 1u) + i % 2u * pairs;
#else
    return run + i * pairs;
#endif
}

/* Number i of a run; i goes up from 0, and `run` likewise. */
vec4 kv_key(inout kv_keys keys, uint run, uint i, uint pairs)
{
    const uint QUADS = VKM_KV_BLOCK / 4u;
#if defined(KV_F32)
    return ld_vec4(keys.at, (run + i * pairs) * QUADS);
#else
    if (i == 0u)
        keys.words = ld_uvec4(keys.at, run * QUADS);
#if defined(KV_F16)
    return kv_low(i == 0u ? keys.words : keys.words >> 16);
#elif defined(KV_BF16)
    return uintBitsToFloat(i == 0u ? keys.words << 16 : keys.words & 0xffff0000u);
#else
    if (i == 0u && run % (KV_GROUP / KV_RUN) == 0u) {
        uint group = run / (KV_GROUP / KV_RUN);
        uvec4 scales = ld_uvec4(keys.at, keys.base + group / 2u * QUADS);
        keys.scale = uintBitsToFloat(group % 2u == 0u ? scales << 16 : scales & 0xffff0000u);
    }
    return keys.scale * vec4(ivec4(keys.words << (24u - 8u * i)) >> 24);
#endif
#endif
}

/* Values of one run from a block, position after position. */
struct kv_values {
    uvec2 at;     /* the run of the block's first position */
    uvec2 scales; /* Q8: those of that position */
    uint which;   /* of the words that has them */
};

kv_values kv_values_at(uvec2 part, uint run, uint head_dim)
{
    kv_values values = kv_values(addr_add(part, run * (KV_ROW * 4u)), uvec2(0u), 0u);
#ifdef KV_Q8
    uint group = run / (KV_GROUP / KV_RUN);
    uint words = kv_row_words(head_dim) + group / 2u;
    values.scales = addr_add(part, words * (VKM_KV_BLOCK * 4u));
    values.which = group % 2u;
#endif
    return values;
}

/* What values of four positions from `at` on, a multiple of four, are to be multiplied by; 0 for those
 * from `end` on. */
vec4 kv_value_scales(kv_values values, uint at, uint end)
{
#ifdef KV_Q8
    uvec4 words = ld_uvec4(values.scales, at / 4u);
    vec4 scales = uintBitsToFloat(values.which == 0u ? words << 16 : words & 0xffff0000u);
    return mix(vec4(0.0), scales, lessThan(at + uvec4(0u, 1u, 2u, 3u), uvec4(end)));
#else
    return vec4(1.0);
#endif
}

/* A weight of such a position, multiplied. */
float kv_weight(float weight, float scale)
{
#ifdef KV_Q8
    return weight * scale;
#else
    return weight;
#endif
}

/* The run at a position; runs: kv_runs(head_dim). */
vec2[KV_RUN] kv_value(kv_values values, uint at, uint runs)
{
#if defined(KV_F32)
    return vec2[](ld_vec2(values.at, at * runs));
#else
    uint w = ld_u32(values.at, at * runs);
#if defined(KV_Q8)
    ivec4 q = ivec4(w << 24, w << 16, w << 8, w) >> 24;
    return vec2[](vec2(q.xy), vec2(q.zw));
#else
    return vec2[](vec2(KV_HALVES(w)));
#endif
#endif
}
