/* The map's cells as pixels, all in one picture: what a toolkit would draw as sixteen thousand
 * rectangles. No display. */
#ifndef MOE_MAP_RASTER_H
#define MOE_MAP_RASTER_H

#include "map_colours.h"
#include "map_layout.h"

G_BEGIN_DECLS

/* What marks an expert beside its colour. */
enum {
    MOE_MARK_OFF = 1,       /* hatched */
    MOE_MARK_FORCED = 2,    /* a thick frame of ink */
    MOE_MARK_RUNNER_UP = 4, /* a thin frame of the gates' colour */
    MOE_MARK_STRONG = 8,    /* at least three pixels wide, however small cells are */
};

typedef struct {
    const MoeMapLayout *layout;
    const MoePalette *palette;
    const MoeColour *fill; /* [n_layers, n_experts] */
    const guint8 *marks;   /* likewise, of MOE_MARK_… */
    int scale;             /* device pixels of a logical one */
} MoeMapCells;

/* The size of the picture of the routed experts that are seen, device pixels. */
void moe_map_raster_size(const MoeMapCells *cells, int *width, int *height);
/* Draws it: [height, width]. */
void moe_map_raster(const MoeMapCells *cells, MoeColour *pixels);

G_END_DECLS

#endif
