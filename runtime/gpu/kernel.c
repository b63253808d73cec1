#include "gpu/kernel.h"

#include <stddef.h>

#include "gpu/paths.h"

enum vkm_metric vkm_kernel_metric(const struct vkm_kernel *kernel,
                                  const struct vkm_variant *variant)
{
    enum vkm_rounding rounding = vkm_path_row(variant->path)->rounding;
    return rounding == VKM_ROUNDING_F16        ? VKM_METRIC_HALF
           : rounding == VKM_ROUNDING_F16_SUMS ? VKM_METRIC_HALF_SUMS
                                               : kernel->metric;
}

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
