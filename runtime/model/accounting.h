/* What a configuration amounts to: parameters, floating point operations, bytes. Needs no device.
 */
#ifndef VKM_ACCOUNTING_H
#define VKM_ACCOUNTING_H

#include "model/config.h"
#include "vkmoe/plan.h"

/* Fills everything but what is stored; `config` was checked. */
void vkm_describe(const struct vkm_config *config, vkmoe_description *d);

/* Operations of a forward pass over one sequence of so many tokens, as vkmoe_flops counts them. */
double vkm_forward_flops(const struct vkm_config *config, uint32_t tokens);

/* n over k. Exact below 2^43. */
double vkm_combinations(uint32_t n, uint32_t k);

#endif
