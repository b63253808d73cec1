/* What the worker's thread has to tell the main thread, in order, with runs of tokens as one. */
#ifndef MOE_EVENTS_H
#define MOE_EVENTS_H

#include "engine.h"

/* What an event is about. */
typedef enum MoeEventKind {
    MOE_EVENT_STATE,
    MOE_EVENT_PROGRESS,
    MOE_EVENT_TOKENS,
    MOE_EVENT_ROUTES,
    MOE_EVENT_FINISHED,
    MOE_EVENT_CALLED,
} MoeEventKind;

/* One event; it owns what it points to but for `data`. */
typedef struct MoeEvent {
    MoeEventKind kind;
    MoeWorkerState state; /* STATE */
    guint opens;          /* STATE: how many opens were begun by then */
    MoeLoaded *loaded;    /* STATE: what was opened, NULL: nothing since */
    vkmoe_error error;    /* STATE: why nothing is; status OK for no reason */
    double share;         /* PROGRESS */
    MoeTokenBatch batch;  /* TOKENS, with pointers into: */
    GArray *tokens;       /* MoeToken */
    GString *text;
    MoeRouteBatch routes;  /* ROUTES, with pointers of its own */
    MoeRunResult finished; /* FINISHED */
    MoeWorkerFunc *done;   /* CALLED */
    gpointer data;
} MoeEvent;

MoeEvent *moe_event_new(MoeEventKind kind);
void moe_event_free(MoeEvent *event);

/* Copies of what is valid only now. */
MoeEvent *moe_event_new_tokens(const MoeTokenBatch *batch);
MoeEvent *moe_event_new_routes(const MoeRouteBatch *batch);

/* Takes the event; it may become part of the last one. */
void moe_events_push(GQueue *events, MoeEvent *event);

#endif
