/* gemm.comp's tile by subgroups with lanes along K, as in gemv.comp: each makes blocks of
 * BLOCK_ROWS rows by BLOCK_COLS columns, without shared memory or barriers. */
const uint BLOCK_COLS = RUN_ROWS;

const uint VKM_SUMS = BLOCK_ROWS * BLOCK_COLS;
#include "team.glsl"

/* The block at hand, in the tile. */
uint block_row;
uint block_col;

void team_result(uint index, VKM_SUM sum)
{
    tile_store(block_row + index / BLOCK_COLS, block_col + index % BLOCK_COLS, sum);
}

void block_product()
{
    uvec2 x[BLOCK_ROWS];
    weight_row columns[BLOCK_COLS];
#ifdef SWIGLU
    weight_row up_columns[BLOCK_COLS];
#endif
    [[unroll]] for (uint r = 0u; r < BLOCK_ROWS; r++)
        x[r] = tile_in(block_row + r);
    [[unroll]] for (uint c = 0u; c < BLOCK_COLS; c++) {
        columns[c] = tile_column(block_col + c);
#ifdef SWIGLU
        up_columns[c] = tile_up_column(block_col + c);
#endif
    }
    VKM_SUM sums[VKM_SUMS];
    [[unroll]] for (uint i = 0u; i < VKM_SUMS; i++)
        sums[i] = VKM_SUM(0);
    for (uint run = team_lane(); run < row_runs(IN_LD); run += team_lanes()) {
        weight_run runs[BLOCK_COLS];
#ifdef SWIGLU
        weight_run up_runs[BLOCK_COLS];
#endif
        ld_runs(columns, run, runs);
#ifdef SWIGLU
        ld_runs(up_columns, run, up_runs);
#endif
        [[unroll]] for (uint i = 0u; i < RUN4; i++) {
            vec4 weights[BLOCK_COLS];
#ifdef SWIGLU
            vec4 up_weights[BLOCK_COLS];
#endif
            [[unroll]] for (uint c = 0u; c < BLOCK_COLS; c++) {
                weights[c] = run_weights(runs[c], i);
#ifdef SWIGLU
                up_weights[c] = run_weights(up_runs[c], i);
#endif
            }
            [[unroll]] for (uint r = 0u; r < BLOCK_ROWS; r++) {
                vec4 v = ld_vec4(x[r], run * RUN4 + i);
                [[unroll]] for (uint c = 0u; c < BLOCK_COLS; c++) {
#ifdef SWIGLU
                    sums[r * BLOCK_COLS + c] += vec2(dot4(weights[c], v), dot4(up_weights[c], v));
#else
                    sums[r * BLOCK_COLS + c] += dot4(weights[c], v);
#endif
                }
            }
        }
    }
    team_finish(sums);
}

void tile_product()
{
    uint stride = gl_NumSubgroups * BLOCK_COLS;
    for (block_col = gl_SubgroupID * BLOCK_COLS; block_col < TILE_COLS; block_col += stride)
        for (block_row = 0u; block_row < tile_rows; block_row += BLOCK_ROWS)
            block_product();
}
