/* Models: a checkpoint's weights on a device. */
#ifndef VKMOE_MODEL_H
#define VKMOE_MODEL_H

#include "vkmoe/device.h"
#include "vkmoe/routing.h"
#include "vkmoe/sampling.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Weights in device memory. Immutable once loaded; see vkmoe_device for threads. */
typedef struct vkmoe_model vkmoe_model;

/* What weights are kept as on the device. Quantised ones (integers in groups of 32 with a scale)
 * are made of the file's while they are read: attention, FFNs and the head; embeddings, a head tied
 * to them, routers, norms and biases stay exact, and so do queries, keys and values where their
 * rows are no multiples of 8. */
typedef enum vkmoe_weights {
    VKMOE_WEIGHTS_STORED, /* as the file has them, value for value */
    VKMOE_WEIGHTS_Q8,     /* 8 bits and 0.5 for scales, in blocks of 8 rows by 128 columns */
    VKMOE_WEIGHTS_Q4,     /* 4 bits and 1 for scales and minima, likewise; the head as Q8 */
    VKMOE_WEIGHTS_COUNT   /* how many there are */
} vkmoe_weights;

/* What keys and values are kept as. Rounding is to the nearest. */
typedef enum vkmoe_kv {
    VKMOE_KV_F32,  /* as they are computed */
    VKMOE_KV_F16,  /* 11 bits of a number, at most 65504 */
    VKMOE_KV_BF16, /* 8 bits of a number */
    VKMOE_KV_Q8,   /* 8 bits, and 0.5 for a scale that 32 of a head's elements share */
    VKMOE_KV_COUNT /* how many there are */
} vkmoe_kv;

/* How a model is loaded. */
typedef struct vkmoe_model_params {
    /* Called while loading, from the loading thread, with bytes of the checkpoint read so far and
     * in all; returns false to cancel. NULL: none. */
    bool (*progress)(void *user, uint64_t done, uint64_t total);
    void *user; /* handed to progress */
    /* Tokens of the first prompt: shaders for steps of that size are compiled while the weights are
     * read. 0: unknown, shaders for full chunks are. */
    uint32_t prompt_tokens;
    uint32_t context;      /* of the session to come: loading is refused if it would not fit */
    uint32_t chunk;        /* of the same session */
    vkmoe_routing routing; /* of the same session */
    vkmoe_kv kv;           /* of the same session */
    /* Bytes of device memory that the model and a session may take; experts beyond are kept in host
     * memory and read over the bus, with the same results to the bit. 0: what the device has. */
    uint64_t memory_limit;
    /* For vkmoe_model_plan, which then judges by memory_limit alone, as if the device had as much:
     * whether a model fits a device that is not here. Ignored where something is loaded. */
    bool limit_alone;
    /* What they are kept as. Those of a GGUF file, and those that vkmoe_model_quantize wrote, stay
     * as they are whatever is asked for, with a warning in the log if that is something else. */
    vkmoe_weights weights;
    bool force; /* try to load, and to make sessions, even if the plan says that they do not fit */
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
    vkmoe_weights weights;        /* what they are on the device */
    uint64_t weight_bytes;        /* as they lie in memory, padding included */
    uint64_t host_expert_bytes;   /* of them, experts in host memory */
    uint32_t n_host_experts;      /* of all layers */
} vkmoe_model_info;

/* Loads the Hugging Face folder or the GGUF file `path` onto the device; params may be NULL. The
 * caller owns *out and destroys it before the device. Fails with NOT_FOUND, IO, BAD_FORMAT or
 * UNSUPPORTED for what is in there (a weight that is NaN or infinite or too large for a scale, or a
 * tensor that config.json has no place for, is BAD_FORMAT), INVALID_ARGUMENT for weights or a
 * KV cache of a kind that is not listed, OUT_OF_DEVICE_MEMORY (before anything is read, with what
 * would make it fit, unless params->force), CANCELLED, or what the device reports. */
vkmoe_status vkmoe_model_load(vkmoe_device *device, const char *path,
                              const vkmoe_model_params *params, vkmoe_model **out,
                              vkmoe_error *err);

/* Accepts NULL. Sessions of the model must be destroyed before. */
void vkmoe_model_destroy(vkmoe_model *model);

/* What experts in host memory cost, expected when the model was loaded: bytes from the plan over
 * bandwidths that were measured with a short product. All zero where no expert is there. */
typedef struct vkmoe_host_cost {
    double host_bytes_per_token;   /* of experts in host memory */
    double device_bytes_per_token; /* of all other weights */
    double host_bandwidth;         /* bytes per second */
    double device_bandwidth;       /* bytes per second */
    double host_seconds_per_token; /* the first over its bandwidth */
    double tokens_per_second;      /* if reading weights were all */
} vkmoe_host_cost;

/* Owned by the model; thread-safe. */
const vkmoe_model_info *vkmoe_model_get_info(const vkmoe_model *model);
/* What experts in host memory should cost. Owned by the model; thread-safe. */
const vkmoe_host_cost *vkmoe_model_get_host_cost(const vkmoe_model *model);
/* How the checkpoint wants to be sampled (generation_config.json; a GGUF file does not say). */
const vkmoe_sampling *vkmoe_model_get_sampling(const vkmoe_model *model);
/* Which layer MoE layer `index` (0 .. n_moe_layers - 1) is; n_layers for an index beyond. */
uint32_t vkmoe_model_moe_layer(const vkmoe_model *model, uint32_t index);

#ifdef __cplusplus
}
#endif

#endif
