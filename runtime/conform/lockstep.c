#include "conform/lockstep.h"

#include <stdio.h>
#include <string.h>

#include "base/array.h"

static unsigned char *mapped(const struct vkm_view *view)
{
    return view->buffer->mapped + view->offset;
}

static void *host_view(void *user, const struct vkm_view *view, bool written)
{
    const struct vkm_outputs *out = user;
    if (!view->buffer)
        return NULL;
    for (uint32_t i = 0; written && i < out->count; i++) {
        const struct vkm_view *own = &out->items[i].view;
        if (own->buffer == view->buffer && own->offset == view->offset)
            return out->items[i].data;
    }
    return mapped(view);
}

static const void *host_address(void *user, uint64_t address)
{
    return vkm_gpu_resolve(((const struct vkm_outputs *)user)->gpu, address);
}

void vkm_outputs_drop(struct vkm_outputs *out, const struct vkm_stream *stream)
{
    for (uint32_t i = 0; i < out->count; i++)
        vkm_free(stream->allocator, out->items[i].data);
    out->count = 0;
}

vkmoe_status vkm_outputs_make(struct vkm_gpu *gpu, const struct vkm_stream *stream, size_t index,
                              struct vkm_outputs *out, vkmoe_error *err)
{
    const struct vkm_op *op = &stream->ops.items[index];
    const struct vkm_kernel *kernel = vkm_op_kernel(stream, op);
    *out = (struct vkm_outputs){.gpu = gpu};
    for (uint32_t i = 0; i < kernel->n_fields; i++) {
        const struct vkm_field *field = &kernel->fields[i];
        if (!vkm_field_is_view(field->kind))
            continue;
        const struct vkm_view *view = vkm_params_view(vkm_op_params(stream, op), field);
        if (!view->buffer)
            continue;
        if (!view->buffer->mapped)
            return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                            "lock-step comparison needs a device with mapped memory");
        if (!vkm_field_writes(field->kind))
            continue;
        unsigned char *data = vkm_malloc(stream->allocator, view->size, 1);
        if (!data)
            return vkm_fail_memory(err, view->size, "a reference's output");
        memcpy(data, mapped(view), view->size);
        out->items[out->count].view = *view;
        out->items[out->count].field = field;
        out->items[out->count++].data = data;
    }
    return VKMOE_OK;
}

void vkm_outputs_compute(struct vkm_outputs *out, const struct vkm_stream *stream, size_t index,
                         bool magnitude)
{
    const struct vkm_op *op = &stream->ops.items[index];
    const struct vkm_kernel *kernel = vkm_op_kernel(stream, op);
    struct vkm_ref ref = {
        .user = out,
        .view = host_view,
        .address = host_address,
        .dtype = kernel->variants[op->variant].dtype,
        .groups = {op->groups[0], op->groups[1], op->groups[2]},
        .magnitude = magnitude,
        .rounding = vkm_path_row(kernel->variants[op->variant].path)->rounding,
    };
    if (op->indirect.buffer)
        memcpy(ref.groups, mapped(&op->indirect), sizeof(ref.groups));
    kernel->reference(&ref, vkm_op_params(stream, op));
}

/* Submits a stream that holds a copy of this op alone. */
static vkmoe_status run_device(struct vkm_gpu *gpu, const struct vkm_stream *stream,
                               const struct vkm_op *op, vkmoe_error *err)
{
    struct vkm_stream one;
    size_t size = vkm_op_kernel(stream, op)->params_size;
    vkmoe_status status;
    vkm_stream_init(&one, stream->set, stream->allocator);
    if (!VKM_ARRAY_RESERVE(one.allocator, &one.ops, 1) ||
        !VKM_ARRAY_RESERVE(one.allocator, &one.params, size)) {
        status = vkm_fail_memory(err, size, "a stream of one operation");
    } else {
        one.ops.items[0] = *op;
        one.ops.items[0].params = 0;
        one.ops.count = 1;
        memcpy(one.params.items, vkm_op_params(stream, op), size);
        one.params.count = size;
        status = vkm_stream_run(gpu, &one, err);
    }
    vkm_stream_finish(&one);
    return status;
}

bool vkm_compares_words(const struct vkm_field *field, enum vkm_dtype dtype)
{
    return field->kind == VKM_FIELD_WRITE_U32 ||
           (field->kind == VKM_FIELD_WRITE_KV && dtype != VKM_DTYPE_F32);
}

/* Holds device memory against what is known; the first view that is wrong is kept. */
static void compare_views(enum vkm_metric metric, const struct vkm_outputs *want,
                          const struct vkm_outputs *magnitude, struct vkm_lockstep *out)
{
    for (uint32_t i = 0; i < want->count; i++) {
        const struct vkm_view *view = &want->items[i].view;
        const void *got = mapped(view), *expected = want->items[i].data;
        const void *bound = magnitude->count > 0 ? magnitude->items[i].data : NULL;
        size_t n = view->size / 4;
        struct vkm_compare compare;
        if (vkm_compares_words(want->items[i].field, out->variant->dtype)) {
            vkm_compare_u32(got, expected, n, &compare);
        } else {
            vkm_compare_f32(metric, got, expected, bound, n, &compare);
            vkm_compare_errors(got, expected, n, out->errors);
        }
        if (compare.nmse > out->nmse)
            out->nmse = compare.nmse;
        if (!out->view || (compare.broken && !out->compare.broken) ||
            (!out->compare.broken && compare.nmse > out->compare.nmse)) {
            out->view = want->items[i].field->name;
            out->compare = compare;
        }
    }
}

vkmoe_status vkm_lockstep_known(struct vkm_gpu *gpu, const struct vkm_stream *stream, size_t index,
                                const struct vkm_outputs *want, const struct vkm_outputs *magnitude,
                                struct vkm_lockstep *out, vkmoe_error *err)
{
    const struct vkm_op *op = &stream->ops.items[index];
    const struct vkm_kernel *kernel = vkm_op_kernel(stream, op);
    *out = (struct vkm_lockstep){
        .op = index, .kernel = kernel, .variant = &kernel->variants[op->variant]};
    vkmoe_status status = run_device(gpu, stream, op, err);
    if (status == VKMOE_OK)
        compare_views(vkm_kernel_metric(kernel, out->variant), want, magnitude, out);
    return status;
}

vkmoe_status vkm_lockstep_op(struct vkm_gpu *gpu, const struct vkm_stream *stream, size_t index,
                             struct vkm_lockstep *out, vkmoe_error *err)
{
    const struct vkm_kernel *kernel = vkm_op_kernel(stream, &stream->ops.items[index]);
    struct vkm_outputs want = {0}, magnitude = {0};
    *out = (struct vkm_lockstep){.op = index, .kernel = kernel};
    out->variant = &kernel->variants[stream->ops.items[index].variant];
    bool product = vkm_kernel_metric(kernel, out->variant) == VKM_METRIC_PRODUCT;
    vkmoe_status status = vkm_outputs_make(gpu, stream, index, &want, err);
    if (status == VKMOE_OK && product)
        status = vkm_outputs_make(gpu, stream, index, &magnitude, err);
    if (status == VKMOE_OK) {
        vkm_outputs_compute(&want, stream, index, false);
        if (product)
            vkm_outputs_compute(&magnitude, stream, index, true);
        status = vkm_lockstep_known(gpu, stream, index, &want, &magnitude, out, err);
    }
    vkm_outputs_drop(&want, stream);
    vkm_outputs_drop(&magnitude, stream);
    return status;
}

vkmoe_status vkm_lockstep(struct vkm_gpu *gpu, const struct vkm_stream *stream,
                          struct vkm_lockstep *out, vkmoe_error *err)
{
    double nmse = 0;
    *out = (struct vkm_lockstep){0};
    for (size_t i = 0; i < stream->ops.count && !out->compare.broken; i++) {
        vkmoe_status status = vkm_lockstep_op(gpu, stream, i, out, err);
        if (status != VKMOE_OK)
            return status;
        nmse = out->nmse > nmse ? out->nmse : nmse;
    }
    out->nmse = nmse;
    return VKMOE_OK;
}

const char *vkm_variant_dtype_name(const struct vkm_variant *variant)
{
    return variant->dtype < VKM_DTYPE_COUNT ? vkm_dtype_name(variant->dtype) : "-";
}

void vkm_lockstep_element(const struct vkm_lockstep *result, char *text, size_t size)
{
    const struct vkm_compare *c = &result->compare;
    snprintf(text, size, "%s[%zu] %s: got %.9g, expected %.9g; NMSE of the view %.3g", result->view,
             c->index, c->broken, c->got, c->expected, c->nmse);
}

void vkm_lockstep_sentence(const struct vkm_lockstep *result, char *text, size_t size)
{
    char element[256];
    if (!result->compare.broken) {
        snprintf(text, size, "all outputs match the references; worst NMSE %.3g", result->nmse);
        return;
    }
    vkm_lockstep_element(result, element, sizeof(element));
    snprintf(text, size, "%s (%s, %s): %s", result->kernel->name,
             vkm_variant_dtype_name(result->variant), vkm_path_name(result->variant->path),
             element);
}
