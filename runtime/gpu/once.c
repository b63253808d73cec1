#include "gpu/once.h"

void vkm_once_begin(struct vkm_once *once, struct vkm_gpu *gpu)
{
    once->gpu = gpu;
    vkm_stream_init(&once->stream, vkm_gpu_kernels(gpu), vkm_gpu_allocator(gpu));
    vkm_recorder_init(&once->recorder, &once->stream, vkm_gpu_caps(gpu));
}

vkmoe_status vkm_once_run(struct vkm_once *once, vkmoe_error *err)
{
    vkm_recorder_finish(&once->recorder);
    vkmoe_status status = vkm_recorder_status(&once->recorder, err);
    if (status == VKMOE_OK)
        status = vkm_stream_run(once->gpu, &once->stream, err);
    vkm_stream_finish(&once->stream);
    return status;
}
