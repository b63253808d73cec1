#include "expert_text.h"

static const char *state_text(MoeSteering *steering, guint layer, guint expert)
{
    if (!steering)
        return "";
    switch (moe_steering_get_state(steering, layer, expert)) {
    case VKMOE_EXPERT_OFF:
        return " · switched off";
    case VKMOE_EXPERT_FORCED:
        return " · always used";
    default:
        return "";
    }
}

/* Gate of the token that is looked at; of the last one, where none is. */
static void append_gate(GString *text, MoeRouteLog *log, int token, guint layer, guint expert)
{
    guint length = moe_route_log_get_length(log);
    guint position = token >= 0 ? (guint)token : length - 1;
    const char *which = token >= 0 ? "this token" : "the last token";
    MoeRank rank;
    if (length == 0 || moe_route_log_get_kept(log, position) == 0)
        return;
    if (!moe_route_log_find(log, position, layer, expert, &rank))
        g_string_append_printf(text, " · did not serve %s", which);
    else if (rank.chosen)
        g_string_append_printf(text, " · gate %.3f for %s", (double)rank.gate, which);
    else
        g_string_append_printf(text, " · runner-up for %s (probability %.3f)", which,
                               (double)rank.prob);
}

char *moe_expert_text(MoeRouteLog *log, MoeSteering *steering, int token, guint layer, guint expert)
{
    GString *text = g_string_new(NULL);
    guint64 routed = moe_route_log_get_routed(log);
    g_string_append_printf(text, "Layer %u, expert %u", layer, expert);
    append_gate(text, log, token, layer, expert);
    if (routed > 0)
        g_string_append_printf(text,
                               " · %.1f\u00a0%% of the text (%" G_GUINT64_FORMAT
                               " of %" G_GUINT64_FORMAT " tokens; even: %.1f\u00a0%%)",
                               100 * moe_route_log_get_share(log, layer, expert),
                               moe_route_log_get_chosen(log, layer, expert), routed,
                               100 * moe_route_log_get_even_share(log, layer));
    g_string_append(text, state_text(steering, layer, expert));
    return g_string_free(text, FALSE);
}

char *moe_shared_text(MoeRouteLog *log, MoeSteering *steering, guint layer, guint number)
{
    gboolean off = steering && !moe_steering_get_use_shared(steering);
    return g_strdup_printf("Layer %u, shared expert %u of %u · %s", layer, number + 1,
                           moe_route_log_get_shape(log)->n_shared,
                           off ? "switched off" : "serves every token");
}

/* Experts of a layer that nobody chose, but for those that are off: nobody can. */
static guint count_unused(MoeRouteLog *log, MoeSteering *steering, guint layer)
{
    guint unused = 0;
    for (guint e = 0; e < moe_route_log_get_shape(log)->n_experts; e++)
        unused += moe_route_log_get_chosen(log, layer, e) == 0 &&
                  !(steering && moe_steering_get_state(steering, layer, e) == VKMOE_EXPERT_OFF);
    return unused;
}

static void append_load(GString *text, const MoeLoad *load, guint unused)
{
    g_string_append_printf(text, "entropy %.2f of an even load · balance loss %s%.2f",
                           load->balance.entropy, load->balance_exact ? "" : "≈ ",
                           load->balance.expert_loss);
    if (unused > 0)
        g_string_append_printf(text, " · %u not used yet", unused);
}

char *moe_layer_text(MoeRouteLog *log, MoeSteering *steering, guint layer)
{
    MoeLoad load;
    GString *text = g_string_new(NULL);
    moe_route_log_get_load(log, layer, &load);
    g_string_append_printf(text, "Layer %u: ", layer);
    if (load.tokens == 0)
        g_string_append(text, "no tokens yet");
    else {
        g_string_append_printf(text, "busiest is expert %u, %.1f\u00a0× the mean · ", load.busiest,
                               load.balance.busiest);
        append_load(text, &load, count_unused(log, steering, layer));
    }
    return g_string_free(text, FALSE);
}

char *moe_model_text(MoeRouteLog *log, MoeSteering *steering)
{
    MoeLoad load;
    GString *text = g_string_new(NULL);
    moe_route_log_get_mean_load(log, &load);
    if (load.tokens == 0)
        g_string_append(text, "no tokens yet");
    else {
        guint unused = 0;
        for (guint layer = 0; layer < moe_route_log_get_shape(log)->n_layers; layer++)
            unused += count_unused(log, steering, layer);
        g_string_append_printf(text, "%" G_GUINT64_FORMAT " tokens · ", load.tokens);
        append_load(text, &load, unused);
    }
    return g_string_free(text, FALSE);
}

static char *ranks_text(MoeRouteLog *log, guint token, guint layer, gboolean chosen, guint most)
{
    GString *text = g_string_new(NULL);
    MoeRank rank;
    guint kept = moe_route_log_get_kept(log, token), n = 0;
    for (guint i = 0; i < kept && n < most; i++) {
        if (!moe_route_log_get_rank(log, token, layer, i, &rank) || !rank.chosen != !chosen)
            continue;
        g_string_append_printf(text, "%s%u\u00a0(%.3f)", n++ > 0 ? "  " : "", rank.expert,
                               (double)(chosen ? rank.gate : rank.prob));
    }
    return g_string_free(text, FALSE);
}

char *moe_route_text(MoeRouteLog *log, guint token, guint layer)
{
    return ranks_text(log, token, layer, TRUE, G_MAXUINT);
}

char *moe_runners_text(MoeRouteLog *log, guint token, guint layer, guint most)
{
    return ranks_text(log, token, layer, FALSE, most);
}
