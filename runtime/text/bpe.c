#include "text/bpe.h"

#include "base/array.h"
#include "text/byte_level.h"

#define NONE UINT32_MAX

static bool before(const struct vkm_candidate *a, const struct vkm_candidate *b)
{
    return a->order < b->order;
}

/* The heap has room: a piece of n bytes never holds more than 2n candidates. */
static void heap_push(struct vkm_bpe_scratch *s, struct vkm_candidate candidate)
{
    struct vkm_candidate *heap = s->heap.items;
    size_t at = s->heap.count++;
    while (at > 0 && before(&candidate, heap + (at - 1) / 2)) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = candidate;
}

static struct vkm_candidate heap_pop(struct vkm_bpe_scratch *s)
{
    struct vkm_candidate *heap = s->heap.items;
    struct vkm_candidate first = heap[0], last = heap[--s->heap.count];
    size_t at = 0, child;
    while ((child = 2 * at + 1) < s->heap.count) {
        if (child + 1 < s->heap.count && before(heap + child + 1, heap + child))
            child++;
        if (!before(heap + child, &last))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = last;
    return first;
}

static void consider(const struct vkm_bpe *bpe, struct vkm_bpe_scratch *s, uint32_t left)
{
    const struct vkm_symbol *a = s->symbols.items + left;
    if (a->next == NONE)
        return;
    const struct vkm_symbol *b = s->symbols.items + a->next;
    const struct vkm_merge *merge = vkm_bpe_slot(bpe, a->id, b->id);
    if (merge->result >= 0)
        heap_push(s, (struct vkm_candidate){.order = (uint64_t)merge->rank << 32 | left,
                                            .size = a->size + b->size,
                                            .result = merge->result});
}

/* Merges the lowest rank first, the leftmost among equals. */
static void merge_all(const struct vkm_bpe *bpe, struct vkm_bpe_scratch *s)
{
    struct vkm_symbol *symbols = s->symbols.items;
    for (uint32_t i = 0; i + 1 < s->symbols.count; i++)
        consider(bpe, s, i);
    while (s->heap.count > 0) {
        struct vkm_candidate best = heap_pop(s);
        struct vkm_symbol *left = symbols + (uint32_t)best.order;
        /* Symbols only grow, so a pair that has changed is longer (or gone). */
        if (left->size == 0 || left->next == NONE ||
            left->size + symbols[left->next].size != best.size)
            continue;
        struct vkm_symbol *right = symbols + left->next;
        left->id = best.result;
        left->size = best.size;
        left->next = right->next;
        right->size = 0;
        if (left->next != NONE)
            symbols[left->next].previous = (uint32_t)best.order;
        if (left->previous != NONE)
            consider(bpe, s, left->previous);
        consider(bpe, s, (uint32_t)best.order);
    }
}

static vkmoe_status fill_symbols(const struct vkm_bpe *bpe, struct vkm_bpe_scratch *s,
                                 const char *piece, size_t size, vkmoe_error *err)
{
    bool after_unknown = false;
    s->symbols.count = 0;
    for (size_t i = 0; i < size; i++) {
        int32_t id = bpe->byte_ids[(unsigned char)piece[i]];
        bool unknown = id < 0;
        if (unknown)
            id = bpe->unknown;
        if (id < 0)
            return vkm_fail(err, VKMOE_UNSUPPORTED,
                            "the vocabulary has no token for the byte 0x%02x and no unknown token",
                            (unsigned char)piece[i]);
        if (unknown && after_unknown && bpe->fuse_unknown) {
            s->symbols.items[s->symbols.count - 1].size++;
            continue;
        }
        uint32_t at = (uint32_t)s->symbols.count++;
        s->symbols.items[at] =
            (struct vkm_symbol){.id = id, .size = 1, .previous = at - 1, .next = at + 1};
        after_unknown = unknown;
    }
    s->symbols.items[0].previous = NONE;
    s->symbols.items[s->symbols.count - 1].next = NONE;
    return VKMOE_OK;
}

/* The id of a piece that is a token as a whole, or -1. */
static int32_t find_whole(const struct vkm_bpe *bpe, struct vkm_bpe_scratch *s, const char *piece,
                          size_t size)
{
    char *end = s->word.items;
    if (size > bpe->vocab->longest)
        return -1;
    for (size_t i = 0; i < size; i++)
        end = vkm_byte_level_put(end, (unsigned char)piece[i]);
    int32_t id = vkm_vocab_find(bpe->vocab, s->word.items, (size_t)(end - s->word.items));
    return id >= 0 && !bpe->vocab->tokens[id].literal ? id : -1;
}

vkmoe_status vkm_bpe_encode(const struct vkm_bpe *bpe, struct vkm_bpe_scratch *s, const char *piece,
                            size_t size, struct vkm_ids *ids, vkmoe_error *err)
{
    const vkmoe_allocator *a = bpe->allocator;
    if (size == 0)
        return VKMOE_OK;
    if (size >= NONE)
        return vkm_fail(err, VKMOE_UNSUPPORTED,
                        "the text holds a word of %zu bytes, expected less than 4 GiB", size);
    s->symbols.count = s->heap.count = 0;
    if (!VKM_ARRAY_RESERVE(a, &s->symbols, size) || !VKM_ARRAY_RESERVE(a, &s->heap, 2 * size) ||
        !VKM_ARRAY_RESERVE(a, &s->word, 2 * size) || !VKM_ARRAY_RESERVE(a, ids, size))
        return vkm_fail_memory(err, size * sizeof(struct vkm_symbol), "encoding a piece of text");
    int32_t whole = bpe->ignore_merges ? find_whole(bpe, s, piece, size) : -1;
    if (whole >= 0) {
        ids->items[ids->count++] = whole;
        return VKMOE_OK;
    }
    vkmoe_status status = fill_symbols(bpe, s, piece, size, err);
    if (status != VKMOE_OK)
        return status;
    merge_all(bpe, s);
    for (uint32_t i = 0; i != NONE; i = s->symbols.items[i].next)
        ids->items[ids->count++] = s->symbols.items[i].id;
    return VKMOE_OK;
}

void vkm_bpe_scratch_finish(const struct vkm_bpe *bpe, struct vkm_bpe_scratch *s)
{
    vkm_free(bpe->allocator, s->symbols.items);
    vkm_free(bpe->allocator, s->heap.items);
    vkm_free(bpe->allocator, s->word.items);
    *s = (struct vkm_bpe_scratch){0};
}
