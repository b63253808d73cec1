/* A Vulkan loader whose calls fail as planned, over another one, reported to the watch
 * (watch.h). Vulkan's calls carry nothing of ours with them, so there is one of it in a process. */
#ifndef FAULTS_H
#define FAULTS_H

#include "gpu/vk.h"

/* The calls that can fail, FAULT_CreateInstance ... */
enum fault_call {
#define FALLIBLE(name, ...) FAULT_##name,
#define UNFAILING(...)
#include "calls.def"
#undef FALLIBLE
#undef UNFAILING
    FAULT_CALLS,
    FAULT_ANY = FAULT_CALLS, /* in a plan: counted over all of them */
};

const char *fault_call_name(enum fault_call call);
/* What a call may return, one after another; VK_SUCCESS when `index` is past the last. */
VkResult fault_result(enum fault_call call, size_t index);

/* The nth call (from 1) fails, with `result`, or with one that it may return where that is
 * VK_SUCCESS (then `draw` chooses). */
struct fault_plan {
    enum fault_call call;
    uint64_t nth;
    VkResult result;
    uint32_t draw;
    bool for_good; /* and all later ones */
};

/* Starts counting anew, over the loader `next`, NULL for the system's. At most two plans. */
void fault_start(vkm_vulkan_loader *next, const struct fault_plan *plans, size_t n);
/* One more plan, for the next of these calls, whenever that is. */
void fault_next(enum fault_call call, VkResult result);
/* How many of these calls were made since. */
uint64_t fault_calls(enum fault_call call);
/* How many failed by plan. */
uint64_t fault_count(void);
/* The last that failed by plan, as text. */
const char *fault_last(void);
/* The loader to hand to vkm_device_open. */
vkm_vulkan_call *fault_loader(struct VkInstance_T *instance, const char *name);

#endif
