/* From what the suite finds to what the public API reports. */
#ifndef VKM_REPORT_H
#define VKM_REPORT_H

#include "conform/conform.h"
#include "vkmoe/conform.h"

struct vkm_report {
    const vkmoe_conform_params *params;
    vkmoe_conform_totals totals;
    vkmoe_conform_result result; /* of the test at hand */
    char worst_case[128];        /* what result.worst_case points to */
    char worst_view[64];
};

void vkm_report_init(struct vkm_report *r, const vkmoe_conform_params *params);
/* Whether the caller wants to stop. */
bool vkm_report_stops(void *report);
/* A test begins, its cases come, it ends; one without cases is not reported. */
void vkm_report_begin(struct vkm_report *r, const vkmoe_conform_test *test);
void vkm_report_case(struct vkm_report *r, const vkmoe_conform_case *c);
void vkm_report_end(struct vkm_report *r);

/* Callbacks of struct vkm_conform_params; the user is the report. */
void vkm_report_device(void *user, const vkmoe_device_info *device);
void vkm_report_kernel_case(void *user, const struct vkm_conform_case *c);
void vkm_report_kernel_variant(void *user, const struct vkm_conform_variant *v);

#endif
