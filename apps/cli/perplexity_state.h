/* How far a measurement of perplexity is, in a file. */
#ifndef VKMOE_CLI_PERPLEXITY_STATE_H
#define VKMOE_CLI_PERPLEXITY_STATE_H

#include <stdbool.h>
#include <stddef.h>

#include <vkmoe/eval.h>

struct perplexity_state {
    const char *model; /* the caller's */
    char text[17];     /* a hash of its tokens, in hexadecimal */
    uint32_t context, stride;
    char *routing;       /* of cli_routing_text */
    const char *weights; /* as --weights calls them; static storage */
    const char *kv;      /* as --kv calls it; static storage */
    int32_t bos;         /* that windows begin with; -1: none does */
    vkmoe_perplexity result;
};

/* Notes the model and the text. */
void perplexity_state_identify(struct perplexity_state *s, const char *model, const int32_t *ids,
                               size_t count);
/* Reads s->result from a file that was written for the same model, text, windows, routing,
 * weights and cache; *found is false where there is no such file. False after saying what is wrong.
 */
bool perplexity_state_read(struct perplexity_state *s, const char *path, bool *found);
/* Writes it, whole or not at all. Returns an exit code, after saying why. */
int perplexity_state_write(const struct perplexity_state *s, const char *path);

#endif
