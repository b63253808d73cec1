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
    case VK_ERROR_INVALID_SHADER_NV:
        return "VK_ERROR_INVALID_SHADER_NV";
    case VK_TIMEOUT:
        return "VK_TIMEOUT";
    default:
        return "an unknown Vulkan error";
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

static bool has_layer(const char *name)
{
    VkLayerProperties layers[64];
    uint32_t count = VKM_COUNT(layers);
    if (vkEnumerateInstanceLayerProperties(&count, layers) < 0)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(layers[i].layerName, name) == 0)
            return true;
    }
    return false;
}

static void load_instance_calls(VkInstance instance, struct vkm_vk *vk)
{
#define LOAD(name) vk->name = (PFN_vk##name)vkGetInstanceProcAddr(instance, "vk" #name);
    VKM_VK_INSTANCE_LIST(LOAD)
#undef LOAD
}

static void create_messenger(const struct vkm_gpu_params *params, struct vkm_instance *instance,
                             const VkDebugUtilsMessengerCreateInfoEXT *info)
{
    PFN_vkCreateDebugUtilsMessengerEXT create =
        (PFN_vkCreateDebugUtilsMessengerEXT)vkGetInstanceProcAddr(instance->handle,
                                                                  "vkCreateDebugUtilsMessengerEXT");
    instance->destroy_messenger = (PFN_vkDestroyDebugUtilsMessengerEXT)vkGetInstanceProcAddr(
        instance->handle, "vkDestroyDebugUtilsMessengerEXT");
    if (!create || !instance->destroy_messenger ||
        create(instance->handle, info, NULL, &instance->messenger) < 0)
        vkm_log(params->log, VKMOE_LOG_WARNING, "validation messages go to the driver's output");
}

vkmoe_status vkm_instance_create(const struct vkm_gpu_params *params, struct vkm_instance *instance,
                                 struct vkm_vk *vk, vkmoe_error *err)
{
    static const char layer[] = "VK_LAYER_KHRONOS_validation";
    const char *const layers[] = {layer};
    const char *const extensions[] = {VK_EXT_DEBUG_UTILS_EXTENSION_NAME};

    *instance = (struct vkm_instance){0};
    pthread_once(&loader_once, load_loader);
    if (!vkCreateInstance)
        return vkm_fail(err, VKMOE_NO_DEVICE,
                        "no Vulkan loader (libvulkan.so.1) was found: install libvulkan1 and a "
                        "driver, for instance mesa-vulkan-drivers");
    if (volkGetInstanceVersion() < VK_API_VERSION_1_3)
        return vkm_fail(err, VKMOE_NO_DEVICE,
                        "the Vulkan loader is older than 1.3, which vkmoe needs");
    if (params->validation && !has_layer(layer))
        return vkm_fail(err, VKMOE_NOT_FOUND,
                        "the Khronos validation layer is not installed (Debian: "
                        "vulkan-validationlayers)");

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
    VkResult result = vkCreateInstance(&info, NULL, &instance->handle);
    if (result < 0)
        return vkm_fail(err, VKMOE_NO_DEVICE,
                        "no Vulkan driver could be started (vkCreateInstance: %s): install one, "
                        "for instance mesa-vulkan-drivers",
                        vkm_vk_result_name(result));
    load_instance_calls(instance->handle, vk);
    if (params->validation)
        create_messenger(params, instance, &messenger);
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
