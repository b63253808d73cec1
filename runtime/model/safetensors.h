/* Reading safetensors: one file, or the shards that model.safetensors.index.json names. Everything
 * in the header is checked before any tensor is handed out; the data stays in the files. */
#ifndef VKM_SAFETENSORS_H
#define VKM_SAFETENSORS_H

#include "base/dtype.h"
#include "base/file.h"

#define VKM_MAX_DIMS 4

struct vkm_tensor {
    const char *name;             /* owned by the checkpoint */
    const char *file;             /* path of the file it lies in, for messages */
    const struct vkm_file *from;  /* that file, open */
    uint64_t offset;              /* of the first element, in the file; a multiple of its size */
    uint64_t size;                /* bytes */
    uint64_t shape[VKM_MAX_DIMS]; /* outermost first; only the first n_dims count */
    uint32_t n_dims;
    enum vkm_dtype dtype;   /* VKM_DTYPE_COUNT: one that the runtime does not know, any alignment */
    const char *dtype_name; /* as the file has it, for messages about any tensor */
};

struct vkm_checkpoint; /* immutable once open; thread-safe to read; the allocator outlives it */

/* Opens model.safetensors in folder `path` or, where there is none, the shards that
 * model.safetensors.index.json names. */
vkmoe_status vkm_checkpoint_open(const vkmoe_allocator *a, const char *path,
                                 struct vkm_checkpoint **out, vkmoe_error *err);
/* Opens one safetensors file by its own path. */
vkmoe_status vkm_checkpoint_open_file(const vkmoe_allocator *a, const char *path,
                                      struct vkm_checkpoint **out, vkmoe_error *err);
void vkm_checkpoint_close(struct vkm_checkpoint *c); /* accepts NULL */

/* NULL when there is no tensor of that name. */
const struct vkm_tensor *vkm_checkpoint_find(const struct vkm_checkpoint *c, const char *name);
/* All tensors, in the order of their names. */
size_t vkm_checkpoint_count(const struct vkm_checkpoint *c);
const struct vkm_tensor *vkm_checkpoint_at(const struct vkm_checkpoint *c, size_t index);
/* Reads `size` bytes of a tensor from its byte `offset` on, a range within the tensor. Fails with
 * IO where the file no longer has them. */
vkmoe_status vkm_tensor_read(const struct vkm_tensor *t, uint64_t offset, void *to, size_t size,
                             vkmoe_error *err);
/* What the checkpoint was opened from, for messages. */
const char *vkm_checkpoint_path(const struct vkm_checkpoint *c);

/* A tensor to be written. */
struct vkm_tensor_out {
    const char *name;
    enum vkm_dtype dtype;
    uint32_t n_dims;
    uint64_t shape[VKM_MAX_DIMS];
    const void *data; /* contiguous, product(shape) elements */
};

/* Writes a safetensors file, whole or not at all. The same tensors in any order give the same
 * bytes. */
vkmoe_status vkm_safetensors_write(const vkmoe_allocator *a, const char *path,
                                   const struct vkm_tensor_out *tensors, size_t count,
                                   vkmoe_error *err);

#endif
