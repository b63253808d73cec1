/* Studies: what single experts are worth to a text, and which texts they serve. */
#ifndef VKMOE_STUDY_H
#define VKMOE_STUDY_H

#include "vkmoe/session.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How texts are computed: window by window, each a sequence of its own. All zero: by the defaults.
 */
typedef struct vkmoe_study_params {
    uint32_t context;       /* tokens of a window, BOS included, at least 2; 0: as for a session */
    uint32_t chunk;         /* as for a session */
    vkmoe_routing routing;  /* likewise */
    vkmoe_kv kv;            /* likewise */
    const uint8_t *experts; /* as for vkmoe_session_set_experts; NULL: all free */
    bool bos;               /* each window begins with bos_token */
    int32_t bos_token;      /* read where bos is set */
    /* Called with the session that is used, for vkmoe_session_cancel from another thread or a
     * signal handler, and with NULL before it is gone. NULL: none. */
    void (*on_session)(void *user, vkmoe_session *session);
    /* Called after every window with the windows that are done and those in all, an estimate that
     * may shrink; false ends the study with CANCELLED. NULL: none. */
    bool (*progress)(void *user, uint64_t done, uint64_t total);
    void *user; /* handed to both */
} vkmoe_study_params;

/* What a text loses with each routed expert, in memory of the caller: L MoE layers, N routed
 * experts. */
typedef struct vkmoe_importance {
    uint64_t scored; /* tokens whose loss was taken */
    double nll;      /* their mean loss with all experts there, nats per token */
    /* [L, N]: by how much the mean loss rises when the expert alone is switched off and tokens go
     * to the next best; NaN: not asked for. Exactly 0 where no token chose it. */
    double *harm;
    /* [L, N] of harm, from the differences of 16 tokens at a time, which are taken as independent;
     * 0 where there are fewer than two such runs, NaN as in harm. */
    double *standard_error;
    uint64_t runs;    /* such runs in the text */
    uint64_t *chosen; /* [L, N]: tokens that chose the expert while all were there, BOS included */
} vkmoe_importance;

/* Computes a text, `count` tokens without BOS, once as it is and once for each expert that `only`
 * [L, N] marks with something else than 0 (NULL: all) and that is not off anyway. Windows in which
 * no token chose the expert are not computed again. params may be NULL. Fails with INVALID_ARGUMENT
 * for a dense model, a text too short to score a token, or an expert that cannot be spared as too
 * few are left; CANCELLED; or as sessions do. */
vkmoe_status vkmoe_importance_run(vkmoe_model *model, const int32_t *tokens, size_t count,
                                  const uint8_t *only, const vkmoe_study_params *params,
                                  vkmoe_importance *result, vkmoe_error *err);

/* Whether texts differ in the experts of one MoE layer, N = n_experts. */
typedef struct vkmoe_affinity_layer {
    /* Jensen-Shannon divergence of the texts' shares of the experts, each text counting the same,
     * over the largest that it can be, ln(texts): 0 where all use the experts alike, 1 where no two
     * share one. */
    double divergence;
    double chance; /* its mean over the permutations: what noise makes of it */
    /* Share of the permutations, the texts as they are counted as one more, with a divergence at
     * least as large. */
    double p;
    double *expert_p; /* [N], of the caller: likewise for each expert's part of the divergence */
} vkmoe_affinity_layer;

/* A permutation test: deals the windows out to the texts anew, each getting as many as it has, and
 * looks how often chance alone makes the texts as different. Windows, not tokens, are dealt, as
 * tokens of a window depend on each other. chosen [n_windows, n_experts]: the choices in a window;
 * text_of [n_windows], below n_texts: its text, of which none may be without a choice. The same
 * seed gives the same. Thread-safe. Fails with INVALID_ARGUMENT for fewer than two texts or a text
 * without choices, or with OUT_OF_HOST_MEMORY. */
vkmoe_status vkmoe_affinity_of(const uint32_t *chosen, const uint32_t *text_of, size_t n_windows,
                               uint32_t n_texts, uint32_t n_experts, uint32_t permutations,
                               uint64_t seed, vkmoe_affinity_layer *out, vkmoe_error *err);

/* Makes p values of one family of n tests fit to be compared with a level each. HOLM: the level is
 * the chance that any at all is taken for an effect wrongly. FDR (Benjamini and Hochberg): it is
 * the share of what is taken for an effect that is none. */
typedef enum vkmoe_adjustment { VKMOE_ADJUST_HOLM, VKMOE_ADJUST_FDR } vkmoe_adjustment;
/* adjusted [n] may be p itself. Thread-safe. Fails with OUT_OF_HOST_MEMORY. */
vkmoe_status vkmoe_adjust(vkmoe_adjustment kind, const double *p, size_t n, double *adjusted,
                          vkmoe_error *err);

/* A text, without BOS. */
typedef struct vkmoe_affinity_text {
    const int32_t *tokens; /* [count] ids */
    size_t count;          /* at least 1 */
} vkmoe_affinity_text;

/* Which experts serve which text, in memory of the caller: T texts, L MoE layers, N routed experts.
 */
typedef struct vkmoe_affinity {
    uint32_t experts_per_token;   /* K */
    uint32_t *windows;            /* [T] */
    uint64_t *tokens;             /* [T], BOS included */
    uint64_t *chosen;             /* [T, L, N]: tokens that chose the expert */
    vkmoe_affinity_layer *layers; /* [L], with expert_p [N] in each */
    double *layer_p;              /* [L]: p by Holm, over the layers */
    double *expert_p;             /* [L, N]: each layer's expert_p by FDR, over all experts */
} vkmoe_affinity;

/* Routes T texts and tests whether they differ. permutations 0: 999. params may be NULL. Fails with
 * INVALID_ARGUMENT for a dense model, fewer than two texts or an empty one; CANCELLED; or as
 * sessions do. */
vkmoe_status vkmoe_affinity_run(vkmoe_model *model, const vkmoe_affinity_text *texts,
                                uint32_t n_texts, uint32_t permutations, uint64_t seed,
                                const vkmoe_study_params *params, vkmoe_affinity *result,
                                vkmoe_error *err);

#ifdef __cplusplus
}
#endif

#endif
