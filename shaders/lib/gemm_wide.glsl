/* gemm.comp's tile with a lane for each column, as in gemv.comp: one subgroup makes blocks of
 * WIDE_ROWS rows by as many columns as its lanes have. */
#define WIDE_ROWS BLOCK_ROWS
#ifdef SWIGLU
const uint LANE_COLS = 2u; /* columns of a lane */
const uint WIDE_COLS = 2u * LANE_COLS; /* gates, then up alike */
#else
const uint LANE_COLS = 4u;
const uint WIDE_COLS = LANE_COLS;
#endif
#include "wide.glsl"

/* The block from column `col` and row `row` of the tile on. */
void block_product(uint col, uint row)
{
    uvec2 x[WIDE_ROWS];
    weight_row columns[WIDE_COLS];
    float sums[WIDE_SUMS];
    [[unroll]] for (uint r = 0u; r < WIDE_ROWS; r++)
        x[r] = tile_in(row + r);
    [[unroll]] for (uint c = 0u; c < LANE_COLS; c++) {
        columns[c] = tile_column(col + c * WIDE_LANES);
#ifdef SWIGLU
        columns[LANE_COLS + c] = tile_up_column(col + c * WIDE_LANES);
#endif
    }
    [[unroll]] for (uint i = 0u; i < WIDE_SUMS; i++)
        sums[i] = 0.0;
    wide_product(columns, x, IN_LD / 32u, sums);
    [[unroll]] for (uint i = 0u; i < WIDE_ROWS * LANE_COLS; i++) {
        uint r = i / LANE_COLS, c = i % LANE_COLS;
        if (col + c * WIDE_LANES < TILE_COLS) {
#ifdef SWIGLU
            tile_store(row + r, col + c * WIDE_LANES,
                       vec2(sums[r * WIDE_COLS + c], sums[r * WIDE_COLS + LANE_COLS + c]));
#else
            tile_store(row + r, col + c * WIDE_LANES, sums[i]);
#endif
        }
    }
}

void tile_product()
{
    for (uint col = 0u; col < TILE_COLS; col += LANE_COLS * WIDE_LANES)
        for (uint row = 0u; row < tile_rows; row += WIDE_ROWS)
            block_product(col + wide_lane(), row);
}
