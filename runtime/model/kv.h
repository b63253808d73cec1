/* The paged KV cache: blocks of 64 positions, reference-counted so that sequences can share a
 * prefix; per layer one array of key blocks and one of value blocks on the device, laid out as
 * kernels/kv_layout.h says. */
#ifndef VKM_KV_H
#define VKM_KV_H

#include "gpu/gpu.h"
#include "model/config.h"
#include "vkmoe/model.h"

struct vkm_kv {
    struct vkm_gpu *gpu;
    enum vkm_dtype dtype; /* what keys and values are stored as */
    uint32_t n_layers;
    uint32_t n_blocks;
    uint64_t block_bytes;               /* of keys or values in one layer */
    struct vkm_buffer **keys, **values; /* [n_layers] */
    uint32_t *references;               /* [n_blocks] */
    uint32_t *free;                     /* a stack of unused block ids */
    uint32_t n_free;
};

/* Which blocks hold a sequence's positions. */
struct vkm_kv_sequence {
    uint32_t *blocks; /* [capacity] block ids, in order of position */
    uint32_t count, capacity;
    uint32_t length; /* positions in use */
};

/* The storage type that a public kind stands for; kind is below VKMOE_KV_COUNT. */
enum vkm_dtype vkm_kv_dtype(vkmoe_kv kind);
/* Bytes that `positions` take in all layers. */
uint64_t vkm_kv_bytes(const struct vkm_config *config, enum vkm_dtype dtype, uint32_t positions);

vkmoe_status vkm_kv_init(struct vkm_kv *kv, struct vkm_gpu *gpu, const struct vkm_config *config,
                         enum vkm_dtype dtype, uint32_t n_blocks, vkmoe_error *err);
/* Bytes that it takes. */
uint64_t vkm_kv_held(const struct vkm_kv *kv);
void vkm_kv_finish(struct vkm_kv *kv); /* accepts a zeroed struct */

/* A sequence of at most max_positions, empty. */
vkmoe_status vkm_kv_sequence_init(struct vkm_kv *kv, struct vkm_kv_sequence *s,
                                  uint32_t max_positions, vkmoe_error *err);
/* Makes room for positions length .. length + extra - 1, which the caller may then write.
 * CONTEXT_FULL when the sequence or the cache has no more blocks (nothing changes). */
vkmoe_status vkm_kv_extend(struct vkm_kv *kv, struct vkm_kv_sequence *s, uint32_t extra,
                           vkmoe_error *err);
/* Forgets positions from `length` on. */
void vkm_kv_truncate(struct vkm_kv *kv, struct vkm_kv_sequence *s, uint32_t length);
/* Whether the block that holds position `position` belongs to another sequence as well, so that
 * its end must be copied before this one writes there: take a block, copy, put it in its place. */
bool vkm_kv_is_shared(const struct vkm_kv *kv, const struct vkm_kv_sequence *s, uint32_t position);
/* A block that belongs to no sequence; CONTEXT_FULL when there is none. */
vkmoe_status vkm_kv_take(struct vkm_kv *kv, uint32_t *block, vkmoe_error *err);
void vkm_kv_give_back(struct vkm_kv *kv, uint32_t block);
/* `block`, which was taken, becomes number `index` of the sequence: in place of what was there, or
 * after the last. */
void vkm_kv_put(struct vkm_kv *kv, struct vkm_kv_sequence *s, uint32_t index, uint32_t block);
/* Makes `to` (empty) share the whole blocks of the first `length` positions of `from`; its length
 * is what they cover: length rounded down to a block, unless it ends one. */
void vkm_kv_fork(struct vkm_kv *kv, const struct vkm_kv_sequence *from, uint32_t length,
                 struct vkm_kv_sequence *to);
void vkm_kv_sequence_finish(struct vkm_kv *kv, struct vkm_kv_sequence *s);

#endif
