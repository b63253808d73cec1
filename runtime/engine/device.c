#include <stdio.h>
#include <stdlib.h>

#include "engine/engine.h"
#include "engine/verdict.h"
#include "kernels/kernels.h"
#include "kernels/ops.h"

/* An empty variable says nothing. */
static bool no_tuning(void)
{
    const char *text = getenv("VKMOE_NO_TUNING");
    return text && text[0] != '\0';
}

vkmoe_status vkm_device_gpu_params(const vkmoe_device_params *params, struct vkm_gpu_params *out,
                                   vkmoe_error *err)
{
    static const vkmoe_device_params defaults = {0};
    const vkmoe_device_params *p = params ? params : &defaults;
    *out = (struct vkm_gpu_params){
        .allocator = p->allocator,
        .log = p->log,
        .selector = p->selector ? p->selector : getenv("VKMOE_DEVICE"),
        .validation = p->validation,
        .check_addresses = p->check_addresses,
        .force_staging = p->force_staging,
        .no_subgroups = p->no_subgroups,
        .tiled_rows = p->tiled_rows,
        .split_positions = p->split_positions,
        .cache_dir = p->cache_dir,
        .no_tuning = p->no_tuning || no_tuning(),
        .hang_seconds = p->hang_seconds,
        .go_on = p->go_on,
        .user = p->user,
    };
    return vkm_paths_parse(p->paths, out->wishes, err);
}

vkmoe_status vkmoe_paths_check(const char *paths, vkmoe_error *err)
{
    enum vkm_wish wishes[VKM_PATH_COUNT];
    return vkm_paths_parse(paths, wishes, err);
}

static void name_path(char name[16], enum vkm_path path)
{
    snprintf(name, 16, "%s", vkm_path_name(path));
}

static void foresee_paths(const struct vkm_gpu_params *params, vkmoe_device_info *info)
{
    struct vkm_caps caps = vkm_caps_expected(params, info);
    name_path(info->decode_path, vkm_launch_team_path(&caps));
    name_path(info->f32_path, vkm_product_path(&caps, VKM_DTYPE_F32));
    name_path(info->half_path, vkm_product_path(&caps, VKM_DTYPE_BF16));
    name_path(info->quantised_path, vkm_product_path(&caps, VKM_DTYPE_Q8));
}

vkmoe_status vkmoe_device_list(const vkmoe_device_params *params, vkmoe_device_info *infos,
                               size_t capacity, size_t *count, vkmoe_error *err)
{
    VKM_REQUIRE(count && (infos || capacity == 0), err);
    struct vkm_gpu_params p;
    vkmoe_status status = vkm_device_gpu_params(params, &p, err);
    if (status == VKMOE_OK)
        status = vkm_gpu_list(&p, infos, capacity, count, err);
    for (size_t i = 0; status == VKMOE_OK && i < *count && i < capacity; i++) {
        struct vkm_tuning tuning;
        vkm_verdicts_recall(&p, &infos[i]);
        if (infos[i].usable)
            foresee_paths(&p, &infos[i]);
        infos[i].tuned = infos[i].usable && vkm_tuning_load(&p, &infos[i], &tuning);
        infos[i].tuning = infos[i].tuned ? tuning.hash : 0;
        infos[i].n_tuned = infos[i].tuned ? vkm_tuning_choices(&tuning) : 0;
    }
    return status;
}

vkmoe_status vkm_device_open(const vkmoe_device_params *params, vkm_vulkan_loader *loader,
                             vkmoe_device **out, vkmoe_error *err)
{
    struct vkm_gpu_params p;
    vkmoe_status status = vkm_device_gpu_params(params, &p, err);
    if (status != VKMOE_OK)
        return status;
    p.loader = loader;
    p.admit = loader ? NULL : vkm_selftest_admit; /* which tests what everybody's loader finds */
    struct vkmoe_device *device = vkm_calloc(p.allocator, 1, sizeof(*device));
    if (!device)
        return vkm_fail_memory(err, sizeof(*device), "a device");
    status = vkm_gpu_open(&p, &vkm_kernels, &device->gpu, err);
    if (status != VKMOE_OK) {
        vkm_free(p.allocator, device);
        return status;
    }
    if (vkm_tuning_load(&p, vkm_gpu_info(device->gpu), &device->tuning))
        vkm_gpu_tune(device->gpu, &device->tuning, device->tuning.hash);
    *out = device;
    return VKMOE_OK;
}

vkmoe_status vkmoe_device_open(const vkmoe_device_params *params, vkmoe_device **out,
                               vkmoe_error *err)
{
    VKM_REQUIRE(out, err);
    return vkm_device_open(params, NULL, out, err);
}

void vkmoe_device_close(vkmoe_device *device)
{
    if (!device)
        return;
    const vkmoe_allocator *a = vkm_gpu_allocator(device->gpu);
    vkm_gpu_save_cache(device->gpu); /* pipelines that were first needed after loading */
    vkm_gpu_close(device->gpu);
    vkm_free(a, device);
}

const vkmoe_device_info *vkmoe_device_get_info(const vkmoe_device *device)
{
    return vkm_gpu_info(device->gpu);
}
