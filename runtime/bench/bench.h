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

/* --- counting.c --- */

struct vkm_counting_params {
    vkmoe_session_params session; /* of either; context and count_routing are not read */
    uint32_t depth;               /* tokens that each has before, at least one */
    uint32_t turn, pairs;         /* tokens of a turn, and pairs of turns that count */
};
/* `tokens`: depth of them. */
vkmoe_status vkm_measure_counting(struct vkmoe_model *model, const struct vkm_counting_params *p,
                                  const int32_t *tokens, vkmoe_bench_counting *out,
                                  vkmoe_error *err);
/* Of ratios [n], which are sorted. */
vkmoe_bench_counting vkm_counting_of(double *ratios, uint32_t n);

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
/* With the first `depth` tokens of each sequence evaluated: sequence s has tokens[s] and those that
 * follow, so that rows differ. `tokens`: depth + sequences, borrowed. */
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
