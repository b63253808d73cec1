#include "engine/tuning.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "vkmoe/version.h"

#define LARGEST_FILE (64u << 10)

static bool expect_path(const struct vkm_gpu_params *params, const vkmoe_device_info *info,
                        enum vkm_path path)
{
    const vkmoe_path_info *p = &info->paths[path];
    enum vkm_wish wish = params->wishes[path];
    bool runs = p->state != VKMOE_PATH_MISSING && p->state != VKMOE_PATH_FAILED;
    return runs && wish != VKM_WISH_OFF && (p->suits || wish != VKM_WISH_NONE);
}

struct vkm_caps vkm_caps_expected(const struct vkm_gpu_params *params,
                                  const vkmoe_device_info *info)
{
    struct vkm_caps caps = {.max_invocations = info->max_invocations,
                            .shared_bytes = info->shared_memory,
                            .cpu = info->kind == VKMOE_DEVICE_CPU};
    for (uint32_t i = 0; i < VKM_PATH_COUNT; i++)
        caps.paths[i] = expect_path(params, info, (enum vkm_path)i);
    bool subgroup = info->subgroup_arithmetic && !params->no_subgroups &&
                    params->wishes[VKM_PATH_SUBGROUP] != VKM_WISH_OFF;
    caps.subgroup_size = subgroup ? info->subgroup_size : 0;
    caps.paths[VKM_PATH_SUBGROUP] = subgroup;
    caps.paths[VKM_PATH_WIDE] &= subgroup; /* a form of it */
    return caps;
}

/* One file for each driver of a device and path; NULL where there is no cache folder, or no device.
 */
static char *file_of(const struct vkm_gpu_params *params, const vkmoe_device_info *info)
{
    const vkmoe_allocator *a = params->allocator;
    struct vkm_caps caps = vkm_caps_expected(params, info);
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
    struct vkm_caps caps = vkm_caps_expected(params, info);
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
    struct vkm_caps caps = vkm_caps_expected(params, info);
    identify(params, info, identity);
    enum vkm_tuning_verdict verdict = vkm_tuning_parse(text, size, identity, &caps, tuning);
    if (verdict != VKM_TUNING_GOOD)
        vkm_log(params->log, VKMOE_LOG_WARNING, "tuning file %s %s; ignored", path,
                reasons[verdict]);
    return verdict == VKM_TUNING_GOOD;
}

/* Whatever params->no_tuning says; path may be NULL. */
static bool load(const struct vkm_gpu_params *params, const vkmoe_device_info *info,
                 const char *path, struct vkm_tuning *tuning)
{
    const vkmoe_allocator *a = params->allocator;
    char *text = NULL;
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
    return good;
}

bool vkm_tuning_load(const struct vkm_gpu_params *params, const vkmoe_device_info *info,
                     struct vkm_tuning *tuning)
{
    char *path = params->no_tuning ? NULL : file_of(params, info);
    bool good = load(params, info, path, tuning);
    if (good)
        vkm_log(params->log, VKMOE_LOG_INFO, "launches are tuned by %s", path);
    vkm_free(params->allocator, path);
    return good;
}

/* Adds what the file there has for others. */
static void merge(const struct vkm_gpu_params *params, const vkmoe_device_info *info,
                  const char *path, vkm_tuned_set looked_for, struct vkm_tuning *tuning)
{
    struct vkm_tuning before;
    if (!load(params, info, path, &before))
        return;
    for (uint32_t k = 0; k < VKM_KERNEL_COUNT; k++)
        for (int type = 0; type < VKM_TUNED_TYPES; type++)
            if (!looked_for[k][type])
                tuning->kernels[k][type] = before.kernels[k][type];
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
                              const struct vkm_tuning *tuning, vkm_tuned_set looked_for,
                              char **path, vkmoe_error *err)
{
    const vkmoe_allocator *a = params->allocator;
    char identity[256];
    char *file = file_of(params, info);
    if (!file)
        return vkm_fail(err, VKMOE_NOT_FOUND,
                        "there is no cache folder that what was tuned could be kept in");
    identify(params, info, identity);
    struct vkm_tuning merged = *tuning;
    merge(params, info, file, looked_for, &merged);
    char *text = vkm_tuning_format(a, &merged, identity);
    vkmoe_status status = text ? write_file(a, file, text, err)
                               : vkm_fail_memory(err, LARGEST_FILE, "what was tuned");
    vkm_free(a, text);
    if (status == VKMOE_OK)
        *path = file;
    else
        vkm_free(a, file);
    return status;
}
