#include "bar.h"

#define HEIGHT 16
#define PATCH 12
#define RADIUS 3
#define LEAST 2 /* pixels of what is there at all */

struct _MoeBar {
    GtkWidget parent;
    MoeBarSegment segments[MOE_INK_COUNT];
    guint count;
    double length, limit;
    int size; /* natural width of a patch; 0: a bar, as wide as there is room */
};

G_DEFINE_FINAL_TYPE(MoeBar, moe_bar, GTK_TYPE_WIDGET)

static const GdkRGBA inks[MOE_INK_COUNT] = {
    [MOE_INK_WEIGHTS] = {0.00f, 0.40f, 0.66f, 1}, [MOE_INK_KV] = {0.93f, 0.65f, 0.05f, 1},
    [MOE_INK_SCRATCH] = {0.10f, 0.68f, 0.52f, 1}, [MOE_INK_OTHERS] = {0.55f, 0.55f, 0.55f, 0.45f},
    [MOE_INK_FREE] = {0.5f, 0.5f, 0.5f, 0.14f},   [MOE_INK_TIME] = {0.40f, 0.66f, 0.90f, 1},
    [MOE_INK_NEEDED] = {0.00f, 0.34f, 0.60f, 1},
};
static const GdkRGBA too_much = {0.80f, 0.10f, 0.10f, 1};

/* Lines from bottom left to top right, as wide as the gaps between them. */
static void hatch(GtkSnapshot *snapshot, const graphene_rect_t *rect, const GdkRGBA *ink)
{
    cairo_t *cairo = gtk_snapshot_append_cairo(snapshot, rect);
    double x = rect->origin.x, y = rect->origin.y;
    double width = rect->size.width, height = rect->size.height;
    gdk_cairo_set_source_rgba(cairo, ink);
    cairo_set_line_width(cairo, 2);
    for (double at = -height; at < width; at += 5) {
        cairo_move_to(cairo, x + at, y + height);
        cairo_line_to(cairo, x + at + height, y);
    }
    cairo_stroke(cairo);
    cairo_destroy(cairo);
}

/* Hatching is of the colour of text, to be seen on light and dark. */
static GdkRGBA text_colour(GtkWidget *widget)
{
    GdkRGBA colour;
    gtk_style_context_get_color(gtk_widget_get_style_context(widget), &colour);
    colour.alpha *= 0.5f;
    return colour;
}

static void fill(MoeBar *self, GtkSnapshot *snapshot, MoeInk ink, double x, double width,
                 int height)
{
    graphene_rect_t rect = GRAPHENE_RECT_INIT((float)x, 0, (float)width, (float)height);
    if (width <= 0)
        return;
    gtk_snapshot_append_color(snapshot, &inks[ink], &rect);
    if (ink == MOE_INK_OTHERS) {
        GdkRGBA lines = text_colour(GTK_WIDGET(self));
        hatch(snapshot, &rect, &lines);
    }
}

static void draw_limit(MoeBar *self, GtkSnapshot *snapshot, double scale, double end, int height)
{
    double at = self->limit * scale;
    graphene_rect_t beyond =
        GRAPHENE_RECT_INIT((float)at, 0, (float)MAX(0, end - at), (float)height);
    graphene_rect_t line = GRAPHENE_RECT_INIT((float)at - 1, 0, 2, (float)height);
    if (self->limit <= 0 || self->limit >= self->length)
        return;
    hatch(snapshot, &beyond, &too_much);
    gtk_snapshot_append_color(snapshot, &too_much, &line);
}

static void moe_bar_snapshot(GtkWidget *widget, GtkSnapshot *snapshot)
{
    MoeBar *self = MOE_BAR(widget);
    int width = gtk_widget_get_width(widget), height = gtk_widget_get_height(widget);
    gboolean mirrored = gtk_widget_get_direction(widget) == GTK_TEXT_DIR_RTL;
    double scale = self->length > 0 ? width / self->length : 0, x = 0;
    GskRoundedRect outline;
    gsk_rounded_rect_init_from_rect(&outline,
                                    &GRAPHENE_RECT_INIT(0, 0, (float)width, (float)height), RADIUS);
    gtk_snapshot_push_rounded_clip(snapshot, &outline);
    if (mirrored) {
        gtk_snapshot_translate(snapshot, &GRAPHENE_POINT_INIT((float)width, 0));
        gtk_snapshot_scale(snapshot, -1, 1);
    }
    if (self->size == 0)
        fill(self, snapshot, MOE_INK_FREE, 0, width, height);
    for (guint i = 0; i < self->count; i++) {
        double value = self->segments[i].value;
        double size = value > 0 ? MAX(value * scale, LEAST) : 0;
        fill(self, snapshot, self->segments[i].ink, x, size, height);
        x += size;
    }
    draw_limit(self, snapshot, scale, x, height);
    gtk_snapshot_pop(snapshot);
}

static void moe_bar_measure(GtkWidget *widget, GtkOrientation orientation, int for_size,
                            int *minimum, int *natural, int *minimum_baseline,
                            int *natural_baseline)
{
    MoeBar *self = MOE_BAR(widget);
    (void)for_size;
    *minimum = *natural = self->size ? self->size : HEIGHT;
    if (orientation == GTK_ORIENTATION_HORIZONTAL && self->size == 0) {
        *minimum = 60;
        *natural = 240;
    }
    *minimum_baseline = *natural_baseline = -1;
}

static void moe_bar_class_init(MoeBarClass *class)
{
    GtkWidgetClass *widget = GTK_WIDGET_CLASS(class);
    widget->snapshot = moe_bar_snapshot;
    widget->measure = moe_bar_measure;
    gtk_widget_class_set_accessible_role(widget, GTK_ACCESSIBLE_ROLE_IMG);
    gtk_widget_class_set_css_name(widget, "bar");
}

static void moe_bar_init(MoeBar *self)
{
    (void)self;
}

GtkWidget *moe_bar_new(void)
{
    return g_object_new(MOE_TYPE_BAR, NULL);
}

void moe_bar_set(MoeBar *self, const MoeBarSegment *segments, guint count, double length,
                 double limit)
{
    self->count = MIN(count, MOE_INK_COUNT);
    for (guint i = 0; i < self->count; i++)
        self->segments[i] = segments[i];
    self->length = length;
    self->limit = limit;
    gtk_widget_queue_draw(GTK_WIDGET(self));
}

GtkWidget *moe_bar_patch_new(MoeInk ink)
{
    MoeBar *self = g_object_new(MOE_TYPE_BAR, "valign", GTK_ALIGN_CENTER, "accessible-role",
                                GTK_ACCESSIBLE_ROLE_PRESENTATION, NULL);
    self->size = PATCH;
    moe_bar_set(self, &(MoeBarSegment){1, ink}, 1, 1, 0);
    return GTK_WIDGET(self);
}
