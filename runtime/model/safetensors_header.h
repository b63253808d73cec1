/* The header of one safetensors file. Private to the checkpoint reader. */
#ifndef VKM_SAFETENSORS_HEADER_H
#define VKM_SAFETENSORS_HEADER_H

#include "model/checkpoint_parts.h"

/* The format's own limit on a header, in bytes. */
#define VKM_SAFETENSORS_HEADER_LIMIT 100000000u

/* Checks the whole header of an open file and appends its tensors, whose names are allocated
 * strings; `file` must outlive them. On failure the array may hold some of them: the caller frees
 * the names either way. */
vkmoe_status vkm_safetensors_parse(const vkmoe_allocator *a, const struct vkm_file *file,
                                   struct vkm_tensor_array *tensors, vkmoe_error *err);

#endif
