/* The time of every kernel as bars, a panel for each test. */
#include "bench.h"

#include "drawing.h"

#ifdef VKMOE_CAIRO

#include <math.h>
#include <stdio.h>
#include <string.h>

#define WIDTH 960.0
#define ROW 22.0     /* of one kernel */
#define BAR 14.0     /* of which the bar takes */
#define NAMES 220.0  /* the column of names at most; longer ones are cut */
#define COLUMN 62.0  /* of figures, right of the bars, */
#define COLUMNS 5    /* of which there are so many */
#define GAP 10.0     /* between columns */
#define HEADER 92.0  /* title, device, legend */
#define HEADING 58.0 /* of a panel, with the space before it */
#define AXIS 30.0    /* below a panel */

struct chart {
    cairo_t *cairo;
    double names; /* width of the column of names */
};

static void fill_bar(cairo_t *c, double x, double y, double width, struct drawing_ink colour)
{
    drawing_colour(c, colour);
    cairo_rectangle(c, x, y, width, BAR);
    cairo_fill(c);
}

/* --- a panel --- */

static double slowest(const vkmoe_bench_result *r)
{
    double most = 0;
    for (uint32_t i = 0; i < r->n_kernels; i++)
        most = fmax(most, r->kernels[i].seconds);
    return most > 0 ? most : 1e-9;
}

/* 1, 2 or 5 times a power of ten, of which three to seven make up `most`. */
static double tick_of(double most)
{
    double power = pow(10, floor(log10(most / 3)));
    double times = most / 3 / power;
    return power * (times >= 5 ? 5 : times >= 2 ? 2 : 1);
}

static double panel_height(const vkmoe_bench_result *r)
{
    return r->n_kernels > 0 ? HEADING + ROW * r->n_kernels + AXIS : 0;
}

static void draw_axis(const struct chart *chart, double x, double top, double height, double scale,
                      double most)
{
    cairo_t *c = chart->cairo;
    double step = tick_of(most);
    drawing_font(c, DRAWING_FONT - 2, false);
    cairo_set_line_width(c, 1);
    for (int i = 0; i * step <= most * 1.0001; i++) {
        char label[32];
        double at = x + i * step * scale;
        drawing_colour(c, drawing_line);
        cairo_move_to(c, at, top);
        cairo_line_to(c, at, top + height);
        cairo_stroke(c);
        drawing_colour(c, drawing_soft);
        snprintf(label, sizeof(label), "%g ms", 1e3 * i * step);
        drawing_text(c, at, top + height + 16, 0.5, WIDTH, label);
    }
}

/* Right-aligned, the last at the right margin. */
static void write_columns(cairo_t *c, double y, const char text[COLUMNS][32])
{
    for (int i = 0; i < COLUMNS; i++)
        drawing_text(c, WIDTH - DRAWING_MARGIN - (COLUMNS - 1 - i) * COLUMN, y, 1, COLUMN - 4,
                     text[i]);
}

static void draw_kernel(const struct chart *chart, const vkmoe_bench_kernel *k, double x, double y,
                        double scale, double total)
{
    cairo_t *c = chart->cairo;
    char values[COLUMNS][32];
    double width = k->seconds * scale, seconds = k->seconds > 0 ? k->seconds : 1;
    drawing_font(c, DRAWING_FONT, false);
    drawing_colour(c, drawing_ink);
    drawing_text(c, x - GAP, y + BAR - 2, 1, chart->names, k->name);
    fill_bar(c, x, y, width, drawing_light);
    fill_bar(c, x, y, width * fmin(k->share, 1), drawing_dark);
    snprintf(values[0], sizeof(values[0]), "%.3f", 1e3 * k->seconds);
    snprintf(values[1], sizeof(values[1]), "%.1f %%", total > 0 ? 100 * k->seconds / total : 0);
    snprintf(values[2], sizeof(values[2]), "%.2f", k->bytes / seconds / 1e9);
    snprintf(values[3], sizeof(values[3]), "%.2f", k->operations / seconds / 1e9);
    snprintf(values[4], sizeof(values[4]), "%s%.0f %%", k->unit_unknown ? "> " : "",
             100 * k->share);
    drawing_font(c, DRAWING_FONT - 1, false);
    drawing_colour(c, drawing_ink);
    write_columns(c, y + BAR - 2, values);
}

static void draw_panel(const struct chart *chart, const struct bench_results *all,
                       const vkmoe_bench_result *r, bool prompt, double top)
{
    cairo_t *c = chart->cairo;
    static const char heads[COLUMNS][32] = {"ms", "time", "GB/s", "GFLOP/s", "of peak"};
    char name[BENCH_NAME_SIZE], heading[256];
    double total = 0, most = slowest(r), x = DRAWING_MARGIN + chart->names + GAP;
    double scale = (WIDTH - DRAWING_MARGIN - COLUMNS * COLUMN - GAP - x) / most,
           rows = top + HEADING;
    for (uint32_t i = 0; i < r->n_kernels; i++)
        total += r->kernels[i].seconds;
    bench_name(name, all->options, prompt);
    snprintf(heading, sizeof(heading), "%s: %.2f \xc2\xb1 %.2f t/s; one %s, %.2f ms", name, r->mean,
             r->deviation, prompt ? "prompt" : "step", 1e3 * total);
    drawing_font(c, DRAWING_FONT + 2, true);
    drawing_colour(c, drawing_ink);
    drawing_text(c, DRAWING_MARGIN, rows - 16, 0, WIDTH - 2 * DRAWING_MARGIN - COLUMNS * COLUMN,
                 heading);
    drawing_font(c, DRAWING_FONT - 1, false);
    drawing_colour(c, drawing_soft);
    write_columns(c, rows - 16, heads);
    draw_axis(chart, x, rows - 4, ROW * r->n_kernels + 4, scale, most);
    for (uint32_t i = 0; i < r->n_kernels; i++)
        draw_kernel(chart, &r->kernels[i], x, rows + ROW * i + (ROW - BAR) / 2, scale, total);
}

/* --- the whole --- */

static double names_width(cairo_t *c, const vkmoe_bench_result *r, double width)
{
    drawing_font(c, DRAWING_FONT, false);
    for (uint32_t i = 0; i < r->n_kernels; i++)
        width = fmax(width, drawing_text_width(c, r->kernels[i].name));
    return fmin(width, NAMES);
}

static void draw_header(cairo_t *c, const struct bench_results *r, const char *title,
                        const char *device)
{
    const vkmoe_bench_result *any = r->prompt.tokens ? &r->prompt : &r->generate;
    char peak[160];
    drawing_font(c, DRAWING_FONT_TITLE, true);
    drawing_colour(c, drawing_ink);
    drawing_text(c, DRAWING_MARGIN, 36, 0, WIDTH - 2 * DRAWING_MARGIN, title);
    drawing_font(c, DRAWING_FONT, false);
    drawing_colour(c, drawing_soft);
    drawing_text(c, DRAWING_MARGIN, 58, 0, WIDTH - 2 * DRAWING_MARGIN, device);
    fill_bar(c, DRAWING_MARGIN, 72, 28, drawing_dark);
    fill_bar(c, DRAWING_MARGIN + 28, 72, 28, drawing_light);
    drawing_colour(c, drawing_ink);
    snprintf(peak, sizeof(peak),
             "time of a kernel; dark: what it would take at the device's peak, %.4g GB/s or "
             "%.4g GFLOP/s",
             any->memory.rate / 1e9, any->arithmetic.rate / 1e9);
    drawing_text(c, DRAWING_MARGIN + 64, 84, 0, WIDTH - 2 * DRAWING_MARGIN - 64, peak);
}

static void draw_all(cairo_t *c, const struct bench_results *r, const char *title,
                     const char *device)
{
    struct chart chart = {.cairo = c};
    chart.names = names_width(c, &r->generate, names_width(c, &r->prompt, 0));
    cairo_set_source_rgb(c, 1, 1, 1);
    cairo_paint(c);
    draw_header(c, r, title, device);
    if (r->prompt.n_kernels > 0)
        draw_panel(&chart, r, &r->prompt, true, HEADER);
    if (r->generate.n_kernels > 0)
        draw_panel(&chart, r, &r->generate, false, HEADER + panel_height(&r->prompt));
}

/* --- the whole, as a picture --- */

static void describe_result(struct words *t, const struct bench_results *all,
                            const vkmoe_bench_result *r, bool prompt)
{
    char words[256];
    bench_name(words, all->options, prompt);
    for (uint32_t i = 0; i < r->n_kernels; i++) {
        words_append(t, i == 0 ? words : "");
        snprintf(words, sizeof(words), "%s %s %.6g ms", i == 0 ? ":" : ",", r->kernels[i].name,
                 1e3 * r->kernels[i].seconds);
        words_append(t, words);
    }
    if (r->n_kernels > 0)
        words_append(t, ".\n");
}

/* What is drawn, and with which words. */
struct picture {
    const struct bench_results *results;
    const char *title, *device;
};

static void draw_picture(cairo_t *c, const void *what)
{
    const struct picture *p = what;
    draw_all(c, p->results, p->title, p->device);
}

int bench_draw(const struct bench_results *r, const char *path)
{
    char text[1024];
    const char *name = strrchr(r->model, '/') && r->model[strlen(r->model) - 1] != '/'
                           ? strrchr(r->model, '/') + 1
                           : r->model;
    snprintf(text, sizeof(text), "Time per kernel: %s", name);
    json_t *title = cli_json_text(text);
    snprintf(text, sizeof(text), "%s, %s", r->device->name, r->device->driver);
    json_t *device = cli_json_text(text);
    struct words words = {0};
    describe_result(&words, r, &r->prompt, true);
    describe_result(&words, r, &r->generate, false);
    int code = EXIT_FAILED;
    if (title && device) {
        const struct picture picture = {r, json_string_value(title), json_string_value(device)};
        const struct drawing drawing = {
            .width = WIDTH,
            .height =
                HEADER + panel_height(&r->prompt) + panel_height(&r->generate) + DRAWING_MARGIN,
            .title = picture.title,
            .draw = draw_picture,
            .what = &picture,
        };
        code = drawing_write(&drawing, &words, path);
    } else {
        code = cli_fail("%s: host memory ran out for the chart", path);
    }
    json_decref(title);
    json_decref(device);
    words_free(&words);
    return code;
}

#else

int bench_draw(const struct bench_results *r, const char *path)
{
    (void)r, (void)path;
    return EXIT_FAILED;
}

#endif
