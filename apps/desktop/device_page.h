/* The page with what the open model takes of its device's memory, how fast the last answer came,
 * and the devices there are. */
#ifndef MOE_DEVICE_PAGE_H
#define MOE_DEVICE_PAGE_H

#include <gtk/gtk.h>

#include "device.h"
#include "worker.h"

#define MOE_TYPE_DEVICE_PAGE (moe_device_page_get_type())
/* Signal "chosen" (MoeDevice): a device of the list was activated. */
G_DECLARE_FINAL_TYPE(MoeDevicePage, moe_device_page, MOE, DEVICE_PAGE, GtkBox)

GtkWidget *moe_device_page_new(MoeWorker *worker);
/* The devices there are, a list of MoeDevice; NULL: none, for the reason that `problem` gives. */
void moe_device_page_set_devices(MoeDevicePage *self, GListModel *devices, const char *problem);

#endif
