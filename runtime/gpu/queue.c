/* Queues with a timeline each: submits, and waits that end. */
#include <time.h>

#include "gpu/vk.h"

#define SETTLE_NS UINT64_C(10000000000) /* what a timed-out device is given to end */

vkmoe_status vkm_queue_init(struct vkm_gpu *gpu, struct vkm_queue *queue, vkmoe_error *err)
{
    vkmoe_status status = VKMOE_OK;
    VkSemaphoreTypeCreateInfo type = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
                                      .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE};
    VkSemaphoreCreateInfo info = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, .pNext = &type};
    gpu->vk.GetDeviceQueue(gpu->device, queue->family, 0, &queue->handle);
    VK_MAKE(&queue->timeline, CreateSemaphore(gpu->device, &info, NULL, &queue->timeline));
fail:
    return status;
}

static vkmoe_status fail_lost(const struct vkm_gpu *gpu, vkmoe_error *err)
{
    return vkm_fail(err, VKMOE_DEVICE_LOST, "%s is lost: it failed or hung in an earlier call",
                    gpu->info.name);
}

vkmoe_status vkm_queue_submit(struct vkm_gpu *gpu, struct vkm_queue *queue,
                              VkCommandBuffer commands, uint64_t *value, vkmoe_error *err)
{
    vkmoe_status status = VKMOE_OK;
    if (gpu->lost)
        return fail_lost(gpu, err);
    pthread_mutex_lock(&gpu->submit_lock);
    bool after_upload = queue == &gpu->compute && gpu->upload_done > 0;
    VkSemaphoreSubmitInfo upload = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO,
                                    .semaphore = gpu->transfer.timeline,
                                    .value = gpu->upload_done,
                                    .stageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT};
    VkCommandBufferSubmitInfo buffer = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO,
                                        .commandBuffer = commands};
    VkSemaphoreSubmitInfo signal = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO,
                                    .semaphore = queue->timeline,
                                    .value = queue->submitted + 1,
                                    .stageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT};
    VkSubmitInfo2 submit = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO_2,
        .waitSemaphoreInfoCount = after_upload ? 1 : 0,
        .pWaitSemaphoreInfos = &upload,
        .commandBufferInfoCount = 1,
        .pCommandBufferInfos = &buffer,
        .signalSemaphoreInfoCount = 1,
        .pSignalSemaphoreInfos = &signal,
    };
    VK(QueueSubmit2(queue->handle, 1, &submit, VK_NULL_HANDLE));
    *value = ++queue->submitted;
    if (after_upload)
        gpu->upload_done = 0;
fail:
    pthread_mutex_unlock(&gpu->submit_lock);
    return status;
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

double vkm_gpu_waited(const struct vkm_gpu *gpu)
{
    return 1e-9 * (double)atomic_load(&gpu->waited_ns);
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
    uint64_t start = now_ns();
    VkResult result = gpu->vk.WaitSemaphores(gpu->device, &info, timeout);
    atomic_fetch_add(&gpu->waited_ns, now_ns() - start);
    if (result == VK_SUCCESS)
        return VKMOE_OK;
    pthread_mutex_lock(&gpu->submit_lock);
    gpu->unsettled = true;
    pthread_mutex_unlock(&gpu->submit_lock);
    if (result == VK_TIMEOUT) {
        gpu->lost = true;
        return vkm_fail(err, VKMOE_DEVICE_LOST,
                        "%s is lost or hung: a submit did not finish within %g seconds",
                        gpu->info.name, gpu->params.hang_seconds);
    }
    return vkm_vk_fail(gpu, err, result, "WaitSemaphores", __FILE__, __LINE__);
}

/* False if the queue's work is not known to have ended. When the driver itself has given the device
 * up, nothing will touch anything any more. */
static bool queue_ended(struct vkm_gpu *gpu, const struct vkm_queue *queue)
{
    VkSemaphoreWaitInfo info = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
                                .semaphoreCount = 1,
                                .pSemaphores = &queue->timeline,
                                .pValues = &queue->submitted};
    if (!queue->timeline)
        return true;
    VkResult result = gpu->vk.WaitSemaphores(gpu->device, &info, SETTLE_NS);
    return result == VK_SUCCESS || result == VK_ERROR_DEVICE_LOST;
}

bool vkm_gpu_settle(struct vkm_gpu *gpu)
{
    pthread_mutex_lock(&gpu->submit_lock);
    if (gpu->unsettled) {
        gpu->unsettled = false;
        gpu->abandoned = !queue_ended(gpu, &gpu->compute) || !queue_ended(gpu, &gpu->transfer);
        if (gpu->abandoned) {
            gpu->lost = true;
            vkm_log(gpu->params.log, VKMOE_LOG_WARNING,
                    "%s does not end what it was given; its memory is left to it", gpu->info.name);
        }
    }
    bool settled = !gpu->abandoned;
    pthread_mutex_unlock(&gpu->submit_lock);
    return settled;
}
