/* The Vulkan devices there are, as a list to choose from. */
#ifndef MOE_DEVICE_H
#define MOE_DEVICE_H

#include <gio/gio.h>
#include <vkmoe/vkmoe.h>

G_BEGIN_DECLS

#define MOE_TYPE_DEVICE (moe_device_get_type())
/* One device. Immutable. */
G_DECLARE_FINAL_TYPE(MoeDevice, moe_device, MOE, DEVICE, GObject)

/* Copies *info. */
MoeDevice *moe_device_new(const vkmoe_device_info *info);
/* vkmoe's own executor on the host, which needs no driver and is in no list. */
MoeDevice *moe_device_new_reference(void);
/* Owned by the device. */
const vkmoe_device_info *moe_device_info(MoeDevice *self);
/* Its name, as the driver words it; owned by the device. */
const char *moe_device_name(MoeDevice *self);
/* "Discrete GPU, 24.0 GB, NVIDIA 550.1", or why it cannot be used; owned by the device. */
const char *moe_device_summary(MoeDevice *self);
/* What vkmoe_device_params.selector takes to open this one: its index, as two drivers may show the
 * same UUID; owned by the device. */
const char *moe_device_selector(MoeDevice *self);

/* Lists the devices in a thread. `done` comes on the main context of the caller. */
void moe_device_list_async(GCancellable *cancellable, GAsyncReadyCallback done, gpointer user);
/* A list of MoeDevice, in the order of their indices, to be unreffed; NULL and one sentence where
 * there is no driver, or no usable device. */
GListModel *moe_device_list_finish(GAsyncResult *result, GError **error);
/* The one that is opened where nothing is chosen; G_MAXUINT: none is usable. */
guint moe_device_list_default(GListModel *devices);

/* Errors of the library as GErrors: the domain, whose codes are vkmoe_status. */
#define MOE_ERROR (moe_error_quark())
GQuark moe_error_quark(void);
/* `status` as it is in *err, or the general meaning where err has no words. */
GError *moe_error_new(vkmoe_status status, const vkmoe_error *err);

G_END_DECLS

#endif
