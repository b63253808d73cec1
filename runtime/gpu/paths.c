#include "gpu/paths.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "gpu/vk.h"

static const struct vkm_path_row rows[] = {
#define TRUSTED false
#define TESTED true
#define PATH(name, text, kernels, weights, needs, rounds, trust)                                   \
    {text, VKM_ROUNDING_##rounds, trust},
#include "gpu/paths.def"
#undef PATH
#undef TRUSTED
#undef TESTED
};
_Static_assert(VKM_PATH_COUNT <= VKMOE_MAX_PATHS, "room for every path");

const struct vkm_path_row *vkm_path_row(enum vkm_path path)
{
    return &rows[path];
}

const char *vkm_path_name(enum vkm_path path)
{
    return rows[path].name;
}

bool vkm_path_is_sized(enum vkm_path path)
{
    return path == VKM_PATH_SUBGROUP || path == VKM_PATH_WIDE || path == VKM_PATH_COOPMAT;
}

/* --- wishes --- */

/* The first n bytes, as a message may hold them. */
static const char *shown(const char *bytes, size_t n, char text[VKM_PRINTABLE_SIZE])
{
    char part[VKM_PRINTABLE_SIZE];
    snprintf(part, sizeof(part), "%.*s", (int)(n < sizeof(part) ? n : sizeof(part)), bytes);
    return vkm_printable(text, part);
}

static vkmoe_status no_such_path(const char *name, size_t n, vkmoe_error *err)
{
    char text[VKM_PRINTABLE_SIZE], names[128] = "";
    size_t at = 0;
    for (uint32_t i = 0; i < VKM_PATH_COUNT; i++)
        at += (size_t)snprintf(names + at, sizeof(names) - at, i ? ", %s" : "%s", rows[i].name);
    return vkm_fail(err, VKMOE_INVALID_ARGUMENT, "paths: there is no '%s', expected one of %s",
                    shown(name, n, text), names);
}

/* Reads one item, "+int8". */
static vkmoe_status parse_item(const char *item, size_t n, enum vkm_wish wishes[VKM_PATH_COUNT],
                               vkmoe_error *err)
{
    char text[VKM_PRINTABLE_SIZE];
    size_t signs = n > 1 && strncmp(item, "++", 2) == 0 ? 2 : 1;
    enum vkm_wish wish = signs == 2 ? VKM_WISH_FORCE : item[0] == '+' ? VKM_WISH_ON : VKM_WISH_OFF;
    uint32_t path = 0;
    if (n == 0 || (item[0] != '+' && item[0] != '-'))
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "paths: found '%s', expected -NAME, +NAME or ++NAME", shown(item, n, text));
    while (path < VKM_PATH_COUNT && (strlen(rows[path].name) != n - signs ||
                                     strncmp(rows[path].name, item + signs, n - signs) != 0))
        path++;
    if (path == VKM_PATH_COUNT)
        return no_such_path(item + signs, n - signs, err);
    if (path == VKM_PATH_BASE && wish == VKM_WISH_OFF)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "paths: found -%s, which is what runs where no other path does",
                        rows[path].name);
    wishes[path] = wish;
    return VKMOE_OK;
}

vkmoe_status vkm_paths_parse(const char *text, enum vkm_wish wishes[VKM_PATH_COUNT],
                             vkmoe_error *err)
{
    vkmoe_status status = VKMOE_OK;
    memset(wishes, 0, VKM_PATH_COUNT * sizeof(*wishes));
    if (!text || !text[0])
        return VKMOE_OK;
    for (const char *item = text; item && status == VKMOE_OK;) {
        size_t n = strcspn(item, ",");
        status = parse_item(item, n, wishes, err);
        item = item[n] ? item + n + 1 : NULL;
    }
    return status;
}

/* --- what a device can run, and what suits it --- */

/* Fills the reason where the device cannot run a path, and suits where it should. */
typedef void need_fn(const struct vkm_path_probe *probe, vkmoe_path_info *info);

static void vkm_need_nothing(const struct vkm_path_probe *probe, vkmoe_path_info *info)
{
    (void)probe;
    info->suits = true;
}

static void vkm_need_subgroups(const struct vkm_path_probe *probe, vkmoe_path_info *info)
{
    info->suits = probe->info->subgroup_arithmetic;
    if (!info->suits)
        snprintf(info->reason, sizeof(info->reason),
                 "it lacks subgroup arithmetic with subgroups of a known size");
}

/* A GPU loads 16 bytes at a time and shares what lanes load alike; CPU drivers gather word by word,
 * or eight bytes. */
static void vkm_need_wide_loads(const struct vkm_path_probe *probe, vkmoe_path_info *info)
{
    const char *missing = probe->info->kind != VKMOE_DEVICE_CPU
                              ? "it is no CPU driver, for which the path is made"
                          : !probe->int64  ? "it lacks shaderInt64"
                          : !probe->ballot ? "it lacks subgroup operations of the kind ballot"
                                           : NULL;
    if (missing)
        snprintf(info->reason, sizeof(info->reason), "%s", missing);
    else
        vkm_need_subgroups(probe, info);
}

/* Shared memory holds 16-bit floats wherever shaders compute with them; buffers are read as 32-bit
 * words. Drivers offer them where two are multiplied in the time of one of 32 bits, but for those
 * of CPUs. */
static void vkm_need_float16(const struct vkm_path_probe *probe, vkmoe_path_info *info)
{
    info->suits = probe->float16 && probe->info->kind != VKMOE_DEVICE_CPU;
    if (!probe->float16)
        snprintf(info->reason, sizeof(info->reason), "it lacks shaderFloat16");
}

static void vkm_need_int8_dot(const struct vkm_path_probe *probe, vkmoe_path_info *info)
{
    info->suits = probe->int8_dot && probe->int8_dot_fast;
    if (!probe->int8_dot)
        snprintf(info->reason, sizeof(info->reason), "it lacks shaderIntegerDotProduct");
}

#define MATRIX_SHARED 32768u /* bytes that the lowest tiles have room in: kernels/tiles.c */

static void vkm_need_matrices(const struct vkm_path_probe *probe, vkmoe_path_info *info)
{
    const char *missing =
        !VKM_BUILT_COOPMAT ? "this build has no shaders for it, as its glslang "
                             "lacks GL_KHR_cooperative_matrix"
        : !probe->matrices ? "it lacks VK_KHR_cooperative_matrix, or memory model "
                             "or float16 for it"
        : !probe->matrix   ? "none of its matrices has sides of 8 or 16, of float16 added up in "
                             "float32 by a subgroup"
        : !(probe->info->subgroup_sizes & probe->info->subgroup_size) ||
                4 * probe->info->subgroup_size > probe->info->max_invocations
            ? "it cannot run workgroups of four full subgroups"
        : probe->info->shared_memory < MATRIX_SHARED ? "its workgroups have less than 32 KiB of "
                                                       "shared memory"
                                                     : NULL;
    info->suits = !missing && probe->info->kind != VKMOE_DEVICE_CPU;
    if (missing)
        snprintf(info->reason, sizeof(info->reason), "%s", missing);
}

static need_fn *const needs[] = {
#define PATH(name, text, kernels, weights, needs, rounds, trust) vkm_need_##needs,
#include "gpu/paths.def"
#undef PATH
};

/* Why a path that can run is not what the device is best at. */
static const char *const unsuited[VKM_PATH_COUNT] = {
    [VKM_PATH_FP16] = "CPU drivers convert float16 back and forth",
    [VKM_PATH_COOPMAT] = "CPU drivers have no matrix units for it",
    [VKM_PATH_INT8] = "the driver does not accelerate packed int8 dot products",
};

void vkm_paths_probe(const struct vkm_path_probe *probe, vkmoe_device_info *info)
{
    info->n_paths = VKM_PATH_COUNT;
    for (uint32_t i = 0; i < VKM_PATH_COUNT; i++) {
        vkmoe_path_info *path = &info->paths[i];
        *path =
            (vkmoe_path_info){.state = rows[i].tested ? VKMOE_PATH_UNTESTED : VKMOE_PATH_TRUSTED};
        snprintf(path->name, sizeof(path->name), "%s", rows[i].name);
        needs[i](probe, path);
        if (path->reason[0])
            path->state = VKMOE_PATH_MISSING;
        else if (!path->suits && unsuited[i])
            snprintf(path->reason, sizeof(path->reason), "%s", unsuited[i]);
    }
}

/* --- what an opened device uses --- */

/* Whether a path is used. */
static vkmoe_status choose(struct vkm_gpu *gpu, enum vkm_path path, enum vkm_wish wish, bool *used,
                           vkmoe_error *err)
{
    vkmoe_path_info *info = &gpu->info.paths[path];
    if (wish == VKM_WISH_OFF)
        return VKMOE_OK;
    if (info->state == VKMOE_PATH_MISSING)
        return wish == VKM_WISH_NONE
                   ? VKMOE_OK
                   : vkm_fail(err, VKMOE_UNSUPPORTED, "%s cannot run the path %s: %s",
                              gpu->info.name, info->name, info->reason);
    if (wish == VKM_WISH_FORCE || gpu->params.all_paths)
        *used = true;
    else if (info->suits || wish == VKM_WISH_ON)
        *used = info->state == VKMOE_PATH_TRUSTED ||
                (gpu->params.admit && gpu->params.admit(gpu, path));
    if (!*used && gpu->params.go_on && !gpu->params.go_on(gpu->params.user))
        return vkm_fail(err, VKMOE_CANCELLED, "cancelled");
    return VKMOE_OK;
}

vkmoe_status vkm_paths_choose(struct vkm_gpu *gpu, vkmoe_error *err)
{
    vkmoe_status status = VKMOE_OK;
    for (uint32_t i = 0; i < VKM_PATH_COUNT && status == VKMOE_OK; i++) {
        bool used = false, off = i == VKM_PATH_SUBGROUP && gpu->params.no_subgroups;
        off |= i == VKM_PATH_WIDE && !gpu->caps.paths[VKM_PATH_SUBGROUP]; /* a form of it */
        status =
            choose(gpu, (enum vkm_path)i, off ? VKM_WISH_OFF : gpu->params.wishes[i], &used, err);
        gpu->caps.paths[i] = gpu->info.paths[i].used = used;
        if (used && rows[i].tested)
            vkm_log(gpu->params.log, VKMOE_LOG_INFO, "path %s is used on %s", rows[i].name,
                    gpu->info.name);
    }
    return status;
}
