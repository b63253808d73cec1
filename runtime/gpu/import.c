/* Memory that this process maps and a driver for its own processor takes as the device's
 * (VK_EXT_external_memory_host). A private page costs half of what one of the shared file takes
 * that Mesa would make, both to fill and to give back. */
#include <sys/mman.h>
#include <unistd.h>

#include "gpu/block.h"

#define HOST_ALLOCATION VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT

/* Whether blocks' buffers may lie in such memory. */
static bool takes_buffers(const struct vkm_gpu *gpu)
{
    VkPhysicalDeviceExternalBufferInfo info = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_BUFFER_INFO,
        .usage = VKM_BLOCK_USAGE,
        .handleType = HOST_ALLOCATION,
    };
    VkExternalBufferProperties buffers = {.sType = VK_STRUCTURE_TYPE_EXTERNAL_BUFFER_PROPERTIES};
    gpu->vk.GetPhysicalDeviceExternalBufferProperties(gpu->physical, &info, &buffers);
    VkExternalMemoryFeatureFlags features = buffers.externalMemoryProperties.externalMemoryFeatures;
    return (features & VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT) &&
           !(features & VK_EXTERNAL_MEMORY_FEATURE_DEDICATED_ONLY_BIT);
}

bool vkm_import_is_offered(const struct vkm_gpu *gpu)
{
    VkPhysicalDeviceExternalMemoryHostPropertiesEXT host = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_MEMORY_HOST_PROPERTIES_EXT};
    VkPhysicalDeviceProperties2 properties = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &host};
    if (gpu->info.kind != VKMOE_DEVICE_CPU ||
        !vkm_device_has_extension(&gpu->params, &gpu->vk, gpu->physical,
                                  VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME))
        return false;
    gpu->vk.GetPhysicalDeviceProperties2(gpu->physical, &properties);
    uint64_t alignment = host.minImportedHostPointerAlignment;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    return alignment > 0 && page % alignment == 0 && takes_buffers(gpu);
}

/* Lets the driver take the pages; false where it does not want to. */
static bool hand_over(struct vkm_gpu *gpu, struct vkm_block *block,
                      const VkMemoryAllocateInfo *info, void *pages, uint64_t size)
{
    VkMemoryHostPointerPropertiesEXT properties = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_HOST_POINTER_PROPERTIES_EXT};
    VkImportMemoryHostPointerInfoEXT import = {
        .sType = VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT,
        .pNext = info->pNext,
        .handleType = HOST_ALLOCATION,
        .pHostPointer = pages,
    };
    VkMemoryAllocateInfo imported = *info;
    imported.pNext = &import;
    imported.allocationSize = size;
    VkResult result =
        gpu->vk.GetMemoryHostPointerPropertiesEXT(gpu->device, HOST_ALLOCATION, pages, &properties);
    if (result < 0 || !(properties.memoryTypeBits >> info->memoryTypeIndex & 1))
        return false;
    result = gpu->vk.AllocateMemory(gpu->device, &imported, NULL, &block->memory);
    if (result < 0)
        block->memory = VK_NULL_HANDLE;
    return result >= 0;
}

bool vkm_block_import(struct vkm_gpu *gpu, struct vkm_block *block,
                      const VkMemoryAllocateInfo *info)
{
    if (!gpu->imports)
        return false;
    uint64_t size = vkm_align_up(info->allocationSize, (uint64_t)sysconf(_SC_PAGESIZE));
    void *pages =
        mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED)
        return false;
    if (!hand_over(gpu, block, info, pages, size)) {
        munmap(pages, (size_t)size);
        return false;
    }
    block->pages = pages;
    block->pages_size = (size_t)size;
    return true;
}

void vkm_block_unmap(struct vkm_block *block)
{
    if (block->pages)
        munmap(block->pages, block->pages_size);
    block->pages = NULL;
}
