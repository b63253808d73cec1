/* What the host hands to every kernel: the workgroup size, as specialisation constant 0, and the
 * push constants `p`, made from the kernel's list in params.h (VKM_PARAMS names it). */
layout(local_size_x_id = 0) in;

#include "../params.h"

#define VKM_VIEW(kernel, name) uvec2 name;
#define VKM_UINT(kernel, name) uint name;
#define VKM_FLOAT(kernel, name) float name;

layout(push_constant, std430) uniform vkm_push
{
    VKM_PARAMS(VKM_KERNEL, VKM_VIEW, VKM_VIEW, VKM_VIEW, VKM_VIEW, VKM_VIEW, VKM_VIEW, VKM_UINT,
               VKM_FLOAT)
#ifdef VKM_DEBUG
    uvec2 debug; /* this dispatch's debug record, see mem.glsl */
#endif
} p;
