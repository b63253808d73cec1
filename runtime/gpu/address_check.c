#include "gpu/address_check.h"

#include <string.h>

#define READABLE 1u
#define WRITABLE 2u
#define RECORD_RANGES 64u /* views of a kernel, and the buffers chained behind tables */

struct record {
    uint32_t count;
    uint32_t kernel;
    uint32_t op;
    uint32_t pad;
    uint64_t report;
    uint64_t pad2;
    struct {
        uint64_t begin, end;
        uint32_t flags;
        uint32_t pad[3];
    } ranges[RECORD_RANGES];
};

struct report {
    uint32_t taken;
    uint32_t kernel;
    uint32_t op;
    uint32_t invocation;
    uint32_t address_low, address_high;
    uint32_t bytes;
    uint32_t write;
};

/* False when the record has no room. */
static bool add_range(struct record *r, const struct vkm_view *view, uint32_t flags)
{
    if (!view->buffer)
        return true;
    if (r->count == RECORD_RANGES)
        return false;
    uint64_t begin = view->buffer->address + view->offset;
    r->ranges[r->count].begin = begin;
    r->ranges[r->count].end = begin + view->size;
    r->ranges[r->count].flags = flags;
    r->count++;
    return true;
}

/* A table's addresses may lead into any buffer of its chain. */
static bool add_chain(struct record *r, const struct vkm_view *view)
{
    bool room = true;
    for (struct vkm_buffer *b = view->buffer; b && room; b = b->next) {
        struct vkm_view whole = vkm_buffer_view(b);
        room = add_range(r, &whole, READABLE);
    }
    return room;
}

static bool fill_record(struct record *r, const struct vkm_stream *s, uint32_t index,
                        uint64_t report)
{
    const struct vkm_op *op = &s->ops.items[index];
    const struct vkm_kernel *kernel = vkm_op_kernel(s, op);
    *r = (struct record){.kernel = op->kernel, .op = index, .report = report};
    bool room = true;
    for (uint32_t i = 0; i < kernel->n_fields && room; i++) {
        const struct vkm_field *field = &kernel->fields[i];
        if (!vkm_field_is_view(field->kind))
            continue;
        const struct vkm_view *view = vkm_params_view(vkm_op_params(s, op), field);
        if (field->kind == VKM_FIELD_TABLE)
            room = add_chain(r, view);
        else
            room = add_range(r, view,
                             field->kind == VKM_FIELD_UPDATE_F32 ? READABLE | WRITABLE
                             : vkm_field_writes(field->kind)     ? WRITABLE
                                                                 : READABLE);
    }
    return room;
}

vkmoe_status vkm_address_check_create(struct vkm_gpu *gpu, const struct vkm_stream *stream,
                                      struct vkm_address_check *check, vkmoe_error *err)
{
    check->record_size = vkm_align_up(sizeof(struct record), 16);
    check->report = stream->ops.count * check->record_size;
    vkmoe_status status =
        vkm_buffer_create(gpu, VKM_MEMORY_SHARED, check->report + sizeof(struct report),
                          "address checks", &check->records, err);
    if (status != VKMOE_OK)
        return status;
    uint64_t report = check->records->address + check->report;
    memset(check->records->mapped + check->report, 0, sizeof(struct report));
    for (uint32_t i = 0; i < stream->ops.count; i++) {
        unsigned char *record = check->records->mapped + i * check->record_size;
        if (!fill_record((struct record *)(void *)record, stream, i, report))
            return vkm_fail(err, VKMOE_UNSUPPORTED,
                            "addresses cannot be checked: kernel %s reaches more than %u buffers",
                            vkm_op_kernel(stream, &stream->ops.items[i])->name, RECORD_RANGES);
    }
    return VKMOE_OK;
}

void vkm_address_check_destroy(struct vkm_gpu *gpu, struct vkm_address_check *check)
{
    vkm_buffer_destroy(gpu, check->records);
    check->records = NULL;
}

uint64_t vkm_address_check_record(const struct vkm_address_check *check, size_t index)
{
    return check->records->address + index * check->record_size;
}

vkmoe_status vkm_address_check_result(const struct vkm_address_check *check,
                                      const struct vkm_stream *stream, vkmoe_error *err)
{
    struct report *mapped = (struct report *)(void *)(check->records->mapped + check->report);
    struct report r = *mapped;
    if (!r.taken)
        return VKMOE_OK;
    memset(mapped, 0, sizeof(*mapped));
    const char *name =
        r.kernel < stream->set->count ? stream->set->kernels[r.kernel].name : "unknown";
    return vkm_fail(err, VKMOE_INTERNAL,
                    "kernel %s (op %u) %s %u bytes outside its views at address %#llx in "
                    "invocation %u",
                    name, r.op, r.write ? "wrote" : "read", r.bytes,
                    (unsigned long long)r.address_high << 32 | r.address_low, r.invocation);
}
