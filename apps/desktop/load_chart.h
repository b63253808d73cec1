/* The load of each expert of one layer as bars, and what an even one would be. */
#ifndef MOE_LOAD_CHART_H
#define MOE_LOAD_CHART_H

#include "expert_map.h"

G_BEGIN_DECLS

#define MOE_TYPE_LOAD_CHART (moe_load_chart_get_type())
G_DECLARE_FINAL_TYPE(MoeLoadChart, moe_load_chart, MOE, LOAD_CHART, GtkWidget)

/* The chart keeps references, and follows both. */
void moe_load_chart_set_models(MoeLoadChart *self, MoeRouteLog *log, MoeSteering *steering);
/* The layer, and the expert that stands out. */
void moe_load_chart_show(MoeLoadChart *self, guint layer, guint expert);

G_END_DECLS

#endif
