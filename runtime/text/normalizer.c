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

vkmoe_status vkm_normalize(const struct vkm_normalizer *n, const vkmoe_allocator *a,
                           const char *text, size_t size, char **out, size_t *out_size,
                           vkmoe_error *err)
{
    const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)text;
    utf8proc_option_t options = (utf8proc_option_t)n->options;
    *out = NULL;
    if (options == 0 || is_ascii(text, size))
        return VKMOE_OK;
    utf8proc_ssize_t length = utf8proc_decompose(bytes, (utf8proc_ssize_t)size, NULL, 0, options);
    if (length < 0)
        return vkm_fail(err, VKMOE_INTERNAL, "normalising text: %s", utf8proc_errmsg(length));
    utf8proc_int32_t *buffer = vkm_malloc(a, (size_t)length + 1, sizeof(*buffer));
    if (!buffer)
        return vkm_fail_memory(err, (size_t)length * sizeof(*buffer), "normalising text");
    length = utf8proc_decompose(bytes, (utf8proc_ssize_t)size, buffer, length, options);
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
