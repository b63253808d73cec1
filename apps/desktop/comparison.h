/* Two continuations of the same prompt and seed under two settings: where they part, and how likely
 * each was. No display; main thread. */
#ifndef MOE_COMPARISON_H
#define MOE_COMPARISON_H

#include <glib-object.h>

G_BEGIN_DECLS

typedef enum { MOE_SIDE_LEFT, MOE_SIDE_RIGHT, MOE_N_SIDES } MoeSide;

/* Signal "changed" (void). */
#define MOE_TYPE_COMPARISON (moe_comparison_get_type())
G_DECLARE_FINAL_TYPE(MoeComparison, moe_comparison, MOE, COMPARISON, GObject)

MoeComparison *moe_comparison_new(void);
/* Forgets both sides; the settings are described in a few words each. */
void moe_comparison_begin(MoeComparison *self, const char *left, const char *right);
const char *moe_comparison_get_settings(MoeComparison *self, MoeSide side);
/* Appends a token and its bytes of text. */
void moe_comparison_append(MoeComparison *self, MoeSide side, gint32 token, const char *bytes,
                           gsize size);
/* The side's tokens' losses [count], -ln p; those that are no numbers count as unknown. */
void moe_comparison_set_losses(MoeComparison *self, MoeSide side, const float *losses, guint count);
/* The side is complete. */
void moe_comparison_finish(MoeComparison *self, MoeSide side);
gboolean moe_comparison_is_finished(MoeComparison *self, MoeSide side);

/* Tokens of a side. */
guint moe_comparison_get_length(MoeComparison *self, MoeSide side);
/* The first token at which the sides differ, or one ends and the other goes on; -1 while that is
 * not known, or if they are the same throughout. */
int moe_comparison_get_parting(MoeComparison *self);
/* The text of tokens first .. last - 1 as UTF-8, what is none replaced; the caller frees it. */
char *moe_comparison_dup_text(MoeComparison *self, MoeSide side, guint first, guint last);
/* Mean of ln p where that is known, nats per token; NAN where none is. */
double moe_comparison_get_mean_logprob(MoeComparison *self, MoeSide side);
/* Right less left. */
double moe_comparison_get_difference(MoeComparison *self);
/* What it comes to in a sentence or two; the caller frees it. */
char *moe_comparison_summarise(MoeComparison *self);

G_END_DECLS

#endif
