/* Where the tokens of a text went: the routes as a session remembered them, what they add up to,
 * and what just happened, which fades. No display; main thread. */
#ifndef MOE_ROUTE_LOG_H
#define MOE_ROUTE_LOG_H

#include <glib-object.h>
#include <vkmoe/routing.h>

G_BEGIN_DECLS

/* Signals: "changed" (void) after every change of what the log holds, its shape included. */
#define MOE_TYPE_ROUTE_LOG (moe_route_log_get_type())
G_DECLARE_FINAL_TYPE(MoeRouteLog, moe_route_log, MOE, ROUTE_LOG, GObject)

/* Of each token and layer the log keeps at most so many experts, by rank. */
#define MOE_ROUTE_LOG_KEPT 64
/* Seconds in which what was lit fades to a half. */
#define MOE_ROUTE_LOG_HALF_LIFE 0.45
/* However fast tokens come: one with so many after it is at most half as bright as the last. */
#define MOE_ROUTE_LOG_HALF_TOKENS 3
/* What glows less is dark. */
#define MOE_ROUTE_LOG_DARK 0.02f

/* The shape of a model, as far as routing goes; all zero: a dense one, or none. */
typedef struct {
    guint n_layers;  /* MoE layers, numbered from 0 */
    guint n_experts; /* routed ones of a layer */
    guint n_active;  /* of them, those that the model was trained to activate for each token */
    guint n_shared;  /* shared experts of a layer */
} MoeShape;

/* One expert in one token's ranking. */
typedef struct {
    guint expert;
    gboolean chosen; /* else a runner-up */
    float gate;      /* g_i, 0 for a runner-up */
    float prob;      /* s_i */
} MoeRank;

/* How the experts of one layer, or of all together, were used. */
typedef struct {
    guint64 tokens;         /* that the layer routed */
    guint busiest;          /* the expert with most tokens, the lower id in a tie */
    gboolean balance_exact; /* expert_loss is of all probabilities; else what was not reported
                             * counts as spread evenly */
    vkmoe_balance balance;  /* all zero where there are no tokens */
} MoeLoad;

MoeRouteLog *moe_route_log_new(void);

/* Sets the shape and forgets all tokens. */
void moe_route_log_set_shape(MoeRouteLog *self, const MoeShape *shape);
/* Valid as long as the log. */
const MoeShape *moe_route_log_get_shape(MoeRouteLog *self);

/* Appends the tokens at positions first .. first + count - 1. ids, gates and probs are [n_layers,
 * count, ranks] as vkmoe_session_read_routes fills them: chosen experts first, -1 where there are
 * no more. `now` is g_get_monotonic_time's, for the glow. What the log has from `first` on is
 * replaced; a gap before it is filled with tokens of unknown route. Returns how many ids lay
 * outside the shape, which are ignored. */
guint moe_route_log_append(MoeRouteLog *self, guint first, guint count, guint ranks,
                           const gint32 *ids, const float *gates, const float *probs, gint64 now);
/* Forgets the tokens from position `length` on. */
void moe_route_log_truncate(MoeRouteLog *self, guint length);
/* Tokens it holds, those of unknown route included. */
guint moe_route_log_get_length(MoeRouteLog *self);
/* Of them, those whose route is known. */
guint64 moe_route_log_get_routed(MoeRouteLog *self);

/* How many experts it keeps of a token in each layer; 0 where the route is unknown. */
guint moe_route_log_get_kept(MoeRouteLog *self, guint position);
/* The expert at `rank` of a token in a layer; FALSE where there is none. */
gboolean moe_route_log_get_rank(MoeRouteLog *self, guint position, guint layer, guint rank,
                                MoeRank *out);
/* What became of one expert for a token; FALSE where it is not among those kept. */
gboolean moe_route_log_find(MoeRouteLog *self, guint position, guint layer, guint expert,
                            MoeRank *out);
/* The largest gate of a token in any layer; 0 where its route is unknown. */
float moe_route_log_get_largest_gate(MoeRouteLog *self, guint position);
/* Per token the weight with which an expert served it: its gate over the token's largest gate in
 * that layer, 0 where it was not chosen. weights: [length - from], caller's. */
void moe_route_log_served(MoeRouteLog *self, guint layer, guint expert, guint from, float *weights);

/* Tokens that chose the expert. */
guint64 moe_route_log_get_chosen(MoeRouteLog *self, guint layer, guint expert);
/* Sum of its gates. */
double moe_route_log_get_gate_mass(MoeRouteLog *self, guint layer, guint expert);
/* Share of the text's tokens that chose it, 0 to 1. */
double moe_route_log_get_share(MoeRouteLog *self, guint layer, guint expert);
/* What the share would be were all used evenly, by the number of experts that were chosen. */
double moe_route_log_get_even_share(MoeRouteLog *self, guint layer);
/* How evenly a layer is used. */
void moe_route_log_get_load(MoeRouteLog *self, guint layer, MoeLoad *out);
/* The means over all layers; `busiest` is 0, tokens those of one layer, `dead` a sum. */
void moe_route_log_get_mean_load(MoeRouteLog *self, MoeLoad *out);

/* How brightly each expert glows at a time: [n_layers, n_experts] from 0 to 1, 1 for a layer's
 * largest gate in a token of this moment. FALSE where all is dark. */
gboolean moe_route_log_get_glow(MoeRouteLog *self, gint64 now, float *glow);
/* Puts the light out. */
void moe_route_log_darken(MoeRouteLog *self);

G_END_DECLS

#endif
