/* Unicode normal forms, applied to text before it is split. */
#ifndef VKM_TEXT_NORMALIZER_H
#define VKM_TEXT_NORMALIZER_H

#include "text/source.h"

struct vkm_normalizer {
    int options; /* of utf8proc; 0 leaves text as it is */
};

/* Reads the normalizer of a tokenizer.json; NULL and null mean none. */
vkmoe_status vkm_normalizer_load(const struct vkm_source *s, const json_t *json,
                                 struct vkm_normalizer *out);

/* Normalises valid UTF-8. *out stays NULL where nothing changes; else it
 * belongs to the caller (vkm_free). */
vkmoe_status vkm_normalize(const struct vkm_normalizer *n, const vkmoe_allocator *a,
                           const char *text, size_t size, char **out, size_t *out_size,
                           vkmoe_error *err);

#endif
