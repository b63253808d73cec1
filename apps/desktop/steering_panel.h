/* The controls of steering: how many experts, chosen how, and which are off. */
#ifndef MOE_STEERING_PANEL_H
#define MOE_STEERING_PANEL_H

#include <gtk/gtk.h>

#include "steering.h"

G_BEGIN_DECLS

#define MOE_TYPE_STEERING_PANEL (moe_steering_panel_get_type())
/* Actions: "steering.reset", "steering.busiest-off" (of every layer). */
G_DECLARE_FINAL_TYPE(MoeSteeringPanel, moe_steering_panel, MOE, STEERING_PANEL, GtkWidget)

/* The panel keeps references to both, and follows the steering. */
void moe_steering_panel_set_models(MoeSteeringPanel *self, MoeSteering *steering, MoeRouteLog *log);
/* The layer that its buttons are about. */
void moe_steering_panel_set_layer(MoeSteeringPanel *self, guint layer);
/* Says why something cannot be; until the next change. */
void moe_steering_panel_refuse(MoeSteeringPanel *self, const char *sentence);
/* The sentence that it shows, "" if none. */
const char *moe_steering_panel_get_refusal(MoeSteeringPanel *self);

G_END_DECLS

#endif
