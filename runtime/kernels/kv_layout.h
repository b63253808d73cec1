/* The KV cache as it lies in device memory, in every storage type: F32, F16, BF16 and Q8.
 * lib/kv.glsl reads and writes the same layout.
 *
 * A block holds VKM_KV_BLOCK positions, one after the other for each head, its keys and its values
 * in caches of their own. F32: [head_dim][64] keys, [64][head_dim] values. The others are made of
 * pairs of elements, which one invocation has at hand when it writes them: pair i are elements i
 * and i + head_dim / 2 of keys, which RoPE turns together, and 2 i and 2 i + 1 of values. With n
 * words to a position, keys are [n][64] uints and values [64][n]:
 *
 *   F16, BF16  a word for each pair, its first element in the low half.
 *   Q8   a byte for each element, from -127 to 127; two pairs are a word, whose end is zero where
 * the last pair stands alone. 16 pairs are a group, with a scale that is a BF16; after the words of
 * the block follow [words][64] uints of scales, those of two groups in one, the first in the low
 * half.
 *
 * Rounding is to the nearest, ties to even. F16 saturates at +-65504. The scale of a group is the
 * least BF16 that is not below its largest magnitude / 127, or zero, and so is what it stands for,
 * where that magnitude is below 2^-100; a group with an infinity or a NaN is all NaN. Everything in
 * between is a product or a difference that float32 holds exactly, so that any device gets the same
 * bits. */
#ifndef VKM_KV_LAYOUT_H
#define VKM_KV_LAYOUT_H

#include "base/dtype.h"

#define VKM_KV_GROUP 16u /* pairs that share a scale */

enum vkm_kv_side { VKM_KV_KEYS, VKM_KV_VALUES };

/* One head's part of a block. */
struct vkm_kv_part {
    enum vkm_dtype dtype;
    enum vkm_kv_side side;
    uint32_t head_dim; /* even */
};

/* Words that one position takes in it, scales among them. */
uint32_t vkm_kv_words(enum vkm_dtype dtype, uint32_t head_dim);
/* Pairs in group `group`: VKM_KV_GROUP, or what is left; 0 behind the last. */
uint32_t vkm_kv_group_pairs(const struct vkm_kv_part *part, uint32_t group);
/* Rounds the pairs of a group and writes them; `data` is the part's memory, `at` the position in
 * the block. */
void vkm_kv_put_pairs(void *data, const struct vkm_kv_part *part, uint32_t at, uint32_t group,
                      const float pairs[VKM_KV_GROUP][2]);
/* The same for all head_dim elements of a position. */
void vkm_kv_put_row(void *data, const struct vkm_kv_part *part, uint32_t at, const float *row);
/* Element i of a position, as float32. */
float vkm_kv_element(const void *data, const struct vkm_kv_part *part, uint32_t at, uint32_t i);

#endif
