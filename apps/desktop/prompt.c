#include "prompt.h"

#include <string.h>

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

/* --- which characters a token of a known text stands for --- */

static bool is_continuation(char byte)
{
    return ((guchar)byte & 0xc0) == 0x80;
}

static uint32_t characters(const char *bytes, size_t size)
{
    uint32_t n = 0;
    for (size_t i = 0; i < size; i++)
        n += !is_continuation(bytes[i]);
    return n;
}

/* How many of the text's next bytes the token stands for. Its end may be the beginning of the text,
 * and its beginning the text's end: markup and text can share a token. */
static size_t overlap(const char *piece, size_t size, const char *text, size_t at)
{
    size_t left = strlen(text + at);
    if (size <= left && memcmp(piece, text + at, size) == 0)
        return size;
    if (left > 0 && left < size && memcmp(piece, text + at, left) == 0)
        return left;
    for (size_t n = at == 0 ? size - 1 : 0; n > 0; n--)
        if (n <= left && memcmp(piece + size - n, text, n) == 0)
            return n;
    return 0;
}

/* Gives the tokens from `first` on the characters of the text of message `message`. */
static void place(GArray *tokens, guint first, uint32_t message, const char *text,
                  const vkmoe_tokenizer *tokenizer)
{
    size_t at = 0;
    uint32_t start = 0;
    for (guint i = first; i < tokens->len; i++) {
        MoeToken *token = &g_array_index(tokens, MoeToken, i);
        char *piece;
        size_t size;
        token->message = message;
        token->start = start;
        token->length = 0;
        if (vkmoe_tokenizer_decode(tokenizer, &token->id, 1, true, &piece, &size, NULL) != VKMOE_OK)
            continue;
        size_t n = size > 0 ? overlap(piece, size, text, at) : 0;
        vkmoe_tokenizer_free(tokenizer, piece);
        token->length = characters(text + at, n);
        start += token->length;
        at += n;
    }
}

static void append(MoePrompt *p, const int32_t *ids, size_t count, uint32_t message)
{
    for (size_t i = 0; i < count; i++) {
        const MoeToken token = {.id = ids[i], .position = p->ids->len, .message = message};
        g_array_append_val(p->ids, ids[i]);
        g_array_append_val(p->tokens, token);
    }
}

/* --- plain text --- */

static vkmoe_status continue_text(MoePrompt *p, const vkmoe_tokenizer *tokenizer,
                                  const GPtrArray *messages, vkmoe_error *err)
{
    for (guint i = 0; i < messages->len; i++) {
        const MoeMessage *m = g_ptr_array_index(messages, i);
        guint first = p->tokens->len;
        if (m->tokens && i > 0) {
            append(p, (const int32_t *)(gpointer)m->tokens->data, m->tokens->len, i);
        } else {
            int32_t *ids;
            size_t count;
            vkmoe_status status = vkmoe_tokenizer_encode(tokenizer, m->text, strlen(m->text),
                                                         i == 0, &ids, &count, err);
            if (status != VKMOE_OK)
                return status;
            append(p, ids, count, i);
            vkmoe_tokenizer_free(tokenizer, ids);
        }
        place(p->tokens, first, i, m->text, tokenizer);
    }
    return VKMOE_OK;
}

/* --- a conversation --- */

static vkmoe_chat_message as_said(const MoeMessage *m)
{
    return (vkmoe_chat_message){
        .role = m->role,
        .text = m->text,
        .size = strlen(m->text),
        .tokens = m->tokens ? (const int32_t *)(gpointer)m->tokens->data : NULL,
        .n_tokens = m->tokens ? m->tokens->len : 0,
    };
}

/* Where the text of message `index` begins: where a conversation that ends with an empty one in
 * its place parts from the whole. */
static vkmoe_status find_text(const MoePrompt *p, const vkmoe_tokenizer *tokenizer,
                              vkmoe_chat_template chat_template, vkmoe_chat_message *said,
                              guint index, guint *first, vkmoe_error *err)
{
    const vkmoe_chat_message whole = said[index];
    int32_t *ids;
    size_t count;
    said[index] = (vkmoe_chat_message){.role = whole.role, .text = ""};
    vkmoe_status status =
        vkmoe_chat_render(chat_template, tokenizer, said, index + 1, false, &ids, &count, err);
    said[index] = whole;
    if (status != VKMOE_OK)
        return status;
    *first = 0;
    while (*first < count && *first < p->ids->len &&
           ids[*first] == g_array_index(p->ids, int32_t, *first))
        ++*first;
    vkmoe_tokenizer_free(tokenizer, ids);
    return VKMOE_OK;
}

static vkmoe_status lay_out(MoePrompt *p, const vkmoe_tokenizer *tokenizer,
                            vkmoe_chat_template chat_template, const GPtrArray *messages,
                            vkmoe_error *err)
{
    guint n = messages->len;
    g_autofree vkmoe_chat_message *said = g_new0(vkmoe_chat_message, n);
    int32_t *ids;
    size_t count;
    for (guint i = 0; i < n; i++)
        said[i] = as_said(g_ptr_array_index(messages, i));
    vkmoe_status status =
        vkmoe_chat_render(chat_template, tokenizer, said, n, true, &ids, &count, err);
    if (status != VKMOE_OK)
        return status;
    append(p, ids, count, n);
    vkmoe_tokenizer_free(tokenizer, ids);
    for (guint i = 0; i < n; i++) {
        guint first;
        status = find_text(p, tokenizer, chat_template, said, i, &first, err);
        if (status != VKMOE_OK)
            return status;
        place(p->tokens, first, i, said[i].text, tokenizer);
    }
    return VKMOE_OK;
}

vkmoe_status moe_prompt_init(MoePrompt *out, const vkmoe_tokenizer *tokenizer, bool chat,
                             vkmoe_chat_template chat_template, const GPtrArray *messages,
                             vkmoe_error *err)
{
    MoePrompt p = {.ids = g_array_new(FALSE, FALSE, sizeof(int32_t)),
                   .tokens = g_array_new(FALSE, FALSE, sizeof(MoeToken))};
    vkmoe_status status = chat ? lay_out(&p, tokenizer, chat_template, messages, err)
                               : continue_text(&p, tokenizer, messages, err);
    if (status == VKMOE_OK)
        *out = p;
    else
        moe_prompt_clear(&p);
    return status;
}

void moe_prompt_clear(MoePrompt *prompt)
{
    g_clear_pointer(&prompt->ids, g_array_unref);
    g_clear_pointer(&prompt->tokens, g_array_unref);
}

void moe_prompt_trim(MoePrompt *prompt)
{
    guint n = prompt->tokens->len;
    while (n > 0 && g_array_index(prompt->tokens, MoeToken, n - 1).length == 0)
        n--;
    g_array_set_size(prompt->tokens, n);
    g_array_set_size(prompt->ids, n);
}

/* --- text as it comes --- */

/* Appends one character, or U+FFFD for a byte that is none; returns the bytes used, 0 if more must
 * come first. */
static guint take_character(MoePieces *p, GString *text, bool last)
{
    const char *bytes = (const char *)p->bytes->data;
    gunichar c = g_utf8_get_char_validated(bytes, (gssize)p->bytes->len);
    if (c == (gunichar)-2 && !last)
        return 0;
    bool whole = c != (gunichar)-1 && c != (gunichar)-2 && c != 0;
    if (whole && p->trim && p->length == 0 && g_unichar_isspace(c))
        return (guint)g_unichar_to_utf8(c, NULL);
    if (whole)
        g_string_append_unichar(text, c);
    else
        g_string_append(text, REPLACEMENT);
    p->length++;
    return whole ? (guint)g_unichar_to_utf8(c, NULL) : 1;
}

static void take_characters(MoePieces *p, GString *text, bool last)
{
    guint used;
    while (p->bytes && p->bytes->len > 0 && (used = take_character(p, text, last)) > 0)
        g_byte_array_remove_range(p->bytes, 0, used);
}

void moe_pieces_add(MoePieces *pieces, int32_t id, GString *text, MoeToken *token)
{
    char *bytes;
    size_t size;
    token->start = pieces->length;
    token->length = 0;
    if (!pieces->bytes)
        pieces->bytes = g_byte_array_new();
    /* An id beyond the tokenizer's has no text. */
    if (vkmoe_tokenizer_decode(pieces->tokenizer, &id, 1, false, &bytes, &size, NULL) != VKMOE_OK)
        return;
    g_byte_array_append(pieces->bytes, (const guint8 *)bytes, (guint)size);
    vkmoe_tokenizer_free(pieces->tokenizer, bytes);
    take_characters(pieces, text, false);
    token->length = pieces->length - token->start;
}

void moe_pieces_finish(MoePieces *pieces, GString *text)
{
    take_characters(pieces, text, true);
    g_clear_pointer(&pieces->bytes, g_byte_array_unref);
}
