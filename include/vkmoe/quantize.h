/* Writing a model with quantised weights, to be loaded as it is. */
#ifndef VKMOE_QUANTIZE_H
#define VKMOE_QUANTIZE_H

#include "vkmoe/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How a model is quantised. */
typedef struct vkmoe_quantize_params {
    const vkmoe_allocator *allocator; /* NULL: the C library */
    const vkmoe_log *log;             /* NULL: silent */
    vkmoe_weights weights;            /* VKMOE_WEIGHTS_Q8 or VKMOE_WEIGHTS_Q4 */
    /* Called from the calling thread with bytes of the checkpoint read so far and in all; returns
     * false to cancel. NULL: none. */
    bool (*progress)(void *user, uint64_t done, uint64_t total);
    void *user;           /* handed to progress */
    uint64_t shard_bytes; /* a file holds tensors of so many bytes, but at least one; 0: 4 GiB */
    uint32_t threads;     /* that quantise side by side; 0: one for each processor, 8 at most */
} vkmoe_quantize_params;

/* Quantises the weights of the Hugging Face folder `model` as vkmoe_model_load does with the same
 * params->weights, and writes `folder`: the weights as they lie on a device, config.json with a
 * quantization_config, and copies of the files that tokenizers and generation read. Loading it
 * needs no other params and gives the same bits. No device is needed, and memory for a few rows
 * only. The folder appears whole or not at all. Fails with INVALID_ARGUMENT for other weights or
 * where `folder` exists, UNSUPPORTED for a GGUF file or a model that is quantised already,
 * CANCELLED, or like vkmoe_model_load; nothing is left then. Thread-safe. */
vkmoe_status vkmoe_model_quantize(const char *model, const char *folder,
                                  const vkmoe_quantize_params *params, vkmoe_error *err);

#ifdef __cplusplus
}
#endif

#endif
