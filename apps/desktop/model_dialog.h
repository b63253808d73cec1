/* The dialog in which a model is chosen, with its device, context size and weight format, and what
 * each of them takes of the memory. What cannot fit cannot be opened, and the dialog says why. */
#ifndef MOE_MODEL_DIALOG_H
#define MOE_MODEL_DIALOG_H

#include <gtk/gtk.h>

#include "plan.h"
#include "recent_models.h"
#include "worker.h"

#define MOE_TYPE_MODEL_DIALOG (moe_model_dialog_get_type())
G_DECLARE_FINAL_TYPE(MoeModelDialog, moe_model_dialog, MOE, MODEL_DIALOG, GtkWindow)

/* `parent` may be NULL. What is chosen is opened by the worker; `recent` is shown. */
MoeModelDialog *moe_model_dialog_new(GtkWindow *parent, MoeWorker *worker, MoeRecentModels *recent);
/* Shows this model; choices that it leaves zero are the defaults. A model of NULL is the shipped
 * one. */
void moe_model_dialog_set_params(MoeModelDialog *self, const MoeOpenParams *params);
/* The plan that is shown, or NULL while there is none; owned by the dialog. */
const MoePlan *moe_model_dialog_plan(MoeModelDialog *self);
/* Why it cannot be opened, as shown, or ""; owned by the dialog. */
const char *moe_model_dialog_problem(MoeModelDialog *self);

#endif
