#include "worker.h"

#include <sys/resource.h>

#include "events.h"

/* How often results are handed over, at most. */
#define INTERVAL_US (G_USEC_PER_SEC / 30)
/* The driver's threads, which inherit this, leave a busy processor to the windows. */
#define NICENESS 10

/* --- jobs --- */

enum job_kind { JOB_OPEN, JOB_GENERATE, JOB_ROUTE, JOB_CALL, JOB_QUIT };

struct job {
    enum job_kind kind;
    gint serial;                /* cancelled if below the worker's */
    gint turn;                  /* likewise, if it gives way */
    MoeOpenParams *open;        /* OPEN */
    MoeGenerateParams params;   /* GENERATE and ROUTE, with messages and states of its own */
    guint run;                  /* GENERATE and ROUTE */
    MoeWorkerFunc *func, *done; /* CALL */
    gpointer data;              /* CALL */
};

static void job_free(struct job *job)
{
    moe_open_params_free(job->open);
    if (job->params.messages)
        g_ptr_array_unref((GPtrArray *)(gpointer)job->params.messages);
    if (job->params.routing.states)
        g_bytes_unref(job->params.routing.states);
    g_free(job);
}

struct _MoeWorker {
    GObject parent;
    /* the main thread's */
    MoeWorkerState state;
    MoeLoaded *loaded;
    MoeOpenParams *params;
    vkmoe_error error;
    guint last_run;
    guint opens;    /* that were asked for */
    gint64 flushed; /* when results were handed over last; read under the lock */

    GThread *thread;
    GAsyncQueue *jobs;
    gint serial; /* atomic: jobs of lower ones are cancelled */
    gint turn;   /* atomic: those of lower ones that give way are, too */

    /* the worker thread's */
    MoeRuntime runtime;
    const struct job *job;
    guint begun;      /* of the opens */
    vkmoe_error lost; /* the device was, since; else its status is OK */

    GMutex lock; /* of what follows */
    GQueue events;
    GSource *source;        /* that will hand them over; NULL: none */
    vkmoe_session *session; /* that may be cancelled */
    bool yields;            /* what uses it gives way */
};

G_DEFINE_FINAL_TYPE(MoeWorker, moe_worker, G_TYPE_OBJECT)

enum { PROP_STATE = 1, N_PROPS };
enum { LOAD_PROGRESS, TOKENS, ROUTES, FINISHED, N_SIGNALS };
static GParamSpec *properties[N_PROPS];
static guint signals[N_SIGNALS];

/* --- handing over, on the main thread --- */

static void take_state(MoeWorker *self, MoeEvent *event)
{
    if (event->opens != self->opens)
        return; /* of what will not be there for long */
    self->state = event->state;
    self->error = event->error;
    if (event->loaded || event->state == MOE_WORKER_EMPTY) {
        moe_loaded_free(self->loaded);
        self->loaded = g_steal_pointer(&event->loaded);
    }
    g_object_notify_by_pspec(G_OBJECT(self), properties[PROP_STATE]);
}

static void hand_over(MoeWorker *self, MoeEvent *event)
{
    switch (event->kind) {
    case MOE_EVENT_STATE:
        take_state(self, event);
        break;
    case MOE_EVENT_PROGRESS:
        g_signal_emit(self, signals[LOAD_PROGRESS], 0, event->share);
        break;
    case MOE_EVENT_TOKENS:
        event->batch.tokens = (const MoeToken *)(gpointer)event->tokens->data;
        event->batch.count = event->tokens->len;
        event->batch.text = event->text->str;
        g_signal_emit(self, signals[TOKENS], 0, &event->batch);
        break;
    case MOE_EVENT_ROUTES:
        g_signal_emit(self, signals[ROUTES], 0, &event->routes);
        break;
    case MOE_EVENT_FINISHED:
        event->finished.result.message =
            event->finished.result.status == VKMOE_OK ? "" : event->finished.err.message;
        g_signal_emit(self, signals[FINISHED], 0, &event->finished.result);
        break;
    case MOE_EVENT_CALLED:
        event->done(self, NULL, event->data);
        break;
    }
}

static gboolean flush(gpointer data)
{
    MoeWorker *self = g_object_ref(data);
    GQueue events;
    g_mutex_lock(&self->lock);
    events = self->events;
    g_queue_init(&self->events);
    g_clear_pointer(&self->source, g_source_unref);
    self->flushed = g_get_monotonic_time();
    g_mutex_unlock(&self->lock);
    MoeEvent *event;
    while ((event = g_queue_pop_head(&events))) {
        hand_over(self, event);
        moe_event_free(event);
    }
    g_mutex_lock(&self->lock);
    self->flushed = g_get_monotonic_time();
    g_mutex_unlock(&self->lock);
    g_object_unref(self);
    return G_SOURCE_REMOVE;
}

/* On the worker's thread. */
static void tell(MoeWorker *self, MoeEvent *event)
{
    g_mutex_lock(&self->lock);
    moe_events_push(&self->events, event);
    if (!self->source) {
        gint64 wait = self->flushed + INTERVAL_US - g_get_monotonic_time();
        self->source = g_timeout_source_new(wait > 0 ? (guint)(wait / 1000) : 0);
        g_source_set_callback(self->source, flush, self, NULL);
        g_source_attach(self->source, NULL);
    }
    g_mutex_unlock(&self->lock);
}

static MoeEvent *state_event(MoeWorker *self, MoeWorkerState state, const vkmoe_error *error)
{
    MoeEvent *event = moe_event_new(MOE_EVENT_STATE);
    event->state = state;
    event->opens = self->begun;
    if (error)
        event->error = *error;
    return event;
}

static void tell_state(MoeWorker *self, MoeWorkerState state, const vkmoe_error *error)
{
    tell(self, state_event(self, state, error));
}

/* --- jobs, on the worker's thread --- */

static bool on_cancelled(void *user)
{
    const MoeWorker *self = user;
    const struct job *job = self->job;
    return job->serial < g_atomic_int_get(&self->serial) ||
           (job->kind == JOB_ROUTE && job->turn < g_atomic_int_get(&self->turn));
}

bool moe_worker_is_cancelled(MoeWorker *self)
{
    return on_cancelled(self);
}

static bool on_progress(void *user, double share)
{
    MoeEvent *event = moe_event_new(MOE_EVENT_PROGRESS);
    event->share = share;
    tell(user, event);
    return !on_cancelled(user);
}

static void on_session(void *user, vkmoe_session *session)
{
    MoeWorker *self = user;
    g_mutex_lock(&self->lock);
    self->session = session;
    self->yields = self->job->kind == JOB_ROUTE;
    if (session && on_cancelled(self))
        vkmoe_session_cancel(session);
    g_mutex_unlock(&self->lock);
}

static void on_tokens(void *user, const MoeTokenBatch *batch)
{
    tell(user, moe_event_new_tokens(batch));
}

static void on_routes(void *user, const MoeRouteBatch *batch)
{
    tell(user, moe_event_new_routes(batch));
}

static MoeListener listener_of(MoeWorker *self)
{
    return (MoeListener){.progress = on_progress,
                         .session = on_session,
                         .cancelled = on_cancelled,
                         .tokens = on_tokens,
                         .routes = on_routes,
                         .user = self};
}

static void cancelled_error(vkmoe_error *err)
{
    *err = (vkmoe_error){.status = VKMOE_CANCELLED};
    g_strlcpy(err->message, "cancelled", sizeof(err->message));
}

static MoeWorkerState resting_state(const MoeWorker *self)
{
    return self->runtime.loaded ? MOE_WORKER_READY : MOE_WORKER_EMPTY;
}

static void do_open(MoeWorker *self, const struct job *job)
{
    const MoeListener listener = listener_of(self);
    vkmoe_error err = {0};
    moe_runtime_close(&self->runtime);
    self->lost = (vkmoe_error){0};
    self->begun++;
    vkmoe_status status = moe_runtime_open(&self->runtime, job->open, &listener, &err);
    MoeEvent *event = state_event(self, resting_state(self), status == VKMOE_OK ? NULL : &err);
    if (status == VKMOE_OK)
        event->loaded = moe_loaded_copy(self->runtime.loaded);
    tell(self, event);
}

/* Whether it was not somebody's wish that a job ends. */
static bool gave_way(const MoeWorker *self, const struct job *job)
{
    return job->kind == JOB_ROUTE && job->serial == g_atomic_int_get(&self->serial);
}

/* Ends what need not begin: it was cancelled, or the device is gone that it was asked for. */
static bool ends_at_once(MoeWorker *self, const struct job *job, MoeRunResult *finished)
{
    bool cancelled = on_cancelled(self);
    if (!cancelled && self->lost.status == VKMOE_OK)
        return false;
    if (cancelled)
        cancelled_error(&finished->err);
    else
        finished->err = self->lost;
    finished->result.run = job->run;
    finished->result.status = finished->err.status;
    finished->result.gave_way = cancelled && gave_way(self, job);
    return true;
}

static void do_text(MoeWorker *self, const struct job *job)
{
    const MoeListener listener = listener_of(self);
    MoeEvent *event = moe_event_new(MOE_EVENT_FINISHED);
    MoeResult *result = &event->finished.result;
    bool route = job->kind == JOB_ROUTE;
    if (ends_at_once(self, job, &event->finished)) {
        tell(self, event);
        return;
    }
    tell_state(self, route ? MOE_WORKER_ROUTING : MOE_WORKER_GENERATING, NULL);
    (route ? moe_runtime_route : moe_runtime_generate)(&self->runtime, job->run, &job->params,
                                                       &listener, &event->finished);
    result->gave_way = result->status == VKMOE_CANCELLED && gave_way(self, job);
    if (result->status == VKMOE_DEVICE_LOST) {
        self->lost = event->finished.err;
        moe_runtime_close(&self->runtime);
    }
    tell(self, event);
    tell_state(self, resting_state(self), self->lost.status ? &self->lost : NULL);
}

static void do_call(MoeWorker *self, const struct job *job)
{
    MoeEvent *event = moe_event_new(MOE_EVENT_CALLED);
    event->done = job->done;
    event->data = job->data;
    if (!on_cancelled(self)) {
        tell_state(self, MOE_WORKER_RUNNING, NULL);
        moe_runtime_close_session(&self->runtime);
        job->func(self, &self->runtime.open, job->data);
        tell_state(self, resting_state(self), NULL);
    }
    if (event->done)
        tell(self, event);
    else
        moe_event_free(event);
}

static gpointer work(gpointer data)
{
    MoeWorker *self = data;
    bool quit = false;
    setpriority(PRIO_PROCESS, 0, NICENESS); /* of this thread; no matter if that is not possible */
    while (!quit) {
        struct job *job = g_async_queue_pop(self->jobs);
        self->job = job;
        switch (job->kind) {
        case JOB_OPEN:
            do_open(self, job);
            break;
        case JOB_GENERATE:
        case JOB_ROUTE:
            do_text(self, job);
            break;
        case JOB_CALL:
            do_call(self, job);
            break;
        case JOB_QUIT:
            quit = true;
            break;
        }
        job_free(job);
    }
    moe_runtime_close(&self->runtime);
    return NULL;
}

/* --- asking for work, on the main thread --- */

static struct job *job_new(MoeWorker *self, enum job_kind kind)
{
    struct job *job = g_new0(struct job, 1);
    job->kind = kind;
    job->serial = g_atomic_int_get(&self->serial);
    job->turn = g_atomic_int_get(&self->turn);
    return job;
}

void moe_worker_cancel(MoeWorker *self)
{
    g_mutex_lock(&self->lock);
    g_atomic_int_inc(&self->serial);
    if (self->session)
        vkmoe_session_cancel(self->session);
    g_mutex_unlock(&self->lock);
}

void moe_worker_end_route(MoeWorker *self)
{
    g_mutex_lock(&self->lock);
    g_atomic_int_inc(&self->turn);
    if (self->session && self->yields)
        vkmoe_session_cancel(self->session);
    g_mutex_unlock(&self->lock);
}

void moe_worker_open(MoeWorker *self, const MoeOpenParams *params)
{
    MoeOpenParams *copy = moe_open_params_copy(params); /* params may be our own */
    moe_worker_cancel(self);
    moe_open_params_free(self->params);
    self->params = copy;
    struct job *job = job_new(self, JOB_OPEN);
    job->open = moe_open_params_copy(copy);
    g_async_queue_push(self->jobs, job);
    self->opens++;
    self->state = MOE_WORKER_LOADING;
    self->error = (vkmoe_error){0};
    g_clear_pointer(&self->loaded, moe_loaded_free);
    g_object_notify_by_pspec(G_OBJECT(self), properties[PROP_STATE]);
}

static guint ask_for_text(MoeWorker *self, enum job_kind kind, const MoeGenerateParams *params)
{
    moe_worker_end_route(self);
    struct job *job = job_new(self, kind);
    guint run = ++self->last_run;
    job->run = run;
    job->params = *params;
    job->params.messages = moe_messages_copy(params->messages, NULL);
    if (params->routing.states)
        g_bytes_ref(params->routing.states);
    g_async_queue_push(self->jobs, job);
    return run;
}

guint moe_worker_generate(MoeWorker *self, const MoeGenerateParams *params)
{
    return ask_for_text(self, JOB_GENERATE, params);
}

guint moe_worker_route(MoeWorker *self, const MoeGenerateParams *params)
{
    return ask_for_text(self, JOB_ROUTE, params);
}

void moe_worker_call(MoeWorker *self, MoeWorkerFunc *func, MoeWorkerFunc *done, gpointer data)
{
    moe_worker_end_route(self);
    struct job *job = job_new(self, JOB_CALL);
    job->func = func;
    job->done = done;
    job->data = data;
    g_async_queue_push(self->jobs, job);
}

MoeWorkerState moe_worker_get_state(MoeWorker *self)
{
    return self->state;
}

bool moe_worker_is_ready(MoeWorker *self)
{
    return self->state == MOE_WORKER_READY || self->state == MOE_WORKER_ROUTING;
}

const char *moe_worker_get_error(MoeWorker *self)
{
    return self->error.status == VKMOE_OK ? NULL : self->error.message;
}

vkmoe_status moe_worker_get_error_status(MoeWorker *self)
{
    return self->error.status;
}

const MoeLoaded *moe_worker_get_loaded(MoeWorker *self)
{
    return self->loaded;
}

const MoeOpenParams *moe_worker_get_params(MoeWorker *self)
{
    return self->params;
}

/* --- the object --- */

static void moe_worker_init(MoeWorker *self)
{
    g_mutex_init(&self->lock);
    g_queue_init(&self->events);
    self->jobs = g_async_queue_new();
    self->thread = g_thread_new("vkmoe", work, self);
}

static void moe_worker_dispose(GObject *object)
{
    MoeWorker *self = MOE_WORKER(object);
    if (self->thread) {
        moe_worker_cancel(self);
        g_async_queue_push(self->jobs, job_new(self, JOB_QUIT));
        g_thread_join(g_steal_pointer(&self->thread));
        if (self->source)
            g_source_destroy(self->source);
        g_clear_pointer(&self->source, g_source_unref);
    }
    G_OBJECT_CLASS(moe_worker_parent_class)->dispose(object);
}

static void moe_worker_finalize(GObject *object)
{
    MoeWorker *self = MOE_WORKER(object);
    g_queue_clear_full(&self->events, (GDestroyNotify)moe_event_free);
    g_async_queue_unref(self->jobs);
    moe_loaded_free(self->loaded);
    moe_open_params_free(self->params);
    g_mutex_clear(&self->lock);
    G_OBJECT_CLASS(moe_worker_parent_class)->finalize(object);
}

static void moe_worker_get_property(GObject *object, guint id, GValue *value, GParamSpec *spec)
{
    if (id == PROP_STATE)
        g_value_set_int(value, (int)MOE_WORKER(object)->state);
    else
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
}

static guint add_signal(const char *name, GType argument)
{
    return g_signal_new(name, MOE_TYPE_WORKER, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE,
                        1, argument);
}

static void moe_worker_class_init(MoeWorkerClass *class)
{
    GObjectClass *object = G_OBJECT_CLASS(class);
    object->dispose = moe_worker_dispose;
    object->finalize = moe_worker_finalize;
    object->get_property = moe_worker_get_property;
    properties[PROP_STATE] = g_param_spec_int("state", NULL, NULL, 0, MOE_WORKER_RUNNING, 0,
                                              G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);
    g_object_class_install_properties(object, N_PROPS, properties);
    signals[LOAD_PROGRESS] = add_signal("load-progress", G_TYPE_DOUBLE);
    signals[TOKENS] = add_signal("tokens", G_TYPE_POINTER);
    signals[ROUTES] = add_signal("routes", G_TYPE_POINTER);
    signals[FINISHED] = add_signal("finished", G_TYPE_POINTER);
}

MoeWorker *moe_worker_new(void)
{
    return g_object_new(MOE_TYPE_WORKER, NULL);
}
