#include "route_log.h"

#include <math.h>
#include <string.h>

/* The route of one token: [n_layers, kept] each, in one allocation with the struct. */
struct route {
    guint kept;
    float *gates, *probs;
    guint16 *ids;
};

#define NO_EXPERT G_MAXUINT16

struct _MoeRouteLog {
    GObject parent_instance;
    MoeShape shape;
    GPtrArray *routes; /* of struct route; NULL: unknown */
    guint64 routed;
    /* [n_layers, n_experts] */
    guint64 *chosen;
    double *gate_mass, *prob_mass;
    float *glow; /* at lit_at */
    gint64 lit_at;
};

G_DEFINE_FINAL_TYPE(MoeRouteLog, moe_route_log, G_TYPE_OBJECT)

enum { CHANGED, N_SIGNALS };
static guint signals[N_SIGNALS];

static size_t cells(const MoeRouteLog *self)
{
    return (size_t)self->shape.n_layers * self->shape.n_experts;
}

static void free_totals(MoeRouteLog *self)
{
    g_clear_pointer(&self->chosen, g_free);
    g_clear_pointer(&self->gate_mass, g_free);
    g_clear_pointer(&self->prob_mass, g_free);
    g_clear_pointer(&self->glow, g_free);
}

static void moe_route_log_finalize(GObject *object)
{
    MoeRouteLog *self = MOE_ROUTE_LOG(object);
    g_ptr_array_unref(self->routes);
    free_totals(self);
    G_OBJECT_CLASS(moe_route_log_parent_class)->finalize(object);
}

static void moe_route_log_class_init(MoeRouteLogClass *class)
{
    G_OBJECT_CLASS(class)->finalize = moe_route_log_finalize;
    signals[CHANGED] = g_signal_new("changed", MOE_TYPE_ROUTE_LOG, G_SIGNAL_RUN_LAST, 0, NULL, NULL,
                                    NULL, G_TYPE_NONE, 0);
}

static void moe_route_log_init(MoeRouteLog *self)
{
    self->routes = g_ptr_array_new_with_free_func(g_free);
}

MoeRouteLog *moe_route_log_new(void)
{
    return g_object_new(MOE_TYPE_ROUTE_LOG, NULL);
}

void moe_route_log_set_shape(MoeRouteLog *self, const MoeShape *shape)
{
    g_return_if_fail(MOE_IS_ROUTE_LOG(self) && shape->n_experts < NO_EXPERT);
    g_ptr_array_set_size(self->routes, 0);
    free_totals(self);
    self->routed = 0;
    self->shape = *shape;
    self->chosen = g_new0(guint64, cells(self));
    self->gate_mass = g_new0(double, cells(self));
    self->prob_mass = g_new0(double, cells(self));
    self->glow = g_new0(float, cells(self));
    g_signal_emit(self, signals[CHANGED], 0);
}

const MoeShape *moe_route_log_get_shape(MoeRouteLog *self)
{
    return &self->shape;
}

/* --- adding up --- */

static void add(MoeRouteLog *self, const struct route *r)
{
    for (guint layer = 0; layer < self->shape.n_layers; layer++)
        for (guint i = layer * r->kept; i < (layer + 1) * r->kept; i++) {
            if (r->ids[i] == NO_EXPERT)
                continue;
            size_t cell = (size_t)layer * self->shape.n_experts + r->ids[i];
            self->chosen[cell] += r->gates[i] > 0;
            self->gate_mass[cell] += (double)r->gates[i];
            self->prob_mass[cell] += (double)r->probs[i];
        }
    self->routed++;
}

/* Sums of floating-point numbers are made anew, as taking away would leave rounding behind. */
static void add_all(MoeRouteLog *self)
{
    size_t n = cells(self);
    self->routed = 0;
    if (n > 0) {
        memset(self->chosen, 0, n * sizeof(*self->chosen));
        memset(self->gate_mass, 0, n * sizeof(*self->gate_mass));
        memset(self->prob_mass, 0, n * sizeof(*self->prob_mass));
    }
    for (guint i = 0; i < self->routes->len; i++)
        if (self->routes->pdata[i])
            add(self, self->routes->pdata[i]);
}

static float faded(const MoeRouteLog *self, gint64 now)
{
    double seconds = (double)(now - self->lit_at) * 1e-6;
    return seconds > 0 ? (float)exp2(-seconds / MOE_ROUTE_LOG_HALF_LIFE) : 1;
}

/* How bright a token is still with so many after it. */
static float outshone(guint tokens)
{
    return (float)exp2(-(double)tokens / MOE_ROUTE_LOG_HALF_TOKENS);
}

/* Even a small gate is seen: the least that is chosen begins at three tenths. */
static void light(MoeRouteLog *self, const struct route *r, float brightness)
{
    for (guint layer = 0; layer < self->shape.n_layers; layer++) {
        const float *gates = r->gates + (size_t)layer * r->kept;
        float most = 0;
        for (guint i = 0; i < r->kept; i++)
            most = MAX(most, gates[i]);
        for (guint i = 0; i < r->kept; i++) {
            guint id = r->ids[layer * r->kept + i];
            if (id == NO_EXPERT || !(gates[i] > 0))
                continue;
            float *glow = &self->glow[(size_t)layer * self->shape.n_experts + id];
            *glow = MAX(*glow, brightness * (0.3f + 0.7f * gates[i] / most));
        }
    }
}

static struct route *route_new(const MoeRouteLog *self, guint kept)
{
    size_t n = (size_t)self->shape.n_layers * kept;
    struct route *r = g_malloc(sizeof(*r) + n * (2 * sizeof(float) + sizeof(guint16)));
    r->kept = kept;
    r->gates = (float *)(void *)(r + 1);
    r->probs = r->gates + n;
    r->ids = (guint16 *)(void *)(r->probs + n);
    return r;
}

guint moe_route_log_append(MoeRouteLog *self, guint first, guint count, guint ranks,
                           const gint32 *ids, const float *gates, const float *probs, gint64 now)
{
    g_return_val_if_fail(MOE_IS_ROUTE_LOG(self), 0);
    guint kept = MIN(ranks, MOE_ROUTE_LOG_KEPT), strange = 0;
    if (cells(self) == 0 || kept == 0 || count == 0)
        return 0;
    if (first < self->routes->len) {
        g_ptr_array_set_size(self->routes, (gint)first);
        add_all(self);
    }
    float factor = MIN(faded(self, now), outshone(count));
    for (size_t i = 0; i < cells(self); i++)
        self->glow[i] *= factor;
    self->lit_at = now;
    g_ptr_array_set_size(self->routes, (gint)(first + count));
    for (guint t = 0; t < count; t++) {
        struct route *r = route_new(self, kept);
        for (guint layer = 0; layer < self->shape.n_layers; layer++)
            for (guint k = 0; k < kept; k++) {
                size_t from = ((size_t)layer * count + t) * ranks + k, to = layer * kept + k;
                gboolean known = ids[from] >= 0 && (guint)ids[from] < self->shape.n_experts;
                strange += !known && ids[from] != -1;
                r->ids[to] = known ? (guint16)ids[from] : NO_EXPERT;
                r->gates[to] = known && isfinite(gates[from]) ? gates[from] : 0;
                r->probs[to] = known && isfinite(probs[from]) ? probs[from] : 0;
            }
        self->routes->pdata[first + t] = r;
        add(self, r);
        light(self, r, outshone(count - 1 - t));
    }
    g_signal_emit(self, signals[CHANGED], 0);
    return strange;
}

void moe_route_log_truncate(MoeRouteLog *self, guint length)
{
    g_return_if_fail(MOE_IS_ROUTE_LOG(self));
    if (length >= self->routes->len)
        return;
    g_ptr_array_set_size(self->routes, (gint)length);
    add_all(self);
    g_signal_emit(self, signals[CHANGED], 0);
}

guint moe_route_log_get_length(MoeRouteLog *self)
{
    return self->routes->len;
}

guint64 moe_route_log_get_routed(MoeRouteLog *self)
{
    return self->routed;
}

/* --- a token --- */

static const struct route *route_of(MoeRouteLog *self, guint position)
{
    return position < self->routes->len ? self->routes->pdata[position] : NULL;
}

guint moe_route_log_get_kept(MoeRouteLog *self, guint position)
{
    const struct route *r = route_of(self, position);
    return r ? r->kept : 0;
}

gboolean moe_route_log_get_rank(MoeRouteLog *self, guint position, guint layer, guint rank,
                                MoeRank *out)
{
    const struct route *r = route_of(self, position);
    if (!r || layer >= self->shape.n_layers || rank >= r->kept)
        return FALSE;
    size_t i = (size_t)layer * r->kept + rank;
    if (r->ids[i] == NO_EXPERT)
        return FALSE;
    *out = (MoeRank){r->ids[i], r->gates[i] > 0, r->gates[i], r->probs[i]};
    return TRUE;
}

gboolean moe_route_log_find(MoeRouteLog *self, guint position, guint layer, guint expert,
                            MoeRank *out)
{
    MoeRank rank;
    for (guint i = 0; i < moe_route_log_get_kept(self, position); i++)
        if (moe_route_log_get_rank(self, position, layer, i, &rank) && rank.expert == expert) {
            *out = rank;
            return TRUE;
        }
    return FALSE;
}

float moe_route_log_get_largest_gate(MoeRouteLog *self, guint position)
{
    const struct route *r = route_of(self, position);
    float most = 0;
    for (size_t i = 0; r && i < (size_t)self->shape.n_layers * r->kept; i++)
        most = MAX(most, r->gates[i]);
    return most;
}

void moe_route_log_served(MoeRouteLog *self, guint layer, guint expert, guint from, float *weights)
{
    MoeRank rank;
    for (guint t = from; t < self->routes->len; t++) {
        float most = 0, gate = 0;
        for (guint i = 0; i < moe_route_log_get_kept(self, t); i++) {
            if (!moe_route_log_get_rank(self, t, layer, i, &rank))
                continue;
            most = MAX(most, rank.gate);
            gate = rank.expert == expert ? rank.gate : gate;
        }
        weights[t - from] = gate > 0 ? gate / most : 0;
    }
}

/* --- what they add up to --- */

static gboolean has(const MoeRouteLog *self, guint layer, guint expert)
{
    return layer < self->shape.n_layers && expert < self->shape.n_experts;
}

guint64 moe_route_log_get_chosen(MoeRouteLog *self, guint layer, guint expert)
{
    return has(self, layer, expert) ? self->chosen[layer * self->shape.n_experts + expert] : 0;
}

double moe_route_log_get_gate_mass(MoeRouteLog *self, guint layer, guint expert)
{
    return has(self, layer, expert) ? self->gate_mass[layer * self->shape.n_experts + expert] : 0;
}

double moe_route_log_get_share(MoeRouteLog *self, guint layer, guint expert)
{
    return self->routed > 0
               ? (double)moe_route_log_get_chosen(self, layer, expert) / (double)self->routed
               : 0;
}

/* How many experts a token activated in a layer, on average: K, unless that changed on the way. */
static double active(MoeRouteLog *self, guint layer)
{
    guint64 sum = 0;
    for (guint e = 0; e < self->shape.n_experts; e++)
        sum += moe_route_log_get_chosen(self, layer, e);
    return self->routed > 0 ? (double)sum / (double)self->routed : 0;
}

double moe_route_log_get_even_share(MoeRouteLog *self, guint layer)
{
    if (!has(self, layer, 0))
        return 0;
    double k = self->routed > 0 ? active(self, layer) : self->shape.n_active;
    return k / self->shape.n_experts;
}

/* vkmoe_balance_of takes a whole K, which a text need not have had throughout: so the pairs of
 * token and expert count as tokens of one expert each. All it returns is of shares then, but for
 * P_i, which is K times too small. */
static void balance(const guint64 *chosen, const double *prob_mass, guint n, double k,
                    vkmoe_balance *out)
{
    guint64 pairs = 0;
    for (guint e = 0; e < n; e++)
        pairs += chosen[e];
    vkmoe_balance_of(chosen, prob_mass, pairs, n, 1, NULL, 1, out);
    out->expert_loss *= k;
    out->device_loss *= k;
}

void moe_route_log_get_load(MoeRouteLog *self, guint layer, MoeLoad *out)
{
    *out = (MoeLoad){.tokens = self->routed, .balance_exact = TRUE};
    double k = has(self, layer, 0) ? active(self, layer) : 0, mass = 0;
    guint n = self->shape.n_experts;
    if (!(k > 0))
        return;
    const guint64 *chosen = self->chosen + (size_t)layer * n;
    double *probs = g_memdup2(self->prob_mass + (size_t)layer * n, n * sizeof(*probs));
    for (guint e = 0; e < n; e++) {
        mass += probs[e];
        out->busiest = chosen[e] > chosen[out->busiest] ? e : out->busiest;
    }
    double unseen = (double)self->routed - mass;
    out->balance_exact = fabs(unseen) <= 1e-3 * (double)self->routed;
    for (guint e = 0; e < n && unseen > 0; e++)
        probs[e] += unseen / n;
    balance(chosen, probs, n, k, &out->balance);
    g_free(probs);
}

void moe_route_log_get_mean_load(MoeRouteLog *self, MoeLoad *out)
{
    MoeLoad load;
    double layers = MAX(self->shape.n_layers, 1);
    *out = (MoeLoad){.tokens = self->routed, .balance_exact = TRUE};
    for (guint layer = 0; layer < self->shape.n_layers; layer++) {
        moe_route_log_get_load(self, layer, &load);
        out->balance_exact = out->balance_exact && load.balance_exact;
        out->balance.expert_loss += load.balance.expert_loss / layers;
        out->balance.device_loss += load.balance.device_loss / layers;
        out->balance.busiest += load.balance.busiest / layers;
        out->balance.variation += load.balance.variation / layers;
        out->balance.entropy += load.balance.entropy / layers;
        out->balance.dead += load.balance.dead;
    }
}

/* --- light --- */

gboolean moe_route_log_get_glow(MoeRouteLog *self, gint64 now, float *glow)
{
    float factor = faded(self, now);
    gboolean lit = FALSE;
    for (size_t i = 0; i < cells(self); i++) {
        glow[i] = self->glow[i] * factor;
        glow[i] = glow[i] >= MOE_ROUTE_LOG_DARK ? glow[i] : 0;
        lit = lit || glow[i] > 0;
    }
    return lit;
}

void moe_route_log_darken(MoeRouteLog *self)
{
    for (size_t i = 0; i < cells(self); i++)
        self->glow[i] = 0;
}
