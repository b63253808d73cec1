/* Tokens as they come, turned into text that may be shown at once. */
#ifndef VKMOE_CLI_STREAM_H
#define VKMOE_CLI_STREAM_H

#include <vkmoe/tokenizer.h>

/* Set up by the caller: tokenizer to `user`, the rest zero. */
struct cli_stream {
    const vkmoe_tokenizer *tokenizer;
    const char *const *stops; /* the text ends before any of these, none of them empty */
    size_t n_stops;
    bool trim_start; /* white space before the text is dropped */
    /* Gets the text piece by piece, each of whole characters; false: no more is wanted. */
    bool (*write)(void *user, const char *text, size_t size);
    void *user;

    bool stopped; /* by one of `stops` */
    bool out_of_memory;
    bool begun;    /* past the white space that trim_start drops */
    char bytes[4]; /* a character that is not complete yet */
    size_t n_bytes;
    char *held; /* text that may be the beginning of a stop */
    size_t n_held, capacity;
};

/* Takes a token. Bytes that are no UTF-8 become U+FFFD each; what may be half a character, or the
 * beginning of a stop, waits for the next. Returns whether more is wanted. */
bool cli_stream_token(struct cli_stream *s, int32_t token);
/* The same for bytes. */
bool cli_stream_bytes(struct cli_stream *s, const char *bytes, size_t size);
/* Writes what still waits, a half character as U+FFFD, and releases memory; s can be used again. */
void cli_stream_finish(struct cli_stream *s);

#endif
