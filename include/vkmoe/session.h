/* Sessions: one sequence of tokens with its KV cache. */
#ifndef VKMOE_SESSION_H
#define VKMOE_SESSION_H

#include "vkmoe/model.h"
#include "vkmoe/sampling.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One thread at a time may use a session, and one session of a device at a time, but for
 * vkmoe_session_cancel. */
typedef struct vkmoe_session vkmoe_session;

/* What a step on the device did. */
typedef struct vkmoe_step {
    bool prompt;       /* tokens of vkmoe_session_eval, else one that is generated */
    uint64_t done;     /* tokens of this call that are computed, and */
    uint64_t total;    /* how many it was asked for */
    uint32_t n_tokens; /* computed by this step; 0 where a token was chosen from logits at hand */
    double seconds;    /* wall clock that the step took */
} vkmoe_step;

/* How a session is made. */
typedef struct vkmoe_session_params {
    uint32_t context; /* tokens the sequence may grow to; 0: the model's, at most 4096 */
    uint32_t chunk;   /* prompt tokens computed in one step; 0: on GPUs the largest of 512, 1024
                         and 2048 that leaves room in memory, else 256 */
    vkmoe_routing routing; /* forks inherit it */
    bool count_routing;    /* add up what is chosen, for vkmoe_session_read_routing */
    bool count_pairs;      /* and which pairs of experts: 4 bytes for each in every MoE layer */
    /* Experts of each token to remember in every MoE layer, the chosen ones and the runners-up, for
     * vkmoe_session_read_routes: at least as many as the session activates, at most
     * n_routed_experts; 0: none. Forks inherit it. Takes 12 keep_ranks bytes of host memory
     * for each token of the context and MoE layer. */
    uint32_t keep_ranks;
    /* Tokens for which the KV cache has room, of this session and of its forks together, counted in
     * blocks of 64; what forks share counts once. 0: `context`. */
    uint32_t cache_tokens;
    vkmoe_kv kv; /* what the KV cache holds keys and values as; forks share it */
    /* Called after every step, from the thread of the call; false ends the call with CANCELLED. It
     * must not call back into the session, but for vkmoe_session_read_routes and
     * vkmoe_session_read_routing. NULL: none. Forks inherit it. */
    bool (*on_step)(void *user, const vkmoe_step *step);
    void *user; /* handed to on_step */
} vkmoe_session_params;

/* params may be NULL. The caller owns *out. Fails with INVALID_ARGUMENT or OUT_OF_DEVICE_MEMORY. */
vkmoe_status vkmoe_session_create(vkmoe_model *model, const vkmoe_session_params *params,
                                  vkmoe_session **out, vkmoe_error *err);
/* Another session with the same tokens, which goes on by itself. What both have in common lies in
 * the KV cache once, and in the cache that both share what either adds must find room. The caller
 * owns *out; the two may be destroyed in any order. Fails with OUT_OF_HOST_MEMORY,
 * OUT_OF_DEVICE_MEMORY, or CONTEXT_FULL where the cache has no free block. */
vkmoe_status vkmoe_session_fork(vkmoe_session *session, vkmoe_session **out, vkmoe_error *err);
void vkmoe_session_destroy(vkmoe_session *session); /* accepts NULL */

/* What an evaluation hands out beside the KV cache, into memory of the caller; NULL: not wanted.
 * Rows are the tokens of the call; experts are ordered by falling router logit. */
typedef struct vkmoe_trace {
    float *logits;     /* [count, vocab_size] */
    int32_t *topk_ids; /* [n_moe_layers, count, n_experts_per_token] */
    float *topk_gates; /* likewise: the gate g_i of equation 4, after any normalisation */
    float *losses;     /* [count - 1]: -ln p(token i + 1 | all up to token i), the cross entropy */
    uint32_t experts_per_token; /* n_experts_per_token above: the session's; 0: the model's */
} vkmoe_trace;

/* Appends tokens to the sequence and computes them. trace may be NULL. Fails with INVALID_ARGUMENT
 * for an id outside the vocabulary or a trace of another K than the session's, CONTEXT_FULL,
 * CANCELLED, or what the device reports; then nothing is appended. */
vkmoe_status vkmoe_session_eval(vkmoe_session *session, const int32_t *tokens, size_t count,
                                const vkmoe_trace *trace, vkmoe_error *err);

/* Writes tokens and a trace of them to a safetensors file, whole or not at all: `tokens` I32
 * [count], `logits` F32 [count, vocab_size], and for each MoE layer L `layers.L.topk_idx` I32 and
 * `layers.L.topk_weight` F32, both [count, n_experts_per_token] by falling weight, the lower id
 * first in a tie. What the trace has not (NULL) is left out; ids without gates, or gates without
 * ids, stay in their order. */
vkmoe_status vkmoe_trace_write(const vkmoe_model *model, const int32_t *tokens, size_t count,
                               const vkmoe_trace *trace, const char *path, vkmoe_error *err);
/* The same for routes, which may be longer than any session: `tokens` I32 [count], and of each MoE
 * layer L `layers.L.topk_idx` I32, `layers.L.topk_weight` F32 (gates) and `layers.L.topk_prob` F32,
 * all [count, ranks], in the order that they have; what is NULL is left out. `first` is not read.
 */
vkmoe_status vkmoe_routes_write(const vkmoe_model *model, const int32_t *tokens,
                                const vkmoe_routes *routes, const char *path, vkmoe_error *err);

/* What is generated, and how. */
typedef struct vkmoe_generate_params {
    size_t max_tokens;       /* at most; 0 generates nothing */
    vkmoe_sampling sampling; /* how each token is chosen */
    bool ignore_eos;         /* go on past the end of the document */
    /* Called with each token as it is chosen (not with the EOS token that ends it); returns false
     * to stop, the token being kept. It must not use the session, nor another one that shares its
     * cache, but for vkmoe_session_length, vkmoe_session_read_routes and
     * vkmoe_session_read_routing. NULL: none. */
    bool (*on_token)(void *user, int32_t token);
    void *user; /* handed to on_token */
} vkmoe_generate_params;

/* Continues the sequence token by token, after at least one was evaluated; params is not NULL.
 * *count (may be NULL) gets the number of tokens handed out, which have become part of the sequence
 * whatever the status is. Ends with OK at max_tokens, at EOS, or when on_token says so; with
 * CONTEXT_FULL when the sequence is full, with CANCELLED, or with what the device reports. */
vkmoe_status vkmoe_session_generate(vkmoe_session *session, const vkmoe_generate_params *params,
                                    size_t *count, vkmoe_error *err);

/* Ends the call that uses the session, or the next one if there is none, with CANCELLED as soon as
 * the work that the device has in hand is done (tens of milliseconds). Thread-safe; may be called
 * in a signal handler. */
void vkmoe_session_cancel(vkmoe_session *session);
/* Takes a cancel back that came too late to end anything: the next call is not ended by it.
 * Thread-safe. */
void vkmoe_session_clear_cancel(vkmoe_session *session);

/* Forgets all tokens from position `length` on; what comes before stays computed. Fails with
 * INVALID_ARGUMENT for a length beyond the sequence's, and, where a fork shares the block of the
 * cache that `length` falls into, as vkmoe_session_fork does; then nothing changes. */
vkmoe_status vkmoe_session_rollback(vkmoe_session *session, uint32_t length, vkmoe_error *err);
/* Forgets all tokens. */
void vkmoe_session_reset(vkmoe_session *session);
/* Tokens in the sequence. */
uint32_t vkmoe_session_length(const vkmoe_session *session);
/* Routed experts that each of its tokens activates from now on; 0 in a dense model. */
uint32_t vkmoe_session_experts_per_token(const vkmoe_session *session);
/* From now on: states [n_moe_layers, n_routed_experts] of enum vkmoe_expert_state; NULL: all free
 * again. What is computed already stays as it is; forks made later inherit it. Fails with
 * INVALID_ARGUMENT for a value that is none of them, more forced experts in a layer than the
 * session activates, or fewer experts left than it activates; then nothing changes. */
vkmoe_status vkmoe_session_set_experts(vkmoe_session *session, const uint8_t *states,
                                       vkmoe_error *err);
/* From now on the session routes as `routing` says (NULL: as the model was trained), within what it
 * was made for: at most as many experts of each token, and HASH only where it was made with HASH.
 * What is computed already stays as it is, experts that are off or forced stay so, counts go on;
 * forks made later inherit it. Fails with INVALID_ARGUMENT, or OUT_OF_HOST_MEMORY for a table that
 * is drawn; then nothing changes. */
vkmoe_status vkmoe_session_set_routing(vkmoe_session *session, const vkmoe_routing *routing,
                                       vkmoe_error *err);
/* What the session and its forks chose since it was made or vkmoe_session_reset_routing. May be
 * called between calls, and from within on_step and on_token: `tokens` then counts the steps that
 * the device has in hand as well, and the rest may hold a part of them. Where the device's memory
 * is the host's nothing is waited for; elsewhere the steps in hand are, no more than some tens of
 * milliseconds. Fails with
 * INVALID_ARGUMENT for what the session does not count, or with what the device reports. */
vkmoe_status vkmoe_session_read_routing(vkmoe_session *session, vkmoe_routing_counts *counts,
                                        vkmoe_error *err);
/* Begins to count anew; fails with what the device reports. */
vkmoe_status vkmoe_session_reset_routing(vkmoe_session *session, vkmoe_error *err);
/* Which experts ranked first for the tokens at positions routes->first .. first + count - 1, in
 * memory of the caller: nothing waits for the device. May be called between calls, and from within
 * on_step and on_token, for tokens that are computed: in on_step those of the step it tells of are,
 * in on_token all but the newest, which the next step computes. A fork has what its origin had.
 * Fails with INVALID_ARGUMENT for tokens that are not computed, or a session that keeps none;
 * nothing but routes->ranks is written then. */
vkmoe_status vkmoe_session_read_routes(vkmoe_session *session, vkmoe_routes *routes,
                                       vkmoe_error *err);
/* How many it can hold. */
uint32_t vkmoe_session_context(const vkmoe_session *session);
/* The sequence, vkmoe_session_length tokens; owned by the session, valid until it is used again.
 * There even after its device was lost, so that another session can go on from it. */
const int32_t *vkmoe_session_tokens(const vkmoe_session *session);

/* What a session did since it was made. */
typedef struct vkmoe_session_stats {
    uint64_t prompt_tokens;    /* evaluated */
    uint64_t generated_tokens; /* handed out */
    double prompt_seconds;     /* wall clock of the evaluations */
    double generation_seconds; /* wall clock of the generations */
    uint64_t device_bytes;     /* of the device's memory held by this process now */
    uint64_t kv_bytes;         /* of them, the KV cache that the session shares with its forks */
    vkmoe_kv kv;               /* what that holds keys and values as */
} vkmoe_session_stats;

/* Fills *stats. */
void vkmoe_session_get_stats(const vkmoe_session *session, vkmoe_session_stats *stats);

#ifdef __cplusplus
}
#endif

#endif
