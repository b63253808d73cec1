/* JSON from untrusted files: parsing and typed access with sentences that name file and key. */
#ifndef VKM_JSON_H
#define VKM_JSON_H

#include <jansson.h>

#include "base/base.h"

/* Room for a piece of a file's text inside a message. */
#define VKM_PRINTABLE_SIZE 160

/* Copies text for a message: what cannot be shown becomes '?', long text is cut between characters
 * and ends in "...". Returns out. */
const char *vkm_printable(char out[VKM_PRINTABLE_SIZE], const char *text);

/* Parses text, which must be one JSON object without duplicate keys; `file` names it in messages.
 * The caller owns *object (json_decref). */
vkmoe_status vkm_json_parse(const char *file, const char *text, size_t size, json_t **object,
                            vkmoe_error *err);

/* Reads and parses a file of at most `limit` bytes. NOT_FOUND when there is no such file. */
vkmoe_status vkm_json_load(const vkmoe_allocator *a, const char *file, uint64_t limit,
                           json_t **object, vkmoe_error *err);

/* Fails with "FILE: KEY is VALUE, expected EXPECTED". A NULL value reads as absent. */
vkmoe_status vkm_json_mismatch(vkmoe_error *err, vkmoe_status status, const char *file,
                               const char *key, const json_t *value, const char *expected);

/* Typed access to one object. An absent or null key leaves *value as it is; a wrong type or a
 * number outside low..high fails with BAD_FORMAT. A real may be written as an integer, but an
 * integer not as a real. */
struct vkm_json_source {
    const json_t *object;
    const char *file;
    vkmoe_error *err;
};

/* The value of key, NULL when absent or null. */
const json_t *vkm_json_get(const struct vkm_json_source *s, const char *key);
vkmoe_status vkm_json_get_integer(const struct vkm_json_source *s, const char *key, int64_t low,
                                  int64_t high, int64_t *value);
/* One integer, or a list of at most max. */
vkmoe_status vkm_json_get_integers(const struct vkm_json_source *s, const char *key, int64_t low,
                                   int64_t high, uint32_t max, int64_t *values, uint32_t *n);
vkmoe_status vkm_json_get_real(const struct vkm_json_source *s, const char *key, double low,
                               double high, double *value);
vkmoe_status vkm_json_get_bool(const struct vkm_json_source *s, const char *key, bool *value);
/* *value belongs to the object. */
vkmoe_status vkm_json_get_string(const struct vkm_json_source *s, const char *key,
                                 const char **value);

#endif
