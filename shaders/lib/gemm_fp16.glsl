/* gemm.comp's tile by a workgroup of 128 or 256 lanes with packed products of float16, for weights of 16
 * bits and quantised ones. K goes by in steps of 64, which are groups of 32, or of 16 where weights
 * have a scale for so many. Lanes bring groups of rows of activations and of columns of weights; then
 * a lane owns a run of rows by 2 of the 32 columns.
 *
 * Nothing overflows, however large activations are: groups of them are brought to at most 2^6,
 * groups of weights to at most 2^7, each by a power of two of its own, and quants lie within 2^7 as
 * they are. Weights stay exact (but for what is 2^-20 of a group's largest), activations are
 * rounded to 11 bits. Products are at most 2^13 then, and the sums of INTERVAL of them 2^15.
 *
 * Those sums are made in float16, all others in float32. A number rounded to 11 bits is off by
 * 4.3e-8 in the mean square. The n sums of an interval, of 1 to n products, make that (n + 1) / 2
 * times as much: 1.1e-7 for four, or 1.5e-7 where products are rounded before they are added, below
 * the 1e-6 that rounding to float16 may cost even where SwiGLU multiplies two of them
 * (tests/unit/test_fp16.c). That is what results are held to: references are fed the rounded
 * activations and the weights are exact, so no other error is in it, and no product of two float16
 * rounded to float16 could hold less than 4e-8. A driver that cuts off, as Vulkan allows, comes to
 * 1.0e-6, twice that in SwiGLU, and the self-test keeps the path from it. A pair of intervals takes
 * n packed operations and two additions: three quarters of float32's operations at four, five
 * eighths at eight. */
#include "half.glsl"

const uint STEP_VECTORS = 16u; /* of four, in a step */
#ifdef FACTORS
const uint GROUP_VECTORS = 4u; /* and in a group */
#else
const uint GROUP_VECTORS = 8u;
#endif
const uint STEP_GROUPS = STEP_VECTORS / GROUP_VECTORS;
const uint INTERVAL = 4u; /* products that are added up in float16 */
const uint PITCH = STEP_VECTORS + 1u; /* vectors of a row, so that banks differ */
const uint LANES = gl_WorkGroupSize.x;
const uint LANE_COLS = 2u;
const uint COL_LANES = TILE_COLS / LANE_COLS;
const uint LANE_ROWS = TILE_ROWS * COL_LANES / LANES;
const uint LANE_SUMS = LANE_ROWS * LANE_COLS;

shared f16vec4 shared_x[TILE_ROWS * PITCH];
shared f16vec4 shared_w[TILE_COLS * PITCH];
shared vec2 x_scales[TILE_ROWS * STEP_GROUPS]; /* scale, sum of what it scales */
shared vec2 w_scales[TILE_COLS * STEP_GROUPS]; /* scale, minimum */
#ifdef SWIGLU
shared f16vec4 shared_up[TILE_COLS * PITCH];
shared vec2 up_scales[TILE_COLS * STEP_GROUPS];
#endif

/* --- bringing groups --- */

struct half_group {
    f16vec4 halves[GROUP_VECTORS];
    vec2 scale; /* and sum or minimum */
};

const int X_LIMIT = 6;
const int W_LIMIT = 7;

/* A power of two that brings a group's finite numbers to at most 2^limit, and the one that undoes
 * it. Both are normal numbers: what is 2^-120 or less stays smaller than it could be. */
vec2 scales_of(vec4 v[GROUP_VECTORS], int limit)
{
    uvec4 most = uvec4(0u);
    [[unroll]] for (uint i = 0u; i < GROUP_VECTORS; i++) {
        uvec4 bits = floatBitsToUint(v[i]) & 0x7fffffffu;
        most = max(most, mix(uvec4(0u), bits, lessThan(bits, uvec4(0x7f800000u))));
    }
    int exponent = int(max(max(most.x, most.y), max(most.z, most.w)) >> 23);
    exponent = max(exponent, limit);
    return uintBitsToFloat(uvec2(253 + limit - exponent, exponent + 1 - limit) << 23);
}

half_group halves_of(vec4 v[GROUP_VECTORS], int limit)
{
    half_group g;
    vec2 scales = scales_of(v, limit);
    vec4 sum = vec4(0.0);
    [[unroll]] for (uint i = 0u; i < GROUP_VECTORS; i++) {
        g.halves[i] = to_half(v[i] * scales.x);
        sum += vec4(g.halves[i]);
    }
    g.scale = vec2(scales.y, (sum.x + sum.y) + (sum.z + sum.w));
    return g;
}

half_group bring_x(uvec2 row, uint index)
{
    vec4 x[GROUP_VECTORS];
    [[unroll]] for (uint i = 0u; i < GROUP_VECTORS; i++)
        x[i] = ld_vec4(row, index * GROUP_VECTORS + i);
    return halves_of(x, X_LIMIT);
}

#ifdef QUANTISED
/* Quants of 4 bits are taken from their middle, as scale and minimum would cancel each other. */
half_group bring_w(weight_row row, uint index)
{
    half_group g;
    const uint parts = GROUP4 / GROUP_VECTORS; /* groups here of one there */
    weight_group w = ld_group(row, index / parts);
    uint first = index % parts * GROUP_VECTORS;
    [[unroll]] for (uint i = 0u; i < GROUP_VECTORS; i++) {
        uint word = w.quants[(first + i) / 4u][i % 4u];
#ifdef NIBBLES
        g.halves[i] = f16vec4(vec4((ivec4(word, word >> 8, word >> 16, word >> 24) & 15) - 8));
#else
        g.halves[i] = f16vec4(q8_vec4(word));
#endif
    }
    g.scale = w.scale;
#ifdef FACTORS
    if (index % parts == 1u)
        g.scale.x = w.second_scale;
#endif
#ifdef NIBBLES
    g.scale.y = fma(8.0, g.scale.x, w.scale.y);
#endif
    return g;
}
#else
half_group bring_w(weight_row row, uint index)
{
    return halves_of(ld_group(row, index).weights, W_LIMIT);
}
#endif

#define KEEP(g, array, scales, line, group)                                                       \
    [[unroll]] for (uint i = 0u; i < GROUP_VECTORS; i++)                                           \
        array[(line)*PITCH + (group)*GROUP_VECTORS + i] = g.halves[i];                             \
    scales[(line)*STEP_GROUPS + (group)] = g.scale;

/* --- multiplying one group --- */

uint my_rows; /* the lane's first row, and those that follow */
uint my_col;  /* its first column, and the one COL_LANES further */
VKM_SUM sums[LANE_SUMS];

float in_f32(f16vec4 v)
{
    vec4 parts = vec4(v);
    return (parts.x + parts.y) + (parts.z + parts.w);
}

float scaled(vec2 x_scale, vec2 w_scale, float products)
{
#if defined(NIBBLES) || defined(FACTORS)
    return x_scale.x * fma(w_scale.x, products, w_scale.y * x_scale.y);
#else
    return x_scale.x * (w_scale.x * products);
#endif
}

/* Adds the products of one interval, from vector `from` of the rows in shared memory on. */
void multiply_interval(uint from, inout VKM_SUM products[LANE_SUMS])
{
    f16vec4 parts[LANE_SUMS];
#ifdef SWIGLU
    f16vec4 up_parts[LANE_SUMS];
#endif
    [[unroll]] for (uint k = 0u; k < INTERVAL; k++) {
        f16vec4 x[LANE_ROWS];
        [[unroll]] for (uint r = 0u; r < LANE_ROWS; r++)
            x[r] = shared_x[(my_rows + r) * PITCH + from + k];
        [[unroll]] for (uint i = 0u; i < LANE_SUMS; i++) {
            uint r = i / LANE_COLS, at = (my_col + i % LANE_COLS * COL_LANES) * PITCH + from + k;
            parts[i] = k == 0u ? x[r] * shared_w[at] : fma(x[r], shared_w[at], parts[i]);
#ifdef SWIGLU
            up_parts[i] = k == 0u ? x[r] * shared_up[at] : fma(x[r], shared_up[at], up_parts[i]);
#endif
        }
    }
    [[unroll]] for (uint i = 0u; i < LANE_SUMS; i++)
#ifdef SWIGLU
        products[i] += vec2(in_f32(parts[i]), in_f32(up_parts[i]));
#else
        products[i] += in_f32(parts[i]);
#endif
}

void multiply_group(uint group)
{
    VKM_SUM products[LANE_SUMS];
    [[unroll]] for (uint i = 0u; i < LANE_SUMS; i++)
        products[i] = VKM_SUM(0);
    [[dont_unroll]] for (uint k = 0u; k < GROUP_VECTORS; k += INTERVAL)
        multiply_interval(group * GROUP_VECTORS + k, products);
    [[unroll]] for (uint i = 0u; i < LANE_SUMS; i++) {
        vec2 x_scale = x_scales[(my_rows + i / LANE_COLS) * STEP_GROUPS + group];
        uint at = (my_col + i % LANE_COLS * COL_LANES) * STEP_GROUPS + group;
#ifdef SWIGLU
        sums[i] += vec2(scaled(x_scale, w_scales[at], products[i].x),
                        scaled(x_scale, up_scales[at], products[i].y));
#else
        sums[i] += scaled(x_scale, w_scales[at], products[i]);
#endif
    }
}

void tile_product()
{
    uint lane = gl_LocalInvocationID.x;
    uint x_line = lane % TILE_ROWS;
    uint last = LANES - 1u - lane; /* columns from the last lane on, as lanes at the end may have no row, */
    uint w_line = last % TILE_COLS;
    uvec2 x_row = tile_in(x_line);
    weight_row column = tile_column(w_line);
#ifdef SWIGLU
    uint up_line = lane % TILE_COLS; /* and of the second matrix from the first lane on */
    weight_row up_column = tile_up_column(up_line);
#endif
    my_rows = lane / COL_LANES * LANE_ROWS;
    my_col = lane % COL_LANES;
    [[unroll]] for (uint i = 0u; i < LANE_SUMS; i++)
        sums[i] = VKM_SUM(0);
    uint n_groups = IN_LD / (4u * GROUP_VECTORS);
    for (uint first = 0u; first < n_groups; first += STEP_GROUPS) {
        uint here = min(n_groups - first, STEP_GROUPS);
        for (uint g = lane / TILE_ROWS; g < here; g += LANES / TILE_ROWS) {
            half_group x = bring_x(x_row, first + g);
            KEEP(x, shared_x, x_scales, x_line, g)
        }
        for (uint g = last / TILE_COLS; g < here; g += LANES / TILE_COLS) {
            half_group w = bring_w(column, first + g);
            KEEP(w, shared_w, w_scales, w_line, g)
        }
#ifdef SWIGLU
        for (uint g = lane / TILE_COLS; g < here; g += LANES / TILE_COLS) {
            half_group up = bring_w(up_column, first + g);
            KEEP(up, shared_up, up_scales, up_line, g)
        }
#endif
        barrier();
        for (uint group = 0u; group < here; group++)
            multiply_group(group);
        barrier();
    }
    [[unroll]] for (uint i = 0u; i < LANE_SUMS; i++)
        tile_store(my_rows + i / LANE_COLS, my_col + i % LANE_COLS * COL_LANES, sums[i]);
}
