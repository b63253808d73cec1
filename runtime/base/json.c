#include "base/json.h"

#include <stdio.h>

#include "base/file.h"
#include "base/utf8.h"

const char *vkm_printable(char out[VKM_PRINTABLE_SIZE], const char *text)
{
    vkm_utf8_finish(out, VKM_PRINTABLE_SIZE, snprintf(out, VKM_PRINTABLE_SIZE, "%s", text));
    return out;
}

vkmoe_status vkm_json_parse(const char *file, const char *text, size_t size, json_t **object,
                            vkmoe_error *err)
{
    json_error_t error;
    char detail[VKM_PRINTABLE_SIZE];
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (!root && error.text[0] == '\0') /* the library is silent only when memory ran out */
        return vkm_fail_memory(err, size, file);
    if (!root)
        return vkm_fail(err, VKMOE_BAD_FORMAT, "%s: not valid JSON at line %d, column %d: %s", file,
                        error.line, error.column, vkm_printable(detail, error.text));
    if (!json_is_object(root)) {
        json_decref(root);
        return vkm_fail(err, VKMOE_BAD_FORMAT, "%s: the JSON is an array, expected an object",
                        file);
    }
    *object = root;
    return VKMOE_OK;
}

vkmoe_status vkm_json_load(const vkmoe_allocator *a, const char *file, uint64_t limit,
                           json_t **object, vkmoe_error *err)
{
    char *text;
    size_t size;
    vkmoe_status status = vkm_file_read(a, file, limit, &text, &size, err);
    if (status != VKMOE_OK)
        return status;
    status = vkm_json_parse(file, text, size, object, err);
    vkm_free(a, text);
    return status;
}

static const char *describe(const json_t *value, char out[VKM_PRINTABLE_SIZE])
{
    char text[VKM_PRINTABLE_SIZE];
    if (!value)
        return "absent";
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        vkm_printable(text, json_string_value(value));
        snprintf(out, VKM_PRINTABLE_SIZE, "\"%.*s\"", VKM_PRINTABLE_SIZE - 3, text);
        return out;
    case JSON_INTEGER:
        snprintf(out, VKM_PRINTABLE_SIZE, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return out;
    case JSON_REAL:
        snprintf(out, VKM_PRINTABLE_SIZE, "the real number %g", json_real_value(value));
        return out;
    case JSON_TRUE:
        return "true";
    case JSON_FALSE:
        return "false";
    case JSON_NULL:
        break;
    }
    return "null";
}

vkmoe_status vkm_json_mismatch(vkmoe_error *err, vkmoe_status status, const char *file,
                               const char *key, const json_t *value, const char *expected)
{
    char found[VKM_PRINTABLE_SIZE];
    return vkm_fail(err, status, "%s: %s is %s, expected %s", file, key, describe(value, found),
                    expected);
}

const json_t *vkm_json_get(const struct vkm_json_source *s, const char *key)
{
    const json_t *value = json_object_get(s->object, key);
    return json_is_null(value) ? NULL : value;
}

static vkmoe_status check_integer(const struct vkm_json_source *s, const char *key,
                                  const json_t *found, int64_t low, int64_t high, int64_t *value)
{
    char expected[96];
    int64_t number = json_integer_value(found);
    if (!json_is_integer(found) || number < low || number > high) {
        snprintf(expected, sizeof(expected), "an integer from %lld to %lld", (long long)low,
                 (long long)high);
        return vkm_json_mismatch(s->err, VKMOE_BAD_FORMAT, s->file, key, found, expected);
    }
    *value = number;
    return VKMOE_OK;
}

vkmoe_status vkm_json_get_integer(const struct vkm_json_source *s, const char *key, int64_t low,
                                  int64_t high, int64_t *value)
{
    const json_t *found = vkm_json_get(s, key);
    return found ? check_integer(s, key, found, low, high, value) : VKMOE_OK;
}

vkmoe_status vkm_json_get_integers(const struct vkm_json_source *s, const char *key, int64_t low,
                                   int64_t high, uint32_t max, int64_t *values, uint32_t *n)
{
    char entry[96];
    const json_t *found = vkm_json_get(s, key);
    if (!found)
        return VKMOE_OK;
    if (!json_is_array(found)) {
        *n = 1;
        return check_integer(s, key, found, low, high, values);
    }
    if (json_array_size(found) > max)
        return vkm_fail(s->err, VKMOE_UNSUPPORTED, "%s: %s has %zu entries, expected at most %u",
                        s->file, key, json_array_size(found), max);
    *n = (uint32_t)json_array_size(found);
    for (uint32_t i = 0; i < *n; i++) {
        snprintf(entry, sizeof(entry), "%s[%u]", key, i);
        vkmoe_status status =
            check_integer(s, entry, json_array_get(found, i), low, high, &values[i]);
        if (status != VKMOE_OK)
            return status;
    }
    return VKMOE_OK;
}

vkmoe_status vkm_json_get_real(const struct vkm_json_source *s, const char *key, double low,
                               double high, double *value)
{
    char expected[96];
    const json_t *found = vkm_json_get(s, key);
    if (!found)
        return VKMOE_OK;
    double number = json_number_value(found);
    if (!json_is_number(found) || !(number >= low && number <= high)) {
        snprintf(expected, sizeof(expected), "a number from %g to %g", low, high);
        return vkm_json_mismatch(s->err, VKMOE_BAD_FORMAT, s->file, key, found, expected);
    }
    *value = number;
    return VKMOE_OK;
}

vkmoe_status vkm_json_get_bool(const struct vkm_json_source *s, const char *key, bool *value)
{
    const json_t *found = vkm_json_get(s, key);
    if (!found)
        return VKMOE_OK;
    if (!json_is_boolean(found))
        return vkm_json_mismatch(s->err, VKMOE_BAD_FORMAT, s->file, key, found, "true or false");
    *value = json_is_true(found);
    return VKMOE_OK;
}

vkmoe_status vkm_json_get_string(const struct vkm_json_source *s, const char *key,
                                 const char **value)
{
    const json_t *found = vkm_json_get(s, key);
    if (!found)
        return VKMOE_OK;
    if (!json_is_string(found))
        return vkm_json_mismatch(s->err, VKMOE_BAD_FORMAT, s->file, key, found, "a string");
    *value = json_string_value(found);
    return VKMOE_OK;
}
