/* Byte-pair encoding: a piece of text, byte by byte, merged by the ranks of the merge list. */
#ifndef VKM_TEXT_BPE_H
#define VKM_TEXT_BPE_H

#include "text/vocab.h"

struct vkm_merge {
    int32_t left, right;
    int32_t result; /* -1 in a free slot */
    uint32_t rank;  /* the lowest goes first */
};

struct vkm_bpe {
    const vkmoe_allocator *allocator;
    const struct vkm_vocab *vocab;
    struct vkm_merge *slots; /* open addressing by (left, right) */
    size_t mask;
    int32_t byte_ids[256]; /* -1 where the vocabulary has no token for the byte */
    int32_t unknown;       /* stands for such bytes; -1 when there is none */
    bool fuse_unknown;     /* one token for a run of them */
    bool ignore_merges;    /* a piece that is a token needs no merges */
};

struct vkm_ids {
    int32_t *items;
    size_t count, capacity;
};

struct vkm_symbol {
    int32_t id;
    uint32_t size; /* bytes; 0 once merged into its left neighbour */
    uint32_t previous, next;
};

struct vkm_candidate {
    uint64_t order; /* rank, then position */
    uint32_t size;  /* bytes of the result; tells a candidate that has been overtaken */
    int32_t result;
};

/* Memory that the pieces of one text share; zero-initialised. */
struct vkm_bpe_scratch {
    struct {
        struct vkm_symbol *items;
        size_t count, capacity;
    } symbols;
    struct {
        struct vkm_candidate *items;
        size_t count, capacity;
    } heap;
    struct {
        char *items;
        size_t count, capacity;
    } word;
};

/* Refuses a model object that is of another kind, or asks for what only other kinds do. */
vkmoe_status vkm_bpe_check(const struct vkm_source *s, const json_t *model);

/* Reads the model object of a tokenizer.json; vocab must outlive *out. On failure there is nothing
 * to finish. */
vkmoe_status vkm_bpe_load(const struct vkm_source *s, const json_t *model,
                          const struct vkm_vocab *vocab, struct vkm_bpe *out);
void vkm_bpe_finish(struct vkm_bpe *bpe);

/* Appends the ids of a piece. */
vkmoe_status vkm_bpe_encode(const struct vkm_bpe *bpe, struct vkm_bpe_scratch *scratch,
                            const char *piece, size_t size, struct vkm_ids *ids, vkmoe_error *err);
void vkm_bpe_scratch_finish(const struct vkm_bpe *bpe, struct vkm_bpe_scratch *scratch);

/* The slot that holds the merge of (left, right), or the free one where it would go. */
static inline struct vkm_merge *vkm_bpe_slot(const struct vkm_bpe *bpe, int32_t left, int32_t right)
{
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    size_t i = (size_t)(key * 0x9e3779b97f4a7c15u >> 32) & bpe->mask;
    while (bpe->slots[i].result >= 0 &&
           (bpe->slots[i].left != left || bpe->slots[i].right != right))
        i = (i + 1) & bpe->mask;
    return bpe->slots + i;
}

#endif
