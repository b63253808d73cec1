#include "expert_map_private.h"

#include "expert_text.h"

static void scrollable_init(GtkScrollableInterface *interface)
{
    (void)interface;
}

G_DEFINE_FINAL_TYPE_WITH_CODE(MoeExpertMap, moe_expert_map, GTK_TYPE_WIDGET,
                              G_IMPLEMENT_INTERFACE(GTK_TYPE_SCROLLABLE, scrollable_init))

enum { CURSOR_MOVED, SELECTION_CHANGED, REFUSED, N_SIGNALS };
static guint signals[N_SIGNALS];

enum { PROP_HADJUSTMENT = 1, PROP_VADJUSTMENT, PROP_HPOLICY, PROP_VPOLICY };

gboolean moe_expert_map_is_empty(MoeExpertMap *self)
{
    return self->layout.shape.n_layers == 0 || self->layout.shape.n_experts == 0;
}

/* --- layout and scrolling --- */

static void on_scrolled(MoeExpertMap *self)
{
    self->layout.x = gtk_adjustment_get_value(self->adjustments[GTK_ORIENTATION_HORIZONTAL]);
    self->layout.y = gtk_adjustment_get_value(self->adjustments[GTK_ORIENTATION_VERTICAL]);
    moe_map_layout_update(&self->layout);
    gtk_widget_queue_draw(GTK_WIDGET(self));
}

static void configure(MoeExpertMap *self, GtkOrientation which, double value, double full,
                      double seen, double step)
{
    GtkAdjustment *a = self->adjustments[which];
    if (!a)
        return;
    g_signal_handlers_block_by_func(a, on_scrolled, self);
    gtk_adjustment_configure(a, value, 0, MAX(full, seen), step, seen * 0.9, seen);
    g_signal_handlers_unblock_by_func(a, on_scrolled, self);
}

void moe_expert_map_layout_changed(MoeExpertMap *self)
{
    const MoeMapLayout *l = &self->layout;
    moe_map_layout_update(&self->layout);
    configure(self, GTK_ORIENTATION_HORIZONTAL, l->x, l->full_width, l->grid_width, l->cell_width);
    configure(self, GTK_ORIENTATION_VERTICAL, l->y, l->full_height, l->grid_height, l->cell_height);
    gtk_widget_queue_draw(GTK_WIDGET(self));
}

static void set_adjustment(MoeExpertMap *self, GtkOrientation which, GtkAdjustment *adjustment)
{
    GtkAdjustment **at = &self->adjustments[which];
    if (*at) {
        g_signal_handlers_disconnect_by_func(*at, on_scrolled, self);
        g_object_unref(*at);
    }
    *at = g_object_ref_sink(adjustment ? adjustment : gtk_adjustment_new(0, 0, 0, 0, 0, 0));
    g_signal_connect_swapped(*at, "value-changed", G_CALLBACK(on_scrolled), self);
    moe_expert_map_layout_changed(self);
}

static void moe_expert_map_size_allocate(GtkWidget *widget, int width, int height, int baseline)
{
    MoeExpertMap *self = MOE_EXPERT_MAP(widget);
    (void)baseline;
    self->layout.width = width;
    self->layout.height = height;
    moe_expert_map_measure_text(self, &self->layout.labels, &self->layout.axis);
    moe_expert_map_layout_changed(self);
    if (self->menu)
        gtk_popover_present(GTK_POPOVER(self->menu));
}

static void moe_expert_map_measure(GtkWidget *widget, GtkOrientation orientation, int for_size,
                                   int *least, int *natural, int *least_baseline,
                                   int *natural_baseline)
{
    MoeExpertMap *self = MOE_EXPERT_MAP(widget);
    double width, height;
    (void)for_size;
    moe_expert_map_measure_text(self, &width, &height);
    *least_baseline = *natural_baseline = -1;
    if (orientation == GTK_ORIENTATION_HORIZONTAL) {
        *least = 240;
        *natural = 560;
    } else {
        int rows = (int)MIN(self->layout.shape.n_layers, 100);
        *least = (int)height + CLAMP(rows * 2, 48, 120);
        *natural = (int)height + 6 + CLAMP(rows * (rows > 8 ? 8 : 40), 48, 520);
    }
}

void moe_expert_map_zoom_at(MoeExpertMap *self, double zoom, double x, double y)
{
    moe_map_layout_zoom_at(&self->layout, zoom, x, y);
    moe_expert_map_layout_changed(self);
}

void moe_expert_map_set_zoom(MoeExpertMap *self, double zoom)
{
    MoeMapArea a = moe_map_layout_expert(&self->layout, self->layer, self->expert);
    g_return_if_fail(MOE_IS_EXPERT_MAP(self));
    moe_expert_map_zoom_at(self, zoom, a.x + a.width / 2, a.y + a.height / 2);
    moe_map_layout_reveal(&self->layout, self->layer, self->expert);
    moe_expert_map_layout_changed(self);
}

double moe_expert_map_get_zoom(MoeExpertMap *self)
{
    return self->layout.zoom;
}

GdkRectangle moe_expert_map_get_area(MoeExpertMap *self, guint layer, guint expert)
{
    MoeMapArea a = moe_map_layout_expert(&self->layout, layer, expert);
    return (GdkRectangle){(int)a.x, (int)a.y, MAX(1, (int)a.width), MAX(1, (int)a.height)};
}

/* --- what it shows --- */

static void reshape(MoeExpertMap *self)
{
    const MoeShape *shape = moe_route_log_get_shape(self->log);
    size_t n = (size_t)shape->n_layers * shape->n_experts;
    self->layout.shape = *shape;
    self->layout.zoom = 1;
    g_free(self->glow);
    g_free(self->base);
    g_free(self->fill);
    g_free(self->marks);
    self->glow = g_new0(float, n);
    self->base = g_new0(MoeColour, n);
    self->fill = g_new0(MoeColour, n);
    self->marks = g_new0(guint8, n);
    self->token = -1;
    self->layer = self->expert = 0;
    self->hovers = FALSE;
    moe_expert_map_unselect(self);
    moe_expert_map_describe(self);
    g_signal_emit(self, signals[CURSOR_MOVED], 0);
    gtk_widget_queue_resize(GTK_WIDGET(self));
}

static gboolean on_tick(GtkWidget *widget, GdkFrameClock *clock, gpointer data)
{
    MoeExpertMap *self = MOE_EXPERT_MAP(widget);
    (void)data;
    if (!self->lit) { /* as it was last drawn: dark */
        self->tick = 0;
        return G_SOURCE_REMOVE;
    }
    if (gdk_frame_clock_get_frame_time(clock) - self->drawn_at >= 32000)
        gtk_widget_queue_draw(widget);
    return G_SOURCE_CONTINUE;
}

static void on_log_changed(MoeExpertMap *self)
{
    const MoeShape *shape = moe_route_log_get_shape(self->log);
    if (memcmp(shape, &self->layout.shape, sizeof(*shape)) != 0)
        reshape(self);
    if (self->token >= (int)moe_route_log_get_length(self->log))
        self->token = -1;
    self->stale = TRUE;
    self->lit = TRUE;
    if (self->tick == 0)
        self->tick = gtk_widget_add_tick_callback(GTK_WIDGET(self), on_tick, NULL, NULL);
    gtk_widget_queue_draw(GTK_WIDGET(self));
}

gboolean moe_expert_map_is_lit(MoeExpertMap *self)
{
    return self->tick != 0;
}

void moe_expert_map_set_token(MoeExpertMap *self, int token)
{
    g_return_if_fail(MOE_IS_EXPERT_MAP(self));
    if (token >= (int)moe_route_log_get_length(self->log))
        token = -1;
    self->token = token;
    moe_expert_map_describe(self);
    gtk_widget_queue_draw(GTK_WIDGET(self));
}

int moe_expert_map_get_token(MoeExpertMap *self)
{
    return self->token;
}

/* --- cursor and selection --- */

/* For who cannot see the map: what is said of it as it gets the focus, and as the cell changes. */
void moe_expert_map_describe(MoeExpertMap *self)
{
    if (moe_expert_map_is_empty(self))
        return;
    g_autofree char *cell =
        moe_expert_text(self->log, self->steering, self->token, self->layer, self->expert);
    gboolean tinted = self->selected && self->selected_layer == self->layer &&
                      self->selected_expert == self->expert;
    g_autofree char *text =
        g_strconcat(cell, tinted ? " · the tokens it served are tinted" : "", NULL);
    gtk_accessible_update_property(GTK_ACCESSIBLE(self), GTK_ACCESSIBLE_PROPERTY_DESCRIPTION, text,
                                   -1);
}

static void tell_cursor(MoeExpertMap *self)
{
    moe_expert_map_describe(self);
    g_signal_emit(self, signals[CURSOR_MOVED], 0);
    gtk_widget_queue_draw(GTK_WIDGET(self));
}

static void on_experts_changed(MoeExpertMap *self)
{
    moe_expert_map_describe(self);
    gtk_widget_queue_draw(GTK_WIDGET(self));
}

void moe_expert_map_set_cursor(MoeExpertMap *self, guint layer, guint expert)
{
    g_return_if_fail(MOE_IS_EXPERT_MAP(self));
    if (moe_expert_map_is_empty(self))
        return;
    self->layer = MIN(layer, self->layout.shape.n_layers - 1);
    self->expert = MIN(expert, self->layout.shape.n_experts - 1);
    moe_map_layout_reveal(&self->layout, self->layer, self->expert);
    moe_expert_map_layout_changed(self);
    tell_cursor(self);
}

void moe_expert_map_get_cursor(MoeExpertMap *self, guint *layer, guint *expert)
{
    *layer = self->layer;
    *expert = self->expert;
}

void moe_expert_map_select(MoeExpertMap *self, guint layer, guint expert)
{
    g_return_if_fail(MOE_IS_EXPERT_MAP(self));
    if (moe_expert_map_is_empty(self))
        return;
    moe_expert_map_set_cursor(self, layer, expert);
    self->selected = TRUE;
    self->selected_layer = self->layer;
    self->selected_expert = self->expert;
    moe_expert_map_describe(self);
    g_signal_emit(self, signals[SELECTION_CHANGED], 0);
}

void moe_expert_map_unselect(MoeExpertMap *self)
{
    if (!self->selected)
        return;
    self->selected = FALSE;
    moe_expert_map_describe(self);
    g_signal_emit(self, signals[SELECTION_CHANGED], 0);
    gtk_widget_queue_draw(GTK_WIDGET(self));
}

gboolean moe_expert_map_get_selected(MoeExpertMap *self, guint *layer, guint *expert)
{
    *layer = self->selected_layer;
    *expert = self->selected_expert;
    return self->selected;
}

void moe_expert_map_refuse(MoeExpertMap *self, GError **error)
{
    if (*error)
        g_signal_emit(self, signals[REFUSED], 0, (*error)->message);
    g_clear_error(error);
}

/* --- the widget --- */

static gboolean moe_expert_map_query_tooltip(GtkWidget *widget, int x, int y, gboolean keyboard,
                                             GtkTooltip *tooltip)
{
    MoeExpertMap *self = MOE_EXPERT_MAP(widget);
    guint layer = self->layer, number = self->expert;
    MoeMapPlace place =
        keyboard ? MOE_MAP_EXPERT : moe_map_layout_find(&self->layout, x, y, &layer, &number);
    g_autofree char *text = NULL;
    if (moe_expert_map_is_empty(self) || place == MOE_MAP_NOTHING)
        return FALSE;
    MoeMapArea a = place == MOE_MAP_SHARED ? moe_map_layout_shared(&self->layout, layer, number)
                                           : moe_map_layout_expert(&self->layout, layer, number);
    if (place == MOE_MAP_EXPERT)
        text = moe_expert_text(self->log, self->steering, self->token, layer, number);
    else if (place == MOE_MAP_SHARED)
        text = moe_shared_text(self->log, self->steering, layer, number);
    else
        text = moe_layer_text(self->log, self->steering, layer);
    gtk_tooltip_set_text(tooltip, text);
    if (place != MOE_MAP_LAYER)
        gtk_tooltip_set_tip_area(
            tooltip, &(GdkRectangle){(int)a.x, (int)a.y, (int)a.width + 1, (int)a.height + 1});
    return TRUE;
}

static void moe_expert_map_css_changed(GtkWidget *widget, GtkCssStyleChange *change)
{
    GTK_WIDGET_CLASS(moe_expert_map_parent_class)->css_changed(widget, change);
    MOE_EXPERT_MAP(widget)->stale = TRUE;
}

static void moe_expert_map_get_property(GObject *object, guint id, GValue *value, GParamSpec *spec)
{
    MoeExpertMap *self = MOE_EXPERT_MAP(object);
    switch (id) {
    case PROP_HADJUSTMENT:
    case PROP_VADJUSTMENT:
        g_value_set_object(value, self->adjustments[id - PROP_HADJUSTMENT]);
        break;
    case PROP_HPOLICY:
    case PROP_VPOLICY:
        g_value_set_enum(value, (int)self->policies[id - PROP_HPOLICY]);
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
    }
}

static void moe_expert_map_set_property(GObject *object, guint id, const GValue *value,
                                        GParamSpec *spec)
{
    MoeExpertMap *self = MOE_EXPERT_MAP(object);
    switch (id) {
    case PROP_HADJUSTMENT:
    case PROP_VADJUSTMENT:
        set_adjustment(self, (GtkOrientation)(id - PROP_HADJUSTMENT), g_value_get_object(value));
        break;
    case PROP_HPOLICY:
    case PROP_VPOLICY:
        self->policies[id - PROP_HPOLICY] = (guint)g_value_get_enum(value);
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
    }
}

static void moe_expert_map_dispose(GObject *object)
{
    MoeExpertMap *self = MOE_EXPERT_MAP(object);
    g_clear_pointer(&self->menu, gtk_widget_unparent);
    for (int i = 0; i < 2; i++)
        if (self->adjustments[i]) {
            g_signal_handlers_disconnect_by_func(self->adjustments[i], on_scrolled, self);
            g_clear_object(&self->adjustments[i]);
        }
    G_OBJECT_CLASS(moe_expert_map_parent_class)->dispose(object);
}

static void moe_expert_map_finalize(GObject *object)
{
    MoeExpertMap *self = MOE_EXPERT_MAP(object);
    g_clear_object(&self->log);
    g_clear_object(&self->steering);
    g_free(self->glow);
    g_free(self->base);
    g_free(self->fill);
    g_free(self->marks);
    G_OBJECT_CLASS(moe_expert_map_parent_class)->finalize(object);
}

static void moe_expert_map_class_init(MoeExpertMapClass *class)
{
    GObjectClass *object = G_OBJECT_CLASS(class);
    GtkWidgetClass *widget = GTK_WIDGET_CLASS(class);
    object->dispose = moe_expert_map_dispose;
    object->finalize = moe_expert_map_finalize;
    object->get_property = moe_expert_map_get_property;
    object->set_property = moe_expert_map_set_property;
    widget->measure = moe_expert_map_measure;
    widget->size_allocate = moe_expert_map_size_allocate;
    widget->snapshot = moe_expert_map_snapshot;
    widget->query_tooltip = moe_expert_map_query_tooltip;
    widget->css_changed = moe_expert_map_css_changed;
    g_object_class_override_property(object, PROP_HADJUSTMENT, "hadjustment");
    g_object_class_override_property(object, PROP_VADJUSTMENT, "vadjustment");
    g_object_class_override_property(object, PROP_HPOLICY, "hscroll-policy");
    g_object_class_override_property(object, PROP_VPOLICY, "vscroll-policy");
    signals[CURSOR_MOVED] = g_signal_new("cursor-moved", MOE_TYPE_EXPERT_MAP, G_SIGNAL_RUN_LAST, 0,
                                         NULL, NULL, NULL, G_TYPE_NONE, 0);
    signals[SELECTION_CHANGED] =
        g_signal_new("selection-changed", MOE_TYPE_EXPERT_MAP, G_SIGNAL_RUN_LAST, 0, NULL, NULL,
                     NULL, G_TYPE_NONE, 0);
    signals[REFUSED] = g_signal_new("refused", MOE_TYPE_EXPERT_MAP, G_SIGNAL_RUN_LAST, 0, NULL,
                                    NULL, NULL, G_TYPE_NONE, 1, G_TYPE_STRING);
    gtk_widget_class_set_css_name(widget, "expertmap");
    gtk_widget_class_set_accessible_role(widget, GTK_ACCESSIBLE_ROLE_GRID);
    moe_expert_map_install_input(widget);
}

static void moe_expert_map_init(MoeExpertMap *self)
{
    GtkWidget *widget = GTK_WIDGET(self);
    self->token = -1;
    self->layout.zoom = 1;
    gtk_widget_set_focusable(widget, TRUE);
    gtk_widget_set_has_tooltip(widget, TRUE);
    gtk_widget_set_overflow(widget, GTK_OVERFLOW_HIDDEN);
    gtk_accessible_update_property(GTK_ACCESSIBLE(self), GTK_ACCESSIBLE_PROPERTY_LABEL,
                                   "Map of experts", -1);
    moe_expert_map_add_controllers(self);
}

GtkWidget *moe_expert_map_new(MoeRouteLog *log, MoeSteering *steering)
{
    MoeExpertMap *self = g_object_new(MOE_TYPE_EXPERT_MAP, NULL);
    self->log = g_object_ref(log);
    self->steering = g_object_ref(steering);
    g_signal_connect_object(log, "changed", G_CALLBACK(on_log_changed), self, G_CONNECT_SWAPPED);
    g_signal_connect_object(steering, "experts-changed", G_CALLBACK(on_experts_changed), self,
                            G_CONNECT_SWAPPED);
    g_signal_connect_object(steering, "notify::use-shared", G_CALLBACK(gtk_widget_queue_draw), self,
                            G_CONNECT_SWAPPED);
    reshape(self);
    return GTK_WIDGET(self);
}
