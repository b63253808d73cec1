/* Which experts a model's prompts chose so far, kept in the cache folder between runs: where not
 * all experts find room on the device, those chosen least go to host memory. */
#ifndef VKM_USAGE_H
#define VKM_USAGE_H

#include "gpu/gpu.h"
#include "model/config.h"
#include "model/checkpoint.h"

struct vkm_usage {
    char *file; /* NULL: there is no cache folder */
    uint32_t n_layers;
    uint32_t n_experts;
    uint64_t *counts; /* [n_layers, n_experts] how often each was chosen; NULL: not known */
    bool changed;     /* since it was read or stored */
};

/* Reads what earlier runs left; a file that is missing or damaged leaves counts unknown. The file
 * is named after the configuration, the size of the weights and the name of the folder. */
void vkm_usage_load(struct vkm_usage *u, const struct vkm_gpu *gpu, const char *path,
                    const struct vkm_config *config, const struct vkm_checkpoint *checkpoint);
/* Counts n ids that tokens chose in one MoE layer; ids beyond the experts stand for none. */
void vkm_usage_add(struct vkm_usage *u, const struct vkm_gpu *gpu, uint32_t layer,
                   const uint32_t *ids, size_t n);
/* Writes the counts if they changed; failure costs only speed later, and is logged. */
void vkm_usage_store(struct vkm_usage *u, const struct vkm_gpu *gpu);
void vkm_usage_finish(struct vkm_usage *u, const struct vkm_gpu *gpu); /* accepts zeroed */

#endif
