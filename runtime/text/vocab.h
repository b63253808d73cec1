/* The vocabulary: the text of every id, and the id of every text. */
#ifndef VKM_TEXT_VOCAB_H
#define VKM_TEXT_VOCAB_H

#include "text/source.h"

struct vkm_token {
    uint32_t start, size; /* of its text, as the file spells it, in vkm_vocab.text */
    bool present;
    bool special; /* marks structure: no text unless asked for */
    bool literal; /* its text stands for itself, not for the bytes of the byte-level alphabet */
};

struct vkm_vocab {
    const vkmoe_allocator *allocator;
    struct vkm_token *tokens; /* by id; ids may leave holes */
    size_t count;             /* one more than the largest id */
    size_t longest;           /* bytes of the longest text */
    char *text;
    int32_t *slots; /* open addressing by text; -1 is free */
    size_t mask;
};

/* Reads model.vocab and added_tokens of a tokenizer.json. On failure there is nothing to finish. */
vkmoe_status vkm_vocab_load(const struct vkm_source *s, json_t *root, struct vkm_vocab *out);
void vkm_vocab_finish(struct vkm_vocab *v);

/* The id of the text a followed by b (either may be empty), or -1. */
int32_t vkm_vocab_find_joined(const struct vkm_vocab *v, const char *a, size_t a_size,
                              const char *b, size_t b_size);

static inline int32_t vkm_vocab_find(const struct vkm_vocab *v, const char *text, size_t size)
{
    return vkm_vocab_find_joined(v, text, size, NULL, 0);
}

#endif
