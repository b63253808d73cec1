#include "map_layout.h"

#include <math.h>

/* Sizes of a cell: the least, the most where all is seen, and the most of all. */
#define LEAST 1.0
#define MOST_WIDTH 40.0
#define MOST_HEIGHT 40.0
#define ZOOMED_WIDTH 60.0

#define SHARED_MOST 14.0
#define SHARED_LEAST 5.0
#define GAP 8.0  /* between shared and routed experts */
#define EDGE 6.0 /* right of and below them */

static double shared_gap(const MoeMapLayout *self)
{
    return self->shape.n_shared > 0 ? GAP : 0;
}

void moe_map_layout_update(MoeMapLayout *self)
{
    double layers = MAX(self->shape.n_layers, 1), experts = MAX(self->shape.n_experts, 1);
    double room = MAX(self->height - self->axis - EDGE, 1);
    double height = CLAMP(room / layers, LEAST, MOST_HEIGHT);
    self->shared_x = self->labels;
    self->shared_size = CLAMP(height, SHARED_LEAST, SHARED_MOST);
    self->grid_x = self->labels + self->shape.n_shared * self->shared_size + shared_gap(self);
    self->grid_y = self->axis;
    self->grid_width = MAX(self->width - self->grid_x - EDGE, 1);
    self->grid_height = room;
    double width = CLAMP(self->grid_width / experts, LEAST, MOST_WIDTH);
    self->most_zoom = MAX(1, ZOOMED_WIDTH / width);
    self->zoom = CLAMP(self->zoom, 1, self->most_zoom);
    self->cell_width = width * self->zoom;
    self->cell_height = MIN(height * self->zoom, MOST_HEIGHT);
    self->full_width = self->cell_width * self->shape.n_experts;
    self->full_height = self->cell_height * self->shape.n_layers;
    self->x = CLAMP(self->x, 0, MAX(0, self->full_width - self->grid_width));
    self->y = CLAMP(self->y, 0, MAX(0, self->full_height - self->grid_height));
}

MoeMapPlace moe_map_layout_find(const MoeMapLayout *self, double x, double y, guint *layer,
                                guint *number)
{
    double row = (y - self->grid_y + self->y) / self->cell_height;
    double column = (x - self->grid_x + self->x) / self->cell_width;
    *layer = *number = 0;
    if (y < self->grid_y || y >= self->height || x < 0 || x >= self->width ||
        row >= self->shape.n_layers || self->shape.n_experts == 0)
        return MOE_MAP_NOTHING;
    *layer = (guint)row;
    if (x < self->shared_x)
        return MOE_MAP_LAYER;
    if (x < self->grid_x) {
        double shared = (x - self->shared_x) / self->shared_size;
        *number = (guint)shared;
        return shared < self->shape.n_shared ? MOE_MAP_SHARED : MOE_MAP_NOTHING;
    }
    *number = (guint)column;
    return column < self->shape.n_experts ? MOE_MAP_EXPERT : MOE_MAP_NOTHING;
}

MoeMapArea moe_map_layout_expert(const MoeMapLayout *self, guint layer, guint expert)
{
    return (MoeMapArea){self->grid_x + expert * self->cell_width - self->x,
                        self->grid_y + layer * self->cell_height - self->y, self->cell_width,
                        self->cell_height};
}

MoeMapArea moe_map_layout_shared(const MoeMapLayout *self, guint layer, guint number)
{
    return (MoeMapArea){self->shared_x + number * self->shared_size,
                        self->grid_y + layer * self->cell_height - self->y, self->shared_size,
                        self->cell_height};
}

void moe_map_layout_seen(const MoeMapLayout *self, guint layers[2], guint experts[2])
{
    layers[0] = (guint)(self->y / self->cell_height);
    layers[1] = (guint)MIN(ceil((self->y + self->grid_height) / self->cell_height),
                           (double)self->shape.n_layers);
    experts[0] = (guint)(self->x / self->cell_width);
    experts[1] = (guint)MIN(ceil((self->x + self->grid_width) / self->cell_width),
                            (double)self->shape.n_experts);
}

static double revealed(double offset, double seen, double from, double size)
{
    return from < offset ? from : MAX(offset, from + size - seen);
}

void moe_map_layout_reveal(MoeMapLayout *self, guint layer, guint expert)
{
    self->x = revealed(self->x, self->grid_width, expert * self->cell_width, self->cell_width);
    self->y = revealed(self->y, self->grid_height, layer * self->cell_height, self->cell_height);
    moe_map_layout_update(self);
}

void moe_map_layout_zoom_at(MoeMapLayout *self, double zoom, double x, double y)
{
    double column = (x - self->grid_x + self->x) / self->cell_width;
    double row = (y - self->grid_y + self->y) / self->cell_height;
    self->zoom = zoom;
    moe_map_layout_update(self);
    self->x = column * self->cell_width - (x - self->grid_x);
    self->y = row * self->cell_height - (y - self->grid_y);
    moe_map_layout_update(self);
}

guint moe_map_layout_step(double size, double room)
{
    static const guint factors[] = {2, 5, 10};
    guint step = 1;
    for (guint decade = 1; step * size < room && decade < 100000; decade *= 10)
        for (guint i = 0; i < G_N_ELEMENTS(factors) && step * size < room; i++)
            step = decade * factors[i];
    return step;
}
