/* Checks beyond single kernels: whole steps of a model. */
#ifndef VKM_STEPS_H
#define VKM_STEPS_H

#include "conform/report.h"

/* Runs the checks that params->kernels select, on a device opened as `device` says. */
vkmoe_status vkm_steps_run(const vkmoe_device_params *device, struct vkm_report *report,
                           vkmoe_error *err);

#endif
