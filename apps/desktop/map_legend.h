/* What the colours and marks of the map of experts mean, with numbers. */
#ifndef MOE_MAP_LEGEND_H
#define MOE_MAP_LEGEND_H

#include "expert_map.h"

G_BEGIN_DECLS

#define MOE_TYPE_MAP_LEGEND (moe_map_legend_get_type())
G_DECLARE_FINAL_TYPE(MoeMapLegend, moe_map_legend, MOE, MAP_LEGEND, GtkWidget)

/* Explains the scale of loads, or that of a token's gates up to `largest`; 0: loads, of which an
 * even one is `even` (0 to 1) of the text. */
void moe_map_legend_show(MoeMapLegend *self, double largest, double even, gboolean has_shared);

G_END_DECLS

#endif
