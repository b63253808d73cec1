/* Rounding to float16, on the paths that multiply it. */
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require

/* To 11 bits, ties to even: the conversion is exact then, whatever way it rounds, but for
 * denormals. What is no number stays so; numbers beside it only have to stay finite. */
f16vec4 to_half(vec4 v)
{
    uvec4 bits = floatBitsToUint(v);
    uvec4 rounded = (bits + 0xfffu + (bits >> 13 & 1u)) & ~0x1fffu;
    bvec4 finite = lessThan(bits & 0x7fffffffu, uvec4(0x7f800000u));
    vec4 number = clamp(uintBitsToFloat(rounded), -65504.0, 65504.0);
    return f16vec4(mix(v, number, finite));
}
