/* What the user wants of the router in the next generation: how many experts, which of them, chosen
 * how. It never holds what a session would refuse. No display; main thread. */
#ifndef MOE_STEERING_H
#define MOE_STEERING_H

#include "route_log.h"

G_BEGIN_DECLS

/* Properties, all with notify: "n-active" (guint: experts of each token), "router" (int, a
 * vkmoe_router), "use-shared" (gboolean). Signal "experts-changed" (void): states of experts. */
#define MOE_TYPE_STEERING (moe_steering_get_type())
G_DECLARE_FINAL_TYPE(MoeSteering, moe_steering, MOE, STEERING, GObject)

/* A change that no session would take; the sentence says what stands against it. */
#define MOE_STEERING_ERROR (g_quark_from_static_string("moe-steering"))
typedef enum { MOE_STEERING_ERROR_IMPOSSIBLE } MoeSteeringError;

MoeSteering *moe_steering_new(void);
/* With the same shape and settings; the caller owns it. */
MoeSteering *moe_steering_copy(MoeSteering *self);
/* Whether both ask for the same. */
gboolean moe_steering_equal(MoeSteering *self, MoeSteering *other);

/* Sets the shape; everything is as the model was trained then. */
void moe_steering_set_shape(MoeSteering *self, const MoeShape *shape);
const MoeShape *moe_steering_get_shape(MoeSteering *self);
/* Everything as the model was trained. */
void moe_steering_reset(MoeSteering *self);
/* Whether everything is. */
gboolean moe_steering_is_default(MoeSteering *self);

/* Experts of each token: the router's own number where it fixes one. */
guint moe_steering_get_n_active(MoeSteering *self);
/* Whether the router leaves the number to the user. */
gboolean moe_steering_can_set_n_active(MoeSteering *self);
/* What it may be: from the most forced experts of a layer (at least 1) to the fewest not off. */
void moe_steering_get_n_active_range(MoeSteering *self, guint *least, guint *most);
gboolean moe_steering_set_n_active(MoeSteering *self, guint n, GError **error);

vkmoe_router moe_steering_get_router(MoeSteering *self);
gboolean moe_steering_set_router(MoeSteering *self, vkmoe_router router, GError **error);
/* Its name in a menu, and what it does in one sentence; static. */
const char *moe_router_title(vkmoe_router router);
const char *moe_router_explanation(vkmoe_router router);

gboolean moe_steering_get_use_shared(MoeSteering *self);
void moe_steering_set_use_shared(MoeSteering *self, gboolean use);

vkmoe_expert_state moe_steering_get_state(MoeSteering *self, guint layer, guint expert);
gboolean moe_steering_set_state(MoeSteering *self, guint layer, guint expert,
                                vkmoe_expert_state state, GError **error);
/* Off, or free again; what is forced becomes off. */
gboolean moe_steering_toggle(MoeSteering *self, guint layer, guint expert, GError **error);
/* Switches all of a layer's experts off but those that a token needs: the busiest stay, which are
 * the n-active first of `log`. Refused while `log` knows of no token. */
gboolean moe_steering_keep_busiest(MoeSteering *self, guint layer, MoeRouteLog *log,
                                   GError **error);
/* Switches the expert that most tokens chose off, of those that are not off yet, in one layer.
 * Refused as above. */
gboolean moe_steering_switch_busiest_off(MoeSteering *self, guint layer, MoeRouteLog *log,
                                         GError **error);
/* Frees a layer's experts. */
void moe_steering_free_layer(MoeSteering *self, guint layer);
/* Experts of all layers in a state. */
guint moe_steering_count(MoeSteering *self, vkmoe_expert_state state);

/* Fills what it has a say in of *routing and leaves the rest. Returns the states [n_layers,
 * n_experts] for vkmoe_session_set_experts, NULL where all are free; the caller frees them. */
guint8 *moe_steering_apply(MoeSteering *self, vkmoe_routing *routing);
/* In a few words, as "4 of 32 experts active, 3 off"; the caller frees it. */
char *moe_steering_describe(MoeSteering *self);

G_END_DECLS

#endif
