/* gemm.comp's tile by a workgroup of 128 lanes with products of 8-bit integers, for quantised
 * weights. K goes by in steps of a block of a panel, four groups. A lane brings one group of one row
 * of activations, which it rounds to 8 bits, and one of one column; then it owns 4 rows by 2 columns.
 * Within a group the products are exact; groups are added up in float32. */
#extension GL_EXT_spirv_intrinsics : require

/* OpSDot: the sum of four products of signed bytes; format 0: four in a word. Spelt out, as older
 * compilers lack GL_EXT_integer_dot_product. */
spirv_instruction(capabilities = [6018, 6019], id = 4450)
int dot_packed(int a, int b, spirv_literal int format);

const uint STEP_GROUPS = 4u;
const uint GROUP_WORDS = 8u;
const uint PITCH = STEP_GROUPS * GROUP_WORDS + 1u; /* words of a row, so that banks differ */
const uint LANE_ROWS = 4u;
const uint LANE_COLS = 2u;
const uint LANE_SUMS = LANE_ROWS * LANE_COLS;
const uint COL_LANES = VKM_TILE_COLS / LANE_COLS;
const uint FLUSH = 4u; /* steps after which sums go to the totals, to keep roundings few */

shared int shared_x[VKM_TILE_ROWS * PITCH];
shared int shared_w[VKM_TILE_COLS * PITCH];
shared vec2 x_scales[VKM_TILE_ROWS * STEP_GROUPS]; /* scale, sum of the quants */
shared vec2 w_scales[VKM_TILE_COLS * STEP_GROUPS]; /* scale, minimum */
#ifdef SWIGLU
#define DOT ivec2
shared int shared_up[VKM_TILE_COLS * PITCH];
shared vec2 up_scales[VKM_TILE_COLS * STEP_GROUPS];
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

void bring_w(weight_row row, uint index, uint to, uint scale_to)
{
    weight_group w = ld_group(row, index);
    [[unroll]] for (uint i = 0u; i < GROUP_WORDS; i++)
        shared_w[to + i] = int(w.quants[i / 4u][i % 4u]);
    w_scales[scale_to] = w.scale;
}

#ifdef SWIGLU
void bring_up(weight_row row, uint index, uint to, uint scale_to)
{
    weight_group w = ld_group(row, index);
    [[unroll]] for (uint i = 0u; i < GROUP_WORDS; i++)
        shared_up[to + i] = int(w.quants[i / 4u][i % 4u]);
    up_scales[scale_to] = w.scale;
}
#endif

/* --- multiplying one group --- */

uint my_rows; /* the lane's first row, and the three that follow */
uint my_col;  /* its first column, and the one COL_LANES further */
VKM_SUM sums[LANE_SUMS];

float scaled(vec2 x_scale, vec2 w_scale, int products)
{
#ifdef WEIGHTS_Q8
    return x_scale.x * (w_scale.x * float(products));
#else
    return x_scale.x * fma(w_scale.x, float(products), w_scale.y * x_scale.y);
#endif
}

void multiply_group(uint group)
{
    DOT dots[LANE_SUMS];
    [[unroll]] for (uint i = 0u; i < LANE_SUMS; i++)
        dots[i] = DOT(0);
    [[unroll]] for (uint k = group * GROUP_WORDS; k < (group + 1u) * GROUP_WORDS; k++) {
        int x[LANE_ROWS];
        [[unroll]] for (uint r = 0u; r < LANE_ROWS; r++)
            x[r] = shared_x[(my_rows + r) * PITCH + k];
        [[unroll]] for (uint c = 0u; c < LANE_COLS; c++) {
            uint at = (my_col + c * COL_LANES) * PITCH + k;
            [[unroll]] for (uint r = 0u; r < LANE_ROWS; r++) {
#ifdef SWIGLU
                dots[r * LANE_COLS + c] +=
                    ivec2(dot_packed(x[r], shared_w[at], 0), dot_packed(x[r], shared_up[at], 0));
#else
                dots[r * LANE_COLS + c] += dot_packed(x[r], shared_w[at], 0);
#endif
            }
        }
    }
    [[unroll]] for (uint i = 0u; i < LANE_SUMS; i++) {
        vec2 x_scale = x_scales[(my_rows + i / LANE_COLS) * STEP_GROUPS + group];
        uint at = (my_col + i % LANE_COLS * COL_LANES) * STEP_GROUPS + group;
#ifdef SWIGLU
        sums[i] += vec2(scaled(x_scale, w_scales[at], dots[i].x),
                        scaled(x_scale, up_scales[at], dots[i].y));
#else
        sums[i] += scaled(x_scale, w_scales[at], dots[i]);
#endif
    }
}

void tile_product()
{
    uint lane = gl_LocalInvocationID.x;
    uint load_row = lane % VKM_TILE_ROWS, load_group = lane / VKM_TILE_ROWS;
    uint to = load_row * PITCH + load_group * GROUP_WORDS;
    uint scale_to = load_row * STEP_GROUPS + load_group;
    uvec2 x_row = tile_in(load_row);
    weight_row column = tile_column(load_row);
#ifdef SWIGLU
    weight_row up_column = tile_up_column(load_row);
#endif
    VKM_SUM totals[LANE_SUMS];
    my_rows = lane / COL_LANES * LANE_ROWS;
    my_col = lane % COL_LANES;
    [[unroll]] for (uint i = 0u; i < LANE_SUMS; i++)
        totals[i] = sums[i] = VKM_SUM(0);
    uint n_groups = IN_LD / (4u * GROUP_WORDS);
    uint steps = (n_groups + STEP_GROUPS - 1u) / STEP_GROUPS;
    for (uint s = 0u; s < steps; s++) {
        uint index = s * STEP_GROUPS + load_group;
        bring_x(x_row, index, n_groups, to, scale_to);
        bring_w(column, index, to, scale_to);
#ifdef SWIGLU
        bring_up(up_column, index, to, scale_to);
#endif
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
