/* gemm.comp's tile by a workgroup of 128 or 256 lanes with products of 8-bit integers, for quantised
 * weights. K goes by in steps of a block of a panel, four groups. Lanes bring groups of rows of
 * activations, which they round to 8 bits, and of columns; then a lane owns a run of rows by 2 of the
 * 32 columns. Within what shares a scale the products are exact; those are added
 * up in float32. */
#extension GL_EXT_spirv_intrinsics : require

/* OpSDot: the sum of four products of signed bytes; format 0: four in a word. Spelt out, as older
 * compilers lack GL_EXT_integer_dot_product. */
spirv_instruction(capabilities = [6018, 6019], id = 4450)
int dot_packed(int a, int b, spirv_literal int format);

const uint STEP_GROUPS = 4u;
const uint GROUP_WORDS = 8u;
const uint PITCH = STEP_GROUPS * GROUP_WORDS + 1u; /* words of a row, so that banks differ */
#ifdef FACTORS
const uint PARTS = 2u; /* of a group, each with a scale of its own */
#else
const uint PARTS = 1u;
#endif
const uint PART_WORDS = GROUP_WORDS / PARTS;
const uint LANES = gl_WorkGroupSize.x;
const uint LANE_COLS = 2u;
const uint COL_LANES = TILE_COLS / LANE_COLS;
const uint LANE_ROWS = TILE_ROWS * COL_LANES / LANES;
const uint LANE_SUMS = LANE_ROWS * LANE_COLS;
const uint FLUSH = 4u; /* steps after which sums go to the totals, to keep roundings few */

shared int shared_x[TILE_ROWS * PITCH];
shared int shared_w[TILE_COLS * PITCH];
shared vec2 x_scales[TILE_ROWS * STEP_GROUPS]; /* scale, sum of the quants */
shared float w_scales[TILE_COLS * STEP_GROUPS * PARTS];
shared float w_minima[TILE_COLS * STEP_GROUPS];
#ifdef SWIGLU
#define DOT ivec2
shared int shared_up[TILE_COLS * PITCH];
shared float up_scales[TILE_COLS * STEP_GROUPS * PARTS];
shared float up_minima[TILE_COLS * STEP_GROUPS];
#else
#define DOT int
#endif

struct x_group {
    ivec4 quants[GROUP_WORDS];
    vec2 scale; /* and the sum of the quants */
};

/* As vkm_round_int8 in kernels/ref.c, bit by bit. */
x_group round_group(vec4 x[GROUP_WORDS])
{
    x_group g;
    uvec4 most = uvec4(0u);
    [[unroll]] for (uint i = 0u; i < GROUP_WORDS; i++)
        most = max(most, floatBitsToUint(x[i]) & 0x7fffffffu);
    uint largest = max(max(most.x, most.y), max(most.z, most.w));
    uint exponent = largest >> 23;
    bool finite = exponent < 255u;
    bool rounds = finite && exponent >= 27u; /* smaller ones are zeros */
    uint mantissa = ((largest & 0x7fffffu) >> 8) + 0x8001u;
    float inverse = 0.0;
    g.scale = vec2(finite ? 0.0 : uintBitsToFloat(0x7fc00000u), 0.0);
    if (rounds) {
        inverse = uintBitsToFloat(floatBitsToUint(float((127u << 24) / mantissa)) +
                                  ((118u - exponent) << 23));
        precise float scale = float(mantissa) * (1.0 / 127.0);
        g.scale.x = uintBitsToFloat(floatBitsToUint(scale) + ((exponent - 142u) << 23));
    }
    ivec4 sum = ivec4(0);
    [[unroll]] for (uint i = 0u; i < GROUP_WORDS; i++) {
        precise vec4 v = x[i] * inverse;
        g.quants[i] = rounds ? ivec4(roundEven(v)) : ivec4(0);
        sum += g.quants[i];
    }
    g.scale.y = float(sum.x + sum.y + (sum.z + sum.w));
    return g;
}

int pack(ivec4 q)
{
    return q.x & 255 | (q.y & 255) << 8 | (q.z & 255) << 16 | q.w << 24;
}

/* --- bringing a group of a row and one of a column --- */

/* Past the end of the row, zeros. */
void bring_x(uvec2 row, uint index, uint n_groups, uint to, uint scale_to)
{
    vec4 x[GROUP_WORDS];
    [[unroll]] for (uint i = 0u; i < GROUP_WORDS; i++)
        x[i] = index < n_groups ? ld_vec4(row, index * GROUP_WORDS + i) : vec4(0.0);
    x_group g = round_group(x);
    [[unroll]] for (uint i = 0u; i < GROUP_WORDS; i++)
        shared_x[to + i] = pack(g.quants[i]);
    x_scales[scale_to] = g.scale;
}

#ifdef FACTORS
#define SECOND_SCALE(g, scales, scale_to) scales[(scale_to)*PARTS + 1u] = g.second_scale;
#else
#define SECOND_SCALE(g, scales, scale_to)
#endif
#define KEEP(g, array, scales, minima)                                                             \
    [[unroll]] for (uint i = 0u; i < GROUP_WORDS; i++)                                             \
        array[to + i] = int(g.quants[i / 4u][i % 4u]);                                             \
    scales[scale_to * PARTS] = g.scale.x;                                                          \
    SECOND_SCALE(g, scales, scale_to)                                                              \
    minima[scale_to] = g.scale.y;

/* Group `index` of a column, and of the second matrix's. */
void bring_w(weight_row row, uint index, uint to, uint scale_to)
{
    weight_group w = ld_group(row, index);
    KEEP(w, shared_w, w_scales, w_minima)
}

#ifdef SWIGLU
void bring_up(weight_row row, uint index, uint to, uint scale_to)
{
    weight_group w = ld_group(row, index);
    KEEP(w, shared_up, up_scales, up_minima)
}
#endif

/* --- multiplying one group --- */

uint my_rows; /* the lane's first row, and those that follow */
uint my_col;  /* its first column, and the one COL_LANES further */
VKM_SUM sums[LANE_SUMS];

/* The products of one part of a group, each lane's. */
DOT part_dots[LANE_SUMS];

void multiply_part(uint first)
{
    [[unroll]] for (uint i = 0u; i < LANE_SUMS; i++)
        part_dots[i] = DOT(0);
    [[unroll]] for (uint k = first; k < first + PART_WORDS; k++) {
        int x[LANE_ROWS];
        [[unroll]] for (uint r = 0u; r < LANE_ROWS; r++)
            x[r] = shared_x[(my_rows + r) * PITCH + k];
        [[unroll]] for (uint c = 0u; c < LANE_COLS; c++) {
            uint at = (my_col + c * COL_LANES) * PITCH + k;
            [[unroll]] for (uint r = 0u; r < LANE_ROWS; r++) {
#ifdef SWIGLU
                part_dots[r * LANE_COLS + c] +=
                    ivec2(dot_packed(x[r], shared_w[at], 0), dot_packed(x[r], shared_up[at], 0));
#else
                part_dots[r * LANE_COLS + c] += dot_packed(x[r], shared_w[at], 0);
#endif
            }
        }
    }
}

/* Adds scale * dots, and with the first part the minimum times the sum of the quants. */
float with_part(float sum, float x_scale, float w_scale, int dots, float minimum)
{
#ifdef WEIGHTS_Q8
    return sum + x_scale * (w_scale * float(dots));
#else
    return sum + x_scale * fma(w_scale, float(dots), minimum);
#endif
}

void multiply_group(uint group)
{
    [[unroll]] for (uint part = 0u; part < PARTS; part++) {
        multiply_part(group * GROUP_WORDS + part * PART_WORDS);
        [[unroll]] for (uint i = 0u; i < LANE_SUMS; i++) {
            vec2 x_scale = x_scales[(my_rows + i / LANE_COLS) * STEP_GROUPS + group];
            uint at = (my_col + i % LANE_COLS * COL_LANES) * STEP_GROUPS + group;
            float x_sum = part == 0u ? x_scale.y : 0.0;
#ifdef SWIGLU
            sums[i].x = with_part(sums[i].x, x_scale.x, w_scales[at * PARTS + part],
                                  part_dots[i].x, w_minima[at] * x_sum);
            sums[i].y = with_part(sums[i].y, x_scale.x, up_scales[at * PARTS + part],
                                  part_dots[i].y, up_minima[at] * x_sum);
#else
            sums[i] = with_part(sums[i], x_scale.x, w_scales[at * PARTS + part], part_dots[i],
                                w_minima[at] * x_sum);
#endif
        }
    }
}

void tile_product()
{
    uint lane = gl_LocalInvocationID.x;
    uint x_line = lane % TILE_ROWS; /* the row of which the lane brings groups, */
    uint w_line = lane % TILE_COLS; /* and the column */
    uvec2 x_row = tile_in(x_line);
    weight_row column = tile_column(w_line);
#ifdef SWIGLU
    weight_row up_column = tile_up_column(w_line);
#endif
    VKM_SUM totals[LANE_SUMS];
    my_rows = lane / COL_LANES * LANE_ROWS;
    my_col = lane % COL_LANES;
    [[unroll]] for (uint i = 0u; i < LANE_SUMS; i++)
        totals[i] = sums[i] = VKM_SUM(0);
    uint n_groups = IN_LD / (4u * GROUP_WORDS);
    uint steps = (n_groups + STEP_GROUPS - 1u) / STEP_GROUPS;
    for (uint s = 0u; s < steps; s++) {
        uint first = s * STEP_GROUPS;
        for (uint g = lane / TILE_ROWS; g < STEP_GROUPS; g += LANES / TILE_ROWS)
            bring_x(x_row, first + g, n_groups, x_line * PITCH + g * GROUP_WORDS,
                    x_line * STEP_GROUPS + g);
        for (uint g = lane / TILE_COLS; g < STEP_GROUPS; g += LANES / TILE_COLS) {
            uint to = w_line * PITCH + g * GROUP_WORDS, scale_to = w_line * STEP_GROUPS + g;
            bring_w(column, first + g, to, scale_to);
#ifdef SWIGLU
            bring_up(up_column, first + g, to, scale_to);
#endif
        }
        barrier();
        for (uint group = 0u; group < STEP_GROUPS; group++)
            multiply_group(group);
        barrier();
        if (s % FLUSH == FLUSH - 1u || s == steps - 1u) {
            [[unroll]] for (uint i = 0u; i < LANE_SUMS; i++) {
                totals[i] += sums[i];
                sums[i] = VKM_SUM(0);
            }
        }
    }
    [[unroll]] for (uint i = 0u; i < LANE_SUMS; i++)
        tile_store(my_rows + i / LANE_COLS, my_col + i % LANE_COLS * COL_LANES, totals[i]);
}
