/* The public API of conformance: kernels on a device with mapped memory, then whole steps. */
#include "conform/bundle.h"
#include "conform/aside.h"
#include "conform/crew.h"
#include "conform/report.h"
#include "conform/steps.h"
#include "engine/engine.h"

/* Drivers compile on the host's processor; where it also runs the kernels, nothing is in the way of
 * using all of it. A GPU is left to one test at a time. */
static uint32_t jobs_for(const struct vkm_gpu *gpu, uint32_t wanted)
{
    const struct vkm_caps *caps = vkm_gpu_caps(gpu);
    return wanted > 0 ? wanted : caps->cpu ? caps->cores : 1;
}

/* Where there are several jobs, lets the checks of whole steps begin too: *aside, else NULL. Not
 * on a GPU, whose memory one of them exhausts, which would be the kernels' too. */
static vkmoe_status run_kernels(const vkmoe_device_params *asked,
                                const struct vkm_gpu_params *device, struct vkm_report *report,
                                struct vkm_aside **aside, vkmoe_error *err)
{
    const vkmoe_conform_params *p = report->params;
    struct vkm_gpu_params open = *device;
    struct vkm_gpu *gpu = NULL;
    struct vkm_conform_totals totals;
    struct vkm_conform_params params = {
        .kernels = p->kernels,
        .cases = p->cases,
        .path = p->path,
        .weights = p->weights,
        .seed = p->seed,
        .level = p->level == VKMOE_CONFORM_FULL ? VKM_CONFORM_FULL : VKM_CONFORM_QUICK,
        .list = p->list,
        .export_dir = p->export_dir,
        .stops = vkm_report_stops,
        .on_device = vkm_report_device,
        .on_case = vkm_report_kernel_case,
        .on_variant = vkm_report_kernel_variant,
        .user = report,
    };
    open.host_visible = true;
    open.all_paths = true;
    open.cache_dir = ""; /* of pipelines; launches are those that the device is used with */
    struct vkm_tuning tuning;
    vkmoe_status status = vkm_gpu_open(&open, &vkm_kernels, &gpu, err);
    if (status != VKMOE_OK)
        return status;
    if (vkm_gpu_is_reference(gpu))
        status = vkm_fail(err, VKMOE_UNSUPPORTED,
                          "conformance compares a device with the reference; the reference itself "
                          "is not one to be tested");
    else if (vkm_tuning_load(device, vkm_gpu_info(gpu), &tuning))
        vkm_gpu_tune(gpu, &tuning, tuning.hash);
    uint32_t jobs = p->list ? 1 : jobs_for(gpu, p->jobs);
    if (status == VKMOE_OK && jobs > 1 && vkm_gpu_caps(gpu)->cpu)
        *aside = vkm_aside_begin(asked, report);
    if (status == VKMOE_OK)
        status = vkm_crew_run(gpu, &open, jobs, &params, &totals, err);
    vkm_gpu_close(gpu);
    return status;
}

vkmoe_status vkmoe_conform_run(const vkmoe_device_params *device,
                               const vkmoe_conform_params *params, vkmoe_conform_totals *totals,
                               vkmoe_error *err)
{
    VKM_REQUIRE(params && totals, err);
    struct vkm_gpu_params open;
    struct vkm_report report;
    *totals = (vkmoe_conform_totals){0};
    vkmoe_status status = vkm_device_gpu_params(device, &open, err);
    if (status != VKMOE_OK)
        return status;
    struct vkm_aside *aside = NULL;
    vkm_report_init(&report, params);
    status = run_kernels(device, &open, &report, &aside, err);
    if (aside) {
        vkmoe_status steps = vkm_aside_end(aside, &report, status == VKMOE_OK, err);
        status = status == VKMOE_OK ? steps : status;
    } else if (status == VKMOE_OK) {
        status = vkm_steps_run(device, &report, err);
    }
    *totals = report.totals;
    return status;
}

vkmoe_status vkmoe_conform_replay(const vkmoe_device_params *device, const char *folder,
                                  const vkmoe_conform_params *params, vkmoe_conform_totals *totals,
                                  vkmoe_error *err)
{
    VKM_REQUIRE(folder && params && totals, err);
    struct vkm_gpu_params open;
    struct vkm_report report;
    *totals = (vkmoe_conform_totals){0};
    vkmoe_status status = vkm_device_gpu_params(device, &open, err);
    if (status != VKMOE_OK)
        return status;
    vkm_report_init(&report, params);
    struct vkm_conform_params own = {
        .on_device = vkm_report_device, .on_case = vkm_report_kernel_case, .user = &report};
    open.cache_dir = "";
    status = vkm_bundle_replay(&open, folder, &own, err);
    if (status == VKMOE_OK)
        vkm_report_end(&report);
    *totals = report.totals;
    return status;
}
