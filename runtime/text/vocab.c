#include "text/vocab.h"

#include <string.h>

#include "text/byte_level.h"

#define MAX_IDS (1 << 24) /* as many as a model may have */

struct totals {
    size_t entries, bytes;
    json_int_t largest;
};

static vkmoe_status check_id(const struct vkm_source *s, const json_t *id, const char *text,
                             struct totals *totals)
{
    char printable[VKM_PRINTABLE_SIZE];
    if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= MAX_IDS)
        return vkm_fail(s->err, VKMOE_BAD_FORMAT,
                        "%s: the id of the token \"%s\" is not an integer from 0 to %d", s->file,
                        vkm_printable(printable, text), MAX_IDS - 1);
    totals->entries++;
    totals->bytes += strlen(text) + 1;
    if (totals->largest < json_integer_value(id))
        totals->largest = json_integer_value(id);
    return VKMOE_OK;
}

static vkmoe_status check(const struct vkm_source *s, json_t *vocab, const json_t *added,
                          struct totals *totals)
{
    const char *text;
    json_t *entry;
    size_t i;
    if (!json_is_object(vocab))
        return vkm_json_mismatch(s->err, VKMOE_BAD_FORMAT, s->file, "model.vocab", vocab,
                                 "an object");
    if (added && !json_is_null(added) && !json_is_array(added))
        return vkm_json_mismatch(s->err, VKMOE_BAD_FORMAT, s->file, "added_tokens", added,
                                 "an array");
    json_object_foreach(vocab, text, entry)
    {
        vkmoe_status status = check_id(s, entry, text, totals);
        if (status != VKMOE_OK)
            return status;
    }
    json_array_foreach(added, i, entry)
    {
        vkmoe_status status = vkm_source_string(s, entry, "content", &text);
        if (status == VKMOE_OK)
            status = check_id(s, json_object_get(entry, "id"), text, totals);
        if (status != VKMOE_OK)
            return status;
    }
    if (totals->entries == 0)
        return vkm_fail(s->err, VKMOE_BAD_FORMAT, "%s: the vocabulary is empty", s->file);
    return VKMOE_OK;
}

static bool allocate(struct vkm_vocab *v, const struct totals *totals)
{
    size_t slots = 16;
    while (slots < 2 * totals->entries)
        slots *= 2;
    v->count = (size_t)totals->largest + 1;
    v->tokens = vkm_calloc(v->allocator, v->count, sizeof(*v->tokens));
    v->text = vkm_malloc(v->allocator, totals->bytes, 1);
    v->slots = vkm_malloc(v->allocator, slots, sizeof(*v->slots));
    v->mask = slots - 1;
    if (v->slots)
        memset(v->slots, 0xff, slots * sizeof(*v->slots));
    return v->tokens && v->text && v->slots;
}

/* The slot of the text a + b: its id, or -1 where it would go. */
static int32_t *find_slot(const struct vkm_vocab *v, const char *a, size_t a_size, const char *b,
                          size_t b_size)
{
    uint64_t hash = vkm_hash(vkm_hash(VKM_HASH_INIT, a, a_size), b, b_size);
    for (size_t i = (size_t)(hash ^ hash >> 32) & v->mask;; i = (i + 1) & v->mask) {
        if (v->slots[i] < 0)
            return v->slots + i;
        const struct vkm_token *token = v->tokens + v->slots[i];
        const char *text = v->text + token->start;
        if (token->size == a_size + b_size && memcmp(text, a, a_size) == 0 &&
            (b_size == 0 || memcmp(text + a_size, b, b_size) == 0))
            return v->slots + i;
    }
}

int32_t vkm_vocab_find_joined(const struct vkm_vocab *v, const char *a, size_t a_size,
                              const char *b, size_t b_size)
{
    return *find_slot(v, a, a_size, b, b_size);
}

static bool outside_alphabet(const char *text, size_t size)
{
    for (size_t at = 0; at < size;)
        if (vkm_byte_level_take(text, size, &at) < 0)
            return true;
    return false;
}

static vkmoe_status insert(const struct vkm_source *s, struct vkm_vocab *v, const char *text,
                           int32_t id, size_t *used)
{
    struct vkm_token *token = v->tokens + id;
    size_t size = strlen(text);
    char first[VKM_PRINTABLE_SIZE], second[VKM_PRINTABLE_SIZE];
    if (token->present)
        return vkm_fail(s->err, VKMOE_BAD_FORMAT, "%s: the id %d belongs to both \"%s\" and \"%s\"",
                        s->file, id, vkm_printable(first, v->text + token->start),
                        vkm_printable(second, text));
    *find_slot(v, text, size, NULL, 0) = id;
    memcpy(v->text + *used, text, size + 1);
    *token = (struct vkm_token){
        .start = (uint32_t)*used,
        .size = (uint32_t)size,
        .present = true,
        .literal = outside_alphabet(text, size),
    };
    *used += size + 1;
    if (v->longest < size)
        v->longest = size;
    return VKMOE_OK;
}

/* An added token may repeat an entry of the vocabulary; else its text is matched as it is, and so
 * stands for itself. */
static vkmoe_status insert_added(const struct vkm_source *s, struct vkm_vocab *v,
                                 const json_t *entry, size_t index, size_t *used)
{
    const char *text = json_string_value(json_object_get(entry, "content"));
    int32_t id = (int32_t)json_integer_value(json_object_get(entry, "id"));
    int32_t known = vkm_vocab_find(v, text, strlen(text));
    bool special;
    vkmoe_status status = VKMOE_OK;
    char printable[VKM_PRINTABLE_SIZE];
    if (known >= 0 && known != id)
        return vkm_fail(s->err, VKMOE_BAD_FORMAT,
                        "%s: added_tokens[%zu] gives \"%s\" the id %d, but it has %d already",
                        s->file, index, vkm_printable(printable, text), id, known);
    if (known < 0) {
        status = insert(s, v, text, id, used);
        v->tokens[id].literal = true;
    }
    if (status == VKMOE_OK)
        status = vkm_source_flag(s, entry, "special", false, &special);
    if (status == VKMOE_OK && special)
        v->tokens[id].special = true;
    return status;
}

vkmoe_status vkm_vocab_load(const struct vkm_source *s, json_t *root, struct vkm_vocab *out)
{
    struct vkm_vocab v = {.allocator = s->allocator};
    struct totals totals = {0};
    json_t *vocab = json_object_get(json_object_get(root, "model"), "vocab");
    json_t *added = json_object_get(root, "added_tokens");
    json_t *entry;
    const char *text;
    size_t i, used = 0;
    vkmoe_status status = check(s, vocab, added, &totals);
    if (status != VKMOE_OK)
        return status;
    if (!allocate(&v, &totals)) {
        vkm_vocab_finish(&v);
        return vkm_fail_memory(s->err, totals.bytes, "the vocabulary");
    }
    json_object_foreach(vocab, text, entry)
    {
        if (status == VKMOE_OK)
            status = insert(s, &v, text, (int32_t)json_integer_value(entry), &used);
    }
    json_array_foreach(added, i, entry)
    {
        if (status == VKMOE_OK)
            status = insert_added(s, &v, entry, i, &used);
    }
    if (status != VKMOE_OK)
        vkm_vocab_finish(&v);
    else
        *out = v;
    return status;
}

void vkm_vocab_finish(struct vkm_vocab *v)
{
    vkm_free(v->allocator, v->tokens);
    vkm_free(v->allocator, v->text);
    vkm_free(v->allocator, v->slots);
    *v = (struct vkm_vocab){0};
}
