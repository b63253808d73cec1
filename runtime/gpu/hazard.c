#include "gpu/hazard.h"

#include "base/array.h"
#include "gpu/gpu.h"

/* One access of one op, in device addresses, with the barrier interval it happened in. */
struct touch {
    uint64_t begin, end;
    uint32_t op;
    uint32_t interval;
    uint32_t side; /* ops beside one another have one number */
    const char *field;
    bool write;
};

struct touches {
    struct touch *items;
    size_t count, capacity;
};

/* Adds what is touched of a view, at the place that `touch` tells. */
static bool add(const struct vkm_stream *s, struct touches *t, const struct vkm_view *view,
                struct touch touch)
{
    if (!view->buffer || view->size == 0)
        return true;
    if (!VKM_ARRAY_RESERVE(s->allocator, t, 1))
        return false;
    touch.begin = view->buffer->address + view->offset;
    touch.end = touch.begin + view->size;
    t->items[t->count++] = touch;
    return true;
}

static bool gather(const struct vkm_stream *s, struct touches *t)
{
    uint32_t interval = 0, side = 0;
    for (uint32_t i = 0; i < s->ops.count; i++) {
        const struct vkm_op *op = &s->ops.items[i];
        const struct vkm_kernel *kernel = vkm_op_kernel(s, op);
        interval += op->barrier;
        side += !op->beside;
        struct touch touch = {.op = i, .interval = interval, .side = side, .field = "indirect"};
        if (!add(s, t, &op->indirect, touch))
            return false;
        for (uint32_t f = 0; f < kernel->n_fields; f++) {
            const struct vkm_field *field = &kernel->fields[f];
            touch.field = field->name;
            touch.write = vkm_field_writes(field->kind);
            if (vkm_field_is_view(field->kind) &&
                !add(s, t, vkm_params_view(vkm_op_params(s, op), field), touch))
                return false;
        }
    }
    return true;
}

static vkmoe_status report(const struct vkm_stream *s, const struct touch *a, const struct touch *b,
                           vkmoe_error *err)
{
    return vkm_fail(
        err, VKMOE_INTERNAL, "no barrier between op %u (%s, %s of %s) and op %u (%s, %s of %s)",
        a->op, a->write ? "writes" : "reads", a->field,
        vkm_op_kernel(s, &s->ops.items[a->op])->name, b->op, b->write ? "writes" : "reads",
        b->field, vkm_op_kernel(s, &s->ops.items[b->op])->name);
}

vkmoe_status vkm_hazard_check(const struct vkm_stream *s, vkmoe_error *err)
{
    struct touches t = {0};
    vkmoe_status status = VKMOE_OK;
    if (!gather(s, &t))
        status = vkm_fail_memory(err, s->ops.count * sizeof(struct touch), "the hazard check");
    /* Touches are in op order, so those of one interval are neighbours. */
    for (size_t i = 0; i < t.count && status == VKMOE_OK; i++) {
        for (size_t j = i; j-- > 0 && t.items[j].interval == t.items[i].interval;) {
            const struct touch *a = &t.items[j], *b = &t.items[i];
            if (a->side != b->side && (a->write || b->write) && a->begin < b->end &&
                b->begin < a->end) {
                status = report(s, a, b, err);
                break;
            }
        }
    }
    vkm_free(s->allocator, t.items);
    return status;
}
