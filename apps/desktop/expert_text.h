/* What is known of an expert, in words: for hovering, for the line below the map, and for who
 * cannot see it. No display. */
#ifndef MOE_EXPERT_TEXT_H
#define MOE_EXPERT_TEXT_H

#include "steering.h"

G_BEGIN_DECLS

/* Of a routed expert: layer, number, gate for a token (position; -1: none is looked at), share of
 * the text, state. The caller frees it. */
char *moe_expert_text(MoeRouteLog *log, MoeSteering *steering, int token, guint layer,
                      guint expert);
/* Of a shared one. */
char *moe_shared_text(MoeRouteLog *log, MoeSteering *steering, guint layer, guint number);
/* Of a layer: entropy, busiest, balance, and how many experts that are not off were not used yet.
 * Of all together. */
char *moe_layer_text(MoeRouteLog *log, MoeSteering *steering, guint layer);
char *moe_model_text(MoeRouteLog *log, MoeSteering *steering);
/* A token's route through a layer, chosen experts with gates, and the runner-ups; each may be
 * empty. The caller frees them. */
char *moe_route_text(MoeRouteLog *log, guint token, guint layer);
char *moe_runners_text(MoeRouteLog *log, guint token, guint layer, guint most);

G_END_DECLS

#endif
