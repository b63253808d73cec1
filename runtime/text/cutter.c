#include <string.h>

#include "base/array.h"
#include "text/pretokenizer_steps.h"
#include "text/unicode.h"

struct vkm_cutter {
    const struct vkm_pretokenizer *steps;
    pcre2_match_data *match;
    struct {
        char *items;
        size_t count, capacity;
    } prefixed; /* a piece with a space before it */
    vkm_piece_fn emit;
    void *user;
    vkmoe_error *err;
};

/* A stretch of text that may still grow before it becomes a piece. */
struct stretch {
    size_t start, end;
    bool match; /* of the last part that it took in */
    bool open;
};

static vkmoe_status run_from(struct vkm_cutter *c, size_t step, const char *text, size_t size);

static bool joins(enum vkm_split_behaviour behaviour, bool previous, bool match)
{
    switch (behaviour) {
    case VKM_SPLIT_MERGED_WITH_PREVIOUS:
        return !previous && match;
    case VKM_SPLIT_MERGED_WITH_NEXT:
        return previous && !match;
    case VKM_SPLIT_CONTIGUOUS:
        return previous == match;
    case VKM_SPLIT_ISOLATED:
    case VKM_SPLIT_REMOVED:
        break;
    }
    return false;
}

static vkmoe_status close_stretch(struct vkm_cutter *c, size_t step, const char *text,
                                  const struct stretch *s)
{
    bool removed = s->match && c->steps->items[step].behaviour == VKM_SPLIT_REMOVED;
    if (!s->open || removed)
        return VKMOE_OK;
    return run_from(c, step + 1, text + s->start, s->end - s->start);
}

/* Takes in the next part of the text, [start, end). */
static vkmoe_status take(struct vkm_cutter *c, size_t step, const char *text, struct stretch *s,
                         size_t start, size_t end, bool match)
{
    const struct vkm_split *split = c->steps->items + step;
    vkmoe_status status = VKMOE_OK;
    match = match != split->invert;
    if (s->open && joins(split->behaviour, s->match, match)) {
        s->end = end;
        s->match = match;
        return VKMOE_OK;
    }
    status = close_stretch(c, step, text, s);
    *s = (struct stretch){.start = start, .end = end, .match = match, .open = true};
    return status;
}

static vkmoe_status no_match(struct vkm_cutter *c, int result)
{
    char reason[160];
    if (result == PCRE2_ERROR_NOMEMORY)
        return vkm_fail_memory(c->err, 0, "matching a Split pattern");
    pcre2_get_error_message(result, (PCRE2_UCHAR *)reason, sizeof(reason));
    return vkm_fail(c->err, VKMOE_UNSUPPORTED,
                    "a Split pattern of the tokenizer cannot be matched against this text: %s",
                    reason);
}

/* The first match at or after `from`; *found is false where there is none. */
static vkmoe_status find(struct vkm_cutter *c, const pcre2_code *code, const char *text,
                         size_t size, size_t from, size_t span[2], bool *found)
{
    PCRE2_SPTR subject = (PCRE2_SPTR)text;
    uint32_t options = PCRE2_NO_UTF_CHECK;
    int result = pcre2_match(code, subject, size, from, options, c->match, NULL);
    if (result == PCRE2_ERROR_JIT_STACKLIMIT)
        result = pcre2_match(code, subject, size, from, options | PCRE2_NO_JIT, c->match, NULL);
    *found = result >= 0;
    if (!*found)
        return result == PCRE2_ERROR_NOMATCH ? VKMOE_OK : no_match(c, result);
    const size_t *vector = pcre2_get_ovector_pointer(c->match);
    span[0] = vector[0];
    span[1] = vector[1];
    if (span[0] < from || span[1] < span[0]) /* \K can do that */
        return no_match(c, PCRE2_ERROR_INTERNAL);
    return VKMOE_OK;
}

static vkmoe_status split(struct vkm_cutter *c, size_t step, const char *text, size_t size)
{
    const struct vkm_split *split = c->steps->items + step;
    struct stretch stretch = {0};
    size_t from = 0, done = 0;
    vkmoe_status status = VKMOE_OK;
    while (status == VKMOE_OK && (from < size || (from == size && split->matches_empty))) {
        size_t span[2];
        bool found;
        status = find(c, split->code, text, size, from, span, &found);
        if (status != VKMOE_OK || !found)
            break;
        from = span[1];
        if (span[0] == span[1]) {
            from += from < size ? vkm_utf8_length(text[from]) : 1;
            if (span[0] == done && done > 0) /* no match: it touches the one before */
                continue;
        }
        if (done < span[0])
            status = take(c, step, text, &stretch, done, span[0], false);
        if (status == VKMOE_OK)
            status = take(c, step, text, &stretch, span[0], span[1], true);
        done = span[1];
    }
    if (status == VKMOE_OK && done < size)
        status = take(c, step, text, &stretch, done, size, false);
    return status == VKMOE_OK ? close_stretch(c, step, text, &stretch) : status;
}

/* ByteLevel's only: so one buffer is enough. */
static vkmoe_status prefix(struct vkm_cutter *c, size_t step, const char *text, size_t size)
{
    if (text[0] == ' ')
        return run_from(c, step + 1, text, size);
    if (!VKM_ARRAY_RESERVE(c->steps->allocator, &c->prefixed, size + 1))
        return vkm_fail_memory(c->err, size, "a piece of text");
    c->prefixed.items[0] = ' ';
    memcpy(c->prefixed.items + 1, text, size);
    return run_from(c, step + 1, c->prefixed.items, size + 1);
}

static vkmoe_status run_from(struct vkm_cutter *c, size_t step, const char *text, size_t size)
{
    if (size == 0)
        return VKMOE_OK;
    if (step == c->steps->count)
        return c->emit(c->user, text, size);
    return c->steps->items[step].code ? split(c, step, text, size) : prefix(c, step, text, size);
}

vkmoe_status vkm_cutter_run(struct vkm_cutter *c, const char *text, size_t size, vkm_piece_fn emit,
                            void *user, vkmoe_error *err)
{
    c->emit = emit;
    c->user = user;
    c->err = err;
    return run_from(c, 0, text, size);
}

vkmoe_status vkm_cutter_create(const struct vkm_pretokenizer *p, struct vkm_cutter **out,
                               vkmoe_error *err)
{
    struct vkm_cutter *c = vkm_calloc(p->allocator, 1, sizeof(*c));
    if (!c)
        return vkm_fail_memory(err, sizeof(*c), "splitting text");
    c->steps = p;
    c->match = pcre2_match_data_create(1, p->memory);
    if (!c->match) {
        vkm_cutter_destroy(c);
        return vkm_fail_memory(err, sizeof(*c), "splitting text");
    }
    *out = c;
    return VKMOE_OK;
}

void vkm_cutter_destroy(struct vkm_cutter *c)
{
    if (!c)
        return;
    vkm_free(c->steps->allocator, c->prefixed.items);
    pcre2_match_data_free(c->match);
    vkm_free(c->steps->allocator, c);
}
