#include "map_legend.h"

#include <math.h>

#define BAR 150.0 /* its length */
#define THICK 12.0
#define SWATCH 14.0
#define SPACE 6.0
#define TEXT_SCALE 0.85

struct _MoeMapLegend {
    GtkWidget parent_instance;
    double largest, even;
    gboolean has_shared;
};

G_DEFINE_FINAL_TYPE(MoeMapLegend, moe_map_legend, GTK_TYPE_WIDGET)

/* A place that moves on as things are laid out; they are drawn where there is a snapshot. */
struct pen {
    GtkSnapshot *snapshot;
    const MoePalette *palette;
    PangoLayout *text;
    double x, y, width, line;
};

static void pen_init(struct pen *pen, GtkWidget *widget, GtkSnapshot *snapshot, double width)
{
    PangoAttrList *list = pango_attr_list_new();
    *pen = (struct pen){snapshot, moe_palette_of(widget),
                        gtk_widget_create_pango_layout(widget, NULL), .width = width};
    pango_attr_list_insert(list, pango_attr_scale_new(TEXT_SCALE));
    pango_layout_set_attributes(pen->text, list);
    pango_attr_list_unref(list);
}

static double text_width(struct pen *pen, const char *text)
{
    int width, height;
    pango_layout_set_text(pen->text, text, -1);
    pango_layout_get_pixel_size(pen->text, &width, &height);
    pen->line = height + 4;
    return width;
}

static void put_text(struct pen *pen, double x, double y, const char *text)
{
    text_width(pen, text);
    if (!pen->snapshot)
        return;
    const GdkRGBA colour = moe_colour_rgba(pen->palette->soft);
    gtk_snapshot_save(pen->snapshot);
    gtk_snapshot_translate(pen->snapshot, &GRAPHENE_POINT_INIT((float)x, (float)y));
    gtk_snapshot_append_layout(pen->snapshot, pen->text, &colour);
    gtk_snapshot_restore(pen->snapshot);
}

static void put_colour(struct pen *pen, double x, double y, double width, double height,
                       MoeColour colour)
{
    const GdkRGBA c = moe_colour_rgba(colour);
    if (pen->snapshot)
        gtk_snapshot_append_color(
            pen->snapshot, &c,
            &GRAPHENE_RECT_INIT((float)x, (float)y, (float)width, (float)height));
}

static void put_frame(struct pen *pen, double x, double y, float thick, MoeColour colour)
{
    const GdkRGBA c = moe_colour_rgba(colour);
    GskRoundedRect outline;
    gsk_rounded_rect_init_from_rect(
        &outline, &GRAPHENE_RECT_INIT((float)x, (float)y, (float)SWATCH, (float)SWATCH), 0);
    if (pen->snapshot)
        gtk_snapshot_append_border(pen->snapshot, &outline, (float[4]){thick, thick, thick, thick},
                                   (GdkRGBA[4]){c, c, c, c});
}

/* --- the scale --- */

/* Loads lie at their square roots, as moe_palette_load has them. */
static void put_gradient(struct pen *pen, const MoeColour stops[MOE_SCALE_STOPS])
{
    const graphene_rect_t bar =
        GRAPHENE_RECT_INIT((float)pen->x, (float)pen->y, (float)BAR, (float)THICK);
    GskColorStop colours[MOE_SCALE_STOPS];
    for (int i = 0; i < MOE_SCALE_STOPS; i++)
        colours[i] = (GskColorStop){(float)i / (MOE_SCALE_STOPS - 1), moe_colour_rgba(stops[i])};
    if (pen->snapshot)
        gtk_snapshot_append_linear_gradient(
            pen->snapshot, &bar, &bar.origin,
            &GRAPHENE_POINT_INIT((float)(pen->x + BAR), (float)pen->y), colours, MOE_SCALE_STOPS);
}

static void put_scale(struct pen *pen, double largest, double even)
{
    static const double marks[] = {0, 0.25, 1, 2, 4};
    char text[64];
    put_gradient(pen, largest > 0 ? pen->palette->gate : pen->palette->load);
    for (size_t i = 0; i < G_N_ELEMENTS(marks); i++) {
        double t = largest > 0 ? (double)i / 4 : sqrt(marks[i] / MOE_LOAD_MOST);
        if (largest > 0)
            g_snprintf(text, sizeof(text), i == 0 ? "0" : "%.2f", t * largest);
        else
            g_snprintf(text, sizeof(text), marks[i] == 0.25 ? "¼" : "%g", marks[i]);
        double width = text_width(pen, text);
        if (largest == 0 || i % 2 == 0)
            put_text(pen, pen->x + t * BAR - width / 2, pen->y + THICK + 1, text);
    }
    if (largest > 0)
        g_snprintf(text, sizeof(text), "gate of this token (in the cells: %%)");
    else if (even > 0)
        g_snprintf(text, sizeof(text), "× an even share (%.1f %% of the text)", 100 * even);
    else
        g_snprintf(text, sizeof(text), "× an even share of the text");
    put_text(pen, pen->x + BAR + 12, pen->y - 2, text);
}

/* --- the marks --- */

enum mark { GLOW, SHARED, OFF, FORCED, RUNNER_UP };

static void put_swatch(struct pen *pen, double y, enum mark mark)
{
    const MoePalette *p = pen->palette;
    double x = pen->x;
    switch (mark) {
    case GLOW:
        put_colour(pen, x, y, SWATCH / 2, SWATCH, p->glow);
        put_colour(pen, x + SWATCH / 2, y, SWATCH / 2, SWATCH, p->ember);
        break;
    case SHARED:
        put_colour(pen, x, y, SWATCH, SWATCH, p->load[3]);
        break;
    case OFF:
        put_colour(pen, x, y, SWATCH, SWATCH, p->off);
        for (int row = 0; row < (int)SWATCH; row++)
            for (int at = (4 - row % 4) % 4; at < (int)SWATCH; at += 4)
                put_colour(pen, x + at, y + row, 1, 1, p->soft);
        break;
    case FORCED:
        put_colour(pen, x, y, SWATCH, SWATCH, p->load[1]);
        put_frame(pen, x, y, 2, p->ink);
        break;
    case RUNNER_UP:
        put_colour(pen, x, y, SWATCH, SWATCH, p->load[0]);
        put_frame(pen, x, y, 1, moe_palette_gate(p, 0.6));
        break;
    }
}

static void put_mark(struct pen *pen, enum mark mark, const char *text)
{
    double width = SWATCH + SPACE + text_width(pen, text);
    if (pen->x > 0 && pen->x + width > pen->width) {
        pen->x = 0;
        pen->y += pen->line;
    }
    put_swatch(pen, pen->y + (pen->line - 4 - SWATCH) / 2, mark);
    put_text(pen, pen->x + SWATCH + SPACE, pen->y, text);
    pen->x += width + 14;
}

/* The height that all of it takes. */
static double lay_out(MoeMapLegend *self, GtkSnapshot *snapshot, double width)
{
    struct pen pen;
    pen_init(&pen, GTK_WIDGET(self), snapshot, width);
    pen.x = 6;
    put_scale(&pen, self->largest, self->even);
    pen.x = 0;
    pen.y += THICK + pen.line + 2;
    if (self->largest > 0)
        put_mark(&pen, RUNNER_UP, "runner-up");
    else
        put_mark(&pen, GLOW, "chosen just now, fading");
    if (self->has_shared)
        put_mark(&pen, SHARED, "shared expert");
    put_mark(&pen, OFF, "off");
    put_mark(&pen, FORCED, "always used");
    g_object_unref(pen.text);
    return pen.y + pen.line;
}

static void moe_map_legend_snapshot(GtkWidget *widget, GtkSnapshot *snapshot)
{
    lay_out(MOE_MAP_LEGEND(widget), snapshot, gtk_widget_get_width(widget));
}

static GtkSizeRequestMode moe_map_legend_get_request_mode(GtkWidget *widget)
{
    (void)widget;
    return GTK_SIZE_REQUEST_HEIGHT_FOR_WIDTH;
}

static void moe_map_legend_measure(GtkWidget *widget, GtkOrientation orientation, int for_size,
                                   int *least, int *natural, int *least_baseline,
                                   int *natural_baseline)
{
    *least_baseline = *natural_baseline = -1;
    if (orientation == GTK_ORIENTATION_HORIZONTAL) {
        *least = 240;
        *natural = 420;
    } else
        *least = *natural =
            (int)ceil(lay_out(MOE_MAP_LEGEND(widget), NULL, for_size < 0 ? 240 : for_size));
}

void moe_map_legend_show(MoeMapLegend *self, double largest, double even, gboolean has_shared)
{
    g_return_if_fail(MOE_IS_MAP_LEGEND(self));
    gboolean resize = (largest > 0) != (self->largest > 0) || has_shared != self->has_shared;
    if (largest == self->largest && even == self->even && !resize)
        return;
    self->largest = largest;
    self->even = even;
    self->has_shared = has_shared;
    if (resize)
        gtk_widget_queue_resize(GTK_WIDGET(self));
    else
        gtk_widget_queue_draw(GTK_WIDGET(self));
}

static void moe_map_legend_class_init(MoeMapLegendClass *class)
{
    GtkWidgetClass *widget = GTK_WIDGET_CLASS(class);
    widget->snapshot = moe_map_legend_snapshot;
    widget->measure = moe_map_legend_measure;
    widget->get_request_mode = moe_map_legend_get_request_mode;
    gtk_widget_class_set_accessible_role(widget, GTK_ACCESSIBLE_ROLE_IMG);
}

static void moe_map_legend_init(MoeMapLegend *self)
{
    gtk_accessible_update_property(
        GTK_ACCESSIBLE(self), GTK_ACCESSIBLE_PROPERTY_LABEL,
        "Legend: darker blue, or lighter on dark, is a larger share of the text; orange is chosen "
        "just now; hatched is off; framed is always used",
        -1);
}
