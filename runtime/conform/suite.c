/* Which suite this is: what its kernels are and what it asks of them. */
#include <string.h>

#include "conform/report.h"
#include "conform/steps.h"
#include "kernels/launch.h"

static void add_text(uint64_t *hash, const char *text)
{
    *hash = vkm_hash(*hash, text, strlen(text) + 1);
}

static void add_kernel_case(void *user, const struct vkm_conform_case *c)
{
    add_text(user, vkm_kernels.kernels[c->kernel].name);
    add_text(user, vkm_variant_dtype_name(c->variant));
    add_text(user, c->name);
}

static void add_step_case(void *user, const vkmoe_conform_case *c)
{
    add_text(user, c->test.kernel);
    add_text(user, c->name);
}

/* The cases of one level: of kernels on the path that every device has, and of whole steps. */
static vkmoe_status add_level(struct vkm_gpu *gpu, bool full, uint64_t *hash, vkmoe_error *err)
{
    const struct vkm_conform_params kernels = {
        .level = full ? VKM_CONFORM_FULL : VKM_CONFORM_QUICK,
        .path = vkm_path_name(VKM_PATH_BASE),
        .list = true,
        .on_case = add_kernel_case,
        .user = hash,
    };
    const vkmoe_conform_params steps = {
        .level = full ? VKMOE_CONFORM_FULL : VKMOE_CONFORM_QUICK,
        .list = true,
        .model = "", /* only named */
        .on_case = add_step_case,
        .user = hash,
    };
    struct vkm_conform_totals totals;
    struct vkm_report report;
    vkm_report_init(&report, &steps);
    vkmoe_status status = vkm_conform_run(gpu, &kernels, &totals, err);
    return status == VKMOE_OK ? vkm_steps_run(NULL, &report, err) : status;
}

vkmoe_status vkmoe_conform_suite(uint64_t *suite, vkmoe_error *err)
{
    VKM_REQUIRE(suite, err);
    const struct vkm_gpu_params open = {.selector = "reference", .cache_dir = ""};
    struct vkm_gpu *gpu = NULL;
    uint64_t hash = vkm_launch_build();
    vkmoe_status status = vkm_gpu_open(&open, &vkm_kernels, &gpu, err);
    if (status == VKMOE_OK)
        status = add_level(gpu, false, &hash, err);
    if (status == VKMOE_OK)
        status = add_level(gpu, true, &hash, err);
    vkm_gpu_close(gpu);
    if (status == VKMOE_OK)
        *suite = hash;
    return status;
}
