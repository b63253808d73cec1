/* Queues with a timeline each: submits, and waits that end. */
#include "gpu/vk.h"

vkmoe_status vkm_queue_init(struct vkm_gpu *gpu, struct vkm_queue *queue, vkmoe_error *err)
{
    vkmoe_status status = VKMOE_OK;
    VkSemaphoreTypeCreateInfo type = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
                                      .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE};
    VkSemaphoreCreateInfo info = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO,
                                  .pNext = &type};
    gpu->vk.GetDeviceQueue(gpu->device, queue->family, 0, &queue->handle);
    VK(CreateSemaphore(gpu->device, &info, NULL, &queue->timeline));
fail:
    return status;
}

static vkmoe_status fail_lost(const struct vkm_gpu *gpu, vkmoe_error *err)
{
    return vkm_fail(err, VKMOE_DEVICE_LOST, "%s is lost: it failed or hung in an earlier call",
                    gpu->info.name);
}

vkmoe_status vkm_queue_submit(struct vkm_gpu *gpu, struct vkm_queue *queue,
                              VkCommandBuffer commands, const VkSemaphoreSubmitInfo *wait,
                              vkmoe_error *err)
{
    vkmoe_status status = VKMOE_OK;
    if (gpu->lost)
        return fail_lost(gpu, err);
    VkCommandBufferSubmitInfo buffer = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO,
                                        .commandBuffer = commands};
    VkSemaphoreSubmitInfo signal = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO,
                                    .semaphore = queue->timeline,
                                    .value = queue->submitted + 1,
                                    .stageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT};
    VkSubmitInfo2 submit = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO_2,
        .waitSemaphoreInfoCount = wait ? 1 : 0,
        .pWaitSemaphoreInfos = wait,
        .commandBufferInfoCount = 1,
        .pCommandBufferInfos = &buffer,
        .signalSemaphoreInfoCount = 1,
        .pSignalSemaphoreInfos = &signal,
    };
    VK(QueueSubmit2(queue->handle, 1, &submit, VK_NULL_HANDLE));
    queue->submitted++;
fail:
    return status;
}

vkmoe_status vkm_queue_wait(struct vkm_gpu *gpu, struct vkm_queue *queue, uint64_t value,
                            vkmoe_error *err)
{
    if (gpu->lost)
        return fail_lost(gpu, err);
    VkSemaphoreWaitInfo info = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
                                .semaphoreCount = 1,
                                .pSemaphores = &queue->timeline,
                                .pValues = &value};
    double limit = gpu->params.hang_seconds * 1e9;
    uint64_t timeout = limit < 9e18 ? (uint64_t)limit : UINT64_MAX;
    VkResult result = gpu->vk.WaitSemaphores(gpu->device, &info, timeout);
    if (result == VK_TIMEOUT) {
        gpu->lost = true;
        return vkm_fail(err, VKMOE_DEVICE_LOST,
                        "%s is lost or hung: a submit did not finish within %g seconds",
                        gpu->info.name, gpu->params.hang_seconds);
    }
    if (result < 0)
        return vkm_vk_fail(gpu, err, result, "WaitSemaphores", __FILE__, __LINE__);
    return VKMOE_OK;
}
