/* The suite on several devices opened from the same driver, each in a thread of its own: most of
 * the time goes into compiling shaders, which drivers do in the thread that asks. Each takes the
 * next test that none has begun; what they find is told in the order of the suite, by the caller's
 * thread. */
#ifndef VKM_CREW_H
#define VKM_CREW_H

#include "conform/conform.h"

#define VKM_CREW_MOST 4u

/* Runs the suite on `gpu` and on count - 1 devices more, opened as `open` says; those that cannot
 * be opened, or have no memory for cases, are done without. Callbacks of params come from the
 * calling thread. */
vkmoe_status vkm_crew_run(struct vkm_gpu *gpu, const struct vkm_gpu_params *open, uint32_t count,
                          const struct vkm_conform_params *params,
                          struct vkm_conform_totals *totals, vkmoe_error *err);

#endif
