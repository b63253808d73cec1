#include "text/normalizer.h"

#include <string.h>
#include <utf8proc.h>

static const struct {
    const char *type;
    int options;
} forms[] = {
    {"NFC", UTF8PROC_STABLE | UTF8PROC_COMPOSE},
    {"NFD", UTF8PROC_STABLE | UTF8PROC_DECOMPOSE},
    {"NFKC", UTF8PROC_STABLE | UTF8PROC_COMPAT | UTF8PROC_COMPOSE},
    {"NFKD", UTF8PROC_STABLE | UTF8PROC_COMPAT | UTF8PROC_DECOMPOSE},
};

vkmoe_status vkm_normalizer_load(const struct vkm_source *s, const json_t *json,
                                 struct vkm_normalizer *out)
{
    if (!json || json_is_null(json))
        return VKMOE_OK;
    const char *type;
    vkmoe_status status = vkm_source_string(s, json, "type", &type);
    if (status != VKMOE_OK)
        return status;
    if (strcmp(type, "Sequence") == 0) {
        const json_t *list = json_object_get(json, "normalizers");
        if (!json_is_array(list))
            return vkm_json_mismatch(s->err, VKMOE_BAD_FORMAT, s->file, "normalizers", list,
                                     "an array");
        for (size_t i = 0; i < json_array_size(list) && status == VKMOE_OK; i++)
            status = vkm_normalizer_load(s, json_array_get(list, i), out);
        return status;
    }
    for (size_t i = 0; i < VKM_COUNT(forms); i++) {
        if (strcmp(type, forms[i].type) == 0) {
            /* One form after another is the last one, with compatibility if any had it. */
            out->options = forms[i].options | (out->options & UTF8PROC_COMPAT);
            return VKMOE_OK;
        }
    }
    return vkm_source_unsupported(s, "normalizer", type);
}

static bool is_ascii(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)text[i] >= 0x80)
            return false;
    return true;
}

/* Writes the decomposition of the text; returns its length, or a negative error. With no room it
 * only counts. */
static utf8proc_ssize_t decompose(const char *text, size_t size, utf8proc_int32_t *out, size_t room,
                                  utf8proc_option_t options)
{
    utf8proc_ssize_t length = 0;
    for (size_t at = 0; at < size;) {
        utf8proc_int32_t c;
        int boundary;
        at += (size_t)utf8proc_iterate((const utf8proc_uint8_t *)text + at,
                                       (utf8proc_ssize_t)(size - at), &c);
        utf8proc_ssize_t n =
            utf8proc_decompose_char(c, room ? out + length : NULL,
                                    room ? (utf8proc_ssize_t)room - length : 0, options, &boundary);
        if (n < 0)
            return n;
        length += n;
    }
    return length;
}

static int combining_class(utf8proc_int32_t c)
{
    return utf8proc_get_property(c)->combining_class;
}

/* A stable sort by combining class. */
static void sort_marks(utf8proc_int32_t *marks, size_t count, utf8proc_int32_t *scratch)
{
    size_t first[257] = {0};
    for (size_t i = 0; i < count; i++)
        first[combining_class(marks[i]) + 1]++;
    for (size_t i = 1; i < 257; i++)
        first[i] += first[i - 1];
    for (size_t i = 0; i < count; i++)
        scratch[first[combining_class(marks[i])]++] = marks[i];
    memcpy(marks, scratch, count * sizeof(*marks));
}

/* Puts the marks after each base in canonical order; utf8proc_decompose would take quadratic time.
 * `scratch` has room for as many characters. */
static void order_marks(utf8proc_int32_t *text, size_t length, utf8proc_int32_t *scratch)
{
    for (size_t end, start = 0; start < length; start = end + 1) {
        end = start;
        while (end < length && combining_class(text[end]) > 0)
            end++;
        if (end - start > 1)
            sort_marks(text + start, end - start, scratch);
    }
}

vkmoe_status vkm_normalize(const struct vkm_normalizer *n, const vkmoe_allocator *a,
                           const char *text, size_t size, char **out, size_t *out_size,
                           vkmoe_error *err)
{
    utf8proc_option_t options = (utf8proc_option_t)n->options;
    utf8proc_int32_t *buffer = NULL;
    *out = NULL;
    if (options == 0 || is_ascii(text, size))
        return VKMOE_OK;
    utf8proc_ssize_t length = decompose(text, size, NULL, 0, options);
    if (length >= 0) {
        size_t room = (size_t)length;
        buffer = vkm_malloc(a, 2 * room + 1, sizeof(*buffer));
        if (!buffer)
            return vkm_fail_memory(err, 2 * room * sizeof(*buffer), "normalising text");
        length = decompose(text, size, buffer, room, options);
        order_marks(buffer, room, buffer + room + 1);
    }
    if (length >= 0)
        length = utf8proc_reencode(buffer, length, options);
    if (length < 0) {
        vkm_free(a, buffer);
        return vkm_fail(err, VKMOE_INTERNAL, "normalising text: %s", utf8proc_errmsg(length));
    }
    *out = (char *)buffer;
    *out_size = (size_t)length;
    return VKMOE_OK;
}
