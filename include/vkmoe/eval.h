/* How well a model predicts a text, chooses among answers, and uses its experts. */
#ifndef VKMOE_EVAL_H
#define VKMOE_EVAL_H

#include "vkmoe/session.h"
#include "vkmoe/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- perplexity --- */

/* A measurement, finished or not: plain data that can be kept and handed back to go on from. */
typedef struct vkmoe_perplexity {
    uint64_t tokens;  /* of the text, in all */
    uint64_t next;    /* of them, those that are done */
    uint64_t windows; /* that are done */
    uint64_t scored;  /* tokens whose loss was taken */
    uint64_t bytes;   /* of those tokens; 0 where token_bytes was not given */
    double sum;       /* of their losses, in nats */
    /* Sums over windows, s being the sum of losses in one, n the tokens scored in it. */
    double sum_squares;   /* of s * s */
    double sum_products;  /* of s * n */
    double count_squares; /* of n * n */

    double nll;            /* mean loss, nats per token */
    double standard_error; /* of nll, windows taken as independent; 0 until there are two */
    double perplexity;     /* exp(nll) */
    double bits_per_byte;  /* sum / ln 2 / bytes; 0 where bytes is */
} vkmoe_perplexity;

/* What is measured. */
typedef struct vkmoe_perplexity_params {
    uint32_t context; /* tokens of a window, BOS included, at least 2; 0: as for a session */
    /* Tokens by which the window moves on; each token but those of the first window is then scored
     * with at least context - stride tokens before it. 0: windows that do not overlap, whose first
     * tokens are scored with little before them. */
    uint32_t stride;
    uint32_t chunk;         /* as for a session */
    vkmoe_routing routing;  /* as for a session */
    const uint8_t *experts; /* as for vkmoe_session_set_experts; NULL: all free */
    vkmoe_kv kv;            /* as for a session */
    /* Each window begins with bos_token, so that its first token is scored too. */
    bool bos;
    int32_t bos_token;           /* read where bos is set */
    const uint32_t *token_bytes; /* [count] bytes of text in each token; NULL: unknown */
    const vkmoe_perplexity
        *resume; /* go on from there, with the same text and params; NULL: begin */
    /* Called with the session that is measured, for vkmoe_session_cancel from another thread or a
     * signal handler, and with NULL before it is gone. NULL: none. */
    void (*on_session)(void *user, vkmoe_session *session);
    /* Called after every window; false ends the measurement with CANCELLED. NULL: none. */
    bool (*progress)(void *user, const vkmoe_perplexity *so_far);
    void *user; /* handed to both */
} vkmoe_perplexity_params;

/* Scores a text, `count` tokens without BOS; params may be NULL. *result holds what is done by then
 * also when it ends early. Fails with INVALID_ARGUMENT for a text too short to score a token, for a
 * stride beyond the window, or a `resume` that is not of this text;
 * CANCELLED; or as sessions do. */
vkmoe_status vkmoe_perplexity_run(vkmoe_model *model, const int32_t *tokens, size_t count,
                                  const vkmoe_perplexity_params *params, vkmoe_perplexity *result,
                                  vkmoe_error *err);

/* --- multiple choice --- */

/* An item as tokens: of each choice all that the model reads, the context first. */
typedef struct vkmoe_choices {
    uint32_t count; /* of choices, at least 2 */
    /* Tokens that all of them begin with and that are not scored: at least 1, which may be BOS. */
    size_t shared;
    int32_t **tokens; /* [count]: the tokens of each, */
    size_t *n_tokens; /* [count]: how many, more than `shared`, */
    size_t *n_bytes;  /* [count]: and the bytes of the choice's own text, at least 1 */
} vkmoe_choices;

/* A piece of UTF-8 text. */
typedef struct vkmoe_text {
    const char *bytes; /* need not end in a zero */
    size_t size;       /* how many of them */
} vkmoe_text;

/* Encodes context and choice together, as written, so that tokens may reach across the border.
 * `shared` is what all choices and the context alone begin with: where the last tokens of the
 * context turn out otherwise in one choice, they are scored in every choice, and all are scored for
 * the same text of the context. BOS comes first where the tokenizer asks for it. What *out holds is
 * released with vkmoe_choices_free. Fails with INVALID_ARGUMENT for fewer than 2 choices, a choice
 * without tokens, or where nothing comes before the choices; or as vkmoe_tokenizer_encode does. */
vkmoe_status vkmoe_choices_encode(const vkmoe_tokenizer *tokenizer, vkmoe_text context,
                                  const vkmoe_text *choices, uint32_t count, vkmoe_choices *out,
                                  vkmoe_error *err);
/* With the tokenizer that encoded them. Accepts a zeroed struct, which it leaves. */
void vkmoe_choices_free(const vkmoe_tokenizer *tokenizer, vkmoe_choices *choices);

/* What a choice is worth. */
typedef struct vkmoe_choice_score {
    double log_likelihood; /* ln p(its tokens | those that are shared), in nats */
    uint64_t tokens;       /* that are scored */
    uint64_t bytes;        /* n_bytes */
} vkmoe_choice_score;

/* Whether an item can be scored by a session: INVALID_ARGUMENT for what vkmoe_choices excludes, a
 * choice that does not fit the session's context, or an id outside the vocabulary. */
vkmoe_status vkmoe_choices_check(const vkmoe_session *session, const vkmoe_choices *item,
                                 vkmoe_error *err);

/* Scores the first of n items, at least one, and as many as find room together in a chunk and in
 * the session's cache (`cache_tokens`): *done, which may be NULL where n is 1, tells how many, and
 * scores[i] [count] gets the scores of item i's choices. Contexts run in one step, all choices in
 * a second one. What the session holds that the items begin with as well stays computed, and in the
 * end it holds tokens that they begin with. Scores are the same however items come together, but
 * for rounding. Fails as vkmoe_choices_check and vkmoe_session_eval do; then none are done. */
vkmoe_status vkmoe_choices_score(vkmoe_session *session, const vkmoe_choices *items, uint32_t n,
                                 vkmoe_choice_score *const *scores, uint32_t *done,
                                 vkmoe_error *err);

/* What is compared. */
typedef enum vkmoe_choice_rule {
    VKMOE_CHOICE_SUM,       /* log_likelihood */
    VKMOE_CHOICE_PER_TOKEN, /* log_likelihood / tokens */
    VKMOE_CHOICE_PER_BYTE,  /* log_likelihood / bytes */
    VKMOE_CHOICE_RULE_COUNT /* how many there are */
} vkmoe_choice_rule;

/* The choice that comes out best of `count` > 0, the first of equals. Thread-safe. */
uint32_t vkmoe_choices_pick(const vkmoe_choice_score *scores, uint32_t count,
                            vkmoe_choice_rule rule);

/* A share of items, and how well it is known. */
typedef struct vkmoe_accuracy {
    double mean; /* correct / items */
    double low;  /* where its 95 % interval (Wilson's) begins, */
    double high; /* and where it ends */
} vkmoe_accuracy;

/* Of `correct` <= items; without items: 0, between 0 and 1. Thread-safe. */
vkmoe_accuracy vkmoe_accuracy_of(uint64_t correct, uint64_t items);

/* --- balance --- */

/* How evenly a text uses the experts. */
typedef struct vkmoe_balance_params {
    uint32_t context;          /* tokens of a sequence, BOS included; 0: as for a session */
    uint32_t chunk;            /* as for a session */
    vkmoe_routing routing;     /* likewise */
    vkmoe_kv kv;               /* likewise */
    const uint8_t *experts;    /* as for vkmoe_session_set_experts; NULL: all free */
    bool bos;                  /* each sequence begins with bos_token */
    int32_t bos_token;         /* read where bos is set */
    uint32_t n_devices;        /* over which experts are spread; 0: 1 */
    const uint32_t *device_of; /* as for vkmoe_balance_of; NULL: n_devices equal runs of experts */
    /* As in vkmoe_perplexity_params. NULL: none. */
    void (*on_session)(void *user, vkmoe_session *session);
    /* Called after every sequence with the tokens done and in all; false ends it with CANCELLED.
     * NULL: none. */
    bool (*progress)(void *user, uint64_t done, uint64_t total);
    void *user; /* handed to both */
} vkmoe_balance_params;

/* What came of it, in memory of the caller: L MoE layers, N routed experts. */
typedef struct vkmoe_balance_result {
    uint64_t sequences;          /* that the text made */
    uint32_t experts_per_token;  /* K */
    vkmoe_routing_counts counts; /* over the whole text; chosen and prob_mass are not NULL, pairs
                                  * are counted where it is not */
    vkmoe_balance *batch;        /* [L], of all tokens together */
    double *sequence_loss;       /* [L]: expert_loss of each sequence by itself, their mean weighed
                                  * by tokens, as the last may be short */
} vkmoe_balance_result;

/* Routes a text, `count` tokens without BOS, in sequences one after the other; params may be NULL.
 * Fails with INVALID_ARGUMENT for a dense model, an empty text, or a number of devices that does
 * not divide the experts where device_of is NULL; CANCELLED; or as sessions do. */
vkmoe_status vkmoe_balance_run(vkmoe_model *model, const int32_t *tokens, size_t count,
                               const vkmoe_balance_params *params, vkmoe_balance_result *result,
                               vkmoe_error *err);

#ifdef __cplusplus
}
#endif

#endif
