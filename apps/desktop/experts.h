/* What ties the experts to a window: the worker's routes fill the log, a word of the text shows its
 * route, an expert tints the tokens it served, and steering applies to the next run. */
#ifndef MOE_EXPERTS_H
#define MOE_EXPERTS_H

#include "compare_page.h"
#include "experts_page.h"
#include "window.h"

G_BEGIN_DECLS

#define MOE_TYPE_EXPERTS (moe_experts_get_type())
G_DECLARE_FINAL_TYPE(MoeExperts, moe_experts, MOE, EXPERTS, GObject)

/* Adds the pages "experts" and "compare" to a window, which then owns what this returns. */
MoeExperts *moe_experts_attach(MoeWindow *window);

MoeRouteLog *moe_experts_get_log(MoeExperts *self);
MoeSteering *moe_experts_get_steering(MoeExperts *self);
MoeExpertsPage *moe_experts_get_page(MoeExperts *self);
MoeComparePage *moe_experts_get_compare_page(MoeExperts *self);
/* The one that was attached to a window; NULL if none was. */
MoeExperts *moe_experts_of(MoeWindow *window);

G_END_DECLS

#endif
