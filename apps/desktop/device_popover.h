/* What the button with the names of model and device opens: both in a few words, the memory they
 * take, and ways to change them. */
#ifndef MOE_DEVICE_POPOVER_H
#define MOE_DEVICE_POPOVER_H

#include <gtk/gtk.h>

#include "worker.h"

#define MOE_TYPE_DEVICE_POPOVER (moe_device_popover_get_type())
G_DECLARE_FINAL_TYPE(MoeDevicePopover, moe_device_popover, MOE, DEVICE_POPOVER, GtkPopover)

/* Its buttons activate win.open-model and win.device. */
GtkWidget *moe_device_popover_new(MoeWorker *worker);

#endif
