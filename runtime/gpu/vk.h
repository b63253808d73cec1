/* The Vulkan calls that the gpu layer makes, in one replaceable table, and the opened device. */
#ifndef VKM_VK_H
#define VKM_VK_H

#include <pthread.h>
#include <stdatomic.h>
#include <volk.h>

#include "gpu/coopmat.h"
#include "gpu/gpu.h"
#include "gpu/rates.h"

#define VKM_VK_GLOBAL_LIST(X)                                                                      \
    X(CreateInstance)                                                                              \
    X(EnumerateInstanceVersion)                                                                    \
    X(EnumerateInstanceLayerProperties)

#define VKM_VK_INSTANCE_LIST(X)                                                                    \
    X(DestroyInstance)                                                                             \
    X(EnumeratePhysicalDevices)                                                                    \
    X(GetPhysicalDeviceProperties2)                                                                \
    X(GetPhysicalDeviceFeatures2)                                                                  \
    X(GetPhysicalDeviceMemoryProperties2)                                                          \
    X(GetPhysicalDeviceQueueFamilyProperties)                                                      \
    X(GetPhysicalDeviceExternalBufferProperties)                                                   \
    X(EnumerateDeviceExtensionProperties)                                                          \
    X(CreateDevice)                                                                                \
    X(GetDeviceProcAddr)

#define VKM_VK_DEVICE_LIST(X)                                                                      \
    X(DestroyDevice)                                                                               \
    X(DeviceWaitIdle)                                                                              \
    X(GetDeviceQueue)                                                                              \
    X(QueueSubmit2)                                                                                \
    X(CreateSemaphore)                                                                             \
    X(DestroySemaphore)                                                                            \
    X(WaitSemaphores)                                                                              \
    X(CreateBuffer)                                                                                \
    X(DestroyBuffer)                                                                               \
    X(GetBufferMemoryRequirements)                                                                 \
    X(GetBufferDeviceAddress)                                                                      \
    X(GetMemoryHostPointerPropertiesEXT)                                                           \
    X(AllocateMemory)                                                                              \
    X(FreeMemory)                                                                                  \
    X(BindBufferMemory)                                                                            \
    X(MapMemory)                                                                                   \
    X(CreateShaderModule)                                                                          \
    X(DestroyShaderModule)                                                                         \
    X(CreatePipelineLayout)                                                                        \
    X(DestroyPipelineLayout)                                                                       \
    X(CreatePipelineCache)                                                                         \
    X(DestroyPipelineCache)                                                                        \
    X(GetPipelineCacheData)                                                                        \
    X(CreateComputePipelines)                                                                      \
    X(DestroyPipeline)                                                                             \
    X(CreateCommandPool)                                                                           \
    X(DestroyCommandPool)                                                                          \
    X(ResetCommandPool)                                                                            \
    X(AllocateCommandBuffers)                                                                      \
    X(BeginCommandBuffer)                                                                          \
    X(EndCommandBuffer)                                                                            \
    X(CmdPipelineBarrier2)                                                                         \
    X(CmdBindPipeline)                                                                             \
    X(CmdPushConstants)                                                                            \
    X(CmdDispatch)                                                                                 \
    X(CmdDispatchIndirect)                                                                         \
    X(CmdCopyBuffer)                                                                               \
    X(CmdResetQueryPool)                                                                           \
    X(CmdWriteTimestamp2)                                                                          \
    X(CreateQueryPool)                                                                             \
    X(DestroyQueryPool)                                                                            \
    X(GetQueryPoolResults)

struct vkm_vk {
#define VKM_VK_FIELD(name) PFN_vk##name name;
    VKM_VK_FIELD(GetInstanceProcAddr)
    VKM_VK_GLOBAL_LIST(VKM_VK_FIELD)
    VKM_VK_INSTANCE_LIST(VKM_VK_FIELD)
    VKM_VK_DEVICE_LIST(VKM_VK_FIELD)
#undef VKM_VK_FIELD
};

/* A Vulkan instance with its optional validation messenger. */
struct vkm_instance {
    VkInstance handle;
    VkDebugUtilsMessengerEXT messenger;
    PFN_vkDestroyDebugUtilsMessengerEXT destroy_messenger;
};

/* Fills the global and the instance part of *vk. */
vkmoe_status vkm_instance_create(const struct vkm_gpu_params *params, struct vkm_instance *instance,
                                 struct vkm_vk *vk, vkmoe_error *err);
void vkm_instance_destroy(struct vkm_instance *instance, const struct vkm_vk *vk);

/* Every physical device with what was probed of it, the default marked. *handles and *infos belong
 * to the caller (vkm_free). */
vkmoe_status vkm_devices_probe(const struct vkm_gpu_params *params, VkInstance instance,
                               const struct vkm_vk *vk, VkPhysicalDevice **handles,
                               vkmoe_device_info **infos, uint32_t *count, vkmoe_error *err);

/* False also where the driver does not say. */
bool vkm_device_has_extension(const struct vkm_gpu_params *params, const struct vkm_vk *vk,
                              VkPhysicalDevice device, const char *name);

#define VKM_MAX_QUEUE_FAMILIES 64 /* of a device; any beyond are not looked at */
/* Writes what queue families there are, and returns their number. */
uint32_t vkm_queue_families(const struct vkm_vk *vk, VkPhysicalDevice device,
                            VkQueueFamilyProperties families[VKM_MAX_QUEUE_FAMILIES]);
/* Whether a queue family copies and does nothing else (video engines copy too). */
bool vkm_only_copies(VkQueueFlags flags);

struct vkm_block; /* memory.c */
struct vkm_pipeline;

struct vkm_queue {
    VkQueue handle;
    uint32_t family;
    VkSemaphore timeline;
    uint64_t submitted; /* timeline value of the newest submit */
};

/* What a device was created with, as far as devices differ. */
struct vkm_features {
    bool int64, float16, int8_dot, matrices;
    uint32_t matrix;                 /* their shape, as in struct vkm_caps */
    VkSubgroupFeatureFlags subgroup; /* operations */
};

struct vkm_gpu {
    struct vkm_gpu_params params;
    const struct vkm_kernel_set *set;
    bool reference;
    bool rehearsal; /* blocks are booked, not allocated (rehearse.c) */
    struct vkm_caps caps;
    vkmoe_device_info info;
    char *cache_path; /* of the pipeline cache file, or NULL */

    struct vkm_vk vk;
    struct vkm_instance instance;
    VkPhysicalDevice physical;
    VkDevice device;
    struct vkm_queue compute, transfer; /* transfer.handle is compute's where there is no other */
    VkPhysicalDeviceMemoryProperties memory_properties;
    bool memory_budget;
    bool ignore_budget; /* ask the driver whatever it says of its budget */
    bool imports;       /* blocks are mapped by the process (import.c) */
    struct vkm_features features;
    bool preserve_inf_nan;   /* shaders may declare SignedZeroInfNanPreserve */
    double timestamp_period; /* nanoseconds in a tick; 0: no timestamps */
    uint64_t timestamp_mask;
    atomic_bool lost;
    _Atomic uint64_t waited_ns; /* that the host waited for queues */

    pthread_mutex_t submit_lock;
    uint64_t upload_done; /* transfer timeline value that the next compute submit must wait for */
    bool unsettled;       /* a wait failed: what was submitted is not known to have ended */
    bool abandoned;       /* it never ended: its Vulkan objects are not destroyed */

    pthread_mutex_t memory_lock;
    struct {
        struct vkm_block **items;
        size_t count, capacity;
    } blocks;
    uint64_t heap_used[VK_MAX_MEMORY_HEAPS];
    bool limited; /* heaps are taken for full at: */
    uint64_t heap_limit[VK_MAX_MEMORY_HEAPS];

    pthread_mutex_t pipeline_lock;
    VkPipelineLayout layout;
    VkPipelineCache cache;
    size_t cache_loaded; /* bytes that came from disk */
    struct {
        struct vkm_pipeline *items;
        size_t count, capacity;
    } pipelines;
    struct vkm_rates rates; /* used by one thread at a time, like submission */
};

/* Whether the device has VK_KHR_cooperative_matrix and the features that shaders with it need.
 * *shape is that of the matrices lib/gemm_coopmat.glsl is to take, as in struct vkm_caps; 0: none
 * suits. */
bool vkm_device_has_matrices(const struct vkm_gpu_params *params, const struct vkm_vk *vk,
                             VkInstance instance, VkPhysicalDevice device, uint32_t *shape);

/* What the paths need to know of a device. */
struct vkm_path_probe {
    const vkmoe_device_info *info; /* its subgroups */
    bool int64;                    /* 64-bit integers in shaders */
    bool ballot;                   /* a lane's values for all, as one of the subgroup operations */
    bool float16;                  /* 16-bit floats in shaders and their shared memory */
    bool int8_dot;                 /* products of four packed 8-bit integers, */
    bool int8_dot_fast;            /* which the driver calls accelerated */
    bool matrices;                 /* VK_KHR_cooperative_matrix and the features it needs here, */
    uint32_t matrix;               /* of this shape, as in struct vkm_caps; 0: none that suits */
};
/* Fills info->paths. */
void vkm_paths_probe(const struct vkm_path_probe *probe, vkmoe_device_info *info);
/* Fills caps.paths, from the wishes and what was probed. */
vkmoe_status vkm_paths_choose(struct vkm_gpu *gpu, vkmoe_error *err);

/* Fills *err for a failed Vulkan call; marks the device lost where that is what it means. */
vkmoe_status vkm_vk_fail(struct vkm_gpu *gpu, vkmoe_error *err, VkResult result, const char *call,
                         const char *file, int line);
const char *vkm_vk_result_name(VkResult result);
/* The status that a failed call's result stands for; `otherwise` where it is none of its own. */
vkmoe_status vkm_vk_status(VkResult result, vkmoe_status otherwise);

/* Runs gpu->vk.CALL; a failure does `undo`, fills err, sets `status` and jumps to the label `fail`.
 */
#define VK_OR(undo, call)                                                                          \
    do {                                                                                           \
        VkResult vk_result_ = gpu->vk.call;                                                        \
        if (vk_result_ < 0) {                                                                      \
            undo;                                                                                  \
            status = vkm_vk_fail(gpu, err, vk_result_, #call, __FILE__, __LINE__);                 \
            goto fail;                                                                             \
        }                                                                                          \
    } while (0)
#define VK(call) VK_OR((void)0, call)
/* For a call that makes *handle, of which nothing is certain once that failed. */
#define VK_MAKE(handle, call) VK_OR(*(handle) = VK_NULL_HANDLE, call)

vkmoe_status vkm_queue_init(struct vkm_gpu *gpu, struct vkm_queue *queue, vkmoe_error *err);
/* Submits one command buffer and advances the queue's timeline, to *value. Compute waits for
 * uploads that were flushed. Thread-safe. */
vkmoe_status vkm_queue_submit(struct vkm_gpu *gpu, struct vkm_queue *queue,
                              VkCommandBuffer commands, uint64_t *value, vkmoe_error *err);
/* Waits for a timeline value; DEVICE_LOST after params.hang_seconds. */
vkmoe_status vkm_queue_wait(struct vkm_gpu *gpu, struct vkm_queue *queue, uint64_t value,
                            vkmoe_error *err);
/* To be asked before anything is destroyed that a submit may touch. After a wait that failed the
 * device may still be at work: this waits for it, once and not for long. False if it goes on even
 * so; then the device is lost, and the Vulkan objects must be left alone, which leaks them, but
 * pulls no memory away under the driver. */
bool vkm_gpu_settle(struct vkm_gpu *gpu);

/* Whether memory that the process maps can and should be the device's: its own processor's alone.
 */
bool vkm_import_is_offered(const struct vkm_gpu *gpu);
void vkm_memory_init(struct vkm_gpu *gpu);
void vkm_memory_finish(struct vkm_gpu *gpu);
/* The Vulkan buffer and offset behind a view. */
VkBuffer vkm_view_vk(const struct vkm_view *view, VkDeviceSize *offset);

vkmoe_status vkm_pipelines_init(struct vkm_gpu *gpu, vkmoe_error *err);
void vkm_pipelines_finish(struct vkm_gpu *gpu);
vkmoe_status vkm_pipeline_get(struct vkm_gpu *gpu, const struct vkm_op *op, VkPipeline *out,
                              vkmoe_error *err);

/* Pipeline cache file (cache.c). */
char *vkm_cache_path(const struct vkm_gpu_params *params, const vkmoe_device_info *info,
                     const VkPhysicalDeviceProperties *properties);
/* *data belongs to the caller; NULL and 0 when there is no valid file. */
void vkm_cache_load(const struct vkm_gpu *gpu, void **data, size_t *size);
vkmoe_status vkm_cache_store(const struct vkm_gpu *gpu, const void *data, size_t size,
                             vkmoe_error *err);

#endif
