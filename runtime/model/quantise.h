/* Writing a model's weights quantised, as loading them would quantise them. */
#ifndef VKM_QUANTISE_H
#define VKM_QUANTISE_H

#include "base/folder.h"
#include "model/weights.h"

struct vkm_quantise_params {
    uint64_t shard_bytes;      /* of tensors in one file, if it has more than one */
    uint32_t threads;          /* 0: one for each processor */
    vkm_progress_fn *progress; /* bytes of the checkpoint read so far; or NULL */
    void *user;
};

/* Writes what is bound: a piece of a quantised type as it will lie on the device, any other as its
 * source has it. One file model.safetensors, or shards and their index. Fails like
 * vkm_weights_upload, and with IO. */
vkmoe_status vkm_quantise(struct vkm_weights *w, const struct vkm_quantise_params *params,
                          const struct vkm_folder *folder, vkmoe_error *err);

#endif
