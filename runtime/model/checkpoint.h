/* A model's tensors by their Hugging Face names, wherever they come from: safetensors or GGUF.
 * Everything that says where they lie is checked before any is handed out; the data stays in the
 * files. */
#ifndef VKM_CHECKPOINT_H
#define VKM_CHECKPOINT_H

#include "base/blocks.h"
#include "base/file.h"

#define VKM_MAX_DIMS 4

struct vkm_tensor {
    const char *name;             /* owned by the checkpoint */
    const char *own_name;         /* as the file has it, for messages */
    const char *file;             /* path of the file it lies in, for messages */
    const struct vkm_file *from;  /* that file, open */
    uint64_t offset;              /* of the first element, in the file */
    uint64_t size;                /* bytes */
    uint64_t shape[VKM_MAX_DIMS]; /* outermost first; only the first n_dims count */
    uint32_t n_dims;
    enum vkm_dtype dtype;   /* VKM_DTYPE_COUNT: one that the runtime does not know, any alignment */
    const char *dtype_name; /* as the file has it, for messages about any tensor */
    /* The blocks that its rows are made of, whose values `dtype` holds exactly; NULL: the file has
     * an array of dtype. */
    const struct vkm_block_format *blocks;
    /* Rows of heads of so many (0: none) whose rotated pairs lie side by side: row 2 i + s of a
     * head is what Hugging Face has as row i + s * interleaved / 2. */
    uint32_t interleaved;
    /* Its rows lie as the device has them, of the quantised type `dtype`: see packed.h. */
    bool packed;
    uint32_t slice; /* of a stack of tensors that the file holds as one: which */
};

struct vkm_checkpoint; /* immutable once open; thread-safe to read; the allocator outlives it */

/* Opens a GGUF file, or model.safetensors in folder `path` or, where there is none, the shards that
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
/* Whether that is a GGUF file. */
bool vkm_checkpoint_is_gguf(const struct vkm_checkpoint *c);
/* What its weights were quantised as before they were written: the smallest type there is in it;
 * VKM_DTYPE_COUNT where they were not. */
enum vkm_dtype vkm_checkpoint_quantised(const struct vkm_checkpoint *c);
/* What says which tensors and shapes are expected, for messages: "config.json". */
const char *vkm_checkpoint_authority(const struct vkm_checkpoint *c);
/* What a tensor that is not there would be called in the files, for messages; returns out. */
#define VKM_TENSOR_NAME_SIZE 160
const char *vkm_checkpoint_own_name(const struct vkm_checkpoint *c, const char *name,
                                    char out[VKM_TENSOR_NAME_SIZE]);

#endif
