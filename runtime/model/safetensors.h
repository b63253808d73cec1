/* Writing safetensors; checkpoint.h reads them. */
#ifndef VKM_SAFETENSORS_H
#define VKM_SAFETENSORS_H

#include "model/checkpoint.h"

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
