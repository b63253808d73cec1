/* The models that were opened last, with the choices that were made for each. */
#ifndef MOE_RECENT_MODELS_H
#define MOE_RECENT_MODELS_H

#include "plan.h"

G_BEGIN_DECLS

#define MOE_TYPE_RECENT_MODEL (moe_recent_model_get_type())
/* One of them. Immutable. */
G_DECLARE_FINAL_TYPE(MoeRecentModel, moe_recent_model, MOE, RECENT_MODEL, GObject)

/* How it was opened; without a device. Owned by the model. */
const MoeOpenParams *moe_recent_model_params(MoeRecentModel *self);
/* The last part of its path, and its folder with the home folder as ~: UTF-8, owned by the model.
 */
const char *moe_recent_model_name(MoeRecentModel *self);
const char *moe_recent_model_place(MoeRecentModel *self);

#define MOE_RECENT_MODELS_MOST 12

#define MOE_TYPE_RECENT_MODELS (moe_recent_models_get_type())
/* A GListModel of MoeRecentModel, the newest first, at most MOE_RECENT_MODELS_MOST. */
G_DECLARE_FINAL_TYPE(MoeRecentModels, moe_recent_models, MOE, RECENT_MODELS, GObject)

/* As kept in `file`, or in the user's data folder where that is NULL. A file that is missing or
 * damaged is an empty list. */
MoeRecentModels *moe_recent_models_new(const char *file);
/* Puts a model first and writes the list, whole or not at all. The path is made absolute. */
gboolean moe_recent_models_add(MoeRecentModels *self, const MoeOpenParams *params, GError **error);
/* Whether the newest is this model, opened like this: nothing to be added. */
gboolean moe_recent_models_has_newest(MoeRecentModels *self, const MoeOpenParams *params);
/* Forgets a model; likewise. */
gboolean moe_recent_models_remove(MoeRecentModels *self, const char *path, GError **error);

G_END_DECLS

#endif
