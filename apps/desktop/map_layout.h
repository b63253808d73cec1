/* Where things lie on the map of experts: a row for each MoE layer, from the left its number, its
 * shared experts, and its routed ones, which zoom and scroll. Logical pixels. No display. */
#ifndef MOE_MAP_LAYOUT_H
#define MOE_MAP_LAYOUT_H

#include "route_log.h"

G_BEGIN_DECLS

/* What the caller sets, and what moe_map_layout_update makes of it. */
typedef struct {
    MoeShape shape;
    double width, height; /* of the widget */
    double labels, axis;  /* width of the column of numbers, height of the row of numbers */
    double zoom;          /* 1: all of it fits, where cells would not become smaller than a pixel */
    double x, y;          /* what is scrolled away of the routed experts */

    double cell_width, cell_height;
    double shared_x, shared_size; /* the first shared expert of a row; a column of them */
    double grid_x, grid_y, grid_width, grid_height; /* where routed experts are seen */
    double full_width, full_height;                 /* of all of them */
    double most_zoom;
} MoeMapLayout;

typedef struct {
    double x, y, width, height;
} MoeMapArea;

/* What lies somewhere. */
typedef enum { MOE_MAP_NOTHING, MOE_MAP_LAYER, MOE_MAP_SHARED, MOE_MAP_EXPERT } MoeMapPlace;

/* Fills the rest; zoom, x and y are brought into their bounds. */
void moe_map_layout_update(MoeMapLayout *self);
/* What lies at a point, and its layer and number. */
MoeMapPlace moe_map_layout_find(const MoeMapLayout *self, double x, double y, guint *layer,
                                guint *number);
/* Where a routed expert lies, seen or not, and a shared one. */
MoeMapArea moe_map_layout_expert(const MoeMapLayout *self, guint layer, guint expert);
MoeMapArea moe_map_layout_shared(const MoeMapLayout *self, guint layer, guint number);
/* The first row or column that is seen, and the one after the last. */
void moe_map_layout_seen(const MoeMapLayout *self, guint layers[2], guint experts[2]);
/* Scrolls as little as shows the expert. */
void moe_map_layout_reveal(MoeMapLayout *self, guint layer, guint expert);
/* Zooms so that what lies at a point of the widget stays there. */
void moe_map_layout_zoom_at(MoeMapLayout *self, double zoom, double x, double y);
/* Every how many rows or columns of `size` pixels a number has `room`: 1, 2, 5, 10 … */
guint moe_map_layout_step(double size, double room);

G_END_DECLS

#endif
