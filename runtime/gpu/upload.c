/* Filling device memory: straight into mapped memory, or through a ring of staging slots. */
#include <string.h>

#include "gpu/vk.h"

struct slot {
    struct vkm_buffer *buffer;
    VkCommandPool pool;
    VkCommandBuffer commands;
    uint64_t busy_until; /* transfer timeline value after which it may be reused */
};

struct vkm_uploader {
    struct vkm_gpu *gpu;
    struct vkm_queue *queue; /* that copies run on */
    struct slot slots[VKM_UPLOAD_SLOTS];
    uint32_t next;
    struct vkm_view target; /* of the write in progress, when it goes through a slot */
};

vkmoe_status vkm_uploader_create(struct vkm_gpu *gpu, struct vkm_uploader **out, vkmoe_error *err)
{
    struct vkm_uploader *u = vkm_calloc(gpu->params.allocator, 1, sizeof(*u));
    if (!u)
        return vkm_fail_memory(err, sizeof(*u), "an uploader");
    u->gpu = gpu;
    u->queue = gpu->transfer.timeline ? &gpu->transfer : &gpu->compute;
    *out = u;
    return VKMOE_OK;
}

/* Slots are made when first needed: a device with mapped memory never needs one. */
static vkmoe_status slot_prepare(struct vkm_uploader *u, struct slot *slot, vkmoe_error *err)
{
    struct vkm_gpu *gpu = u->gpu;
    vkmoe_status status = VKMOE_OK;
    if (!slot->buffer &&
        (status = vkm_buffer_create(gpu, VKM_MEMORY_HOST, VKM_UPLOAD_CHUNK, "the staging ring",
                                    &slot->buffer, err)) != VKMOE_OK)
        return status;
    if (!slot->pool) {
        VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                        .flags = VK_COMMAND_POOL_CREATE_TRANSIENT_BIT,
                                        .queueFamilyIndex = u->queue->family};
        VK_MAKE(&slot->pool, CreateCommandPool(gpu->device, &pool, NULL, &slot->pool));
    }
    if (!slot->commands) {
        VkCommandBufferAllocateInfo info = {
            .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
            .commandPool = slot->pool,
            .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
            .commandBufferCount = 1,
        };
        VK_MAKE(&slot->commands, AllocateCommandBuffers(gpu->device, &info, &slot->commands));
    }
    if (slot->busy_until)
        return vkm_queue_wait(gpu, u->queue, slot->busy_until, err);
fail:
    return status;
}

vkmoe_status vkm_uploader_begin(struct vkm_uploader *u, struct vkm_view view, uint64_t offset,
                                uint64_t size, void **data, vkmoe_error *err)
{
    u->target = vkm_view_slice(view, offset, size);
    if (view.buffer->mapped && !u->gpu->params.force_staging) {
        *data = view.buffer->mapped + u->target.offset;
        return VKMOE_OK;
    }
    struct slot *slot = &u->slots[u->next];
    vkmoe_status status = slot_prepare(u, slot, err);
    if (status == VKMOE_OK)
        *data = slot->buffer->mapped;
    return status;
}

static vkmoe_status copy(struct vkm_uploader *u, struct slot *slot, struct vkm_view from,
                         struct vkm_view to, vkmoe_error *err)
{
    struct vkm_gpu *gpu = u->gpu;
    vkmoe_status status = VKMOE_OK;
    VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
                                      .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT};
    VkBufferCopy region = {.size = to.size};
    VkBuffer source = vkm_view_vk(&from, &region.srcOffset);
    VkBuffer target = vkm_view_vk(&to, &region.dstOffset);
    VkMemoryBarrier2 before = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER_2,
        .srcStageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT,
        .srcAccessMask = VK_ACCESS_2_MEMORY_WRITE_BIT,
        .dstStageMask = VK_PIPELINE_STAGE_2_ALL_TRANSFER_BIT,
        .dstAccessMask = VK_ACCESS_2_TRANSFER_READ_BIT | VK_ACCESS_2_TRANSFER_WRITE_BIT,
    };
    VkMemoryBarrier2 after = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER_2,
        .srcStageMask = VK_PIPELINE_STAGE_2_ALL_TRANSFER_BIT,
        .srcAccessMask = VK_ACCESS_2_TRANSFER_WRITE_BIT,
        .dstStageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT | VK_PIPELINE_STAGE_2_HOST_BIT,
        .dstAccessMask =
            VK_ACCESS_2_MEMORY_READ_BIT | VK_ACCESS_2_MEMORY_WRITE_BIT | VK_ACCESS_2_HOST_READ_BIT,
    };
    VkDependencyInfo dependency = {.sType = VK_STRUCTURE_TYPE_DEPENDENCY_INFO,
                                   .memoryBarrierCount = 1,
                                   .pMemoryBarriers = &before};
    VK(ResetCommandPool(gpu->device, slot->pool, 0));
    VK(BeginCommandBuffer(slot->commands, &begin));
    gpu->vk.CmdPipelineBarrier2(slot->commands, &dependency);
    gpu->vk.CmdCopyBuffer(slot->commands, source, target, 1, &region);
    dependency.pMemoryBarriers = &after;
    gpu->vk.CmdPipelineBarrier2(slot->commands, &dependency);
    VK(EndCommandBuffer(slot->commands));
    status = vkm_queue_submit(gpu, u->queue, slot->commands, &slot->busy_until, err);
fail:
    return status;
}

vkmoe_status vkm_uploader_end(struct vkm_uploader *u, vkmoe_error *err)
{
    if (u->target.buffer->mapped && !u->gpu->params.force_staging)
        return VKMOE_OK;
    struct slot *slot = &u->slots[u->next];
    u->next = (u->next + 1) % VKM_UPLOAD_SLOTS;
    struct vkm_view from = {slot->buffer, 0, u->target.size};
    return copy(u, slot, from, u->target, err);
}

vkmoe_status vkm_uploader_write(struct vkm_uploader *u, struct vkm_view view, const void *data,
                                uint64_t size, vkmoe_error *err)
{
    for (uint64_t done = 0; done < size;) {
        uint64_t n = size - done < VKM_UPLOAD_CHUNK ? size - done : VKM_UPLOAD_CHUNK;
        void *to;
        vkmoe_status status = vkm_uploader_begin(u, view, done, n, &to, err);
        if (status != VKMOE_OK)
            return status;
        memcpy(to, (const unsigned char *)data + done, (size_t)n);
        if ((status = vkm_uploader_end(u, err)) != VKMOE_OK)
            return status;
        done += n;
    }
    return VKMOE_OK;
}

vkmoe_status vkm_uploader_flush(struct vkm_uploader *u, vkmoe_error *err)
{
    struct vkm_gpu *gpu = u->gpu;
    struct vkm_queue *queue = u->queue;
    uint64_t last = 0;
    for (int i = 0; i < (int)VKM_UPLOAD_SLOTS; i++) {
        if (u->slots[i].busy_until > last)
            last = u->slots[i].busy_until;
        u->slots[i].busy_until = 0;
    }
    if (last == 0)
        return VKMOE_OK;
    if (queue == &gpu->transfer) {
        pthread_mutex_lock(&gpu->submit_lock);
        gpu->upload_done = last > gpu->upload_done ? last : gpu->upload_done;
        pthread_mutex_unlock(&gpu->submit_lock);
    }
    return vkm_queue_wait(gpu, queue, last, err);
}

void vkm_uploader_destroy(struct vkm_uploader *u)
{
    if (!u)
        return;
    struct vkm_gpu *gpu = u->gpu;
    if (!gpu->lost)
        (void)vkm_uploader_flush(u, NULL);
    bool settled = vkm_gpu_settle(gpu);
    for (int i = 0; i < (int)VKM_UPLOAD_SLOTS; i++) {
        if (u->slots[i].pool && settled)
            gpu->vk.DestroyCommandPool(gpu->device, u->slots[i].pool, NULL);
        vkm_buffer_destroy(gpu, u->slots[i].buffer);
    }
    vkm_free(gpu->params.allocator, u);
}

vkmoe_status vkm_buffer_read(struct vkm_gpu *gpu, struct vkm_view view, void *data,
                             vkmoe_error *err)
{
    if (view.buffer->mapped && !gpu->params.force_staging) {
        memcpy(data, view.buffer->mapped + view.offset, (size_t)view.size);
        return VKMOE_OK;
    }
    struct vkm_uploader *u;
    vkmoe_status status = vkm_uploader_create(gpu, &u, err);
    if (status != VKMOE_OK)
        return status;
    struct slot *slot = &u->slots[0];
    u->queue = &gpu->compute; /* which wrote it, so that a barrier suffices */
    for (uint64_t done = 0; done < view.size && status == VKMOE_OK;) {
        uint64_t n = view.size - done < VKM_UPLOAD_CHUNK ? view.size - done : VKM_UPLOAD_CHUNK;
        if ((status = slot_prepare(u, slot, err)) != VKMOE_OK)
            break;
        struct vkm_view to = {slot->buffer, 0, n};
        status = copy(u, slot, vkm_view_slice(view, done, n), to, err);
        if (status == VKMOE_OK)
            status = vkm_queue_wait(gpu, u->queue, slot->busy_until, err);
        slot->busy_until = 0;
        if (status == VKMOE_OK)
            memcpy((unsigned char *)data + done, slot->buffer->mapped, (size_t)n);
        done += n;
    }
    vkm_uploader_destroy(u);
    return status;
}
