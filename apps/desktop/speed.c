#include "speed.h"

#include "device.h"

/* Enough for steady figures, and a few seconds for a small model on a processor. */
#define PROMPT 64
#define GENERATE 16
#define REPETITIONS 2
#define POLL_MS 100

/* Shared with the worker's thread. */
struct measurement {
    MoeWorker *worker;
    vkmoe_bench_params params;
    gint done, total; /* atomic: repetitions of prompt and generation */
    gint cancelled;   /* atomic */
    bool ran;         /* it was not ended while it waited */
    vkmoe_bench_result prompt, generation;
    GError *error;
    MoeSpeed *speed; /* the main thread's; NULL once that is gone */
};

struct _MoeSpeed {
    GObject parent_instance;
    MoeWorker *worker;
    struct measurement *current; /* NULL: it is not running */
    struct measurement *last;    /* NULL: none */
    guint poll;
};

enum { PROP_0, PROP_RUNNING, PROP_FRACTION, N_PROPS };

G_DEFINE_TYPE(MoeSpeed, moe_speed, G_TYPE_OBJECT)

static void free_measurement(struct measurement *m)
{
    g_object_unref(m->worker);
    g_clear_error(&m->error);
    g_free(m);
}

/* --- on the worker's thread --- */

static bool on_progress(void *user, uint32_t done, uint32_t total)
{
    struct measurement *m = user;
    g_atomic_int_set(&m->done, (gint)done);
    g_atomic_int_set(&m->total, (gint)total);
    return !g_atomic_int_get(&m->cancelled) && !moe_worker_is_cancelled(m->worker);
}

static void measure(MoeWorker *worker, const MoeEngine *engine, gpointer data)
{
    struct measurement *m = data;
    vkmoe_error err = {.message = ""};
    (void)worker;
    m->ran = true;
    if (!engine->model) {
        m->error = g_error_new_literal(MOE_ERROR, VKMOE_NOT_FOUND, "no model is open");
        return;
    }
    vkmoe_status status =
        vkmoe_bench_run(engine->model, &m->params, &m->prompt, &m->generation, &err);
    if (status != VKMOE_OK)
        m->error = moe_error_new(status, &err);
}

/* --- on the main thread --- */

static void notify_all(MoeSpeed *self)
{
    g_object_notify(G_OBJECT(self), "running");
    g_object_notify(G_OBJECT(self), "fraction");
}

static void measured(MoeWorker *worker, const MoeEngine *engine, gpointer data)
{
    struct measurement *m = data;
    MoeSpeed *self = m->speed;
    (void)worker, (void)engine;
    if (!self) {
        free_measurement(m);
        return;
    }
    g_clear_handle_id(&self->poll, g_source_remove);
    self->current = NULL;
    if (!m->ran || g_error_matches(m->error, MOE_ERROR, VKMOE_CANCELLED)) {
        free_measurement(m);
    } else {
        g_clear_pointer(&self->last, free_measurement);
        self->last = m;
    }
    notify_all(self);
    g_signal_emit_by_name(self, "finished");
}

static gboolean on_poll(gpointer data)
{
    g_object_notify(data, "fraction");
    return G_SOURCE_CONTINUE;
}

void moe_speed_start(MoeSpeed *self)
{
    const MoeLoaded *loaded = moe_worker_get_loaded(self->worker);
    if (self->current)
        return;
    guint32 room = loaded ? loaded->context : 0;
    struct measurement *m = g_new0(struct measurement, 1);
    m->worker = g_object_ref(self->worker);
    m->speed = self;
    m->params = (vkmoe_bench_params){
        .prompt = room > 0 ? MIN(PROMPT, room) : PROMPT,
        .generate = room > 1 ? MIN(GENERATE, room - 1) : GENERATE,
        .kv = loaded ? loaded->params->kv : VKMOE_KV_F32,
        .repetitions = REPETITIONS,
        .profile = true,
        .progress = on_progress,
        .user = m,
    };
    self->current = m;
    self->poll = g_timeout_add(POLL_MS, on_poll, self);
    moe_worker_call(self->worker, measure, measured, m);
    notify_all(self);
}

void moe_speed_cancel(MoeSpeed *self)
{
    if (self->current)
        g_atomic_int_set(&self->current->cancelled, 1);
}

gboolean moe_speed_is_running(MoeSpeed *self)
{
    return self->current != NULL;
}

const vkmoe_bench_result *moe_speed_prompt(MoeSpeed *self)
{
    return self->last && !self->last->error ? &self->last->prompt : NULL;
}

const vkmoe_bench_result *moe_speed_generation(MoeSpeed *self)
{
    return self->last && !self->last->error ? &self->last->generation : NULL;
}

const char *moe_speed_error(MoeSpeed *self)
{
    return self->last && self->last->error ? self->last->error->message : NULL;
}

MoeSpeed *moe_speed_new(MoeWorker *worker)
{
    MoeSpeed *self = g_object_new(MOE_TYPE_SPEED, NULL);
    self->worker = g_object_ref(worker);
    return self;
}

static void finalize(GObject *object)
{
    MoeSpeed *self = MOE_SPEED(object);
    g_clear_handle_id(&self->poll, g_source_remove);
    if (self->current) { /* freed when the worker is done with it */
        moe_speed_cancel(self);
        self->current->speed = NULL;
    }
    g_clear_pointer(&self->last, free_measurement);
    g_object_unref(self->worker);
    G_OBJECT_CLASS(moe_speed_parent_class)->finalize(object);
}

static void get_property(GObject *object, guint id, GValue *value, GParamSpec *spec)
{
    MoeSpeed *self = MOE_SPEED(object);
    struct measurement *m = self->current;
    gint total = m ? g_atomic_int_get(&m->total) : 0;
    if (id == PROP_RUNNING)
        g_value_set_boolean(value, m != NULL);
    else if (id == PROP_FRACTION)
        g_value_set_double(value, total > 0 ? (double)g_atomic_int_get(&m->done) / total : 0);
    else
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
}

static void moe_speed_class_init(MoeSpeedClass *class)
{
    GParamFlags flags = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS;
    GObjectClass *object = G_OBJECT_CLASS(class);
    object->finalize = finalize;
    object->get_property = get_property;
    g_object_class_install_property(object, PROP_RUNNING,
                                    g_param_spec_boolean("running", NULL, NULL, FALSE, flags));
    g_object_class_install_property(object, PROP_FRACTION,
                                    g_param_spec_double("fraction", NULL, NULL, 0, 1, 0, flags));
    g_signal_new("finished", MOE_TYPE_SPEED, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE,
                 0);
}

static void moe_speed_init(MoeSpeed *self)
{
    (void)self;
}
