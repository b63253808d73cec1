#include "experts.h"

#include "sentence.h"

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
    gboolean unrouted; /* the text that is shown was opened, and is to be routed again */
    guint route;       /* what does that; 0: nothing */
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

/* --- a text that was opened --- */

static void set_route(MoeExperts *self, guint route)
{
    self->route = route;
    moe_experts_page_set_routing(self->page, route != 0);
}

/* Routes are not kept with a text. They are computed again while nothing else is to be done, with
 * the experts that the next run would have. */
static void route_again(MoeExperts *self)
{
    MoeGenerateParams params;
    if (!self->unrouted || self->route != 0 || !moe_worker_is_ready(self->worker) ||
        moe_window_get_current_run(self->window) != 0)
        return;
    if (moe_route_log_get_shape(self->log)->n_layers == 0 ||
        !moe_window_get_text(self->window, &params)) {
        self->unrouted = FALSE;
        return;
    }
    get_routing(&params.routing, self);
    set_route(self, moe_worker_route(self->worker, &params));
    g_ptr_array_unref((GPtrArray *)(gpointer)params.messages);
}

/* What gave way goes on once the worker is ready again; what somebody stopped does not. */
static void on_finished(MoeExperts *self, const MoeResult *result)
{
    if (self->route == 0 || result->run != self->route)
        return;
    set_route(self, 0);
    self->unrouted = result->gave_way;
    if (result->status == VKMOE_OK || result->status == VKMOE_CANCELLED ||
        result->status == VKMOE_DEVICE_LOST) /* the last of which the window says */
        return;
    g_autofree char *sentence = moe_sentence(result->message);
    moe_window_show_error(self->window, sentence, FALSE);
}

static gboolean is_shown(MoeExperts *self, guint run)
{
    return run == moe_window_get_current_run(self->window) ||
           (self->route != 0 && run == self->route);
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
    if (!same || anew) {
        moe_route_log_set_shape(self->log, &shape);
        self->unrouted = TRUE;
    }
    route_again(self);
}

static void on_token_selected(MoeExperts *self, int position)
{
    g_autofree char *word =
        moe_transcript_dup_token_text(moe_window_get_transcript(self->window), position);
    moe_experts_page_set_token(self->page, position, word);
}

static void on_routes(MoeExperts *self, const MoeRouteBatch *batch)
{
    if (!is_shown(self, batch->run) ||
        batch->layers != moe_route_log_get_shape(self->log)->n_layers)
        return;
    moe_route_log_append(self->log, batch->first, batch->count, batch->ranks, batch->ids,
                         batch->gates, batch->probs, g_get_monotonic_time());
    int selected = moe_transcript_get_selected(moe_window_get_transcript(self->window));
    if (selected >= (int)batch->first && selected < (int)(batch->first + batch->count))
        on_token_selected(self, selected); /* before its route was known */
}

/* A run begins: what came after its prompt before is gone, and it routes what came before. */
static void on_tokens(MoeExperts *self, const MoeTokenBatch *batch)
{
    if (!batch->prompt || !is_shown(self, batch->run))
        return;
    moe_route_log_truncate(self->log, batch->count);
    if (batch->run == self->route)
        moe_transcript_add_tokens(moe_window_get_transcript(self->window), batch->tokens,
                                  batch->count, TRUE);
    else
        self->unrouted = FALSE;
}

/* --- the text --- */

static void on_cleared(MoeExperts *self)
{
    moe_route_log_truncate(self->log, 0);
    moe_route_log_darken(self->log);
    if (self->route != 0)
        moe_worker_end_route(self->worker);
    set_route(self, 0);
    self->unrouted = TRUE;
    route_again(self);
}

static void on_route_closed(MoeExperts *self)
{
    moe_transcript_select(moe_window_get_transcript(self->window), -1);
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
    g_signal_connect_object(self->worker, "finished", G_CALLBACK(on_finished), self,
                            G_CONNECT_SWAPPED);
    g_signal_connect_object(window, "cleared", G_CALLBACK(on_cleared), self, G_CONNECT_SWAPPED);
    g_signal_connect_object(moe_window_get_transcript(window), "token-selected",
                            G_CALLBACK(on_token_selected), self, G_CONNECT_SWAPPED);
    g_signal_connect_object(self->page, "served-changed", G_CALLBACK(on_served), self,
                            G_CONNECT_SWAPPED);
    g_signal_connect_object(self->page, "route-closed", G_CALLBACK(on_route_closed), self,
                            G_CONNECT_SWAPPED);
    on_state(self);
    g_object_set_data_full(G_OBJECT(window), key, self, g_object_unref);
    return self;
}
