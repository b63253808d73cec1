/* The thread that owns device, model and session. Widgets hand it work and hear of results through
 * signals, which it emits on the main thread, results of at least a thirtieth of a second together.
 * Everything declared here is called from the main thread. */
#ifndef MOE_WORKER_H
#define MOE_WORKER_H

#include <glib-object.h>
#include <vkmoe/vkmoe.h>

#include "message.h"

G_BEGIN_DECLS

/* What the worker is about. */
typedef enum MoeWorkerState {
    MOE_WORKER_EMPTY,      /* no model is open; moe_worker_get_error() says why, if it failed */
    MOE_WORKER_LOADING,    /* a device is being opened and a model loaded */
    MOE_WORKER_READY,      /* waits for work */
    MOE_WORKER_GENERATING, /* text */
    MOE_WORKER_ROUTING,    /* a text that is there already; gives way to all else */
    MOE_WORKER_RUNNING,    /* a function of moe_worker_call */
} MoeWorkerState;

/* What is to be opened. */
typedef struct MoeOpenParams {
    char *device;          /* as --device takes it; NULL: the default */
    char *model;           /* folder or GGUF file; NULL: the shipped model */
    uint32_t context;      /* tokens; 0: the model's, at most 4096 */
    vkmoe_weights weights; /* what weights are kept as */
    vkmoe_kv kv;           /* what the KV cache keeps */
} MoeOpenParams;

MoeOpenParams *moe_open_params_copy(const MoeOpenParams *params);
void moe_open_params_free(MoeOpenParams *params); /* accepts NULL */

/* What is open. */
typedef struct MoeLoaded {
    MoeOpenParams *params;    /* as asked for, model not NULL */
    vkmoe_device_info device; /* what was opened */
    vkmoe_model_info model;   /* its shape */
    vkmoe_plan plan;          /* of its memory, made before it was loaded */
    uint32_t *moe_layers;     /* [model.n_moe_layers]: which layer each of them is */
    vkmoe_sampling sampling;  /* as the checkpoint wants it, seed 0 */
    bool has_template;        /* the model was trained to chat, and its template is known */
    vkmoe_chat_template chat_template; /* PLAIN where it has none */
    uint32_t context;                  /* tokens that a sequence may grow to */
    double seconds;                    /* that opening took */
} MoeLoaded;

/* How a run routes. */
typedef struct MoeRouting {
    vkmoe_routing routing; /* its table is NULL */
    GBytes *states; /* [n_moe_layers, n_routed_experts] of vkmoe_expert_state; NULL: all free */
} MoeRouting;

/* What is to be generated. The caller keeps what it points to; the worker copies. */
typedef struct MoeGenerateParams {
    const GPtrArray *messages; /* of MoeMessage; the answer follows the last */
    bool chat;                 /* lay messages out by the chat template; else as plain text */
    vkmoe_sampling sampling;   /* with the seed to be used */
    size_t max_tokens;         /* at most */
    MoeRouting routing;        /* the experts */
    bool want_losses;          /* compute them for the whole sequence when it is complete */
} MoeGenerateParams;

/* One token of a run's sequence, and the characters that it made. */
typedef struct MoeToken {
    int32_t id;
    uint32_t position; /* in the sequence */
    uint32_t message;  /* index of the message that it belongs to; the answer's is their number */
    uint32_t start;    /* characters of the message's text before it */
    uint32_t length;   /* characters; 0: markup, or a part of a character */
} MoeToken;

/* "tokens": some more. Valid during the signal. */
typedef struct MoeTokenBatch {
    guint run;              /* as moe_worker_generate returned it */
    bool prompt;            /* all tokens of the prompt, before any other; else generated ones */
    const MoeToken *tokens; /* [count] */
    guint count;
    const char *text; /* what they add to the answer: UTF-8, zero-terminated; "" of a prompt */
    guint generated;  /* tokens of the answer so far, these included */
    double seconds;   /* since the prompt was computed */
} MoeTokenBatch;

/* "routes": where tokens went. Valid during the signal. */
typedef struct MoeRouteBatch {
    guint run;
    uint32_t first;     /* position of the first token */
    uint32_t count;     /* tokens */
    uint32_t layers;    /* L: MoE layers */
    uint32_t ranks;     /* R: experts of each token and layer, chosen ones first */
    const int32_t *ids; /* [L, count, R]; -1 where there are no more */
    const float *gates; /* likewise: 0 for a runner-up */
    const float *probs; /* likewise: softmax over all routed experts */
} MoeRouteBatch;

/* "finished": how a run ended. Valid during the signal. */
typedef struct MoeResult {
    guint run;
    vkmoe_status status;   /* OK, CANCELLED, CONTEXT_FULL, or why it failed */
    const char *message;   /* one sentence; "" where status is OK */
    bool gave_way;         /* CANCELLED, as the worker was asked for something else meanwhile */
    const int32_t *answer; /* [n_answer]: ids of the answer, without what ended it */
    guint n_answer;
    guint prompt_tokens;   /* of the prompt, */
    guint reused_tokens;   /* and how many of them were in the KV cache */
    double prompt_seconds; /* to compute the others */
    double seconds;        /* to generate */
    const float *losses;   /* [n_losses]: -ln p of the token at position i + 1; NULL: none */
    guint n_losses;
    vkmoe_session_stats stats; /* of the session; zero where there is none */
} MoeResult;

#define MOE_TYPE_WORKER (moe_worker_get_type())
/* Properties: "state" (int, MoeWorkerState), notified whenever it or what is loaded changes.
 * Signals: "load-progress" (double: share of the checkpoint that was read), "tokens"
 * (MoeTokenBatch *), "routes" (MoeRouteBatch *), "finished" (MoeResult *). */
G_DECLARE_FINAL_TYPE(MoeWorker, moe_worker, MOE, WORKER, GObject)

MoeWorker *moe_worker_new(void);

MoeWorkerState moe_worker_get_state(MoeWorker *self);
/* Whether what is asked for begins at once: the worker waits, or does what gives way. */
bool moe_worker_is_ready(MoeWorker *self);
/* Why the worker is empty: one sentence, or NULL; owned by the worker. */
const char *moe_worker_get_error(MoeWorker *self);
/* The status that goes with it; OK where there was no failure. */
vkmoe_status moe_worker_get_error_status(MoeWorker *self);
/* What is open, or NULL; owned by the worker, and there until another model is opened or the device
 * is lost. */
const MoeLoaded *moe_worker_get_loaded(MoeWorker *self);
/* What moe_worker_open was called with last, also if that failed; NULL before. */
const MoeOpenParams *moe_worker_get_params(MoeWorker *self);

/* Ends what runs, closes what is open and opens this; params may be NULL. */
void moe_worker_open(MoeWorker *self, const MoeOpenParams *params);
/* Queues a run; the number by which its signals name it. Where no model is open it fails; what was
 * queued as the device was lost fails with that. */
guint moe_worker_generate(MoeWorker *self, const MoeGenerateParams *params);
/* Queues the routes of messages that are there, and nothing is generated; the number by which its
 * signals name it: "tokens" once, as of a prompt, "routes" bit by bit, "finished". What the context
 * has no room for has none. Whatever is asked for later ends it, another one of these included. */
guint moe_worker_route(MoeWorker *self, const MoeGenerateParams *params);
/* Ends that, and nothing else. */
void moe_worker_end_route(MoeWorker *self);

/* What a called function may use, on the worker's thread, until it returns. */
typedef struct MoeEngine {
    vkmoe_device *device;       /* NULL: none is open */
    vkmoe_model *model;         /* NULL: none is open */
    vkmoe_tokenizer *tokenizer; /* NULL: none is open */
} MoeEngine;
typedef void MoeWorkerFunc(MoeWorker *self, const MoeEngine *engine, gpointer data);
/* Queues a function to be run on the worker's thread, with no session open: for what needs the
 * device and is no text. It may ask moe_worker_is_cancelled() now and then. `done` (may be NULL)
 * is called on the main thread afterwards. */
void moe_worker_call(MoeWorker *self, MoeWorkerFunc *func, MoeWorkerFunc *done, gpointer data);

/* Ends the job that runs, and those that wait, as soon as the device is done with what it has in
 * hand. */
void moe_worker_cancel(MoeWorker *self);
/* Whether the job that runs should end. Any thread. */
bool moe_worker_is_cancelled(MoeWorker *self);

/* Where the shipped model should be; to be freed. */
char *moe_shipped_model(void);

G_END_DECLS

#endif
