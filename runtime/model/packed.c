#include "model/packed.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "model/config.h"

#define DESCRIPTION_SIZE 64

bool vkm_packed_bytes(enum vkm_dtype dtype, uint64_t rows, uint64_t cols, uint64_t *bytes)
{
    /* No model has larger ones, and the product of these two is far from 2^64. */
    if (rows == 0 || cols == 0 || rows > VKM_MAX_VOCAB || cols > VKM_MAX_WIDTH)
        return false;
    *bytes = vkm_matrix_bytes(dtype, rows, vkm_ld((uint32_t)cols));
    return true;
}

const char *vkm_packed_layout(char out[VKM_PACKED_LAYOUT_SIZE])
{
    snprintf(out, VKM_PACKED_LAYOUT_SIZE, "%u: groups of %u in panels of %u rows by %u columns",
             VKM_PANEL_VERSION, VKM_GROUP, VKM_PANEL_ROWS, VKM_PANEL_COLS);
    return out;
}

json_t *vkm_packed_metadata(void)
{
    char layout[VKM_PACKED_LAYOUT_SIZE];
    return json_pack("{s:s}", VKM_PACKED_KEY, vkm_packed_layout(layout));
}

bool vkm_packed_describe(json_t *metadata, const struct vkm_tensor_out *t)
{
    char text[DESCRIPTION_SIZE];
    snprintf(text, sizeof(text), "%s %" PRIu64 " %" PRIu64, vkm_dtype_name(t->dtype), t->shape[0],
             t->shape[1]);
    return json_object_set_new_nocheck(metadata, t->name, json_string(text)) == 0;
}

/* "Q8 1408 2048"; false where the text is none of ours. */
static bool parse_description(const char *text, struct vkm_tensor *t)
{
    char again[DESCRIPTION_SIZE], name[4];
    t->dtype = VKM_DTYPE_COUNT;
    if (sscanf(text, "%3s %" SCNu64 " %" SCNu64, name, &t->shape[0], &t->shape[1]) != 3)
        return false;
    for (int i = 0; i < VKM_DTYPE_COUNT; i++) {
        if (vkm_dtype_has_one_scale((enum vkm_dtype)i) &&
            strcmp(name, vkm_dtype_name((enum vkm_dtype)i)) == 0)
            t->dtype = (enum vkm_dtype)i;
    }
    snprintf(again, sizeof(again), "%s %" PRIu64 " %" PRIu64, name, t->shape[0], t->shape[1]);
    return t->dtype != VKM_DTYPE_COUNT && strcmp(text, again) == 0;
}

static vkmoe_status apply_one(const struct vkm_file *file, const char *text, struct vkm_tensor *t,
                              vkmoe_error *err)
{
    struct vkm_tensor packed = *t;
    char name[VKM_PRINTABLE_SIZE], found[VKM_PRINTABLE_SIZE];
    uint64_t bytes = 0;
    vkm_printable(name, t->name);
    if (strcmp(t->dtype_name, VKM_PACKED_DTYPE) != 0 || t->n_dims != 1)
        return vkm_fail(err, VKMOE_BAD_FORMAT,
                        "%s: tensor \"%s\" is %.16s of %" PRIu32
                        " dimensions, expected the bytes of a quantised matrix, " VKM_PACKED_DTYPE
                        " of one",
                        file->path, name, t->dtype_name, t->n_dims);
    if (!parse_description(text, &packed) ||
        !vkm_packed_bytes(packed.dtype, packed.shape[0], packed.shape[1], &bytes))
        return vkm_fail(err, VKMOE_BAD_FORMAT,
                        "%s: __metadata__ says of tensor \"%s\" that it is \"%s\", expected Q8 or "
                        "Q4 with its rows and columns",
                        file->path, name, vkm_printable(found, text));
    if (bytes != t->size)
        return vkm_fail(err, VKMOE_BAD_FORMAT,
                        "%s: tensor \"%s\" occupies %" PRIu64 " bytes, expected %" PRIu64 " for %s",
                        file->path, name, t->size, bytes, text);
    packed.n_dims = 2;
    packed.packed = true;
    packed.dtype_name = vkm_dtype_name(packed.dtype);
    *t = packed;
    return VKMOE_OK;
}

static int compare_names(const void *left, const void *right)
{
    const struct vkm_tensor *a = left, *b = right;
    return strcmp(a->name, b->name);
}

/* Goes through the metadata with the tensors in the order of their names. */
static vkmoe_status apply_all(const struct vkm_file *file, const json_t *metadata,
                              struct vkm_tensor *tensors, size_t count, vkmoe_error *err)
{
    char name[VKM_PRINTABLE_SIZE];
    const char *key;
    json_t *value;
    if (count > 0)
        qsort(tensors, count, sizeof(*tensors), compare_names);
    json_object_foreach((json_t *)(uintptr_t)metadata, key, value)
    {
        const struct vkm_tensor wanted = {.name = key};
        if (strcmp(key, VKM_PACKED_KEY) == 0)
            continue;
        struct vkm_tensor *t =
            count > 0 ? bsearch(&wanted, tensors, count, sizeof(wanted), compare_names) : NULL;
        if (!t || !json_is_string(value))
            return vkm_fail(err, VKMOE_BAD_FORMAT,
                            "%s: __metadata__ has \"%s\", expected a tensor of the file and a text "
                            "that says what it is",
                            file->path, vkm_printable(name, key));
        vkmoe_status status = apply_one(file, json_string_value(value), t, err);
        if (status != VKMOE_OK)
            return status;
    }
    return VKMOE_OK;
}

vkmoe_status vkm_packed_apply(const struct vkm_file *file, const json_t *header,
                              struct vkm_tensor_array *tensors, size_t first, vkmoe_error *err)
{
    char layout[VKM_PACKED_LAYOUT_SIZE], name[VKM_PRINTABLE_SIZE];
    const json_t *metadata = json_object_get(header, "__metadata__");
    const json_t *found = json_object_get(metadata, VKM_PACKED_KEY);
    if (!found)
        return VKMOE_OK;
    if (!json_is_string(found) || strcmp(json_string_value(found), vkm_packed_layout(layout)) != 0)
        return vkm_fail(err, VKMOE_UNSUPPORTED,
                        "%s: the weights were quantised by another version of vkmoe, in layout "
                        "\"%s\", expected \"%s\": quantise the model again",
                        file->path,
                        vkm_printable(name, json_is_string(found) ? json_string_value(found) : "?"),
                        layout);
    return apply_all(file, metadata, tensors->items + first, tensors->count - first, err);
}
