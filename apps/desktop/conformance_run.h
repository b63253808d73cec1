/* One run of the conformance suite, in a thread of its own. */
#ifndef MOE_CONFORMANCE_RUN_H
#define MOE_CONFORMANCE_RUN_H

#include <conform_report.h>

#include "conformance.h"

G_BEGIN_DECLS

/* What the thread and its owner share. Reference-counted; both hold one. */
typedef struct MoeConformanceRun MoeConformanceRun;

/* Where a run stands. */
typedef struct MoeConformanceStatus {
    guint total, cases, failed; /* cases in all, 0 while they are not counted; so far; of them */
    char current[64];           /* the kernel at work; "" before the first and after the last */
    gboolean ended;
    gboolean passed; /* it ended, all of it ran and nothing failed */
} MoeConformanceStatus;

/* Starts the thread. `folder` is for the report. */
MoeConformanceRun *moe_conformance_run_new(MoeDevice *device, const MoeConformanceParams *params,
                                           const char *folder);
void moe_conformance_run_unref(MoeConformanceRun *run);
/* Ends it after the kernel at work. */
void moe_conformance_run_cancel(MoeConformanceRun *run);

/* Where it stands, and the results (MoeConformanceResult) that came since the last call: NULL, or
 * an array to be unreffed. */
GPtrArray *moe_conformance_run_poll(MoeConformanceRun *run, MoeConformanceStatus *status);
/* Once it has ended: what came of it, one sentence, and the path of its report, NULL where there is
 * none. Owned by the run. */
const char *moe_conformance_run_outcome(MoeConformanceRun *run);
const char *moe_conformance_run_report(MoeConformanceRun *run);

/* What a result is made of; a test of the report, with its cases. */
MoeConformanceResult *moe_conformance_result_new(const struct conform_test *test);

G_END_DECLS

#endif
