/* gemm.comp's tile by a workgroup of 128 or 256 lanes through shared memory: K goes by in steps of 32,
 * [row or column][K] in vectors of four, each row padded by a vector so that lanes on neighbouring
 * columns hit different banks. A lane owns a run of rows by 2 of the 32 columns. */
const uint STEP4 = 8u;         /* vectors along K in one step */
const uint PITCH = STEP4 + 1u; /* and in a row of shared memory */
const uint LANES = gl_WorkGroupSize.x;
const uint X_LOADS = TILE_ROWS * STEP4 / LANES; /* vectors of the rows that a lane brings, */
const uint W_LOADS = TILE_COLS * STEP4 / LANES; /* and of a matrix */
const uint LANE_COLS = 2u;
const uint COL_LANES = TILE_COLS / LANE_COLS;
const uint LANE_ROWS = TILE_ROWS * COL_LANES / LANES;
const uint FLUSH = 4u; /* steps after which sums go to the totals, to keep roundings few */

shared vec4 shared_x[TILE_ROWS * PITCH];
shared vec4 shared_w[TILE_COLS * PITCH];
#ifdef SWIGLU
shared vec4 shared_up[TILE_COLS * PITCH];
#endif

void tile_product()
{
    uint lane = gl_LocalInvocationID.x;
    uint load_k = lane % STEP4;
    uint load_row = lane / STEP4; /* and each LANES / STEP4 further */
    uvec2 x_rows[X_LOADS];
    weight_row columns[W_LOADS];
#ifdef SWIGLU
    weight_row up_columns[W_LOADS];
#endif
    [[unroll]] for (uint i = 0u; i < X_LOADS; i++)
        x_rows[i] = tile_in(load_row + i * (LANES / STEP4));
    [[unroll]] for (uint i = 0u; i < W_LOADS; i++) {
        uint col = load_row + i * (LANES / STEP4);
        columns[i] = tile_column(col);
#ifdef SWIGLU
        up_columns[i] = tile_up_column(col);
#endif
    }

    uint my_rows = lane / COL_LANES * LANE_ROWS; /* and those that follow */
    uint my_col = lane % COL_LANES;              /* and the one COL_LANES further */
    VKM_SUM totals[LANE_ROWS * LANE_COLS];
    VKM_SUM sums[LANE_ROWS * LANE_COLS];
    [[unroll]] for (uint i = 0u; i < LANE_ROWS * LANE_COLS; i++) {
        totals[i] = VKM_SUM(0);
        sums[i] = VKM_SUM(0);
    }
    uint steps = IN_LD / (4u * STEP4);
    for (uint s = 0u; s < steps; s++) {
        uint k = s * STEP4 + load_k;
        [[unroll]] for (uint i = 0u; i < X_LOADS; i++)
            shared_x[(load_row + i * (LANES / STEP4)) * PITCH + load_k] = ld_vec4(x_rows[i], k);
        [[unroll]] for (uint i = 0u; i < W_LOADS; i++) {
            uint at = (load_row + i * (LANES / STEP4)) * PITCH + load_k;
            shared_w[at] = ld_weights(columns[i], k);
#ifdef SWIGLU
            shared_up[at] = ld_weights(up_columns[i], k);
#endif
        }
        barrier();
        /* Two at a time hide the way to shared memory; all eight would compile long. */
        [[dont_unroll]] for (uint k2 = 0u; k2 < STEP4; k2 += 2u) {
            [[unroll]] for (uint k = k2; k < k2 + 2u; k++) {
                vec4 x[LANE_ROWS];
                [[unroll]] for (uint r = 0u; r < LANE_ROWS; r++)
                    x[r] = shared_x[(my_rows + r) * PITCH + k];
                [[unroll]] for (uint c = 0u; c < LANE_COLS; c++) {
                    uint at = (my_col + c * COL_LANES) * PITCH + k;
                    vec4 weights = shared_w[at];
#ifdef SWIGLU
                    vec4 up_weights = shared_up[at];
#endif
                    [[unroll]] for (uint r = 0u; r < LANE_ROWS; r++) {
#ifdef SWIGLU
                        sums[r * LANE_COLS + c] +=
                            vec2(dot4(weights, x[r]), dot4(up_weights, x[r]));
#else
                        sums[r * LANE_COLS + c] += dot4(weights, x[r]);
#endif
                    }
                }
            }
        }
        barrier();
        if (s % FLUSH == FLUSH - 1u || s == steps - 1u) {
            [[unroll]] for (uint i = 0u; i < LANE_ROWS * LANE_COLS; i++) {
                totals[i] += sums[i];
                sums[i] = VKM_SUM(0);
            }
        }
    }

    [[unroll]] for (uint i = 0u; i < LANE_ROWS * LANE_COLS; i++)
        tile_store(my_rows + i / LANE_COLS, my_col + i % LANE_COLS * COL_LANES, totals[i]);
}
