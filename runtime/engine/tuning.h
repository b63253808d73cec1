/* The tuning file of a device: what `vkmoe_bench_tune` found, in the cache folder. */
#ifndef VKM_ENGINE_TUNING_H
#define VKM_ENGINE_TUNING_H

#include "kernels/launch.h"

/* Reads the device's file into *tuning; false where there is none, it is turned off, or it does not
 * fit, which is logged. `info` may be of a device that is not open. */
bool vkm_tuning_load(const struct vkm_gpu_params *params, const vkmoe_device_info *info,
                     struct vkm_tuning *tuning);
/* Writes it, whole or not at all; *path is the caller's (vkm_free). Fails with NOT_FOUND where
 * there is no cache folder, or IO. */
vkmoe_status vkm_tuning_store(const struct vkm_gpu_params *params, const vkmoe_device_info *info,
                              const struct vkm_tuning *tuning, char **path, vkmoe_error *err);

#endif
