/* The map of experts: a row for each MoE layer, a cell for each expert. Cells show the load so far
 * and light as tokens come; with a token to look at, they show its route. */
#ifndef MOE_EXPERT_MAP_H
#define MOE_EXPERT_MAP_H

#include <gtk/gtk.h>

#include "map_colours.h"
#include "steering.h"

G_BEGIN_DECLS

/* Of a token's runner-ups, so many in each layer are outlined. */
#define MOE_EXPERT_MAP_RUNNERS 3

#define MOE_TYPE_EXPERT_MAP (moe_expert_map_get_type())
/* A GtkScrollable. Signals: "cursor-moved" (void), "selection-changed" (void), "refused" (char *:
 * why an expert cannot be switched so). Actions, on the cell under the cursor: "map.select",
 * "map.toggle", "map.force", "map.busiest-off", "map.keep-busiest", "map.free-layer";
 * "map.zoom-in", "map.zoom-out", "map.fit", "map.menu". */
G_DECLARE_FINAL_TYPE(MoeExpertMap, moe_expert_map, MOE, EXPERT_MAP, GtkWidget)

/* The map keeps references to both. */
GtkWidget *moe_expert_map_new(MoeRouteLog *log, MoeSteering *steering);

/* Looks at the token at a position of the log; -1: at none. */
void moe_expert_map_set_token(MoeExpertMap *self, int token);
int moe_expert_map_get_token(MoeExpertMap *self);

/* Moves the cursor; beyond the map means its last row or column. */
void moe_expert_map_set_cursor(MoeExpertMap *self, guint layer, guint expert);
void moe_expert_map_get_cursor(MoeExpertMap *self, guint *layer, guint *expert);

/* Selects an expert, or none. */
void moe_expert_map_select(MoeExpertMap *self, guint layer, guint expert);
void moe_expert_map_unselect(MoeExpertMap *self);
/* FALSE where none is. */
gboolean moe_expert_map_get_selected(MoeExpertMap *self, guint *layer, guint *expert);

/* From 1, where all of it fits. */
void moe_expert_map_set_zoom(MoeExpertMap *self, double zoom);
double moe_expert_map_get_zoom(MoeExpertMap *self);

/* Where an expert lies in the widget. */
GdkRectangle moe_expert_map_get_area(MoeExpertMap *self, guint layer, guint expert);
/* Whether something glows, so that it draws itself anew and anew. */
gboolean moe_expert_map_is_lit(MoeExpertMap *self);

/* The colours that go with a widget's theme. */
const MoePalette *moe_palette_of(GtkWidget *widget);
GdkRGBA moe_colour_rgba(MoeColour colour);

G_END_DECLS

#endif
