/* What measuring is made of. */
#ifndef VKM_BENCH_H
#define VKM_BENCH_H

#include "engine/engine.h"
#include "vkmoe/bench.h"

/* --- peak.c --- */

/* What the device can do at most: short kernels that do nothing but read memory, and nothing but
 * multiply and add. `reads`: what another kernel was seen to read in a second. */
vkmoe_status vkm_measure_peaks(struct vkm_gpu *gpu, double reads, vkmoe_bench_peak *memory,
                               vkmoe_bench_peak *arithmetic, vkmoe_error *err);

/* --- nominal.c --- */

/* What makers say of a device: bytes a second, and float32 operations a second. */
struct vkm_nominal {
    double memory, arithmetic; /* 0: not known */
};
struct vkm_nominal vkm_nominal_peaks(const char *device_name);

/* --- together.c --- */

struct vkm_together_params {
    uint32_t sequences, depth; /* tokens that each has before */
    uint32_t generate;         /* at most, by each */
    uint32_t chunk;
    vkmoe_routing routing;
    vkmoe_kv kv;
    bool (*go_on)(void *user); /* asked after each step; false ends it with CANCELLED */
    void *user;
};

/* Sequences that generate together: each step has one row of each. */
struct vkm_together;
/* With sequences of depth + 1 tokens evaluated; all of them `tokens`, shifted by one each. */
vkmoe_status vkm_together_create(struct vkmoe_model *model,
                                 const struct vkm_together_params *params, const int32_t *tokens,
                                 struct vkm_together **out, vkmoe_error *err);
void vkm_together_destroy(struct vkm_together *t); /* accepts NULL */
/* Generates `generate` tokens of each sequence, greedily, after the first `depth`. profile: NULL,
 * or what steps are added to. */
vkmoe_status vkm_together_run(struct vkm_together *t, struct vkm_profile *profile,
                              vkmoe_error *err);
/* Distinct experts of the newest step, the mean of the layers. */
vkmoe_status vkm_together_experts(const struct vkm_together *t, double *mean, vkmoe_error *err);

#endif
