/* What a model computed for some tokens, from a file or a session, and how two such traces differ.
 */
#ifndef VKM_TEST_TRACE_H
#define VKM_TEST_TRACE_H

#include "support.h"

struct test_trace {
    uint32_t count, vocab;
    uint32_t n_layers, k; /* MoE layers, and experts of one token */
    int32_t *tokens;      /* [count] */
    float *logits;        /* [count, vocab] */
    int32_t *ids;         /* [n_layers, count, k] */
    float *weights;       /* likewise; falling for each token */
    float *probs;         /* [n_layers, count, experts], of the oracle alone */
};

/* Room for a trace of these tokens; released with test_trace_free. */
struct test_trace test_trace_make(const vkmoe_model_info *info, const int32_t *tokens,
                                  uint32_t count);
/* What `vkmoe logits` wrote. */
struct test_trace test_trace_read(const char *path);
void test_trace_free(struct test_trace *t);

/* Evaluates the tokens; the trace comes from the device. */
struct test_trace test_trace_append(vkmoe_model *model, vkmoe_session *session,
                                    const int32_t *tokens, uint32_t count);
/* The same in an emptied session. */
struct test_trace test_trace_eval(vkmoe_model *model, vkmoe_session *session, const int32_t *tokens,
                                  uint32_t count);

/* The worst that was seen. */
struct test_difference {
    double logit;     /* |difference| / largest |logit| */
    double weight;    /* |difference| */
    uint32_t swapped; /* experts that differ, all of them on a margin below 1e-5 */
};

/* Fails the test unless `got`, whose tokens are those of `expected` from `first` on, keeps the
 * project's bounds: logits within 1e-4 of the largest, the same experts unless the margin is below
 * 1e-5, weights within 1e-4 and falling. `what` names the run; *worst (may be NULL) only grows. */
void test_trace_compare(const struct test_trace *expected, uint32_t first,
                        const struct test_trace *got, const char *what,
                        struct test_difference *worst);

/* What rounding activations may do to a model. */
struct test_rounding {
    double logits; /* sum of squared differences over that of squares, of all tokens that have the
                      same experts in every layer */
    double gates;  /* |difference|, up to the layer where a token first has another expert, and
                      between the two that change places there */
};
/* Fails the test unless `got`, of the same tokens, keeps to the bounds, with the same experts for
 * half of them at least. Returns by how much logits are off. */
double test_trace_compare_rounded(const struct test_trace *expected, const struct test_trace *got,
                                  const struct test_rounding *bounds, const char *what,
                                  struct test_difference *worst);

/* Fails the test unless both hold the same bits. */
void test_trace_assert_identical(const struct test_trace *a, const struct test_trace *b);

/* The index of the largest of n values. */
uint32_t test_argmax(const float *values, uint32_t n);

#endif
