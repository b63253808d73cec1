/* A Vulkan driver that computes nothing, and takes no time over it. Memory reads as zeros; what is
 * submitted has ended at once. One at a time in a process. */
#ifndef NULL_DRIVER_H
#define NULL_DRIVER_H

#include "gpu/gpu.h"

/* Its device looks like a discrete GPU: memory of its own that is not mapped, a queue for copies,
 * timestamps, a memory budget. */
vkm_vulkan_call *null_driver_discrete(struct VkInstance_T *instance, const char *name);
/* Like a GPU inside the processor: all memory is mapped, and there is one queue. */
vkm_vulkan_call *null_driver_integrated(struct VkInstance_T *instance, const char *name);
/* Like a driver for the host's processor: as that, and it imports memory of the host. */
vkm_vulkan_call *null_driver_processor(struct VkInstance_T *instance, const char *name);
/* From now on it tells this address of every buffer; 0: each its own. */
void null_driver_misplace(uint64_t address);

#endif
