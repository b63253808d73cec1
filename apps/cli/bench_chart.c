/* The time of every kernel as bars, a panel for each test. */
#include "bench.h"

#ifdef VKMOE_CAIRO

#include <cairo-svg.h>
#include <cairo.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH 960.0
#define MARGIN 24.0
#define ROW 22.0     /* of one kernel */
#define BAR 14.0     /* of which the bar takes */
#define NAMES 220.0  /* the column of names at most; longer ones are cut */
#define COLUMN 62.0  /* of figures, right of the bars, */
#define COLUMNS 5    /* of which there are so many */
#define GAP 10.0     /* between columns */
#define HEADER 92.0  /* title, device, legend */
#define HEADING 58.0 /* of a panel, with the space before it */
#define AXIS 30.0    /* below a panel */
#define FONT 13.0
#define FONT_TITLE 18.0

struct colour {
    double r, g, b;
};
/* Dark and light of one hue: told apart by lightness, whatever colours an eye can see. */
static const struct colour ink = {0.11, 0.13, 0.15}, soft = {0.36, 0.40, 0.44},
                           line = {0.86, 0.88, 0.90}, dark = {0.0, 0.36, 0.62},
                           light = {0.62, 0.80, 0.93};

struct chart {
    cairo_t *cairo;
    double names; /* width of the column of names */
};

static void set_colour(cairo_t *c, struct colour colour)
{
    cairo_set_source_rgb(c, colour.r, colour.g, colour.b);
}

static void set_font(cairo_t *c, double size, bool bold)
{
    cairo_select_font_face(c, "sans-serif", CAIRO_FONT_SLANT_NORMAL,
                           bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(c, size);
}

static double text_width(cairo_t *c, const char *text)
{
    cairo_text_extents_t extents;
    cairo_text_extents(c, text, &extents);
    return extents.x_advance;
}

/* Cuts a text, between characters, until it fits with an ellipsis. */
static void fit(cairo_t *c, char *text, size_t capacity, double width)
{
    static const char ellipsis[] = "\xe2\x80\xa6"; /* U+2026 */
    size_t n = strlen(text);
    while (n > 0 && text_width(c, text) > width) {
        n -= n + sizeof(ellipsis) > capacity ? sizeof(ellipsis) : 1;
        while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80)
            n--;
        memcpy(text + n, ellipsis, sizeof(ellipsis));
    }
}

/* One line whose baseline is y; `align` 0 begins at x, 1 ends there, 0.5 is centred. */
static void write_text(cairo_t *c, double x, double y, double align, double width, const char *from)
{
    char text[1024];
    size_t n = strlen(from) < sizeof(text) ? strlen(from) : sizeof(text) - 1;
    while (n > 0 && ((unsigned char)from[n] & 0xc0) == 0x80)
        n--; /* whole characters */
    memcpy(text, from, n);
    text[n] = '\0';
    fit(c, text, sizeof(text), width);
    cairo_move_to(c, x - align * text_width(c, text), y);
    cairo_show_text(c, text);
}

static void fill_bar(cairo_t *c, double x, double y, double width, struct colour colour)
{
    set_colour(c, colour);
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
    set_font(c, FONT - 2, false);
    cairo_set_line_width(c, 1);
    for (int i = 0; i * step <= most * 1.0001; i++) {
        char label[32];
        double at = x + i * step * scale;
        set_colour(c, line);
        cairo_move_to(c, at, top);
        cairo_line_to(c, at, top + height);
        cairo_stroke(c);
        set_colour(c, soft);
        snprintf(label, sizeof(label), "%g ms", 1e3 * i * step);
        write_text(c, at, top + height + 16, 0.5, WIDTH, label);
    }
}

/* Right-aligned, the last at the right margin. */
static void write_columns(cairo_t *c, double y, const char text[COLUMNS][32])
{
    for (int i = 0; i < COLUMNS; i++)
        write_text(c, WIDTH - MARGIN - (COLUMNS - 1 - i) * COLUMN, y, 1, COLUMN - 4, text[i]);
}

static void draw_kernel(const struct chart *chart, const vkmoe_bench_kernel *k, double x, double y,
                        double scale, double total)
{
    cairo_t *c = chart->cairo;
    char values[COLUMNS][32];
    double width = k->seconds * scale, seconds = k->seconds > 0 ? k->seconds : 1;
    set_font(c, FONT, false);
    set_colour(c, ink);
    write_text(c, x - GAP, y + BAR - 2, 1, chart->names, k->name);
    fill_bar(c, x, y, width, light);
    fill_bar(c, x, y, width * fmin(k->share, 1), dark);
    snprintf(values[0], sizeof(values[0]), "%.3f", 1e3 * k->seconds);
    snprintf(values[1], sizeof(values[1]), "%.1f %%", total > 0 ? 100 * k->seconds / total : 0);
    snprintf(values[2], sizeof(values[2]), "%.2f", k->bytes / seconds / 1e9);
    snprintf(values[3], sizeof(values[3]), "%.2f", k->operations / seconds / 1e9);
    snprintf(values[4], sizeof(values[4]), "%.0f %%", 100 * k->share);
    set_font(c, FONT - 1, false);
    set_colour(c, ink);
    write_columns(c, y + BAR - 2, values);
}

static void draw_panel(const struct chart *chart, const struct bench_results *all,
                       const vkmoe_bench_result *r, bool prompt, double top)
{
    cairo_t *c = chart->cairo;
    static const char heads[COLUMNS][32] = {"ms", "time", "GB/s", "GFLOP/s", "of peak"};
    char name[BENCH_NAME_SIZE], heading[256];
    double total = 0, most = slowest(r), x = MARGIN + chart->names + GAP;
    double scale = (WIDTH - MARGIN - COLUMNS * COLUMN - GAP - x) / most, rows = top + HEADING;
    for (uint32_t i = 0; i < r->n_kernels; i++)
        total += r->kernels[i].seconds;
    bench_name(name, all->options, prompt);
    snprintf(heading, sizeof(heading), "%s: %.2f \xc2\xb1 %.2f t/s; one %s, %.2f ms", name, r->mean,
             r->deviation, prompt ? "prompt" : "step", 1e3 * total);
    set_font(c, FONT + 2, true);
    set_colour(c, ink);
    write_text(c, MARGIN, rows - 16, 0, WIDTH - 2 * MARGIN - COLUMNS * COLUMN, heading);
    set_font(c, FONT - 1, false);
    set_colour(c, soft);
    write_columns(c, rows - 16, heads);
    draw_axis(chart, x, rows - 4, ROW * r->n_kernels + 4, scale, most);
    for (uint32_t i = 0; i < r->n_kernels; i++)
        draw_kernel(chart, &r->kernels[i], x, rows + ROW * i + (ROW - BAR) / 2, scale, total);
}

/* --- the whole --- */

static double names_width(cairo_t *c, const vkmoe_bench_result *r, double width)
{
    set_font(c, FONT, false);
    for (uint32_t i = 0; i < r->n_kernels; i++)
        width = fmax(width, text_width(c, r->kernels[i].name));
    return fmin(width, NAMES);
}

static void draw_header(cairo_t *c, const struct bench_results *r, const char *title,
                        const char *device)
{
    const vkmoe_bench_result *any = r->prompt.tokens ? &r->prompt : &r->generate;
    char peak[160];
    set_font(c, FONT_TITLE, true);
    set_colour(c, ink);
    write_text(c, MARGIN, 36, 0, WIDTH - 2 * MARGIN, title);
    set_font(c, FONT, false);
    set_colour(c, soft);
    write_text(c, MARGIN, 58, 0, WIDTH - 2 * MARGIN, device);
    fill_bar(c, MARGIN, 72, 28, dark);
    fill_bar(c, MARGIN + 28, 72, 28, light);
    set_colour(c, ink);
    snprintf(peak, sizeof(peak),
             "time of a kernel; dark: what it would take at the device's peak, %.4g GB/s or "
             "%.4g GFLOP/s",
             any->memory.rate / 1e9, any->arithmetic.rate / 1e9);
    write_text(c, MARGIN + 64, 84, 0, WIDTH - 2 * MARGIN - 64, peak);
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

/* --- writing --- */

struct text {
    char *data;
    size_t size, capacity;
    bool failed; /* memory ran out */
};

static void append(struct text *t, const char *bytes, size_t n)
{
    if (t->size + n > t->capacity && !t->failed) {
        size_t capacity = 2 * t->capacity + n;
        char *grown = realloc(t->data, capacity);
        t->failed = !grown;
        if (grown) {
            t->data = grown;
            t->capacity = capacity;
        }
    }
    if (t->failed)
        return;
    memcpy(t->data + t->size, bytes, n);
    t->size += n;
}

static void append_escaped(struct text *t, const char *from)
{
    for (; *from; from++) {
        const char *as = *from == '&'   ? "&amp;"
                         : *from == '<' ? "&lt;"
                         : *from == '>' ? "&gt;"
                                        : NULL;
        unsigned char byte = (unsigned char)*from;
        if (as)
            append(t, as, strlen(as));
        else
            append(t, byte < 0x20 ? " " : from, 1);
    }
}

static cairo_status_t write_svg(void *closure, const unsigned char *data, unsigned int n)
{
    struct text *t = closure;
    append(t, (const char *)data, n);
    return t->failed ? CAIRO_STATUS_NO_MEMORY : CAIRO_STATUS_SUCCESS;
}

static void describe_result(struct text *t, const struct bench_results *all,
                            const vkmoe_bench_result *r, bool prompt)
{
    char words[256];
    bench_name(words, all->options, prompt);
    for (uint32_t i = 0; i < r->n_kernels; i++) {
        append_escaped(t, i == 0 ? words : "");
        snprintf(words, sizeof(words), "%s %s %.6g ms", i == 0 ? ":" : ",", r->kernels[i].name,
                 1e3 * r->kernels[i].seconds);
        append_escaped(t, words);
    }
    if (r->n_kernels > 0)
        append(t, ".\n", 2);
}

/* Cairo draws letters as shapes, so what they say is put beside them, for who cannot see it. */
static void add_words(struct text *out, const struct text *svg, const struct bench_results *r,
                      const char *title)
{
    const char *root = svg->data ? strstr(svg->data, "<svg") : NULL;
    const char *after = root ? strchr(root, '>') : NULL;
    size_t head = after ? (size_t)(after - svg->data) + 1 : 0;
    append(out, svg->data, head);
    append(out, "\n<title>", 8);
    append_escaped(out, title);
    append(out, "</title>\n<desc>", 15);
    describe_result(out, r, &r->prompt, true);
    describe_result(out, r, &r->generate, false);
    append(out, "</desc>", 7);
    append(out, svg->data + head, svg->size - head);
}

static bool make_svg(const struct bench_results *r, const char *title, const char *device,
                     struct text *svg)
{
    double height = HEADER + panel_height(&r->prompt) + panel_height(&r->generate) + MARGIN;
    cairo_surface_t *surface = cairo_svg_surface_create_for_stream(write_svg, svg, WIDTH, height);
    cairo_svg_surface_set_document_unit(surface, CAIRO_SVG_UNIT_PX);
    cairo_t *c = cairo_create(surface);
    draw_all(c, r, title, device);
    bool good = cairo_status(c) == CAIRO_STATUS_SUCCESS;
    cairo_destroy(c);
    cairo_surface_finish(surface);
    good = good && cairo_surface_status(surface) == CAIRO_STATUS_SUCCESS;
    cairo_surface_destroy(surface);
    append(svg, "", 1); /* a zero to end it with */
    svg->size -= !svg->failed;
    return good && !svg->failed;
}

bool bench_can_draw(void)
{
    return true;
}

int bench_draw(const struct bench_results *r, const char *path)
{
    char words[1024];
    const char *name = strrchr(r->model, '/') && r->model[strlen(r->model) - 1] != '/'
                           ? strrchr(r->model, '/') + 1
                           : r->model;
    snprintf(words, sizeof(words), "Time per kernel: %s", name);
    json_t *title = cli_json_text(words);
    snprintf(words, sizeof(words), "%s, %s", r->device->name, r->device->driver);
    json_t *device = cli_json_text(words);
    struct text svg = {0}, out = {0};
    int code = EXIT_FAILED;
    if (title && device && make_svg(r, json_string_value(title), json_string_value(device), &svg))
        add_words(&out, &svg, r, json_string_value(title));
    else
        out.failed = true;
    if (out.failed)
        cli_fail("%s: the chart could not be drawn, most likely as host memory ran out", path);
    else
        code = cli_write_file(path, out.data, out.size);
    json_decref(title);
    json_decref(device);
    free(svg.data);
    free(out.data);
    return code;
}

#else

bool bench_can_draw(void)
{
    cli_fail("--svg: this vkmoe was built without Cairo, which draws the chart");
    return false;
}

int bench_draw(const struct bench_results *r, const char *path)
{
    (void)r, (void)path;
    return EXIT_FAILED;
}

#endif
