#include "study_chart.h"

#include "cli.h"
#include "drawing.h"

#ifdef VKMOE_CAIRO

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define WIDTH 760.0
#define HEADER 76.0
#define LEFT 76.0
#define RIGHT 90.0  /* room for what the dashed line is */
#define PLOT 220.0  /* height of a plot */
#define PANEL 290.0 /* with its heading, above, and axis, below */
#define HEADING 22.0
#define RADIUS 3.5

/* One of the plots, in the units of its axes. */
struct plot {
    const struct study_chart *chart;
    const size_t *order; /* points by x */
    const char *heading;
    const double *y, *error; /* error NULL: none */
    double top;              /* of the plot, in pixels */
    double low[2], high[2];  /* of x and y */
};

static double step_of(double range, double most)
{
    double unit = pow(10, floor(log10(range / most))), ratio = range / most / unit;
    return unit * (ratio <= 1 ? 1 : ratio <= 2 ? 2 : ratio <= 5 ? 5 : 10);
}

static double across(const struct plot *p, double x)
{
    return LEFT + (x - p->low[0]) / (p->high[0] - p->low[0]) * (WIDTH - LEFT - RIGHT);
}

static double down(const struct plot *p, double y)
{
    return p->top + PLOT - (y - p->low[1]) / (p->high[1] - p->low[1]) * PLOT;
}

static void find_range(struct plot *p, bool from_zero)
{
    const struct study_chart *c = p->chart;
    double low = INFINITY, high = -INFINITY;
    p->low[0] = c->x[p->order[0]];
    p->high[0] = fmax(p->low[0] + 1, c->x[p->order[c->count - 1]]);
    for (size_t i = 0; i < c->count; i++) {
        double error = p->error && !isnan(p->error[i]) ? p->error[i] : 0;
        low = fmin(low, p->y[i] - error);
        high = fmax(high, p->y[i] + error);
    }
    low = from_zero ? 0 : low;
    high = fmax(high, low + 1e-6 * fmax(1, fabs(low)));
    double step = step_of(high - low, 6);
    p->low[1] = floor(low / step) * step;
    p->high[1] = ceil(high / step) * step;
}

static void line(cairo_t *c, double x, double y, double to_x, double to_y)
{
    cairo_move_to(c, x, y);
    cairo_line_to(c, to_x, to_y);
    cairo_stroke(c);
}

static void draw_axes(cairo_t *c, const struct plot *p)
{
    double range[2] = {p->high[0] - p->low[0], p->high[1] - p->low[1]};
    double steps[2] = {fmax(1, step_of(range[0], 12)), step_of(range[1], 6)};
    char label[32];
    drawing_font(c, DRAWING_FONT + 1, true);
    drawing_colour(c, drawing_ink);
    drawing_text(c, LEFT, p->top - 12, 0, WIDTH - LEFT, p->heading);
    drawing_font(c, DRAWING_FONT - 1, false);
    cairo_set_line_width(c, 1);
    for (int i = 0; i <= (int)lround(range[1] / steps[1]); i++) {
        double y = p->low[1] + i * steps[1];
        drawing_colour(c, drawing_line);
        line(c, LEFT, down(p, y), WIDTH - RIGHT, down(p, y));
        snprintf(label, sizeof(label), "%.6g", y);
        drawing_colour(c, drawing_soft);
        drawing_text(c, LEFT - 8, down(p, y) + 4, 1, LEFT, label);
    }
    for (double x = ceil(p->low[0] / steps[0]) * steps[0]; x <= p->high[0]; x += steps[0]) {
        snprintf(label, sizeof(label), "%g", x);
        drawing_text(c, across(p, x), p->top + PLOT + 18, 0.5, 60, label);
    }
    drawing_text(c, (LEFT + WIDTH - RIGHT) / 2, p->top + PLOT + 36, 0.5, WIDTH - LEFT,
                 p->chart->across);
}

/* The first point's value across the whole plot. */
static void draw_reference(cairo_t *c, const struct plot *p)
{
    const double dashes[] = {5, 4};
    double y = down(p, p->y[0]);
    drawing_colour(c, drawing_soft);
    cairo_set_dash(c, dashes, 2, 0);
    line(c, LEFT, y, WIDTH - RIGHT, y);
    cairo_set_dash(c, NULL, 0, 0);
    drawing_text(c, WIDTH - RIGHT + 10, y + 4, 0, RIGHT - 10 - DRAWING_MARGIN / 2, "as it is");
}

static void draw_points(cairo_t *c, const struct plot *p)
{
    const struct study_chart *chart = p->chart;
    cairo_set_line_width(c, 1.5);
    drawing_colour(c, drawing_light);
    for (size_t i = 0; i < chart->count && p->error; i++)
        if (!isnan(p->error[i]))
            line(c, across(p, chart->x[i]), down(p, p->y[i] - p->error[i]), across(p, chart->x[i]),
                 down(p, p->y[i] + p->error[i]));
    drawing_colour(c, drawing_dark);
    cairo_set_line_width(c, 2);
    cairo_new_path(c); /* a text leaves a point behind */
    for (size_t i = 0; i < chart->count; i++)
        cairo_line_to(c, across(p, chart->x[p->order[i]]), down(p, p->y[p->order[i]]));
    cairo_stroke(c);
    for (size_t i = 0; i < chart->count; i++) {
        cairo_arc(c, across(p, chart->x[i]), down(p, p->y[i]), RADIUS, 0, 2 * acos(-1));
        cairo_fill(c);
    }
}

struct picture {
    const struct study_chart *chart;
    struct plot plots[2];
    int n_plots;
};

static void draw_picture(cairo_t *c, const void *what)
{
    const struct picture *p = what;
    drawing_font(c, DRAWING_FONT_TITLE, true);
    drawing_colour(c, drawing_ink);
    drawing_text(c, DRAWING_MARGIN, 36, 0, WIDTH - 2 * DRAWING_MARGIN, p->chart->title);
    drawing_font(c, DRAWING_FONT, false);
    drawing_colour(c, drawing_soft);
    drawing_text(c, DRAWING_MARGIN, 58, 0, WIDTH - 2 * DRAWING_MARGIN, p->chart->subtitle);
    for (int i = 0; i < p->n_plots; i++) {
        draw_axes(c, &p->plots[i]);
        draw_reference(c, &p->plots[i]);
        draw_points(c, &p->plots[i]);
    }
}

static void describe(const struct study_chart *chart, const size_t *order, struct words *words)
{
    char text[160];
    for (size_t i = 0; i < chart->count; i++) {
        size_t at = order[i];
        snprintf(text, sizeof(text), "%g: NLL %.4f", chart->x[at], chart->nll[at]);
        words_append(words, text);
        if (chart->rate) {
            snprintf(text, sizeof(text), ", %.1f +- %.1f tokens per second", chart->rate[at],
                     chart->rate_deviation[at]);
            words_append(words, text);
        }
        words_append(words, "\n");
    }
}

static size_t *sort(const struct study_chart *chart)
{
    size_t *order = malloc(chart->count * sizeof(*order) + 1);
    for (size_t i = 0; order && i < chart->count; i++) {
        size_t at = i;
        for (; at > 0 && chart->x[order[at - 1]] > chart->x[i]; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    return order;
}

int study_chart_draw(const struct study_chart *chart, const char *path)
{
    struct words words = {0};
    size_t *order = sort(chart);
    struct picture p = {.chart = chart, .n_plots = chart->rate ? 2 : 1};
    const struct drawing drawing = {.width = WIDTH,
                                    .height = HEADER + p.n_plots * PANEL,
                                    .title = chart->title,
                                    .draw = draw_picture,
                                    .what = &p};
    if (!order)
        return cli_fail("host memory ran out for a chart of %zu points", chart->count);
    p.plots[0] = (struct plot){.chart = chart,
                               .order = order,
                               .heading = "Negative log likelihood, nats per token; 95 % intervals "
                                          "of the change",
                               .y = chart->nll,
                               .error = chart->error,
                               .top = HEADER + HEADING};
    p.plots[1] = (struct plot){.chart = chart,
                               .order = order,
                               .heading = "Tokens generated per second; standard deviations",
                               .y = chart->rate,
                               .error = chart->rate_deviation,
                               .top = HEADER + HEADING + PANEL};
    for (int i = 0; i < p.n_plots; i++)
        find_range(&p.plots[i], i == 1);
    describe(chart, order, &words);
    int code = drawing_write(&drawing, &words, path);
    words_free(&words);
    free(order);
    return code;
}

#else

int study_chart_draw(const struct study_chart *chart, const char *path)
{
    (void)chart, (void)path;
    return EXIT_FAILED;
}

#endif
