/* What a checkpoint is made of. Private to the checkpoint and its readers. */
#ifndef VKM_CHECKPOINT_PARTS_H
#define VKM_CHECKPOINT_PARTS_H

#include "base/gguf.h"
#include "model/checkpoint.h"

struct vkm_tensor_array {
    struct vkm_tensor *items;
    size_t count, capacity;
};

struct vkm_shard {
    char *path;
    struct vkm_file file;
};

struct vkm_checkpoint {
    const vkmoe_allocator *allocator;
    char *path;
    struct vkm_shard *shards; /* never moved: tensors point into it */
    size_t n_shards;
    struct vkm_gguf *gguf;           /* instead of shards, or NULL */
    struct vkm_tensor_array tensors; /* sorted by name once open; each name is allocated */
};

/* An empty checkpoint with room for shards. */
vkmoe_status vkm_checkpoint_create(const vkmoe_allocator *a, const char *path, size_t max_shards,
                                   struct vkm_checkpoint **out, vkmoe_error *err);
void vkm_checkpoint_sort(struct vkm_checkpoint *c);
void vkm_tensor_free_name(const vkmoe_allocator *a, const struct vkm_tensor *t);

/* The readers. */
vkmoe_status vkm_safetensors_open(const vkmoe_allocator *a, const char *folder,
                                  struct vkm_checkpoint **out, vkmoe_error *err);
vkmoe_status vkm_gguf_checkpoint_open(const vkmoe_allocator *a, const char *path,
                                      struct vkm_checkpoint **out, vkmoe_error *err);
/* The name that a GGUF file has for a tensor; returns out. */
const char *vkm_gguf_tensor_name(const char *name, char out[VKM_TENSOR_NAME_SIZE]);

#endif
