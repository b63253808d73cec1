/* Where `vkmoe trace` writes the experts of each token: JSON lines as they come, or one safetensors
 * file in the end. */
#ifndef VKMOE_CLI_TRACE_FILE_H
#define VKMOE_CLI_TRACE_FILE_H

#include "cli.h"
#include "output.h"

enum trace_kind { TRACE_NONE, TRACE_JSON_LINES, TRACE_SAFETENSORS };

/* By the file's ending; TRACE_NONE for an unknown one. "-" is JSON lines on stdout. */
enum trace_kind trace_kind_of(const char *path);

struct trace_file {
    enum trace_kind kind;
    const char *path;
    const vkmoe_model *model;
    const vkmoe_tokenizer *tokenizer;
    uint32_t layers, ranks;
    struct cli_file lines;

    /* safetensors: all of it, [layers, most, ranks] */
    size_t most, count;
    int32_t *tokens, *ids;
    float *gates, *probs;
};

/* What a run of tokens is, besides its routes. */
struct trace_run {
    const int32_t *tokens; /* [routes->count] */
    size_t sequence;       /* that they belong to */
    size_t given;          /* tokens at its beginning that are not generated */
};

/* For at most `most` tokens; kind, path, model, tokenizer, layers and ranks are set. Returns an
 * exit code, after saying why. */
int trace_file_open(struct trace_file *f, size_t most);
/* Adds a run; an exit code likewise. */
int trace_file_add(struct trace_file *f, const struct trace_run *run, const vkmoe_routes *routes);
/* The file appears; an exit code likewise. */
int trace_file_commit(struct trace_file *f);
void trace_file_close(struct trace_file *f); /* in any case; drops what was not committed */

#endif
