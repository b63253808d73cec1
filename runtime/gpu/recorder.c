#include "gpu/recorder.h"

#include <string.h>

#include "base/array.h"
#include "gpu/gpu.h"

void vkm_recorder_init(struct vkm_recorder *r, struct vkm_stream *stream,
                       const struct vkm_caps *caps)
{
    *r = (struct vkm_recorder){.stream = stream, .caps = caps};
}

void vkm_recorder_finish(struct vkm_recorder *r)
{
    vkm_free(r->stream->allocator, r->open.items);
    r->open.items = NULL;
}

vkmoe_status vkm_recorder_status(const struct vkm_recorder *r, vkmoe_error *err)
{
    if (r->error.status != VKMOE_OK && err)
        *err = r->error;
    return r->error.status;
}

/* Among the first n accesses since the last barrier. */
static bool conflicts(const struct vkm_recorder *r, size_t n, const struct vkm_access *access)
{
    for (size_t i = 0; i < n; i++) {
        const struct vkm_access *o = &r->open.items[i];
        if (o->buffer == access->buffer && o->begin < access->end && access->begin < o->end &&
            (o->write || access->write))
            return true;
    }
    return false;
}

/* Adds the range of a view to `touched`; a view that leaves its buffer sticks an error. */
static void collect_view(struct vkm_recorder *r, const char *kernel, const char *field,
                         const struct vkm_view *view, bool write, struct vkm_access *touched,
                         uint32_t *n)
{
    if (!view->buffer || r->error.status != VKMOE_OK)
        return;
    uint64_t size = view->buffer->size;
    if (view->offset > size || view->size > size - view->offset)
        vkm_fail(&r->error, VKMOE_INTERNAL,
                 "kernel %s, view %s: bytes %llu + %llu of a buffer of %llu bytes", kernel, field,
                 (unsigned long long)view->offset, (unsigned long long)view->size,
                 (unsigned long long)size);
    else if (view->size > 0)
        touched[(*n)++] =
            (struct vkm_access){view->buffer, view->offset, view->offset + view->size, write};
}

/* The ranges that a dispatch touches; returns how many, or sticks an error. */
static uint32_t collect(struct vkm_recorder *r, const struct vkm_kernel *kernel,
                        const struct vkm_dispatch *d, struct vkm_access *touched)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < kernel->n_fields; i++) {
        const struct vkm_field *field = &kernel->fields[i];
        if (!vkm_field_is_view(field->kind))
            continue;
        const struct vkm_view *view = vkm_params_view(d->params, field);
        collect_view(r, kernel->name, field->name, view, vkm_field_writes(field->kind), touched,
                     &n);
        if (view->buffer && view->offset % 16 != 0 && r->error.status == VKMOE_OK)
            vkm_fail(&r->error, VKMOE_INTERNAL,
                     "kernel %s, view %s: offset %llu is no multiple of 16", kernel->name,
                     field->name, (unsigned long long)view->offset);
    }
    collect_view(r, kernel->name, "indirect", &d->indirect, false, touched, &n);
    if (d->indirect.buffer && r->error.status == VKMOE_OK &&
        (d->indirect.size < 12 || d->indirect.offset % 4 != 0))
        vkm_fail(&r->error, VKMOE_INTERNAL,
                 "kernel %s: indirect counts take 12 bytes at a multiple of 4, not %llu at %llu",
                 kernel->name, (unsigned long long)d->indirect.size,
                 (unsigned long long)d->indirect.offset);
    return n;
}

static bool check_limits(struct vkm_recorder *r, const struct vkm_kernel *kernel,
                         const struct vkm_dispatch *d)
{
    for (int axis = 0; axis < 3 && !d->indirect.buffer; axis++) {
        if (d->groups[axis] > r->caps->max_groups[axis]) {
            vkm_fail(&r->error, VKMOE_UNSUPPORTED,
                     "kernel %s needs %u workgroups on axis %d; the device grants %u", kernel->name,
                     d->groups[axis], axis, r->caps->max_groups[axis]);
            return false;
        }
    }
    if (d->spec[0] == 0 || d->spec[0] > r->caps->max_invocations) {
        vkm_fail(&r->error, VKMOE_INTERNAL, "kernel %s: workgroup of %u; the device grants %u",
                 kernel->name, d->spec[0], r->caps->max_invocations);
        return false;
    }
    return true;
}

static bool append(struct vkm_recorder *r, const struct vkm_dispatch *d, uint32_t variant,
                   bool barrier)
{
    struct vkm_stream *s = r->stream;
    size_t size = vkm_align_up(s->set->kernels[d->kernel].params_size, 16);
    if (!VKM_ARRAY_RESERVE(s->allocator, &s->ops, 1) ||
        !VKM_ARRAY_RESERVE(s->allocator, &s->params, size)) {
        vkm_fail_memory(&r->error, size, "a command stream");
        return false;
    }
    struct vkm_op *op = &s->ops.items[s->ops.count++];
    *op = (struct vkm_op){
        .kernel = d->kernel,
        .variant = variant,
        .subgroup_size = vkm_path_is_sized(d->path) ? r->caps->subgroup_size : 0,
        .groups = {d->groups[0], d->groups[1], d->groups[2]},
        .indirect = d->indirect,
        .params = s->params.count,
        .barrier = barrier,
        .beside = d->beside,
    };
    memcpy(op->spec, d->spec, sizeof(op->spec));
    memcpy(s->params.items + s->params.count, d->params, s->set->kernels[d->kernel].params_size);
    s->params.count += size;
    return true;
}

void vkm_record(struct vkm_recorder *r, const struct vkm_dispatch *d)
{
    const struct vkm_kernel *kernel = &r->stream->set->kernels[d->kernel];
    if (r->error.status != VKMOE_OK)
        return;
    if (!d->beside)
        r->before = r->open.count;
    if (!d->indirect.buffer && (d->groups[0] == 0 || d->groups[1] == 0 || d->groups[2] == 0))
        return;
    const struct vkm_variant *variant = vkm_kernel_variant(kernel, d->dtype, d->path);
    if (!variant) {
        vkm_fail(&r->error, VKMOE_INTERNAL, "kernel %s has no variant for dtype %d, path %d",
                 kernel->name, (int)d->dtype, (int)d->path);
        return;
    }
    struct vkm_access touched[VKM_MAX_FIELDS + 1];
    uint32_t n = collect(r, kernel, d, touched);
    if (r->error.status != VKMOE_OK || !check_limits(r, kernel, d))
        return;

    bool barrier = false;
    for (uint32_t i = 0; i < n && !barrier; i++)
        barrier = conflicts(r, r->before, &touched[i]);
    if (barrier)
        r->open.count = r->before = 0;
    if (!VKM_ARRAY_RESERVE(r->stream->allocator, &r->open, n)) {
        vkm_fail_memory(&r->error, n * sizeof(*touched), "hazard tracking");
        return;
    }
    if (append(r, d, (uint32_t)(variant - kernel->variants), barrier) && n > 0) {
        memcpy(r->open.items + r->open.count, touched, n * sizeof(*touched));
        r->open.count += n;
    }
}
