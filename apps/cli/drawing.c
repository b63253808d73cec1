#include "drawing.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli.h"

/* --- words --- */

static void append(struct words *w, const char *bytes, size_t n)
{
    if (w->size + n > w->capacity && !w->failed) {
        size_t capacity = 2 * w->capacity + n;
        char *grown = realloc(w->data, capacity);
        w->failed = !grown;
        if (grown) {
            w->data = grown;
            w->capacity = capacity;
        }
    }
    if (w->failed)
        return;
    memcpy(w->data + w->size, bytes, n);
    w->size += n;
}

void words_append(struct words *w, const char *text)
{
    for (; *text; text++) {
        const char *as = *text == '&'   ? "&amp;"
                         : *text == '<' ? "&lt;"
                         : *text == '>' ? "&gt;"
                                        : NULL;
        unsigned char byte = (unsigned char)*text;
        if (as)
            append(w, as, strlen(as));
        else
            append(w, byte < 0x20 && byte != '\n' ? " " : text, 1);
    }
}

void words_free(struct words *w)
{
    free(w->data);
    *w = (struct words){0};
}

#ifdef VKMOE_CAIRO

#include <cairo-svg.h>

static bool ends_in(const char *path, const char *ending)
{
    size_t n = strlen(path), e = strlen(ending);
    return n > e && strcasecmp(path + n - e, ending) == 0;
}

int drawing_check(const char *flag, const char *path)
{
    if (path && !ends_in(path, ".svg") && !ends_in(path, ".png"))
        return cli_usage("%s: '%s' ends in neither .svg nor .png", flag, path);
    int code = path ? cli_try_file(path) : EXIT_DONE;
    return code == EXIT_DONE ? -1 : code;
}

/* --- drawing --- */

const struct drawing_ink drawing_ink = {0.11, 0.13, 0.15}, drawing_soft = {0.36, 0.40, 0.44},
                         drawing_line = {0.86, 0.88, 0.90}, drawing_dark = {0.0, 0.36, 0.62},
                         drawing_light = {0.62, 0.80, 0.93};

void drawing_colour(cairo_t *c, struct drawing_ink ink)
{
    cairo_set_source_rgb(c, ink.r, ink.g, ink.b);
}

void drawing_font(cairo_t *c, double size, bool bold)
{
    cairo_select_font_face(c, "sans-serif", CAIRO_FONT_SLANT_NORMAL,
                           bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(c, size);
}

double drawing_text_width(cairo_t *c, const char *text)
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
    while (n > 0 && drawing_text_width(c, text) > width) {
        n -= n + sizeof(ellipsis) > capacity ? sizeof(ellipsis) : 1;
        while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80)
            n--;
        memcpy(text + n, ellipsis, sizeof(ellipsis));
    }
}

void drawing_text(cairo_t *c, double x, double y, double align, double width, const char *from)
{
    char text[1024];
    size_t n = strlen(from) < sizeof(text) ? strlen(from) : sizeof(text) - 1;
    while (n > 0 && ((unsigned char)from[n] & 0xc0) == 0x80)
        n--; /* whole characters */
    memcpy(text, from, n);
    text[n] = '\0';
    fit(c, text, sizeof(text), width);
    cairo_move_to(c, x - align * drawing_text_width(c, text), y);
    cairo_show_text(c, text);
}

/* --- writing --- */

static cairo_status_t write_bytes(void *closure, const unsigned char *data, unsigned int n)
{
    struct words *w = closure;
    append(w, (const char *)data, n);
    return w->failed ? CAIRO_STATUS_NO_MEMORY : CAIRO_STATUS_SUCCESS;
}

/* Puts the words behind the root element's tag. */
static void add_words(struct words *out, const struct words *svg, const char *title,
                      const struct words *words)
{
    const char *root = svg->data ? strstr(svg->data, "<svg") : NULL;
    const char *after = root ? strchr(root, '>') : NULL;
    size_t head = after ? (size_t)(after - svg->data) + 1 : 0;
    append(out, svg->data, head);
    append(out, "\n<title>", 8);
    words_append(out, title);
    append(out, "</title>\n<desc>", 15);
    append(out, words->data ? words->data : "", words->size);
    append(out, "</desc>", 7);
    append(out, svg->data + head, svg->size - head);
}

static bool draw_on(cairo_surface_t *surface, const struct drawing *d)
{
    cairo_t *c = cairo_create(surface);
    cairo_set_source_rgb(c, 1, 1, 1);
    cairo_paint(c);
    d->draw(c, d->what);
    bool good = cairo_status(c) == CAIRO_STATUS_SUCCESS;
    cairo_destroy(c);
    return good;
}

static bool make_svg(const struct drawing *d, const struct words *words, struct words *out)
{
    struct words svg = {0};
    cairo_surface_t *surface =
        cairo_svg_surface_create_for_stream(write_bytes, &svg, d->width, d->height);
    cairo_svg_surface_set_document_unit(surface, CAIRO_SVG_UNIT_PX);
    bool good = draw_on(surface, d);
    cairo_surface_finish(surface);
    good = good && cairo_surface_status(surface) == CAIRO_STATUS_SUCCESS;
    cairo_surface_destroy(surface);
    append(&svg, "", 1); /* a zero to end it with */
    svg.size -= !svg.failed;
    good = good && !svg.failed && !words->failed;
    if (good)
        add_words(out, &svg, d->title, words);
    words_free(&svg);
    return good && !out->failed;
}

/* Twice as fine, for screens that are. */
static bool make_png(const struct drawing *d, struct words *out)
{
    const double scale = 2;
    cairo_surface_t *surface = cairo_image_surface_create(
        CAIRO_FORMAT_RGB24, (int)(d->width * scale + 0.5), (int)(d->height * scale + 0.5));
    cairo_surface_set_device_scale(surface, scale, scale);
    bool good = draw_on(surface, d) && cairo_surface_write_to_png_stream(
                                           surface, write_bytes, out) == CAIRO_STATUS_SUCCESS;
    cairo_surface_destroy(surface);
    return good && !out->failed;
}

int drawing_write(const struct drawing *d, const struct words *words, const char *path)
{
    struct words out = {0};
    bool good = ends_in(path, ".png") ? make_png(d, &out) : make_svg(d, words, &out);
    int code = good ? cli_write_file(path, out.data, out.size)
                    : cli_fail("%s: the picture could not be drawn, most likely as host memory ran "
                               "out",
                               path);
    words_free(&out);
    return code;
}

#else

int drawing_check(const char *flag, const char *path)
{
    return path ? cli_fail("%s: this vkmoe was built without Cairo, which draws the picture", flag)
                : -1;
}

#endif
