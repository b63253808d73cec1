#include "experts.h"

struct _MoeExperts {
    GObject parent_instance;
    MoeWindow *window; /* which owns this */
    MoeWorker *worker;
    MoeRouteLog *log;
    MoeSteering *steering;
    MoeExpertsPage *page;         /* the window's */
    MoeComparePage *compare_page; /* likewise */
    GBytes *states;               /* of the run that was asked for last */
    gboolean loading;
};

G_DEFINE_FINAL_TYPE(MoeExperts, moe_experts, G_TYPE_OBJECT)

static const char key[] = "moe-experts";

MoeRouteLog *moe_experts_get_log(MoeExperts *self)
{
    return self->log;
}

MoeSteering *moe_experts_get_steering(MoeExperts *self)
{
    return self->steering;
}

MoeExpertsPage *moe_experts_get_page(MoeExperts *self)
{
    return self->page;
}

MoeComparePage *moe_experts_get_compare_page(MoeExperts *self)
{
    return self->compare_page;
}

MoeExperts *moe_experts_of(MoeWindow *window)
{
    return g_object_get_data(G_OBJECT(window), key);
}

/* --- the worker --- */

/* A model that was loaded anew has another text before it; steering stays where it fits. What a
 * failure closed stays in sight. */
static void on_state(MoeExperts *self)
{
    const MoeLoaded *loaded = moe_worker_get_loaded(self->worker);
    const MoeShape *before = moe_steering_get_shape(self->steering);
    gboolean anew = self->loading;
    self->loading = moe_worker_get_state(self->worker) == MOE_WORKER_LOADING;
    if (!loaded || self->loading)
        return;
    const MoeShape shape = {
        .n_layers = loaded->model.n_routed_experts > 0 ? loaded->model.n_moe_layers : 0,
        .n_experts = loaded->model.n_routed_experts,
        .n_active = loaded->model.n_experts_per_token,
        .n_shared = loaded->model.n_shared_experts,
    };
    gboolean same = shape.n_layers == before->n_layers && shape.n_experts == before->n_experts &&
                    shape.n_active == before->n_active && shape.n_shared == before->n_shared;
    if (!same)
        moe_steering_set_shape(self->steering, &shape);
    if (!same || anew)
        moe_route_log_set_shape(self->log, &shape);
}

static void on_routes(MoeExperts *self, const MoeRouteBatch *batch)
{
    if (batch->run == moe_window_get_current_run(self->window) &&
        batch->layers == moe_route_log_get_shape(self->log)->n_layers)
        moe_route_log_append(self->log, batch->first, batch->count, batch->ranks, batch->ids,
                             batch->gates, batch->probs, g_get_monotonic_time());
}

/* A run begins: what came after its prompt before is gone. */
static void on_tokens(MoeExperts *self, const MoeTokenBatch *batch)
{
    if (batch->prompt && batch->run == moe_window_get_current_run(self->window))
        moe_route_log_truncate(self->log, batch->count);
}

static void get_routing(MoeRouting *out, gpointer data)
{
    MoeExperts *self = data;
    const MoeShape *shape = moe_steering_get_shape(self->steering);
    guint8 *states = moe_steering_apply(self->steering, &out->routing);
    g_clear_pointer(&self->states, g_bytes_unref);
    if (states)
        self->states = g_bytes_new_take(states, (gsize)shape->n_layers * shape->n_experts);
    out->states = self->states;
}

/* --- the text --- */

static void on_cleared(MoeExperts *self)
{
    moe_route_log_truncate(self->log, 0);
    moe_route_log_darken(self->log);
}

static void on_token_selected(MoeExperts *self, int position)
{
    g_autofree char *word =
        moe_transcript_dup_token_text(moe_window_get_transcript(self->window), position);
    moe_experts_page_set_token(self->page, position, word);
}

static void on_served(MoeExperts *self)
{
    guint count;
    g_autofree float *weights = moe_experts_page_dup_served(self->page, &count);
    moe_transcript_tint(moe_window_get_transcript(self->window), 0, weights, count);
}

/* --- the object --- */

static void moe_experts_finalize(GObject *object)
{
    MoeExperts *self = MOE_EXPERTS(object);
    g_clear_object(&self->worker);
    g_clear_object(&self->log);
    g_clear_object(&self->steering);
    g_clear_pointer(&self->states, g_bytes_unref);
    G_OBJECT_CLASS(moe_experts_parent_class)->finalize(object);
}

static void moe_experts_class_init(MoeExpertsClass *class)
{
    G_OBJECT_CLASS(class)->finalize = moe_experts_finalize;
}

static void moe_experts_init(MoeExperts *self)
{
    self->log = moe_route_log_new();
    self->steering = moe_steering_new();
}

MoeExperts *moe_experts_attach(MoeWindow *window)
{
    MoeExperts *self = g_object_new(MOE_TYPE_EXPERTS, NULL);
    self->window = window;
    self->worker = g_object_ref(moe_window_get_worker(window));
    self->page = MOE_EXPERTS_PAGE(moe_experts_page_new(self->log, self->steering));
    self->compare_page = MOE_COMPARE_PAGE(moe_compare_page_new(window, self->steering));
    moe_window_add_page(window, GTK_WIDGET(self->page), "experts", "Experts");
    moe_window_add_page(window, GTK_WIDGET(self->compare_page), "compare", "Compare");
    moe_window_set_routing(window, get_routing, self);
    g_signal_connect_object(self->worker, "notify::state", G_CALLBACK(on_state), self,
                            G_CONNECT_SWAPPED);
    g_signal_connect_object(self->worker, "routes", G_CALLBACK(on_routes), self, G_CONNECT_SWAPPED);
    g_signal_connect_object(self->worker, "tokens", G_CALLBACK(on_tokens), self, G_CONNECT_SWAPPED);
    g_signal_connect_object(window, "cleared", G_CALLBACK(on_cleared), self, G_CONNECT_SWAPPED);
    g_signal_connect_object(moe_window_get_transcript(window), "token-selected",
                            G_CALLBACK(on_token_selected), self, G_CONNECT_SWAPPED);
    g_signal_connect_object(self->page, "served-changed", G_CALLBACK(on_served), self,
                            G_CONNECT_SWAPPED);
    on_state(self);
    g_object_set_data_full(G_OBJECT(window), key, self, g_object_unref);
    return self;
}
