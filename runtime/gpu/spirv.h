/* Small changes to a SPIR-V module that depend on the device it is for. */
#ifndef VKM_SPIRV_H
#define VKM_SPIRV_H

#include "base/base.h"

/* A copy of the module, of `size` bytes, that declares SignedZeroInfNanPreserve for 32-bit floats,
 * which keeps a compiler from assuming that infinities and NaN do not occur; one that declares
 * it already stays as it is. The copy belongs to the caller (vkm_free); NULL when memory runs out.
 */
uint32_t *vkm_spirv_preserve_inf_nan(const vkmoe_allocator *a, const uint32_t *code, size_t size,
                                     size_t *new_size);

#endif
