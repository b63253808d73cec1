#include "gpu/kernel.h"

#include <stddef.h>

const struct vkm_variant *vkm_kernel_variant(const struct vkm_kernel *kernel, enum vkm_dtype dtype,
                                             enum vkm_path path)
{
    for (uint32_t i = 0; i < kernel->n_variants; i++) {
        const struct vkm_variant *v = &kernel->variants[i];
        if (v->path == path && (!kernel->has_dtype || v->dtype == dtype))
            return v;
    }
    return NULL;
}
