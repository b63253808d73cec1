#include "text/tokenizer.h"

#include <string.h>

#include "base/array.h"
#include "text/byte_level.h"
#include "text/unicode.h"

vkmoe_status vkmoe_tokenizer_load(const char *path, const vkmoe_tokenizer_params *params,
                                  vkmoe_tokenizer **out, vkmoe_error *err)
{
    const vkmoe_allocator *a = params ? params->allocator : NULL;
    if (out)
        *out = NULL;
    if (!path || !out)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT, "vkmoe_tokenizer_load: %s is NULL",
                        path ? "out" : "path");
    vkmoe_tokenizer *t = vkm_calloc(a, 1, sizeof(*t));
    if (!t)
        return vkm_fail_memory(err, sizeof(*t), "a tokenizer");
    t->allocator = a;
    vkmoe_status status = vkm_tokenizer_read(t, path, err);
    if (status != VKMOE_OK)
        vkmoe_tokenizer_destroy(t);
    else
        *out = t;
    return status;
}

void vkmoe_tokenizer_destroy(vkmoe_tokenizer *t)
{
    if (!t)
        return;
    vkm_pretokenizer_destroy(t->pretokenizer);
    vkm_added_finish(&t->raw);
    vkm_added_finish(&t->normalized);
    vkm_bpe_finish(&t->bpe);
    vkm_vocab_finish(&t->vocab);
    vkm_free(t->allocator, t);
}

struct encoder {
    const vkmoe_tokenizer *tokenizer;
    const struct vkm_barred *barred; /* NULL: every added token is matched */
    struct vkm_cutter *cutter;
    struct vkm_bpe_scratch scratch;
    struct vkm_ids ids;
    vkmoe_error *err;
};

static vkmoe_status push_id(struct encoder *e, int32_t id)
{
    if (!VKM_ARRAY_RESERVE(e->tokenizer->allocator, &e->ids, 1))
        return vkm_fail_memory(e->err, e->ids.count * sizeof(id), "token ids");
    e->ids.items[e->ids.count++] = id;
    return VKMOE_OK;
}

static bool is_barred(const struct encoder *e, int32_t id)
{
    const vkmoe_tokenizer *t = e->tokenizer;
    if (!e->barred)
        return false;
    for (size_t i = 0; i < e->barred->count; i++) {
        if (e->barred->ids[i] == id)
            return true;
    }
    return id == t->bos || id == t->eos || t->vocab.tokens[id].special;
}

static bool find_added(const struct encoder *e, const struct vkm_added *set, const char *text,
                       size_t size, size_t from, struct vkm_added_match *match)
{
    bool found = vkm_added_find(set, text, size, from, match);
    while (found && is_barred(e, match->id))
        found = vkm_added_find(set, text, size, match->start + 1, match);
    return found;
}

/* Replaces the matches of a set of added tokens by their ids and hands the text between to `rest`.
 */
static vkmoe_status take_added(struct encoder *e, const struct vkm_added *set, const char *text,
                               size_t size,
                               vkmoe_status (*rest)(struct encoder *, const char *, size_t))
{
    struct vkm_added_match match;
    size_t at = 0;
    vkmoe_status status = VKMOE_OK;
    while (status == VKMOE_OK && find_added(e, set, text, size, at, &match)) {
        status = rest(e, text + at, match.start - at);
        if (status == VKMOE_OK)
            status = push_id(e, match.id);
        at = match.end;
    }
    return status == VKMOE_OK ? rest(e, text + at, size - at) : status;
}

static vkmoe_status encode_piece(void *user, const char *piece, size_t size)
{
    struct encoder *e = user;
    return vkm_bpe_encode(&e->tokenizer->bpe, &e->scratch, piece, size, &e->ids, e->err);
}

static vkmoe_status encode_plain(struct encoder *e, const char *text, size_t size)
{
    return vkm_cutter_run(e->cutter, text, size, encode_piece, e, e->err);
}

static vkmoe_status encode_normalized(struct encoder *e, const char *text, size_t size)
{
    const vkmoe_tokenizer *t = e->tokenizer;
    char *changed;
    vkmoe_status status =
        vkm_normalize(&t->normalizer, t->allocator, text, size, &changed, &size, e->err);
    if (status == VKMOE_OK)
        status = take_added(e, &t->normalized, changed ? changed : text, size, encode_plain);
    vkm_free(t->allocator, changed);
    return status;
}

static vkmoe_status encode_text(struct encoder *e, const char *text, size_t size, bool bos)
{
    const vkmoe_tokenizer *t = e->tokenizer;
    vkmoe_status status = vkm_cutter_create(t->pretokenizer, &e->cutter, e->err);
    if (status == VKMOE_OK && bos)
        status = push_id(e, t->bos);
    if (status == VKMOE_OK)
        status = take_added(e, &t->raw, text, size, encode_normalized);
    if (status == VKMOE_OK && bos && e->ids.count > 1 && e->ids.items[1] == t->bos)
        memmove(e->ids.items, e->ids.items + 1, --e->ids.count * sizeof(*e->ids.items));
    return status;
}

vkmoe_status vkmoe_tokenizer_encode(const vkmoe_tokenizer *t, const char *text, size_t size,
                                    bool add_bos, int32_t **ids, size_t *count, vkmoe_error *err)
{
    if (!t || (!text && size > 0) || !ids || !count)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "vkmoe_tokenizer_encode: the tokenizer, text, ids or count is NULL");
    *ids = NULL;
    *count = 0;
    size_t bad = vkm_utf8_check(text, size);
    if (bad < size)
        return vkm_fail(err, VKMOE_BAD_FORMAT, "the text is not UTF-8 at byte offset %zu", bad);
    struct encoder e = {.tokenizer = t, .err = err};
    vkmoe_status status = encode_text(&e, text, size, add_bos && t->add_bos && t->bos >= 0);
    vkm_cutter_destroy(e.cutter);
    vkm_bpe_scratch_finish(&t->bpe, &e.scratch);
    if (status == VKMOE_OK) {
        *ids = e.ids.items;
        *count = e.ids.count;
    } else {
        vkm_free(t->allocator, e.ids.items);
    }
    return status;
}

vkmoe_status vkm_tokenizer_encode_barred(const vkmoe_tokenizer *t, const char *text, size_t size,
                                         const struct vkm_barred *barred, struct vkm_ids *ids,
                                         vkmoe_error *err)
{
    struct encoder e = {.tokenizer = t, .barred = barred, .ids = *ids, .err = err};
    size_t before = ids->count;
    vkmoe_status status = encode_text(&e, text, size, false);
    vkm_cutter_destroy(e.cutter);
    vkm_bpe_scratch_finish(&t->bpe, &e.scratch);
    *ids = e.ids;
    /* A vocabulary that takes whole pieces without merging them can still hold one. */
    for (size_t i = before; i < ids->count && status == VKMOE_OK; i++) {
        if (is_barred(&e, ids->items[i]))
            status = vkm_fail(err, VKMOE_UNSUPPORTED,
                              "the text spells the special token %d, which the tokenizer cannot "
                              "take apart",
                              ids->items[i]);
    }
    return status;
}

struct bytes {
    char *items;
    size_t count, capacity;
};

/* Appends what the id stands for; leaves room for one more byte. */
static vkmoe_status append_token(const vkmoe_tokenizer *t, int32_t id, bool special,
                                 struct bytes *out, vkmoe_error *err)
{
    const struct vkm_token *token = NULL;
    if (id >= 0 && (size_t)id < t->vocab.count && t->vocab.tokens[id].present)
        token = t->vocab.tokens + id;
    if (!token)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT, "the token id %d is not in the vocabulary",
                        id);
    if (token->special && !special)
        return VKMOE_OK;
    const char *text = t->vocab.text + token->start;
    if (!VKM_ARRAY_RESERVE(t->allocator, out, token->size + (size_t)1))
        return vkm_fail_memory(err, out->count, "decoded text");
    if (token->literal) {
        memcpy(out->items + out->count, text, token->size);
        out->count += token->size;
        return VKMOE_OK;
    }
    for (size_t at = 0; at < token->size;)
        out->items[out->count++] = (char)vkm_byte_level_take(text, token->size, &at);
    return VKMOE_OK;
}

vkmoe_status vkmoe_tokenizer_decode(const vkmoe_tokenizer *t, const int32_t *ids, size_t count,
                                    bool special, char **bytes, size_t *size, vkmoe_error *err)
{
    struct bytes out = {0};
    vkmoe_status status = VKMOE_OK;
    if (!t || (!ids && count > 0) || !bytes || !size)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "vkmoe_tokenizer_decode: the tokenizer, ids, bytes or size is NULL");
    *bytes = NULL;
    *size = 0;
    if (!VKM_ARRAY_RESERVE(t->allocator, &out, 1))
        return vkm_fail_memory(err, count, "decoded text");
    for (size_t i = 0; i < count && status == VKMOE_OK; i++)
        status = append_token(t, ids[i], special, &out, err);
    if (status != VKMOE_OK) {
        vkm_free(t->allocator, out.items);
        return status;
    }
    out.items[out.count] = '\0';
    *bytes = out.items;
    *size = out.count;
    return VKMOE_OK;
}

void vkmoe_tokenizer_free(const vkmoe_tokenizer *t, void *memory)
{
    if (t)
        vkm_free(t->allocator, memory);
}

int32_t vkmoe_tokenizer_size(const vkmoe_tokenizer *t)
{
    return (int32_t)t->vocab.count;
}

int32_t vkmoe_tokenizer_bos(const vkmoe_tokenizer *t)
{
    return t->bos;
}

int32_t vkmoe_tokenizer_eos(const vkmoe_tokenizer *t)
{
    return t->eos;
}
