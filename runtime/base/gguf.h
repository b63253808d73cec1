/* The container of GGUF files: metadata and where tensors lie. Everything in the header is checked
 * before any of it is handed out; the tensors' data stays in the file. */
#ifndef VKM_GGUF_H
#define VKM_GGUF_H

#include "base/blocks.h"
#include "base/file.h"
#include "base/json.h"

#define VKM_GGUF_DIMS 4

struct vkm_gguf_tensor {
    char *name;                    /* owned by the container; printable ASCII */
    uint64_t shape[VKM_GGUF_DIMS]; /* innermost first, as in the file; 1 beyond n_dims */
    uint32_t n_dims;
    uint64_t offset; /* of its data, in the file */
    uint64_t size;   /* bytes */
    const struct vkm_block_format *format;
};

struct vkm_gguf {
    const vkmoe_allocator *allocator;
    char *path;
    struct vkm_file file; /* open */
    json_t *metadata;     /* one object: integers, reals, booleans, strings and arrays of these */
    struct {
        struct vkm_gguf_tensor *items; /* by name */
        size_t count, capacity;
    } tensors;
};

/* Whether `path` is a file that is meant as GGUF: by its first bytes, or by its name. */
bool vkm_gguf_is(const char *path);

/* Opens a file of version 2 or 3. Arrays of more than `longest_array` elements are checked, but
 * kept as null. Fails with NOT_FOUND, IO, BAD_FORMAT, or UNSUPPORTED for other versions, for one of
 * several files of a model, and for tensors of types that are not read. */
vkmoe_status vkm_gguf_open(const vkmoe_allocator *a, const char *path, size_t longest_array,
                           struct vkm_gguf **out, vkmoe_error *err);
void vkm_gguf_close(struct vkm_gguf *g); /* accepts NULL */

/* NULL when there is no tensor of that name. */
const struct vkm_gguf_tensor *vkm_gguf_find(const struct vkm_gguf *g, const char *name);

#endif
