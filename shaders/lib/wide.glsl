/* Products with a lane for each output, on the path WIDE: a workgroup is one subgroup, which walks
 * along K with all lanes together. So weights need no sums across lanes, and activations, which
 * all lanes share, are loaded once by all of them and handed round in registers: a CPU driver's
 * loads cost as much as four or more products.
 *
 * The kernel defines WIDE_COLS, rows of weights that a lane has, and WIDE_ROWS, rows of activations,
 * both constants. */
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_ballot : require

#ifndef WIDE_SUMS
const uint WIDE_SUMS = WIDE_COLS * WIDE_ROWS;
#endif
const uint WIDE_LANES = gl_WorkGroupSize.x;
/* Vectors of a group of activations that a lane loads. */
const uint WIDE_SLOTS = WIDE_LANES < 8u ? 8u / WIDE_LANES : 1u;

uint wide_lane()
{
    return gl_SubgroupInvocationID;
}

/* The workgroup's number among all that share its y. */
uint wide_index()
{
    return gl_WorkGroupID.x + gl_WorkGroupID.z * gl_NumWorkGroups.x;
}

/* sums[r * WIDE_COLS + c] += w[c] . x[r] over n groups. */
void wide_product(weight_row w[WIDE_COLS], uvec2 x[WIDE_ROWS], uint n,
                  inout float sums[WIDE_SUMS])
{
    for (uint group = 0u; group < n; group++) {
        weight_group weights[WIDE_COLS];
        vec4 own[WIDE_ROWS * WIDE_SLOTS];
        float parts[WIDE_SUMS];
        [[unroll]] for (uint c = 0u; c < WIDE_COLS; c++)
            weights[c] = ld_group(w[c], group);
        [[unroll]] for (uint i = 0u; i < WIDE_ROWS * WIDE_SLOTS; i++) {
            uint vector = (i % WIDE_SLOTS * WIDE_LANES + wide_lane()) % 8u;
            own[i] = ld_vec4(x[i / WIDE_SLOTS], group * 8u + vector);
        }
        [[unroll]] for (uint i = 0u; i < WIDE_SUMS; i++)
            parts[i] = 0.0;
        [[unroll]] for (uint i = 0u; i < 8u; i++) {
            vec4 quants[WIDE_COLS];
            [[unroll]] for (uint c = 0u; c < WIDE_COLS; c++)
                quants[c] = group_quants(weights[c], i);
            [[unroll]] for (uint r = 0u; r < WIDE_ROWS; r++) {
                uint slot = r * WIDE_SLOTS + i / WIDE_LANES % WIDE_SLOTS;
                vec4 v = subgroupBroadcast(own[slot], i % WIDE_LANES);
                [[unroll]] for (uint c = 0u; c < WIDE_COLS; c++) {
                    uint at = r * WIDE_COLS + c;
                    parts[at] += dot4(quants[c], v);
                }
            }
        }
        [[unroll]] for (uint i = 0u; i < WIDE_SUMS; i++)
            sums[i] += group_sum(weights[i % WIDE_COLS], parts[i]);
    }
}
