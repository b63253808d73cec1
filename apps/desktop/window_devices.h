/* What a window offers of models and devices: the popover of its title, the dialog that opens a
 * model, the window about the device, dropping of models, and the list of recent ones. */
#ifndef MOE_WINDOW_DEVICES_H
#define MOE_WINDOW_DEVICES_H

#include "device_window.h"
#include "model_dialog.h"
#include "window.h"

/* Adds all of it to a new window, with the actions win.open-model, win.device, win.speed and
 * win.conformance. */
void moe_window_add_devices(MoeWindow *window);

/* Opens the dialog for these params; NULL: for what is open, or the shipped model. Owned by GTK. */
MoeModelDialog *moe_window_open_model_dialog(MoeWindow *window, const MoeOpenParams *params);
/* Opens the window about the device, or brings it to the front, at a page of it. Owned by GTK. */
MoeDeviceWindow *moe_window_open_device_window(MoeWindow *window, const char *page);

#endif
