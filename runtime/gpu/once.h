/* Work that is recorded, run and waited for once. */
#ifndef VKM_ONCE_H
#define VKM_ONCE_H

#include "gpu/gpu.h"
#include "gpu/recorder.h"

struct vkm_once {
    struct vkm_gpu *gpu;
    struct vkm_stream stream;
    struct vkm_recorder recorder; /* to record with, between the two calls */
};

void vkm_once_begin(struct vkm_once *once, struct vkm_gpu *gpu);
/* Runs what was recorded and ends it, whatever comes of it. Fails as recording did, or as
 * vkm_stream_run does. */
vkmoe_status vkm_once_run(struct vkm_once *once, vkmoe_error *err);

#endif
