/* Added tokens: texts that become one id wherever they stand, before anything else is done. */
#ifndef VKM_TEXT_ADDED_H
#define VKM_TEXT_ADDED_H

#include "text/normalizer.h"
#include "text/vocab.h"

struct vkm_added_token {
    char *text;
    size_t size;
    int32_t id;
    bool single_word;    /* not where a word goes on at either side */
    bool lstrip, rstrip; /* takes the white space at that side along */
};

struct vkm_added {
    const vkmoe_allocator *allocator;
    struct vkm_added_token *items; /* sorted by text */
    size_t count;
    size_t first[257]; /* where the texts begin that start with a byte or a greater one */
};

struct vkm_added_match {
    size_t start, end;
    int32_t id;
};

/* Reads the added_tokens (NULL: none) whose `normalized` is as given; those are matched in
 * normalised text, so their own text is normalised too. On failure there is nothing to finish. */
vkmoe_status vkm_added_load(const struct vkm_source *s, const json_t *tokens, bool normalized,
                            const struct vkm_normalizer *normalizer, struct vkm_added *out);
void vkm_added_finish(struct vkm_added *set);

/* The first match at or after `from`, the longest at its place; false where there is none. */
bool vkm_added_find(const struct vkm_added *set, const char *text, size_t size, size_t from,
                    struct vkm_added_match *match);

#endif
