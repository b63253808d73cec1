#include "steering_panel.h"

#include "application.h"

struct _MoeSteeringPanel {
    GtkWidget parent_instance;
    GtkWidget *box; /* all of it */
    GtkScale *active;
    GtkDropDown *router;
    GtkCheckButton *shared;
    GtkLabel *summary, *refusal, *layer_label, *active_label, *router_words;
    GtkWidget *layer_busiest, *layer_keep, *layer_free;
    MoeSteering *steering;
    MoeRouteLog *log;
    guint layer;
    gboolean showing; /* what the steering says, and not what the user wants */
};

G_DEFINE_FINAL_TYPE(MoeSteeringPanel, moe_steering_panel, GTK_TYPE_WIDGET)

void moe_steering_panel_refuse(MoeSteeringPanel *self, const char *sentence)
{
    g_return_if_fail(MOE_IS_STEERING_PANEL(self));
    gtk_label_set_label(self->refusal, sentence);
    gtk_widget_set_visible(GTK_WIDGET(self->refusal), *sentence != '\0');
}

const char *moe_steering_panel_get_refusal(MoeSteeringPanel *self)
{
    return gtk_label_get_label(self->refusal);
}

/* --- showing --- */

static void show_active(MoeSteeringPanel *self)
{
    guint n = moe_steering_get_n_active(self->steering);
    guint most = MAX(2, moe_steering_get_shape(self->steering)->n_experts);
    g_autofree char *text = g_strdup_printf("%u", n);
    gtk_range_set_range(GTK_RANGE(self->active), 1, most);
    gtk_range_set_value(GTK_RANGE(self->active), n);
    gtk_scale_clear_marks(self->active);
    gtk_scale_add_mark(self->active, moe_steering_get_shape(self->steering)->n_active,
                       GTK_POS_BOTTOM, NULL);
    gtk_widget_set_sensitive(GTK_WIDGET(self->active),
                             moe_steering_can_set_n_active(self->steering));
    gtk_label_set_label(self->active_label, text);
}

static void show(MoeSteeringPanel *self)
{
    const MoeShape *shape = moe_steering_get_shape(self->steering);
    vkmoe_router router = moe_steering_get_router(self->steering);
    g_autofree char *words = moe_steering_describe(self->steering);
    g_autofree char *summary = g_strdup_printf(
        "%s%s", words,
        moe_steering_is_default(self->steering) ? ": as trained" : ": from the next run on");
    g_autofree char *layer = g_strdup_printf("Layer %u", self->layer);
    g_autofree char *keep =
        g_strdup_printf("Keep Only %u", moe_steering_get_n_active(self->steering));
    self->showing = TRUE;
    show_active(self);
    gtk_drop_down_set_selected(self->router, router);
    gtk_label_set_label(self->router_words, moe_router_explanation(router));
    gtk_widget_set_tooltip_text(GTK_WIDGET(self->router_words), moe_router_explanation(router));
    gtk_check_button_set_active(self->shared, moe_steering_get_use_shared(self->steering));
    gtk_widget_set_visible(GTK_WIDGET(self->shared), shape->n_shared > 0);
    gtk_label_set_label(self->summary, summary);
    gtk_label_set_label(self->layer_label, layer);
    gtk_button_set_label(GTK_BUTTON(self->layer_keep), keep);
    gtk_widget_action_set_enabled(GTK_WIDGET(self), "steering.reset",
                                  !moe_steering_is_default(self->steering));
    gtk_widget_set_sensitive(GTK_WIDGET(self), shape->n_experts > 0);
    self->showing = FALSE;
}

static void on_changed(MoeSteeringPanel *self)
{
    moe_steering_panel_refuse(self, "");
    show(self);
}

/* Says why, if it could not be, and shows what is. */
static void tried(MoeSteeringPanel *self, GError **error)
{
    if (*error)
        moe_steering_panel_refuse(self, (*error)->message);
    g_clear_error(error);
    show(self);
}

/* --- what the user wants --- */

static void on_active(MoeSteeringPanel *self)
{
    GError *error = NULL;
    guint least, most, wanted = (guint)(gtk_range_get_value(GTK_RANGE(self->active)) + 0.5);
    if (self->showing)
        return;
    moe_steering_get_n_active_range(self->steering, &least, &most);
    if (!moe_steering_set_n_active(self->steering, wanted, &error)) {
        /* As far as it goes, and why not further. */
        moe_steering_set_n_active(self->steering, CLAMP(wanted, least, most), NULL);
    }
    tried(self, &error);
}

static void on_router(MoeSteeringPanel *self)
{
    GError *error = NULL;
    guint selected = gtk_drop_down_get_selected(self->router);
    if (self->showing || selected >= VKMOE_ROUTER_COUNT)
        return;
    moe_steering_set_router(self->steering, (vkmoe_router)selected, &error);
    tried(self, &error);
}

static void on_shared(MoeSteeringPanel *self)
{
    if (!self->showing)
        moe_steering_set_use_shared(self->steering, gtk_check_button_get_active(self->shared));
}

static void on_layer_busiest(MoeSteeringPanel *self)
{
    GError *error = NULL;
    moe_steering_switch_busiest_off(self->steering, self->layer, self->log, &error);
    tried(self, &error);
}

static void on_layer_keep(MoeSteeringPanel *self)
{
    GError *error = NULL;
    moe_steering_keep_busiest(self->steering, self->layer, self->log, &error);
    tried(self, &error);
}

static void on_layer_free(MoeSteeringPanel *self)
{
    moe_steering_free_layer(self->steering, self->layer);
}

static void reset_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    (void)name, (void)parameter;
    moe_steering_reset(MOE_STEERING_PANEL(widget)->steering);
}

static void busiest_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    MoeSteeringPanel *self = MOE_STEERING_PANEL(widget);
    GError *error = NULL;
    guint layers = moe_steering_get_shape(self->steering)->n_layers;
    (void)name, (void)parameter;
    for (guint layer = 0; layer < layers && !error; layer++)
        moe_steering_switch_busiest_off(self->steering, layer, self->log, &error);
    tried(self, &error);
}

/* --- the widget --- */

void moe_steering_panel_set_models(MoeSteeringPanel *self, MoeSteering *steering, MoeRouteLog *log)
{
    g_return_if_fail(MOE_IS_STEERING_PANEL(self) && !self->steering);
    self->steering = g_object_ref(steering);
    self->log = g_object_ref(log);
    g_signal_connect_object(steering, "notify", G_CALLBACK(on_changed), self, G_CONNECT_SWAPPED);
    g_signal_connect_object(steering, "experts-changed", G_CALLBACK(on_changed), self,
                            G_CONNECT_SWAPPED);
    show(self);
}

void moe_steering_panel_set_layer(MoeSteeringPanel *self, guint layer)
{
    g_return_if_fail(MOE_IS_STEERING_PANEL(self));
    if (layer == self->layer)
        return;
    self->layer = layer;
    show(self);
}

static void moe_steering_panel_dispose(GObject *object)
{
    g_clear_pointer(&MOE_STEERING_PANEL(object)->box, gtk_widget_unparent);
    G_OBJECT_CLASS(moe_steering_panel_parent_class)->dispose(object);
}

static void moe_steering_panel_finalize(GObject *object)
{
    MoeSteeringPanel *self = MOE_STEERING_PANEL(object);
    g_clear_object(&self->steering);
    g_clear_object(&self->log);
    G_OBJECT_CLASS(moe_steering_panel_parent_class)->finalize(object);
}

static void moe_steering_panel_class_init(MoeSteeringPanelClass *class)
{
    GtkWidgetClass *widget = GTK_WIDGET_CLASS(class);
    G_OBJECT_CLASS(class)->dispose = moe_steering_panel_dispose;
    G_OBJECT_CLASS(class)->finalize = moe_steering_panel_finalize;
    gtk_widget_class_set_layout_manager_type(widget, GTK_TYPE_BIN_LAYOUT);
    gtk_widget_class_set_template_from_resource(widget, MOE_RESOURCES "steering_panel.ui");
    gtk_widget_class_bind_template_child(widget, MoeSteeringPanel, box);
    gtk_widget_class_bind_template_child(widget, MoeSteeringPanel, active);
    gtk_widget_class_bind_template_child(widget, MoeSteeringPanel, active_label);
    gtk_widget_class_bind_template_child(widget, MoeSteeringPanel, router);
    gtk_widget_class_bind_template_child(widget, MoeSteeringPanel, router_words);
    gtk_widget_class_bind_template_child(widget, MoeSteeringPanel, shared);
    gtk_widget_class_bind_template_child(widget, MoeSteeringPanel, summary);
    gtk_widget_class_bind_template_child(widget, MoeSteeringPanel, refusal);
    gtk_widget_class_bind_template_child(widget, MoeSteeringPanel, layer_label);
    gtk_widget_class_bind_template_child(widget, MoeSteeringPanel, layer_busiest);
    gtk_widget_class_bind_template_child(widget, MoeSteeringPanel, layer_keep);
    gtk_widget_class_bind_template_child(widget, MoeSteeringPanel, layer_free);
    gtk_widget_class_install_action(widget, "steering.reset", NULL, reset_action);
    gtk_widget_class_install_action(widget, "steering.busiest-off", NULL, busiest_action);
}

static void moe_steering_panel_init(MoeSteeringPanel *self)
{
    GtkStringList *titles = gtk_string_list_new(NULL);
    gtk_widget_init_template(GTK_WIDGET(self));
    for (int i = 0; i < VKMOE_ROUTER_COUNT; i++)
        gtk_string_list_append(titles, moe_router_title((vkmoe_router)i));
    gtk_drop_down_set_model(self->router, G_LIST_MODEL(titles));
    g_object_unref(titles);
    gtk_range_set_increments(GTK_RANGE(self->active), 1, 4);
    g_signal_connect_swapped(self->active, "value-changed", G_CALLBACK(on_active), self);
    g_signal_connect_swapped(self->router, "notify::selected", G_CALLBACK(on_router), self);
    g_signal_connect_swapped(self->shared, "toggled", G_CALLBACK(on_shared), self);
    g_signal_connect_swapped(self->layer_busiest, "clicked", G_CALLBACK(on_layer_busiest), self);
    g_signal_connect_swapped(self->layer_keep, "clicked", G_CALLBACK(on_layer_keep), self);
    g_signal_connect_swapped(self->layer_free, "clicked", G_CALLBACK(on_layer_free), self);
}
