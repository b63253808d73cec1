/* Blocks: how GGUF files keep quantised weights. A row is a sequence of blocks of 32 or 256
 * elements, each with scales of its own. Every format is decoded to the very float32 values that it
 * stands for.
 *
 * In all of them d and m are f16, integers are little-endian, "nibbles" are 4-bit numbers in 16
 * bytes for 32 elements: those of elements 0 .. 15 in the low halves, those of 16 .. 31 in the high
 * ones.
 *
 *   Q4_0    d, nibbles                        d (q - 8)
 *   Q4_1    d, m, nibbles                     d q + m
 *   Q5_0    d, 32 fifth bits, nibbles         d (q - 16)
 *   Q5_1    d, m, 32 fifth bits, nibbles      d q + m
 *   Q8_0    d, 32 bytes                       d q
 *   IQ4_NL  d, nibbles                        d table[q], a table of 16 bytes with sign
 *   Q4_K    d, m, 12 bytes, 4 x 64 elements   d s q - m t; 8 pairs (s, t) of 6 bits, one for 32
 *   Q5_K    the same with a fifth bit         elements each, lie packed in the 12 bytes
 *   Q6_K    low nibbles, high pairs of bits,  d s (q - 32); s is a byte with sign for 16 elements
 *           16 bytes, d */
#ifndef VKM_BLOCKS_H
#define VKM_BLOCKS_H

#include "base/rows.h"

#define VKM_BLOCK_MAX 256u /* elements of the largest block */

/* What weights in a file may be stored as; immutable, static storage. */
struct vkm_block_format {
    const char *name;
    uint32_t number;   /* of the type in a GGUF file */
    uint32_t elements; /* of a block */
    uint32_t bytes;    /* of a block */
    enum vkm_dtype
        stored; /* the smallest that holds every value: the type itself, or a quantised */
    /* Writes group `index` of a block, 32 elements: what the values are, whatever the signs; NULL:
     * the file has an array of `stored`. */
    void (*take)(const uint8_t *block, size_t index, struct vkm_group *group);
};

/* Writes the values of a block; f->take is not NULL, here and below. */
void vkm_block_decode(const struct vkm_block_format *f, const uint8_t *block, float *values);
/* Makes group `index` of a block one of `dtype`, which is f->stored or joins it with others
 * (vkm_dtype_join), value for value; false where that cannot be: a scale that is not finite, or is
 * negative where the type has no place for the sign. */
bool vkm_block_group(const struct vkm_block_format *f, const uint8_t *block, size_t index,
                     enum vkm_dtype dtype, struct vkm_group *group);
/* Writes a block as block `index` of a row of a matrix of such a type, likewise. */
bool vkm_block_put(const struct vkm_block_format *f, const uint8_t *block, void *matrix,
                   enum vkm_dtype dtype, size_t ld, size_t row, size_t index);

/* The format of a type's number, or NULL for one that is not read. */
const struct vkm_block_format *vkm_block_format_find(uint32_t number);
/* The names of all formats that are read, for messages. */
extern const char vkm_block_format_names[];
/* The name of any type that files of this kind have, "" where it has none. */
const char *vkm_block_type_name(uint32_t number);

#endif
