/* Plans made in a thread, on a device that stays open from one to the next. */
#ifndef MOE_PLANNER_H
#define MOE_PLANNER_H

#include "plan.h"

G_BEGIN_DECLS

/* Belongs to one thread, and its plans' threads to it. */
typedef struct MoePlanner MoePlanner;

MoePlanner *moe_planner_new(void);
/* Accepts NULL. Plans that are not done end by themselves, and still call back. */
void moe_planner_free(MoePlanner *planner);

/* Opens the device that is asked for, if another one was, and plans. `done` comes on the main
 * context of the caller. Requests are served one after another: cancel one that is not wanted any
 * more. */
void moe_planner_plan_async(MoePlanner *planner, const MoeOpenParams *params,
                            GCancellable *cancellable, GAsyncReadyCallback done, gpointer user);
/* The plan, to be freed with moe_plan_free; NULL and one sentence where the device could not be
 * opened or the model not be read, or with G_IO_ERROR_CANCELLED. */
MoePlan *moe_planner_plan_finish(GAsyncResult *result, GError **error);

G_END_DECLS

#endif
