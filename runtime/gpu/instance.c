/* The Vulkan loader, instance and validation messenger. */
#include <string.h>

#define VOLK_IMPLEMENTATION
#include "gpu/vk.h"

static pthread_once_t loader_once = PTHREAD_ONCE_INIT;

/* The loader's entry points are the same for the whole process. */
static void load_loader(void)
{
    (void)volkInitialize();
}

const char *vkm_vk_result_name(VkResult result)
{
    switch (result) {
    case VK_ERROR_OUT_OF_HOST_MEMORY:
        return "VK_ERROR_OUT_OF_HOST_MEMORY";
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
        return "VK_ERROR_OUT_OF_DEVICE_MEMORY";
    case VK_ERROR_INITIALIZATION_FAILED:
        return "VK_ERROR_INITIALIZATION_FAILED";
    case VK_ERROR_DEVICE_LOST:
        return "VK_ERROR_DEVICE_LOST";
    case VK_ERROR_MEMORY_MAP_FAILED:
        return "VK_ERROR_MEMORY_MAP_FAILED";
    case VK_ERROR_LAYER_NOT_PRESENT:
        return "VK_ERROR_LAYER_NOT_PRESENT";
    case VK_ERROR_EXTENSION_NOT_PRESENT:
        return "VK_ERROR_EXTENSION_NOT_PRESENT";
    case VK_ERROR_FEATURE_NOT_PRESENT:
        return "VK_ERROR_FEATURE_NOT_PRESENT";
    case VK_ERROR_INCOMPATIBLE_DRIVER:
        return "VK_ERROR_INCOMPATIBLE_DRIVER";
    case VK_ERROR_TOO_MANY_OBJECTS:
        return "VK_ERROR_TOO_MANY_OBJECTS";
    case VK_ERROR_UNKNOWN:
        return "VK_ERROR_UNKNOWN";
    case VK_ERROR_INVALID_SHADER_NV:
        return "VK_ERROR_INVALID_SHADER_NV";
    case VK_ERROR_INVALID_EXTERNAL_HANDLE:
        return "VK_ERROR_INVALID_EXTERNAL_HANDLE";
    case VK_TIMEOUT:
        return "VK_TIMEOUT";
    default:
        return "an unknown Vulkan error";
    }
}

vkmoe_status vkm_vk_status(VkResult result, vkmoe_status otherwise)
{
    switch (result) {
    case VK_ERROR_OUT_OF_HOST_MEMORY:
        return VKMOE_OUT_OF_HOST_MEMORY;
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
        return VKMOE_OUT_OF_DEVICE_MEMORY;
    case VK_ERROR_DEVICE_LOST:
        return VKMOE_DEVICE_LOST;
    default:
        return otherwise;
    }
}

static VKAPI_ATTR VkBool32 VKAPI_CALL on_message(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
                                                 VkDebugUtilsMessageTypeFlagsEXT types,
                                                 const VkDebugUtilsMessengerCallbackDataEXT *data,
                                                 void *user)
{
    (void)types;
    (void)severity;
    vkm_log(user, VKMOE_LOG_ERROR, "validation: %s", data->pMessage);
    return VK_FALSE;
}

static VkResult find_layer(const struct vkm_vk *vk, const char *name)
{
    VkLayerProperties layers[64];
    uint32_t count = VKM_COUNT(layers);
    VkResult result = vk->EnumerateInstanceLayerProperties(&count, layers);
    if (result < 0)
        return result;
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(layers[i].layerName, name) == 0)
            return VK_SUCCESS;
    }
    return VK_ERROR_LAYER_NOT_PRESENT;
}

#define LOAD(name) vk->name = (PFN_vk##name)vk->GetInstanceProcAddr(instance, "vk" #name);

/* False without a loader. */
static bool load_global_calls(vkm_vulkan_loader *loader, struct vkm_vk *vk)
{
    VkInstance instance = VK_NULL_HANDLE;
    if (!loader)
        pthread_once(&loader_once, load_loader);
    vk->GetInstanceProcAddr = loader ? loader : vkGetInstanceProcAddr;
    if (!vk->GetInstanceProcAddr)
        return false;
    VKM_VK_GLOBAL_LIST(LOAD)
    return vk->CreateInstance != NULL;
}

static void load_instance_calls(VkInstance instance, struct vkm_vk *vk)
{
    VKM_VK_INSTANCE_LIST(LOAD)
}

#undef LOAD

/* Loaders older than 1.1 lack the call. */
static VkResult loader_version(const struct vkm_vk *vk, uint32_t *version)
{
    *version = VK_API_VERSION_1_0;
    return vk->EnumerateInstanceVersion ? vk->EnumerateInstanceVersion(version) : VK_SUCCESS;
}

static void create_messenger(const struct vkm_gpu_params *params, const struct vkm_vk *vk,
                             struct vkm_instance *instance,
                             const VkDebugUtilsMessengerCreateInfoEXT *info)
{
    PFN_vkCreateDebugUtilsMessengerEXT create =
        (PFN_vkCreateDebugUtilsMessengerEXT)vk->GetInstanceProcAddr(
            instance->handle, "vkCreateDebugUtilsMessengerEXT");
    instance->destroy_messenger = (PFN_vkDestroyDebugUtilsMessengerEXT)vk->GetInstanceProcAddr(
        instance->handle, "vkDestroyDebugUtilsMessengerEXT");
    if (create && instance->destroy_messenger &&
        create(instance->handle, info, NULL, &instance->messenger) >= 0)
        return;
    instance->messenger = VK_NULL_HANDLE;
    vkm_log(params->log, VKMOE_LOG_WARNING, "validation messages go to the driver's output");
}

static vkmoe_status check_loader(const struct vkm_gpu_params *params, struct vkm_vk *vk,
                                 const char *layer, vkmoe_error *err)
{
    uint32_t version;
    if (!load_global_calls(params->loader, vk))
        return vkm_fail(err, VKMOE_NO_DEVICE,
                        "no Vulkan loader (libvulkan.so.1) was found: install libvulkan1 and a "
                        "driver, for instance mesa-vulkan-drivers");
    VkResult result = loader_version(vk, &version);
    if (result < 0)
        return vkm_fail(err, vkm_vk_status(result, VKMOE_NO_DEVICE),
                        "the Vulkan loader does not say its version "
                        "(vkEnumerateInstanceVersion: %s)",
                        vkm_vk_result_name(result));
    if (version < VK_API_VERSION_1_3)
        return vkm_fail(err, VKMOE_NO_DEVICE,
                        "the Vulkan loader is older than 1.3, which vkmoe needs");
    result = params->validation ? find_layer(vk, layer) : VK_SUCCESS;
    if (result < 0)
        return vkm_fail(err, vkm_vk_status(result, VKMOE_NOT_FOUND),
                        "the Khronos validation layer was not found "
                        "(vkEnumerateInstanceLayerProperties: %s); Debian's package is "
                        "vulkan-validationlayers",
                        vkm_vk_result_name(result));
    return VKMOE_OK;
}

vkmoe_status vkm_instance_create(const struct vkm_gpu_params *params, struct vkm_instance *instance,
                                 struct vkm_vk *vk, vkmoe_error *err)
{
    static const char layer[] = "VK_LAYER_KHRONOS_validation";
    const char *const layers[] = {layer};
    const char *const extensions[] = {VK_EXT_DEBUG_UTILS_EXTENSION_NAME};

    *instance = (struct vkm_instance){0};
    vkmoe_status status = check_loader(params, vk, layer, err);
    if (status != VKMOE_OK)
        return status;

    VkDebugUtilsMessengerCreateInfoEXT messenger = {
        .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
        .messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT |
                           VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
        .messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT,
        .pfnUserCallback = on_message,
        .pUserData = (void *)(uintptr_t)params->log,
    };
    VkApplicationInfo application = {
        .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
        .pApplicationName = "vkmoe",
        .apiVersion = VK_API_VERSION_1_3,
    };
    VkInstanceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
        .pNext = params->validation ? &messenger : NULL,
        .pApplicationInfo = &application,
        .enabledLayerCount = params->validation ? 1 : 0,
        .ppEnabledLayerNames = layers,
        .enabledExtensionCount = params->validation ? 1 : 0,
        .ppEnabledExtensionNames = extensions,
    };
    VkResult result = vk->CreateInstance(&info, NULL, &instance->handle);
    if (result < 0) {
        instance->handle = VK_NULL_HANDLE;
        return vkm_fail(err, vkm_vk_status(result, VKMOE_NO_DEVICE),
                        "no Vulkan driver could be started (vkCreateInstance: %s): install one, "
                        "for instance mesa-vulkan-drivers",
                        vkm_vk_result_name(result));
    }
    load_instance_calls(instance->handle, vk);
    if (params->validation)
        create_messenger(params, vk, instance, &messenger);
    return VKMOE_OK;
}

void vkm_instance_destroy(struct vkm_instance *instance, const struct vkm_vk *vk)
{
    if (instance->messenger)
        instance->destroy_messenger(instance->handle, instance->messenger, NULL);
    if (instance->handle)
        vk->DestroyInstance(instance->handle, NULL);
    *instance = (struct vkm_instance){0};
}
