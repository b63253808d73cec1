/* Pipelines: SPIR-V and specialisation constants to VkPipeline, made once each. */
#include <string.h>

#include "base/array.h"
#include "gpu/spirv.h"
#include "gpu/vk.h"

struct vkm_pipeline {
    uint32_t kernel, variant;
    uint32_t spec[VKM_MAX_SPEC];
    uint32_t subgroup_size;
    VkPipeline handle;
};

vkmoe_status vkm_pipelines_init(struct vkm_gpu *gpu, vkmoe_error *err)
{
    vkmoe_status status = VKMOE_OK;
    void *data = NULL;
    VkPushConstantRange range = {.stageFlags = VK_SHADER_STAGE_COMPUTE_BIT, .size = 128};
    VkPipelineLayoutCreateInfo layout = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                         .pushConstantRangeCount = 1,
                                         .pPushConstantRanges = &range};
    VkPipelineCacheCreateInfo cache = {.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
    VK_MAKE(&gpu->layout, CreatePipelineLayout(gpu->device, &layout, NULL, &gpu->layout));
    vkm_cache_load(gpu, &data, &cache.initialDataSize);
    cache.pInitialData = data;
    gpu->cache_loaded = cache.initialDataSize;
    if (gpu->vk.CreatePipelineCache(gpu->device, &cache, NULL, &gpu->cache) < 0) {
        cache.initialDataSize = gpu->cache_loaded = 0;
        VK_MAKE(&gpu->cache, CreatePipelineCache(gpu->device, &cache, NULL, &gpu->cache));
    }
fail:
    vkm_free(gpu->params.allocator, data);
    return status;
}

void vkm_pipelines_finish(struct vkm_gpu *gpu)
{
    bool settled = vkm_gpu_settle(gpu);
    for (size_t i = 0; i < gpu->pipelines.count && settled; i++)
        gpu->vk.DestroyPipeline(gpu->device, gpu->pipelines.items[i].handle, NULL);
    vkm_free(gpu->params.allocator, gpu->pipelines.items);
    if (gpu->cache && settled)
        gpu->vk.DestroyPipelineCache(gpu->device, gpu->cache, NULL);
    if (gpu->layout && settled)
        gpu->vk.DestroyPipelineLayout(gpu->device, gpu->layout, NULL);
}

static VkPipeline find(struct vkm_gpu *gpu, const struct vkm_op *op)
{
    VkPipeline found = VK_NULL_HANDLE;
    pthread_mutex_lock(&gpu->pipeline_lock);
    for (size_t i = 0; i < gpu->pipelines.count && !found; i++) {
        const struct vkm_pipeline *p = &gpu->pipelines.items[i];
        if (p->kernel == op->kernel && p->variant == op->variant &&
            p->subgroup_size == op->subgroup_size &&
            memcmp(p->spec, op->spec, sizeof(p->spec)) == 0)
            found = p->handle;
    }
    pthread_mutex_unlock(&gpu->pipeline_lock);
    return found;
}

vkmoe_status vkm_gpu_shader(const struct vkm_gpu *gpu, const struct vkm_variant *variant,
                            uint32_t **code, size_t *size, vkmoe_error *err)
{
    const vkmoe_allocator *a = gpu->params.allocator;
    bool debug = gpu->params.check_addresses;
    const uint32_t *own = debug ? variant->debug_code : variant->code;
    *size = debug ? variant->debug_code_size : variant->code_size;
    if (gpu->preserve_inf_nan)
        *code = vkm_spirv_preserve_inf_nan(a, own, *size, size);
    else if ((*code = vkm_malloc(a, *size, 1)))
        memcpy(*code, own, *size);
    return *code ? VKMOE_OK : vkm_fail_memory(err, *size, "a shader");
}

static vkmoe_status create_module(struct vkm_gpu *gpu, const struct vkm_variant *variant,
                                  VkShaderModule *out, vkmoe_error *err)
{
    uint32_t *code;
    VkShaderModuleCreateInfo info = {.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO};
    vkmoe_status status = vkm_gpu_shader(gpu, variant, &code, &info.codeSize, err);
    if (status != VKMOE_OK)
        return status;
    info.pCode = code;
    VK_MAKE(out, CreateShaderModule(gpu->device, &info, NULL, out));
fail:
    vkm_free(gpu->params.allocator, code);
    return status;
}

static vkmoe_status build(struct vkm_gpu *gpu, const struct vkm_op *op, VkPipeline *out,
                          vkmoe_error *err)
{
    const struct vkm_kernel *kernel = &gpu->set->kernels[op->kernel];
    const struct vkm_variant *variant = &kernel->variants[op->variant];
    bool subgroup = vkm_path_is_sized(variant->path);
    VkShaderModule module = VK_NULL_HANDLE;
    VkSpecializationMapEntry entries[VKM_MAX_SPEC];
    for (uint32_t i = 0; i < kernel->n_spec; i++)
        entries[i] =
            (VkSpecializationMapEntry){i, i * (uint32_t)sizeof(uint32_t), sizeof(uint32_t)};
    VkSpecializationInfo spec = {.mapEntryCount = kernel->n_spec,
                                 .pMapEntries = entries,
                                 .dataSize = sizeof(op->spec),
                                 .pData = op->spec};
    VkPipelineShaderStageRequiredSubgroupSizeCreateInfo size = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO,
        .requiredSubgroupSize = op->subgroup_size};
    bool sized = subgroup && gpu->info.subgroup_min != gpu->info.subgroup_max;
    VkComputePipelineCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                  .pNext = sized ? &size : NULL,
                  .flags =
                      subgroup ? VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT : 0,
                  .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                  .pName = "main",
                  .pSpecializationInfo = &spec},
        .layout = gpu->layout,
    };
    vkmoe_status status = create_module(gpu, variant, &module, err);
    if (status != VKMOE_OK)
        return status;
    info.stage.module = module;
    VK(CreateComputePipelines(gpu->device, gpu->cache, 1, &info, NULL, out));
fail:
    gpu->vk.DestroyShaderModule(gpu->device, module, NULL);
    return status;
}

vkmoe_status vkm_pipeline_get(struct vkm_gpu *gpu, const struct vkm_op *op, VkPipeline *out,
                              vkmoe_error *err)
{
    *out = find(gpu, op);
    if (*out)
        return VKMOE_OK;
    /* Two threads may build the same one; the cache makes that cheap and the loser is kept too. */
    vkmoe_status status = build(gpu, op, out, err);
    if (status != VKMOE_OK)
        return status;
    pthread_mutex_lock(&gpu->pipeline_lock);
    bool room = VKM_ARRAY_RESERVE(gpu->params.allocator, &gpu->pipelines, 1);
    if (room) {
        struct vkm_pipeline *p = &gpu->pipelines.items[gpu->pipelines.count++];
        *p = (struct vkm_pipeline){.kernel = op->kernel,
                                   .variant = op->variant,
                                   .subgroup_size = op->subgroup_size,
                                   .handle = *out};
        memcpy(p->spec, op->spec, sizeof(p->spec));
    }
    pthread_mutex_unlock(&gpu->pipeline_lock);
    if (!room) {
        gpu->vk.DestroyPipeline(gpu->device, *out, NULL);
        return vkm_fail_memory(err, sizeof(struct vkm_pipeline), "a pipeline");
    }
    return VKMOE_OK;
}

vkmoe_status vkm_gpu_compile(struct vkm_gpu *gpu, const struct vkm_stream *stream,
                             const atomic_bool *cancel, vkmoe_error *err)
{
    for (size_t i = 0; i < stream->ops.count && !gpu->reference; i++) {
        VkPipeline pipeline;
        if (cancel && atomic_load(cancel))
            return vkm_fail(err, VKMOE_CANCELLED, "cancelled while shaders were compiled");
        vkmoe_status status = vkm_pipeline_get(gpu, &stream->ops.items[i], &pipeline, err);
        if (status != VKMOE_OK)
            return status;
    }
    return VKMOE_OK;
}

void vkm_gpu_save_cache(struct vkm_gpu *gpu)
{
    const vkmoe_allocator *a = gpu->params.allocator;
    vkmoe_error err;
    size_t size = 0;
    if (gpu->reference || gpu->lost || !gpu->cache_path ||
        gpu->vk.GetPipelineCacheData(gpu->device, gpu->cache, &size, NULL) < 0 ||
        size == gpu->cache_loaded)
        return;
    void *data = vkm_malloc(a, size, 1);
    if (data && gpu->vk.GetPipelineCacheData(gpu->device, gpu->cache, &size, data) == VK_SUCCESS) {
        if (vkm_cache_store(gpu, data, size, &err) == VKMOE_OK)
            gpu->cache_loaded = size;
        else
            vkm_log(gpu->params.log, VKMOE_LOG_WARNING, "pipeline cache not kept: %s", err.message);
    }
    vkm_free(a, data);
}
