/* What the parts of the map of experts share: expert_map.c is the widget, expert_map_draw.c how it
 * looks, expert_map_input.c what keys and pointers do. */
#ifndef MOE_EXPERT_MAP_PRIVATE_H
#define MOE_EXPERT_MAP_PRIVATE_H

#include "expert_map.h"
#include "map_layout.h"

struct _MoeExpertMap {
    GtkWidget parent_instance;
    MoeRouteLog *log;
    MoeSteering *steering;
    MoeMapLayout layout;
    GtkAdjustment *adjustments[2]; /* by GtkOrientation */
    guint policies[2];
    GtkWidget *menu;

    /* [n_layers, n_experts] */
    float *glow;
    MoeColour *base, *fill; /* of the load, which is anew when stale; and with what glows */
    guint8 *marks;
    gboolean stale, lit;
    guint tick;
    gint64 drawn_at;

    int token;
    guint layer, expert; /* the cursor */
    gboolean selected, hovers;
    guint selected_layer, selected_expert, hover_layer, hover_expert;
};

/* expert_map.c */
gboolean moe_expert_map_is_empty(MoeExpertMap *self);
void moe_expert_map_layout_changed(MoeExpertMap *self);
/* Tells assistive technologies of the cell under the cursor. */
void moe_expert_map_describe(MoeExpertMap *self);
void moe_expert_map_zoom_at(MoeExpertMap *self, double zoom, double x, double y);
/* Emits "refused", and clears the error. */
void moe_expert_map_refuse(MoeExpertMap *self, GError **error);

/* expert_map_draw.c */
void moe_expert_map_snapshot(GtkWidget *widget, GtkSnapshot *snapshot);
/* The width of the column of numbers, and the height of their row. */
void moe_expert_map_measure_text(MoeExpertMap *self, double *width, double *height);

/* expert_map_input.c */
void moe_expert_map_install_input(GtkWidgetClass *class);
void moe_expert_map_add_controllers(MoeExpertMap *self);

#endif
