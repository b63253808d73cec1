/* The page that runs the same prompt and seed with two settings, side by side. */
#ifndef MOE_COMPARE_PAGE_H
#define MOE_COMPARE_PAGE_H

#include "comparison.h"
#include "steering.h"
#include "window.h"

G_BEGIN_DECLS

#define MOE_TYPE_COMPARE_PAGE (moe_compare_page_get_type())
/* Actions: "compare.run", "compare.keep" (what steering says now becomes the left settings). */
G_DECLARE_FINAL_TYPE(MoeComparePage, moe_compare_page, MOE, COMPARE_PAGE, GtkWidget)

/* The right side runs as `steering` says. The page lives in the window, and keeps a reference to
 * the steering. */
GtkWidget *moe_compare_page_new(MoeWindow *window, MoeSteering *steering);

MoeComparison *moe_compare_page_get_comparison(MoeComparePage *self);
/* Whether a comparison is under way. */
gboolean moe_compare_page_is_running(MoeComparePage *self);

G_END_DECLS

#endif
