#include "conform/report.h"

#include <stdio.h>
#include <string.h>

_Static_assert(VKMOE_CONFORM_BINS == VKM_ERROR_BINS, "bins of the public histogram");

void vkm_report_init(struct vkm_report *r, const vkmoe_conform_params *params)
{
    *r = (struct vkm_report){.params = params};
}

bool vkm_report_stops(void *report)
{
    const vkmoe_conform_params *p = ((const struct vkm_report *)report)->params;
    return p->stops && p->stops(p->user);
}

void vkm_report_begin(struct vkm_report *r, const vkmoe_conform_test *test)
{
    r->worst_case[0] = r->worst_view[0] = '\0';
    r->result = (vkmoe_conform_result){
        .test = *test, .worst_case = r->worst_case, .worst = {.view = r->worst_view}};
}

/* The first failure is worse than any error of a case that passed. */
static bool is_worst(const vkmoe_conform_result *r, const vkmoe_conform_case *c)
{
    if (r->failed > 0 || r->cases == 0)
        return r->cases == 0;
    return (!c->passed && !c->untested) || c->nmse > r->nmse;
}

void vkm_report_case(struct vkm_report *r, const vkmoe_conform_case *c)
{
    vkmoe_conform_result *result = &r->result;
    if (is_worst(result, c)) {
        snprintf(r->worst_case, sizeof(r->worst_case), "%s", c->name);
        snprintf(r->worst_view, sizeof(r->worst_view), "%s", c->worst.view);
        result->worst = c->worst;
        result->worst.view = r->worst_view;
    }
    result->cases++;
    result->failed += !c->passed && !c->untested;
    result->untested += c->untested;
    result->nmse = c->nmse > result->nmse ? c->nmse : result->nmse;
    for (int i = 0; i < VKMOE_CONFORM_BINS; i++)
        result->errors[i] += c->errors[i];
    if (r->params->on_case)
        r->params->on_case(r->params->user, c);
}

void vkm_report_end(struct vkm_report *r)
{
    r->totals.cases += r->result.cases;
    r->totals.failed += r->result.failed;
    r->totals.untested += r->result.untested;
    if (r->result.cases > 0 && r->params->on_result)
        r->params->on_result(r->params->user, &r->result);
    r->result.cases = 0;
}

void vkm_report_device(void *user, const vkmoe_device_info *device)
{
    const struct vkm_report *r = user;
    if (r->params->on_device)
        r->params->on_device(r->params->user, device);
}

void vkm_report_kernel_case(void *user, const struct vkm_conform_case *c)
{
    struct vkm_report *r = user;
    const struct vkm_lockstep *o = &c->outcome;
    const struct vkm_kernel *kernel = o->kernel ? o->kernel : &vkm_kernels.kernels[c->kernel];
    vkmoe_conform_case out = {
        .test = {kernel->name, vkm_variant_dtype_name(c->variant), vkm_path_name(c->variant->path),
                 c->subgroup_size},
        .name = c->name,
        .passed = c->passed,
        .sentence = c->sentence,
        .note = "",
        .bundle = c->bundle ? c->bundle : "",
        .nmse = o->nmse,
        .worst = {o->view ? o->view : "", o->compare.index, o->compare.got, o->compare.expected},
    };
    memcpy(out.errors, o->errors, sizeof(out.errors));
    if (r->result.cases == 0)
        vkm_report_begin(r, &out.test);
    vkm_report_case(r, &out);
}

void vkm_report_kernel_variant(void *user, const struct vkm_conform_variant *v)
{
    (void)v;
    vkm_report_end(user);
}
