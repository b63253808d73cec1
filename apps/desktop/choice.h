/* One entry of a drop-down: what can be chosen, and what it costs. */
#ifndef MOE_CHOICE_H
#define MOE_CHOICE_H

#include <gio/gio.h>

#define MOE_TYPE_CHOICE (moe_choice_get_type())
/* Immutable. Properties: "text", "cost" (strings, UTF-8), "fits" (boolean). */
G_DECLARE_FINAL_TYPE(MoeChoice, moe_choice, MOE, CHOICE, GObject)

MoeChoice *moe_choice_new(guint32 value, const char *text, const char *cost, gboolean fits);
/* What it stands for. */
guint32 moe_choice_value(MoeChoice *self);

/* Position of the choice with this value in a list of MoeChoice; G_MAXUINT: there is none. */
guint moe_choice_find(GListModel *choices, guint32 value);

#endif
