/* Which checks of whole steps there are, and running them on each model. */
#include "conform/steps.h"

#include <stdio.h>
#include <string.h>

static const struct check {
    const char *name;
    vkm_step_check *run;
    uint32_t quick, full; /* how much at each level */
    const char *unit;
    uint32_t random_models; /* of the first so many shapes */
} checks[] = {
    {"routing-parity", vkm_check_routing, 200, 3000, "tokens", VKM_RANDOM_MODELS},
    {"determinism", vkm_check_determinism, 4, 40, "repeats", 1},
    {"barriers", vkm_check_barriers, 4, 40, "repeats", 1},
    {"memory-limit", vkm_check_memory_limit, 1, 3, "rounds", 1},
    {"exhaustion", vkm_check_exhaustion, 1, 3, "rounds", 1},
    {"cancel", vkm_check_cancel, 6, 60, "rounds", 1},
};

/* A model to be checked. */
struct subject {
    const char *name, *path;
    char *folder; /* of a random one, to be removed */
};

void vkm_finding_fail(struct vkm_finding *f, const char *format, ...)
{
    va_list args;
    if (f->sentence[0])
        return;
    va_start(args, format);
    vsnprintf(f->sentence, sizeof(f->sentence), format, args);
    va_end(args);
}

vkmoe_status vkm_step_go_on(const struct vkm_steps *s, vkmoe_error *err)
{
    return vkm_report_stops(s->report) ? vkm_fail(err, VKMOE_CANCELLED, "stopped") : VKMOE_OK;
}

void vkm_step_meddle(struct vkm_steps *s, struct vkmoe_session *session, struct vkm_step *step)
{
    if (s->meddle)
        s->meddle(s->user, session, step);
}

static void report_case(struct vkm_report *report, const struct check *check, const char *name,
                        const struct vkm_finding *f)
{
    char sentence[768] = "";
    if (f->sentence[0])
        snprintf(sentence, sizeof(sentence), "%s, case %s: %s", check->name, name, f->sentence);
    vkm_report_case(report, &(vkmoe_conform_case){
                                .test = report->result.test,
                                .name = name,
                                .passed = !f->sentence[0] && !f->untested,
                                .untested = !f->sentence[0] && f->untested,
                                .sentence = sentence,
                                .note = f->note,
                                .bundle = "",
                                .nmse = f->nmse,
                                .worst = f->worst,
                            });
}

static uint64_t case_key(const vkmoe_conform_params *p, const char *check, const char *name)
{
    uint64_t key = vkm_hash(VKM_HASH_INIT, &p->seed, sizeof(p->seed));
    key = vkm_hash(key, check, strlen(check));
    return vkm_hash(key, name, strlen(name));
}

/* One check on one model. Only a lost device and the caller keep the others from being made. */
static vkmoe_status run_case(struct vkm_steps *s, const struct check *check,
                             const struct subject *subject, vkmoe_error *err)
{
    const vkmoe_conform_params *p = s->report->params;
    struct vkm_finding f = {.worst = {.view = ""}};
    vkmoe_error error = {0};
    char name[128];
    s->path = subject->path;
    s->count = p->level == VKMOE_CONFORM_FULL ? check->full : check->quick;
    snprintf(name, sizeof(name), "%s model, %u %s%s%s", subject->name, s->count, check->unit,
             p->kv == VKMOE_KV_F32 ? "" : ", KV cache ",
             p->kv == VKMOE_KV_F32 ? "" : vkm_dtype_name(vkm_kv_dtype(p->kv)));
    if (p->cases && !vkm_glob(p->cases, name))
        return VKMOE_OK;
    s->random = (struct vkm_random){.key = case_key(p, check->name, name)};
    vkmoe_status status = VKMOE_OK;
    if (!p->list) {
        vkm_log(s->device_params->log, VKMOE_LOG_DEBUG, "next: %s, case %s", check->name, name);
        status = vkm_step_go_on(s, &error);
        if (status == VKMOE_OK)
            status = vkmoe_model_load(s->device, s->path, NULL, &s->model, &error);
        if (status == VKMOE_OK)
            status = check->run(s, &f, &error);
        vkmoe_model_destroy(s->model);
        s->model = NULL;
    }
    bool stopped = status == VKMOE_CANCELLED && vkm_report_stops(s->report);
    if (status != VKMOE_OK)
        vkm_finding_fail(&f, "%s", error.message);
    if (!stopped)
        report_case(s->report, check, name, &f);
    if (status != VKMOE_DEVICE_LOST && !stopped)
        return VKMOE_OK;
    if (err)
        *err = error;
    return status;
}

static bool wanted(const vkmoe_conform_params *p, const struct check *check)
{
    return (!p->kernels || vkm_glob(p->kernels, check->name)) &&
           (!p->path || vkm_glob(p->path, "step")) && (!p->weights || vkm_glob(p->weights, "-"));
}

/* The random models come first, then one that was given. */
static vkmoe_status run_checks(struct vkm_steps *s, const struct subject *subjects,
                               vkmoe_error *err)
{
    vkmoe_status status = VKMOE_OK;
    for (size_t i = 0; i < VKM_COUNT(checks) && status == VKMOE_OK; i++) {
        if (!wanted(s->report->params, &checks[i]))
            continue;
        vkmoe_conform_test test = {.kernel = checks[i].name, .weights = "-", .path = "step"};
        vkm_report_begin(s->report, &test);
        for (uint32_t j = 0; j <= VKM_RANDOM_MODELS && status == VKMOE_OK; j++) {
            bool given = j == VKM_RANDOM_MODELS;
            if (given ? s->report->params->model != NULL : j < checks[i].random_models)
                status = run_case(s, &checks[i], &subjects[j], err);
        }
        vkm_report_end(s->report);
    }
    return status;
}

/* Opens the device without a cache of pipelines, yet with the launches that it is used with. */
static vkmoe_status open_device(struct vkm_steps *s, const vkmoe_device_params *asked,
                                vkmoe_error *err)
{
    struct vkm_gpu_params params;
    vkmoe_status status = vkm_device_gpu_params(asked, &params, err);
    if (status == VKMOE_OK)
        status = vkmoe_device_open(s->device_params, &s->device, err);
    if (status == VKMOE_OK &&
        vkm_tuning_load(&params, vkm_gpu_info(s->device->gpu), &s->device->tuning))
        vkm_gpu_tune(s->device->gpu, &s->device->tuning, s->device->tuning.hash);
    return status;
}

vkmoe_status vkm_steps_run(const vkmoe_device_params *device, struct vkm_report *report,
                           vkmoe_error *err)
{
    const vkmoe_conform_params *p = report->params;
    vkmoe_device_params open = device ? *device : (vkmoe_device_params){0};
    struct vkm_steps s = {.device_params = &open, .report = report};
    struct subject subjects[VKM_RANDOM_MODELS + 1] = {{0}};
    bool any = false;
    for (size_t i = 0; i < VKM_COUNT(checks); i++)
        any = any || wanted(p, &checks[i]);
    if (!any)
        return VKMOE_OK;
    open.cache_dir = "";
    open.check_addresses = false; /* the kernels were run with that; here it only takes time */
    vkmoe_status status = VKMOE_OK;
    for (uint32_t i = 0; i < VKM_RANDOM_MODELS && status == VKMOE_OK; i++) {
        if (!p->list)
            status = vkm_random_model_write(open.allocator, i, p->seed, &subjects[i].folder, err);
        subjects[i].name = vkm_random_model_name(i);
        subjects[i].path = subjects[i].folder;
    }
    subjects[VKM_RANDOM_MODELS] = (struct subject){.name = "given", .path = p->model};
    if (status == VKMOE_OK && !p->list)
        status = open_device(&s, device, err);
    if (status == VKMOE_OK)
        status = run_checks(&s, subjects, err);
    vkmoe_device_close(s.device);
    for (uint32_t i = 0; i < VKM_RANDOM_MODELS; i++)
        vkm_random_model_remove(open.allocator, subjects[i].folder);
    return status;
}
