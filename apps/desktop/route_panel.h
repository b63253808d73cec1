/* A token's route, layer by layer: the experts it woke with their gates, and the runner-ups. */
#ifndef MOE_ROUTE_PANEL_H
#define MOE_ROUTE_PANEL_H

#include <gtk/gtk.h>

#include "route_log.h"

G_BEGIN_DECLS

#define MOE_TYPE_ROUTE_PANEL (moe_route_panel_get_type())
/* Signal "layer-activated" (guint): a row was. */
G_DECLARE_FINAL_TYPE(MoeRoutePanel, moe_route_panel, MOE, ROUTE_PANEL, GtkWidget)

/* The panel keeps a reference. */
void moe_route_panel_set_log(MoeRoutePanel *self, MoeRouteLog *log);
/* Shows the token at a position, whose text is `word` ("" where it has none); -1: says how to
 * choose one. */
void moe_route_panel_set_token(MoeRoutePanel *self, int token, const char *word);
int moe_route_panel_get_token(MoeRoutePanel *self);
/* All that it shows, a line for each layer; the caller frees it. */
char *moe_route_panel_get_text(MoeRoutePanel *self);

G_END_DECLS

#endif
