#include "engine/tuning.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "vkmoe/version.h"

#define LARGEST_FILE (64u << 10)

/* What of the device's capabilities the launch table goes by, whether it is open or not. */
static struct vkm_caps caps_of(const struct vkm_gpu_params *params, const vkmoe_device_info *info)
{
    bool subgroup = info->subgroup_arithmetic && !params->no_subgroups &&
                    params->wishes[VKM_PATH_SUBGROUP] != VKM_WISH_OFF;
    bool wide = subgroup && info->paths[VKM_PATH_WIDE].suits &&
                params->wishes[VKM_PATH_WIDE] != VKM_WISH_OFF;
    return (struct vkm_caps){
        .max_invocations = info->max_invocations,
        .shared_bytes = info->shared_memory,
        .subgroup_size = subgroup ? info->subgroup_size : 0,
        .paths = {[VKM_PATH_BASE] = true, [VKM_PATH_SUBGROUP] = subgroup, [VKM_PATH_WIDE] = wide},
        .cpu = info->kind == VKMOE_DEVICE_CPU,
    };
}

/* One file for each driver of a device and path; NULL where there is no cache folder, or no device.
 */
static char *file_of(const struct vkm_gpu_params *params, const vkmoe_device_info *info)
{
    const vkmoe_allocator *a = params->allocator;
    struct vkm_caps caps = caps_of(params, info);
    char *folder = info->kind == VKMOE_DEVICE_REFERENCE ? NULL : vkm_cache_folder(params);
    if (!folder)
        return NULL;
    char *path = vkm_format(a, "%s/%s-%" PRIu32 "-%d.tuning", folder, info->uuid, info->driver_id,
                            (int)vkm_launch_class(&caps));
    vkm_free(a, folder);
    return path;
}

static void identify(const struct vkm_gpu_params *params, const vkmoe_device_info *info,
                     char text[256])
{
    struct vkm_caps caps = caps_of(params, info);
    snprintf(text, 256,
             "device %s\ndriver %" PRIu32 " version %" PRIu32 " subgroup %" PRIu32
             "\nbuild %s %016" PRIx64 "\n",
             info->uuid, info->driver_id, info->driver_version, caps.subgroup_size, VKMOE_VERSION,
             vkm_launch_build());
}

static bool accept(const struct vkm_gpu_params *params, const vkmoe_device_info *info,
                   const char *path, const char *text, size_t size, struct vkm_tuning *tuning)
{
    static const char *const reasons[] = {
        [VKM_TUNING_DAMAGED] = "is damaged",
        [VKM_TUNING_OTHERS] = "is of another version of the driver or build of vkmoe",
        [VKM_TUNING_BEYOND] = "asks for what the device does not grant",
    };
    char identity[256];
    struct vkm_caps caps = caps_of(params, info);
    identify(params, info, identity);
    enum vkm_tuning_verdict verdict = vkm_tuning_parse(text, size, identity, &caps, tuning);
    if (verdict != VKM_TUNING_GOOD)
        vkm_log(params->log, VKMOE_LOG_WARNING, "tuning file %s %s; ignored", path,
                reasons[verdict]);
    return verdict == VKM_TUNING_GOOD;
}

bool vkm_tuning_load(const struct vkm_gpu_params *params, const vkmoe_device_info *info,
                     struct vkm_tuning *tuning)
{
    const vkmoe_allocator *a = params->allocator;
    char *path = params->no_tuning ? NULL : file_of(params, info), *text = NULL;
    size_t size = 0;
    vkmoe_error err;
    if (!path)
        return false;
    vkmoe_status status = vkm_file_read(a, path, LARGEST_FILE, &text, &size, &err);
    bool good = status == VKMOE_OK && accept(params, info, path, text, size, tuning);
    if (status == VKMOE_OK)
        vkm_free(a, text);
    else if (status != VKMOE_NOT_FOUND)
        vkm_log(params->log, VKMOE_LOG_WARNING, "tuning file ignored: %s", err.message);
    if (good)
        vkm_log(params->log, VKMOE_LOG_INFO, "launches are tuned by %s", path);
    vkm_free(a, path);
    return good;
}

static vkmoe_status write_file(const vkmoe_allocator *a, const char *path, const char *text,
                               vkmoe_error *err)
{
    struct vkm_writer *writer;
    vkm_cache_make_folders(path);
    vkmoe_status status = vkm_writer_open(a, path, &writer, err);
    if (status != VKMOE_OK)
        return status;
    vkm_writer_write(writer, text, strlen(text));
    return vkm_writer_commit(writer, err);
}

vkmoe_status vkm_tuning_store(const struct vkm_gpu_params *params, const vkmoe_device_info *info,
                              const struct vkm_tuning *tuning, char **path, vkmoe_error *err)
{
    const vkmoe_allocator *a = params->allocator;
    char identity[256];
    char *file = file_of(params, info);
    if (!file)
        return vkm_fail(err, VKMOE_NOT_FOUND,
                        "there is no cache folder that what was tuned could be kept in");
    identify(params, info, identity);
    char *text = vkm_tuning_format(a, tuning, identity);
    vkmoe_status status = text ? write_file(a, file, text, err)
                               : vkm_fail_memory(err, LARGEST_FILE, "what was tuned");
    vkm_free(a, text);
    if (status == VKMOE_OK)
        *path = file;
    else
        vkm_free(a, file);
    return status;
}
