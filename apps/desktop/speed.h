/* How fast the open model runs: prompt and generation in tokens per second, and the time of every
 * kernel, measured on the worker's thread. */
#ifndef MOE_SPEED_H
#define MOE_SPEED_H

#include "worker.h"

G_BEGIN_DECLS

#define MOE_TYPE_SPEED (moe_speed_get_type())
/* Properties, read-only and notified on the main thread: "running" (boolean), "fraction" (double,
 * 0 to 1). Signal "finished", when a measurement has ended in whatever way. */
G_DECLARE_FINAL_TYPE(MoeSpeed, moe_speed, MOE, SPEED, GObject)

MoeSpeed *moe_speed_new(MoeWorker *worker);

/* Measures the model that is open. Does nothing while it is measuring. */
void moe_speed_start(MoeSpeed *self);
void moe_speed_cancel(MoeSpeed *self);
gboolean moe_speed_is_running(MoeSpeed *self);

/* What was measured last: NULL where nothing was. Owned by self, until the next "finished". */
const vkmoe_bench_result *moe_speed_prompt(MoeSpeed *self);
const vkmoe_bench_result *moe_speed_generation(MoeSpeed *self);
/* Why the last measurement failed, one sentence; NULL where it did not. One that was stopped does
 * not count. */
const char *moe_speed_error(MoeSpeed *self);

G_END_DECLS

#endif
