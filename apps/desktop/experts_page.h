/* The page beside the text that shows the experts: map, legend, load, a token's route, steering. */
#ifndef MOE_EXPERTS_PAGE_H
#define MOE_EXPERTS_PAGE_H

#include "expert_map.h"
#include "route_panel.h"
#include "steering_panel.h"

G_BEGIN_DECLS

#define MOE_TYPE_EXPERTS_PAGE (moe_experts_page_get_type())
/* Signals: "served-changed" (void): which tokens should be tinted is different, because another
 * expert is selected or more tokens came; "route-closed" (void): nobody wants to look at the token
 * any more. Action "experts.close-route", which Escape is too while there is a route. */
G_DECLARE_FINAL_TYPE(MoeExpertsPage, moe_experts_page, MOE, EXPERTS_PAGE, GtkWidget)

/* The page keeps references to both. */
GtkWidget *moe_experts_page_new(MoeRouteLog *log, MoeSteering *steering);

/* Looks at a token, whose text is `word`; -1: at none. */
void moe_experts_page_set_token(MoeExpertsPage *self, int token, const char *word);
/* Says so while the text is being routed, and nothing is there to click yet. */
void moe_experts_page_set_routing(MoeExpertsPage *self, gboolean routing);
/* Weights of all the log's tokens, with which the selected expert served them; NULL, with none
 * selected. The caller frees them. */
float *moe_experts_page_dup_served(MoeExpertsPage *self, guint *count);

/* Its parts, for tests. */
MoeExpertMap *moe_experts_page_get_map(MoeExpertsPage *self);
MoeRoutePanel *moe_experts_page_get_route_panel(MoeExpertsPage *self);
MoeSteeringPanel *moe_experts_page_get_steering_panel(MoeExpertsPage *self);

G_END_DECLS

#endif
