/* What SPIR-V modules need of a device, and small changes that depend on the one they are for. */
#ifndef VKM_SPIRV_H
#define VKM_SPIRV_H

#include "base/base.h"

/* A copy of the module, of `size` bytes, that declares SignedZeroInfNanPreserve for 32-bit floats,
 * which keeps a compiler from assuming that infinities and NaN do not occur; one that declares
 * it already stays as it is. The copy belongs to the caller (vkm_free); NULL when memory runs out.
 */
uint32_t *vkm_spirv_preserve_inf_nan(const vkmoe_allocator *a, const uint32_t *code, size_t size,
                                     size_t *new_size);

struct vkm_gpu;

/* Whether the module, which can be walked to its end, declares a capability that the opened device
 * was not given; `name` is what the first is called. Drivers may crash on such modules. */
bool vkm_gpu_lacks(const struct vkm_gpu *gpu, const uint32_t *code, size_t size, char name[64]);

/* The features of Vulkan that a device has to be created with for the module: their number and
 * names, which live for ever. */
#define VKM_SPIRV_FEATURES 12u
uint32_t vkm_spirv_features(const uint32_t *code, size_t size,
                            const char *names[VKM_SPIRV_FEATURES]);

#endif
