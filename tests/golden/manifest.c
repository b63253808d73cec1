#include "manifest.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *member(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    if (!value)
        fail_msg("the golden manifest has no \"%s\" where it should", key);
    return value;
}

static char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(member(object, key));
    assert_non_null(text);
    return strdup(text);
}

static int32_t *ids_of(const json_t *object, size_t *count)
{
    const json_t *list = member(object, "ids");
    *count = json_array_size(list);
    int32_t *ids = calloc(*count + 1, sizeof(*ids));
    assert_non_null(ids);
    for (size_t i = 0; i < *count; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
    return ids;
}

static void *array_of(const json_t *list, size_t size, size_t *count)
{
    *count = json_array_size(list);
    assert_true(*count > 0);
    void *items = calloc(*count, size);
    assert_non_null(items);
    return items;
}

static void load_cases(struct golden *g, const json_t *list)
{
    g->cases = array_of(list, sizeof(*g->cases), &g->n_cases);
    for (size_t i = 0; i < g->n_cases; i++) {
        const json_t *item = json_array_get(list, i);
        struct golden_case *c = &g->cases[i];
        char path[4096];
        c->name = text_of(item, "name");
        c->text = text_of(item, "text");
        c->ids = ids_of(item, &c->n_ids);
        snprintf(path, sizeof(path), "%s/%s", VKMOE_GOLDEN,
                 json_string_value(member(item, "file")));
        c->trace = test_trace_read(path);
        assert_int_equal(c->trace.count, c->n_ids);
        assert_memory_equal(c->trace.tokens, c->ids, c->n_ids * sizeof(*c->ids));
    }
}

static void load_greedy(struct golden *g, const json_t *list)
{
    g->greedy = array_of(list, sizeof(*g->greedy), &g->n_greedy);
    for (size_t i = 0; i < g->n_greedy; i++) {
        const json_t *item = json_array_get(list, i);
        struct golden_greedy *c = &g->greedy[i];
        c->name = text_of(item, "name");
        c->prompt = text_of(item, "prompt");
        c->text = text_of(item, "text");
        c->ids = ids_of(item, &c->n_ids);
        c->stops_at_eos = json_is_true(member(item, "stops_at_eos"));
    }
}

static size_t count_lines(FILE *file)
{
    size_t n = 0;
    for (int c; (c = fgetc(file)) != EOF;)
        n += c == '\n';
    rewind(file);
    return n;
}

static void load_held(struct golden_held *h, const char *kind, const json_t *manifest)
{
    const json_t *figures = member(member(manifest, "held"), kind);
    char path[4096];
    snprintf(path, sizeof(path), "%s/held-%s.jsonl", VKMOE_GOLDEN, kind);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    *h = (struct golden_held){.kind = kind, .count = count_lines(file)};
    h->n_tokens = (size_t)json_integer_value(member(figures, "documents_tokens"));
    h->mean_nll = json_real_value(member(figures, "mean_nll"));
    h->documents = calloc(h->count + 1, sizeof(*h->documents));
    assert_non_null(h->documents);
    for (size_t i = 0; i < h->count; i++) {
        json_t *item = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL);
        assert_non_null(item);
        h->documents[i].text = text_of(item, "text");
        h->documents[i].n_tokens = (size_t)json_integer_value(member(item, "tokens"));
        h->documents[i].nll = json_real_value(member(item, "nll"));
        json_decref(item);
    }
    fclose(file);
}

void golden_load(struct golden *g)
{
    json_t *manifest = json_load_file(VKMOE_GOLDEN "/manifest.json", JSON_ALLOW_NUL, NULL);
    assert_non_null(manifest);
    load_cases(g, member(manifest, "cases"));
    load_greedy(g, member(manifest, "greedy"));
    load_held(&g->held[0], "sums", manifest);
    load_held(&g->held[1], "records", manifest);
    json_decref(manifest);
}

void golden_free(struct golden *g)
{
    for (size_t i = 0; i < g->n_cases; i++) {
        free(g->cases[i].name);
        free(g->cases[i].text);
        free(g->cases[i].ids);
        test_trace_free(&g->cases[i].trace);
    }
    for (size_t i = 0; i < g->n_greedy; i++) {
        free(g->greedy[i].name);
        free(g->greedy[i].prompt);
        free(g->greedy[i].text);
        free(g->greedy[i].ids);
    }
    for (size_t h = 0; h < 2; h++) {
        for (size_t i = 0; i < g->held[h].count; i++)
            free(g->held[h].documents[i].text);
        free(g->held[h].documents);
    }
    free(g->cases);
    free(g->greedy);
    *g = (struct golden){0};
}

const struct golden_case *golden_case_find(const struct golden *g, const char *name)
{
    for (size_t i = 0; i < g->n_cases; i++) {
        if (strcmp(g->cases[i].name, name) == 0)
            return &g->cases[i];
    }
    fail_msg("there is no golden case '%s'", name);
    return NULL;
}
