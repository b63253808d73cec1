/* Keys and values, as JSON: what reads configurations and tokenizers from JSON reads them too. */
#include <inttypes.h>
#include <string.h>

#include "base/gguf_reader.h"
#include "base/utf8.h"

#define KEY_LIMIT 65535u         /* bytes; the format's own */
#define STRING_LIMIT (16u << 20) /* bytes of one value: a chat template has thousands */
#define ELEMENT_LIMIT (1u << 24) /* of all arrays together: as many tokens as a model may have */
#define DEPTH_LIMIT 4            /* arrays within arrays */

enum kind { KIND_UNSIGNED, KIND_SIGNED, KIND_REAL, KIND_BOOL, KIND_STRING, KIND_ARRAY };

/* By the number of the type in the file. */
static const struct type {
    enum kind kind;
    uint32_t size; /* bytes, at least */
} types[] = {
    {KIND_UNSIGNED, 1}, {KIND_SIGNED, 1}, {KIND_UNSIGNED, 2}, {KIND_SIGNED, 2}, {KIND_UNSIGNED, 4},
    {KIND_SIGNED, 4},   {KIND_REAL, 4},   {KIND_BOOL, 1},     {KIND_STRING, 8}, {KIND_ARRAY, 12},
    {KIND_UNSIGNED, 8}, {KIND_SIGNED, 8}, {KIND_REAL, 8},
};

static vkmoe_status read_type(struct vkm_gguf_reader *r, const struct type **type)
{
    uint64_t number;
    vkmoe_status status = vkm_gguf_number(r, 4, &number);
    if (status == VKMOE_OK && number >= VKM_COUNT(types))
        return VKM_GGUF_FAIL(r, VKMOE_BAD_FORMAT,
                             "has a value of type %" PRIu64 ", expected 0 to %zu", number,
                             VKM_COUNT(types) - 1);
    *type = status == VKMOE_OK ? &types[number] : NULL;
    return status;
}

/* What JSON has no number for is kept as text, which no reader of numbers takes. */
static json_t *real_or_text(double value)
{
    return isfinite(value) ? json_real(value) : json_string("not a finite number");
}

static json_t *to_real(uint64_t bits, uint32_t size)
{
    double value;
    if (size == 4)
        return real_or_text((double)vkm_bits_f32((uint32_t)bits));
    memcpy(&value, &bits, sizeof(value));
    return real_or_text(value);
}

static json_t *to_signed(uint64_t bits, uint32_t size)
{
    uint64_t sign = UINT64_C(1) << (8 * size - 1);
    return json_integer(bits & sign ? -(json_int_t)(~bits & (sign - 1)) - 1 : (json_int_t)bits);
}

static json_t *to_json(const struct type *type, uint64_t bits)
{
    switch (type->kind) {
    case KIND_REAL:
        return to_real(bits, type->size);
    case KIND_SIGNED:
        return to_signed(bits, type->size);
    case KIND_BOOL:
        return json_boolean(bits != 0);
    default:
        return bits > INT64_MAX ? json_real((double)bits) : json_integer((json_int_t)bits);
    }
}

/* Makes *out a new value, or fails. */
static vkmoe_status made(struct vkm_gguf_reader *r, json_t *value, json_t **out)
{
    *out = value;
    return value ? VKMOE_OK : vkm_fail_memory(r->err, sizeof(json_t), r->file->path);
}

static vkmoe_status read_string(struct vkm_gguf_reader *r, json_t **out)
{
    char *text;
    size_t size;
    vkmoe_status status = vkm_gguf_string(r, STRING_LIMIT, &text, &size);
    if (status != VKMOE_OK)
        return status;
    size_t bad = vkm_utf8_check(text, size);
    if (bad < size)
        status = VKM_GGUF_FAIL(r, VKMOE_BAD_FORMAT, "is not UTF-8 at byte %zu of a string", bad);
    else
        status = made(r, json_string_nocheck(text), out);
    vkm_free(r->allocator, text);
    return status;
}

static vkmoe_status read_value(struct vkm_gguf_reader *r, const struct type *type, int depth,
                               bool keep, json_t **out);

static vkmoe_status read_elements(struct vkm_gguf_reader *r, const struct type *type,
                                  uint64_t count, int depth, bool keep, json_t *array)
{
    vkmoe_status status = VKMOE_OK;
    if (!keep && type->kind != KIND_STRING && type->kind != KIND_ARRAY)
        return vkm_gguf_skip(r, count * type->size);
    for (uint64_t i = 0; i < count && status == VKMOE_OK; i++) {
        json_t *element = NULL;
        status = read_value(r, type, depth + 1, keep, &element);
        if (status == VKMOE_OK && keep && json_array_append_new(array, element) != 0)
            status = vkm_fail_memory(r->err, sizeof(json_t), r->file->path);
    }
    return status;
}

static vkmoe_status read_array(struct vkm_gguf_reader *r, int depth, bool keep, json_t **out)
{
    const struct type *type;
    uint64_t count;
    if (depth >= DEPTH_LIMIT)
        return VKM_GGUF_FAIL(r, VKMOE_BAD_FORMAT,
                             "has arrays within arrays, expected at most %d levels", DEPTH_LIMIT);
    vkmoe_status status = read_type(r, &type);
    if (status == VKMOE_OK)
        status = vkm_gguf_count(r, type->size, &count);
    if (status != VKMOE_OK)
        return status;
    keep = keep && count <= r->longest_array;
    r->elements += keep ? count : 0;
    if (r->elements > ELEMENT_LIMIT)
        return VKM_GGUF_FAIL(r, VKMOE_BAD_FORMAT,
                             "has arrays of %" PRIu64 " elements in all, expected at most %u",
                             r->elements, ELEMENT_LIMIT);
    json_t *array = NULL;
    if (keep)
        status = made(r, json_array(), &array);
    if (status == VKMOE_OK)
        status = read_elements(r, type, count, depth, keep, array);
    if (status == VKMOE_OK)
        *out = array;
    else
        json_decref(array);
    return status;
}

/* *out stays NULL where the value is not kept. */
static vkmoe_status read_value(struct vkm_gguf_reader *r, const struct type *type, int depth,
                               bool keep, json_t **out)
{
    uint64_t bits;
    if (type->kind == KIND_ARRAY)
        return read_array(r, depth, keep, out);
    if (type->kind == KIND_STRING && keep)
        return read_string(r, out);
    vkmoe_status status = vkm_gguf_number(r, type->size, &bits);
    if (status != VKMOE_OK || !keep)
        return status == VKMOE_OK && type->kind == KIND_STRING ? vkm_gguf_skip(r, bits) : status;
    return made(r, to_json(type, bits), out);
}

static vkmoe_status read_entry(struct vkm_gguf_reader *r, json_t *object)
{
    char *key;
    size_t size;
    const struct type *type;
    json_t *value = NULL;
    vkm_gguf_reading(r, "a key of the metadata", NULL);
    vkmoe_status status = vkm_gguf_string(r, KEY_LIMIT, &key, &size);
    if (status != VKMOE_OK)
        return status;
    vkm_gguf_reading(r, "key", key);
    if (vkm_utf8_check(key, size) < size)
        status = VKM_GGUF_FAIL(r, VKMOE_BAD_FORMAT, "is not %s", "UTF-8");
    else if (json_object_get(object, key))
        status = VKM_GGUF_FAIL(r, VKMOE_BAD_FORMAT, "comes twice, expected each key %s", "once");
    if (status == VKMOE_OK)
        status = read_type(r, &type);
    if (status == VKMOE_OK)
        status = read_value(r, type, 0, true, &value);
    if (status == VKMOE_OK &&
        json_object_set_new_nocheck(object, key, value ? value : json_null()) != 0)
        status = vkm_fail_memory(r->err, size, r->file->path);
    vkm_free(r->allocator, key);
    return status;
}

vkmoe_status vkm_gguf_metadata(struct vkm_gguf_reader *r, uint64_t count, json_t *object)
{
    vkmoe_status status = VKMOE_OK;
    for (uint64_t i = 0; i < count && status == VKMOE_OK; i++)
        status = read_entry(r, object);
    return status;
}
