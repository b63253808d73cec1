/* The page that runs the conformance suite on a device and opens its report. */
#ifndef MOE_CONFORMANCE_PAGE_H
#define MOE_CONFORMANCE_PAGE_H

#include <gtk/gtk.h>

#include "conformance.h"

#define MOE_TYPE_CONFORMANCE_PAGE (moe_conformance_page_get_type())
G_DECLARE_FINAL_TYPE(MoeConformancePage, moe_conformance_page, MOE, CONFORMANCE_PAGE, GtkBox)

GtkWidget *moe_conformance_page_new(void);
/* The devices to choose from (a list of MoeDevice), and the one to begin with. */
void moe_conformance_page_set_devices(MoeConformancePage *self, GListModel *devices,
                                      guint selected);
/* Of later runs: what is tested of the suite. NULL: all. */
void moe_conformance_page_set_kernels(MoeConformancePage *self, const char *pattern);
/* What the page shows; owned by it. */
MoeConformance *moe_conformance_page_conformance(MoeConformancePage *self);

#endif
