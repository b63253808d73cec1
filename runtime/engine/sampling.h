/* How a session's sampling settings become the device's. */
#ifndef VKM_SAMPLING_H
#define VKM_SAMPLING_H

#include "kernels/kernels.h"
#include "vkmoe/sampling.h"

/* Which kernels of the sampler are needed. */
bool vkm_sampling_penalises(const vkmoe_sampling *sampling);
bool vkm_sampling_cuts(const vkmoe_sampling *sampling);
/* INVALID_ARGUMENT, naming the field, for what is negative, infinite or not a number. */
vkmoe_status vkm_sampling_check(const vkmoe_sampling *sampling, vkmoe_error *err);
/* For a checked one. */
struct vkm_sampler vkm_sampling_lower(const vkmoe_sampling *sampling);

#endif
