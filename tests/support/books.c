#include "books.h"

static VkDeviceSize asked_for; /* of the newest buffer */

static VKAPI_ATTR VkResult VKAPI_CALL create_buffer(VkDevice device, const VkBufferCreateInfo *info,
                                                    const VkAllocationCallbacks *callbacks,
                                                    VkBuffer *buffer)
{
    (void)device, (void)callbacks;
    asked_for = info->size;
    *buffer = VK_NULL_HANDLE;
    return VK_SUCCESS;
}

static VKAPI_ATTR void VKAPI_CALL get_requirements(VkDevice device, VkBuffer buffer,
                                                   VkMemoryRequirements *needs)
{
    (void)device, (void)buffer;
    *needs = (VkMemoryRequirements){.size = asked_for, .alignment = 256, .memoryTypeBits = 0xf};
}

void books_gpu(struct vkm_gpu *gpu, uint64_t local, uint64_t host, const struct vkm_kernel_set *set)
{
    const VkMemoryPropertyFlags mapped =
        VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    VkPhysicalDeviceMemoryProperties *m = &gpu->memory_properties;
    *gpu = (struct vkm_gpu){.set = set};
    gpu->vk.CreateBuffer = create_buffer;
    gpu->vk.GetBufferMemoryRequirements = get_requirements;
    gpu->info = (vkmoe_device_info){
        .kind = VKMOE_DEVICE_DISCRETE, .max_allocation = UINT64_C(4) << 30, .n_heaps = BOOKS_HEAPS};
    gpu->info.heaps[BOOKS_LOCAL] = (vkmoe_heap_info){local, local, true};
    gpu->info.heaps[BOOKS_HOST] = (vkmoe_heap_info){host, host, false};
    for (int i = 0; i < 3; i++)
        gpu->caps.max_groups[i] = 65535;
    m->memoryHeapCount = BOOKS_HEAPS;
    m->memoryHeaps[BOOKS_LOCAL] = (VkMemoryHeap){local, VK_MEMORY_HEAP_DEVICE_LOCAL_BIT};
    m->memoryHeaps[BOOKS_HOST] = (VkMemoryHeap){host, 0};
    m->memoryTypeCount = 4;
    m->memoryTypes[0] = (VkMemoryType){VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, BOOKS_LOCAL};
    m->memoryTypes[1] = (VkMemoryType){VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT | mapped, BOOKS_LOCAL};
    m->memoryTypes[2] = (VkMemoryType){mapped, BOOKS_HOST};
    m->memoryTypes[3] = (VkMemoryType){mapped | VK_MEMORY_PROPERTY_HOST_CACHED_BIT, BOOKS_HOST};
    pthread_mutex_init(&gpu->memory_lock, NULL);
    pthread_mutex_init(&gpu->submit_lock, NULL);
}
