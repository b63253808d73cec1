/* Models in GGUF files: their configuration. checkpoint.h has their tensors. */
#ifndef VKM_GGUF_MODEL_H
#define VKM_GGUF_MODEL_H

#include "base/gguf.h"
#include "model/config.h"

#define VKM_GGUF_ARCH "deepseek"  /* the one architecture that is read */
#define VKM_GGUF_SHORT_ARRAY 1024 /* elements: longer arrays are the tokenizer's */

/* What vkm_config_load makes of config.json, from the metadata. */
vkmoe_status vkm_gguf_config(const struct vkm_gguf *g, struct vkm_config *config, vkmoe_error *err);

#endif
