/* Whether a path that needs a self-test passed it, with this device, driver and library. */
#ifndef VKM_VERDICT_H
#define VKM_VERDICT_H

#include "gpu/gpu.h"

struct vkm_verdict {
    vkmoe_path_state state; /* UNTESTED where there is none, PASSED or FAILED */
    char reason[256];       /* why it did not pass */
};

/* What is kept in the cache folder. */
void vkm_verdict_load(const struct vkm_gpu_params *params, const vkmoe_device_info *device,
                      enum vkm_path path, struct vkm_verdict *verdict);
/* Keeps it, whole or not at all; without a cache folder nowhere. */
vkmoe_status vkm_verdict_store(const struct vkm_gpu_params *params, const vkmoe_device_info *device,
                               enum vkm_path path, const struct vkm_verdict *verdict,
                               vkmoe_error *err);
/* Fills the states of a device's paths from what is kept. */
void vkm_verdicts_recall(const struct vkm_gpu_params *params, vkmoe_device_info *device);

/* For vkm_gpu_params.admit: recalls the verdict, or runs the self-test and keeps what came of it. A
 * path that does not pass is logged as a warning, one that is known not to pass only where it was
 * asked for. */
bool vkm_selftest_admit(struct vkm_gpu *gpu, enum vkm_path path);

#endif
