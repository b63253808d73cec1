/* The tuning file of a device: what `vkmoe_bench_tune` found, in the cache folder. */
#ifndef VKM_ENGINE_TUNING_H
#define VKM_ENGINE_TUNING_H

#include "kernels/launch.h"

/* What the device that such params open is expected to be like, whether it is open or not: what the
 * launch table goes by, and its paths, as if those that are not tested yet would pass. */
struct vkm_caps vkm_caps_expected(const struct vkm_gpu_params *params,
                                  const vkmoe_device_info *info);

/* Reads the device's file into *tuning; false where there is none, it is turned off, or it does not
 * fit, which is logged. `info` may be of a device that is not open. */
bool vkm_tuning_load(const struct vkm_gpu_params *params, const vkmoe_device_info *info,
                     struct vkm_tuning *tuning);
/* For which kernels and weights launches were looked for. */
typedef bool vkm_tuned_set[VKM_KERNEL_COUNT][VKM_TUNED_TYPES];
/* Writes it, whole or not at all, together with what the file there has for other kernels and
 * weights than those that were looked for; settings, which hold for all weights, are the newest's.
 * *path is the caller's (vkm_free). Fails with NOT_FOUND where
 * there is no cache folder, or IO. */
vkmoe_status vkm_tuning_store(const struct vkm_gpu_params *params, const vkmoe_device_info *info,
                              const struct vkm_tuning *tuning, vkm_tuned_set looked_for,
                              char **path, vkmoe_error *err);

#endif
