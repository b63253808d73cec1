/* How far the loading of a model is, and a button that ends it; hidden while nothing is loaded. */
#ifndef MOE_LOAD_BAR_H
#define MOE_LOAD_BAR_H

#include <gtk/gtk.h>

#include "worker.h"

#define MOE_TYPE_LOAD_BAR (moe_load_bar_get_type())
G_DECLARE_FINAL_TYPE(MoeLoadBar, moe_load_bar, MOE, LOAD_BAR, GtkBox)

/* Follows this worker from now on; called once. */
void moe_load_bar_set_worker(MoeLoadBar *self, MoeWorker *worker);

#endif
