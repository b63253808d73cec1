/* Configurations known by name: the models of the DeepSeekMoE paper (arXiv 2401.06066) and those it
 * compares them with. */
#ifndef VKM_NAMED_H
#define VKM_NAMED_H

#include "model/config.h"

/* NULL from the last one on. */
const char *vkm_named_config(size_t index);
/* False when there is no configuration of that name. */
bool vkm_named_config_find(const char *name, struct vkm_config *config);

/* Reads the configuration of a model: a known name, a GGUF file, a folder with config.json, or a
 * configuration file. *weights (may be NULL) is set to whether there may be weights with it. */
vkmoe_status vkm_config_resolve(const vkmoe_allocator *a, const char *model,
                                struct vkm_config *config, bool *weights, vkmoe_error *err);

#endif
