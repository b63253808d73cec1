/* gemm.comp's tile by four subgroups, which share the matrices of which it is made: the shape that the
 * device's matrix units multiply (MATRIX). K goes by in steps of 32, or 16, through shared memory.
 *
 * The units multiply float16 and add up in float32. Rows of activations and columns of weights are
 * brought to magnitudes below 2^15 by powers of two of their own, so nothing overflows. Activations
 * are rounded to 11 bits, and so are weights, of which those of 16 bits stay exact (but for what is
 * 2^-29 of a column's largest). */
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#include "half.glsl"

const uint UNIT_ROWS = MATRIX & 255u; /* of a matrix, */
const uint UNIT_COLS = MATRIX >> 8 & 255u;
const uint UNIT_K = MATRIX >> 16;
const uint UNIT = UNIT_ROWS * UNIT_COLS;
const uint TEAMS = 4u; /* subgroups: two by two, or side by side where one matrix has all rows */
const uint TEAMS_DOWN = TILE_ROWS > UNIT_ROWS ? 2u : 1u;
const uint OWN_ROWS = TILE_ROWS / (UNIT_ROWS * TEAMS_DOWN); /* matrices of a subgroup */
const uint OWN_COLS = TILE_COLS * TEAMS_DOWN / (UNIT_COLS * TEAMS);
const uint OWN = OWN_ROWS * OWN_COLS;
const uint STEP4 = UNIT_K > 8u ? 8u : 4u; /* vectors of four along K in one step */
const uint PITCH = STEP4 + 2u;            /* and in a row of shared memory: multiples of 16 bytes */
const uint EXPONENT = 127u + 14u;         /* to which a row's largest magnitude is brought */

shared f16vec4 shared_x[TILE_ROWS * PITCH];
shared f16vec4 shared_w[TILE_COLS * PITCH];
shared float products[TEAMS * UNIT];
shared uvec2 x_at[TILE_ROWS];
shared uint x_largest[TILE_ROWS]; /* bits of the largest magnitude */
shared uint w_largest[TILE_COLS];
#ifdef SWIGLU
shared f16vec4 shared_up[TILE_COLS * PITCH];
shared float up_products[TEAMS * UNIT];
shared uint up_largest[TILE_COLS];
#endif

uint magnitude(vec4 v)
{
    uvec4 bits = floatBitsToUint(v) & 0x7fffffffu;
    return max(max(bits.x, bits.y), max(bits.z, bits.w));
}

/* The exponent of the power of two that a row is multiplied with. */
int row_shift(uint largest)
{
    uint exponent = largest >> 23;
    return exponent == 0u || exponent == 255u ? 0 : int(EXPONENT) - int(exponent);
}

/* v * 2^shift, in two steps, as one factor might overflow. */
vec4 shifted(vec4 v, int shift)
{
    int half_way = shift / 2;
    float a = uintBitsToFloat(uint(127 + half_way) << 23);
    float b = uintBitsToFloat(uint(127 + shift - half_way) << 23);
    return v * a * b;
}

/* Where the rows are, and the largest magnitudes of all rows and columns; lanes share each. */
void find_largest()
{
    uint lane = gl_LocalInvocationID.x, lanes = gl_WorkGroupSize.x;
    for (uint r = lane; r < TILE_ROWS; r += lanes) {
        x_at[r] = tile_in(r);
        x_largest[r] = 0u;
    }
    for (uint c = lane; c < TILE_COLS; c += lanes) {
        w_largest[c] = 0u;
#ifdef SWIGLU
        up_largest[c] = 0u;
#endif
    }
    barrier();
    for (uint i = lane; i < TILE_ROWS * STEP4; i += lanes) {
        uint most = 0u;
        for (uint k = i % STEP4; k < IN_LD / 4u; k += STEP4)
            most = max(most, magnitude(ld_vec4(x_at[i / STEP4], k)));
        atomicMax(x_largest[i / STEP4], most);
    }
    for (uint i = lane; i < TILE_COLS * STEP4; i += lanes) {
        uint most = 0u;
        weight_row column = tile_column(i / STEP4);
        for (uint group = i % STEP4; group < IN_LD / 32u; group += STEP4)
            most = max(most, floatBitsToUint(group_bound(column, group)));
        atomicMax(w_largest[i / STEP4], most);
#ifdef SWIGLU
        column = tile_up_column(i / STEP4);
        most = 0u;
        for (uint group = i % STEP4; group < IN_LD / 32u; group += STEP4)
            most = max(most, floatBitsToUint(group_bound(column, group)));
        atomicMax(up_largest[i / STEP4], most);
#endif
    }
    barrier();
}

/* Brings one step of all rows and columns. */
void bring(uint first)
{
    uint lane = gl_LocalInvocationID.x, lanes = gl_WorkGroupSize.x;
    for (uint i = lane; i < TILE_ROWS * STEP4; i += lanes) {
        uint row = i / STEP4, k = i % STEP4;
        shared_x[row * PITCH + k] =
            to_half(shifted(ld_vec4(x_at[row], first + k), row_shift(x_largest[row])));
    }
    for (uint i = lane; i < TILE_COLS * STEP4; i += lanes) {
        uint col = i / STEP4, k = i % STEP4;
        shared_w[col * PITCH + k] =
            to_half(shifted(ld_weights(tile_column(col), first + k), row_shift(w_largest[col])));
#ifdef SWIGLU
        shared_up[col * PITCH + k] = to_half(
            shifted(ld_weights(tile_up_column(col), first + k), row_shift(up_largest[col])));
#endif
    }
}

#define A_MATRIX coopmat<float16_t, gl_ScopeSubgroup, UNIT_ROWS, UNIT_K, gl_MatrixUseA>
#define B_MATRIX coopmat<float16_t, gl_ScopeSubgroup, UNIT_K, UNIT_COLS, gl_MatrixUseB>
#define C_MATRIX coopmat<float, gl_ScopeSubgroup, UNIT_ROWS, UNIT_COLS, gl_MatrixUseAccumulator>

/* Multiplies one step of the subgroup's matrices. */
#define MULTIPLY(sums, shared_columns)                                                             \
    [[unroll]] for (uint k = 0u; k < STEP4; k += UNIT_K / 4u) {                                    \
        A_MATRIX a[OWN_ROWS];                                                                      \
        [[unroll]] for (uint r = 0u; r < OWN_ROWS; r++)                                            \
            coopMatLoad(a[r], shared_x, (my_row + r * UNIT_ROWS) * PITCH + k, PITCH,               \
                        gl_CooperativeMatrixLayoutRowMajor);                                       \
        [[unroll]] for (uint c = 0u; c < OWN_COLS; c++) {                                          \
            B_MATRIX b;                                                                            \
            coopMatLoad(b, shared_columns, (my_col + c * UNIT_COLS) * PITCH + k, PITCH,            \
                        gl_CooperativeMatrixLayoutColumnMajor);                                    \
            [[unroll]] for (uint r = 0u; r < OWN_ROWS; r++)                                        \
                sums[r * OWN_COLS + c] = coopMatMulAdd(a[r], b, sums[r * OWN_COLS + c]);           \
        }                                                                                          \
    }

/* What a product of row r and column c is without their powers of two. */
float unshifted(float product, uint r, uint largest)
{
    vec4 v = shifted(vec4(product, 0.0, 0.0, 0.0), -row_shift(x_largest[r]));
    return shifted(v, -row_shift(largest)).x;
}

/* Finishes the subgroup's matrix whose first row and column these are, which lies in products. */
void finish(uint first_row, uint first_col)
{
    for (uint i = gl_SubgroupInvocationID; i < UNIT; i += gl_SubgroupSize) {
        uint r = first_row + i / UNIT_COLS, c = first_col + i % UNIT_COLS;
        uint at = gl_SubgroupID * UNIT + i;
        float sum = unshifted(products[at], r, w_largest[c]);
#ifdef SWIGLU
        tile_store(r, c, vec2(sum, unshifted(up_products[at], r, up_largest[c])));
#else
        tile_store(r, c, sum);
#endif
    }
}

void tile_product()
{
    uint my_row = gl_SubgroupID % TEAMS_DOWN * OWN_ROWS * UNIT_ROWS;
    uint my_col = gl_SubgroupID / TEAMS_DOWN * OWN_COLS * UNIT_COLS;
    C_MATRIX sums[OWN];
    [[unroll]] for (uint i = 0u; i < OWN; i++)
        sums[i] = C_MATRIX(0.0);
#ifdef SWIGLU
    C_MATRIX up_sums[OWN];
    [[unroll]] for (uint i = 0u; i < OWN; i++)
        up_sums[i] = C_MATRIX(0.0);
#endif
    find_largest();
    for (uint s = 0u; s < IN_LD / (4u * STEP4); s++) {
        bring(s * STEP4);
        barrier();
        MULTIPLY(sums, shared_w)
#ifdef SWIGLU
        MULTIPLY(up_sums, shared_up)
#endif
        barrier();
    }
    [[unroll]] for (uint i = 0u; i < OWN; i++) {
        coopMatStore(sums[i], products, gl_SubgroupID * UNIT, UNIT_COLS,
                     gl_CooperativeMatrixLayoutRowMajor);
#ifdef SWIGLU
        coopMatStore(up_sums[i], up_products, gl_SubgroupID * UNIT, UNIT_COLS,
                     gl_CooperativeMatrixLayoutRowMajor);
#endif
        barrier();
        finish(my_row + i / OWN_COLS * UNIT_ROWS, my_col + i % OWN_COLS * UNIT_COLS);
        barrier();
    }
}
