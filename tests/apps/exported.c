#include "exported.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spoil.h"
#include "support.h"

json_t *exported_json(const char *path)
{
    json_error_t error;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        fail_msg("%s: %s", path, error.text);
    return root;
}

json_int_t exported_integer(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value))
        fail_msg("%s is not there or no integer", key);
    return json_integer_value(value);
}

const char *exported_string(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    if (!value)
        fail_msg("%s is not there or no string", key);
    return value;
}

static void note_failure(void *user, const struct vkm_conform_case *c)
{
    struct exported *e = user;
    e->bundles += c->bundle != NULL;
    if (c->passed || e->failed++ > 0)
        return;
    assert_non_null(c->bundle);
    snprintf(e->sentence, sizeof(e->sentence), "%s", c->sentence);
    snprintf(e->bundle, sizeof(e->bundle), "%s", c->bundle);
}

void exported_spoiled(enum vkm_kernel_id id, const char *cases, struct exported *e)
{
    struct vkm_kernel kernels[VKM_KERNEL_COUNT];
    struct vkm_variant variants[2]; /* one storage type of weights, on both paths */
    const struct vkm_kernel_set set = {kernels, VKM_KERNEL_COUNT};
    struct vkm_gpu *gpu;
    struct vkm_conform_totals totals;
    vkmoe_error err = {0};
    *e = (struct exported){0};
    memcpy(kernels, vkm_kernels.kernels, sizeof(kernels));
    kernels[id].n_variants = vkm_min_u32(kernels[id].n_variants, 2);
    for (uint32_t i = 0; i < kernels[id].n_variants; i++) {
        variants[i] = kernels[id].variants[i];
        variants[i].code = test_spoil(variants[i].code, variants[i].code_size);
    }
    kernels[id].variants = variants;
    struct vkm_gpu_params open = {
        .selector = getenv("VKMOE_DEVICE"), .host_visible = true, .cache_dir = ""};
    struct vkm_conform_params params = {
        .kernels = kernels[id].name,
        .cases = cases,
        .seed = 3,
        .export_dir = test_folder(),
        .on_case = note_failure,
        .user = e,
    };
    assert_ok(vkm_gpu_open(&open, &set, &gpu, &err), &err);
    assert_ok(vkm_conform_run(gpu, &params, &totals, &err), &err);
    vkm_gpu_close(gpu);
    for (uint32_t i = 0; i < kernels[id].n_variants; i++)
        free((void *)(uintptr_t)variants[i].code);
    if (totals.failed == 0)
        fail_msg("%s: no case failed", kernels[id].name);
    assert_int_equal(totals.failed, e->failed);
}
