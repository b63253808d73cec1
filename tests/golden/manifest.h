/* The golden files: what an independent float64 implementation computes for the shipped model. */
#ifndef VKM_TEST_MANIFEST_H
#define VKM_TEST_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "trace.h"

struct golden_case {
    char *name, *text;
    int32_t *ids; /* BOS first */
    size_t n_ids;
    struct test_trace trace;
};

/* The likeliest tokens after a prompt, as far as they are beyond doubt. */
struct golden_greedy {
    char *name, *prompt, *text;
    int32_t *ids; /* the EOS token last, where the text ends by itself */
    size_t n_ids;
    bool stops_at_eos;
};

/* A held-out document. */
struct golden_document {
    char *text;
    size_t n_tokens; /* after BOS, cut at the context */
    double nll;      /* the sum over them */
};

struct golden_held {
    const char *kind;
    struct golden_document *documents;
    size_t count, n_tokens;
    double mean_nll;
};

struct golden {
    struct golden_case *cases;
    size_t n_cases;
    struct golden_greedy *greedy;
    size_t n_greedy;
    struct golden_held held[2];
};

void golden_load(struct golden *g);
void golden_free(struct golden *g);
const struct golden_case *golden_case_find(const struct golden *g, const char *name);

#endif
