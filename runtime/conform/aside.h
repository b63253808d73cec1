/* Checks of whole steps in a thread of their own, beside the kernels' tests: what they find is kept
 * and told afterwards by the caller's thread. */
#ifndef VKM_ASIDE_H
#define VKM_ASIDE_H

#include "conform/report.h"

struct vkm_aside;

/* Begins; NULL if there is no thread or memory for that. `report` is told nothing before the end;
 * `device` and it must live until then. */
struct vkm_aside *vkm_aside_begin(const vkmoe_device_params *device,
                                  const struct vkm_report *report);
/* Waits until the checks are done, or until report->params->stops says so; unless `waits` lets them
 * stop at once. Hands the report what they found until then. Frees. */
vkmoe_status vkm_aside_end(struct vkm_aside *a, struct vkm_report *report, bool waits,
                           vkmoe_error *err);

#endif
