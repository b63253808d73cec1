#include "map_raster.h"

#include <math.h>
#include <string.h>

/* A cell in the picture, what lies outside cut off; x1 and y1 are beyond it. */
struct box {
    int x0, y0, x1, y1;
};

struct picture {
    const MoeMapCells *cells;
    MoeColour *pixels;
    int width, height;
    int gap_x, gap_y; /* between cells, where these are large enough */
};

void moe_map_raster_size(const MoeMapCells *cells, int *width, int *height)
{
    const MoeMapLayout *l = cells->layout;
    *width = MAX(1, (int)ceil(MIN(l->grid_width, l->full_width - l->x) * cells->scale));
    *height = MAX(1, (int)ceil(MIN(l->grid_height, l->full_height - l->y) * cells->scale));
}

static int edge(double at, double offset, int scale)
{
    return (int)floor((at - offset) * scale + 0.5);
}

static struct box box_of(const struct picture *p, guint layer, guint expert)
{
    const MoeMapLayout *l = p->cells->layout;
    int scale = p->cells->scale;
    return (struct box){edge(expert * l->cell_width, l->x, scale),
                        edge(layer * l->cell_height, l->y, scale),
                        edge((expert + 1) * l->cell_width, l->x, scale) - p->gap_x,
                        edge((layer + 1) * l->cell_height, l->y, scale) - p->gap_y};
}

static struct box within(const struct picture *p, struct box b)
{
    return (struct box){MAX(b.x0, 0), MAX(b.y0, 0), MIN(b.x1, p->width), MIN(b.y1, p->height)};
}

static void fill(const struct picture *p, struct box outside, MoeColour colour)
{
    struct box b = within(p, outside);
    for (int y = b.y0; y < b.y1; y++)
        for (int x = b.x0; x < b.x1; x++)
            p->pixels[(size_t)y * (size_t)p->width + (size_t)x] = colour;
}

static void frame(const struct picture *p, struct box b, int thickness, MoeColour colour)
{
    int t = MIN(thickness, MAX(1, MIN(b.x1 - b.x0, b.y1 - b.y0) / 2));
    fill(p, (struct box){b.x0, b.y0, b.x1, b.y0 + t}, colour);
    fill(p, (struct box){b.x0, b.y1 - t, b.x1, b.y1}, colour);
    fill(p, (struct box){b.x0, b.y0, b.x0 + t, b.y1}, colour);
    fill(p, (struct box){b.x1 - t, b.y0, b.x1, b.y1}, colour);
}

/* Lines at an angle, one part of ink in three; of cells that are too small for them, one of two. */
static void hatch(const struct picture *p, struct box outside, MoeColour ground)
{
    struct box b = within(p, outside);
    int scale = p->cells->scale;
    int period = MIN(outside.x1 - outside.x0, outside.y1 - outside.y0) < 4 * scale ? 2 : 4;
    fill(p, outside, ground);
    for (int y = b.y0; y < b.y1; y++)
        for (int x = b.x0; x < b.x1; x++)
            if ((x - outside.x0 + y - outside.y0) / scale % period == 0)
                p->pixels[(size_t)y * (size_t)p->width + (size_t)x] = p->cells->palette->soft;
}

/* All cells of a row have the same lines of pixels: one is drawn, the others are copies. */
static void draw_row(const struct picture *p, guint layer, const guint experts[2])
{
    const MoeMapCells *c = p->cells;
    const MoeColour *colours = c->fill + (size_t)layer * c->layout->shape.n_experts;
    struct box row = within(p, box_of(p, layer, 0));
    size_t width = (size_t)p->width;
    if (row.y0 >= row.y1)
        return;
    for (guint e = experts[0]; e < experts[1]; e++) {
        struct box b = box_of(p, layer, e);
        fill(p, (struct box){b.x0, row.y0, b.x1, row.y0 + 1}, colours[e]);
    }
    for (int y = row.y0 + 1; y < row.y1; y++)
        memcpy(p->pixels + (size_t)y * width, p->pixels + (size_t)row.y0 * width,
               width * sizeof(*p->pixels));
}

static struct box widened(struct box b, int least)
{
    int missing = MAX(0, least - (b.x1 - b.x0)), more = MAX(0, least - (b.y1 - b.y0));
    return (struct box){b.x0 - missing / 2, b.y0 - more / 2, b.x1 + missing - missing / 2,
                        b.y1 + more - more / 2};
}

static void draw_marks(const struct picture *p, guint layer, guint expert, guint marks)
{
    const MoeMapCells *c = p->cells;
    struct box b = box_of(p, layer, expert);
    MoeColour colour = c->fill[(size_t)layer * c->layout->shape.n_experts + expert];
    if (marks & MOE_MARK_STRONG)
        b = widened(b, 3 * c->scale);
    if (marks & MOE_MARK_OFF)
        hatch(p, b, marks & MOE_MARK_STRONG ? colour : c->palette->off);
    else if (marks & MOE_MARK_STRONG)
        fill(p, b, colour);
    if (marks & MOE_MARK_RUNNER_UP)
        frame(p, widened(b, 3 * c->scale), c->scale, moe_palette_gate(c->palette, 0.6));
    if (marks & MOE_MARK_FORCED)
        frame(p, widened(b, 3 * c->scale), 2 * c->scale, c->palette->ink);
}

void moe_map_raster(const MoeMapCells *cells, MoeColour *pixels)
{
    const MoeMapLayout *l = cells->layout;
    struct picture p = {.cells = cells, .pixels = pixels};
    guint layers[2], experts[2];
    moe_map_raster_size(cells, &p.width, &p.height);
    p.gap_x = l->cell_width >= 5 ? cells->scale : 0;
    p.gap_y = l->cell_height >= 5 ? cells->scale : 0;
    moe_map_layout_seen(l, layers, experts);
    fill(&p, (struct box){0, 0, p.width, p.height}, cells->palette->back);
    for (guint layer = layers[0]; layer < layers[1]; layer++)
        draw_row(&p, layer, experts);
    for (guint layer = layers[0]; layer < layers[1]; layer++)
        for (guint e = experts[0]; e < experts[1]; e++) {
            guint marks = cells->marks[(size_t)layer * l->shape.n_experts + e];
            if (marks != 0)
                draw_marks(&p, layer, e, marks);
        }
}
