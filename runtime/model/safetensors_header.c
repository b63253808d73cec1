#include "model/safetensors_header.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/json.h"
#include "model/packed.h"

/* Every dtype of the format: a file may hold tensors that the runtime never asks for. */
static const struct {
    const char *name;
    uint32_t bits;
} file_dtypes[] = {
    {"BOOL", 8},    {"F4", 4},      {"F6_E2M3", 6},     {"F6_E3M2", 6},     {"F8_E5M2", 8},
    {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I8", 8},
    {"U8", 8},      {"I16", 16},    {"U16", 16},        {"F16", 16},        {"BF16", 16},
    {"I32", 32},    {"U32", 32},    {"F32", 32},        {"C64", 64},        {"F64", 64},
    {"I64", 64},    {"U64", 64},
};

struct parser {
    const vkmoe_allocator *allocator;
    const struct vkm_file *file;
    uint64_t data_start; /* of the tensors' data, in the file */
    uint64_t data_size;
    struct vkm_tensor_array *tensors;
    vkmoe_error *err;
    char name[VKM_PRINTABLE_SIZE]; /* of the tensor being read, for messages */
};

/* One sentence about the tensor being read; takes at least one argument after the format. */
#define FAIL(p, status, format, ...)                                                               \
    vkm_fail((p)->err, status, "%s: tensor \"%s\" " format, (p)->file->path, (p)->name, __VA_ARGS__)

/* Bits per element, 0 for a dtype newer than this list. */
static uint32_t dtype_bits(const char *name)
{
    for (size_t i = 0; i < VKM_COUNT(file_dtypes); i++) {
        if (strcmp(name, file_dtypes[i].name) == 0)
            return file_dtypes[i].bits;
    }
    return 0;
}

static vkmoe_status parse_shape(struct parser *p, const json_t *entry, struct vkm_tensor *t,
                                uint64_t *elements)
{
    const json_t *shape = json_object_get(entry, "shape");
    if (!json_is_array(shape))
        return FAIL(p, VKMOE_BAD_FORMAT, "has no %s array", "shape");
    if (json_array_size(shape) > VKM_MAX_DIMS)
        return FAIL(p, VKMOE_UNSUPPORTED, "has %zu dimensions, expected at most %d",
                    json_array_size(shape), VKM_MAX_DIMS);
    *elements = 1;
    t->n_dims = (uint32_t)json_array_size(shape);
    for (uint32_t i = 0; i < t->n_dims; i++) {
        const json_t *dim = json_array_get(shape, i);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return FAIL(p, VKMOE_BAD_FORMAT,
                        "has a shape whose entry %" PRIu32 " is no integer of 0 or more", i);
        t->shape[i] = (uint64_t)json_integer_value(dim);
        if (!vkm_mul_u64(*elements, t->shape[i], elements))
            return FAIL(p, VKMOE_BAD_FORMAT, "has a shape whose product does not fit %d bits", 64);
    }
    return VKMOE_OK;
}

static vkmoe_status parse_range(struct parser *p, const json_t *entry, uint64_t *begin,
                                uint64_t *end)
{
    const json_t *offsets = json_object_get(entry, "data_offsets");
    const json_t *first = json_array_get(offsets, 0), *last = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(last))
        return FAIL(p, VKMOE_BAD_FORMAT, "has no %s array of two integers", "data_offsets");
    json_int_t from = json_integer_value(first), to = json_integer_value(last);
    if (from < 0 || to < from || (uint64_t)to > p->data_size)
        return FAIL(p, VKMOE_BAD_FORMAT,
                    "lies at bytes %" JSON_INTEGER_FORMAT " to %" JSON_INTEGER_FORMAT
                    ", expected an ascending range within the %" PRIu64 " bytes of data",
                    from, to, p->data_size);
    *begin = (uint64_t)from;
    *end = (uint64_t)to;
    return VKMOE_OK;
}

static vkmoe_status check_size(struct parser *p, const struct vkm_tensor *t, uint64_t elements)
{
    uint64_t bits = dtype_bits(t->dtype_name), total;
    if (bits == 0)
        return VKMOE_OK;
    if (!vkm_mul_u64(elements, bits, &total) || total % 8 != 0 || total / 8 != t->size)
        return FAIL(p, VKMOE_BAD_FORMAT,
                    "occupies %" PRIu64 " bytes, expected %" PRIu64 " elements of %s", t->size,
                    elements, t->dtype_name);
    if (t->dtype == VKM_DTYPE_COUNT)
        return VKMOE_OK;
    size_t alignment = vkm_dtype_size(t->dtype);
    if (t->offset % alignment != 0)
        return FAIL(p, VKMOE_BAD_FORMAT,
                    "starts at byte %" PRIu64 " of the file, expected a multiple of %zu for %s",
                    t->offset, alignment, t->dtype_name);
    return VKMOE_OK;
}

/* The name and the dtype's name share one allocation, which t->name owns. */
static vkmoe_status copy_names(struct parser *p, struct vkm_tensor *t, const char *name,
                               const char *dtype)
{
    size_t name_size = strlen(name) + 1, dtype_size = strlen(dtype) + 1;
    char *text = vkm_malloc(p->allocator, name_size + dtype_size, 1);
    if (!text)
        return vkm_fail_memory(p->err, name_size + dtype_size, p->file->path);
    memcpy(text, name, name_size);
    memcpy(text + name_size, dtype, dtype_size);
    t->name = t->own_name = text;
    t->dtype_name = text + name_size;
    return VKMOE_OK;
}

static vkmoe_status parse_entry(struct parser *p, const char *name, const json_t *entry)
{
    struct vkm_tensor tensor = {.file = p->file->path, .from = p->file, .dtype = VKM_DTYPE_COUNT};
    uint64_t elements = 0, begin = 0, end = 0;
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    vkm_printable(p->name, name);
    if (!dtype)
        return FAIL(p, VKMOE_BAD_FORMAT, "has no %s string", "dtype");
    vkmoe_status status = parse_shape(p, entry, &tensor, &elements);
    if (status == VKMOE_OK)
        status = parse_range(p, entry, &begin, &end);
    if (status != VKMOE_OK)
        return status;
    tensor.offset = p->data_start + begin;
    tensor.size = end - begin;
    vkm_dtype_parse(dtype, &tensor.dtype);
    if (!VKM_ARRAY_RESERVE(p->allocator, p->tensors, 1))
        return vkm_fail_memory(p->err, (p->tensors->count + 1) * sizeof(tensor), p->file->path);
    status = copy_names(p, &tensor, name, dtype);
    if (status != VKMOE_OK)
        return status;
    p->tensors->items[p->tensors->count++] = tensor;
    return check_size(p, &tensor, elements);
}

static int compare_places(const void *left, const void *right)
{
    const struct vkm_tensor *a = left, *b = right;
    if (a->offset != b->offset)
        return a->offset < b->offset ? -1 : 1;
    return (a->size > b->size) - (a->size < b->size);
}

/* The tensors from `first` on must tile the data: neither overlaps nor bytes of no tensor. */
static vkmoe_status check_layout(struct parser *p, size_t first)
{
    size_t count = p->tensors->count - first;
    uint64_t end = 0;
    if (count > 0)
        qsort(p->tensors->items + first, count, sizeof(*p->tensors->items), compare_places);
    for (size_t i = first; i < p->tensors->count; i++) {
        const struct vkm_tensor *t = &p->tensors->items[i];
        uint64_t begin = t->offset - p->data_start;
        vkm_printable(p->name, t->name);
        if (begin != end)
            return FAIL(p, VKMOE_BAD_FORMAT,
                        "starts at byte %" PRIu64 " of the data, expected %" PRIu64
                        ", where the tensor before it ends",
                        begin, end);
        end = begin + t->size;
    }
    if (end != p->data_size)
        return vkm_fail(p->err, VKMOE_BAD_FORMAT,
                        "%s: the tensors end after %" PRIu64 " bytes of data, expected %" PRIu64
                        " up to the end of the file",
                        p->file->path, end, p->data_size);
    return VKMOE_OK;
}

/* Finds the header's size and where the data begins. */
static vkmoe_status measure(struct parser *p, size_t *header_size)
{
    unsigned char start[8];
    uint64_t size = 0, left = p->file->size;
    if (left < sizeof(start))
        return vkm_fail(p->err, VKMOE_BAD_FORMAT,
                        "%s: the file has %" PRIu64 " bytes, expected at least 8", p->file->path,
                        left);
    vkmoe_status status = vkm_file_read_at(p->file, 0, start, sizeof(start), p->err);
    if (status != VKMOE_OK)
        return status;
    for (int i = 0; i < 8; i++)
        size |= (uint64_t)start[i] << (8 * i);
    left -= 8;
    if (size > left || size > VKM_SAFETENSORS_HEADER_LIMIT)
        return vkm_fail(p->err, VKMOE_BAD_FORMAT,
                        "%s: the header claims %" PRIu64 " bytes, expected at most %" PRIu64,
                        p->file->path, size,
                        left < VKM_SAFETENSORS_HEADER_LIMIT ? left : VKM_SAFETENSORS_HEADER_LIMIT);
    *header_size = (size_t)size;
    p->data_start = 8 + size;
    p->data_size = left - size;
    return VKMOE_OK;
}

static vkmoe_status read_header(struct parser *p, json_t **header)
{
    size_t size = 0;
    vkmoe_status status = measure(p, &size);
    if (status != VKMOE_OK)
        return status;
    char *text = vkm_malloc(p->allocator, size, 1);
    if (!text)
        return vkm_fail_memory(p->err, size, p->file->path);
    status = vkm_file_read_at(p->file, 8, text, size, p->err);
    if (status == VKMOE_OK && (size == 0 || text[0] != '{'))
        status = vkm_fail(p->err, VKMOE_BAD_FORMAT, "%s: the header does not start with '{'",
                          p->file->path);
    if (status == VKMOE_OK)
        status = vkm_json_parse(p->file->path, text, size, header, p->err);
    vkm_free(p->allocator, text);
    return status;
}

vkmoe_status vkm_safetensors_parse(const vkmoe_allocator *a, const struct vkm_file *file,
                                   struct vkm_tensor_array *tensors, vkmoe_error *err)
{
    struct parser p = {.allocator = a, .file = file, .tensors = tensors, .err = err};
    size_t first = tensors->count;
    json_t *header;
    vkmoe_status status = read_header(&p, &header);
    if (status != VKMOE_OK)
        return status;
    const char *name;
    json_t *entry;
    json_object_foreach(header, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0)
            continue;
        status = parse_entry(&p, name, entry);
        if (status != VKMOE_OK)
            break;
    }
    if (status == VKMOE_OK)
        status = check_layout(&p, first);
    if (status == VKMOE_OK)
        status = vkm_packed_apply(file, header, tensors, first, err);
    json_decref(header);
    return status;
}
