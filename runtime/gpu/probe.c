/* What devices there are, what each can do, and which is the default. */
#include <stdio.h>
#include <string.h>

#include "gpu/vk.h"

static vkmoe_device_kind device_kind(VkPhysicalDeviceType type)
{
    switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
        return VKMOE_DEVICE_DISCRETE;
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
        return VKMOE_DEVICE_INTEGRATED;
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
        return VKMOE_DEVICE_VIRTUAL;
    case VK_PHYSICAL_DEVICE_TYPE_CPU:
        return VKMOE_DEVICE_CPU;
    default:
        return VKMOE_DEVICE_OTHER;
    }
}

static void format_uuid(const uint8_t *bytes, char text[37])
{
    char *out = text;
    for (uint32_t i = 0; i < VK_UUID_SIZE; i++)
        out += sprintf(out, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", bytes[i]);
}

bool vkm_device_has_extension(const struct vkm_gpu_params *params, const struct vkm_vk *vk,
                              VkPhysicalDevice device, const char *name)
{
    uint32_t count = 0;
    bool found = false;
    if (vk->EnumerateDeviceExtensionProperties(device, NULL, &count, NULL) < 0)
        return false;
    VkExtensionProperties *extensions = vkm_calloc(params->allocator, count, sizeof(*extensions));
    if (extensions &&
        vk->EnumerateDeviceExtensionProperties(device, NULL, &count, extensions) >= 0) {
        for (uint32_t i = 0; i < count && !found; i++)
            found = strcmp(extensions[i].extensionName, name) == 0;
    }
    vkm_free(params->allocator, extensions);
    return found;
}

/* The subgroup path wants the arithmetic, and subgroups of a size it knows, as many of them as make
 * 128 invocations. Where sizes vary, it asks for one. */
static uint32_t subgroup_sizes(const VkPhysicalDeviceVulkan11Properties *v11,
                               const VkPhysicalDeviceVulkan13Properties *v13)
{
    bool varies = v13->minSubgroupSize != v13->maxSubgroupSize;
    uint32_t sizes = 0;
    if (!(v11->subgroupSupportedStages & VK_SHADER_STAGE_COMPUTE_BIT) ||
        !(v11->subgroupSupportedOperations & VK_SUBGROUP_FEATURE_ARITHMETIC_BIT) ||
        (varies && !(v13->requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT)))
        return 0;
    for (uint32_t size = 4; size <= 128; size *= 2) {
        bool allowed = varies ? size >= v13->minSubgroupSize && size <= v13->maxSubgroupSize &&
                                    v13->maxComputeWorkgroupSubgroups >= 128 / size
                              : size == v11->subgroupSize;
        sizes |= allowed ? size : 0;
    }
    return sizes;
}

static void probe_properties(const struct vkm_vk *vk, VkPhysicalDevice device,
                             vkmoe_device_info *info)
{
    VkPhysicalDeviceVulkan13Properties v13 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_PROPERTIES};
    VkPhysicalDeviceVulkan12Properties v12 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES, .pNext = &v13};
    VkPhysicalDeviceVulkan11Properties v11 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES, .pNext = &v12};
    VkPhysicalDeviceProperties2 properties = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &v11};
    vk->GetPhysicalDeviceProperties2(device, &properties);

    const VkPhysicalDeviceLimits *limits = &properties.properties.limits;
    info->kind = device_kind(properties.properties.deviceType);
    snprintf(info->name, sizeof(info->name), "%s", properties.properties.deviceName);
    snprintf(info->driver, sizeof(info->driver), "%.120s%s%.120s", v12.driverName,
             v12.driverInfo[0] ? " " : "", v12.driverInfo);
    format_uuid(v11.deviceUUID, info->uuid);
    info->driver_id = (uint32_t)v12.driverID;
    info->driver_version = properties.properties.driverVersion;
    info->api_version = properties.properties.apiVersion;
    info->subgroup_size = v11.subgroupSize;
    info->subgroup_min = v13.minSubgroupSize;
    info->subgroup_max = v13.maxSubgroupSize;
    info->subgroup_sizes = subgroup_sizes(&v11, &v13);
    info->subgroup_arithmetic = (info->subgroup_sizes & v11.subgroupSize) != 0;
    info->shared_memory = limits->maxComputeSharedMemorySize;
    info->max_invocations =
        vkm_min_u32(limits->maxComputeWorkGroupInvocations, limits->maxComputeWorkGroupSize[0]);
    info->max_allocation = v11.maxMemoryAllocationSize < v13.maxBufferSize
                               ? v11.maxMemoryAllocationSize
                               : v13.maxBufferSize;
}

static void probe_heaps(const struct vkm_vk *vk, VkPhysicalDevice device, vkmoe_device_info *info)
{
    VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
    VkPhysicalDeviceMemoryProperties2 memory = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2,
        .pNext = info->memory_budget ? &budget : NULL};
    vk->GetPhysicalDeviceMemoryProperties2(device, &memory);
    info->n_heaps = vkm_min_u32(memory.memoryProperties.memoryHeapCount, VKMOE_MAX_HEAPS);
    for (uint32_t i = 0; i < info->n_heaps; i++) {
        const VkMemoryHeap *heap = &memory.memoryProperties.memoryHeaps[i];
        info->heaps[i] = (vkmoe_heap_info){
            .size = heap->size,
            .budget = info->memory_budget ? budget.heapBudget[i] : heap->size,
            .device_local = (heap->flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) != 0,
        };
    }
}

bool vkm_only_copies(VkQueueFlags flags)
{
    const VkQueueFlags besides = VK_QUEUE_SPARSE_BINDING_BIT | VK_QUEUE_PROTECTED_BIT;
    return (flags & ~besides) == VK_QUEUE_TRANSFER_BIT;
}

uint32_t vkm_queue_families(const struct vkm_vk *vk, VkPhysicalDevice device,
                            VkQueueFamilyProperties families[VKM_MAX_QUEUE_FAMILIES])
{
    uint32_t count = VKM_MAX_QUEUE_FAMILIES;
    vk->GetPhysicalDeviceQueueFamilyProperties(device, &count, families);
    return count;
}

static void probe_queues(const struct vkm_vk *vk, VkPhysicalDevice device, bool *compute,
                         bool *transfer)
{
    VkQueueFamilyProperties families[VKM_MAX_QUEUE_FAMILIES];
    uint32_t count = vkm_queue_families(vk, device, families);
    *compute = *transfer = false;
    for (uint32_t i = 0; i < count; i++) {
        VkQueueFlags flags = families[i].queueFlags;
        *compute |= (flags & VK_QUEUE_COMPUTE_BIT) != 0;
        *transfer |= vkm_only_copies(flags);
    }
}

/* The shape of float16 matrices that a subgroup multiplies and adds up in float32; 0 for others. */
static uint32_t matrix_shape(const VkCooperativeMatrixPropertiesKHR *s)
{
    bool halves =
        s->AType == VK_COMPONENT_TYPE_FLOAT16_KHR && s->BType == VK_COMPONENT_TYPE_FLOAT16_KHR &&
        s->CType == VK_COMPONENT_TYPE_FLOAT32_KHR && s->ResultType == VK_COMPONENT_TYPE_FLOAT32_KHR;
    bool fits = (s->MSize == 8 || s->MSize == 16) && (s->NSize == 8 || s->NSize == 16) &&
                (s->KSize == 8 || s->KSize == 16 || s->KSize == 32);
    return halves && fits && s->scope == VK_SCOPE_SUBGROUP_KHR
               ? vkm_matrix(s->MSize, s->NSize, s->KSize)
               : 0;
}

/* Products of one multiplication. */
static uint32_t matrix_work(uint32_t shape)
{
    return vkm_matrix_rows(shape) * vkm_matrix_cols(shape) * vkm_matrix_k(shape);
}

/* The largest shape of those that suit, the first of equals. */
static uint32_t best_matrix(const struct vkm_gpu_params *params, const struct vkm_vk *vk,
                            VkInstance instance, VkPhysicalDevice device)
{
    PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR list =
        (PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR)vk->GetInstanceProcAddr(
            instance, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR");
    uint32_t count = 0, best = 0;
    if (!list || list(device, &count, NULL) < 0 || count == 0)
        return 0;
    VkCooperativeMatrixPropertiesKHR *shapes =
        vkm_calloc(params->allocator, count, sizeof(*shapes));
    for (uint32_t i = 0; i < count && shapes; i++)
        shapes[i].sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR;
    if (shapes && list(device, &count, shapes) >= 0) {
        for (uint32_t i = 0; i < count; i++) {
            uint32_t shape = matrix_shape(&shapes[i]);
            if (matrix_work(shape) > matrix_work(best))
                best = shape;
        }
    }
    vkm_free(params->allocator, shapes);
    return best;
}

/* The extension, and features of Vulkan 1.2 that shaders with it need. */
static bool has_matrices(const struct vkm_gpu_params *params, const struct vkm_vk *vk,
                         VkPhysicalDevice device)
{
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrices = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR};
    VkPhysicalDeviceVulkan12Features v12 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES, .pNext = &matrices};
    VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                          .pNext = &v12};
    VkPhysicalDeviceCooperativeMatrixPropertiesKHR stages = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_PROPERTIES_KHR};
    VkPhysicalDeviceProperties2 properties = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &stages};
    if (!vkm_device_has_extension(params, vk, device, VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME))
        return false;
    vk->GetPhysicalDeviceFeatures2(device, &features);
    vk->GetPhysicalDeviceProperties2(device, &properties);
    return matrices.cooperativeMatrix && v12.vulkanMemoryModel && v12.shaderFloat16 &&
           (stages.cooperativeMatrixSupportedStages & VK_SHADER_STAGE_COMPUTE_BIT);
}

bool vkm_device_has_matrices(const struct vkm_gpu_params *params, const struct vkm_vk *vk,
                             VkInstance instance, VkPhysicalDevice device, uint32_t *shape)
{
    bool has = has_matrices(params, vk, device);
    *shape = has ? best_matrix(params, vk, instance, device) : 0;
    return has;
}

/* Drivers that may say no to a feature of Vulkan 1.3 are asked. */
static void probe_paths(const struct vkm_gpu_params *params, const struct vkm_vk *vk,
                        VkInstance instance, VkPhysicalDevice device, vkmoe_device_info *info)
{
    VkPhysicalDeviceVulkan12Features v12 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES};
    VkPhysicalDeviceVulkan13Features v13 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES, .pNext = &v12};
    VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                          .pNext = &v13};
    VkPhysicalDeviceVulkan11Properties p11 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES};
    VkPhysicalDeviceVulkan13Properties p13 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_PROPERTIES, .pNext = &p11};
    VkPhysicalDeviceProperties2 properties = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &p13};
    vk->GetPhysicalDeviceFeatures2(device, &features);
    vk->GetPhysicalDeviceProperties2(device, &properties);
    struct vkm_path_probe probe = {
        .info = info,
        .int64 = features.features.shaderInt64,
        .ballot = p11.subgroupSupportedOperations & VK_SUBGROUP_FEATURE_BALLOT_BIT,
        .float16 = v12.shaderFloat16,
        .int8_dot = v13.shaderIntegerDotProduct,
        .int8_dot_fast = p13.integerDotProduct4x8BitPackedSignedAccelerated,
    };
    probe.matrices = vkm_device_has_matrices(params, vk, instance, device, &probe.matrix);
    vkm_paths_probe(&probe, info);
}

/* Everything used here is required of a 1.3 device, yet a driver may say no. */
static const char *missing_feature(const struct vkm_vk *vk, VkPhysicalDevice device)
{
    VkPhysicalDeviceVulkan13Features v13 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES};
    VkPhysicalDeviceVulkan12Features v12 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES, .pNext = &v13};
    VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                          .pNext = &v12};
    vk->GetPhysicalDeviceFeatures2(device, &features);
    if (!v12.bufferDeviceAddress)
        return "bufferDeviceAddress";
    if (!v12.timelineSemaphore)
        return "timelineSemaphore";
    if (!v13.synchronization2)
        return "synchronization2";
    if (!v13.maintenance4)
        return "maintenance4";
    if (!v13.subgroupSizeControl || !v13.computeFullSubgroups)
        return "subgroupSizeControl";
    return NULL;
}

static void probe(const struct vkm_gpu_params *params, const struct vkm_vk *vk, VkInstance instance,
                  VkPhysicalDevice device, vkmoe_device_info *info)
{
    bool compute;
    probe_properties(vk, device, info);
    info->memory_budget =
        vkm_device_has_extension(params, vk, device, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
    probe_heaps(vk, device, info);
    probe_queues(vk, device, &compute, &info->transfer_queue);
    if (info->api_version < VK_API_VERSION_1_3) {
        snprintf(info->reason, sizeof(info->reason), "it offers Vulkan %u.%u, vkmoe needs 1.3",
                 VK_API_VERSION_MAJOR(info->api_version), VK_API_VERSION_MINOR(info->api_version));
        return;
    }
    const char *missing = missing_feature(vk, device);
    if (missing || !compute) {
        snprintf(info->reason, sizeof(info->reason), "it lacks %s",
                 missing ? missing : "a compute queue");
        return;
    }
    info->usable = true;
    probe_paths(params, vk, instance, device, info);
}

static const char *kind_text(vkmoe_device_kind kind)
{
    switch (kind) {
    case VKMOE_DEVICE_DISCRETE:
        return "a discrete GPU";
    case VKMOE_DEVICE_INTEGRATED:
        return "an integrated GPU";
    case VKMOE_DEVICE_VIRTUAL:
        return "a virtual GPU";
    case VKMOE_DEVICE_CPU:
        return "a CPU driver";
    default:
        return "a device of another kind";
    }
}

/* The order of preference is the order of the enumeration; within a kind the first listed wins, so
 * one GPU under two drivers has one default. */
static void mark_default(vkmoe_device_info *infos, uint32_t count)
{
    const vkmoe_device_info *best = NULL;
    for (uint32_t i = 0; i < count; i++) {
        if (infos[i].usable && (!best || infos[i].kind < best->kind))
            best = &infos[i];
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!infos[i].usable)
            continue;
        infos[i].is_default = &infos[i] == best;
        if (infos[i].is_default)
            snprintf(infos[i].reason, sizeof(infos[i].reason),
                     "the default: %s, the first of the best kind there is",
                     kind_text(infos[i].kind));
        else
            snprintf(infos[i].reason, sizeof(infos[i].reason),
                     "not the default: device %u (%s) comes before %s", best->index,
                     kind_text(best->kind), kind_text(infos[i].kind));
    }
}

vkmoe_status vkm_devices_probe(const struct vkm_gpu_params *params, VkInstance instance,
                               const struct vkm_vk *vk, VkPhysicalDevice **handles,
                               vkmoe_device_info **infos, uint32_t *count, vkmoe_error *err)
{
    VkPhysicalDevice *devices = NULL;
    vkmoe_device_info *found = NULL;
    uint32_t n = 0;
    VkResult result = vk->EnumeratePhysicalDevices(instance, &n, NULL);
    if (result >= 0 && n > 0) {
        devices = vkm_calloc(params->allocator, n, sizeof(*devices));
        found = vkm_calloc(params->allocator, n, sizeof(*found));
        if (!devices || !found) {
            vkm_free(params->allocator, devices);
            vkm_free(params->allocator, found);
            return vkm_fail_memory(err, n * sizeof(*found), "the device list");
        }
        result = vk->EnumeratePhysicalDevices(instance, &n, devices);
    }
    if (result < 0 || n == 0) {
        vkm_free(params->allocator, devices);
        vkm_free(params->allocator, found);
        return vkm_fail(err, vkm_vk_status(result, VKMOE_NO_DEVICE),
                        "no Vulkan device was found (vkEnumeratePhysicalDevices: %s): install a "
                        "driver, for instance mesa-vulkan-drivers",
                        result < 0 ? vkm_vk_result_name(result) : "none");
    }
    for (uint32_t i = 0; i < n; i++) {
        found[i].index = i;
        probe(params, vk, instance, devices[i], &found[i]);
    }
    mark_default(found, n);
    *handles = devices;
    *infos = found;
    *count = n;
    return VKMOE_OK;
}

vkmoe_status vkm_gpu_list(const struct vkm_gpu_params *params, vkmoe_device_info *infos,
                          size_t capacity, size_t *count, vkmoe_error *err)
{
    struct vkm_instance instance;
    struct vkm_vk vk = {0};
    VkPhysicalDevice *handles = NULL;
    vkmoe_device_info *found = NULL;
    uint32_t n = 0;
    vkmoe_status status = vkm_instance_create(params, &instance, &vk, err);
    if (status == VKMOE_OK)
        status = vkm_devices_probe(params, instance.handle, &vk, &handles, &found, &n, err);
    if (status == VKMOE_OK) {
        *count = n;
        for (uint32_t i = 0; i < n && i < capacity; i++)
            infos[i] = found[i];
    }
    vkm_free(params->allocator, handles);
    vkm_free(params->allocator, found);
    vkm_instance_destroy(&instance, &vk);
    return status;
}
