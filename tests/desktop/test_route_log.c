/* The log of routes: what it adds up to, what it forgets, how its light fades; on routes worked out
 * by hand. No display. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "route_log.h"

enum { LAYERS = 2, EXPERTS = 4, RANKS = 3, TOKENS = 3 };
static const MoeShape shape = {LAYERS, EXPERTS, 2, 1};

/* [LAYERS, TOKENS, RANKS]: two chosen and a runner-up; the last token of layer 1 has none. */
static const gint32 ids[] = {0, 1, 2, 0, 2, 1, 0, 3, 1, /**/ 3, 2, 1, 3, 1, 0, 2, 3, -1};
static const float gates[] = {0.5f, 0.25f, 0, 0.4f, 0.3f, 0, 0.6f, 0.2f, 0, /**/
                              0.5f, 0.5f,  0, 0.7f, 0.1f, 0, 0.6f, 0.3f, 0};
static const float probs[] = {0.5f, 0.25f, 0.15f, 0.4f, 0.3f, 0.2f, 0.6f, 0.2f, 0.1f, /**/
                              0.5f, 0.5f,  0,     0.7f, 0.1f, 0.1f, 0.6f, 0.3f, 0};

#define SECOND G_GINT64_CONSTANT(1000000)

static int set_up(void **state)
{
    MoeRouteLog *log = moe_route_log_new();
    moe_route_log_set_shape(log, &shape);
    assert_int_equal(moe_route_log_append(log, 0, TOKENS, RANKS, ids, gates, probs, SECOND), 0);
    *state = log;
    return 0;
}

static int tear_down(void **state)
{
    g_object_unref(*state);
    return 0;
}

static void close_to(double value, double expected)
{
    if (!(fabs(value - expected) < 1e-6))
        fail_msg("%g, expected %g", value, expected);
}

static void totals_are_those_of_the_tokens(void **state)
{
    static const guint64 chosen[LAYERS][EXPERTS] = {{3, 1, 1, 1}, {0, 1, 2, 3}};
    MoeRouteLog *log = *state;
    assert_int_equal(moe_route_log_get_routed(log), TOKENS);
    for (guint l = 0; l < LAYERS; l++)
        for (guint e = 0; e < EXPERTS; e++)
            assert_int_equal(moe_route_log_get_chosen(log, l, e), chosen[l][e]);
    close_to(moe_route_log_get_gate_mass(log, 0, 0), 1.5);
    close_to(moe_route_log_get_gate_mass(log, 1, 3), 1.5);
    close_to(moe_route_log_get_share(log, 1, 2), 2.0 / 3);
    close_to(moe_route_log_get_even_share(log, 0), 0.5);
}

static void a_token_gives_back_its_ranking(void **state)
{
    MoeRouteLog *log = *state;
    MoeRank rank;
    assert_int_equal(moe_route_log_get_kept(log, 1), RANKS);
    assert_true(moe_route_log_get_rank(log, 1, 0, 1, &rank));
    assert_int_equal(rank.expert, 2);
    assert_true(rank.chosen);
    close_to((double)rank.gate, 0.3);
    assert_true(moe_route_log_get_rank(log, 1, 0, 2, &rank));
    assert_int_equal(rank.expert, 1);
    assert_false(rank.chosen);
    close_to((double)rank.prob, 0.2);
    assert_false(moe_route_log_get_rank(log, 2, 1, 2, &rank)); /* there are no more */
    assert_false(moe_route_log_get_rank(log, TOKENS, 0, 0, &rank));
    assert_true(moe_route_log_find(log, 0, 1, 2, &rank));
    close_to((double)rank.gate, 0.5);
    assert_false(moe_route_log_find(log, 0, 1, 0, &rank));
}

static void an_expert_gives_back_the_tokens_it_served(void **state)
{
    float weights[TOKENS];
    moe_route_log_served(*state, 1, 2, 0, weights);
    close_to((double)weights[0], 1);
    close_to((double)weights[1], 0);
    close_to((double)weights[2], 1);
    moe_route_log_served(*state, 0, 3, 2, weights);
    close_to((double)weights[0], 0.2 / 0.6);
    moe_route_log_served(*state, 0, 1, 0, weights);
    close_to((double)weights[2], 0); /* a runner-up does not serve */
}

static void load_is_that_of_the_definitions(void **state)
{
    MoeLoad load;
    moe_route_log_get_load(*state, 0, &load);
    assert_int_equal(load.tokens, TOKENS);
    assert_int_equal(load.busiest, 0);
    close_to(load.balance.busiest, 2); /* 3 of 6 choices, where 1.5 are even */
    double half = 0.5 * log(0.5), sixth = 1.0 / 6 * log(1.0 / 6);
    close_to(load.balance.entropy, -(half + 3 * sixth) / log(4));
    assert_int_equal(load.balance.dead, 0);
    /* f = 4/6 of the choices; P = sums of probabilities over 3 tokens, and what is missing of them,
     * 0.3 of 3, spread over four. */
    const double f[] = {2, 2.0 / 3, 2.0 / 3, 2.0 / 3}, p[] = {1.5, 0.55, 0.45, 0.2};
    double loss = 0;
    for (int e = 0; e < EXPERTS; e++)
        loss += f[e] * (p[e] + 0.3 / 4) / TOKENS;
    close_to(load.balance.expert_loss, loss);
    assert_false(load.balance_exact);
    moe_route_log_get_load(*state, 1, &load);
    assert_int_equal(load.busiest, 3);
    assert_int_equal(load.balance.dead, 1);
}

static void an_even_load_has_loss_and_entropy_of_one(void **state)
{
    static const gint32 even[] = {0, 1, 2, 3, 2, 3, 0, 1};
    static const float quarter[] = {0.25f, 0.25f, 0.25f, 0.25f, 0.25f, 0.25f, 0.25f, 0.25f};
    static const float chosen[] = {0.25f, 0.25f, 0, 0, 0.25f, 0.25f, 0, 0};
    const MoeShape one = {1, 4, 2, 0};
    MoeRouteLog *log = *state;
    MoeLoad load;
    moe_route_log_set_shape(log, &one);
    moe_route_log_append(log, 0, 2, 4, even, chosen, quarter, 0);
    moe_route_log_get_mean_load(log, &load);
    assert_true(load.balance_exact);
    close_to(load.balance.expert_loss, 1);
    close_to(load.balance.entropy, 1);
    close_to(load.balance.busiest, 1);
    close_to(load.balance.variation, 0);
}

static void what_is_forgotten_leaves_the_totals(void **state)
{
    MoeRouteLog *log = *state;
    moe_route_log_truncate(log, 1);
    assert_int_equal(moe_route_log_get_length(log), 1);
    assert_int_equal(moe_route_log_get_routed(log), 1);
    assert_int_equal(moe_route_log_get_chosen(log, 0, 0), 1);
    assert_int_equal(moe_route_log_get_chosen(log, 1, 1), 0);
    assert_true(moe_route_log_get_gate_mass(log, 0, 3) == 0);
    moe_route_log_truncate(log, 0);
    assert_int_equal(moe_route_log_get_routed(log), 0);
    MoeLoad load;
    moe_route_log_get_load(log, 0, &load);
    assert_true(load.balance.entropy == 0 && load.tokens == 0);
    close_to(moe_route_log_get_even_share(log, 0), 0.5); /* as trained */
}

static void appending_where_tokens_are_replaces_them(void **state)
{
    static const gint32 other[] = {3, 2, 3, 2};
    static const float g[] = {0.5f, 0.5f, 0.5f, 0.5f};
    MoeRouteLog *log = *state;
    moe_route_log_append(log, 1, 1, 2, other, g, g, SECOND);
    assert_int_equal(moe_route_log_get_length(log), 2);
    assert_int_equal(moe_route_log_get_chosen(log, 0, 0), 1);
    assert_int_equal(moe_route_log_get_chosen(log, 0, 3), 1);
    assert_int_equal(moe_route_log_get_kept(log, 0), 3);
    assert_int_equal(moe_route_log_get_kept(log, 1), 2);
}

static void a_gap_has_no_route_and_no_share(void **state)
{
    static const gint32 other[] = {3, 2, 3, 2};
    static const float g[] = {0.5f, 0.5f, 0.5f, 0.5f};
    MoeRouteLog *log = *state;
    float weights[6];
    moe_route_log_append(log, 5, 1, 2, other, g, g, SECOND);
    assert_int_equal(moe_route_log_get_length(log), 6);
    assert_int_equal(moe_route_log_get_routed(log), 4);
    assert_int_equal(moe_route_log_get_kept(log, 4), 0);
    moe_route_log_served(log, 0, 3, 0, weights);
    assert_true(weights[3] == 0 && weights[4] == 0 && weights[5] > 0);
}

static void ids_outside_the_shape_are_counted_and_ignored(void **state)
{
    static const gint32 strange[] = {4, 1, -7, 2};
    static const float g[] = {0.5f, NAN, 0.5f, 0.5f};
    MoeRouteLog *log = *state;
    MoeRank rank;
    assert_int_equal(moe_route_log_append(log, 0, 1, 2, strange, g, g, 0), 2);
    assert_false(moe_route_log_get_rank(log, 0, 0, 0, &rank));
    assert_int_equal(moe_route_log_get_chosen(log, 0, 1), 0); /* its gate is no number */
    assert_int_equal(moe_route_log_get_chosen(log, 1, 2), 1);
}

static void more_ranks_than_are_kept_are_cut(void **state)
{
    enum { MANY = 100 };
    const MoeShape wide = {1, MANY, MANY, 0};
    gint32 all[MANY];
    float g[MANY];
    MoeRouteLog *log = *state;
    for (int i = 0; i < MANY; i++) {
        all[i] = i;
        g[i] = 0.01f;
    }
    moe_route_log_set_shape(log, &wide);
    moe_route_log_append(log, 0, 1, MANY, all, g, g, 0);
    assert_int_equal(moe_route_log_get_kept(log, 0), MOE_ROUTE_LOG_KEPT);
    assert_int_equal(moe_route_log_get_chosen(log, 0, MOE_ROUTE_LOG_KEPT), 0);
}

static void what_glows_fades_by_half_in_a_half_life_until_it_is_dark(void **state)
{
    MoeRouteLog *log = *state;
    float glow[LAYERS * EXPERTS];
    gint64 half = (gint64)(MOE_ROUTE_LOG_HALF_LIFE * (double)SECOND);
    assert_true(moe_route_log_get_glow(log, SECOND, glow));
    close_to((double)glow[0], 1); /* the largest gate of its layer */
    close_to((double)glow[3], 0.3 + 0.7 * 0.2 / 0.6);
    assert_true(moe_route_log_get_glow(log, SECOND + half, glow));
    assert_true(fabs((double)glow[0] - 0.5) < 1e-5);
    assert_true(glow[EXPERTS] == 0); /* nobody chose it */
    assert_false(moe_route_log_get_glow(log, SECOND + 20 * half, glow));
    assert_true(glow[0] == 0);
    moe_route_log_darken(log);
    assert_false(moe_route_log_get_glow(log, SECOND, glow));
}

static void later_light_adds_to_what_is_left(void **state)
{
    static const gint32 other[] = {3, 3};
    static const float g[] = {0.5f, 0.5f};
    MoeRouteLog *log = *state;
    float glow[LAYERS * EXPERTS];
    gint64 half = (gint64)(MOE_ROUTE_LOG_HALF_LIFE * (double)SECOND);
    moe_route_log_append(log, TOKENS, 1, 1, other, g, g, SECOND + half);
    assert_true(moe_route_log_get_glow(log, SECOND + half, glow));
    assert_true(fabs((double)glow[0] - 0.5) < 1e-5 && glow[3] == 1);
}

static void count_one(MoeRouteLog *log, int *n)
{
    (void)log;
    (*n)++;
}

static void every_change_is_told_once(void **state)
{
    int n = 0;
    g_signal_connect(*state, "changed", G_CALLBACK(count_one), &n);
    moe_route_log_append(*state, TOKENS, 0, RANKS, ids, gates, probs, 0);
    moe_route_log_truncate(*state, TOKENS);
    assert_int_equal(n, 0);
    moe_route_log_append(*state, 1, TOKENS, RANKS, ids, gates, probs, 0);
    assert_int_equal(n, 1);
    moe_route_log_set_shape(*state, &shape);
    assert_int_equal(n, 2);
}

static void a_dense_model_has_nothing_to_log(void **state)
{
    const MoeShape dense = {0};
    MoeLoad load;
    moe_route_log_set_shape(*state, &dense);
    assert_int_equal(moe_route_log_append(*state, 0, 1, 1, ids, gates, probs, 0), 0);
    assert_int_equal(moe_route_log_get_length(*state), 0);
    moe_route_log_get_mean_load(*state, &load);
    assert_true(load.balance.entropy == 0);
    assert_false(moe_route_log_get_glow(*state, 0, NULL));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(totals_are_those_of_the_tokens),
        CASE(a_token_gives_back_its_ranking),
        CASE(an_expert_gives_back_the_tokens_it_served),
        CASE(load_is_that_of_the_definitions),
        CASE(an_even_load_has_loss_and_entropy_of_one),
        CASE(what_is_forgotten_leaves_the_totals),
        CASE(appending_where_tokens_are_replaces_them),
        CASE(a_gap_has_no_route_and_no_share),
        CASE(ids_outside_the_shape_are_counted_and_ignored),
        CASE(more_ranks_than_are_kept_are_cut),
        CASE(what_glows_fades_by_half_in_a_half_life_until_it_is_dark),
        CASE(later_light_adds_to_what_is_left),
        CASE(every_change_is_told_once),
        CASE(a_dense_model_has_nothing_to_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
