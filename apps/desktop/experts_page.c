#include "experts_page.h"

#include "application.h"
#include "expert_text.h"
#include "load_chart.h"
#include "map_legend.h"

#define FEW_LAYERS 8 /* that need not fill the page */
#define TINT_INTERVAL_MS 400

struct _MoeExpertsPage {
    GtkWidget parent_instance;
    GtkScrolledWindow *map_scroller;
    GtkStack *stack, *detail;
    GtkLabel *expert_label, *load_label, *layer_label, *model_label;
    GtkWidget *zoom_in, *zoom_out, *fit;
    MoeMapLegend *legend;
    MoeLoadChart *chart;
    MoeRoutePanel *route;
    MoeSteeringPanel *panel;
    MoeExpertMap *map;
    MoeRouteLog *log;
    MoeSteering *steering;
    guint pending;    /* timeout after which tints are made anew */
    gboolean routing; /* the text that is shown: its routes come soon */
};

G_DEFINE_FINAL_TYPE(MoeExpertsPage, moe_experts_page, GTK_TYPE_WIDGET)

enum { SERVED_CHANGED, ROUTE_CLOSED, N_SIGNALS };
static guint signals[N_SIGNALS];

MoeExpertMap *moe_experts_page_get_map(MoeExpertsPage *self)
{
    return self->map;
}

MoeRoutePanel *moe_experts_page_get_route_panel(MoeExpertsPage *self)
{
    return self->route;
}

MoeSteeringPanel *moe_experts_page_get_steering_panel(MoeExpertsPage *self)
{
    return self->panel;
}

/* --- showing --- */

static void show_words(MoeExpertsPage *self)
{
    guint layer, expert;
    moe_expert_map_get_cursor(self->map, &layer, &expert);
    g_autofree char *about_expert = moe_expert_text(
        self->log, self->steering, moe_expert_map_get_token(self->map), layer, expert);
    g_autofree char *about_layer = moe_layer_text(self->log, self->steering, layer);
    g_autofree char *about_model = moe_model_text(self->log, self->steering);
    const char *advice = moe_route_log_get_length(self->log) > 0
                             ? "Click a word of the text to see which experts it woke"
                         : self->routing ? "The words of the text are being routed"
                                         : "Run the text to see which experts its words wake";
    g_autofree char *load = g_strdup_printf("Load of layer %u by expert. %s.", layer, advice);
    g_autofree char *all = g_strdup_printf("All layers: %s", about_model);
    gtk_label_set_label(self->expert_label, about_expert);
    gtk_label_set_label(self->load_label, load);
    gtk_label_set_label(self->layer_label, about_layer);
    gtk_label_set_label(self->model_label, all);
}

static void show_legend(MoeExpertsPage *self)
{
    const MoeShape *shape = moe_route_log_get_shape(self->log);
    int token = moe_expert_map_get_token(self->map);
    double largest =
        token < 0 ? 0 : (double)moe_route_log_get_largest_gate(self->log, (guint)token);
    double even = shape->n_experts > 0 ? moe_route_log_get_even_share(self->log, 0) : 0;
    moe_map_legend_show(self->legend, largest, even, shape->n_shared > 0);
}

/* A route while a token is looked at, which ends where it is gone. */
static void show_detail(MoeExpertsPage *self)
{
    gtk_stack_set_visible_child_name(
        self->detail, moe_route_panel_get_token(self->route) >= 0 ? "route" : "load");
}

static void on_cursor(MoeExpertsPage *self)
{
    guint layer, expert;
    moe_expert_map_get_cursor(self->map, &layer, &expert);
    moe_load_chart_show(self->chart, layer, expert);
    moe_steering_panel_set_layer(self->panel, layer);
    show_words(self);
}

/* Tinting a long text takes a while: as tokens come, only now and then. */
static gboolean tell_served(gpointer data)
{
    MoeExpertsPage *self = data;
    self->pending = 0;
    g_signal_emit(self, signals[SERVED_CHANGED], 0);
    return G_SOURCE_REMOVE;
}

static void on_log_changed(MoeExpertsPage *self)
{
    guint layer, expert;
    const MoeShape *shape = moe_route_log_get_shape(self->log);
    gtk_stack_set_visible_child_name(self->stack, shape->n_experts > 0 ? "experts" : "none");
    gtk_widget_set_vexpand(GTK_WIDGET(self->map_scroller), shape->n_layers > FEW_LAYERS);
    show_words(self);
    show_legend(self);
    show_detail(self);
    if (moe_expert_map_get_selected(self->map, &layer, &expert) && self->pending == 0)
        self->pending = g_timeout_add(TINT_INTERVAL_MS, tell_served, self);
}

static void on_selection(MoeExpertsPage *self)
{
    g_signal_emit(self, signals[SERVED_CHANGED], 0);
}

static void on_layer_activated(MoeExpertsPage *self, guint layer)
{
    guint before, expert;
    MoeRank rank = {0};
    moe_expert_map_get_cursor(self->map, &before, &expert);
    if (moe_route_log_get_rank(self->log, (guint)moe_expert_map_get_token(self->map), layer, 0,
                               &rank))
        expert = rank.expert;
    moe_expert_map_set_cursor(self->map, layer, expert);
}

void moe_experts_page_set_token(MoeExpertsPage *self, int token, const char *word)
{
    g_return_if_fail(MOE_IS_EXPERTS_PAGE(self));
    gboolean known = token >= 0 && moe_route_log_get_kept(self->log, (guint)token) > 0;
    moe_expert_map_set_token(self->map, known ? token : -1);
    moe_route_panel_set_token(self->route, token, word);
    show_detail(self);
    show_words(self);
    show_legend(self);
}

void moe_experts_page_set_routing(MoeExpertsPage *self, gboolean routing)
{
    g_return_if_fail(MOE_IS_EXPERTS_PAGE(self));
    self->routing = routing;
    show_words(self);
}

static void close_route_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    (void)name, (void)parameter;
    g_signal_emit(widget, signals[ROUTE_CLOSED], 0);
}

/* Escape is the window's where there is no route. */
static gboolean leave_route(GtkWidget *widget, GVariant *arguments, gpointer data)
{
    (void)arguments, (void)data;
    if (moe_route_panel_get_token(MOE_EXPERTS_PAGE(widget)->route) < 0)
        return FALSE;
    g_signal_emit(widget, signals[ROUTE_CLOSED], 0);
    return TRUE;
}

float *moe_experts_page_dup_served(MoeExpertsPage *self, guint *count)
{
    guint layer, expert;
    *count = 0;
    if (!moe_expert_map_get_selected(self->map, &layer, &expert))
        return NULL;
    *count = moe_route_log_get_length(self->log);
    float *weights = g_new0(float, MAX(*count, 1));
    moe_route_log_served(self->log, layer, expert, 0, weights);
    return weights;
}

/* --- the widget --- */

static void on_zoom(MoeExpertsPage *self, GtkWidget *button)
{
    gtk_widget_activate_action(GTK_WIDGET(self->map),
                               button == self->zoom_in    ? "map.zoom-in"
                               : button == self->zoom_out ? "map.zoom-out"
                                                          : "map.fit",
                               NULL);
}

static void moe_experts_page_dispose(GObject *object)
{
    g_clear_handle_id(&MOE_EXPERTS_PAGE(object)->pending, g_source_remove);
    gtk_widget_dispose_template(GTK_WIDGET(object), MOE_TYPE_EXPERTS_PAGE);
    G_OBJECT_CLASS(moe_experts_page_parent_class)->dispose(object);
}

static void moe_experts_page_finalize(GObject *object)
{
    MoeExpertsPage *self = MOE_EXPERTS_PAGE(object);
    g_clear_object(&self->log);
    g_clear_object(&self->steering);
    G_OBJECT_CLASS(moe_experts_page_parent_class)->finalize(object);
}

static void moe_experts_page_class_init(MoeExpertsPageClass *class)
{
    GtkWidgetClass *widget = GTK_WIDGET_CLASS(class);
    G_OBJECT_CLASS(class)->dispose = moe_experts_page_dispose;
    G_OBJECT_CLASS(class)->finalize = moe_experts_page_finalize;
    signals[SERVED_CHANGED] = g_signal_new("served-changed", MOE_TYPE_EXPERTS_PAGE,
                                           G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 0);
    signals[ROUTE_CLOSED] = g_signal_new("route-closed", MOE_TYPE_EXPERTS_PAGE, G_SIGNAL_RUN_LAST,
                                         0, NULL, NULL, NULL, G_TYPE_NONE, 0);
    gtk_widget_class_install_action(widget, "experts.close-route", NULL, close_route_action);
    gtk_widget_class_add_binding(widget, GDK_KEY_Escape, 0, leave_route, NULL);
    g_type_ensure(MOE_TYPE_MAP_LEGEND);
    g_type_ensure(MOE_TYPE_LOAD_CHART);
    g_type_ensure(MOE_TYPE_ROUTE_PANEL);
    g_type_ensure(MOE_TYPE_STEERING_PANEL);
    gtk_widget_class_set_layout_manager_type(widget, GTK_TYPE_BIN_LAYOUT);
    gtk_widget_class_set_template_from_resource(widget, MOE_RESOURCES "experts_page.ui");
    gtk_widget_class_bind_template_child(widget, MoeExpertsPage, stack);
    gtk_widget_class_bind_template_child(widget, MoeExpertsPage, map_scroller);
    gtk_widget_class_bind_template_child(widget, MoeExpertsPage, expert_label);
    gtk_widget_class_bind_template_child(widget, MoeExpertsPage, detail);
    gtk_widget_class_bind_template_child(widget, MoeExpertsPage, load_label);
    gtk_widget_class_bind_template_child(widget, MoeExpertsPage, layer_label);
    gtk_widget_class_bind_template_child(widget, MoeExpertsPage, model_label);
    gtk_widget_class_bind_template_child(widget, MoeExpertsPage, zoom_in);
    gtk_widget_class_bind_template_child(widget, MoeExpertsPage, zoom_out);
    gtk_widget_class_bind_template_child(widget, MoeExpertsPage, fit);
    gtk_widget_class_bind_template_child(widget, MoeExpertsPage, legend);
    gtk_widget_class_bind_template_child(widget, MoeExpertsPage, chart);
    gtk_widget_class_bind_template_child(widget, MoeExpertsPage, route);
    gtk_widget_class_bind_template_child(widget, MoeExpertsPage, panel);
}

static void moe_experts_page_init(MoeExpertsPage *self)
{
    gtk_widget_init_template(GTK_WIDGET(self));
    g_signal_connect_swapped(self->zoom_in, "clicked", G_CALLBACK(on_zoom), self);
    g_signal_connect_swapped(self->zoom_out, "clicked", G_CALLBACK(on_zoom), self);
    g_signal_connect_swapped(self->fit, "clicked", G_CALLBACK(on_zoom), self);
}

GtkWidget *moe_experts_page_new(MoeRouteLog *log, MoeSteering *steering)
{
    MoeExpertsPage *self = g_object_new(MOE_TYPE_EXPERTS_PAGE, NULL);
    self->log = g_object_ref(log);
    self->steering = g_object_ref(steering);
    self->map = MOE_EXPERT_MAP(moe_expert_map_new(log, steering));
    gtk_scrolled_window_set_child(self->map_scroller, GTK_WIDGET(self->map));
    moe_load_chart_set_models(self->chart, log, steering);
    moe_route_panel_set_log(self->route, log);
    moe_steering_panel_set_models(self->panel, steering, log);
    g_signal_connect_swapped(self->map, "cursor-moved", G_CALLBACK(on_cursor), self);
    g_signal_connect_swapped(self->map, "selection-changed", G_CALLBACK(on_selection), self);
    g_signal_connect_swapped(self->map, "refused", G_CALLBACK(moe_steering_panel_refuse),
                             self->panel);
    g_signal_connect_swapped(self->route, "layer-activated", G_CALLBACK(on_layer_activated), self);
    g_signal_connect_object(log, "changed", G_CALLBACK(on_log_changed), self, G_CONNECT_SWAPPED);
    g_signal_connect_object(steering, "experts-changed", G_CALLBACK(show_words), self,
                            G_CONNECT_SWAPPED);
    on_log_changed(self);
    on_cursor(self);
    return GTK_WIDGET(self);
}
