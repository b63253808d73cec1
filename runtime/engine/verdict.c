/* Verdicts of self-tests on disk: a file for each device, driver, library and path. */
#include "engine/verdict.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "kernels/kernels.h"
#include "vkmoe/version.h"

#define FORMAT "vkmoe verdict 1"
#define LIMIT 65536u

/* What a verdict holds for. */
struct subject {
    const vkmoe_device_info *device;
    const char *path;
    char build[64]; /* of the library: its version, and a hash of the path's shaders */
};

static uint64_t hash_shaders(enum vkm_path path)
{
    uint64_t hash = VKM_HASH_INIT;
    for (uint32_t k = 0; k < vkm_kernels.count; k++) {
        const struct vkm_kernel *kernel = &vkm_kernels.kernels[k];
        for (uint32_t v = 0; v < kernel->n_variants; v++)
            if (kernel->variants[v].path == path)
                hash = vkm_hash(hash, kernel->variants[v].code, kernel->variants[v].code_size);
    }
    return hash;
}

static struct subject subject_of(const vkmoe_device_info *device, enum vkm_path path)
{
    struct subject s = {.device = device, .path = vkm_path_name(path)};
    snprintf(s.build, sizeof(s.build), "%s %016llx", VKMOE_VERSION,
             (unsigned long long)hash_shaders(path));
    return s;
}

/* NULL without a cache folder. */
static char *file_of(const struct vkm_gpu_params *params, const struct subject *s)
{
    const vkmoe_allocator *a = params->allocator;
    const vkmoe_device_info *d = s->device;
    char *folder = vkm_cache_folder(params);
    if (!folder)
        return NULL;
    uint64_t key = vkm_hash(VKM_HASH_INIT, d->driver, strlen(d->driver));
    key = vkm_hash(key, &d->driver_id, sizeof(d->driver_id));
    key = vkm_hash(key, &d->driver_version, sizeof(d->driver_version));
    key = vkm_hash(key, s->build, strlen(s->build));
    char *path = vkm_format(a, "%s/%s-%016llx-%s.verdict", folder, d->uuid, (unsigned long long)key,
                            s->path);
    vkm_free(a, folder);
    return path;
}

static json_t *identity(const struct subject *s)
{
    const vkmoe_device_info *d = s->device;
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:s}", "format", FORMAT, "path", s->path,
                     "uuid", d->uuid, "driver", d->driver, "driver_id", (json_int_t)d->driver_id,
                     "driver_version", (json_int_t)d->driver_version, "build", s->build);
}

/* Whether a file is about the subject: the name alone might be another's by its hash. */
static bool is_about(const json_t *root, const struct subject *s)
{
    json_t *want = identity(s), *value;
    const char *key;
    bool same = want != NULL;
    json_object_foreach(want, key, value)
    {
        same = same && json_equal(json_object_get(root, key), value);
    }
    json_decref(want);
    return same;
}

void vkm_verdict_load(const struct vkm_gpu_params *params, const vkmoe_device_info *device,
                      enum vkm_path path, struct vkm_verdict *verdict)
{
    struct subject s = subject_of(device, path);
    char *file = file_of(params, &s);
    json_t *root = NULL;
    vkmoe_error err;
    *verdict = (struct vkm_verdict){.state = VKMOE_PATH_UNTESTED};
    if (file && vkm_json_load(params->allocator, file, LIMIT, &root, &err) == VKMOE_OK &&
        is_about(root, &s)) {
        const json_t *passed = json_object_get(root, "passed");
        const char *reason = json_string_value(json_object_get(root, "reason"));
        if (json_is_boolean(passed))
            verdict->state = json_is_true(passed) ? VKMOE_PATH_PASSED : VKMOE_PATH_FAILED;
        if (verdict->state == VKMOE_PATH_FAILED)
            snprintf(verdict->reason, sizeof(verdict->reason), "%s", reason ? reason : "");
    }
    json_decref(root);
    vkm_free(params->allocator, file);
}

static vkmoe_status write_file(const vkmoe_allocator *a, char *file, const char *text,
                               vkmoe_error *err)
{
    struct vkm_writer *writer;
    vkm_cache_make_folders(file);
    vkmoe_status status = vkm_writer_open(a, file, &writer, err);
    if (status != VKMOE_OK)
        return status;
    vkm_writer_write(writer, text, strlen(text));
    return vkm_writer_commit(writer, err);
}

vkmoe_status vkm_verdict_store(const struct vkm_gpu_params *params, const vkmoe_device_info *device,
                               enum vkm_path path, const struct vkm_verdict *verdict,
                               vkmoe_error *err)
{
    struct subject s = subject_of(device, path);
    char *file = file_of(params, &s);
    if (!file)
        return VKMOE_OK;
    json_t *root = identity(&s);
    json_object_set_new(root, "passed", json_boolean(verdict->state == VKMOE_PATH_PASSED));
    json_object_set_new(root, "reason", json_string(verdict->reason));
    char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
    vkmoe_status status = text ? write_file(params->allocator, file, text, err)
                               : vkm_fail_memory(err, LIMIT, "the verdict of a self-test");
    free(text);
    json_decref(root);
    vkm_free(params->allocator, file);
    return status;
}

void vkm_verdicts_recall(const struct vkm_gpu_params *params, vkmoe_device_info *device)
{
    for (uint32_t i = 0; i < device->n_paths; i++) {
        vkmoe_path_info *path = &device->paths[i];
        struct vkm_verdict verdict;
        if (path->state != VKMOE_PATH_UNTESTED)
            continue;
        vkm_verdict_load(params, device, (enum vkm_path)i, &verdict);
        path->state = verdict.state;
        if (verdict.state == VKMOE_PATH_FAILED)
            snprintf(path->reason, sizeof(path->reason), "%s", verdict.reason);
    }
}
