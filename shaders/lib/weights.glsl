/* Rows of weights in their storage type, as base/rows.h lays them out, read as float32: four at a time
 * (ld_weights), or in runs of 4 * RUN4 (ld_run), which a lane takes at once. A product with a run is
 * either run_dot or, where several rows of activations share the weights, made of run_weights. */
#if defined(WEIGHTS_Q8) || defined(WEIGHTS_Q4)
#define QUANTISED
const uint GROUP4 = 8u; /* vectors of four that share a scale */
const uint RUN4 = 4u;

/* A finite f16 without its sign. On integers, because unpackHalf2x16 may flush denormals (and is slow
 * on CPU drivers). */
float f16_magnitude(uint h)
{
    uint bits = (h & 0x7fffu) << 13;
    /* mantissa * 2^-24, as (2^-14 + mantissa * 2^-24) - 2^-14 */
    float denormal = uintBitsToFloat(bits + 0x38800000u) - 6.103515625e-5;
    return bits < 0x00800000u ? denormal : uintBitsToFloat(bits + 0x38000000u);
}
#else
const uint RUN4 = 1u;
#endif

#if defined(WEIGHTS_F32)
uint row_bytes(uint ld)
{
    return ld * 4u;
}

vec4 ld_weights(uvec2 row, uint ld, uint index)
{
    return ld_vec4(row, index);
}

#elif defined(WEIGHTS_BF16)
uint row_bytes(uint ld)
{
    return ld * 2u;
}

vec4 ld_weights(uvec2 row, uint ld, uint index)
{
    uvec2 w = ld_uvec2(row, index);
    return uintBitsToFloat(uvec4(w.x << 16, w.x & 0xffff0000u, w.y << 16, w.y & 0xffff0000u));
}

#elif defined(WEIGHTS_F16)
uint row_bytes(uint ld)
{
    return ld * 2u;
}

/* As f16_magnitude, but also for infinities and NaN. */
vec4 ld_weights(uvec2 row, uint ld, uint index)
{
    uvec2 w = ld_uvec2(row, index);
    uvec4 h = uvec4(w.x, w.x >> 16, w.y, w.y >> 16);
    uvec4 magnitude = (h & 0x7fffu) << 13;
    uvec4 exponent = magnitude & 0x0f800000u;
    uvec4 normal = magnitude + 0x38000000u;
    uvec4 denormal = floatBitsToUint(uintBitsToFloat(magnitude + 0x38800000u) - 6.103515625e-5);
    uvec4 bits = mix(normal, normal + 0x38000000u, equal(exponent, uvec4(0x0f800000u)));
    bits = mix(bits, denormal, equal(exponent, uvec4(0u)));
    return uintBitsToFloat(bits | (h & 0x8000u) << 16);
}

#elif defined(WEIGHTS_Q8)
uint row_bytes(uint ld)
{
    return (ld + ld / 16u + 15u) & ~15u;
}

struct weight_run {
    uvec4 quants;
    float scale;
};

float ld_scale(uvec2 row, uint ld, uint group)
{
    return f16_magnitude(ld_u32(addr_add(row, ld), group / 2u) >> group % 2u * 16u);
}

vec4 q8_vec4(uint w)
{
    return vec4(ivec4(w << 24, w << 16, w << 8, w) >> 24);
}

vec4 ld_weights(uvec2 row, uint ld, uint index)
{
    return ld_scale(row, ld, index / GROUP4) * q8_vec4(ld_u32(row, index));
}

weight_run ld_run(uvec2 row, uint ld, uint run)
{
    return weight_run(ld_uvec4(row, run), ld_scale(row, ld, run * RUN4 / GROUP4));
}

vec4 run_weights(weight_run r, uint i)
{
    return r.scale * q8_vec4(r.quants[i]);
}

float run_dot(weight_run r, vec4 x[RUN4], float x_sum)
{
    float sum = 0.0;
    [[unroll]] for (uint i = 0u; i < RUN4; i++)
        sum += dot4(q8_vec4(r.quants[i]), x[i]);
    return r.scale * sum;
}

#elif defined(WEIGHTS_Q4)
uint row_bytes(uint ld)
{
    return (ld / 2u + ld / 8u + 15u) & ~15u;
}

struct weight_run {
    uvec2 quants;
    vec2 scale; /* and minimum */
};

vec2 ld_scale(uvec2 row, uint ld, uint group)
{
    uint h = ld_u32(addr_add(row, ld / 2u), group);
    float minimum = f16_magnitude(h >> 16);
    return vec2(f16_magnitude(h), uintBitsToFloat(floatBitsToUint(minimum) | h & 0x80000000u));
}

/* Four of the eight quants in a word: of the bytes' low halves, or (high = 1) of their high ones. */
vec4 q4_vec4(uint w, uint high)
{
    w >>= 4u * high;
    return vec4(ivec4(w, w >> 8, w >> 16, w >> 24) & 15);
}

vec4 ld_weights(uvec2 row, uint ld, uint index)
{
    vec2 scale = ld_scale(row, ld, index / GROUP4);
    return fma(vec4(scale.x), q4_vec4(ld_u32(row, index / 2u), index % 2u), vec4(scale.y));
}

weight_run ld_run(uvec2 row, uint ld, uint run)
{
    return weight_run(ld_uvec2(row, run), ld_scale(row, ld, run * RUN4 / GROUP4));
}

vec4 run_weights(weight_run r, uint i)
{
    return fma(vec4(r.scale.x), q4_vec4(r.quants[i / 2u], i % 2u), vec4(r.scale.y));
}

float run_dot(weight_run r, vec4 x[RUN4], float x_sum)
{
    float sum = 0.0;
    [[unroll]] for (uint i = 0u; i < RUN4; i++)
        sum += dot4(q4_vec4(r.quants[i / 2u], i % 2u), x[i]);
    return fma(r.scale.x, sum, r.scale.y * x_sum);
}

#else
#error no storage type
#endif

#ifndef QUANTISED
struct weight_run {
    vec4 weights;
};

weight_run ld_run(uvec2 row, uint ld, uint run)
{
    return weight_run(ld_weights(row, ld, run));
}

vec4 run_weights(weight_run r, uint i)
{
    return r.weights;
}

float run_dot(weight_run r, vec4 x[RUN4], float x_sum)
{
    return dot4(r.weights, x[0]);
}
#endif

/* The run of activations that goes with a run of weights, and its sum. */
vec4[RUN4] ld_x_run(uvec2 x, uint run)
{
    vec4 v[RUN4];
    [[unroll]] for (uint i = 0u; i < RUN4; i++)
        v[i] = ld_vec4(x, run * RUN4 + i);
    return v;
}

float x_run_sum(vec4 x[RUN4])
{
    vec4 sum = x[0];
    [[unroll]] for (uint i = 1u; i < RUN4; i++)
        sum += x[i];
    return sum.x + sum.y + (sum.z + sum.w);
}

/* Runs in a row. */
uint row_runs(uint ld)
{
    return ld / (4u * RUN4);
}

/* Row `row` of a matrix with rows of `ld` weights. */
uvec2 weight_row(uvec2 matrix, uint row, uint ld)
{
    return addr_row(matrix, row, row_bytes(ld));
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
