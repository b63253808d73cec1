/* The window about the device: its memory, the speed of the open model, conformance. */
#ifndef MOE_DEVICE_WINDOW_H
#define MOE_DEVICE_WINDOW_H

#include <gtk/gtk.h>

#include "conformance_page.h"
#include "device_page.h"
#include "speed_page.h"

#define MOE_TYPE_DEVICE_WINDOW (moe_device_window_get_type())
/* Signal "chosen" (MoeDevice): the user wants to look at a device, or to move the model there. */
G_DECLARE_FINAL_TYPE(MoeDeviceWindow, moe_device_window, MOE, DEVICE_WINDOW, GtkWindow)

/* `parent` may be NULL. */
MoeDeviceWindow *moe_device_window_new(GtkWindow *parent, MoeWorker *worker);
/* Shows a page: "device", "speed" or "conformance". */
void moe_device_window_show_page(MoeDeviceWindow *self, const char *name);

/* Owned by the window. */
MoeSpeedPage *moe_device_window_speed(MoeDeviceWindow *self);
MoeConformancePage *moe_device_window_conformance(MoeDeviceWindow *self);

#endif
