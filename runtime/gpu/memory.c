/* Device memory: blocks of at most 1 GiB, each with one Vulkan buffer over it, cut into buffers. */
#include <string.h>

#include "base/array.h"
#include "gpu/block.h"

#define MAX_BLOCK (UINT64_C(1) << 30)
#define SHARED_MIN (UINT64_C(2) << 20)  /* blocks that small requests share, from the first ... */
#define SHARED_MAX (UINT64_C(64) << 20) /* ... to those of a large model */
#define ALIGNMENT UINT64_C(256)

uint64_t vkm_gpu_max_buffer(const struct vkm_gpu *gpu)
{
    uint64_t limit = gpu->info.max_allocation;
    return limit < MAX_BLOCK ? limit : MAX_BLOCK;
}

void vkm_gpu_ignore_budget(struct vkm_gpu *gpu, bool ignore)
{
    gpu->ignore_budget = ignore;
}

void vkm_gpu_limit_growth(struct vkm_gpu *gpu, uint64_t bytes)
{
    gpu->limited = bytes < UINT64_MAX;
    for (uint32_t i = 0; i < VK_MAX_MEMORY_HEAPS; i++)
        gpu->heap_limit[i] = gpu->heap_used[i] + bytes;
}

void vkm_memory_init(struct vkm_gpu *gpu)
{
    if (gpu->reference) { /* the host's memory, of which nothing is refused */
        gpu->memory_properties.memoryHeapCount = gpu->info.n_heaps;
        gpu->memory_properties.memoryHeaps[0].size = gpu->info.heaps[0].size;
        return;
    }
    VkPhysicalDeviceMemoryProperties2 properties = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2};
    gpu->vk.GetPhysicalDeviceMemoryProperties2(gpu->physical, &properties);
    gpu->memory_properties = properties.memoryProperties;
}

static void block_destroy(struct vkm_gpu *gpu, struct vkm_block *block)
{
    const vkmoe_allocator *a = gpu->params.allocator;
    bool settled = vkm_gpu_settle(gpu);
    if (block->buffer && settled)
        gpu->vk.DestroyBuffer(gpu->device, block->buffer, NULL);
    if (block->memory && settled)
        gpu->vk.FreeMemory(gpu->device, block->memory, NULL);
    if (settled)
        vkm_block_unmap(block);
    if (block->booked && settled)
        gpu->heap_used[block->heap] -= block->size;
    vkm_free(a, block->host);
    vkm_free(a, block->free.items);
    vkm_free(a, block);
}

void vkm_memory_finish(struct vkm_gpu *gpu)
{
    for (size_t i = 0; i < gpu->blocks.count; i++)
        block_destroy(gpu, gpu->blocks.items[i]);
    vkm_free(gpu->params.allocator, gpu->blocks.items);
    gpu->blocks.items = NULL;
    gpu->blocks.count = 0;
}

uint64_t vkm_heap_left(struct vkm_gpu *gpu, uint32_t heap)
{
    uint64_t size = gpu->memory_properties.memoryHeaps[heap].size;
    uint64_t used = gpu->heap_used[heap];
    if (gpu->memory_budget) {
        VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = {
            .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
        VkPhysicalDeviceMemoryProperties2 memory = {
            .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2, .pNext = &budget};
        gpu->vk.GetPhysicalDeviceMemoryProperties2(gpu->physical, &memory);
        size = budget.heapBudget[heap];
        if (budget.heapUsage[heap] > used)
            used = budget.heapUsage[heap];
    }
    uint64_t left = size > used ? size - used : 0;
    if (!gpu->limited)
        return left;
    uint64_t own = gpu->heap_used[heap], limit = gpu->heap_limit[heap];
    uint64_t granted = limit > own ? limit - own : 0;
    return granted < left ? granted : left;
}

/* How well a memory type suits; negative: not at all. */
static int type_score(const struct vkm_gpu *gpu, VkMemoryPropertyFlags flags, enum vkm_memory kind)
{
    const VkMemoryPropertyFlags mappable =
        VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    bool mapped = (flags & mappable) == mappable;
    bool local = (flags & VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT) != 0;
    bool cached = (flags & VK_MEMORY_PROPERTY_HOST_CACHED_BIT) != 0;
    bool unified = gpu->info.kind != VKMOE_DEVICE_DISCRETE;
    if (flags & (VK_MEMORY_PROPERTY_LAZILY_ALLOCATED_BIT | VK_MEMORY_PROPERTY_PROTECTED_BIT |
                 VK_MEMORY_PROPERTY_DEVICE_COHERENT_BIT_AMD))
        return -1;
    if (kind == VKM_MEMORY_HOST)
        return mapped ? 4 + 2 * cached + (local == unified) : -1;
    if (kind == VKM_MEMORY_SHARED)
        return mapped ? 4 + 2 * local + (unified && cached) : -1;
    if (gpu->params.host_visible && !mapped)
        return -1;
    return 4 * local + 2 * (mapped == unified) + (unified && cached);
}

/* Creates the buffer of a block; its memory requirements go to *needs. */
static vkmoe_status create_buffer(struct vkm_gpu *gpu, struct vkm_block *block,
                                  VkMemoryRequirements *needs, vkmoe_error *err)
{
    vkmoe_status status = VKMOE_OK;
    uint32_t families[2] = {gpu->compute.family, gpu->transfer.family};
    bool shared = families[0] != families[1];
    VkExternalMemoryBufferCreateInfo external = {
        .sType = VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO,
        .handleTypes = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT};
    VkBufferCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
        .pNext = gpu->imports ? &external : NULL,
        .size = block->size,
        .usage = VKM_BLOCK_USAGE,
        .sharingMode = shared ? VK_SHARING_MODE_CONCURRENT : VK_SHARING_MODE_EXCLUSIVE,
        .queueFamilyIndexCount = shared ? 2 : 0,
        .pQueueFamilyIndices = families,
    };
    VK_MAKE(&block->buffer, CreateBuffer(gpu->device, &info, NULL, &block->buffer));
    gpu->vk.GetBufferMemoryRequirements(gpu->device, block->buffer, needs);
fail:
    return status;
}

static void book(struct vkm_gpu *gpu, struct vkm_block *block, uint32_t heap)
{
    block->heap = heap;
    block->booked = true;
    gpu->heap_used[heap] += block->size;
}

/* Tries one memory type; a refusal leaves the block without memory. */
static VkResult allocate_type(struct vkm_gpu *gpu, struct vkm_block *block, uint64_t size,
                              uint32_t type)
{
    VkMemoryAllocateFlagsInfo flags = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO,
        .flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT,
    };
    VkMemoryAllocateInfo info = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
        .pNext = &flags,
        .allocationSize = size,
        .memoryTypeIndex = type,
    };
    uint32_t heap = gpu->memory_properties.memoryTypes[type].heapIndex;
    if (!gpu->ignore_budget && vkm_heap_left(gpu, heap) < size)
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    VkResult result = VK_SUCCESS;
    if (!gpu->rehearsal && !vkm_block_import(gpu, block, &info))
        result = gpu->vk.AllocateMemory(gpu->device, &info, NULL, &block->memory);
    if (result < 0)
        block->memory = VK_NULL_HANDLE;
    else
        book(gpu, block, heap);
    return result;
}

/* The best of these memory types; negative where none will do. */
static int best_type(const struct vkm_gpu *gpu, uint32_t types, enum vkm_memory kind)
{
    int best = -1, best_score = -1;
    for (uint32_t i = 0; i < gpu->memory_properties.memoryTypeCount; i++) {
        VkMemoryPropertyFlags flags = gpu->memory_properties.memoryTypes[i].propertyFlags;
        int score = type_score(gpu, flags, kind);
        if ((types >> i & 1) && score > best_score) {
            best = (int)i;
            best_score = score;
        }
    }
    return best;
}

/* Goes through the allowed memory types, best first; *flags are those of the type that was had. A
 * rehearsal keeps what is for the device on the device, and overfills the best heap where none has
 * room. */
static VkResult allocate_best(struct vkm_gpu *gpu, struct vkm_block *block,
                              const VkMemoryRequirements *needs, VkMemoryPropertyFlags *flags)
{
    const VkMemoryType *types = gpu->memory_properties.memoryTypes;
    VkResult result = VK_ERROR_OUT_OF_DEVICE_MEMORY;
    uint32_t left = needs->memoryTypeBits;
    int first = best_type(gpu, left, block->kind), best;
    while (!block->booked && (best = best_type(gpu, left, block->kind)) >= 0) {
        left &= ~(1u << best);
        if (gpu->rehearsal && block->kind == VKM_MEMORY_DEVICE &&
            !(types[best].propertyFlags & VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT))
            continue;
        result = allocate_type(gpu, block, needs->size, (uint32_t)best);
        *flags = types[best].propertyFlags;
    }
    if (gpu->rehearsal && !block->booked && first >= 0) {
        book(gpu, block, types[first].heapIndex);
        *flags = types[first].propertyFlags;
        result = VK_SUCCESS;
    }
    return result;
}

static vkmoe_status fail_full(struct vkm_gpu *gpu, uint64_t size, const char *what,
                              vkmoe_error *err)
{
    uint64_t largest = 0;
    for (uint32_t i = 0; i < gpu->memory_properties.memoryHeapCount; i++) {
        uint64_t left = vkm_heap_left(gpu, i);
        if (left > largest)
            largest = left;
    }
    return vkm_fail(err, VKMOE_OUT_OF_DEVICE_MEMORY,
                    "%s has no room for %s: %.1f MiB needed, %.1f MiB left in its largest heap",
                    gpu->info.name, what, (double)size / 0x1p20, (double)largest / 0x1p20);
}

static vkmoe_status block_fill(struct vkm_gpu *gpu, struct vkm_block *block, const char *what,
                               vkmoe_error *err)
{
    VkMemoryRequirements needs = {0};
    vkmoe_status status = create_buffer(gpu, block, &needs, err);
    if (status != VKMOE_OK)
        return status;
    VkMemoryPropertyFlags flags = 0;
    VkResult result = allocate_best(gpu, block, &needs, &flags);
    if (result == VK_ERROR_OUT_OF_DEVICE_MEMORY)
        return fail_full(gpu, block->size, what, err);
    if (!block->booked)
        return vkm_vk_fail(gpu, err, result, "AllocateMemory", __FILE__, __LINE__);
    block->visible = (flags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) &&
                     (flags & VK_MEMORY_PROPERTY_HOST_COHERENT_BIT);
    if (gpu->rehearsal)
        return VKMOE_OK;
    VK(BindBufferMemory(gpu->device, block->buffer, block->memory, 0));
    if (block->visible) {
        void *mapped;
        VK(MapMemory(gpu->device, block->memory, 0, VK_WHOLE_SIZE, 0, &mapped));
        block->mapped = mapped;
    }
    VkBufferDeviceAddressInfo address = {.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO,
                                         .buffer = block->buffer};
    block->address = gpu->vk.GetBufferDeviceAddress(gpu->device, &address);
    /* Mesa's CPU driver grants what it then fails to map. */
    if (block->address == 0 || block->address == UINT64_MAX)
        return vkm_fail(err, VKMOE_OUT_OF_DEVICE_MEMORY,
                        "%s has no room for %s: it granted %.1f MiB, but has no address for them",
                        gpu->info.name, what, (double)block->size / 0x1p20);
    if (block->address % ALIGNMENT != 0)
        return vkm_fail(err, VKMOE_DRIVER, "%s placed a buffer at address %llx, not aligned to %u",
                        gpu->info.name, (unsigned long long)block->address, (unsigned)ALIGNMENT);
fail:
    return status;
}

/* The reference's memory: the address is where the bytes are. */
static vkmoe_status block_fill_host(struct vkm_gpu *gpu, struct vkm_block *block, const char *what,
                                    vkmoe_error *err)
{
    block->visible = true;
    if (gpu->rehearsal) {
        book(gpu, block, 0);
        return VKMOE_OK;
    }
    block->host = vkm_calloc(gpu->params.allocator, (size_t)(block->size + ALIGNMENT), 1);
    if (!block->host)
        return vkm_fail_memory(err, (size_t)block->size, what);
    book(gpu, block, 0);
    block->address = vkm_align_up((uint64_t)(uintptr_t)block->host, ALIGNMENT);
    block->mapped = (unsigned char *)(uintptr_t)block->address;
    return VKMOE_OK;
}

static vkmoe_status block_create(struct vkm_gpu *gpu, enum vkm_memory kind, uint64_t size,
                                 const char *what, struct vkm_block **out, vkmoe_error *err)
{
    const vkmoe_allocator *a = gpu->params.allocator;
    struct vkm_block *block = vkm_calloc(a, 1, sizeof(*block));
    if (!block || !VKM_ARRAY_RESERVE(a, &block->free, 1) ||
        !VKM_ARRAY_RESERVE(a, &gpu->blocks, 1)) {
        if (block)
            vkm_free(a, block->free.items);
        vkm_free(a, block);
        return vkm_fail_memory(err, sizeof(*block), what);
    }
    block->kind = kind;
    block->size = size;
    block->free.items[block->free.count++] = (struct vkm_range){0, size};
    vkmoe_status status =
        gpu->reference ? block_fill_host(gpu, block, what, err) : block_fill(gpu, block, what, err);
    if (status != VKMOE_OK) {
        block_destroy(gpu, block);
        return status;
    }
    gpu->blocks.items[gpu->blocks.count++] = block;
    *out = block;
    return VKMOE_OK;
}

static void drop_block(struct vkm_gpu *gpu, struct vkm_block *block)
{
    for (size_t i = 0; i < gpu->blocks.count; i++) {
        if (gpu->blocks.items[i] == block) {
            gpu->blocks.items[i] = gpu->blocks.items[--gpu->blocks.count];
            break;
        }
    }
    block_destroy(gpu, block);
}

/* First fit; false when no free range is large enough. */
static bool block_take(struct vkm_block *block, uint64_t size, uint64_t *offset)
{
    for (size_t i = 0; i < block->free.count; i++) {
        struct vkm_range *r = &block->free.items[i];
        if (r->size < size)
            continue;
        *offset = r->offset;
        r->offset += size;
        r->size -= size;
        if (r->size == 0) {
            memmove(r, r + 1, (block->free.count - i - 1) * sizeof(*r));
            block->free.count--;
        }
        return true;
    }
    return false;
}

/* The free list has room for it: reserve_return saw to that. */
static void block_give(struct vkm_block *block, uint64_t offset, uint64_t size)
{
    struct vkm_range *items = block->free.items;
    size_t i = 0;
    while (i < block->free.count && items[i].offset < offset)
        i++;
    bool joins_before = i > 0 && items[i - 1].offset + items[i - 1].size == offset;
    bool joins_after = i < block->free.count && offset + size == items[i].offset;
    if (joins_before && joins_after) {
        items[i - 1].size += size + items[i].size;
        memmove(&items[i], &items[i + 1], (block->free.count - i - 1) * sizeof(*items));
        block->free.count--;
    } else if (joins_before) {
        items[i - 1].size += size;
    } else if (joins_after) {
        items[i].offset = offset;
        items[i].size += size;
    } else {
        memmove(&items[i + 1], &items[i], (block->free.count - i) * sizeof(*items));
        items[i] = (struct vkm_range){offset, size};
        block->free.count++;
    }
}

/* Each living buffer may leave one more free range behind, and giving back must not fail. */
static bool reserve_return(struct vkm_gpu *gpu, struct vkm_block *block)
{
    size_t wanted = block->live + 2;
    size_t extra = wanted > block->free.count ? wanted - block->free.count : 0;
    return VKM_ARRAY_RESERVE(gpu->params.allocator, &block->free, extra);
}

/* Shared blocks grow with what is held already, so a small model wastes little and a large one does
 * not need many. */
static uint64_t shared_block_size(const struct vkm_gpu *gpu, enum vkm_memory kind)
{
    uint64_t held = 0, size = SHARED_MIN;
    for (size_t i = 0; i < gpu->blocks.count; i++)
        held += gpu->blocks.items[i]->kind == kind ? gpu->blocks.items[i]->size : 0;
    while (size < SHARED_MAX && size < held / 4)
        size *= 2;
    return size;
}

static vkmoe_status take(struct vkm_gpu *gpu, enum vkm_memory kind, uint64_t size, const char *what,
                         struct vkm_buffer *buffer, vkmoe_error *err)
{
    struct vkm_block *block = NULL;
    uint64_t shared_size = shared_block_size(gpu, kind);
    bool shared = size < shared_size / 2 && !gpu->reference;
    for (size_t i = 0; i < gpu->blocks.count && shared && !block; i++) {
        struct vkm_block *candidate = gpu->blocks.items[i];
        if (candidate->kind == kind && block_take(candidate, size, &buffer->block_offset))
            block = candidate;
    }
    if (!block) {
        vkmoe_status status = VKMOE_OUT_OF_DEVICE_MEMORY;
        if (shared)
            status = block_create(gpu, kind, shared_size, what, &block, NULL);
        if (status != VKMOE_OK)
            status = block_create(gpu, kind, size, what, &block, err);
        if (status != VKMOE_OK)
            return status;
        block_take(block, size, &buffer->block_offset);
    }
    if (!reserve_return(gpu, block)) {
        block_give(block, buffer->block_offset, size);
        if (block->live == 0)
            drop_block(gpu, block);
        return vkm_fail_memory(err, size, what);
    }
    block->live++;
    buffer->block = block;
    buffer->mapped = block->mapped ? block->mapped + buffer->block_offset : NULL;
    buffer->address = block->address + buffer->block_offset;
    return VKMOE_OK;
}

vkmoe_status vkm_buffer_create(struct vkm_gpu *gpu, enum vkm_memory memory, uint64_t size,
                               const char *what, struct vkm_buffer **out, vkmoe_error *err)
{
    uint64_t rounded = vkm_align_up(size ? size : 1, ALIGNMENT);
    if (size > vkm_gpu_max_buffer(gpu))
        return vkm_fail(
            err, VKMOE_UNSUPPORTED, "%s needs %.1f MiB in one piece; %s grants at most %.1f MiB",
            what, (double)size / 0x1p20, gpu->info.name, (double)vkm_gpu_max_buffer(gpu) / 0x1p20);
    struct vkm_buffer *buffer = vkm_calloc(gpu->params.allocator, 1, sizeof(*buffer));
    if (!buffer)
        return vkm_fail_memory(err, sizeof(*buffer), what);
    buffer->size = size;
    pthread_mutex_lock(&gpu->memory_lock);
    vkmoe_status status = take(gpu, memory, rounded, what, buffer, err);
    pthread_mutex_unlock(&gpu->memory_lock);
    if (status != VKMOE_OK) {
        vkm_free(gpu->params.allocator, buffer);
        return status;
    }
    *out = buffer;
    return VKMOE_OK;
}

void vkm_buffer_destroy(struct vkm_gpu *gpu, struct vkm_buffer *buffer)
{
    if (!buffer)
        return;
    struct vkm_block *block = buffer->block;
    pthread_mutex_lock(&gpu->memory_lock);
    block_give(block, buffer->block_offset,
               vkm_align_up(buffer->size ? buffer->size : 1, ALIGNMENT));
    if (--block->live == 0)
        drop_block(gpu, block);
    pthread_mutex_unlock(&gpu->memory_lock);
    vkm_free(gpu->params.allocator, buffer);
}

struct vkm_view vkm_buffer_view(struct vkm_buffer *buffer)
{
    return (struct vkm_view){buffer, 0, buffer->size};
}

struct vkm_view vkm_view_slice(struct vkm_view view, uint64_t offset, uint64_t size)
{
    return (struct vkm_view){view.buffer, view.offset + offset, size};
}

VkBuffer vkm_view_vk(const struct vkm_view *view, VkDeviceSize *offset)
{
    const struct vkm_block *block = view->buffer->block;
    *offset = view->buffer->block_offset + view->offset;
    return block->buffer;
}

/* The lock is no part of what const promises to leave alone. */
static pthread_mutex_t *memory_lock(const struct vkm_gpu *gpu)
{
    return (pthread_mutex_t *)(uintptr_t)&gpu->memory_lock;
}

uint64_t vkm_gpu_memory_used(const struct vkm_gpu *gpu)
{
    uint64_t used = 0;
    pthread_mutex_lock(memory_lock(gpu));
    for (size_t i = 0; i < gpu->blocks.count; i++)
        used += gpu->blocks.items[i]->size;
    pthread_mutex_unlock(memory_lock(gpu));
    return used;
}

const void *vkm_gpu_resolve(const struct vkm_gpu *gpu, uint64_t address)
{
    const unsigned char *found = NULL;
    pthread_mutex_lock(memory_lock(gpu));
    for (size_t i = 0; i < gpu->blocks.count && !found; i++) {
        const struct vkm_block *block = gpu->blocks.items[i];
        if (block->mapped && address >= block->address && address - block->address < block->size)
            found = block->mapped + (address - block->address);
    }
    pthread_mutex_unlock(memory_lock(gpu));
    return found;
}
