/* Pictures, drawn with Cairo where the build has it. */
#ifndef VKMOE_CLI_DRAWING_H
#define VKMOE_CLI_DRAWING_H

#include <stdbool.h>
#include <stddef.h>

/* Whether a picture, for which `flag` asks, can be drawn and written to path (NULL: none): -1, or
 * an exit code after saying why not. To be asked before much is computed. */
int drawing_check(const char *flag, const char *path);

/* Text that grows; begins zeroed. Once memory ran out it stays as it is, and `failed`. */
struct words {
    char *data;
    size_t size, capacity;
    bool failed;
};
/* Appends what XML would take for markup as entities. */
void words_append(struct words *w, const char *text);
void words_free(struct words *w);

#ifdef VKMOE_CAIRO

#include <cairo.h>

#define DRAWING_MARGIN 24.0
#define DRAWING_FONT 13.0
#define DRAWING_FONT_TITLE 18.0

struct drawing_ink {
    double r, g, b;
};
/* Text, what explains it, lines of a grid; dark and light of one hue, told apart by lightness,
 * whatever colours an eye can see. */
extern const struct drawing_ink drawing_ink, drawing_soft, drawing_line, drawing_dark,
    drawing_light;

void drawing_colour(cairo_t *c, struct drawing_ink ink);
void drawing_font(cairo_t *c, double size, bool bold);
double drawing_text_width(cairo_t *c, const char *text);
/* One line whose baseline is y, cut where it is wider than `width`; `align` 0 begins at x, 1 ends
 * there, 0.5 is centred. */
void drawing_text(cairo_t *c, double x, double y, double align, double width, const char *text);

/* A picture on white, in pixels. */
struct drawing {
    double width, height;
    const char *title; /* UTF-8, for who cannot see it */
    void (*draw)(cairo_t *c, const void *what);
    const void *what;
};
/* Writes it, whole or not at all: as PNG where the name ends in .png, else as SVG, whose letters
 * are shapes, with `words` beside them. Returns an exit code, after saying why. */
int drawing_write(const struct drawing *d, const struct words *words, const char *path);

#endif

#endif
