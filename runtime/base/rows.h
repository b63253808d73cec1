/* Matrices of weights as they lie in device memory, in every storage type. lib/weights.glsl reads
 * the same layout.
 *
 * A row has ld elements. F32, F16 and BF16 are plain arrays, row after row. The quantised types
 * come in groups of VKM_GROUP elements along the row, which share scales, and so that a product
 * reads one stream of memory they lie in panels of VKM_PANEL_ROWS rows, one after the other. A
 * panel is made of blocks of VKM_PANEL_COLS columns: first the quants of each row, then the scales
 * of each group, in it those of each row. Rows and columns beyond the end are zeros.
 *
 *   Q8   value = scale * q, q from -127 to 127 (-128 where a file has it), a byte each. Per group
 * and row one f16, the scale. A block has 8 rows of 128 bytes, then [4 groups][8 rows] f16. Q4
 * value = scale * q + minimum, q from 0 to 15. Four bytes hold eight elements: byte j has element j
 * in its low half and element 4 + j in its high half. Per group and row two f16, the scale and the
 * minimum. A block has 8 rows of 64 bytes, then [4 groups][8 rows][2] f16.
 *
 * Q8K  value = scale * factor * q + minimum, q as in Q8; the two halves of a group have factors of
 * their own. Per group and row 8 bytes: the scale, an f16; two factors, bytes with sign; the
 * minimum, a float32. A block has 8 rows of 128 bytes, then [4 groups][8 rows][8] bytes.
 *   Q4K  the same with q as in Q4: 8 rows of 64 bytes.
 *
 * Scales are finite and not negative, minima finite. With factors every value of the types that
 * GGUF files have is held exactly, Q8K any of them: there the scales of 16 or 32 elements are
 * products, with more bits than f16 has. */
#ifndef VKM_ROWS_H
#define VKM_ROWS_H

#include "base/dtype.h"

/* Counts up with every change to the above that the three numbers below do not tell: files keep
 * matrices as they are. */
#define VKM_PANEL_VERSION 1u
#define VKM_GROUP 32u /* elements that share a scale */
#define VKM_GROUP_HALVES 2u
#define VKM_PANEL_ROWS 8u   /* rows that lie together, and */
#define VKM_PANEL_COLS 128u /* columns of theirs that do */

/* One group of a quantised type. */
struct vkm_group {
    float scale, minimum; /* as f16 holds them, but the minima of K types; Q8 has none: 0 */
    int32_t factors[VKM_GROUP_HALVES]; /* of the scale, in each half; 1 but in K types */
    int32_t quants[VKM_GROUP];
};

/* Whether values are stored in groups with a scale. */
bool vkm_dtype_is_quantised(enum vkm_dtype dtype);
/* Whether in such groups one f16 scales all elements, Q8 and Q4: what vkmoe makes of weights itself
 * and keeps in files, and what products of 8-bit integers take. */
bool vkm_dtype_has_one_scale(enum vkm_dtype dtype);
/* The smallest type that holds what both hold, exactly. */
enum vkm_dtype vkm_dtype_join(enum vkm_dtype a, enum vkm_dtype b);
/* Rows that a matrix of n_rows has room for: whole panels. */
uint64_t vkm_stored_rows(enum vkm_dtype dtype, uint64_t n_rows);
/* Bytes of a matrix; ld is a multiple of VKM_GROUP where the type is quantised. */
uint64_t vkm_matrix_bytes(enum vkm_dtype dtype, uint64_t n_rows, uint64_t ld);
/* Of a quantised type: bytes of a block, and how many blocks a panel of rows of ld elements has. */
size_t vkm_panel_block_bytes(enum vkm_dtype dtype);
uint64_t vkm_panel_blocks(uint64_t ld);
/* Whether a block of a type with one scale that was not made here is what a kernel may read: block
 * `index` of a matrix of n_rows. *row and *group get the place of the first scale that is not. */
bool vkm_panel_block_valid(const void *block, enum vkm_dtype dtype, uint64_t n_rows, uint64_t ld,
                           uint64_t index, uint64_t *row, uint64_t *group);
/* Elements [first, first + n) of a row, as float32; element i of it. */
void vkm_row_read(const void *matrix, enum vkm_dtype dtype, size_t ld, size_t row, size_t first,
                  size_t n, float *values);
float vkm_row_load(const void *matrix, enum vkm_dtype dtype, size_t ld, size_t row, size_t i);
/* Writes n finite values into a row and pads it, with zeros, or where there are minima with the
 * last of them up to the end of its group; with n = 0 a row of zeros, as all are to be that only
 * fill a panel. Quantised types round to the nearest value they have. False where values are too
 * large for the type's scale. */
bool vkm_row_store(void *matrix, enum vkm_dtype dtype, size_t ld, size_t row, const float *values,
                   size_t n);
/* The value of element i of a group. */
static inline float vkm_group_value(const struct vkm_group *g, size_t i)
{
    float step = g->scale * (float)g->factors[i / (VKM_GROUP / VKM_GROUP_HALVES)];
    return step * (float)g->quants[i] + g->minimum;
}
/* Brings the sign of the scale of a group, whose quants fit the type, to where the type has a place
 * for it; false where it has none, or the scale or the minimum is not finite. */
bool vkm_group_fit(enum vkm_dtype dtype, struct vkm_group *group);
/* Writes one group of a row as it is; the last one of a row ends it. */
void vkm_row_put(void *matrix, enum vkm_dtype dtype, size_t ld, size_t row, size_t group,
                 const struct vkm_group *values);
/* The same in a row of Q8, of quants that are bytes already and the bits of a scale. */
void vkm_row_put_q8(void *matrix, size_t ld, size_t row, size_t group,
                    const uint8_t quants[VKM_GROUP], uint16_t scale);

#endif
