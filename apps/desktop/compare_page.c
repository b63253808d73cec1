#include "compare_page.h"

#include <math.h>

#include "application.h"
#include "sentence.h"

/* What a side is made of on screen, and the run that fills it. */
struct pane {
    GtkLabel *settings, *worth;
    GtkTextView *view;
    GtkTextTag *apart; /* text from where the sides part */
    GtkTextTag *first; /* of it, the first token */
    guint run;         /* 0: none */
    GString *text;     /* of the answer */
    int characters;    /* in it */
    GArray *positions; /* guint32 of the answer's tokens, in the sequence */
};

struct _MoeComparePage {
    GtkWidget parent_instance;
    GtkWidget *box; /* all of it */
    GtkLabel *left_settings, *right_settings, *left_worth, *right_worth, *summary;
    GtkTextView *left_view, *right_view;
    GtkSpinButton *length;
    struct pane panes[MOE_N_SIDES];
    MoeWindow *window; /* that it lives in */
    MoeWorker *worker;
    MoeSteering *steering, *left; /* now, and the left side's */
    MoeComparison *comparison;
};

G_DEFINE_FINAL_TYPE(MoeComparePage, moe_compare_page, GTK_TYPE_WIDGET)

MoeComparison *moe_compare_page_get_comparison(MoeComparePage *self)
{
    return self->comparison;
}

gboolean moe_compare_page_is_running(MoeComparePage *self)
{
    return self->panes[MOE_SIDE_LEFT].run != 0 || self->panes[MOE_SIDE_RIGHT].run != 0;
}

/* --- showing --- */

static void mark(struct pane *pane, GtkTextTag *tag, const char *before, const char *text)
{
    GtkTextBuffer *buffer = gtk_text_view_get_buffer(pane->view);
    GtkTextIter from, to;
    int start = (int)g_utf8_strlen(before, -1);
    gtk_text_buffer_get_iter_at_offset(buffer, &from, start);
    gtk_text_buffer_get_iter_at_offset(buffer, &to, start + (int)g_utf8_strlen(text, -1));
    gtk_text_buffer_apply_tag(buffer, tag, &from, &to);
}

static void show_side(MoeComparePage *self, MoeSide side)
{
    struct pane *pane = &self->panes[side];
    int parting = moe_comparison_get_parting(self->comparison);
    guint n = moe_comparison_get_length(self->comparison, side);
    guint at = parting < 0 ? n : (guint)parting;
    g_autofree char *same = moe_comparison_dup_text(self->comparison, side, 0, at);
    g_autofree char *first = moe_comparison_dup_text(self->comparison, side, at, at + 1);
    g_autofree char *rest = moe_comparison_dup_text(self->comparison, side, at, n);
    g_autofree char *all = g_strconcat(same, rest, NULL);
    double mean = moe_comparison_get_mean_logprob(self->comparison, side);
    g_autofree char *worth = !isnan(mean)
                                 ? g_strdup_printf("%u tokens · %.3f nats per token", n, mean)
                                 : g_strdup_printf("%u tokens", n);
    gtk_text_buffer_set_text(gtk_text_view_get_buffer(pane->view), all, -1);
    mark(pane, pane->apart, same, rest);
    mark(pane, pane->first, same, first);
    gtk_label_set_label(pane->worth, n > 0 ? worth : "");
}

static void show_settings(MoeComparePage *self)
{
    g_autofree char *left = moe_steering_describe(self->left);
    g_autofree char *right = moe_steering_describe(self->steering);
    if (moe_compare_page_is_running(self))
        return;
    if (moe_comparison_get_length(self->comparison, MOE_SIDE_LEFT) == 0) {
        gtk_label_set_label(self->left_settings, left);
        gtk_label_set_label(self->right_settings, right);
    }
}

static void show(MoeComparePage *self)
{
    gboolean any = moe_comparison_get_length(self->comparison, MOE_SIDE_LEFT) > 0;
    g_autofree char *summary = moe_comparison_summarise(self->comparison);
    for (int side = 0; side < MOE_N_SIDES; side++)
        show_side(self, (MoeSide)side);
    gtk_label_set_label(
        self->summary, any ? summary
                           : "Run Both continues the same prompt twice, with the same seed. The "
                             "right text follows the settings of the page Experts, the left one "
                             "those that Keep on the Left kept; before, as the model was trained.");
}

static void update_actions(MoeComparePage *self)
{
    gboolean running = moe_compare_page_is_running(self);
    MoeWorkerState state = moe_worker_get_state(self->worker);
    gboolean busy = state == MOE_WORKER_GENERATING || state == MOE_WORKER_RUNNING;
    gtk_widget_action_set_enabled(GTK_WIDGET(self), "compare.run",
                                  moe_worker_is_ready(self->worker) && !running);
    gtk_widget_action_set_enabled(GTK_WIDGET(self), "compare.stop", running && busy);
    gtk_widget_action_set_enabled(GTK_WIDGET(self), "compare.keep", !running);
}

/* --- running --- */

static int side_of(MoeComparePage *self, guint run)
{
    for (int side = 0; side < MOE_N_SIDES; side++)
        if (run != 0 && self->panes[side].run == run)
            return side;
    return -1;
}

/* The characters of each token lie somewhere in the answer's text, of which this is the end. */
static void on_tokens(MoeComparePage *self, const MoeTokenBatch *batch)
{
    int side = side_of(self, batch->run);
    if (side < 0 || batch->prompt)
        return;
    struct pane *pane = &self->panes[side];
    g_string_append(pane->text, batch->text);
    pane->characters += (int)g_utf8_strlen(batch->text, -1);
    for (guint i = 0; i < batch->count; i++) {
        const MoeToken *t = &batch->tokens[i];
        int from = MIN((int)t->start, pane->characters);
        int to = MIN((int)(t->start + t->length), pane->characters);
        const char *begin = g_utf8_offset_to_pointer(pane->text->str, from);
        const char *end = g_utf8_offset_to_pointer(begin, to - from);
        moe_comparison_append(self->comparison, (MoeSide)side, t->id, begin, (gsize)(end - begin));
        g_array_append_val(pane->positions, t->position);
    }
    show(self);
}

static void take_losses(MoeComparePage *self, MoeSide side, const MoeResult *result)
{
    GArray *positions = self->panes[side].positions;
    g_autofree float *losses = g_new(float, MAX(positions->len, 1));
    for (guint i = 0; i < positions->len; i++) {
        guint32 position = g_array_index(positions, guint32, i);
        losses[i] =
            position > 0 && position - 1 < result->n_losses ? result->losses[position - 1] : NAN;
    }
    moe_comparison_set_losses(self->comparison, side, losses, positions->len);
}

/* What the worker says about a lost device brings a way to try again along. */
static void say_failure(MoeComparePage *self, const MoeResult *result)
{
    if (result->status == VKMOE_OK || result->status == VKMOE_CANCELLED ||
        result->status == VKMOE_DEVICE_LOST)
        return;
    g_autofree char *sentence = moe_sentence(result->message);
    moe_window_show_error(self->window, sentence, FALSE);
}

static void on_finished(MoeComparePage *self, const MoeResult *result)
{
    int side = side_of(self, result->run);
    if (side < 0)
        return;
    self->panes[side].run = 0;
    if (result->losses)
        take_losses(self, (MoeSide)side, result);
    moe_comparison_finish(self->comparison, (MoeSide)side);
    say_failure(self, result);
    show(self);
    update_actions(self);
}

static void run_side(MoeComparePage *self, MoeSide side, MoeSteering *steering,
                     const MoeGenerateParams *what)
{
    struct pane *pane = &self->panes[side];
    MoeGenerateParams params = *what;
    const MoeShape *shape = moe_steering_get_shape(steering);
    guint8 *states = moe_steering_apply(steering, &params.routing.routing);
    g_autoptr(GBytes) bytes =
        states ? g_bytes_new_take(states, (gsize)shape->n_layers * shape->n_experts) : NULL;
    params.routing.states = bytes;
    params.want_losses = true;
    params.max_tokens = (size_t)gtk_spin_button_get_value_as_int(self->length);
    g_string_truncate(pane->text, 0);
    pane->characters = 0;
    g_array_set_size(pane->positions, 0);
    pane->run = moe_worker_generate(self->worker, &params);
    gtk_label_set_label(pane->settings, moe_comparison_get_settings(self->comparison, side));
}

static void run_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    MoeComparePage *self = MOE_COMPARE_PAGE(widget);
    MoeGenerateParams params = {0};
    (void)name, (void)parameter;
    if (!moe_window_get_run(self->window, &params)) {
        gtk_label_set_label(self->summary, "Type something for both to continue.");
        return;
    }
    g_autofree char *left = moe_steering_describe(self->left);
    g_autofree char *right = moe_steering_describe(self->steering);
    moe_comparison_begin(self->comparison, left, right);
    run_side(self, MOE_SIDE_LEFT, self->left, &params);
    run_side(self, MOE_SIDE_RIGHT, self->steering, &params);
    g_ptr_array_unref((GPtrArray *)params.messages);
    show(self);
    update_actions(self);
}

static void stop_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    (void)name, (void)parameter;
    moe_worker_cancel(MOE_COMPARE_PAGE(widget)->worker);
}

static void keep_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    MoeComparePage *self = MOE_COMPARE_PAGE(widget);
    (void)name, (void)parameter;
    g_object_unref(self->left);
    self->left = moe_steering_copy(self->steering);
    moe_comparison_begin(self->comparison, "", "");
    show_settings(self);
    show(self);
}

/* --- the widget --- */

/* Another model: what was kept is about the one before. */
static void on_steering(MoeComparePage *self)
{
    const MoeShape *now = moe_steering_get_shape(self->steering);
    const MoeShape *kept = moe_steering_get_shape(self->left);
    if (now->n_layers != kept->n_layers || now->n_experts != kept->n_experts ||
        now->n_active != kept->n_active || now->n_shared != kept->n_shared)
        moe_steering_set_shape(self->left, now);
    show_settings(self);
}

static void moe_compare_page_dispose(GObject *object)
{
    g_clear_pointer(&MOE_COMPARE_PAGE(object)->box, gtk_widget_unparent);
    G_OBJECT_CLASS(moe_compare_page_parent_class)->dispose(object);
}

static void moe_compare_page_finalize(GObject *object)
{
    MoeComparePage *self = MOE_COMPARE_PAGE(object);
    for (int side = 0; side < MOE_N_SIDES; side++) {
        g_string_free(self->panes[side].text, TRUE);
        g_array_unref(self->panes[side].positions);
    }
    g_clear_object(&self->worker);
    g_clear_object(&self->steering);
    g_clear_object(&self->left);
    g_clear_object(&self->comparison);
    G_OBJECT_CLASS(moe_compare_page_parent_class)->finalize(object);
}

static void moe_compare_page_class_init(MoeComparePageClass *class)
{
    GtkWidgetClass *widget = GTK_WIDGET_CLASS(class);
    G_OBJECT_CLASS(class)->dispose = moe_compare_page_dispose;
    G_OBJECT_CLASS(class)->finalize = moe_compare_page_finalize;
    gtk_widget_class_set_layout_manager_type(widget, GTK_TYPE_BIN_LAYOUT);
    gtk_widget_class_set_template_from_resource(widget, MOE_RESOURCES "compare_page.ui");
    gtk_widget_class_bind_template_child(widget, MoeComparePage, box);
    gtk_widget_class_bind_template_child(widget, MoeComparePage, left_settings);
    gtk_widget_class_bind_template_child(widget, MoeComparePage, right_settings);
    gtk_widget_class_bind_template_child(widget, MoeComparePage, left_worth);
    gtk_widget_class_bind_template_child(widget, MoeComparePage, right_worth);
    gtk_widget_class_bind_template_child(widget, MoeComparePage, left_view);
    gtk_widget_class_bind_template_child(widget, MoeComparePage, right_view);
    gtk_widget_class_bind_template_child(widget, MoeComparePage, length);
    gtk_widget_class_bind_template_child(widget, MoeComparePage, summary);
    gtk_widget_class_install_action(widget, "compare.run", NULL, run_action);
    gtk_widget_class_install_action(widget, "compare.stop", NULL, stop_action);
    gtk_widget_class_install_action(widget, "compare.keep", NULL, keep_action);
}

static void init_pane(struct pane *pane, GtkLabel *settings, GtkLabel *worth, GtkTextView *view)
{
    static const GdkRGBA apart = {0.90f, 0.45f, 0, 0.18f}, first = {0.90f, 0.45f, 0, 0.60f};
    GtkTextBuffer *buffer = gtk_text_view_get_buffer(view);
    *pane = (struct pane){
        .settings = settings,
        .worth = worth,
        .view = view,
        .text = g_string_new(NULL),
        .positions = g_array_new(FALSE, FALSE, sizeof(guint32)),
        .apart = gtk_text_buffer_create_tag(buffer, NULL, "background-rgba", &apart, NULL),
        .first = gtk_text_buffer_create_tag(buffer, NULL, "background-rgba", &first, "underline",
                                            PANGO_UNDERLINE_SINGLE, NULL),
    };
}

static void moe_compare_page_init(MoeComparePage *self)
{
    gtk_widget_init_template(GTK_WIDGET(self));
    init_pane(&self->panes[MOE_SIDE_LEFT], self->left_settings, self->left_worth, self->left_view);
    init_pane(&self->panes[MOE_SIDE_RIGHT], self->right_settings, self->right_worth,
              self->right_view);
    self->comparison = moe_comparison_new();
}

GtkWidget *moe_compare_page_new(MoeWindow *window, MoeSteering *steering)
{
    MoeComparePage *self = g_object_new(MOE_TYPE_COMPARE_PAGE, NULL);
    self->window = window;
    self->worker = g_object_ref(moe_window_get_worker(window));
    self->steering = g_object_ref(steering);
    self->left = moe_steering_new();
    moe_steering_set_shape(self->left, moe_steering_get_shape(steering));
    g_signal_connect_object(self->worker, "tokens", G_CALLBACK(on_tokens), self, G_CONNECT_SWAPPED);
    g_signal_connect_object(self->worker, "finished", G_CALLBACK(on_finished), self,
                            G_CONNECT_SWAPPED);
    g_signal_connect_object(self->worker, "notify::state", G_CALLBACK(update_actions), self,
                            G_CONNECT_SWAPPED);
    g_signal_connect_object(steering, "notify", G_CALLBACK(on_steering), self, G_CONNECT_SWAPPED);
    g_signal_connect_object(steering, "experts-changed", G_CALLBACK(on_steering), self,
                            G_CONNECT_SWAPPED);
    show_settings(self);
    show(self);
    update_actions(self);
    return GTK_WIDGET(self);
}
