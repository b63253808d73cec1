/* Small random checkpoints of any shape, and what they compute by an independent implementation. */
#ifndef VKM_TEST_CHECKPOINT_H
#define VKM_TEST_CHECKPOINT_H

#include <stdbool.h>

#include "trace.h"

/* How the weights are stored. */
enum test_storage { STORE_BF16, STORE_F16, STORE_F32, STORE_MIXED };

/* Zero stands for what test_shape_complete puts in its place. */
struct test_shape {
    uint32_t vocab, hidden, heads, kv_heads, layers;
    uint32_t dense_width; /* FFN of a dense layer */
    bool dense;           /* no experts at all */
    uint32_t experts, top_k, expert_width;
    uint32_t shared;      /* 0 is none */
    uint32_t first_dense; /* first_k_dense_replace; 0 is 0 */
    uint32_t layer_freq;
    uint32_t max_position;
    uint32_t context; /* of a session */
    bool normalise;   /* norm_topk_prob */
    bool tied, bias;
    double eps;         /* rms_norm_eps */
    const char *router; /* vkmoe_router, or NULL */
    double router_noise;
    uint32_t router_seed;
    double scaling;   /* routed_scaling_factor; 0: absent */
    const char *rope; /* kind of scaling, or NULL */
    double rope_factor;
    enum test_storage storage;
    uint32_t shards; /* files; 0: a single one without an index */

    /* What a session may change: experts passed over, states [MoE layers, experts] (1 off, 2
     * forced) and a table [vocab, top_k] that says which experts, or NULL. */
    uint32_t skip;
    const uint8_t *states;
    const uint32_t *table;

    /* What is wrong with it: names of a tensor that is not there, that has one column too many, and
     * that holds integers. */
    const char *missing, *misshapen, *mistyped;
};

struct test_shape test_shape_complete(const struct test_shape *shape);

/* Writes config.json and the weights of a complete shape into a folder. */
void checkpoint_write(const struct test_shape *shape, const char *folder);

/* What the checkpoint in `folder` computes for these tokens: float64, written from the paper
 * (arXiv 2401.06066) and the definition of its Hugging Face format, sharing nothing with the
 * runtime but the reader of files. Released with test_trace_free. */
struct test_trace oracle_trace(const struct test_shape *shape, const char *folder,
                               const int32_t *tokens, uint32_t count);

static inline bool test_shape_is_moe(const struct test_shape *s, uint32_t layer)
{
    return !s->dense && layer >= s->first_dense && layer % s->layer_freq == 0;
}

#endif
