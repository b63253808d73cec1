#include "trace_file.h"

#include <stdlib.h>
#include <string.h>

static bool ends_in(const char *path, const char *ending)
{
    size_t n = strlen(path), of = strlen(ending);
    return n > of && strcmp(path + n - of, ending) == 0;
}

enum trace_kind trace_kind_of(const char *path)
{
    return strcmp(path, "-") == 0 || ends_in(path, ".jsonl") ? TRACE_JSON_LINES
           : ends_in(path, ".safetensors")                   ? TRACE_SAFETENSORS
                                                             : TRACE_NONE;
}

int trace_file_open(struct trace_file *f, size_t most)
{
    size_t n = (size_t)f->layers * f->ranks;
    if (f->kind == TRACE_JSON_LINES)
        return cli_file_open(&f->lines, strcmp(f->path, "-") == 0 ? NULL : f->path);
    if (f->kind == TRACE_NONE)
        return EXIT_DONE;
    int code = cli_try_file(f->path);
    if (code != EXIT_DONE)
        return code;
    f->most = most;
    f->tokens = calloc(most, sizeof(*f->tokens));
    f->ids = calloc(most, n * sizeof(*f->ids));
    f->gates = calloc(most, n * sizeof(*f->gates));
    f->probs = calloc(most, n * sizeof(*f->probs));
    return f->tokens && f->ids && f->gates && f->probs
               ? EXIT_DONE
               : cli_fail("host memory ran out for the routes of %zu tokens; .jsonl needs none",
                          most);
}

/* --- JSON lines --- */

static json_t *numbers(const float *values, uint32_t n)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < n; i++)
        json_array_append_new(array, json_real((double)values[i]));
    return array;
}

static json_t *layer_json(const struct trace_file *f, uint32_t layer, const vkmoe_routes *r,
                          uint32_t token)
{
    size_t at = ((size_t)layer * r->count + token) * r->ranks;
    uint32_t n = 0;
    json_t *ids = json_array();
    for (; n < r->ranks && r->ids[at + n] >= 0; n++)
        json_array_append_new(ids, json_integer(r->ids[at + n]));
    return json_pack("{s:i, s:o, s:o, s:o}", "layer", (int)vkmoe_model_moe_layer(f->model, layer),
                     "ids", ids, "gates", numbers(r->gates + at, n), "probs",
                     numbers(r->probs + at, n));
}

/* The bytes of one token, those that are no UTF-8 replaced; NULL: memory ran out. */
static json_t *token_text(const struct trace_file *f, int32_t token)
{
    vkmoe_error err;
    char *bytes;
    size_t size;
    if (vkmoe_tokenizer_decode(f->tokenizer, &token, 1, true, &bytes, &size, &err) != VKMOE_OK)
        return json_null(); /* of the model's vocabulary, but not of the tokenizer's */
    json_t *text = cli_json_text(bytes);
    vkmoe_tokenizer_free(f->tokenizer, bytes);
    return text;
}

static bool write_line(struct trace_file *f, const struct trace_run *run, const vkmoe_routes *r,
                       uint32_t index)
{
    const size_t flags = JSON_COMPACT | JSON_REAL_PRECISION(9);
    size_t position = (size_t)r->first + index;
    json_t *layers = json_array();
    for (uint32_t l = 0; l < f->layers; l++)
        json_array_append_new(layers, layer_json(f, l, r, index));
    json_t *line = json_pack("{s:I, s:I, s:i, s:o, s:b, s:o}", "sequence",
                             (json_int_t)run->sequence, "position", (json_int_t)position, "token",
                             (int)run->tokens[index], "text", token_text(f, run->tokens[index]),
                             "generated", position >= run->given, "layers", layers);
    char *text = line ? json_dumps(line, flags) : NULL;
    size_t n = text ? strlen(text) : 0;
    if (text) {
        text[n] = '\n'; /* in place of the zero */
        cli_file_write(&f->lines, text, n + 1);
    }
    free(text);
    json_decref(line);
    return n > 0;
}

/* --- safetensors --- */

static void keep(struct trace_file *f, const struct trace_run *run, const vkmoe_routes *r)
{
    size_t row = r->ranks;
    memcpy(f->tokens + f->count, run->tokens, r->count * sizeof(*f->tokens));
    for (size_t l = 0; l < f->layers; l++) {
        size_t to = (l * f->most + f->count) * row, from = l * r->count * row;
        memcpy(f->ids + to, r->ids + from, r->count * row * sizeof(*f->ids));
        memcpy(f->gates + to, r->gates + from, r->count * row * sizeof(*f->gates));
        memcpy(f->probs + to, r->probs + from, r->count * row * sizeof(*f->probs));
    }
    f->count += r->count;
}

/* Closes the gaps that are left where there were fewer tokens than expected. */
static void pack(struct trace_file *f)
{
    size_t row = f->ranks, n = f->count * row;
    for (size_t l = 1; l < f->layers; l++) {
        memmove(f->ids + l * n, f->ids + l * f->most * row, n * sizeof(*f->ids));
        memmove(f->gates + l * n, f->gates + l * f->most * row, n * sizeof(*f->gates));
        memmove(f->probs + l * n, f->probs + l * f->most * row, n * sizeof(*f->probs));
    }
}

static int write_safetensors(struct trace_file *f)
{
    vkmoe_error err;
    pack(f);
    const vkmoe_routes routes = {.count = (uint32_t)f->count,
                                 .ranks = f->ranks,
                                 .ids = f->ids,
                                 .gates = f->gates,
                                 .probs = f->probs};
    return vkmoe_routes_write(f->model, f->tokens, &routes, f->path, &err) == VKMOE_OK
               ? EXIT_DONE
               : cli_failed(&err);
}

/* --- both --- */

int trace_file_add(struct trace_file *f, const struct trace_run *run, const vkmoe_routes *routes)
{
    if (f->kind == TRACE_SAFETENSORS)
        keep(f, run, routes);
    for (uint32_t i = 0; f->kind == TRACE_JSON_LINES && i < routes->count; i++)
        if (!write_line(f, run, routes, i))
            return cli_fail("host memory ran out for a line of JSON");
    return f->kind == TRACE_JSON_LINES && f->lines.error ? cli_file_commit(&f->lines) : EXIT_DONE;
}

int trace_file_commit(struct trace_file *f)
{
    return f->kind == TRACE_JSON_LINES    ? cli_file_commit(&f->lines)
           : f->kind == TRACE_SAFETENSORS ? write_safetensors(f)
                                          : EXIT_DONE;
}

void trace_file_close(struct trace_file *f)
{
    cli_file_abort(&f->lines);
    free(f->tokens);
    free(f->ids);
    free(f->gates);
    free(f->probs);
    f->tokens = f->ids = NULL;
    f->gates = f->probs = NULL;
}
