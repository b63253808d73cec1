#include "stream.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "array.h"

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

/* How much of the end of the held text is the beginning of a stop. */
static size_t unsure(const struct cli_stream *s)
{
    size_t longest = 0;
    for (size_t i = 0; i < s->n_stops; i++) {
        size_t n = strlen(s->stops[i]) - 1;
        for (n = n < s->n_held ? n : s->n_held; n > longest; n--) {
            if (memcmp(s->held + s->n_held - n, s->stops[i], n) == 0)
                longest = n;
        }
    }
    return longest;
}

/* Where in the held text the first stop begins, or its end. */
static size_t find_stop(struct cli_stream *s)
{
    for (size_t at = 0; at < s->n_held; at++) {
        for (size_t i = 0; i < s->n_stops; i++) {
            size_t n = strlen(s->stops[i]);
            if (n <= s->n_held - at && memcmp(s->held + at, s->stops[i], n) == 0) {
                s->stopped = true;
                return at;
            }
        }
    }
    return s->n_held;
}

static bool write_held(struct cli_stream *s, size_t size)
{
    if (size == 0)
        return true;
    bool more = s->write(s->user, s->held, size);
    memmove(s->held, s->held + size, s->n_held - size);
    s->n_held -= size;
    return more;
}

static bool release(struct cli_stream *s)
{
    size_t end = find_stop(s);
    if (s->stopped) {
        write_held(s, end);
        s->n_held = 0;
        return false;
    }
    return write_held(s, end - unsure(s));
}

static bool is_space(const char *character, size_t size)
{
    return size == 1 && strchr(" \t\r\n", *character) && *character;
}

static bool hold(struct cli_stream *s, const char *text, size_t size)
{
    if (s->trim_start && !s->begun && is_space(text, size))
        return true;
    s->begun = true;
    char *grown = cli_reserve(s->held, s->n_held, &s->capacity, size, 1);
    if (!grown) {
        s->out_of_memory = true;
        return false;
    }
    s->held = grown;
    memcpy(s->held + s->n_held, text, size);
    s->n_held += size;
    return true;
}

/* Whether more bytes could make a character of these. */
static bool is_beginning(const char *bytes, size_t size)
{
    unsigned char lead = (unsigned char)bytes[0];
    size_t length = lead < 0xc2 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 1;
    for (size_t i = 1; i < size; i++) {
        if (((unsigned char)bytes[i] & 0xc0) != 0x80)
            return false;
    }
    return size < length;
}

/* Holds the characters that the gathered bytes make; with `all`, none are left. */
static bool take_characters(struct cli_stream *s, bool all)
{
    bool more = true;
    while (s->n_bytes > 0 && more) {
        utf8proc_int32_t codepoint;
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)s->bytes,
                                              (utf8proc_ssize_t)s->n_bytes, &codepoint);
        if (n <= 0 && !all && is_beginning(s->bytes, s->n_bytes))
            break;
        more = n > 0 ? hold(s, s->bytes, (size_t)n) : hold(s, REPLACEMENT, 3);
        size_t used = n > 0 ? (size_t)n : 1;
        s->n_bytes -= used;
        memmove(s->bytes, s->bytes + used, s->n_bytes);
    }
    return more;
}

bool cli_stream_bytes(struct cli_stream *s, const char *bytes, size_t size)
{
    bool more = !s->stopped;
    for (size_t i = 0; i < size && more; i++) {
        s->bytes[s->n_bytes++] = bytes[i];
        more = take_characters(s, false);
    }
    return more && release(s);
}

bool cli_stream_token(struct cli_stream *s, int32_t token)
{
    char *bytes;
    size_t size;
    vkmoe_error err;
    vkmoe_status status =
        vkmoe_tokenizer_decode(s->tokenizer, &token, 1, false, &bytes, &size, &err);
    if (status != VKMOE_OK) { /* an id beyond the tokenizer's has no text */
        s->out_of_memory = s->out_of_memory || status == VKMOE_OUT_OF_HOST_MEMORY;
        return !s->out_of_memory;
    }
    bool more = cli_stream_bytes(s, bytes, size);
    vkmoe_tokenizer_free(s->tokenizer, bytes);
    return more;
}

void cli_stream_finish(struct cli_stream *s)
{
    if (!s->stopped && take_characters(s, true) && release(s))
        write_held(s, s->n_held);
    free(s->held);
    s->held = NULL;
    s->n_held = s->capacity = s->n_bytes = 0;
    s->begun = false;
}
