/* A recorded stream of dispatches: plain data, made by the recorder, then encoded for a device, run
 * on the reference, or examined by the hazard checker. */
#ifndef VKM_STREAM_H
#define VKM_STREAM_H

#include "gpu/kernel.h"

struct vkm_op {
    uint32_t kernel;  /* id in the kernel set */
    uint32_t variant; /* index in the kernel's variants */
    uint32_t spec[VKM_MAX_SPEC];
    uint32_t subgroup_size;   /* that the pipeline is to run with; 0 off the subgroup path */
    uint32_t groups[3];       /* workgroup counts; with indirect ones, an estimate of the work */
    struct vkm_view indirect; /* three uints in device memory, or absent */
    double work;   /* bytes and operations, as whoever recorded it estimates; 0: not told */
    size_t params; /* offset of the params struct in stream->params */
    bool barrier;  /* everything before is finished and visible before this op */
    bool beside;   /* it and the op before it touch nothing that the other writes, see recorder.h */
};

struct vkm_stream {
    const vkmoe_allocator *allocator;
    const struct vkm_kernel_set *set;
    struct {
        struct vkm_op *items;
        size_t count, capacity;
    } ops;
    struct {
        unsigned char *items;
        size_t count, capacity;
    } params;
};

void vkm_stream_init(struct vkm_stream *s, const struct vkm_kernel_set *set,
                     const vkmoe_allocator *a);
void vkm_stream_finish(struct vkm_stream *s);
void vkm_stream_clear(struct vkm_stream *s);

static inline const struct vkm_kernel *vkm_op_kernel(const struct vkm_stream *s,
                                                     const struct vkm_op *op)
{
    return &s->set->kernels[op->kernel];
}

static inline const void *vkm_op_params(const struct vkm_stream *s, const struct vkm_op *op)
{
    return s->params.items + op->params;
}

/* The view of field `f` of a params struct. */
static inline const struct vkm_view *vkm_params_view(const void *params, const struct vkm_field *f)
{
    return (const struct vkm_view *)((const unsigned char *)params + f->offset);
}

#endif
