#include "text/added.h"

#include <stdlib.h>
#include <string.h>

#include "text/unicode.h"

static int by_text(const void *a, const void *b)
{
    const struct vkm_added_token *x = a, *y = b;
    int order = memcmp(x->text, y->text, x->size < y->size ? x->size : y->size);
    if (order == 0)
        order = (x->size > y->size) - (x->size < y->size);
    return order != 0 ? order : (x->id > y->id) - (x->id < y->id);
}

static void sort(struct vkm_added *set)
{
    size_t at = 0;
    if (set->count > 0)
        qsort(set->items, set->count, sizeof(*set->items), by_text);
    for (unsigned byte = 0; byte <= 256; byte++) {
        while (at < set->count && (unsigned char)set->items[at].text[0] < byte)
            at++;
        set->first[byte] = at;
    }
}

static vkmoe_status add(const struct vkm_source *s, struct vkm_added *set, const json_t *entry,
                        const struct vkm_normalizer *normalizer)
{
    const json_t *content = json_object_get(entry, "content");
    const char *text = json_string_value(content);
    struct vkm_added_token token = {
        .size = json_string_length(content),
        .id = (int32_t)json_integer_value(json_object_get(entry, "id")),
    };
    vkmoe_status status = vkm_source_flag(s, entry, "single_word", false, &token.single_word);
    if (status == VKMOE_OK)
        status = vkm_source_flag(s, entry, "lstrip", false, &token.lstrip);
    if (status == VKMOE_OK)
        status = vkm_source_flag(s, entry, "rstrip", false, &token.rstrip);
    if (status == VKMOE_OK)
        status = vkm_normalize(normalizer, s->allocator, text, token.size, &token.text, &token.size,
                               s->err);
    if (status != VKMOE_OK)
        return status;
    if (!token.text) {
        token.text = vkm_malloc(s->allocator, token.size, 1);
        if (!token.text)
            return vkm_fail_memory(s->err, token.size, "an added token");
        memcpy(token.text, text, token.size);
    }
    if (token.size > 0)
        set->items[set->count++] = token;
    else
        vkm_free(s->allocator, token.text);
    return VKMOE_OK;
}

vkmoe_status vkm_added_load(const struct vkm_source *s, const json_t *tokens, bool normalized,
                            const struct vkm_normalizer *normalizer, struct vkm_added *out)
{
    static const struct vkm_normalizer none = {0};
    struct vkm_added set = {.allocator = s->allocator};
    vkmoe_status status = VKMOE_OK;
    set.items = vkm_calloc(s->allocator, json_array_size(tokens), sizeof(*set.items));
    if (!set.items)
        return vkm_fail_memory(s->err, json_array_size(tokens) * sizeof(*set.items),
                               "the added tokens");
    for (size_t i = 0; i < json_array_size(tokens) && status == VKMOE_OK; i++) {
        const json_t *entry = json_array_get(tokens, i);
        bool flag;
        status = vkm_source_flag(s, entry, "normalized", false, &flag);
        if (status == VKMOE_OK && flag == normalized)
            status = add(s, &set, entry, normalized ? normalizer : &none);
    }
    sort(&set);
    if (status != VKMOE_OK)
        vkm_added_finish(&set);
    else
        *out = set;
    return status;
}

void vkm_added_finish(struct vkm_added *set)
{
    for (size_t i = 0; i < set->count; i++)
        vkm_free(set->allocator, set->items[i].text);
    vkm_free(set->allocator, set->items);
    *set = (struct vkm_added){0};
}

/* Of [low, high), all alike in their first `depth` bytes and longer than that, where the texts
 * begin whose next byte is at least `byte`. */
static size_t lower_bound(const struct vkm_added *set, size_t low, size_t high, size_t depth,
                          unsigned byte)
{
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if ((unsigned char)set->items[middle].text[depth] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const struct vkm_added_token *longest_at(const struct vkm_added *set, const char *text,
                                                size_t size)
{
    const struct vkm_added_token *longest = NULL;
    size_t low = set->first[(unsigned char)text[0]];
    size_t high = set->first[(unsigned char)text[0] + 1];
    for (size_t depth = 1; low < high; depth++) {
        if (set->items[low].size == depth)
            longest = set->items + low;
        while (low < high && set->items[low].size == depth)
            low++;
        if (depth == size)
            break;
        unsigned byte = (unsigned char)text[depth];
        low = lower_bound(set, low, high, depth, byte);
        high = lower_bound(set, low, high, depth, byte + 1);
    }
    return longest;
}

static bool inside_word(const char *text, size_t size, size_t start, size_t end)
{
    return (start > 0 && vkm_is_word(text + vkm_utf8_previous(text, start))) ||
           (end < size && vkm_is_word(text + end));
}

bool vkm_added_find(const struct vkm_added *set, const char *text, size_t size, size_t from,
                    struct vkm_added_match *match)
{
    const struct vkm_added_token *token = NULL;
    size_t start = from, end = from;
    for (; start < size && set->count > 0; start = end) {
        token = longest_at(set, text + start, size - start);
        end = start + (token ? token->size : 1);
        if (token && !(token->single_word && inside_word(text, size, start, end)))
            break;
        token = NULL;
    }
    if (!token)
        return false;
    while (token->lstrip && start > from && vkm_is_space(text + vkm_utf8_previous(text, start)))
        start = vkm_utf8_previous(text, start);
    while (token->rstrip && end < size && vkm_is_space(text + end))
        end += vkm_utf8_length(text[end]);
    *match = (struct vkm_added_match){.start = start, .end = end, .id = token->id};
    return true;
}
