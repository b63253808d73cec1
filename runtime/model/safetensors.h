/* Writing safetensors; checkpoint.h reads them. */
#ifndef VKM_SAFETENSORS_H
#define VKM_SAFETENSORS_H

#include "model/checkpoint.h"

struct vkm_writer;

/* A tensor to be written. One of a quantised type, [rows, columns], lies in the file as base/rows.h
 * has it; see packed.h. */
struct vkm_tensor_out {
    const char *name;
    enum vkm_dtype dtype;
    uint32_t n_dims;
    uint64_t shape[VKM_MAX_DIMS];
    const void *data; /* contiguous, product(shape) elements; or what a source makes them of */
};

/* Writes a safetensors file, whole or not at all. The same tensors in any order give the same
 * bytes. */
vkmoe_status vkm_safetensors_write(const vkmoe_allocator *a, const char *path,
                                   const struct vkm_tensor_out *tensors, size_t count,
                                   vkmoe_error *err);

/* Writes all bytes of a tensor. */
typedef vkmoe_status vkm_tensor_source(void *user, const struct vkm_tensor_out *tensor,
                                       struct vkm_writer *w, vkmoe_error *err);
/* The same with tensors that are made when their turn comes. */
vkmoe_status vkm_safetensors_stream(const vkmoe_allocator *a, const char *path,
                                    const struct vkm_tensor_out *tensors, size_t count,
                                    vkm_tensor_source *source, void *user, vkmoe_error *err);
/* Bytes that a tensor takes in the file; false where it cannot be written. */
bool vkm_safetensors_bytes(const struct vkm_tensor_out *tensor, uint64_t *bytes);

#endif
