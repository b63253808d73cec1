/* How the map of experts looks. */
#include "expert_map_private.h"

#include <math.h>

#include "map_raster.h"

#define TEXT_SCALE 0.8

GdkRGBA moe_colour_rgba(MoeColour colour)
{
    double parts[3];
    moe_colour_parts(colour, parts);
    return (GdkRGBA){(float)parts[0], (float)parts[1], (float)parts[2], 1};
}

/* A theme is dark where its text is light. */
const MoePalette *moe_palette_of(GtkWidget *widget)
{
    GdkRGBA text;
    gtk_style_context_get_color(gtk_widget_get_style_context(widget), &text);
    return moe_palette(0.3f * text.red + 0.6f * text.green + 0.1f * text.blue > 0.5f);
}

static PangoLayout *text_new(GtkWidget *widget, gboolean bold)
{
    PangoLayout *text = gtk_widget_create_pango_layout(widget, NULL);
    PangoAttrList *list = pango_attr_list_new();
    pango_attr_list_insert(list, pango_attr_scale_new(TEXT_SCALE));
    pango_attr_list_insert(list, pango_attr_font_features_new("tnum=1"));
    if (bold)
        pango_attr_list_insert(list, pango_attr_weight_new(PANGO_WEIGHT_BOLD));
    pango_layout_set_attributes(text, list);
    pango_attr_list_unref(list);
    return text;
}

void moe_expert_map_measure_text(MoeExpertMap *self, double *width, double *height)
{
    g_autoptr(PangoLayout) text = text_new(GTK_WIDGET(self), TRUE);
    int w, h;
    pango_layout_set_text(text, self->layout.shape.n_layers > 100 ? "0000" : "000", -1);
    pango_layout_get_pixel_size(text, &w, &h);
    *width = w + 6;
    *height = h + 4;
}

/* --- colours and marks of the cells --- */

static void colour_load(MoeExpertMap *self, const MoePalette *palette)
{
    const MoeShape *s = &self->layout.shape;
    for (guint layer = 0; layer < s->n_layers; layer++) {
        double even = moe_route_log_get_even_share(self->log, layer);
        for (guint e = 0; e < s->n_experts; e++)
            self->base[layer * s->n_experts + e] = moe_palette_load(
                palette, even > 0 ? moe_route_log_get_share(self->log, layer, e) / even : 0);
    }
    self->stale = FALSE;
}

static void mark_steering(MoeExpertMap *self)
{
    const MoeShape *s = &self->layout.shape;
    for (guint layer = 0; layer < s->n_layers; layer++)
        for (guint e = 0; e < s->n_experts; e++) {
            vkmoe_expert_state state = moe_steering_get_state(self->steering, layer, e);
            self->marks[layer * s->n_experts + e] = state == VKMOE_EXPERT_OFF      ? MOE_MARK_OFF
                                                    : state == VKMOE_EXPERT_FORCED ? MOE_MARK_FORCED
                                                                                   : 0;
        }
}

static void fill_live(MoeExpertMap *self, const MoePalette *palette)
{
    size_t n = (size_t)self->layout.shape.n_layers * self->layout.shape.n_experts;
    for (size_t i = 0; i < n; i++) {
        self->fill[i] = self->glow[i] > 0
                            ? moe_palette_glow(palette, self->base[i], (double)self->glow[i])
                            : self->base[i];
        if (self->glow[i] > 0.4f)
            self->marks[i] |= MOE_MARK_STRONG;
    }
}

static void fill_route(MoeExpertMap *self, const MoePalette *palette)
{
    const MoeShape *s = &self->layout.shape;
    guint kept = moe_route_log_get_kept(self->log, (guint)self->token);
    double most = (double)moe_route_log_get_largest_gate(self->log, (guint)self->token);
    MoeRank rank;
    for (guint layer = 0; layer < s->n_layers; layer++) {
        guint runners = 0;
        for (guint e = 0; e < s->n_experts; e++)
            self->fill[layer * s->n_experts + e] = palette->load[0];
        for (guint i = 0; i < kept; i++) {
            if (!moe_route_log_get_rank(self->log, (guint)self->token, layer, i, &rank))
                continue;
            size_t cell = (size_t)layer * s->n_experts + rank.expert;
            if (rank.chosen) {
                self->fill[cell] = moe_palette_gate(palette, (double)rank.gate / most);
                self->marks[cell] |= MOE_MARK_STRONG;
            } else if (runners++ < MOE_EXPERT_MAP_RUNNERS)
                self->marks[cell] |= MOE_MARK_RUNNER_UP;
        }
    }
}

static void colour_cells(MoeExpertMap *self, const MoePalette *palette)
{
    self->drawn_at = g_get_monotonic_time();
    self->lit = moe_route_log_get_glow(self->log, self->drawn_at, self->glow);
    if (self->stale)
        colour_load(self, palette);
    mark_steering(self);
    if (self->token >= 0)
        fill_route(self, palette);
    else
        fill_live(self, palette);
}

/* --- drawing --- */

static void draw_cells(MoeExpertMap *self, GtkSnapshot *snapshot, const MoePalette *palette)
{
    const MoeMapCells cells = {&self->layout, palette, self->fill, self->marks,
                               gtk_widget_get_scale_factor(GTK_WIDGET(self))};
    int width, height;
    moe_map_raster_size(&cells, &width, &height);
    gsize size = (gsize)width * (gsize)height * sizeof(MoeColour);
    MoeColour *pixels = g_malloc(size);
    moe_map_raster(&cells, pixels);
    g_autoptr(GBytes) bytes = g_bytes_new_take(pixels, size);
    g_autoptr(GdkTexture) texture = gdk_memory_texture_new(width, height, GDK_MEMORY_DEFAULT, bytes,
                                                           (gsize)width * sizeof(MoeColour));
    gtk_snapshot_append_texture(
        snapshot, texture,
        &GRAPHENE_RECT_INIT((float)self->layout.grid_x, (float)self->layout.grid_y,
                            (float)width / (float)cells.scale, (float)height / (float)cells.scale));
}

static graphene_rect_t rect_of(MoeMapArea a)
{
    return GRAPHENE_RECT_INIT((float)a.x, (float)a.y, (float)a.width, (float)a.height);
}

static void fill_area(GtkSnapshot *snapshot, MoeMapArea a, MoeColour colour)
{
    const GdkRGBA c = moe_colour_rgba(colour);
    const graphene_rect_t rect = rect_of(a);
    gtk_snapshot_append_color(snapshot, &c, &rect);
}

/* A stroke through what is off, in the same grey as the hatching of routed ones. */
static void draw_shared(MoeExpertMap *self, GtkSnapshot *snapshot, const MoePalette *palette)
{
    const MoeMapLayout *l = &self->layout;
    guint layers[2], experts[2];
    float most = 0;
    gboolean used = moe_steering_get_use_shared(self->steering);
    for (size_t i = 0; i < (size_t)l->shape.n_layers * l->shape.n_experts; i++)
        most = MAX(most, self->glow[i]);
    MoeColour on = moe_palette_glow(palette, palette->load[3], self->token < 0 ? (double)most : 0);
    moe_map_layout_seen(l, layers, experts);
    for (guint layer = layers[0]; layer < layers[1]; layer++)
        for (guint i = 0; i < l->shape.n_shared; i++) {
            MoeMapArea a = moe_map_layout_shared(l, layer, i);
            double gap = l->cell_height >= 5 ? 1 : 0;
            a.width -= 1;
            a.height = MAX(a.height - gap, 1);
            fill_area(snapshot, a, used ? on : palette->off);
            if (!used) {
                a.y += a.height / 2 - 0.5;
                a.height = 1;
                fill_area(snapshot, a, palette->soft);
            }
        }
}

static void draw_ring(GtkSnapshot *snapshot, MoeMapArea a, double grow, float width,
                      MoeColour colour)
{
    const GdkRGBA c = moe_colour_rgba(colour);
    double least = 7 - MIN(a.width, 7), less = 7 - MIN(a.height, 7);
    GskRoundedRect outline;
    a.x -= grow + least / 2;
    a.y -= grow + less / 2;
    a.width += 2 * grow + least;
    a.height += 2 * grow + less;
    const graphene_rect_t rect = rect_of(a);
    gsk_rounded_rect_init_from_rect(&outline, &rect, 2);
    gtk_snapshot_append_border(snapshot, &outline, (float[4]){width, width, width, width},
                               (GdkRGBA[4]){c, c, c, c});
}

static void draw_rings(MoeExpertMap *self, GtkSnapshot *snapshot, const MoePalette *palette)
{
    const MoeMapLayout *l = &self->layout;
    if (self->hovers)
        draw_ring(snapshot, moe_map_layout_expert(l, self->hover_layer, self->hover_expert), 0, 1,
                  palette->ink);
    if (self->selected) {
        MoeMapArea a = moe_map_layout_expert(l, self->selected_layer, self->selected_expert);
        draw_ring(snapshot, a, 1, 3, palette->ink);
    }
    if (gtk_widget_has_focus(GTK_WIDGET(self))) {
        MoeMapArea a = moe_map_layout_expert(l, self->layer, self->expert);
        draw_ring(snapshot, a, 3, 2, palette->ink);
        draw_ring(snapshot, a, 1, 1, palette->back);
    }
}

/* Centred on x, or ending there. */
static void draw_text(GtkSnapshot *snapshot, PangoLayout *text, double x, double y, gboolean ends,
                      MoeColour colour)
{
    const GdkRGBA c = moe_colour_rgba(colour);
    int width, height;
    pango_layout_get_pixel_size(text, &width, &height);
    gtk_snapshot_save(snapshot);
    gtk_snapshot_translate(snapshot, &GRAPHENE_POINT_INIT((float)(ends ? x - width : x - width / 2),
                                                          (float)(y - height / 2)));
    gtk_snapshot_append_layout(snapshot, text, &c);
    gtk_snapshot_restore(snapshot);
}

static void draw_number(GtkSnapshot *snapshot, PangoLayout *text, guint number, double x, double y,
                        gboolean ends, MoeColour colour)
{
    char digits[16];
    g_snprintf(digits, sizeof(digits), "%u", number);
    pango_layout_set_text(text, digits, -1);
    draw_text(snapshot, text, x, y, ends, colour);
}

/* The cell that is pointed at, or else has the focus. */
static gboolean get_position(MoeExpertMap *self, guint *layer, guint *expert)
{
    *layer = self->hovers ? self->hover_layer : self->layer;
    *expert = self->hovers ? self->hover_expert : self->expert;
    return self->hovers || gtk_widget_has_focus(GTK_WIDGET(self));
}

/* Those around the position's own make room for it. */
static void draw_numbers(MoeExpertMap *self, GtkSnapshot *snapshot, const MoePalette *palette)
{
    const MoeMapLayout *l = &self->layout;
    g_autoptr(PangoLayout) text = text_new(GTK_WIDGET(self), FALSE);
    guint layers[2], experts[2], row, column;
    gboolean at = get_position(self, &row, &column);
    MoeMapArea own = moe_map_layout_expert(l, row, column);
    guint every = moe_map_layout_step(l->cell_width, 26);
    guint each = moe_map_layout_step(l->cell_height, l->axis - 3);
    moe_map_layout_seen(l, layers, experts);
    for (guint layer = layers[0]; layer < layers[1]; layer++) {
        MoeMapArea a = moe_map_layout_expert(l, layer, 0);
        double middle = a.y + a.height / 2;
        if (layer % each == 0 && middle >= l->grid_y && (!at || fabs(a.y - own.y) >= l->axis - 4))
            draw_number(snapshot, text, layer, l->labels - 5, middle, TRUE, palette->soft);
    }
    for (guint e = experts[0]; e < experts[1]; e++) {
        MoeMapArea a = moe_map_layout_expert(l, 0, e);
        double middle = a.x + a.width / 2;
        if (e % every == 0 && middle >= l->grid_x && middle < l->width &&
            (!at || fabs(a.x - own.x) >= 22))
            draw_number(snapshot, text, e, middle, l->axis / 2, FALSE, palette->soft);
    }
}

static void draw_position(MoeExpertMap *self, GtkSnapshot *snapshot, const MoePalette *palette)
{
    const MoeMapLayout *l = &self->layout;
    guint layer, expert;
    if (!get_position(self, &layer, &expert))
        return;
    g_autoptr(PangoLayout) text = text_new(GTK_WIDGET(self), TRUE);
    MoeMapArea a = moe_map_layout_expert(l, layer, expert);
    draw_number(snapshot, text, expert, a.x + a.width / 2, l->axis / 2, FALSE, palette->ink);
    draw_number(snapshot, text, layer, l->labels - 5, a.y + a.height / 2, TRUE, palette->ink);
}

/* Gates in hundredths, in the cells of a route, where they are large enough. */
static void draw_gates(MoeExpertMap *self, GtkSnapshot *snapshot)
{
    const MoeMapLayout *l = &self->layout;
    g_autoptr(PangoLayout) text = text_new(GTK_WIDGET(self), FALSE);
    guint kept = moe_route_log_get_kept(self->log, (guint)self->token), layers[2], experts[2];
    MoeRank rank;
    char digits[16];
    if (l->cell_width < 15 || l->cell_height < 14)
        return;
    moe_map_layout_seen(l, layers, experts);
    for (guint layer = layers[0]; layer < layers[1]; layer++)
        for (guint i = 0; i < kept; i++) {
            if (!moe_route_log_get_rank(self->log, (guint)self->token, layer, i, &rank) ||
                !rank.chosen)
                continue;
            MoeMapArea a = moe_map_layout_expert(l, layer, rank.expert);
            MoeColour fill = self->fill[layer * l->shape.n_experts + rank.expert];
            g_snprintf(digits, sizeof(digits), l->cell_width < 30 ? "%.0f" : "%.0f %%",
                       100 * (double)rank.gate);
            pango_layout_set_text(text, digits, -1);
            draw_text(snapshot, text, a.x + a.width / 2 - 0.5, a.y + a.height / 2 - 0.5, FALSE,
                      moe_colour_luminance(fill) > 0.3 ? 0xff000000 : 0xffffffff);
        }
}

void moe_expert_map_snapshot(GtkWidget *widget, GtkSnapshot *snapshot)
{
    MoeExpertMap *self = MOE_EXPERT_MAP(widget);
    const MoePalette *palette = moe_palette_of(widget);
    const MoeMapLayout *l = &self->layout;
    fill_area(snapshot, (MoeMapArea){0, 0, l->width, l->height}, palette->back);
    if (moe_expert_map_is_empty(self))
        return;
    colour_cells(self, palette);
    gtk_snapshot_push_clip(
        snapshot, &GRAPHENE_RECT_INIT(0, (float)l->grid_y, (float)l->width, (float)l->grid_height));
    draw_shared(self, snapshot, palette);
    gtk_snapshot_push_clip(snapshot,
                           &GRAPHENE_RECT_INIT((float)l->grid_x, (float)l->grid_y,
                                               (float)l->grid_width, (float)l->grid_height));
    draw_cells(self, snapshot, palette);
    if (self->token >= 0)
        draw_gates(self, snapshot);
    gtk_snapshot_pop(snapshot);
    gtk_snapshot_pop(snapshot);
    draw_rings(self, snapshot, palette);
    draw_numbers(self, snapshot, palette);
    draw_position(self, snapshot, palette);
}
