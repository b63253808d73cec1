#include "heat_map.h"

#include "cli.h"
#include "drawing.h"

#ifdef VKMOE_CAIRO

#include <math.h>
#include <stdio.h>

#define WIDTH 960.0
#define LABELS 64.0  /* the column of layers */
#define HEADER 76.0  /* title and subtitle */
#define HEADING 34.0 /* of a panel that has a name */
#define AXIS 26.0    /* below a panel */
#define SCALE 56.0   /* the legend */
#define CELL_MOST 30.0

/* From light to dark through one hue after another, each darker than the one before: readable
 * without colours, too. Shares from 0 to 4 times an even one, on a scale of square roots. */
static const struct drawing_ink scale[] = {{0.96, 0.96, 0.93}, {0.78, 0.87, 0.85},
                                           {0.50, 0.73, 0.77}, {0.24, 0.54, 0.69},
                                           {0.13, 0.34, 0.57}, {0.12, 0.13, 0.36}};
#define STOPS (sizeof(scale) / sizeof(scale[0]))
#define MOST 4.0

struct grid {
    const struct heat_map *map;
    double width, height; /* of a cell */
};

static struct grid grid_of(const struct heat_map *map)
{
    double width = (WIDTH - 2 * DRAWING_MARGIN - LABELS) / map->experts;
    double height = fmin(CELL_MOST, fmax(width, map->layers > 24 ? 12 : 22));
    return (struct grid){map, fmin(width, 2 * CELL_MOST), height};
}

static double panel_height(const struct grid *g)
{
    return (g->map->names ? HEADING : 12) + g->height * g->map->layers + AXIS;
}

static struct drawing_ink colour_of(double value)
{
    double at = sqrt(fmin(value, MOST) / MOST) * (STOPS - 1);
    size_t i = at < STOPS - 1 ? (size_t)at : STOPS - 2;
    double t = at - (double)i;
    return (struct drawing_ink){scale[i].r + t * (scale[i + 1].r - scale[i].r),
                                scale[i].g + t * (scale[i + 1].g - scale[i].g),
                                scale[i].b + t * (scale[i + 1].b - scale[i].b)};
}

/* An expert that nobody chose is an empty frame with a stroke through it. */
static void draw_cell(cairo_t *c, double x, double y, const struct grid *g, double value)
{
    double gap = g->width > 6 ? 1 : 0, w = g->width - gap, h = g->height - 1;
    if (value > 0) {
        drawing_colour(c, colour_of(value));
        cairo_rectangle(c, x, y, w, h);
        cairo_fill(c);
        return;
    }
    drawing_colour(c, drawing_soft);
    cairo_set_line_width(c, 0.8);
    cairo_rectangle(c, x + 0.5, y + 0.5, w - 1, h - 1);
    cairo_move_to(c, x + 0.5, y + h - 0.5);
    cairo_line_to(c, x + w - 0.5, y + 0.5);
    cairo_stroke(c);
}

/* Every so many columns or rows have a number, so that numbers do not touch. */
static uint32_t step_of(double size, double room)
{
    uint32_t step = 1;
    while (step * size < room)
        step *= step % 5 == 0 || step == 1 ? 2 : 5;
    return step;
}

static void draw_panel(cairo_t *c, const struct grid *g, uint32_t panel, double top)
{
    const struct heat_map *m = g->map;
    const double *values = m->values + (size_t)panel * m->layers * m->experts;
    double x = DRAWING_MARGIN + LABELS, y = top + (m->names ? HEADING : 12);
    uint32_t every = step_of(g->width, 30), each = step_of(g->height, 14);
    char label[32];
    if (m->names) {
        drawing_font(c, DRAWING_FONT + 1, true);
        drawing_colour(c, drawing_ink);
        drawing_text(c, x, y - 10, 0, WIDTH - x, m->names[panel]);
    }
    drawing_font(c, DRAWING_FONT - 2, false);
    for (uint32_t l = 0; l < m->layers; l++) {
        for (uint32_t e = 0; e < m->experts; e++)
            draw_cell(c, x + e * g->width, y + l * g->height, g, values[l * m->experts + e]);
        drawing_colour(c, drawing_soft);
        snprintf(label, sizeof(label), l == 0 ? "layer %u" : "%u", l);
        if (l % each == 0)
            drawing_text(c, x - 8, y + l * g->height + g->height / 2 + 4, 1, LABELS, label);
    }
    for (uint32_t e = 0; e < m->experts; e += every) {
        snprintf(label, sizeof(label), "%u", e);
        drawing_text(c, x + (e + 0.5) * g->width, y + m->layers * g->height + 14, 0.5, 60, label);
    }
    drawing_text(c, x - 8, y + m->layers * g->height + 14, 1, LABELS, "expert");
}

static void draw_scale(cairo_t *c, const struct heat_map *m, double top)
{
    static const double marks[] = {0, 0.25, 1, 2, 4};
    double x = DRAWING_MARGIN + LABELS, length = 320;
    for (int i = 0; i < 160; i++) {
        double value = (i / 159.0) * (i / 159.0) * MOST;
        drawing_colour(c, colour_of(value));
        cairo_rectangle(c, x + i * length / 160, top, length / 160 + 0.5, 14);
        cairo_fill(c);
    }
    drawing_font(c, DRAWING_FONT - 2, false);
    drawing_colour(c, drawing_soft);
    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
        char label[32];
        snprintf(label, sizeof(label), marks[i] < MOST ? "%g" : "%g or more", marks[i]);
        drawing_text(c, x + sqrt(marks[i] / MOST) * length, top + 28, 0.5, 90, label);
    }
    drawing_text(c, x + length + 60, top + 11, 0, WIDTH - x - length, m->legend);
}

static void draw_map(cairo_t *c, const void *what)
{
    const struct grid *g = what;
    drawing_font(c, DRAWING_FONT_TITLE, true);
    drawing_colour(c, drawing_ink);
    drawing_text(c, DRAWING_MARGIN, 36, 0, WIDTH - 2 * DRAWING_MARGIN, g->map->title);
    drawing_font(c, DRAWING_FONT, false);
    drawing_colour(c, drawing_soft);
    drawing_text(c, DRAWING_MARGIN, 58, 0, WIDTH - 2 * DRAWING_MARGIN, g->map->subtitle);
    for (uint32_t i = 0; i < g->map->panels; i++)
        draw_panel(c, g, i, HEADER + i * panel_height(g));
    draw_scale(c, g->map, HEADER + g->map->panels * panel_height(g) + 10);
}

/* The busiest experts of each layer, for who cannot see the picture. */
static void describe(const struct heat_map *m, struct words *words)
{
    char text[128];
    for (size_t row = 0; row < (size_t)m->panels * m->layers; row++) {
        const double *values = m->values + row * m->experts;
        uint32_t busiest = 0;
        for (uint32_t e = 1; e < m->experts; e++)
            busiest = values[e] > values[busiest] ? e : busiest;
        if (m->names && row % m->layers == 0) {
            words_append(words, m->names[row / m->layers]);
            words_append(words, ":\n");
        }
        snprintf(text, sizeof(text), "layer %zu: expert %u has the most, %.3g\n", row % m->layers,
                 busiest, values[busiest]);
        words_append(words, text);
    }
}

int heat_map_draw(const struct heat_map *map, const char *path)
{
    struct grid grid = grid_of(map);
    struct words words = {0};
    const struct drawing drawing = {
        .width = WIDTH,
        .height = HEADER + map->panels * panel_height(&grid) + SCALE,
        .title = map->title,
        .draw = draw_map,
        .what = &grid,
    };
    describe(map, &words);
    int code = drawing_write(&drawing, &words, path);
    words_free(&words);
    return code;
}

#else

int heat_map_draw(const struct heat_map *map, const char *path)
{
    (void)map, (void)path;
    return EXIT_FAILED;
}

#endif
