/* Steering: what it lets pass is what a session takes, and it says why it refuses the rest. No
 * display. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "steering.h"

static const MoeShape shape = {2, 4, 2, 1};

static int set_up(void **state)
{
    MoeSteering *s = moe_steering_new();
    moe_steering_set_shape(s, &shape);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    g_object_unref(*state);
    return 0;
}

static void refused(gboolean done, GError **error, const char *words)
{
    assert_false(done);
    assert_non_null(*error);
    if (!strstr((*error)->message, words))
        fail_msg("“%s” does not say “%s”", (*error)->message, words);
    g_clear_error(error);
}

static void it_begins_as_the_model_was_trained(void **state)
{
    vkmoe_routing routing = {.noise = 1};
    assert_true(moe_steering_is_default(*state));
    assert_int_equal(moe_steering_get_n_active(*state), 2);
    assert_null(moe_steering_apply(*state, &routing));
    assert_int_equal(routing.router, VKMOE_ROUTER_MODEL);
    assert_int_equal(routing.experts_per_token, 2);
    assert_false(routing.without_shared);
    assert_true(routing.noise == 1); /* which it has no say in */
}

static void what_is_set_is_handed_on(void **state)
{
    static const guint8 expected[] = {0, 1, 0, 0, 2, 0, 0, 0};
    vkmoe_routing routing = {0};
    assert_true(moe_steering_set_state(*state, 0, 1, VKMOE_EXPERT_OFF, NULL));
    assert_true(moe_steering_set_state(*state, 1, 0, VKMOE_EXPERT_FORCED, NULL));
    assert_true(moe_steering_set_n_active(*state, 3, NULL));
    assert_true(moe_steering_set_router(*state, VKMOE_ROUTER_TOPK_NORMED, NULL));
    moe_steering_set_use_shared(*state, FALSE);
    guint8 *states = moe_steering_apply(*state, &routing);
    assert_non_null(states);
    assert_memory_equal(states, expected, sizeof(expected));
    g_free(states);
    assert_int_equal(routing.router, VKMOE_ROUTER_TOPK_NORMED);
    assert_int_equal(routing.experts_per_token, 3);
    assert_true(routing.without_shared);
    char *words = moe_steering_describe(*state);
    assert_string_equal(words, "3 of 4 experts active, router Top K, normalised, 1 off, "
                               "1 always used, no shared experts");
    g_free(words);
    moe_steering_reset(*state);
    assert_true(moe_steering_is_default(*state));
}

static void a_layer_keeps_as_many_experts_as_a_token_needs(void **state)
{
    GError *error = NULL;
    assert_true(moe_steering_toggle(*state, 1, 0, &error));
    assert_true(moe_steering_toggle(*state, 1, 3, &error));
    refused(moe_steering_toggle(*state, 1, 2, &error), &error,
            "Layer 1 would have only 1 of 4 experts left, but each token activates 2.");
    assert_int_equal(moe_steering_get_state(*state, 1, 2), VKMOE_EXPERT_FREE);
    refused(moe_steering_set_n_active(*state, 3, &error), &error, "Layer 1");
    refused(moe_steering_set_router(*state, VKMOE_ROUTER_DENSE, &error), &error, "Layer 1");
    assert_int_equal(moe_steering_get_router(*state), VKMOE_ROUTER_MODEL);
    assert_true(moe_steering_set_n_active(*state, 1, &error));
    assert_true(moe_steering_toggle(*state, 1, 2, &error));
    assert_true(moe_steering_toggle(*state, 1, 2, &error)); /* on again */
    assert_int_equal(moe_steering_count(*state, VKMOE_EXPERT_OFF), 2);
}

static void no_more_are_forced_than_a_token_takes(void **state)
{
    GError *error = NULL;
    guint least, most;
    assert_true(moe_steering_set_state(*state, 0, 0, VKMOE_EXPERT_FORCED, &error));
    assert_true(moe_steering_set_state(*state, 0, 1, VKMOE_EXPERT_FORCED, &error));
    refused(moe_steering_set_state(*state, 0, 2, VKMOE_EXPERT_FORCED, &error), &error, "Layer 0");
    refused(moe_steering_set_router(*state, VKMOE_ROUTER_SWITCH, &error), &error, "Layer 0");
    assert_true(moe_steering_toggle(*state, 1, 1, &error));
    moe_steering_get_n_active_range(*state, &least, &most);
    assert_int_equal(least, 2);
    assert_int_equal(most, 3);
    refused(moe_steering_set_n_active(*state, 1, &error), &error, "Layer 0");
}

static void a_router_that_fixes_the_number_has_it(void **state)
{
    vkmoe_routing routing = {0};
    GError *error = NULL;
    assert_true(moe_steering_set_router(*state, VKMOE_ROUTER_SWITCH, NULL));
    assert_int_equal(moe_steering_get_n_active(*state), 1);
    assert_false(moe_steering_can_set_n_active(*state));
    refused(moe_steering_set_n_active(*state, 2, &error), &error, "Switch");
    assert_null(moe_steering_apply(*state, &routing));
    assert_int_equal(routing.experts_per_token, 0);
    assert_true(moe_steering_set_router(*state, VKMOE_ROUTER_DENSE, NULL));
    assert_int_equal(moe_steering_get_n_active(*state), 4);
    assert_true(moe_steering_set_router(*state, VKMOE_ROUTER_MODEL, NULL));
    assert_int_equal(moe_steering_get_n_active(*state), 2); /* as it was */
}

static void a_table_may_name_experts_that_are_off(void **state)
{
    assert_true(moe_steering_set_router(*state, VKMOE_ROUTER_HASH, NULL));
    for (guint e = 0; e < shape.n_experts; e++)
        assert_true(moe_steering_set_state(*state, 0, e, VKMOE_EXPERT_OFF, NULL));
}

/* Layer 0 chose expert 2 twice, 3 twice, 1 once. */
static MoeRouteLog *a_log(void)
{
    static const gint32 ids[] = {2, 3, 2, 1, 3, 0, /**/ 0, 1, 0, 1, 0, 1};
    static const float gates[] = {1, 1, 1, 1, 1, 0, /**/ 1, 1, 1, 1, 1, 1};
    MoeRouteLog *log = moe_route_log_new();
    moe_route_log_set_shape(log, &shape);
    moe_route_log_append(log, 0, 3, 2, ids, gates, gates, 0);
    return log;
}

static void nobody_is_busiest_before_a_token_is_routed(void **state)
{
    MoeRouteLog *log = moe_route_log_new();
    GError *error = NULL;
    moe_route_log_set_shape(log, &shape);
    refused(moe_steering_switch_busiest_off(*state, 0, log, &error), &error, "No token");
    refused(moe_steering_keep_busiest(*state, 0, log, &error), &error, "No token");
    assert_int_equal(moe_steering_count(*state, VKMOE_EXPERT_OFF), 0);
    g_object_unref(log);
}

static void what_is_off_already_cannot_be_switched_off(void **state)
{
    MoeRouteLog *log = a_log();
    GError *error = NULL;
    assert_true(moe_steering_set_router(*state, VKMOE_ROUTER_HASH, NULL));
    for (guint e = 0; e < shape.n_experts; e++)
        assert_true(moe_steering_set_state(*state, 0, e, VKMOE_EXPERT_OFF, NULL));
    refused(moe_steering_switch_busiest_off(*state, 0, log, &error), &error, "All experts");
    g_object_unref(log);
}

static void the_busiest_are_switched_off_one_by_one(void **state)
{
    MoeRouteLog *log = a_log();
    GError *error = NULL;
    assert_true(moe_steering_switch_busiest_off(*state, 0, log, &error));
    assert_int_equal(moe_steering_get_state(*state, 0, 2), VKMOE_EXPERT_OFF);
    assert_true(moe_steering_switch_busiest_off(*state, 0, log, &error));
    assert_int_equal(moe_steering_get_state(*state, 0, 3), VKMOE_EXPERT_OFF);
    refused(moe_steering_switch_busiest_off(*state, 0, log, &error), &error, "Layer 0");
    assert_int_equal(moe_steering_count(*state, VKMOE_EXPERT_OFF), 2);
    g_object_unref(log);
}

static void a_row_is_switched_off_down_to_its_busiest_and_freed(void **state)
{
    MoeRouteLog *log = a_log();
    assert_true(moe_steering_keep_busiest(*state, 0, log, NULL));
    for (guint e = 0; e < shape.n_experts; e++)
        assert_int_equal(moe_steering_get_state(*state, 0, e),
                         e < 2 ? VKMOE_EXPERT_OFF : VKMOE_EXPERT_FREE);
    moe_steering_free_layer(*state, 0);
    assert_true(moe_steering_is_default(*state));
    g_object_unref(log);
}

static void a_copy_is_equal_until_one_changes(void **state)
{
    moe_steering_toggle(*state, 0, 1, NULL);
    moe_steering_set_n_active(*state, 1, NULL);
    MoeSteering *copy = moe_steering_copy(*state);
    assert_true(moe_steering_equal(*state, copy));
    moe_steering_toggle(copy, 0, 1, NULL);
    assert_false(moe_steering_equal(*state, copy));
    assert_int_equal(moe_steering_get_state(*state, 0, 1), VKMOE_EXPERT_OFF);
    g_object_unref(copy);
}

static void count_notify(GObject *object, GParamSpec *spec, int *n)
{
    (void)object, (void)spec;
    (*n)++;
}

static void count_signal(MoeSteering *steering, int *n)
{
    (void)steering;
    (*n)++;
}

static void only_changes_are_told(void **state)
{
    int active = 0, experts = 0;
    g_signal_connect(*state, "notify::n-active", G_CALLBACK(count_notify), &active);
    g_signal_connect(*state, "experts-changed", G_CALLBACK(count_signal), &experts);
    moe_steering_set_n_active(*state, 2, NULL);
    moe_steering_set_n_active(*state, 5, NULL);
    moe_steering_set_state(*state, 0, 0, VKMOE_EXPERT_FREE, NULL);
    assert_int_equal(active + experts, 0);
    moe_steering_set_n_active(*state, 4, NULL);
    assert_int_equal(active, 1);
    moe_steering_toggle(*state, 0, 0, NULL); /* refused: all four are needed */
    assert_int_equal(experts, 0);
    moe_steering_set_n_active(*state, 1, NULL);
    moe_steering_toggle(*state, 0, 0, NULL);
    assert_int_equal(experts, 1);
}

static void a_dense_model_has_nothing_to_steer(void **state)
{
    const MoeShape dense = {0};
    vkmoe_routing routing = {0};
    guint least, most;
    moe_steering_set_shape(*state, &dense);
    moe_steering_get_n_active_range(*state, &least, &most);
    assert_int_equal(least, 0);
    assert_int_equal(most, 0);
    assert_false(moe_steering_can_set_n_active(*state));
    assert_null(moe_steering_apply(*state, &routing));
    assert_int_equal(routing.experts_per_token, 0);
    char *words = moe_steering_describe(*state);
    assert_string_equal(words, "no routed experts");
    g_free(words);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(it_begins_as_the_model_was_trained),
        CASE(what_is_set_is_handed_on),
        CASE(a_layer_keeps_as_many_experts_as_a_token_needs),
        CASE(no_more_are_forced_than_a_token_takes),
        CASE(a_router_that_fixes_the_number_has_it),
        CASE(a_table_may_name_experts_that_are_off),
        CASE(nobody_is_busiest_before_a_token_is_routed),
        CASE(what_is_off_already_cannot_be_switched_off),
        CASE(the_busiest_are_switched_off_one_by_one),
        CASE(a_row_is_switched_off_down_to_its_busiest_and_freed),
        CASE(a_copy_is_equal_until_one_changes),
        CASE(only_changes_are_told),
        CASE(a_dense_model_has_nothing_to_steer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
