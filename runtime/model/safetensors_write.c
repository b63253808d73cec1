#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "model/packed.h"
#include "model/safetensors.h"

/* The place of a tensor's data behind the header. */
struct place {
    const struct vkm_tensor_out *tensor;
    uint64_t size;
};

/* Wider elements first: without holes that alone keeps every tensor aligned. */
static int compare_places(const void *left, const void *right)
{
    const struct vkm_tensor_out *a = ((const struct place *)left)->tensor;
    const struct vkm_tensor_out *b = ((const struct place *)right)->tensor;
    size_t a_size = vkm_dtype_size(a->dtype), b_size = vkm_dtype_size(b->dtype);
    return a_size == b_size ? strcmp(a->name, b->name) : a_size < b_size ? 1 : -1;
}

bool vkm_safetensors_bytes(const struct vkm_tensor_out *t, uint64_t *bytes)
{
    bool fits = true;
    if (vkm_dtype_is_quantised(t->dtype))
        return t->n_dims == 2 && vkm_packed_bytes(t->dtype, t->shape[0], t->shape[1], bytes);
    *bytes = vkm_dtype_size(t->dtype);
    for (uint32_t i = 0; i < t->n_dims; i++)
        fits = fits && t->shape[i] <= INT64_MAX && vkm_mul_u64(*bytes, t->shape[i], bytes);
    return fits && *bytes <= SIZE_MAX;
}

static vkmoe_status check_tensor(const char *path, struct place *place, vkmoe_error *err)
{
    const struct vkm_tensor_out *t = place->tensor;
    char name[VKM_PRINTABLE_SIZE];
    if (strcmp(t->name, "__metadata__") == 0)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "%s: __metadata__ is the format's own key, expected a tensor's name", path);
    if (t->dtype >= VKM_DTYPE_COUNT || t->n_dims > VKM_MAX_DIMS)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "%s: tensor \"%s\" has dtype %d and %" PRIu32
                        " dimensions, expected a known dtype and at most %d",
                        path, vkm_printable(name, t->name), (int)t->dtype, t->n_dims, VKM_MAX_DIMS);
    if (!vkm_safetensors_bytes(t, &place->size))
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "%s: tensor \"%s\" has a shape that fits no memory", path,
                        vkm_printable(name, t->name));
    return VKMOE_OK;
}

/* NULL when memory runs out. */
static json_t *describe(const struct vkm_tensor_out *t, uint64_t begin, uint64_t end)
{
    bool packed = vkm_dtype_is_quantised(t->dtype);
    json_t *shape = json_array();
    if (packed)
        json_array_append_new(shape, json_integer((json_int_t)(end - begin)));
    for (uint32_t i = 0; i < t->n_dims && !packed; i++)
        json_array_append_new(shape, json_integer((json_int_t)t->shape[i]));
    if (json_array_size(shape) != (packed ? 1 : t->n_dims)) {
        json_decref(shape);
        return NULL;
    }
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype",
                     packed ? VKM_PACKED_DTYPE : vkm_dtype_name(t->dtype), "shape", shape,
                     "data_offsets", (json_int_t)begin, (json_int_t)end);
}

/* True also when memory runs out: what follows will say so. */
static bool is_utf8(const char *text)
{
    json_t *checked = json_string(text), *unchecked = json_string_nocheck(text);
    bool refused = !checked && unchecked;
    json_decref(checked);
    json_decref(unchecked);
    return !refused;
}

static vkmoe_status build_header(const char *path, const struct place *places, size_t count,
                                 json_t *header, vkmoe_error *err)
{
    uint64_t begin = 0;
    for (size_t i = 0; i < count; i++) {
        const struct vkm_tensor_out *t = places[i].tensor;
        char name[VKM_PRINTABLE_SIZE];
        uint64_t end = begin + places[i].size;
        if (end < begin || end > INT64_MAX)
            return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                            "%s: the tensors together do not fit 63 bits", path);
        if (!is_utf8(t->name))
            return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                            "%s: the name of a tensor of %" PRIu64 " bytes is not UTF-8", path,
                            places[i].size);
        if (json_object_get(header, t->name))
            return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                            "%s: tensor \"%s\" is given twice, expected each name once", path,
                            vkm_printable(name, t->name));
        if (json_object_set_new(header, t->name, describe(t, begin, end)) != 0)
            return vkm_fail_memory(err, sizeof(json_t), path);
        begin = end;
    }
    return VKMOE_OK;
}

/* Says what the quantised ones are, first in the header. */
static vkmoe_status add_metadata(const char *path, const struct place *places, size_t count,
                                 json_t *header, vkmoe_error *err)
{
    json_t *metadata = NULL;
    bool room = true;
    for (size_t i = 0; i < count && room; i++) {
        if (!vkm_dtype_is_quantised(places[i].tensor->dtype))
            continue;
        if (!metadata)
            metadata = vkm_packed_metadata();
        room = metadata && vkm_packed_describe(metadata, places[i].tensor);
    }
    if (room && metadata)
        room = json_object_set(header, "__metadata__", metadata) == 0;
    json_decref(metadata);
    return room ? VKMOE_OK : vkm_fail_memory(err, sizeof(json_t), path);
}

static vkmoe_status write_bytes(void *user, const struct vkm_tensor_out *t, struct vkm_writer *w,
                                vkmoe_error *err)
{
    uint64_t size = 0;
    (void)user;
    (void)err;
    if (vkm_safetensors_bytes(t, &size))
        vkm_writer_write(w, t->data, (size_t)size);
    return VKMOE_OK;
}

/* What a file is made of. */
struct contents {
    const struct place *places;
    size_t count;
    vkm_tensor_source *source;
    void *user;
};

static vkmoe_status write_tensors(const struct contents *c, struct vkm_writer *w, vkmoe_error *err)
{
    vkmoe_status status = VKMOE_OK;
    for (size_t i = 0; i < c->count && status == VKMOE_OK && !vkm_writer_failed(w); i++)
        status = c->source(c->user, c->places[i].tensor, w, err);
    if (status == VKMOE_OK)
        return vkm_writer_commit(w, err);
    vkm_writer_abort(w);
    return status;
}

/* Writes the length, the header padded with spaces to a multiple of 8, and the data. */
static vkmoe_status write_all(const vkmoe_allocator *a, const char *path, const json_t *header,
                              const struct contents *contents, vkmoe_error *err)
{
    struct vkm_writer *w;
    size_t used = json_dumpb(header, NULL, 0, JSON_COMPACT);
    size_t size = (size_t)vkm_align_up(used, 8);
    char *text = vkm_malloc(a, size, 1);
    if (!text || used == 0 || json_dumpb(header, text, used, JSON_COMPACT) != used) {
        vkm_free(a, text);
        return vkm_fail_memory(err, size, path);
    }
    memset(text + used, ' ', size - used);
    unsigned char length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)((uint64_t)size >> (8 * i));
    vkmoe_status status = vkm_writer_open(a, path, &w, err);
    if (status == VKMOE_OK) {
        vkm_writer_write(w, length, sizeof(length));
        vkm_writer_write(w, text, size);
        status = write_tensors(contents, w, err);
    }
    vkm_free(a, text);
    return status;
}

vkmoe_status vkm_safetensors_write(const vkmoe_allocator *a, const char *path,
                                   const struct vkm_tensor_out *tensors, size_t count,
                                   vkmoe_error *err)
{
    return vkm_safetensors_stream(a, path, tensors, count, write_bytes, NULL, err);
}

vkmoe_status vkm_safetensors_stream(const vkmoe_allocator *a, const char *path,
                                    const struct vkm_tensor_out *tensors, size_t count,
                                    vkm_tensor_source *source, void *user, vkmoe_error *err)
{
    vkmoe_status status = VKMOE_OK;
    struct place *places = vkm_calloc(a, count, sizeof(*places));
    json_t *header = json_object();
    if (!places || !header)
        status = vkm_fail_memory(err, count * sizeof(*places), path);
    for (size_t i = 0; i < count && status == VKMOE_OK; i++) {
        places[i].tensor = &tensors[i];
        status = check_tensor(path, &places[i], err);
    }
    if (status == VKMOE_OK) {
        qsort(places, count, sizeof(*places), compare_places);
        status = add_metadata(path, places, count, header, err);
    }
    if (status == VKMOE_OK)
        status = build_header(path, places, count, header, err);
    if (status == VKMOE_OK)
        status = write_all(a, path, header, &(struct contents){places, count, source, user}, err);
    json_decref(header);
    vkm_free(a, places);
    return status;
}
