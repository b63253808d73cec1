/* The pipeline cache on disk: one file for each device and driver, checked before it is trusted. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "gpu/vk.h"

#define CACHE_LIMIT (UINT64_C(256) << 20)

struct header {
    char magic[8];
    uint64_t size; /* of what follows the header */
    uint64_t hash; /* of what follows the header */
};

static const char magic[8] = "vkmoePC1";

static char *default_folder(const vkmoe_allocator *a)
{
    const char *xdg = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    if (xdg && xdg[0] == '/')
        return vkm_format(a, "%s/vkmoe", xdg);
    if (home && home[0] == '/')
        return vkm_format(a, "%s/.cache/vkmoe", home);
    return NULL;
}

char *vkm_cache_folder(const struct vkm_gpu_params *params)
{
    if (params->cache_dir && params->cache_dir[0] == '\0')
        return NULL;
    return params->cache_dir ? vkm_strdup(params->allocator, params->cache_dir)
                             : default_folder(params->allocator);
}

char *vkm_cache_path(const struct vkm_gpu_params *params, const vkmoe_device_info *info,
                     const VkPhysicalDeviceProperties *properties)
{
    const vkmoe_allocator *a = params->allocator;
    char *folder = vkm_cache_folder(params);
    if (!folder)
        return NULL;
    uint64_t key = vkm_hash(VKM_HASH_INIT, info->driver, strlen(info->driver));
    key = vkm_hash(key, &properties->driverVersion, sizeof(properties->driverVersion));
    key = vkm_hash(key, properties->pipelineCacheUUID, VK_UUID_SIZE);
    char *path =
        vkm_format(a, "%s/%s-%016llx.pipelines", folder, info->uuid, (unsigned long long)key);
    vkm_free(a, folder);
    return path;
}

char *vkm_gpu_cache_file(const struct vkm_gpu *gpu, const char *name)
{
    if (!gpu->cache_path)
        return NULL;
    int folder = (int)(strrchr(gpu->cache_path, '/') - gpu->cache_path);
    return vkm_format(gpu->params.allocator, "%.*s/%s", folder, gpu->cache_path, name);
}

static bool valid(const char *file, size_t size)
{
    struct header h;
    if (size < sizeof(h))
        return false;
    memcpy(&h, file, sizeof(h));
    return memcmp(h.magic, magic, sizeof(magic)) == 0 && h.size == size - sizeof(h) &&
           h.hash == vkm_hash(VKM_HASH_INIT, file + sizeof(h), size - sizeof(h));
}

void vkm_cache_load(const struct vkm_gpu *gpu, void **data, size_t *size)
{
    const vkmoe_allocator *a = gpu->params.allocator;
    vkmoe_error err = {0};
    char *file = NULL;
    size_t n = 0;
    *data = NULL;
    *size = 0;
    if (!gpu->cache_path)
        return;
    vkmoe_status status = vkm_file_read(a, gpu->cache_path, CACHE_LIMIT, &file, &n, &err);
    if (status != VKMOE_OK) {
        if (status != VKMOE_NOT_FOUND)
            vkm_log(gpu->params.log, VKMOE_LOG_WARNING, "pipeline cache ignored: %s", err.message);
        return;
    }
    if (!valid(file, n)) {
        vkm_log(gpu->params.log, VKMOE_LOG_WARNING, "pipeline cache %s is damaged; ignored",
                gpu->cache_path);
        vkm_free(a, file);
        return;
    }
    *size = n - sizeof(struct header);
    memmove(file, file + sizeof(struct header), *size);
    *data = file;
}

/* Like mkdir -p. */
void vkm_cache_make_folders(const char *path)
{
    char above[4096];
    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        size_t n = (size_t)(slash - path);
        if (n >= sizeof(above))
            return; /* no system takes such a path */
        memcpy(above, path, n);
        above[n] = '\0';
        (void)mkdir(above, 0755);
    }
}

vkmoe_status vkm_cache_store(const struct vkm_gpu *gpu, const void *data, size_t size,
                             vkmoe_error *err)
{
    struct header h = {.size = size, .hash = vkm_hash(VKM_HASH_INIT, data, size)};
    struct vkm_writer *writer;
    memcpy(h.magic, magic, sizeof(magic));
    vkm_cache_make_folders(gpu->cache_path);
    vkmoe_status status = vkm_writer_open(gpu->params.allocator, gpu->cache_path, &writer, err);
    if (status != VKMOE_OK)
        return status;
    vkm_writer_write(writer, &h, sizeof(h));
    vkm_writer_write(writer, data, size);
    return vkm_writer_commit(writer, err);
}
