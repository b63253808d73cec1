#include "null_driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "gpu/vk.h"

/* --- what the device says of itself --- */

static VkPhysicalDeviceType kind; /* which of the three devices it is */

/* All memory is mapped, and there is one queue. */
static bool unified(void)
{
    return kind != VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
}

static const VkMemoryHeap heaps[] = {{UINT64_C(1) << 32, VK_MEMORY_HEAP_DEVICE_LOCAL_BIT},
                                     {UINT64_C(1) << 33, 0}};
static const VkMemoryType types[] = {
    {VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, 0},
    {VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT |
         VK_MEMORY_PROPERTY_HOST_CACHED_BIT,
     1},
};
static const VkQueueFamilyProperties families[] = {
    {VK_QUEUE_GRAPHICS_BIT | VK_QUEUE_COMPUTE_BIT | VK_QUEUE_TRANSFER_BIT, 1, 64, {1, 1, 1}},
    {VK_QUEUE_TRANSFER_BIT, 1, 64, {1, 1, 1}},
};

/* The member of that type in a chain of structures, or NULL. */
static void *chained(void *chain, VkStructureType type)
{
    VkBaseOutStructure *s = chain;
    while (s && s->sType != type)
        s = s->pNext;
    return s;
}

static VKAPI_ATTR void VKAPI_CALL null_GetPhysicalDeviceProperties2(VkPhysicalDevice device,
                                                                    VkPhysicalDeviceProperties2 *p)
{
    VkPhysicalDeviceVulkan11Properties *v11 =
        chained(p->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES);
    VkPhysicalDeviceVulkan12Properties *v12 =
        chained(p->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES);
    VkPhysicalDeviceVulkan13Properties *v13 =
        chained(p->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_PROPERTIES);
    VkPhysicalDeviceExternalMemoryHostPropertiesEXT *host =
        chained(p->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_MEMORY_HOST_PROPERTIES_EXT);
    VkPhysicalDeviceLimits *limits = &p->properties.limits;
    p->properties.apiVersion = VK_API_VERSION_1_3;
    p->properties.deviceType = kind;
    snprintf(p->properties.deviceName, sizeof(p->properties.deviceName), "null device");
    for (int i = 0; i < 3; i++)
        limits->maxComputeWorkGroupCount[i] = 65535;
    limits->maxComputeWorkGroupSize[0] = limits->maxComputeWorkGroupInvocations = 1024;
    limits->maxComputeSharedMemorySize = 32768;
    limits->timestampPeriod = 1;
    if (v11) {
        v11->subgroupSize = 32;
        v11->subgroupSupportedStages = VK_SHADER_STAGE_COMPUTE_BIT;
        v11->subgroupSupportedOperations =
            VK_SUBGROUP_FEATURE_BASIC_BIT | VK_SUBGROUP_FEATURE_ARITHMETIC_BIT;
        v11->maxMemoryAllocationSize = UINT64_C(1) << 32;
    }
    if (v12) {
        snprintf(v12->driverName, sizeof(v12->driverName), "null driver");
        v12->shaderSignedZeroInfNanPreserveFloat32 = VK_TRUE;
    }
    if (v13) {
        v13->minSubgroupSize = v13->maxSubgroupSize = 32;
        v13->maxBufferSize = UINT64_C(1) << 32;
    }
    if (host)
        host->minImportedHostPointerAlignment = 4096;
}

static VKAPI_ATTR void VKAPI_CALL null_GetPhysicalDeviceFeatures2(VkPhysicalDevice device,
                                                                  VkPhysicalDeviceFeatures2 *f)
{
    VkPhysicalDeviceVulkan12Features *v12 =
        chained(f->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES);
    VkPhysicalDeviceVulkan13Features *v13 =
        chained(f->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES);
    if (v12)
        v12->bufferDeviceAddress = v12->timelineSemaphore = VK_TRUE;
    if (v13)
        v13->synchronization2 = v13->maintenance4 = v13->subgroupSizeControl =
            v13->computeFullSubgroups = VK_TRUE;
}

static VKAPI_ATTR void VKAPI_CALL null_GetPhysicalDeviceMemoryProperties2(
    VkPhysicalDevice device, VkPhysicalDeviceMemoryProperties2 *p)
{
    VkPhysicalDeviceMemoryBudgetPropertiesEXT *budget =
        chained(p->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT);
    p->memoryProperties.memoryHeapCount = VKM_COUNT(heaps);
    memcpy(p->memoryProperties.memoryHeaps, heaps, sizeof(heaps));
    p->memoryProperties.memoryTypeCount = VKM_COUNT(types);
    memcpy(p->memoryProperties.memoryTypes, types, sizeof(types));
    if (unified())
        p->memoryProperties.memoryTypes[0].propertyFlags |= types[1].propertyFlags;
    for (size_t i = 0; i < VKM_COUNT(heaps) && budget; i++)
        budget->heapBudget[i] = heaps[i].size;
}

/* The protocol of everything that lists: a count alone, or as many as there is room for. */
static void list(uint32_t *count, uint32_t there, void *out, const void *items, size_t size)
{
    *count = out && *count < there ? *count : there;
    if (out)
        memcpy(out, items, *count * size);
}

static VKAPI_ATTR void VKAPI_CALL null_GetPhysicalDeviceQueueFamilyProperties(
    VkPhysicalDevice device, uint32_t *count, VkQueueFamilyProperties *out)
{
    list(count, unified() ? 1 : VKM_COUNT(families), out, families, sizeof(families[0]));
}

static void list_devices(uint32_t *count, VkPhysicalDevice *out)
{
    static char only;
    const VkPhysicalDevice device = (VkPhysicalDevice)(void *)&only;
    list(count, 1, out, &device, sizeof(device));
}

static void list_extensions(uint32_t *count, VkExtensionProperties *out)
{
    static const VkExtensionProperties extensions[] = {
        {VK_EXT_MEMORY_BUDGET_EXTENSION_NAME, 1}, {VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME, 1}};
    list(count, kind == VK_PHYSICAL_DEVICE_TYPE_CPU ? 2 : 1, out, extensions,
         sizeof(extensions[0]));
}

static VKAPI_ATTR void VKAPI_CALL null_GetPhysicalDeviceExternalBufferProperties(
    VkPhysicalDevice device, const VkPhysicalDeviceExternalBufferInfo *info,
    VkExternalBufferProperties *buffers)
{
    buffers->externalMemoryProperties = (VkExternalMemoryProperties){
        .externalMemoryFeatures = VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT,
        .compatibleHandleTypes = info->handleType};
}

/* --- objects --- */

static void *make(size_t size)
{
    void *object = calloc(1, size);
    if (!object)
        abort();
    return object;
}

struct null_memory {
    void *data; /* NULL where the host cannot see it; mapped, so that what is not used costs nothing
                 */
    size_t size;
    bool imported;
};

struct null_buffer {
    VkDeviceSize size;
    uint64_t address;
};

struct null_command {
    struct null_command *next;
};

struct null_pool {
    struct null_command *first;
};

static VkDeviceMemory make_memory(const VkMemoryAllocateInfo *info)
{
    struct null_memory *memory = make(sizeof(*memory));
    const VkImportMemoryHostPointerInfoEXT *import = chained(
        (void *)(uintptr_t)info->pNext, VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT);
    memory->size = (size_t)info->allocationSize;
    memory->imported = import != NULL;
    if (import)
        memory->data = import->pHostPointer;
    else if (unified() || info->memoryTypeIndex == 1)
        memory->data = mmap(NULL, memory->size, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory->data == MAP_FAILED)
        abort();
    return (VkDeviceMemory)memory;
}

static void end_memory(VkDeviceMemory object)
{
    struct null_memory *memory = (struct null_memory *)object;
    if (memory->imported) /* until here it is the driver's, which may write to all of it */
        memset((char *)memory->data + memory->size - 1, 0, 1);
    else if (memory->data)
        munmap(memory->data, memory->size);
    free(memory);
}

static VkBuffer make_buffer(const VkBufferCreateInfo *info)
{
    static atomic_ullong next_address = 1 << 20;
    struct null_buffer *buffer = make(sizeof(*buffer));
    buffer->size = vkm_align_up(info->size, 256);
    buffer->address = atomic_fetch_add(&next_address, buffer->size);
    return (VkBuffer)buffer;
}

static void make_commands(const VkCommandBufferAllocateInfo *info, VkCommandBuffer *made)
{
    struct null_pool *pool = (struct null_pool *)info->commandPool;
    for (uint32_t i = 0; i < info->commandBufferCount; i++) {
        struct null_command *command = make(sizeof(*command));
        command->next = pool->first;
        pool->first = command;
        made[i] = (VkCommandBuffer)command;
    }
}

static void end_pool(VkCommandPool object)
{
    struct null_command *next, *command = ((struct null_pool *)object)->first;
    for (; command; command = next) {
        next = command->next;
        free(command);
    }
    free(object);
}

static void write_ticks(uint32_t first, uint32_t count, uint64_t *ticks)
{
    for (uint32_t i = 0; i < count; i++)
        ticks[i] = 1000 * (uint64_t)(first + i);
}

static void write_cache(size_t *size, void *data)
{
    static const char cache[64] = "nothing is compiled";
    *size = sizeof(cache);
    if (data)
        memcpy(data, cache, sizeof(cache));
}

/* --- the calls that can fail, which here never do, and those that end an object --- */

#define MAKE *made = (void *)make(1)
#define NULL_CreateInstance MAKE
#define NULL_EnumerateInstanceVersion *version = VK_API_VERSION_1_3
#define NULL_EnumerateInstanceLayerProperties *count = 0
#define NULL_EnumeratePhysicalDevices list_devices(count, devices)
#define NULL_EnumerateDeviceExtensionProperties list_extensions(count, extensions)
#define NULL_CreateDevice MAKE
#define NULL_DeviceWaitIdle (void)0
#define NULL_QueueSubmit2 (void)0
#define NULL_CreateSemaphore MAKE
#define NULL_WaitSemaphores (void)0
#define NULL_CreateBuffer *made = make_buffer(info)
#define NULL_GetMemoryHostPointerPropertiesEXT                                                     \
    properties->memoryTypeBits = (1u << VKM_COUNT(types)) - 1
#define NULL_AllocateMemory *made = make_memory(info)
#define NULL_BindBufferMemory (void)0
#define NULL_MapMemory *data = ((struct null_memory *)memory)->data
#define NULL_CreateShaderModule MAKE
#define NULL_CreatePipelineLayout MAKE
#define NULL_CreatePipelineCache MAKE
#define NULL_GetPipelineCacheData write_cache(size, data)
#define NULL_CreateComputePipelines MAKE
#define NULL_CreateCommandPool *made = make(sizeof(struct null_pool))
#define NULL_ResetCommandPool (void)0
#define NULL_AllocateCommandBuffers make_commands(info, made)
#define NULL_BeginCommandBuffer (void)0
#define NULL_EndCommandBuffer (void)0
#define NULL_CreateQueryPool MAKE
#define NULL_GetQueryPoolResults write_ticks(first, count, data)

#define NULL_DestroyInstance free(object)
#define NULL_DestroyDevice free(object)
#define NULL_DestroySemaphore free(object)
#define NULL_DestroyBuffer free(object)
#define NULL_FreeMemory end_memory(object)
#define NULL_DestroyShaderModule free(object)
#define NULL_DestroyPipelineLayout free(object)
#define NULL_DestroyPipelineCache free(object)
#define NULL_DestroyPipeline free(object)
#define NULL_DestroyCommandPool end_pool(object)
#define NULL_DestroyQueryPool free(object)
#define NULL_CmdBindPipeline (void)object

#define FALLIBLE(name, parameters, ...)                                                            \
    static VKAPI_ATTR VkResult VKAPI_CALL null_##name parameters                                   \
    {                                                                                              \
        NULL_##name;                                                                               \
        return VK_SUCCESS;                                                                         \
    }
#define UNFAILING(name, parameters, ...)                                                           \
    static VKAPI_ATTR void VKAPI_CALL null_##name parameters                                       \
    {                                                                                              \
        if (object)                                                                                \
            NULL_##name;                                                                           \
    }
#include "calls.def"
#undef FALLIBLE
#undef UNFAILING

/* --- the others --- */

static VKAPI_ATTR void VKAPI_CALL null_GetDeviceQueue(VkDevice device, uint32_t family,
                                                      uint32_t index, VkQueue *queue)
{
    static char queues[VKM_COUNT(families)];
    *queue = (VkQueue)(void *)&queues[family];
}

static VKAPI_ATTR void VKAPI_CALL null_GetBufferMemoryRequirements(VkDevice device, VkBuffer buffer,
                                                                   VkMemoryRequirements *needs)
{
    *needs = (VkMemoryRequirements){.size = ((struct null_buffer *)buffer)->size,
                                    .alignment = 256,
                                    .memoryTypeBits = (1u << VKM_COUNT(types)) - 1};
}

static atomic_ullong misplaced; /* the address of every buffer; 0: its own */

void null_driver_misplace(uint64_t address)
{
    atomic_store(&misplaced, address);
}

static VKAPI_ATTR VkDeviceAddress VKAPI_CALL
null_GetBufferDeviceAddress(VkDevice device, const VkBufferDeviceAddressInfo *info)
{
    uint64_t wrong = atomic_load(&misplaced);
    return wrong ? wrong : ((struct null_buffer *)info->buffer)->address;
}

#define RECORDS_NOTHING(name, ...)                                                                 \
    static VKAPI_ATTR void VKAPI_CALL null_##name(VkCommandBuffer commands, __VA_ARGS__)           \
    {                                                                                              \
    }
RECORDS_NOTHING(CmdPipelineBarrier2, const VkDependencyInfo *dependency)
RECORDS_NOTHING(CmdPushConstants, VkPipelineLayout layout, VkShaderStageFlags stages,
                uint32_t offset, uint32_t size, const void *values)
RECORDS_NOTHING(CmdDispatch, uint32_t x, uint32_t y, uint32_t z)
RECORDS_NOTHING(CmdDispatchIndirect, VkBuffer buffer, VkDeviceSize offset)
RECORDS_NOTHING(CmdCopyBuffer, VkBuffer from, VkBuffer to, uint32_t count,
                const VkBufferCopy *regions)
RECORDS_NOTHING(CmdResetQueryPool, VkQueryPool pool, uint32_t first, uint32_t count)
RECORDS_NOTHING(CmdWriteTimestamp2, VkPipelineStageFlags2 stage, VkQueryPool pool, uint32_t query)

/* --- the loader --- */

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL null_GetDeviceProcAddr(VkDevice device,
                                                                       const char *name);

#define ENTRY(name) {"vk" #name, (PFN_vkVoidFunction)null_##name},
static const struct {
    const char *name;
    PFN_vkVoidFunction call;
} entries[] = {VKM_VK_GLOBAL_LIST(ENTRY) VKM_VK_INSTANCE_LIST(ENTRY) VKM_VK_DEVICE_LIST(ENTRY)};
#undef ENTRY

static PFN_vkVoidFunction find(const char *name)
{
    for (size_t i = 0; i < VKM_COUNT(entries); i++) {
        if (strcmp(entries[i].name, name) == 0)
            return entries[i].call;
    }
    return NULL;
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL null_GetDeviceProcAddr(VkDevice device,
                                                                       const char *name)
{
    return find(name);
}

vkm_vulkan_call *null_driver_discrete(struct VkInstance_T *instance, const char *name)
{
    kind = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
    return find(name);
}

vkm_vulkan_call *null_driver_integrated(struct VkInstance_T *instance, const char *name)
{
    kind = VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU;
    return find(name);
}

vkm_vulkan_call *null_driver_processor(struct VkInstance_T *instance, const char *name)
{
    kind = VK_PHYSICAL_DEVICE_TYPE_CPU;
    return find(name);
}
