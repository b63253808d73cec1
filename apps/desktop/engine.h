/* What the worker's thread does: opening, and running text. Blocking calls; no display needed. */
#ifndef MOE_ENGINE_H
#define MOE_ENGINE_H

#include "prompt.h"
#include "worker.h"

/* What is open. All zero: nothing. */
typedef struct MoeRuntime {
    MoeEngine open;
    MoeLoaded *loaded; /* NULL: nothing */
    vkmoe_session *session;
    vkmoe_routing routing; /* of the session */
    GBytes *states;        /* likewise */
    guint ranks;           /* that the session keeps of each token */
} MoeRuntime;

/* Who is told while a call runs, on its thread. */
typedef struct MoeListener {
    bool (*progress)(void *user, double share); /* of the checkpoint; false to cancel */
    /* The session that is in use, or NULL from now on: it may be cancelled meanwhile. */
    void (*session)(void *user, vkmoe_session *session);
    bool (*cancelled)(void *user);
    /* Tokens, and what they add to the answer. */
    void (*tokens)(void *user, const MoeTokenBatch *batch);
    void (*routes)(void *user, const MoeRouteBatch *batch);
    void *user;
} MoeListener;

/* Opens device and model where nothing is open. On failure nothing is. */
vkmoe_status moe_runtime_open(MoeRuntime *self, const MoeOpenParams *params,
                              const MoeListener *listener, vkmoe_error *err);
/* Closes all; nothing need be open. */
void moe_runtime_close(MoeRuntime *self);
void moe_runtime_close_session(MoeRuntime *self);

/* How a run ended. */
typedef struct MoeRunResult {
    MoeResult result; /* with pointers into: */
    GArray *answer;   /* int32_t */
    float *losses;
    vkmoe_error err;
} MoeRunResult;

/* Runs `params`, in which messages are the run's own. result->result.status says how it ended. */
void moe_runtime_generate(MoeRuntime *self, guint run, const MoeGenerateParams *params,
                          const MoeListener *listener, MoeRunResult *result);
/* Computes the routes of its messages, and adds nothing to them. */
void moe_runtime_route(MoeRuntime *self, guint run, const MoeGenerateParams *params,
                       const MoeListener *listener, MoeRunResult *result);
void moe_run_result_clear(MoeRunResult *result);

MoeLoaded *moe_loaded_copy(const MoeLoaded *loaded);
void moe_loaded_free(MoeLoaded *loaded); /* accepts NULL */

#endif
