/* The tokenizer.json that the parts of a tokenizer are read from. */
#ifndef VKM_TEXT_SOURCE_H
#define VKM_TEXT_SOURCE_H

#include "base/json.h"

struct vkm_source {
    const vkmoe_allocator *allocator;
    const char *file; /* names it in messages */
    vkmoe_error *err;
};

/* The boolean object[key]; `fallback` where it is absent or null. */
static inline vkmoe_status vkm_source_flag(const struct vkm_source *s, const json_t *object,
                                           const char *key, bool fallback, bool *value)
{
    const struct vkm_json_source json = {object, s->file, s->err};
    *value = fallback;
    return vkm_json_get_bool(&json, key, value);
}

/* The string object[key], which must be there; it belongs to the object. */
static inline vkmoe_status vkm_source_string(const struct vkm_source *s, const json_t *object,
                                             const char *key, const char **value)
{
    *value = json_string_value(json_object_get(object, key));
    return *value ? VKMOE_OK
                  : vkm_json_mismatch(s->err, VKMOE_BAD_FORMAT, s->file, key,
                                      json_object_get(object, key), "a string");
}

/* Refuses `what` of the kind `type`. */
static inline vkmoe_status vkm_source_unsupported(const struct vkm_source *s, const char *what,
                                                  const char *type)
{
    char printable[VKM_PRINTABLE_SIZE];
    return vkm_fail(s->err, VKMOE_UNSUPPORTED, "%s: the %s %s is not supported", s->file, what,
                    vkm_printable(printable, type));
}

#endif
