/* One run of the conformance suite: in a process of its own (apps/desktop/conformance), as a driver
 * that is broken may crash or hang it, and a thread that listens to it. */
#ifndef MOE_CONFORMANCE_RUN_H
#define MOE_CONFORMANCE_RUN_H

#include "conformance.h"

G_BEGIN_DECLS

/* What that thread and its owner share. Reference-counted; both hold one. */
typedef struct MoeConformanceRun MoeConformanceRun;

/* Where a run stands. */
typedef struct MoeConformanceStatus {
    guint total, cases, failed; /* cases in all, 0 while they are not counted; so far; of them */
    char current[64];           /* the kernel at work; "" before the first and after the last */
    gboolean ended;
    gboolean passed;  /* it ended, all of it ran and nothing failed */
    gboolean stopped; /* it ended because that was asked for */
} MoeConformanceStatus;

/* Starts it: the program is the environment's VKMOE_CONFORMANCE, else
 * ../libexec/vkmoe/vkmoe-conformance from this one. `folder` is for the report. */
MoeConformanceRun *moe_conformance_run_new(MoeDevice *device, const MoeConformanceParams *params,
                                           const char *folder);
void moe_conformance_run_unref(MoeConformanceRun *run);
/* Ends it after the cases at work; at once where that was asked for before. */
void moe_conformance_run_cancel(MoeConformanceRun *run);

/* Where it stands, and the results (MoeConformanceResult) that came since the last call: NULL, or
 * an array to be unreffed. */
GPtrArray *moe_conformance_run_poll(MoeConformanceRun *run, MoeConformanceStatus *status);
/* Once it has ended: what came of it, one sentence, and the path of its report, NULL where there is
 * none. Owned by the run. */
const char *moe_conformance_run_outcome(MoeConformanceRun *run);
const char *moe_conformance_run_report(MoeConformanceRun *run);

/* A result made of its parts; texts are copied. */
MoeConformanceResult *moe_conformance_result_new(const char *kernel, const char *variant,
                                                 guint cases, guint failed, double nmse,
                                                 const char *sentence);

G_END_DECLS

#endif
