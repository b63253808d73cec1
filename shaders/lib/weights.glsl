/* Matrices of weights in their storage type, as base/rows.h lays them out, read as float32: four
 * elements of a row (ld_weights), or in runs of 4 * RUN4, which a lane takes at once from each of
 * RUN_ROWS neighbouring rows (ld_runs). A product with a run is either run_dot or, where several rows
 * of activations share the weights, made of run_weights.
 *
 * A kernel that takes groups of 32 elements, the quants themselves, defines GROUPS (ld_group), one that
 * asks how large the weights of a group are BOUNDS (group_bound). One that
 * takes runs defines RUN_ROWS, which divides the rows of a panel; the first of the rows
 * is a multiple of it. */
#if defined(WEIGHTS_Q4) || defined(WEIGHTS_Q4K)
#define NIBBLES
#endif
#if defined(WEIGHTS_Q8K) || defined(WEIGHTS_Q4K)
#define FACTORS
#endif
#if defined(WEIGHTS_Q8) || defined(NIBBLES) || defined(FACTORS)
#define QUANTISED
const uint RUN4 = 4u;
const uint GROUP4 = 8u; /* vectors of four that share a scale, */
const uint HALF4 = 4u;  /* or a factor of it */
const uint PANEL_ROWS = 8u;
const uint PANEL_COLS = 128u;
#ifdef NIBBLES
const uint ROW_WORDS = 16u; /* quants of a row in a block */
#define RUN_QUANTS uvec2
#else
const uint ROW_WORDS = 32u;
#define RUN_QUANTS uvec4
#endif
#ifdef FACTORS
const uint SCALE_WORDS = 64u; /* scales of a block */
#elif defined(NIBBLES)
const uint SCALE_WORDS = 32u;
#else
const uint SCALE_WORDS = 16u;
#endif
const uint BLOCK_WORDS = PANEL_ROWS * ROW_WORDS + SCALE_WORDS;
const uint BLOCK_RUNS = PANEL_COLS / (4u * RUN4);

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
#ifdef WEIGHTS_F32
const uint ELEMENT_BYTES = 4u;
#else
const uint ELEMENT_BYTES = 2u;
#endif
#endif

/* Where a row begins, and which of its panel's rows it is. */
struct weight_row {
    uvec2 at;
    uint index;
};

#ifdef QUANTISED
uvec2 matrix_bytes(uint rows, uint ld)
{
    uint blocks = (ld + PANEL_COLS - 1u) / PANEL_COLS;
    return umul64((rows + PANEL_ROWS - 1u) / PANEL_ROWS, blocks * BLOCK_WORDS * 4u);
}

weight_row row_of(uvec2 matrix, uint row, uint ld)
{
    uint index = row % PANEL_ROWS;
    uvec2 panel = addr_add(matrix, matrix_bytes(row - index, ld));
    return weight_row(addr_add(panel, index * ROW_WORDS * 4u), index);
}

/* The word of a block in which its scales begin, counted from the row's first. */
uint scales_at(weight_row row, uint block)
{
    return block * BLOCK_WORDS + (PANEL_ROWS - row.index) * ROW_WORDS;
}
#else
uvec2 matrix_bytes(uint rows, uint ld)
{
    return umul64(rows, ld * ELEMENT_BYTES);
}

weight_row row_of(uvec2 matrix, uint row, uint ld)
{
    return weight_row(addr_row(matrix, row, ld * ELEMENT_BYTES), 0u);
}
#endif

#if defined(WEIGHTS_F32)
vec4 ld_weights(weight_row row, uint index)
{
    return ld_vec4(row.at, index);
}

#elif defined(WEIGHTS_BF16)
vec4 ld_weights(weight_row row, uint index)
{
    uvec2 w = ld_uvec2(row.at, index);
    return uintBitsToFloat(uvec4(w.x << 16, w.x & 0xffff0000u, w.y << 16, w.y & 0xffff0000u));
}

#elif defined(WEIGHTS_F16)
/* As f16_magnitude, but also for infinities and NaN. */
vec4 ld_weights(weight_row row, uint index)
{
    uvec2 w = ld_uvec2(row.at, index);
    uvec4 h = uvec4(w.x, w.x >> 16, w.y, w.y >> 16);
    uvec4 magnitude = (h & 0x7fffu) << 13;
    uvec4 exponent = magnitude & 0x0f800000u;
    uvec4 normal = magnitude + 0x38000000u;
    uvec4 denormal = floatBitsToUint(uintBitsToFloat(magnitude + 0x38800000u) - 6.103515625e-5);
    uvec4 bits = mix(normal, normal + 0x38000000u, equal(exponent, uvec4(0x0f800000u)));
    bits = mix(bits, denormal, equal(exponent, uvec4(0u)));
    return uintBitsToFloat(bits | (h & 0x8000u) << 16);
}

#elif !defined(QUANTISED)
#error no storage type
#elif defined(NIBBLES)
/* Four of the eight quants in a word: of the bytes' low halves, or (high = 1) of their high ones. */
vec4 q4_vec4(uint w, uint high)
{
    w >>= 4u * high;
    return vec4(ivec4(w, w >> 8, w >> 16, w >> 24) & 15);
}

vec4 run_quants(RUN_QUANTS quants, uint i)
{
    return q4_vec4(quants[i / 2u], i % 2u);
}

/* Four quants of a row. */
vec4 ld_quants(weight_row row, uint block, uint vector)
{
    return q4_vec4(ld_u32(row.at, block * BLOCK_WORDS + vector / 2u), vector % 2u);
}

RUN_QUANTS ld_run_quants(weight_row row, uint block, uint in_block)
{
    return ld_uvec2(row.at, block * (BLOCK_WORDS / 2u) + in_block);
}

#else
vec4 q8_vec4(uint w)
{
    return vec4(ivec4(w << 24, w << 16, w << 8, w) >> 24);
}

vec4 run_quants(RUN_QUANTS quants, uint i)
{
    return q8_vec4(quants[i]);
}

vec4 ld_quants(weight_row row, uint block, uint vector)
{
    return q8_vec4(ld_u32(row.at, block * BLOCK_WORDS + vector));
}

RUN_QUANTS ld_run_quants(weight_row row, uint block, uint in_block)
{
    return ld_uvec4(row.at, block * (BLOCK_WORDS / 4u) + in_block);
}
#endif

#if defined(WEIGHTS_Q8)
struct weight_run {
    uvec4 quants;
    float scale;
};

vec4 ld_weights(weight_row row, uint index)
{
    uint block = index / ROW_WORDS, word = index % ROW_WORDS;
    uint at = scales_at(row, block) + (word / GROUP4 * PANEL_ROWS + row.index) / 2u;
    float scale = f16_magnitude(ld_u32(row.at, at) >> row.index % 2u * 16u);
    return scale * ld_quants(row, block, word);
}

#ifdef RUN_ROWS
/* The scales of four rows lie in two words. */
void ld_runs(weight_row rows[RUN_ROWS], uint run, out weight_run runs[RUN_ROWS])
{
    uint block = run / BLOCK_RUNS, in_block = run % BLOCK_RUNS;
    uint group = in_block * RUN4 / GROUP4 * PANEL_ROWS;
    [[unroll]] for (uint i = 0u; i < RUN_ROWS; i++)
        runs[i].quants = ld_run_quants(rows[i], block, in_block);
    uvec2 h;
    [[unroll]] for (uint i = 0u; i < RUN_ROWS; i++) {
        uint first = rows[i].index & ~3u;
        if (i % 4u == 0u)
            h = ld_uvec2(rows[i].at, (scales_at(rows[i], block) + (group + first) / 2u) / 2u);
        uint k = RUN_ROWS % 4u == 0u ? i % 4u : rows[i].index % 4u;
        runs[i].scale = f16_magnitude((k < 2u ? h.x : h.y) >> k % 2u * 16u);
    }
}
#endif

vec4 run_weights(weight_run r, uint i)
{
    return r.scale * run_quants(r.quants, i);
}

float run_dot(weight_run r, vec4 x[RUN4], float x_sum)
{
    float sum = 0.0;
    [[unroll]] for (uint i = 0u; i < RUN4; i++)
        sum += dot4(run_quants(r.quants, i), x[i]);
    return r.scale * sum;
}

#elif defined(QUANTISED)
struct weight_run {
    RUN_QUANTS quants;
    vec2 scale; /* and minimum */
};

#ifdef FACTORS
/* What a row's group has for its scales. */
uvec2 ld_factors(weight_row row, uint block, uint group)
{
    return ld_uvec2(row.at, scales_at(row, block) / 2u + group * PANEL_ROWS + row.index);
}

/* Scale and minimum of a half of the group. */
vec2 half_scale(uvec2 factors, uint half_index)
{
    int factor = int(factors.x << (half_index == 0u ? 8u : 0u)) >> 24;
    return vec2(f16_magnitude(factors.x) * float(factor), uintBitsToFloat(factors.y));
}

vec2 ld_scale(weight_row row, uint block, uint vector)
{
    return half_scale(ld_factors(row, block, vector / GROUP4), vector % GROUP4 / HALF4);
}
#else
vec2 q4_scale(uint h)
{
    float minimum = f16_magnitude(h >> 16);
    return vec2(f16_magnitude(h), uintBitsToFloat(floatBitsToUint(minimum) | h & 0x80000000u));
}

vec2 ld_scale(weight_row row, uint block, uint vector)
{
    return q4_scale(ld_u32(row.at, scales_at(row, block) + vector / GROUP4 * PANEL_ROWS + row.index));
}
#endif

vec4 ld_weights(weight_row row, uint index)
{
    const uint vectors = PANEL_COLS / 4u;
    uint block = index / vectors, vector = index % vectors;
    vec2 scale = ld_scale(row, block, vector);
    return fma(vec4(scale.x), ld_quants(row, block, vector), vec4(scale.y));
}

#ifdef RUN_ROWS
void ld_runs(weight_row rows[RUN_ROWS], uint run, out weight_run runs[RUN_ROWS])
{
    uint block = run / BLOCK_RUNS, in_block = run % BLOCK_RUNS;
    [[unroll]] for (uint i = 0u; i < RUN_ROWS; i++)
        runs[i].quants = ld_run_quants(rows[i], block, in_block);
#ifdef FACTORS
    [[unroll]] for (uint i = 0u; i < RUN_ROWS; i++)
        runs[i].scale = ld_scale(rows[i], block, in_block * RUN4);
#else
    /* The scales of two rows lie in two words. */
    uint group = in_block * RUN4 / GROUP4 * PANEL_ROWS;
    [[unroll]] for (uint i = 0u; i < RUN_ROWS; i += 2u) {
        uint first = rows[i].index & ~1u;
        uvec2 h = ld_uvec2(rows[i].at, (scales_at(rows[i], block) + group + first) / 2u);
        runs[i].scale = q4_scale(h.x);
        runs[i + 1u].scale = q4_scale(h.y);
    }
#endif
}
#endif

vec4 run_weights(weight_run r, uint i)
{
    return fma(vec4(r.scale.x), run_quants(r.quants, i), vec4(r.scale.y));
}

float run_dot(weight_run r, vec4 x[RUN4], float x_sum)
{
    float sum = 0.0;
    [[unroll]] for (uint i = 0u; i < RUN4; i++)
        sum += dot4(run_quants(r.quants, i), x[i]);
    return fma(r.scale.x, sum, r.scale.y * x_sum);
}
#endif

#ifndef QUANTISED
struct weight_run {
    vec4 weights;
};

#ifdef RUN_ROWS
void ld_runs(weight_row rows[RUN_ROWS], uint run, out weight_run runs[RUN_ROWS])
{
    [[unroll]] for (uint i = 0u; i < RUN_ROWS; i++)
        runs[i] = weight_run(ld_weights(rows[i], run));
}
#endif

vec4 run_weights(weight_run r, uint i)
{
    return r.weights;
}

float run_dot(weight_run r, vec4 x[RUN4], float x_sum)
{
    return dot4(r.weights, x[0]);
}
#endif

#if defined(GROUPS) && defined(QUANTISED)
/* A group as it is stored: bytes, and what they are multiplied with and what is added (0 in Q8). */
struct weight_group {
    uvec4 quants[2];
    vec2 scale;
#ifdef FACTORS
    float second_scale; /* of the other half */
#endif
};

weight_group ld_group(weight_row row, uint index)
{
    uint block = index / (PANEL_COLS / 32u), group = index % (PANEL_COLS / 32u);
    weight_group g;
#ifdef NIBBLES
    uvec4 w = ld_uvec4(row.at, block * (BLOCK_WORDS / 4u) + group);
    uvec4 low = w & 0x0f0f0f0fu, high = (w >> 4) & 0x0f0f0f0fu;
    g.quants = uvec4[](uvec4(low.x, high.x, low.y, high.y), uvec4(low.z, high.z, low.w, high.w));
#else
    uint at = block * (BLOCK_WORDS / 4u) + group * 2u;
    g.quants = uvec4[](ld_uvec4(row.at, at), ld_uvec4(row.at, at + 1u));
#endif
#if defined(FACTORS)
    uvec2 factors = ld_factors(row, block, group);
    g.scale = half_scale(factors, 0u);
    g.second_scale = half_scale(factors, 1u).x;
#elif defined(NIBBLES)
    g.scale = ld_scale(row, block, group * GROUP4);
#else
    uint h = ld_u32(row.at, scales_at(row, block) + (group * PANEL_ROWS + row.index) / 2u);
    g.scale = vec2(f16_magnitude(h >> row.index % 2u * 16u), 0.0);
#endif
    return g;
}
#endif

#if defined(GROUPS) && !defined(QUANTISED)
struct weight_group {
    vec4 weights[8];
};

weight_group ld_group(weight_row row, uint index)
{
    weight_group g;
    [[unroll]] for (uint i = 0u; i < 8u; i++)
        g.weights[i] = ld_weights(row, 8u * index + i);
    return g;
}
#endif

#ifdef GROUPS
/* Four weights of a group, in Q8 without the scale, which group_sum brings in: the product of a group
 * from that of its quants. (Scale and minimum would cancel each other there.) */
vec4 group_quants(weight_group g, uint i)
{
#ifndef QUANTISED
    return g.weights[i];
#elif defined(WEIGHTS_Q8)
    return q8_vec4(g.quants[i / 4u][i % 4u]);
#else
    uint w = g.quants[i / 4u][i % 4u];
#ifdef NIBBLES
    vec4 quants = vec4(ivec4(w, w >> 8, w >> 16, w >> 24) & 15);
#else
    vec4 quants = q8_vec4(w);
#endif
#ifdef FACTORS
    float scale = i < HALF4 ? g.scale.x : g.second_scale;
#else
    float scale = g.scale.x;
#endif
    return fma(vec4(scale), quants, vec4(g.scale.y));
#endif
}

float group_sum(weight_group g, float sum)
{
#ifdef WEIGHTS_Q8
    return g.scale.x * sum;
#else
    return sum;
#endif
}
#endif

#ifdef BOUNDS
/* No weight of group `index` of a row is larger: of quantised ones by scale and minimum alone. */
float group_bound(weight_row row, uint index)
{
#ifdef QUANTISED
    const uint groups = PANEL_COLS / 32u;
#ifdef NIBBLES
    const float most = 15.0;
#else
    const float most = 128.0;
#endif
#ifdef WEIGHTS_Q8
    uint at = scales_at(row, index / groups) + (index % groups * PANEL_ROWS + row.index) / 2u;
    return most * f16_magnitude(ld_u32(row.at, at) >> row.index % 2u * 16u);
#else
    vec2 scale = ld_scale(row, index / groups, index % groups * GROUP4);
#ifdef FACTORS
    scale.x = max(abs(scale.x), abs(ld_scale(row, index / groups, index % groups * GROUP4 + HALF4).x));
#endif
    return most * scale.x + abs(scale.y);
#endif
#else
    uvec4 most = uvec4(0u);
    [[unroll]] for (uint i = 0u; i < 8u; i++)
        most = max(most, floatBitsToUint(ld_weights(row, 8u * index + i)) & 0x7fffffffu);
    return uintBitsToFloat(max(max(most.x, most.y), max(most.z, most.w)));
#endif
}
#endif

/* Row `row` of a matrix of n rows; past the end, one whose products are not to be stored: the last
 * row, or another of its panel, where the rows of a run stay neighbours. */
weight_row row_within(uvec2 matrix, uint row, uint n, uint ld)
{
#ifdef QUANTISED
    return row_of(matrix, min(row, (n - 1u) | (PANEL_ROWS - 1u)), ld);
#else
    return row_of(matrix, min(row, n - 1u), ld);
#endif
}

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

/* The matrices of an FFN: gate [width, hidden_ld], then up alike, then down [hidden, ld(width)]. */
uvec2 ffn_up(uvec2 ffn, uint width, uint hidden_ld)
{
    return addr_add(ffn, matrix_bytes(width, hidden_ld));
}

uvec2 ffn_down(uvec2 ffn, uint width, uint hidden_ld)
{
    return ffn_up(ffn_up(ffn, width, hidden_ld), width, hidden_ld);
}
