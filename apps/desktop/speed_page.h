/* The page that measures the open model and shows the time of every kernel. */
#ifndef MOE_SPEED_PAGE_H
#define MOE_SPEED_PAGE_H

#include <gtk/gtk.h>

#include "worker.h"

#define MOE_TYPE_SPEED_PAGE (moe_speed_page_get_type())
G_DECLARE_FINAL_TYPE(MoeSpeedPage, moe_speed_page, MOE, SPEED_PAGE, GtkBox)

GtkWidget *moe_speed_page_new(MoeWorker *worker);
gboolean moe_speed_page_is_running(MoeSpeedPage *self);

#endif
