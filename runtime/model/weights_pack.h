/* From a checkpoint's rows to rows as the device stores them. */
#ifndef VKM_WEIGHTS_PACK_H
#define VKM_WEIGHTS_PACK_H

#include "model/weights.h"

/* What one thread needs for it. */
struct vkm_packer {
    const vkmoe_allocator *allocator;
    unsigned char *block; /* what was read last */
    size_t block_size;    /* at least a row of every piece */
    float *values;        /* a row on its way to another type */
    bool straight;        /* what needs no change is read to its place, and checked there */
};

/* For these pieces; to be finished also where it fails. `straight`: memory that is packed to is
 * quick to read. */
vkmoe_status vkm_packer_init(struct vkm_packer *packer, const vkmoe_allocator *a, bool straight,
                             const struct vkm_piece *pieces, size_t count, vkmoe_error *err);
void vkm_packer_finish(struct vkm_packer *packer); /* accepts a zeroed one */

/* Reads rows `first` and on of a piece and writes them to `to`, with the rest of the last panel;
 * `first` begins one. Fails with BAD_FORMAT at a weight that is not finite, or that is too large
 * for its group's scale. */
vkmoe_status vkm_pack(struct vkm_packer *packer, const struct vkm_piece *piece, uint64_t first,
                      uint64_t rows, void *to, vkmoe_error *err);

/* The same by several threads. */
struct vkm_worker;
struct vkm_team {
    const vkmoe_allocator *allocator;
    struct vkm_worker *workers;
    uint32_t n;
};

/* threads: 0 for one on each processor, up to a few. To be finished also where it fails. */
vkmoe_status vkm_team_init(struct vkm_team *team, const vkmoe_allocator *a, uint32_t threads,
                           bool straight, const struct vkm_piece *pieces, size_t count,
                           vkmoe_error *err);
void vkm_team_finish(struct vkm_team *team); /* accepts a zeroed one */
vkmoe_status vkm_team_pack(struct vkm_team *team, const struct vkm_piece *piece, uint64_t first,
                           uint64_t rows, void *to, vkmoe_error *err);

/* Bytes of the checkpoint that so many rows are read from, from the first row of a panel on. */
uint64_t vkm_piece_source_bytes(const struct vkm_piece *p, uint64_t rows);

#endif
