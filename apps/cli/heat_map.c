#include "heat_map.h"

#include "cli.h"
#include "drawing.h"

#ifdef VKMOE_CAIRO

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define WIDTH 960.0
#define LABELS 64.0 /* the column of layers, or of names */
#define NAMES 120.0
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
/* Where values have a sign: what is below zero goes from the lightest to this. */
static const struct drawing_ink below = {0.80, 0.36, 0.05};

struct grid {
    const struct heat_map *map;
    double left;          /* of the cells */
    double width, height; /* of a cell */
};

static struct grid grid_of(const struct heat_map *map)
{
    double left = DRAWING_MARGIN + (map->rows ? NAMES : LABELS);
    double width = (WIDTH - DRAWING_MARGIN - left) / map->experts;
    double height = fmin(CELL_MOST, fmax(width, map->layers > 24 ? 12 : 22));
    return (struct grid){map, left, fmin(width, 2 * CELL_MOST), height};
}

static double panel_height(const struct grid *g)
{
    return (g->map->names ? HEADING : 12) + g->height * g->map->layers + AXIS;
}

static struct drawing_ink between(struct drawing_ink a, struct drawing_ink b, double t)
{
    return (struct drawing_ink){a.r + t * (b.r - a.r), a.g + t * (b.g - a.g),
                                a.b + t * (b.b - a.b)};
}

/* The value's place on the scale, from 0, or -1 where values have a sign, to 1. */
static double place_of(const struct heat_map *m, double value)
{
    double most = m->most > 0 ? m->most : MOST, part = fmin(fabs(value), most) / most;
    return copysign(m->linear ? part : sqrt(part), value);
}

static struct drawing_ink colour_of(double place)
{
    double at = place * (STOPS - 1);
    size_t i = at < STOPS - 1 ? (size_t)fmax(0, at) : STOPS - 2;
    return place < 0 ? between(scale[0], below, -place)
                     : between(scale[i], scale[i + 1], at - (double)i);
}

/* An expert that nobody chose is an empty frame with a stroke through it. */
static void draw_cell(cairo_t *c, double x, double y, const struct grid *g, double value)
{
    double gap = g->width > 6 ? 1 : 0, w = g->width - gap, h = g->height - 1;
    if (value != 0 && !isnan(value)) {
        drawing_colour(c, colour_of(place_of(g->map, value)));
        cairo_rectangle(c, x, y, w, h);
        cairo_fill(c);
        return;
    }
    drawing_colour(c, isnan(value) ? drawing_line : drawing_soft);
    cairo_set_line_width(c, 0.8);
    cairo_rectangle(c, x + 0.5, y + 0.5, w - 1, h - 1);
    if (!isnan(value)) {
        cairo_move_to(c, x + 0.5, y + h - 0.5);
        cairo_line_to(c, x + w - 0.5, y + 0.5);
    }
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

static void draw_row(cairo_t *c, const struct grid *g, size_t row, double y)
{
    const struct heat_map *m = g->map;
    const double *values = m->values + row * m->experts;
    for (uint32_t e = 0; e < m->experts; e++)
        draw_cell(c, g->left + e * g->width, y, g, values[e]);
}

static void draw_panel(cairo_t *c, const struct grid *g, uint32_t panel, double top)
{
    const struct heat_map *m = g->map;
    double x = g->left, y = top + (m->names ? HEADING : 12);
    uint32_t every = step_of(g->width, 30), each = m->rows ? 1 : step_of(g->height, 14);
    char label[32];
    if (m->names) {
        drawing_font(c, DRAWING_FONT + 1, true);
        drawing_colour(c, drawing_ink);
        drawing_text(c, x, y - 10, 0, WIDTH - x, m->names[panel]);
    }
    drawing_font(c, DRAWING_FONT - 2, false);
    for (uint32_t l = 0; l < m->layers; l++) {
        draw_row(c, g, (size_t)panel * m->layers + l, y + l * g->height);
        drawing_colour(c, drawing_soft);
        snprintf(label, sizeof(label), l == 0 ? "layer %u" : "%u", l);
        if (l % each == 0)
            drawing_text(c, x - 8, y + l * g->height + g->height / 2 + 4, 1,
                         x - 8 - DRAWING_MARGIN / 2, m->rows ? m->rows[l] : label);
    }
    for (uint32_t e = 0; e < m->experts; e += every) {
        snprintf(label, sizeof(label), "%u", e);
        drawing_text(c, x + (e + 0.5) * g->width, y + m->layers * g->height + 14, 0.5, 60, label);
    }
    drawing_text(c, x - 8, y + m->layers * g->height + 14, 1, LABELS, "expert");
}

#define SCALE_LENGTH 320.0

/* Where a place of the scale is drawn. */
static double scale_at(const struct heat_map *m, double place)
{
    double from = m->most > 0 ? -1 : 0;
    return DRAWING_MARGIN + LABELS + (place - from) / (1 - from) * SCALE_LENGTH;
}

static void draw_mark(cairo_t *c, const struct heat_map *m, double value, double top)
{
    char label[32];
    if (m->most > 0)
        snprintf(label, sizeof(label), value != 0 ? "%+g" : "%g", value);
    else
        snprintf(label, sizeof(label), value < MOST ? "%g" : "%g or more", value);
    drawing_text(c, scale_at(m, place_of(m, value)), top + 28, 0.5, 90, label);
}

static void draw_scale(cairo_t *c, const struct heat_map *m, double top)
{
    static const double marks[] = {0, 0.25, 1, 2, 4};
    double first = scale_at(m, m->most > 0 ? -1 : 0);
    for (int i = 0; i < 160; i++) {
        double place = m->most > 0 ? i / 79.5 - 1 : i / 159.0;
        drawing_colour(c, colour_of(place));
        cairo_rectangle(c, first + i * SCALE_LENGTH / 160, top, SCALE_LENGTH / 160 + 0.5, 14);
        cairo_fill(c);
    }
    drawing_font(c, DRAWING_FONT - 2, false);
    drawing_colour(c, drawing_soft);
    if (m->most > 0)
        for (int i = -2; i <= 2; i++)
            draw_mark(c, m, i * (m->linear ? 2 : abs(i)) * m->most / 4, top);
    for (size_t i = 0; m->most <= 0 && i < sizeof(marks) / sizeof(marks[0]); i++)
        draw_mark(c, m, marks[i], top);
    double after = first + SCALE_LENGTH + 60;
    drawing_text(c, after, top + 11, 0, WIDTH - after, m->legend);
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

/* The expert with the most in each row, for who cannot see the picture. */
static void describe(const struct heat_map *m, struct words *words)
{
    char text[128];
    for (size_t row = 0; row < (size_t)m->panels * m->layers; row++) {
        const double *values = m->values + row * m->experts;
        size_t l = row % m->layers;
        uint32_t busiest = 0;
        for (uint32_t e = 1; e < m->experts; e++)
            busiest = values[e] > values[busiest] || isnan(values[busiest]) ? e : busiest;
        if (m->names && l == 0) {
            words_append(words, m->names[row / m->layers]);
            words_append(words, ":\n");
        }
        snprintf(text, sizeof(text), "layer %zu", l);
        words_append(words, m->rows ? m->rows[l] : text);
        if (isnan(values[busiest]))
            snprintf(text, sizeof(text), ": empty\n");
        else
            snprintf(text, sizeof(text), ": expert %u has the most, %.3g\n", busiest,
                     values[busiest]);
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
