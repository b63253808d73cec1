/* The conformance suite on one device: run in a process of its own, followed by whoever shows it,
 * and its report kept as a page. */
#ifndef MOE_CONFORMANCE_H
#define MOE_CONFORMANCE_H

#include "device.h"

G_BEGIN_DECLS

#define MOE_TYPE_CONFORMANCE_RESULT (moe_conformance_result_get_type())
/* All cases of a kernel's variant, or of a check of whole steps. Immutable. */
G_DECLARE_FINAL_TYPE(MoeConformanceResult, moe_conformance_result, MOE, CONFORMANCE_RESULT, GObject)

/* Strings are owned by the result. */
const char *moe_conformance_result_kernel(MoeConformanceResult *self);
const char *moe_conformance_result_variant(MoeConformanceResult *self); /* "BF16 subgroup 8" */
guint moe_conformance_result_cases(MoeConformanceResult *self);
guint moe_conformance_result_failed(MoeConformanceResult *self);
double moe_conformance_result_nmse(MoeConformanceResult *self); /* the worst */
/* What went wrong in the first case that failed, one sentence; "" where none did. */
const char *moe_conformance_result_sentence(MoeConformanceResult *self);

#define MOE_TYPE_CONFORMANCE (moe_conformance_get_type())
/* Properties, all read-only and notified on the main thread, whenever one of them may have changed:
 * "running" (boolean), "fraction" (double, 0 to 1), "cases" and "failed" (uint, so far), "current"
 * (string, the kernel at work), "outcome" (string, one sentence once it has ended; NULL before),
 * "passed" (boolean, all of it ran and nothing failed), "stopped" (boolean, it ended because that
 * was asked for), "report" (string, path of the page; NULL:
 * none). */
G_DECLARE_FINAL_TYPE(MoeConformance, moe_conformance, MOE, CONFORMANCE, GObject)

/* `folder`: for reports, made if need be; NULL: the user's data folder. */
MoeConformance *moe_conformance_new(const char *folder);

/* What is run besides where; zeroed: the quick suite. */
typedef struct MoeConformanceParams {
    vkmoe_conform_level level; /* how much */
    const char *kernels;       /* shell pattern of kernels and checks; NULL: all */
    const char *model;         /* whole steps of this model too; NULL: of random ones alone */
} MoeConformanceParams;

/* Begins anew, what was found before is forgotten. Does nothing while it is running. */
void moe_conformance_start(MoeConformance *self, MoeDevice *device,
                           const MoeConformanceParams *params);
/* Ends it after the cases at work; what was found so far is reported. Called again: at once,
 * without a report. */
void moe_conformance_cancel(MoeConformance *self);

/* Of MoeConformanceResult, as they come, those with failures before all others; owned by self. */
GListModel *moe_conformance_results(MoeConformance *self);
gboolean moe_conformance_is_running(MoeConformance *self);
/* As the properties; owned by self. */
const char *moe_conformance_outcome(MoeConformance *self);
const char *moe_conformance_report(MoeConformance *self);

G_END_DECLS

#endif
