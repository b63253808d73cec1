#include "load_chart.h"

#include <math.h>

#include "expert_text.h"

#define HEIGHT 64
#define LEFT 44.0 /* of numbers */
#define TEXT_SCALE 0.8

struct _MoeLoadChart {
    GtkWidget parent_instance;
    MoeRouteLog *log;
    MoeSteering *steering;
    guint layer, expert;
};

G_DEFINE_FINAL_TYPE(MoeLoadChart, moe_load_chart, GTK_TYPE_WIDGET)

static void put_colour(GtkSnapshot *snapshot, double x, double y, double width, double height,
                       MoeColour colour)
{
    const GdkRGBA c = moe_colour_rgba(colour);
    gtk_snapshot_append_color(snapshot, &c,
                              &GRAPHENE_RECT_INIT((float)x, (float)y, (float)width, (float)height));
}

/* A share in percent, ending at the bars. */
static void put_share(MoeLoadChart *self, GtkSnapshot *snapshot, double y, double share,
                      const MoePalette *palette)
{
    g_autoptr(PangoLayout) text = gtk_widget_create_pango_layout(GTK_WIDGET(self), NULL);
    PangoAttrList *list = pango_attr_list_new();
    const GdkRGBA colour = moe_colour_rgba(palette->soft);
    g_autofree char *words = g_strdup_printf(share < 0.1 ? "%.1f %%" : "%.0f %%", 100 * share);
    int width, height;
    pango_attr_list_insert(list, pango_attr_scale_new(TEXT_SCALE));
    pango_layout_set_attributes(text, list);
    pango_attr_list_unref(list);
    pango_layout_set_text(text, words, -1);
    pango_layout_get_pixel_size(text, &width, &height);
    y = CLAMP(y - height / 2.0, 0, HEIGHT - height);
    gtk_snapshot_save(snapshot);
    gtk_snapshot_translate(snapshot,
                           &GRAPHENE_POINT_INIT((float)LEFT - 5 - (float)width, (float)y));
    gtk_snapshot_append_layout(snapshot, text, &colour);
    gtk_snapshot_restore(snapshot);
}

static void moe_load_chart_snapshot(GtkWidget *widget, GtkSnapshot *snapshot)
{
    MoeLoadChart *self = MOE_LOAD_CHART(widget);
    const MoePalette *palette = moe_palette_of(widget);
    const MoeShape *shape = moe_route_log_get_shape(self->log);
    double even = moe_route_log_get_even_share(self->log, self->layer), most = 2 * even;
    double room = gtk_widget_get_width(widget) - LEFT - 6, bar = room / MAX(shape->n_experts, 1);
    if (!(even > 0) || room < 1)
        return;
    for (guint e = 0; e < shape->n_experts; e++)
        most = MAX(most, moe_route_log_get_share(self->log, self->layer, e));
    for (guint e = 0; e < shape->n_experts; e++) {
        double share = moe_route_log_get_share(self->log, self->layer, e);
        double height = MAX(share / most * HEIGHT, share > 0 ? 1 : 0);
        double x = LEFT + floor(e * bar), width = LEFT + floor((e + 1) * bar) - x;
        put_colour(snapshot, x, HEIGHT - height, MAX(width - (bar >= 4 ? 1 : 0), 1), height,
                   e == self->expert ? palette->glow : palette->load[3]);
    }
    put_colour(snapshot, LEFT, HEIGHT - 1, room, 1, palette->soft);
    put_colour(snapshot, LEFT, floor(HEIGHT - even / most * HEIGHT), room, 1, palette->ink);
    put_share(self, snapshot, HEIGHT - even / most * HEIGHT, even, palette);
    if (most > 1.6 * even)
        put_share(self, snapshot, 0, most, palette);
}

static void moe_load_chart_measure(GtkWidget *widget, GtkOrientation orientation, int for_size,
                                   int *least, int *natural, int *least_baseline,
                                   int *natural_baseline)
{
    (void)widget;
    (void)for_size;
    *least_baseline = *natural_baseline = -1;
    *least = *natural = orientation == GTK_ORIENTATION_HORIZONTAL ? 240 : HEIGHT;
}

/* What the bars say, for who cannot see them. */
static void describe(MoeLoadChart *self)
{
    g_autofree char *text = moe_layer_text(self->log, self->steering, self->layer);
    gtk_accessible_update_property(GTK_ACCESSIBLE(self), GTK_ACCESSIBLE_PROPERTY_LABEL, text, -1);
    gtk_widget_queue_draw(GTK_WIDGET(self));
}

void moe_load_chart_set_models(MoeLoadChart *self, MoeRouteLog *log, MoeSteering *steering)
{
    g_return_if_fail(MOE_IS_LOAD_CHART(self) && !self->log);
    self->log = g_object_ref(log);
    self->steering = g_object_ref(steering);
    g_signal_connect_object(steering, "experts-changed", G_CALLBACK(describe), self,
                            G_CONNECT_SWAPPED);
    g_signal_connect_object(log, "changed", G_CALLBACK(describe), self, G_CONNECT_SWAPPED);
}

void moe_load_chart_show(MoeLoadChart *self, guint layer, guint expert)
{
    g_return_if_fail(MOE_IS_LOAD_CHART(self));
    self->layer = layer;
    self->expert = expert;
    describe(self);
}

static gboolean moe_load_chart_query_tooltip(GtkWidget *widget, int x, int y, gboolean keyboard,
                                             GtkTooltip *tooltip)
{
    MoeLoadChart *self = MOE_LOAD_CHART(widget);
    guint n = moe_route_log_get_shape(self->log)->n_experts;
    double at = (x - LEFT) / (gtk_widget_get_width(widget) - LEFT - 6) * n;
    (void)y;
    if (keyboard || at < 0 || at >= n)
        return FALSE;
    g_autofree char *text = moe_expert_text(self->log, self->steering, -1, self->layer, (guint)at);
    gtk_tooltip_set_text(tooltip, text);
    return TRUE;
}

static void moe_load_chart_finalize(GObject *object)
{
    g_clear_object(&MOE_LOAD_CHART(object)->log);
    g_clear_object(&MOE_LOAD_CHART(object)->steering);
    G_OBJECT_CLASS(moe_load_chart_parent_class)->finalize(object);
}

static void moe_load_chart_class_init(MoeLoadChartClass *class)
{
    GtkWidgetClass *widget = GTK_WIDGET_CLASS(class);
    G_OBJECT_CLASS(class)->finalize = moe_load_chart_finalize;
    widget->snapshot = moe_load_chart_snapshot;
    widget->measure = moe_load_chart_measure;
    widget->query_tooltip = moe_load_chart_query_tooltip;
    gtk_widget_class_set_accessible_role(widget, GTK_ACCESSIBLE_ROLE_IMG);
}

static void moe_load_chart_init(MoeLoadChart *self)
{
    gtk_widget_set_has_tooltip(GTK_WIDGET(self), TRUE);
}
