/* The kernel table in C: ids, params structs, references. */
#ifndef VKM_KERNELS_H
#define VKM_KERNELS_H

#include "gpu/kernel.h"
#include "../../shaders/params.h"

enum vkm_kernel_id {
#define KERNEL(name, ...) VKM_K_##name,
#include "kernels/table.def"
#undef KERNEL
    VKM_KERNEL_COUNT
};

#define VKM_STRUCT_VIEW(kernel, field) struct vkm_view field;
#define VKM_STRUCT_UINT(kernel, field) uint32_t field;
#define VKM_STRUCT_FLOAT(kernel, field) float field;
#define KERNEL(name, ...)                                                                          \
    struct vkm_params_##name {                                                                     \
        VKM_PARAMS_##name(name, VKM_STRUCT_VIEW, VKM_STRUCT_VIEW, VKM_STRUCT_VIEW,                 \
                          VKM_STRUCT_VIEW, VKM_STRUCT_VIEW, VKM_STRUCT_VIEW, VKM_STRUCT_UINT,      \
                          VKM_STRUCT_FLOAT)                                                        \
    };                                                                                             \
    vkm_ref_fn vkm_ref_##name;
#include "kernels/table.def"
#undef KERNEL
#undef VKM_STRUCT_VIEW
#undef VKM_STRUCT_UINT
#undef VKM_STRUCT_FLOAT

extern const struct vkm_kernel_set vkm_kernels;

/* Elements from one row of width n to the next (`ld` in params.h). */
static inline uint32_t vkm_ld(uint32_t n)
{
    return vkm_ceil_div(n, VKM_PAD) * VKM_PAD;
}

/* One batch row as it lies in device memory. */
struct vkm_row {
    uint32_t token;
    uint32_t position;
    uint32_t sequence;
    uint32_t zero;
};

/* How one sequence samples, as it lies in device memory. */
struct vkm_sampler {
    float inverse_temperature; /* 0: greedy */
    uint32_t seed_low, seed_high;
    uint32_t top_k;       /* 0: all */
    uint32_t top_p;       /* in units of 2^-32; 0: all */
    float min_p_distance; /* how far below the largest a logit may lie; FLT_MAX: any */
    float repeat_penalty;
    uint32_t repeat_last; /* tokens that it looks back */
};

#endif
