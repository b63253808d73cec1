/* Opening and closing a device. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gpu/vk.h"

vkmoe_status vkm_vk_fail(struct vkm_gpu *gpu, vkmoe_error *err, VkResult result, const char *call,
                         const char *file, int line)
{
    vkmoe_status status = vkm_vk_status(result, VKMOE_DRIVER);
    int name = (int)strcspn(call, "(");
    if (status == VKMOE_DEVICE_LOST)
        gpu->lost = true;
    vkm_log(gpu->params.log, VKMOE_LOG_DEBUG, "%s:%d: vk%.*s: %s", file, line, name, call,
            vkm_vk_result_name(result));
    return vkm_fail(err, status, "%s: vk%.*s failed with %s", gpu->info.name, name, call,
                    vkm_vk_result_name(result));
}

static bool contains_ignoring_case(const char *text, const char *part)
{
    size_t n = strlen(part);
    for (; *text; text++) {
        size_t i = 0;
        while (i < n && tolower((unsigned char)text[i]) == tolower((unsigned char)part[i]))
            i++;
        if (i == n)
            return true;
    }
    return n == 0;
}

static bool is_number(const char *text)
{
    return *text && strspn(text, "0123456789") == strlen(text);
}

/* "UUID", or "UUID/DRIVERID": one device may be offered by several drivers. */
static bool is_uuid(const char *selector, const vkmoe_device_info *info)
{
    size_t n = strlen(info->uuid);
    if (n == 0 || strncmp(selector, info->uuid, n) != 0)
        return false;
    return selector[n] == '\0' || (selector[n] == '/' && is_number(selector + n + 1) &&
                                   strtoul(selector + n + 1, NULL, 10) == info->driver_id);
}

static bool is_named(const char *selector, const vkmoe_device_info *infos, uint32_t i,
                     uint32_t count)
{
    if (!selector)
        return infos[i].is_default;
    if (is_number(selector) && strtoul(selector, NULL, 10) < count)
        return strtoul(selector, NULL, 10) == i;
    return is_uuid(selector, &infos[i]) || contains_ignoring_case(infos[i].name, selector);
}

static vkmoe_status fail_many(const char *selector, const vkmoe_device_info *infos, uint32_t count,
                              vkmoe_error *err)
{
    char indices[128] = "";
    uint32_t matches = 0;
    bool uuid = true;
    for (uint32_t i = 0; i < count; i++) {
        if (!is_named(selector, infos, i, count))
            continue;
        size_t at = strlen(indices);
        snprintf(indices + at, sizeof(indices) - at, "%s%u", matches++ ? ", " : "", i);
        uuid = uuid && is_uuid(selector, &infos[i]);
    }
    if (uuid)
        return vkm_fail(err, VKMOE_NOT_FOUND,
                        "%u drivers offer the device '%s': indices %s; give an index, or the UUID, "
                        "a slash and the driver id",
                        matches, selector, indices);
    return vkm_fail(err, VKMOE_NOT_FOUND,
                    "device '%s' fits %u devices, indices %s; give an index or a UUID", selector,
                    matches, indices);
}

/* The device that the selector names; *choice is its position. */
static vkmoe_status choose(const char *selector, const vkmoe_device_info *infos, uint32_t count,
                           uint32_t *choice, vkmoe_error *err)
{
    uint32_t matches = 0;
    for (uint32_t i = 0; i < count; i++)
        if (is_named(selector, infos, i, count) && matches++ == 0)
            *choice = i;
    if (!selector && matches == 0)
        return vkm_fail(err, VKMOE_NO_DEVICE, "none of the %u Vulkan devices is usable: %s: %s",
                        count, infos[0].name, infos[0].reason);
    if (matches == 0)
        return vkm_fail(err, VKMOE_NOT_FOUND,
                        "device '%s': none of the %u devices has that index, UUID or name",
                        selector, count);
    if (matches > 1)
        return fail_many(selector, infos, count, err);
    if (!infos[*choice].usable)
        return vkm_fail(err, VKMOE_UNSUPPORTED, "device %u (%s) cannot be used: %s", *choice,
                        infos[*choice].name, infos[*choice].reason);
    return VKMOE_OK;
}

/* Prefers a compute family without graphics, and for copies one that does nothing else. */
static vkmoe_status choose_queues(struct vkm_gpu *gpu, VkQueueFamilyProperties *families,
                                  uint32_t count)
{
    int compute = -1, transfer = -1;
    for (uint32_t i = 0; i < count; i++) {
        VkQueueFlags flags = families[i].queueFlags;
        if ((flags & VK_QUEUE_COMPUTE_BIT) && (compute < 0 || !(flags & VK_QUEUE_GRAPHICS_BIT)))
            compute = (int)i;
        if (vkm_only_copies(flags) && transfer < 0)
            transfer = (int)i;
    }
    if (compute < 0)
        return VKMOE_UNSUPPORTED;
    gpu->compute.family = (uint32_t)compute;
    gpu->transfer.family = transfer < 0 ? (uint32_t)compute : (uint32_t)transfer;
    uint32_t bits = families[compute].timestampValidBits;
    gpu->timestamp_mask = bits >= 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
    return VKMOE_OK;
}

static vkmoe_status find_queues(struct vkm_gpu *gpu, vkmoe_error *err)
{
    VkQueueFamilyProperties families[VKM_MAX_QUEUE_FAMILIES];
    uint32_t count = vkm_queue_families(&gpu->vk, gpu->physical, families);
    if (choose_queues(gpu, families, count) != VKMOE_OK)
        return vkm_fail(err, VKMOE_UNSUPPORTED, "%s has no compute queue", gpu->info.name);
    return VKMOE_OK;
}

/* Whatever a module of vkmoe may need, of another build than this too: all that is offered. */
static void find_features(struct vkm_gpu *gpu)
{
    VkPhysicalDeviceVulkan13Features v13 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES};
    VkPhysicalDeviceVulkan12Features v12 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES, .pNext = &v13};
    VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                          .pNext = &v12};
    VkPhysicalDeviceVulkan11Properties v11 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES};
    VkPhysicalDeviceProperties2 properties = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &v11};
    gpu->vk.GetPhysicalDeviceFeatures2(gpu->physical, &features);
    gpu->vk.GetPhysicalDeviceProperties2(gpu->physical, &properties);
    gpu->features = (struct vkm_features){
        .int64 = features.features.shaderInt64,
        .float16 = v12.shaderFloat16,
        .int8_dot = v13.shaderIntegerDotProduct,
        .subgroup = v11.subgroupSupportedOperations,
    };
    gpu->imports = vkm_import_is_offered(gpu);
    /* Asking may fail where it did not before. */
    gpu->features.matrices = vkm_device_has_matrices(&gpu->params, &gpu->vk, gpu->instance.handle,
                                                     gpu->physical, &gpu->features.matrix) &&
                             gpu->features.matrix != 0;
    vkmoe_path_info *path = &gpu->info.paths[VKM_PATH_COOPMAT];
    if (!gpu->features.matrices && path->state != VKMOE_PATH_MISSING) {
        path->state = VKMOE_PATH_MISSING;
        snprintf(path->reason, sizeof(path->reason), "it did not list its matrices a second time");
    }
}

static vkmoe_status create_device(struct vkm_gpu *gpu, vkmoe_error *err)
{
    const struct vkm_features *offered = &gpu->features;
    float priority = 1.0f;
    VkDeviceQueueCreateInfo queues[2] = {
        {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
         .queueFamilyIndex = gpu->compute.family,
         .queueCount = 1,
         .pQueuePriorities = &priority},
        {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
         .queueFamilyIndex = gpu->transfer.family,
         .queueCount = 1,
         .pQueuePriorities = &priority},
    };
    VkPhysicalDeviceVulkan13Features v13 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES,
        .synchronization2 = VK_TRUE,
        .maintenance4 = VK_TRUE,
        .subgroupSizeControl = VK_TRUE,
        .computeFullSubgroups = VK_TRUE,
        .shaderIntegerDotProduct = offered->int8_dot,
    };
    VkPhysicalDeviceVulkan12Features v12 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
        .pNext = &v13,
        .bufferDeviceAddress = VK_TRUE,
        .timelineSemaphore = VK_TRUE,
        .shaderFloat16 = offered->float16,
    };
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrix_features = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR,
        .pNext = &v12,
        .cooperativeMatrix = VK_TRUE,
    };
    if (offered->matrices)
        v12.vulkanMemoryModel = VK_TRUE;
    const VkPhysicalDeviceFeatures features = {.shaderInt64 = offered->int64};
    const char *extensions[3];
    uint32_t n_extensions = 0;
    if (gpu->info.memory_budget)
        extensions[n_extensions++] = VK_EXT_MEMORY_BUDGET_EXTENSION_NAME;
    if (gpu->imports)
        extensions[n_extensions++] = VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME;
    if (offered->matrices)
        extensions[n_extensions++] = VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME;
    VkDeviceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
        .pNext = offered->matrices ? (const void *)&matrix_features : &v12,
        .queueCreateInfoCount = gpu->transfer.family != gpu->compute.family ? 2 : 1,
        .pQueueCreateInfos = queues,
        .enabledExtensionCount = n_extensions,
        .ppEnabledExtensionNames = extensions,
        .pEnabledFeatures = &features,
    };
    vkmoe_status status = VKMOE_OK;
    VK_MAKE(&gpu->device, CreateDevice(gpu->physical, &info, NULL, &gpu->device));
#define LOAD(name) gpu->vk.name = (PFN_vk##name)gpu->vk.GetDeviceProcAddr(gpu->device, "vk" #name);
    VKM_VK_DEVICE_LIST(LOAD)
#undef LOAD
fail:
    return status;
}

static void fill_caps(struct vkm_gpu *gpu, const VkPhysicalDeviceLimits *limits)
{
    struct vkm_caps *caps = &gpu->caps;
    for (int i = 0; i < 3; i++)
        caps->max_groups[i] = limits->maxComputeWorkGroupCount[i];
    caps->max_invocations = gpu->info.max_invocations;
    caps->shared_bytes = gpu->info.shared_memory;
    bool sized = caps->paths[VKM_PATH_SUBGROUP] || caps->paths[VKM_PATH_COOPMAT];
    caps->subgroup_size = sized ? gpu->info.subgroup_size : 0;
    caps->matrix = gpu->features.matrix;
    caps->cpu = gpu->info.kind == VKMOE_DEVICE_CPU;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (caps->cpu)
        caps->cores = cores > 0 ? (uint32_t)cores : 1;
    gpu->timestamp_period = gpu->timestamp_mask != 0 ? (double)limits->timestampPeriod : 0.0;
}

static vkmoe_status select_device(struct vkm_gpu *gpu, vkmoe_error *err)
{
    const vkmoe_allocator *a = gpu->params.allocator;
    VkPhysicalDevice *handles = NULL;
    vkmoe_device_info *infos = NULL;
    uint32_t count = 0, choice = 0;
    vkmoe_status status = vkm_devices_probe(&gpu->params, gpu->instance.handle, &gpu->vk, &handles,
                                            &infos, &count, err);
    if (status == VKMOE_OK)
        status = choose(gpu->params.selector, infos, count, &choice, err);
    if (status == VKMOE_OK) {
        gpu->physical = handles[choice];
        gpu->info = infos[choice];
        vkm_log(gpu->params.log, VKMOE_LOG_INFO, "device %u: %s (%s), %s", choice, gpu->info.name,
                gpu->info.driver, gpu->params.selector ? "as asked for" : gpu->info.reason);
    }
    vkm_free(a, handles);
    vkm_free(a, infos);
    return status;
}

static vkmoe_status open_vulkan(struct vkm_gpu *gpu, vkmoe_error *err)
{
    vkmoe_status status = vkm_instance_create(&gpu->params, &gpu->instance, &gpu->vk, err);
    if (status != VKMOE_OK)
        return status;
    if ((status = select_device(gpu, err)) != VKMOE_OK)
        return status;
    if ((status = find_queues(gpu, err)) != VKMOE_OK)
        return status;
    find_features(gpu);
    if ((status = create_device(gpu, err)) != VKMOE_OK)
        return status;

    VkPhysicalDeviceVulkan12Properties v12 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES};
    VkPhysicalDeviceProperties2 properties = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &v12};
    gpu->vk.GetPhysicalDeviceProperties2(gpu->physical, &properties);
    gpu->preserve_inf_nan = v12.shaderSignedZeroInfNanPreserveFloat32;
    gpu->memory_budget = gpu->info.memory_budget;
    gpu->cache_path = vkm_cache_path(&gpu->params, &gpu->info, &properties.properties);
    if ((status = vkm_paths_choose(gpu, err)) != VKMOE_OK)
        return status;
    fill_caps(gpu, &properties.properties.limits);
    if ((status = vkm_queue_init(gpu, &gpu->compute, err)) != VKMOE_OK)
        return status;
    if (gpu->transfer.family == gpu->compute.family)
        gpu->transfer.handle = gpu->compute.handle;
    else if ((status = vkm_queue_init(gpu, &gpu->transfer, err)) != VKMOE_OK)
        return status;
    return vkm_pipelines_init(gpu, err);
}

static vkmoe_status open_reference(struct vkm_gpu *gpu, vkmoe_error *err)
{
    gpu->reference = true;
    gpu->info = (vkmoe_device_info){
        .kind = VKMOE_DEVICE_REFERENCE,
        .name = "reference",
        .driver = "vkmoe float64 executor",
        .usable = true,
        .max_invocations = 128,
        .max_allocation = UINT64_C(1) << 40,
        .n_heaps = 1,
    };
    uint64_t host = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    gpu->info.heaps[0] = (vkmoe_heap_info){.size = host, .budget = host, .device_local = true};
    gpu->caps = (struct vkm_caps){
        .max_groups = {UINT32_MAX, UINT32_MAX, UINT32_MAX},
        .max_invocations = 128,
        .shared_bytes = 16384,
        .cpu = true,
        .cores = 1,
    };
    vkm_paths_probe(&(struct vkm_path_probe){.info = &gpu->info}, &gpu->info);
    return vkm_paths_choose(gpu, err);
}

vkmoe_status vkm_gpu_open(const struct vkm_gpu_params *params, const struct vkm_kernel_set *set,
                          struct vkm_gpu **out, vkmoe_error *err)
{
    struct vkm_gpu *gpu = vkm_calloc(params->allocator, 1, sizeof(*gpu));
    if (!gpu)
        return vkm_fail_memory(err, sizeof(*gpu), "a device");
    gpu->params = *params;
    gpu->set = set;
    if (params->selector && params->selector[0] == '\0')
        gpu->params.selector = NULL; /* an empty variable of the environment chooses nothing */
    if (gpu->params.hang_seconds <= 0)
        gpu->params.hang_seconds = 120;
    pthread_mutex_init(&gpu->submit_lock, NULL);
    pthread_mutex_init(&gpu->memory_lock, NULL);
    pthread_mutex_init(&gpu->pipeline_lock, NULL);
    vkmoe_status status = vkm_rates_init(&gpu->rates, set, params->allocator, err);
    if (status == VKMOE_OK && params->selector && strcmp(params->selector, "reference") == 0)
        status = open_reference(gpu, err);
    else if (status == VKMOE_OK)
        status = open_vulkan(gpu, err);
    if (status != VKMOE_OK) {
        vkm_gpu_close(gpu);
        return status;
    }
    gpu->caps.tiled_rows = params->tiled_rows;
    gpu->caps.split_positions = params->split_positions;
    vkm_memory_init(gpu);
    *out = gpu;
    return VKMOE_OK;
}

void vkm_gpu_close(struct vkm_gpu *gpu)
{
    if (!gpu)
        return;
    const vkmoe_allocator *a = gpu->params.allocator;
    bool settled = vkm_gpu_settle(gpu);
    if (gpu->compute.submitted + gpu->transfer.submitted > 0 && !gpu->lost)
        gpu->vk.DeviceWaitIdle(gpu->device);
    vkm_pipelines_finish(gpu);
    vkm_memory_finish(gpu);
    if (settled) {
        if (gpu->compute.timeline)
            gpu->vk.DestroySemaphore(gpu->device, gpu->compute.timeline, NULL);
        if (gpu->transfer.timeline)
            gpu->vk.DestroySemaphore(gpu->device, gpu->transfer.timeline, NULL);
        if (gpu->device)
            gpu->vk.DestroyDevice(gpu->device, NULL);
        vkm_instance_destroy(&gpu->instance, &gpu->vk);
    }
    pthread_mutex_destroy(&gpu->submit_lock);
    pthread_mutex_destroy(&gpu->memory_lock);
    pthread_mutex_destroy(&gpu->pipeline_lock);
    vkm_rates_finish(&gpu->rates, a);
    vkm_free(a, gpu->cache_path);
    vkm_free(a, gpu);
}

const struct vkm_caps *vkm_gpu_caps(const struct vkm_gpu *gpu)
{
    return &gpu->caps;
}

void vkm_gpu_tune(struct vkm_gpu *gpu, const struct vkm_tuning *tuning, uint64_t hash)
{
    gpu->caps.tuning = tuning;
    gpu->info.tuned = tuning != NULL;
    gpu->info.tuning = hash;
}

const struct vkm_gpu_params *vkm_gpu_get_params(const struct vkm_gpu *gpu)
{
    return &gpu->params;
}

const struct vkm_kernel_set *vkm_gpu_kernels(const struct vkm_gpu *gpu)
{
    return gpu->set;
}

const vkmoe_allocator *vkm_gpu_allocator(const struct vkm_gpu *gpu)
{
    return gpu->params.allocator;
}

const vkmoe_log *vkm_gpu_log(const struct vkm_gpu *gpu)
{
    return gpu->params.log;
}

bool vkm_gpu_is_reference(const struct vkm_gpu *gpu)
{
    return gpu->reference;
}

const vkmoe_device_info *vkm_gpu_info(const struct vkm_gpu *gpu)
{
    return &gpu->info;
}

void vkm_gpu_judge_path(struct vkm_gpu *gpu, enum vkm_path path, vkmoe_path_state state,
                        const char *reason)
{
    gpu->info.paths[path].state = state;
    snprintf(gpu->info.paths[path].reason, sizeof(gpu->info.paths[path].reason), "%s", reason);
}

const struct vkm_gpu_params *vkm_gpu_parameters(const struct vkm_gpu *gpu)
{
    return &gpu->params;
}
