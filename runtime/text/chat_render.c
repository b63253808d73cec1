/* Conversations in the layout of each chat template, as token ids. */
#include <string.h>

#include "base/array.h"
#include "text/tokenizer.h"
#include "text/unicode.h"
#include "vkmoe/chat.h"

/* In a layout these bytes stand for tokens. */
#define BOS "\1"
#define EOS "\2"
#define IM_START "\3"
#define IM_END "\4"

struct layout {
    bool always_bos;     /* first of all; else where the tokenizer's configuration asks for it */
    bool bos_in_turn;    /* no other than that of each turn */
    bool trim;           /* white space around messages */
    bool system_in_user; /* the system prompt stands inside the first user's message */
    const char *system[2], *user[2], *before_answer; /* around messages */
    const char *space; /* between before_answer and an answer's text; generated tokens have it */
    const char *end;   /* of an answer */
    bool im_end;       /* is what the model ends an answer with; else EOS is */
};

static const struct layout layouts[] = {
    [VKMOE_CHAT_PLAIN] =
        {.system = {"", "\n"}, .user = {"", ""}, .before_answer = "", .space = "", .end = "\n"},
    [VKMOE_CHAT_DEEPSEEK] = {.always_bos = true,
                             .system = {"", "\n\n"},
                             .user = {"User: ", "\n\n"},
                             .before_answer = "Assistant:",
                             .space = " ",
                             .end = EOS},
    [VKMOE_CHAT_CHATML] = {.system = {IM_START "system\n", IM_END "\n"},
                           .user = {IM_START "user\n", IM_END "\n"},
                           .before_answer = IM_START "assistant\n",
                           .space = "",
                           .end = IM_END "\n",
                           .im_end = true},
    [VKMOE_CHAT_LLAMA2] = {.bos_in_turn = true,
                           .trim = true,
                           .system_in_user = true,
                           .system = {"<<SYS>>\n", "\n<</SYS>>\n\n"},
                           .user = {BOS "[INST] ", " [/INST]"},
                           .before_answer = "",
                           .space = " ",
                           .end = " " EOS},
};

/* Text gathers until a token cuts it, so that words join across the borders of messages as they
 * did in training. */
struct renderer {
    const vkmoe_tokenizer *tokenizer;
    vkmoe_chat_template chat_template;
    int32_t im[2]; /* the ids of IM_START and IM_END, -1: none */
    struct {
        char *items;
        size_t count, capacity;
    } text;
    struct vkm_ids ids;
    vkmoe_status status; /* sticks */
    vkmoe_error *err;
};

static int32_t find_token(const vkmoe_tokenizer *t, const char *text)
{
    return vkm_vocab_find(&t->vocab, text, strlen(text));
}

static void put_text(struct renderer *r, const char *text, size_t size)
{
    if (r->status != VKMOE_OK || size == 0)
        return;
    if (!VKM_ARRAY_RESERVE(r->tokenizer->allocator, &r->text, size)) {
        r->status = vkm_fail_memory(r->err, size, "a conversation");
        return;
    }
    memcpy(r->text.items + r->text.count, text, size);
    r->text.count += size;
}

static void flush(struct renderer *r)
{
    const struct vkm_barred barred = {r->im, VKM_COUNT(r->im)};
    if (r->status == VKMOE_OK && r->text.count > 0)
        r->status = vkm_tokenizer_encode_barred(r->tokenizer, r->text.items, r->text.count, &barred,
                                                &r->ids, r->err);
    r->text.count = 0;
}

static void put_ids(struct renderer *r, const int32_t *ids, size_t n)
{
    flush(r);
    if (r->status != VKMOE_OK || n == 0)
        return;
    if (!VKM_ARRAY_RESERVE(r->tokenizer->allocator, &r->ids, n)) {
        r->status = vkm_fail_memory(r->err, n * sizeof(*ids), "a conversation");
        return;
    }
    memcpy(r->ids.items + r->ids.count, ids, n * sizeof(*ids));
    r->ids.count += n;
}

static int32_t token_of(const struct renderer *r, char marker, const char **name)
{
    static const char *const marker_names[] = {"BOS", "EOS", "<|im_start|>", "<|im_end|>"};
    const int32_t ids[] = {r->tokenizer->bos, r->tokenizer->eos, r->im[0], r->im[1]};
    *name = marker_names[marker - BOS[0]];
    return ids[marker - BOS[0]];
}

/* A piece of a layout: text with tokens in it. */
static void put_markup(struct renderer *r, const char *markup)
{
    const char *name;
    while (*markup && r->status == VKMOE_OK) {
        size_t n = strcspn(markup, BOS EOS IM_START IM_END);
        put_text(r, markup, n);
        markup += n;
        if (!*markup)
            break;
        int32_t id = token_of(r, *markup++, &name);
        if (id < 0)
            r->status =
                vkm_fail(r->err, VKMOE_UNSUPPORTED,
                         "the chat template %s needs the token %s, which the tokenizer does "
                         "not have",
                         vkmoe_chat_template_name(r->chat_template), name);
        else
            put_ids(r, &id, 1);
    }
}

static void put_message_text(struct renderer *r, const vkmoe_chat_message *m, bool trim_start,
                             bool trim_end)
{
    size_t start = 0, end = m->size;
    while (trim_start && start < end && vkm_is_space(m->text + start))
        start += vkm_utf8_length(m->text[start]);
    while (trim_end && end > start && vkm_is_space(m->text + vkm_utf8_previous(m->text, end)))
        end = vkm_utf8_previous(m->text, end);
    put_text(r, m->text + start, end - start);
}

static void put_message(struct renderer *r, const struct layout *l, const vkmoe_chat_message *m,
                        const vkmoe_chat_message *system)
{
    switch (m->role) {
    case VKMOE_CHAT_SYSTEM:
        put_markup(r, l->system[0]);
        put_message_text(r, m, false, false);
        put_markup(r, l->system[1]);
        break;
    case VKMOE_CHAT_USER:
        put_markup(r, l->user[0]);
        if (system)
            put_message(r, l, system, NULL);
        put_message_text(r, m, l->trim && !system, l->trim);
        put_markup(r, l->user[1]);
        break;
    case VKMOE_CHAT_ASSISTANT:
        put_markup(r, l->before_answer);
        if (m->tokens) {
            put_ids(r, m->tokens, m->n_tokens);
        } else {
            put_markup(r, l->space);
            put_message_text(r, m, l->trim, l->trim);
        }
        put_markup(r, l->end);
        break;
    }
}

static vkmoe_status check_message(const vkmoe_chat_message *m, size_t index, vkmoe_error *err)
{
    if ((!m->text && m->size > 0) || (!m->tokens && m->n_tokens > 0) ||
        (unsigned)m->role > VKMOE_CHAT_ASSISTANT)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "message %zu of the conversation has no text or no known role", index + 1);
    if (m->role == VKMOE_CHAT_SYSTEM && index > 0)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "message %zu of the conversation is a system message, which is allowed as "
                        "the first only",
                        index + 1);
    size_t bad = vkm_utf8_check(m->text, m->size);
    if (bad < m->size)
        return vkm_fail(err, VKMOE_BAD_FORMAT, "the message is not UTF-8 at byte offset %zu", bad);
    return VKMOE_OK;
}

static void render(struct renderer *r, const vkmoe_chat_message *messages, size_t n, bool answer)
{
    const struct layout *l = &layouts[r->chat_template];
    const vkmoe_chat_message *system = NULL;
    const vkmoe_tokenizer *t = r->tokenizer;
    for (size_t i = 0; i < n && r->status == VKMOE_OK; i++)
        r->status = check_message(&messages[i], i, r->err);
    if (l->always_bos || (!l->bos_in_turn && t->add_bos && t->bos >= 0))
        put_markup(r, BOS);
    for (size_t i = 0; i < n && r->status == VKMOE_OK; i++) {
        const vkmoe_chat_message *m = &messages[i];
        if (m->role == VKMOE_CHAT_SYSTEM && l->system_in_user) {
            system = m;
            continue;
        }
        put_message(r, l, m, system);
        system = NULL;
    }
    if (answer)
        put_markup(r, l->before_answer);
    flush(r);
}

vkmoe_status vkmoe_chat_render(vkmoe_chat_template chat_template, const vkmoe_tokenizer *tokenizer,
                               const vkmoe_chat_message *messages, size_t n, bool answer,
                               int32_t **ids, size_t *count, vkmoe_error *err)
{
    if (!tokenizer || (!messages && n > 0) || !ids || !count ||
        (size_t)chat_template >= VKM_COUNT(layouts))
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "vkmoe_chat_render: the template is unknown, or the tokenizer, messages, "
                        "ids or count is NULL");
    struct renderer r = {.tokenizer = tokenizer, .chat_template = chat_template, .err = err};
    r.im[0] = find_token(tokenizer, "<|im_start|>");
    r.im[1] = find_token(tokenizer, "<|im_end|>");
    render(&r, messages, n, answer);
    vkm_free(tokenizer->allocator, r.text.items);
    if (r.status != VKMOE_OK) {
        vkm_free(tokenizer->allocator, r.ids.items);
        r.ids.items = NULL;
        r.ids.count = 0;
    }
    *ids = r.ids.items;
    *count = r.ids.count;
    return r.status;
}

int32_t vkmoe_chat_end_token(vkmoe_chat_template chat_template, const vkmoe_tokenizer *tokenizer)
{
    if ((size_t)chat_template < VKM_COUNT(layouts) && layouts[chat_template].im_end)
        return find_token(tokenizer, "<|im_end|>");
    return tokenizer->eos;
}
