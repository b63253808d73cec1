/* Models: a checkpoint's weights on a device. */
#ifndef VKMOE_MODEL_H
#define VKMOE_MODEL_H

#include "vkmoe/device.h"
#include "vkmoe/sampling.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Weights in device memory. Immutable once loaded; see vkmoe_device for threads. */
typedef struct vkmoe_model vkmoe_model;

/* How a model is loaded. */
typedef struct vkmoe_model_params {
    /* Called while loading, from the loading thread, with bytes of the checkpoint read so far and
     * in all; returns false to cancel. NULL: none. */
    bool (*progress)(void *user, uint64_t done, uint64_t total);
    void *user; /* handed to progress */
    /* Tokens of the first prompt: shaders for steps of that size are compiled while the weights are
     * read. 0: unknown, shaders for full chunks are. */
    uint32_t prompt_tokens;
} vkmoe_model_params;

/* The shape of a model (keys of DeepseekConfig in config.json). */
typedef struct vkmoe_model_info {
    uint32_t vocab_size;          /* tokens */
    uint32_t hidden_size;         /* width of the residual stream */
    uint32_t n_layers;            /* num_hidden_layers */
    uint32_t n_moe_layers;        /* of them, those that route to experts */
    uint32_t n_routed_experts;    /* per MoE layer; 0 in a dense model */
    uint32_t n_experts_per_token; /* routed ones; 0 in a dense model */
    uint32_t n_shared_experts;    /* always on; 0: none */
    uint32_t max_context;         /* max_position_embeddings */
    int32_t bos_token;            /* begins a document; -1: none */
    int32_t eos_token;            /* ends one; -1: none */
    uint64_t weight_bytes;        /* on the device */
} vkmoe_model_info;

/* Loads the Hugging Face folder `path` onto the device; params may be NULL. The caller owns *out
 * and destroys it before the device. Fails with NOT_FOUND, IO, BAD_FORMAT or UNSUPPORTED for what
 * is in the folder (a weight that is NaN or infinite, or a tensor that config.json has no place
 * for, is BAD_FORMAT), OUT_OF_DEVICE_MEMORY, CANCELLED, or what the device reports. */
vkmoe_status vkmoe_model_load(vkmoe_device *device, const char *path,
                              const vkmoe_model_params *params, vkmoe_model **out,
                              vkmoe_error *err);

/* Accepts NULL. Sessions of the model must be destroyed before. */
void vkmoe_model_destroy(vkmoe_model *model);

/* Owned by the model; thread-safe. */
const vkmoe_model_info *vkmoe_model_get_info(const vkmoe_model *model);
/* How the checkpoint wants to be sampled (generation_config.json). */
const vkmoe_sampling *vkmoe_model_get_sampling(const vkmoe_model *model);
/* Which layer MoE layer `index` (0 .. n_moe_layers - 1) is; n_layers for an index beyond. */
uint32_t vkmoe_model_moe_layer(const vkmoe_model *model, uint32_t index);

#ifdef __cplusplus
}
#endif

#endif
