#include "steering.h"

#include <string.h>

struct _MoeSteering {
    GObject parent_instance;
    MoeShape shape;
    guint n_active; /* where the router leaves it open */
    vkmoe_router router;
    gboolean use_shared;
    guint8 *states; /* [n_layers, n_experts] of vkmoe_expert_state */
};

G_DEFINE_FINAL_TYPE(MoeSteering, moe_steering, G_TYPE_OBJECT)

enum { EXPERTS_CHANGED, N_SIGNALS };
static guint signals[N_SIGNALS];

enum { PROP_N_ACTIVE = 1, PROP_ROUTER, PROP_USE_SHARED, N_PROPERTIES };
static GParamSpec *properties[N_PROPERTIES];

static const struct {
    const char *title, *explanation;
} routers[VKMOE_ROUTER_COUNT] = {
    [VKMOE_ROUTER_MODEL] = {"As trained",
                            "The experts that score highest, as the model learnt it."},
    [VKMOE_ROUTER_TOPK] = {"Top K",
                           "The experts that score highest; gates are their probabilities."},
    [VKMOE_ROUTER_TOPK_NORMED] = {"Top K, normalised",
                                  "The experts that score highest; gates add up to 1."},
    [VKMOE_ROUTER_GSHARD] = {"GShard", "The two that score highest; gates add up to 1."},
    [VKMOE_ROUTER_SWITCH] = {"Switch", "Only the one that scores highest."},
    [VKMOE_ROUTER_DENSE] = {"Dense", "All experts, each with its probability."},
    [VKMOE_ROUTER_HASH] = {"Hash",
                           "A fixed draw for each word of the vocabulary; scores have no say."},
};

static void moe_steering_get_property(GObject *object, guint id, GValue *value, GParamSpec *spec)
{
    MoeSteering *self = MOE_STEERING(object);
    switch (id) {
    case PROP_N_ACTIVE:
        g_value_set_uint(value, moe_steering_get_n_active(self));
        break;
    case PROP_ROUTER:
        g_value_set_int(value, (int)self->router);
        break;
    case PROP_USE_SHARED:
        g_value_set_boolean(value, self->use_shared);
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
    }
}

static void moe_steering_finalize(GObject *object)
{
    g_free(MOE_STEERING(object)->states);
    G_OBJECT_CLASS(moe_steering_parent_class)->finalize(object);
}

static void moe_steering_class_init(MoeSteeringClass *class)
{
    GObjectClass *object = G_OBJECT_CLASS(class);
    GParamFlags flags = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS | G_PARAM_EXPLICIT_NOTIFY;
    object->finalize = moe_steering_finalize;
    object->get_property = moe_steering_get_property;
    properties[PROP_N_ACTIVE] = g_param_spec_uint("n-active", NULL, NULL, 0, G_MAXUINT, 0, flags);
    properties[PROP_ROUTER] =
        g_param_spec_int("router", NULL, NULL, 0, VKMOE_ROUTER_COUNT - 1, 0, flags);
    properties[PROP_USE_SHARED] = g_param_spec_boolean("use-shared", NULL, NULL, TRUE, flags);
    g_object_class_install_properties(object, N_PROPERTIES, properties);
    signals[EXPERTS_CHANGED] = g_signal_new("experts-changed", MOE_TYPE_STEERING, G_SIGNAL_RUN_LAST,
                                            0, NULL, NULL, NULL, G_TYPE_NONE, 0);
}

static void moe_steering_init(MoeSteering *self)
{
    self->use_shared = TRUE;
}

MoeSteering *moe_steering_new(void)
{
    return g_object_new(MOE_TYPE_STEERING, NULL);
}

static size_t cells(const MoeSteering *self)
{
    return (size_t)self->shape.n_layers * self->shape.n_experts;
}

MoeSteering *moe_steering_copy(MoeSteering *self)
{
    MoeSteering *copy = moe_steering_new();
    moe_steering_set_shape(copy, &self->shape);
    copy->n_active = self->n_active;
    copy->router = self->router;
    copy->use_shared = self->use_shared;
    if (cells(self) > 0)
        memcpy(copy->states, self->states, cells(self));
    return copy;
}

gboolean moe_steering_equal(MoeSteering *self, MoeSteering *other)
{
    return memcmp(&self->shape, &other->shape, sizeof(self->shape)) == 0 &&
           moe_steering_get_n_active(self) == moe_steering_get_n_active(other) &&
           self->router == other->router && self->use_shared == other->use_shared &&
           (cells(self) == 0 || memcmp(self->states, other->states, cells(self)) == 0);
}

static void everything_changed(MoeSteering *self)
{
    for (guint i = 1; i < N_PROPERTIES; i++)
        g_object_notify_by_pspec(G_OBJECT(self), properties[i]);
    g_signal_emit(self, signals[EXPERTS_CHANGED], 0);
}

void moe_steering_set_shape(MoeSteering *self, const MoeShape *shape)
{
    g_return_if_fail(MOE_IS_STEERING(self));
    g_free(self->states);
    self->shape = *shape;
    self->states = g_new0(guint8, cells(self));
    moe_steering_reset(self);
}

const MoeShape *moe_steering_get_shape(MoeSteering *self)
{
    return &self->shape;
}

void moe_steering_reset(MoeSteering *self)
{
    self->n_active = self->shape.n_active;
    self->router = VKMOE_ROUTER_MODEL;
    self->use_shared = TRUE;
    if (cells(self) > 0)
        memset(self->states, VKMOE_EXPERT_FREE, cells(self));
    everything_changed(self);
}

gboolean moe_steering_is_default(MoeSteering *self)
{
    return self->n_active == self->shape.n_active && self->router == VKMOE_ROUTER_MODEL &&
           self->use_shared && moe_steering_count(self, VKMOE_EXPERT_FREE) == cells(self);
}

/* --- what is possible --- */

static guint count_in(const MoeSteering *self, guint layer, vkmoe_expert_state state)
{
    guint n = 0;
    for (guint e = 0; e < self->shape.n_experts; e++)
        n += self->states[(size_t)layer * self->shape.n_experts + e] == state;
    return n;
}

static guint active_with(const MoeSteering *self, vkmoe_router router)
{
    switch (router) {
    case VKMOE_ROUTER_GSHARD:
        return 2;
    case VKMOE_ROUTER_SWITCH:
        return 1;
    case VKMOE_ROUTER_DENSE:
        return self->shape.n_experts;
    default:
        return self->n_active;
    }
}

/* A table may name experts that are off: their gates are 0 then. */
static gboolean needs_enough(vkmoe_router router)
{
    return router != VKMOE_ROUTER_HASH;
}

static gboolean check_layer(const MoeSteering *self, guint layer, guint n, gboolean enough,
                            GError **error)
{
    guint left = self->shape.n_experts - count_in(self, layer, VKMOE_EXPERT_OFF);
    guint forced = count_in(self, layer, VKMOE_EXPERT_FORCED);
    if (forced > n)
        g_set_error(
            error, MOE_STEERING_ERROR, MOE_STEERING_ERROR_IMPOSSIBLE,
            "Layer %u would have %u experts that are always used, but each token activates %u.",
            layer, forced, n);
    else if (enough && left < n)
        g_set_error(error, MOE_STEERING_ERROR, MOE_STEERING_ERROR_IMPOSSIBLE,
                    "Layer %u would have only %u of %u experts left, but each token activates %u.",
                    layer, left, self->shape.n_experts, n);
    else
        return TRUE;
    return FALSE;
}

static gboolean check(const MoeSteering *self, vkmoe_router router, guint n, GError **error)
{
    if (n > self->shape.n_experts) {
        g_set_error(error, MOE_STEERING_ERROR, MOE_STEERING_ERROR_IMPOSSIBLE,
                    "Each token would activate %u experts, but a layer has %u.", n,
                    self->shape.n_experts);
        return FALSE;
    }
    for (guint layer = 0; layer < self->shape.n_layers; layer++)
        if (!check_layer(self, layer, n, needs_enough(router), error))
            return FALSE;
    return TRUE;
}

/* --- how many, and how --- */

guint moe_steering_get_n_active(MoeSteering *self)
{
    return active_with(self, self->router);
}

gboolean moe_steering_can_set_n_active(MoeSteering *self)
{
    return self->router != VKMOE_ROUTER_GSHARD && self->router != VKMOE_ROUTER_SWITCH &&
           self->router != VKMOE_ROUTER_DENSE && self->shape.n_experts > 0;
}

void moe_steering_get_n_active_range(MoeSteering *self, guint *least, guint *most)
{
    *least = MIN(1, self->shape.n_experts);
    *most = self->shape.n_experts;
    for (guint layer = 0; layer < self->shape.n_layers; layer++) {
        guint off = count_in(self, layer, VKMOE_EXPERT_OFF);
        *least = MAX(*least, count_in(self, layer, VKMOE_EXPERT_FORCED));
        if (needs_enough(self->router))
            *most = MIN(*most, self->shape.n_experts - off);
    }
}

gboolean moe_steering_set_n_active(MoeSteering *self, guint n, GError **error)
{
    g_return_val_if_fail(MOE_IS_STEERING(self), FALSE);
    if (!moe_steering_can_set_n_active(self) || n == 0) {
        g_set_error(error, MOE_STEERING_ERROR, MOE_STEERING_ERROR_IMPOSSIBLE,
                    "The router “%s” activates %u experts for each token; %u were asked for.",
                    moe_router_title(self->router), moe_steering_get_n_active(self), n);
        return FALSE;
    }
    if (!check(self, self->router, n, error))
        return FALSE;
    if (n != self->n_active) {
        self->n_active = n;
        g_object_notify_by_pspec(G_OBJECT(self), properties[PROP_N_ACTIVE]);
    }
    return TRUE;
}

vkmoe_router moe_steering_get_router(MoeSteering *self)
{
    return self->router;
}

gboolean moe_steering_set_router(MoeSteering *self, vkmoe_router router, GError **error)
{
    g_return_val_if_fail(MOE_IS_STEERING(self) && router < VKMOE_ROUTER_COUNT, FALSE);
    if (!check(self, router, active_with(self, router), error))
        return FALSE;
    if (router != self->router) {
        self->router = router;
        g_object_notify_by_pspec(G_OBJECT(self), properties[PROP_ROUTER]);
        g_object_notify_by_pspec(G_OBJECT(self), properties[PROP_N_ACTIVE]);
    }
    return TRUE;
}

const char *moe_router_title(vkmoe_router router)
{
    return routers[router].title;
}

const char *moe_router_explanation(vkmoe_router router)
{
    return routers[router].explanation;
}

gboolean moe_steering_get_use_shared(MoeSteering *self)
{
    return self->use_shared;
}

void moe_steering_set_use_shared(MoeSteering *self, gboolean use)
{
    if (!use == !self->use_shared)
        return;
    self->use_shared = use;
    g_object_notify_by_pspec(G_OBJECT(self), properties[PROP_USE_SHARED]);
}

/* --- which --- */

static guint8 *state_at(MoeSteering *self, guint layer, guint expert)
{
    return layer < self->shape.n_layers && expert < self->shape.n_experts
               ? &self->states[(size_t)layer * self->shape.n_experts + expert]
               : NULL;
}

vkmoe_expert_state moe_steering_get_state(MoeSteering *self, guint layer, guint expert)
{
    const guint8 *state = state_at(self, layer, expert);
    return state ? (vkmoe_expert_state)*state : VKMOE_EXPERT_FREE;
}

gboolean moe_steering_set_state(MoeSteering *self, guint layer, guint expert,
                                vkmoe_expert_state state, GError **error)
{
    guint8 *at = state_at(self, layer, expert), before = at ? *at : 0;
    g_return_val_if_fail(at && state <= VKMOE_EXPERT_FORCED, FALSE);
    *at = (guint8)state;
    if (!check(self, self->router, moe_steering_get_n_active(self), error)) {
        *at = before;
        return FALSE;
    }
    if (before != *at)
        g_signal_emit(self, signals[EXPERTS_CHANGED], 0);
    return TRUE;
}

gboolean moe_steering_toggle(MoeSteering *self, guint layer, guint expert, GError **error)
{
    gboolean off = moe_steering_get_state(self, layer, expert) == VKMOE_EXPERT_OFF;
    return moe_steering_set_state(self, layer, expert, off ? VKMOE_EXPERT_FREE : VKMOE_EXPERT_OFF,
                                  error);
}

/* The expert most tokens chose among those in one of two states; n_experts where there is none. */
static guint busiest(MoeSteering *self, guint layer, MoeRouteLog *log, const gboolean *taken)
{
    guint best = self->shape.n_experts;
    for (guint e = 0; e < self->shape.n_experts; e++) {
        if (taken[e])
            continue;
        if (best == self->shape.n_experts ||
            moe_route_log_get_chosen(log, layer, e) > moe_route_log_get_chosen(log, layer, best))
            best = e;
    }
    return best;
}

static gboolean has_routed(MoeRouteLog *log, GError **error)
{
    if (moe_route_log_get_routed(log) > 0)
        return TRUE;
    g_set_error_literal(error, MOE_STEERING_ERROR, MOE_STEERING_ERROR_IMPOSSIBLE,
                        "No token has been routed yet: run a text first.");
    return FALSE;
}

gboolean moe_steering_switch_busiest_off(MoeSteering *self, guint layer, MoeRouteLog *log,
                                         GError **error)
{
    g_return_val_if_fail(layer < self->shape.n_layers, FALSE);
    if (!has_routed(log, error))
        return FALSE;
    gboolean *off = g_new0(gboolean, self->shape.n_experts);
    for (guint e = 0; e < self->shape.n_experts; e++)
        off[e] = moe_steering_get_state(self, layer, e) == VKMOE_EXPERT_OFF;
    guint best = busiest(self, layer, log, off);
    g_free(off);
    if (best < self->shape.n_experts)
        return moe_steering_set_state(self, layer, best, VKMOE_EXPERT_OFF, error);
    g_set_error(error, MOE_STEERING_ERROR, MOE_STEERING_ERROR_IMPOSSIBLE,
                "All experts of layer %u are off already.", layer);
    return FALSE;
}

gboolean moe_steering_keep_busiest(MoeSteering *self, guint layer, MoeRouteLog *log, GError **error)
{
    g_return_val_if_fail(layer < self->shape.n_layers, FALSE);
    if (!has_routed(log, error))
        return FALSE;
    gboolean *kept = g_new0(gboolean, self->shape.n_experts);
    for (guint i = 0; i < moe_steering_get_n_active(self); i++)
        kept[busiest(self, layer, log, kept)] = TRUE;
    for (guint e = 0; e < self->shape.n_experts; e++)
        *state_at(self, layer, e) = kept[e] ? VKMOE_EXPERT_FREE : VKMOE_EXPERT_OFF;
    g_free(kept);
    g_signal_emit(self, signals[EXPERTS_CHANGED], 0);
    return TRUE;
}

void moe_steering_free_layer(MoeSteering *self, guint layer)
{
    g_return_if_fail(layer < self->shape.n_layers);
    memset(state_at(self, layer, 0), VKMOE_EXPERT_FREE, self->shape.n_experts);
    g_signal_emit(self, signals[EXPERTS_CHANGED], 0);
}

guint moe_steering_count(MoeSteering *self, vkmoe_expert_state state)
{
    guint n = 0;
    for (guint layer = 0; layer < self->shape.n_layers; layer++)
        n += count_in(self, layer, state);
    return n;
}

/* --- handing on --- */

guint8 *moe_steering_apply(MoeSteering *self, vkmoe_routing *routing)
{
    routing->router = self->router;
    routing->experts_per_token = moe_steering_can_set_n_active(self) ? self->n_active : 0;
    routing->without_shared = !self->use_shared && self->shape.n_shared > 0;
    return moe_steering_count(self, VKMOE_EXPERT_FREE) < cells(self)
               ? g_memdup2(self->states, cells(self))
               : NULL;
}

char *moe_steering_describe(MoeSteering *self)
{
    guint off = moe_steering_count(self, VKMOE_EXPERT_OFF);
    guint forced = moe_steering_count(self, VKMOE_EXPERT_FORCED);
    if (cells(self) == 0)
        return g_strdup("no routed experts");
    GString *text = g_string_new(NULL);
    g_string_append_printf(text, "%u of %u experts active", moe_steering_get_n_active(self),
                           self->shape.n_experts);
    if (self->router != VKMOE_ROUTER_MODEL)
        g_string_append_printf(text, ", router %s", moe_router_title(self->router));
    if (off > 0)
        g_string_append_printf(text, ", %u off", off);
    if (forced > 0)
        g_string_append_printf(text, ", %u always used", forced);
    if (!self->use_shared && self->shape.n_shared > 0)
        g_string_append(text, ", no shared experts");
    return g_string_free(text, FALSE);
}
