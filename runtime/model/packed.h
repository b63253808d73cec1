/* Quantised tensors in safetensors files: each a U8 tensor whose bytes are a matrix as base/rows.h
 * lays it out, so that loading one is reading it. The file's __metadata__ says so: under
 * VKM_PACKED_KEY the layout, and under each such tensor's name what it holds, "Q8 1408 2048". */
#ifndef VKM_PACKED_H
#define VKM_PACKED_H

#include "base/json.h"
#include "base/rows.h"
#include "model/checkpoint_parts.h"
#include "model/safetensors.h"

#define VKM_PACKED_KEY "vkmoe_layout"
#define VKM_PACKED_DTYPE "U8"

/* Bytes of a matrix; false where there is none of such a shape. */
bool vkm_packed_bytes(enum vkm_dtype dtype, uint64_t rows, uint64_t cols, uint64_t *bytes);

/* What the layout of this program is called: the version, then what it consists of. */
#define VKM_PACKED_LAYOUT_SIZE 80
const char *vkm_packed_layout(char out[VKM_PACKED_LAYOUT_SIZE]);

/* The metadata of a file, to be released, and a tensor added to it. NULL and false when memory runs
 * out. */
json_t *vkm_packed_metadata(void);
bool vkm_packed_describe(json_t *metadata, const struct vkm_tensor_out *tensor);

/* Makes of the tensors from `first` on, all those of `file`, what its header's metadata says that
 * they are; of another program's metadata nothing. Fails with UNSUPPORTED for another layout. */
vkmoe_status vkm_packed_apply(const struct vkm_file *file, const json_t *header,
                              struct vkm_tensor_array *tensors, size_t first, vkmoe_error *err);

#endif
