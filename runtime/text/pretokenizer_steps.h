/* The pre-tokenizer's compiled steps, shared by their reader and the cutter. */
#ifndef VKM_TEXT_PRETOKENIZER_STEPS_H
#define VKM_TEXT_PRETOKENIZER_STEPS_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "text/pretokenizer.h"

/* What becomes of the text that a pattern matches. */
enum vkm_split_behaviour {
    VKM_SPLIT_ISOLATED, /* a piece of its own */
    VKM_SPLIT_REMOVED,
    VKM_SPLIT_MERGED_WITH_PREVIOUS,
    VKM_SPLIT_MERGED_WITH_NEXT,
    VKM_SPLIT_CONTIGUOUS, /* one piece together with adjacent matches */
};

struct vkm_split {
    pcre2_code *code; /* NULL: puts a space before a piece that does not begin with one */
    enum vkm_split_behaviour behaviour;
    bool invert;        /* what does not match is taken as matching */
    bool matches_empty; /* the pattern can match an empty string */
};

struct vkm_pretokenizer {
    const vkmoe_allocator *allocator;
    pcre2_general_context *memory; /* the allocator, for PCRE2 */
    struct vkm_split *items;
    size_t count, capacity;
    bool byte_level; /* the last step has been read */
};

#endif
