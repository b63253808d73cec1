/* Runs a stream op by op and holds each against its reference, which is fed the device's own
 * inputs: what is reported is the first kernel that is wrong, not what follows from it. The device
 * must be open with host_visible. */
#ifndef VKM_LOCKSTEP_H
#define VKM_LOCKSTEP_H

#include "conform/compare.h"
#include "gpu/gpu.h"

struct vkm_lockstep {
    size_t op;
    const struct vkm_kernel *kernel;
    const struct vkm_variant *variant;
    const char *view;           /* the written view that `compare` is about */
    struct vkm_compare compare; /* broken == NULL: all views of all ops that ran are right */
    double nmse;                /* worst of the views of all ops that ran */
};

/* Runs op `index` alone. The status tells whether it could be run; *out what was found. */
vkmoe_status vkm_lockstep_op(struct vkm_gpu *gpu, const struct vkm_stream *stream, size_t index,
                             struct vkm_lockstep *out, vkmoe_error *err);

/* Runs every op in order, up to the first that is wrong. */
vkmoe_status vkm_lockstep(struct vkm_gpu *gpu, const struct vkm_stream *stream,
                          struct vkm_lockstep *out, vkmoe_error *err);

/* "gemv (BF16, subgroup): y[37] differs: got 1, expected 2", or that all is well. */
void vkm_lockstep_sentence(const struct vkm_lockstep *result, char *text, size_t size);

const char *vkm_path_name(enum vkm_path path);
/* The storage type of a variant's weights, or "-". */
const char *vkm_variant_dtype_name(const struct vkm_variant *variant);

#endif
