/* What memory is in use, and devices that only keep the books. */
#include <string.h>

#include "base/array.h"
#include "gpu/block.h"

/* The lock is no part of what const promises to leave alone. */
static pthread_mutex_t *lock(const struct vkm_gpu *gpu)
{
    return (pthread_mutex_t *)(uintptr_t)&gpu->memory_lock;
}

void vkm_gpu_heap_use(const struct vkm_gpu *gpu, uint32_t heap, struct vkm_heap_use *use)
{
    *use = (struct vkm_heap_use){0};
    pthread_mutex_lock(lock(gpu));
    for (size_t i = 0; i < gpu->blocks.count; i++) {
        const struct vkm_block *block = gpu->blocks.items[i];
        if (block->heap != heap)
            continue;
        use->blocks += block->size;
        use->buffers += block->size;
        for (size_t j = 0; j < block->free.count; j++)
            use->buffers -= block->free.items[j].size;
    }
    use->left = vkm_heap_left((struct vkm_gpu *)(uintptr_t)gpu, heap);
    pthread_mutex_unlock(lock(gpu));
}

uint64_t vkm_gpu_kind_used(const struct vkm_gpu *gpu, enum vkm_memory kind)
{
    uint64_t used = 0;
    pthread_mutex_lock(lock(gpu));
    for (size_t i = 0; i < gpu->blocks.count; i++)
        used += gpu->blocks.items[i]->kind == kind ? gpu->blocks.items[i]->size : 0;
    pthread_mutex_unlock(lock(gpu));
    return used;
}

bool vkm_gpu_stages(const struct vkm_gpu *gpu)
{
    bool stages = gpu->params.force_staging && !gpu->reference;
    pthread_mutex_lock(lock(gpu));
    for (size_t i = 0; i < gpu->blocks.count; i++)
        stages |= gpu->blocks.items[i]->kind == VKM_MEMORY_DEVICE && !gpu->blocks.items[i]->visible;
    pthread_mutex_unlock(lock(gpu));
    return stages;
}

/* --- rehearsals --- */

/* The same books; what lies in the block is not part of them. */
static bool clone_block(struct vkm_gpu *r, const struct vkm_block *from)
{
    const vkmoe_allocator *a = r->params.allocator;
    struct vkm_block *block = vkm_calloc(a, 1, sizeof(*block));
    if (!block || !VKM_ARRAY_RESERVE(a, &block->free, from->free.count + 1) ||
        !VKM_ARRAY_RESERVE(a, &r->blocks, 1)) {
        if (block)
            vkm_free(a, block->free.items);
        vkm_free(a, block);
        return false;
    }
    block->size = from->size;
    block->kind = from->kind;
    block->heap = from->heap;
    block->booked = from->booked;
    block->visible = from->visible;
    block->live = from->live;
    block->free.count = from->free.count;
    memcpy(block->free.items, from->free.items, from->free.count * sizeof(*from->free.items));
    r->blocks.items[r->blocks.count++] = block;
    return true;
}

/* What is free now stays all there is: other programs' use is not asked for again. */
static bool clone_memory(struct vkm_gpu *r, struct vkm_gpu *gpu)
{
    bool room = true;
    pthread_mutex_lock(&gpu->memory_lock);
    r->memory_properties = gpu->memory_properties;
    for (uint32_t i = 0; i < r->memory_properties.memoryHeapCount; i++) {
        r->heap_used[i] = gpu->heap_used[i];
        r->memory_properties.memoryHeaps[i].size = gpu->heap_used[i] + vkm_heap_left(gpu, i);
    }
    for (size_t i = 0; i < gpu->blocks.count && room; i++)
        room = clone_block(r, gpu->blocks.items[i]);
    pthread_mutex_unlock(&gpu->memory_lock);
    return room;
}

vkmoe_status vkm_gpu_rehearse(struct vkm_gpu *gpu, struct vkm_gpu **out, vkmoe_error *err)
{
    struct vkm_gpu *r = vkm_calloc(gpu->params.allocator, 1, sizeof(*r));
    if (!r)
        return vkm_fail_memory(err, sizeof(*r), "a rehearsal");
    r->params = gpu->params;
    r->set = gpu->set;
    r->reference = gpu->reference;
    r->imports = gpu->imports;
    r->rehearsal = true;
    r->caps = gpu->caps;
    r->info = gpu->info;
    r->vk = gpu->vk;
    r->device = gpu->device;
    r->compute.family = gpu->compute.family;
    r->transfer.family = gpu->transfer.family;
    pthread_mutex_init(&r->submit_lock, NULL);
    pthread_mutex_init(&r->memory_lock, NULL);
    if (!clone_memory(r, gpu)) {
        vkm_gpu_rehearsal_end(r);
        return vkm_fail_memory(err, sizeof(*r), "a rehearsal");
    }
    *out = r;
    return VKMOE_OK;
}

void vkm_gpu_rehearsal_end(struct vkm_gpu *rehearsal)
{
    if (!rehearsal)
        return;
    vkm_memory_finish(rehearsal);
    pthread_mutex_destroy(&rehearsal->submit_lock);
    pthread_mutex_destroy(&rehearsal->memory_lock);
    vkm_free(rehearsal->params.allocator, rehearsal);
}
