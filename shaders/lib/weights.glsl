/* Rows of weights in their storage type, four at a time as float32. */
#if defined(WEIGHTS_F32)
#define VKM_WEIGHT_BYTES 4u

vec4 ld_weights(uvec2 row, uint index)
{
    return ld_vec4(row, index);
}

#elif defined(WEIGHTS_BF16)
#define VKM_WEIGHT_BYTES 2u

vec4 ld_weights(uvec2 row, uint index)
{
    uvec2 w = ld_uvec2(row, index);
    return uintBitsToFloat(uvec4(w.x << 16, w.x & 0xffff0000u, w.y << 16, w.y & 0xffff0000u));
}

#elif defined(WEIGHTS_F16)
#define VKM_WEIGHT_BYTES 2u

/* On integers, because unpackHalf2x16 may flush denormals (and is slow on CPU drivers). */
vec4 ld_weights(uvec2 row, uint index)
{
    uvec2 w = ld_uvec2(row, index);
    uvec4 h = uvec4(w.x, w.x >> 16, w.y, w.y >> 16);
    uvec4 magnitude = (h & 0x7fffu) << 13;
    uvec4 exponent = magnitude & 0x0f800000u;
    uvec4 normal = magnitude + 0x38000000u;
    /* mantissa * 2^-24, as (2^-14 + mantissa * 2^-24) - 2^-14 */
    uvec4 denormal = floatBitsToUint(uintBitsToFloat(magnitude + 0x38800000u) - 6.103515625e-5);
    uvec4 bits = mix(normal, normal + 0x38000000u, equal(exponent, uvec4(0x0f800000u)));
    bits = mix(bits, denormal, equal(exponent, uvec4(0u)));
    return uintBitsToFloat(bits | (h & 0x8000u) << 16);
}

#else
#error no storage type
#endif

/* Row `row` of a matrix with rows of `ld` weights. */
uvec2 weight_row(uvec2 matrix, uint row, uint ld)
{
    return addr_row(matrix, row, ld * VKM_WEIGHT_BYTES);
}

/* Rows of an FFN: gate [width, hidden_ld], then up alike, then down [hidden, ld(width)]. */
uvec2 ffn_gate(uvec2 ffn, uint row, uint hidden_ld)
{
    return weight_row(ffn, row, hidden_ld);
}

uvec2 ffn_up(uvec2 ffn, uint row, uint width, uint hidden_ld)
{
    return weight_row(ffn, width + row, hidden_ld);
}

uvec2 ffn_down(uvec2 ffn, uint row, uint width, uint hidden_ld, uint width_ld)
{
    return weight_row(weight_row(ffn, 2u * width, hidden_ld), row, width_ld);
}
