/* gemm.comp's tile by four subgroups, each with one matrix of 16 by 16 in the matrix units, for
 * weights of 16 bits. K goes by in steps of 32 through shared memory.
 *
 * The units multiply float16 and add up in float32. Rows of activations and columns of weights are
 * brought to magnitudes below 2^15 by powers of two of their own, so nothing overflows, weights stay
 * exact (but for what is 2^-29 of a column's largest), and activations are rounded to 11 bits. */
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#include "half.glsl"

const uint SIDE = 16u;            /* of a matrix */
const uint STEP4 = 8u;            /* vectors of four along K in one step */
const uint PITCH = STEP4 + 2u;    /* and in a row of shared memory: multiples of 16 bytes */
const uint EXPONENT = 127u + 14u; /* to which a row's largest magnitude is brought */

shared f16vec4 shared_x[VKM_TILE_ROWS * PITCH];
shared f16vec4 shared_w[VKM_TILE_COLS * PITCH];
shared float products[VKM_TILE_ROWS * VKM_TILE_COLS];
shared uint x_largest[VKM_TILE_ROWS]; /* bits of the largest magnitude */
shared uint w_largest[VKM_TILE_COLS];
#ifdef SWIGLU
shared f16vec4 shared_up[VKM_TILE_COLS * PITCH];
shared float up_products[VKM_TILE_ROWS * VKM_TILE_COLS];
shared uint up_largest[VKM_TILE_COLS];
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

/* The largest magnitudes of all rows and columns; lanes share each. */
void find_largest(uint row, uint part, uint parts)
{
    if (gl_LocalInvocationID.x < VKM_TILE_ROWS) {
        x_largest[gl_LocalInvocationID.x] = 0u;
        w_largest[gl_LocalInvocationID.x] = 0u;
#ifdef SWIGLU
        up_largest[gl_LocalInvocationID.x] = 0u;
#endif
    }
    barrier();
    uvec2 x = tile_in(row);
    weight_row column = tile_column(row);
    uint most_x = 0u, most_w = 0u;
#ifdef SWIGLU
    weight_row up_column = tile_up_column(row);
    uint most_up = 0u;
#endif
    for (uint k = part; k < IN_LD / 4u; k += parts) {
        most_x = max(most_x, magnitude(ld_vec4(x, k)));
        most_w = max(most_w, magnitude(ld_weights(column, k)));
#ifdef SWIGLU
        most_up = max(most_up, magnitude(ld_weights(up_column, k)));
#endif
    }
    atomicMax(x_largest[row], most_x);
    atomicMax(w_largest[row], most_w);
#ifdef SWIGLU
    atomicMax(up_largest[row], most_up);
#endif
    barrier();
}

#define MATRIX(type, use) coopmat<type, gl_ScopeSubgroup, SIDE, SIDE, use>

/* Multiplies one step of the subgroup's matrix. */
#define MULTIPLY(sums, shared_columns)                                                             \
    [[unroll]] for (uint k = 0u; k < STEP4; k += SIDE / 4u) {                                      \
        MATRIX(float16_t, gl_MatrixUseA) a;                                                        \
        MATRIX(float16_t, gl_MatrixUseB) b;                                                        \
        coopMatLoad(a, shared_x, my_row * PITCH + k, PITCH, gl_CooperativeMatrixLayoutRowMajor);   \
        coopMatLoad(b, shared_columns, my_col * PITCH + k, PITCH,                                  \
                    gl_CooperativeMatrixLayoutColumnMajor);                                        \
        sums = coopMatMulAdd(a, b, sums);                                                          \
    }

void tile_product()
{
    uint lane = gl_LocalInvocationID.x, lanes = gl_WorkGroupSize.x;
    uint row = lane % VKM_TILE_ROWS, part = lane / VKM_TILE_ROWS, parts = lanes / VKM_TILE_ROWS;
    find_largest(row, part, parts);
    int x_shift = row_shift(x_largest[row]), w_shift = row_shift(w_largest[row]);
    uvec2 x = tile_in(row);
    weight_row column = tile_column(row);
    uint my_row = gl_SubgroupID / (VKM_TILE_COLS / SIDE) * SIDE;
    uint my_col = gl_SubgroupID % (VKM_TILE_COLS / SIDE) * SIDE;
    MATRIX(float, gl_MatrixUseAccumulator) sums = MATRIX(float, gl_MatrixUseAccumulator)(0.0);
#ifdef SWIGLU
    int up_shift = row_shift(up_largest[row]);
    weight_row up_column = tile_up_column(row);
    MATRIX(float, gl_MatrixUseAccumulator) up_sums = MATRIX(float, gl_MatrixUseAccumulator)(0.0);
#endif
    for (uint s = 0u; s < IN_LD / (4u * STEP4); s++) {
        for (uint k = part; k < STEP4; k += parts) {
            shared_x[row * PITCH + k] = to_half(shifted(ld_vec4(x, s * STEP4 + k), x_shift));
            shared_w[row * PITCH + k] =
                to_half(shifted(ld_weights(column, s * STEP4 + k), w_shift));
#ifdef SWIGLU
            shared_up[row * PITCH + k] =
                to_half(shifted(ld_weights(up_column, s * STEP4 + k), up_shift));
#endif
        }
        barrier();
        MULTIPLY(sums, shared_w)
#ifdef SWIGLU
        MULTIPLY(up_sums, shared_up)
#endif
        barrier();
    }
    coopMatStore(sums, products, my_row * VKM_TILE_COLS + my_col, VKM_TILE_COLS,
                 gl_CooperativeMatrixLayoutRowMajor);
#ifdef SWIGLU
    coopMatStore(up_sums, up_products, my_row * VKM_TILE_COLS + my_col, VKM_TILE_COLS,
                 gl_CooperativeMatrixLayoutRowMajor);
#endif
    barrier();
    for (uint i = lane; i < VKM_TILE_ROWS * VKM_TILE_COLS; i += lanes) {
        uint r = i / VKM_TILE_COLS, c = i % VKM_TILE_COLS;
        int back = -row_shift(x_largest[r]);
        vec4 sum = vec4(products[i], 0.0, 0.0, 0.0);
        sum = shifted(shifted(sum, back), -row_shift(w_largest[c]));
#ifdef SWIGLU
        vec4 up = vec4(up_products[i], 0.0, 0.0, 0.0);
        up = shifted(shifted(up, back), -row_shift(up_largest[c]));
        tile_store(r, c, vec2(sum.x, up.x));
#else
        tile_store(r, c, sum.x);
#endif
    }
}
