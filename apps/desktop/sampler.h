/* How tokens are chosen: settings with the model's defaults, and the popover that shows them. */
#ifndef MOE_SAMPLER_H
#define MOE_SAMPLER_H

#include <gtk/gtk.h>
#include <vkmoe/vkmoe.h>

#define MOE_TYPE_SAMPLER (moe_sampler_get_type())
/* Properties, all to be read, written and bound: "temperature", "top-p", "min-p", "repeat-penalty"
 * (double), "top-k", "repeat-last", "max-tokens" (uint), "seed" (uint64), "keep-seed" (boolean). */
G_DECLARE_FINAL_TYPE(MoeSampler, moe_sampler, MOE, SAMPLER, GObject)

MoeSampler *moe_sampler_new(void);

/* What reset goes back to; also sets it, unless something was changed by hand. */
void moe_sampler_set_defaults(MoeSampler *self, const vkmoe_sampling *defaults);
void moe_sampler_reset(MoeSampler *self);
/* Draws another seed, unless it is to be kept. */
void moe_sampler_next_seed(MoeSampler *self);
vkmoe_sampling moe_sampler_get_sampling(MoeSampler *self);
guint moe_sampler_get_max_tokens(MoeSampler *self);

/* A popover for it. */
GtkWidget *moe_sampler_popover_new(MoeSampler *self);

#endif
