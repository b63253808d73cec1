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
    const char *view;                /* the written view that `compare` is about */
    struct vkm_compare compare;      /* broken == NULL: all views of all ops that ran are right */
    double nmse;                     /* worst of the views of all ops that ran */
    uint64_t errors[VKM_ERROR_BINS]; /* of the floats that the last op wrote */
};

/* What an op leaves in the views that it writes, apart from these views. */
struct vkm_outputs {
    const struct vkm_gpu *gpu;
    struct {
        struct vkm_view view;
        const struct vkm_field *field;
        unsigned char *data; /* view.size bytes */
    } items[VKM_MAX_FIELDS];
    uint32_t count;
};

/* Room for the outputs of op `index`, filled with what memory holds now. */
vkmoe_status vkm_outputs_make(struct vkm_gpu *gpu, const struct vkm_stream *stream, size_t index,
                              struct vkm_outputs *out, vkmoe_error *err);
/* Lets the reference compute them from what memory holds now; see vkm_ref for `magnitude`. */
void vkm_outputs_compute(struct vkm_outputs *out, const struct vkm_stream *stream, size_t index,
                         bool magnitude);
void vkm_outputs_drop(struct vkm_outputs *out, const struct vkm_stream *stream);

/* Whether a view is compared word by word: integers, and numbers that were rounded to a storage
 * type of the KV cache. */
bool vkm_compares_words(const struct vkm_field *field, enum vkm_dtype dtype);

/* Runs op `index` alone and holds it against outputs that are known. `magnitude` is empty unless
 * the kernel's metric is PRODUCT. */
vkmoe_status vkm_lockstep_known(struct vkm_gpu *gpu, const struct vkm_stream *stream, size_t index,
                                const struct vkm_outputs *want, const struct vkm_outputs *magnitude,
                                struct vkm_lockstep *out, vkmoe_error *err);

/* Runs op `index` alone. The status tells whether it could be run; *out what was found. */
vkmoe_status vkm_lockstep_op(struct vkm_gpu *gpu, const struct vkm_stream *stream, size_t index,
                             struct vkm_lockstep *out, vkmoe_error *err);

/* Runs every op in order, up to the first that is wrong. */
vkmoe_status vkm_lockstep(struct vkm_gpu *gpu, const struct vkm_stream *stream,
                          struct vkm_lockstep *out, vkmoe_error *err);

/* What is wrong with the element, where something is: "y[37] differs: got 1, expected 2". */
void vkm_lockstep_element(const struct vkm_lockstep *result, char *text, size_t size);
/* "gemv (BF16, subgroup): y[37] differs: got 1, expected 2", or that all is well. */
void vkm_lockstep_sentence(const struct vkm_lockstep *result, char *text, size_t size);

/* The storage type of a variant's weights, or "-". */
const char *vkm_variant_dtype_name(const struct vkm_variant *variant);

#endif
