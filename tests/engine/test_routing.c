/* How a session chooses experts, against the oracle; and what it counts. */
#include <math.h>
#include <string.h>

#include "routed.h"

static struct engine engine;
static int32_t tokens[COUNT];
static uint8_t states[LAYERS * EXPERTS];

static int open_all(void **state)
{
    (void)state;
    engine_open(&engine, &shape);
    engine_tokens(&engine, 5, tokens, COUNT);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    engine_close(&engine);
    return 0;
}

static vkmoe_session *session_of(const vkmoe_routing *routing)
{
    return engine_session(
        &engine, &(vkmoe_session_params){.context = 128, .routing = *routing, .count_pairs = true});
}

/* By falling gate, as traces are compared: forced experts come first whatever their gate. */
static struct test_trace sorted(struct test_trace t, uint32_t n, uint32_t k)
{
    for (uint32_t r = 0; r < LAYERS * n; r++)
        for (uint32_t i = 1; i < k; i++)
            for (uint32_t j = i; j > 0; j--) {
                float *w = t.weights + r * k + j;
                int32_t *id = t.ids + r * k + j, other = *id;
                float gate = *w;
                if (gate <= w[-1])
                    break;
                *w = w[-1];
                w[-1] = gate;
                *id = id[-1];
                id[-1] = other;
            }
    return t;
}

/* A prompt at once, then token by token, which is another path. */
static void assert_routes(vkmoe_session *s, const struct test_shape *wanted)
{
    struct test_shape complete = test_shape_complete(wanted);
    struct test_difference worst = {0};
    uint32_t k = wanted->top_k;
    struct test_trace expected =
        sorted(oracle_trace(&complete, engine.folder, tokens, COUNT), COUNT, k);
    struct test_trace got = sorted(test_trace_eval(engine.model, s, tokens, COUNT), COUNT, k);
    test_trace_compare(&expected, 0, &got, "a prompt", &worst);
    test_trace_free(&got);
    vkmoe_session_reset(s);
    for (uint32_t t = 0; t < 3; t++) {
        got = sorted(test_trace_append(engine.model, s, tokens + t, 1), 1, k);
        test_trace_compare(&expected, t, &got, "a token", &worst);
        test_trace_free(&got);
    }
    test_trace_free(&expected);
}

static void routers_choose_as_they_are_defined(void **state)
{
    static const struct {
        vkmoe_routing routing;
        uint32_t k, skip, shared;
        bool normalise;
    } cases[] = {
        {{.router = VKMOE_ROUTER_MODEL}, TRAINED, 0, 1, false},
        {{.router = VKMOE_ROUTER_TOPK, .experts_per_token = 4}, 4, 0, 1, false},
        {{.router = VKMOE_ROUTER_TOPK_NORMED}, TRAINED, 0, 1, true},
        {{.router = VKMOE_ROUTER_GSHARD}, 2, 0, 1, true},
        {{.router = VKMOE_ROUTER_SWITCH}, 1, 0, 1, false},
        {{.router = VKMOE_ROUTER_DENSE}, EXPERTS, 0, 1, false},
        {{.skip = 2}, TRAINED, 2, 1, false},
        {{.router = VKMOE_ROUTER_TOPK_NORMED, .skip = EXPERTS - TRAINED},
         TRAINED,
         EXPERTS - TRAINED,
         1,
         true},
        {{.without_shared = true, .experts_per_token = 4}, 4, 0, 0, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct test_shape wanted = shape;
        wanted.top_k = cases[i].k;
        wanted.skip = cases[i].skip;
        wanted.shared = cases[i].shared;
        wanted.normalise = cases[i].normalise;
        vkmoe_session *s = session_of(&cases[i].routing);
        assert_int_equal(vkmoe_session_experts_per_token(s), cases[i].k);
        assert_routes(s, &wanted);
        vkmoe_session_destroy(s);
    }
}

static void a_table_says_which_experts_a_token_gets(void **state)
{
    uint32_t table[VOCAB * 2];
    struct test_shape wanted = shape;
    (void)state;
    for (uint32_t i = 0; i < VOCAB * 2; i++)
        table[i] = (i / 2 * 5 + i % 2 * 4) % EXPERTS;
    wanted.top_k = 2;
    wanted.table = table;
    const vkmoe_routing routing = {
        .router = VKMOE_ROUTER_HASH, .experts_per_token = 2, .table = table};
    vkmoe_session *s = session_of(&routing);
    assert_routes(s, &wanted);
    vkmoe_session_destroy(s);
}

/* The ids that a session chose for the tokens. */
static struct test_trace trace_of(const vkmoe_routing *routing)
{
    vkmoe_session *s = session_of(routing);
    struct test_trace t = test_trace_eval(engine.model, s, tokens, COUNT);
    vkmoe_session_destroy(s);
    return t;
}

static void a_drawn_table_gives_a_token_the_same_different_experts_everywhere(void **state)
{
    const vkmoe_routing routing = {.router = VKMOE_ROUTER_HASH, .seed = 3};
    struct test_trace t = trace_of(&routing);
    bool used[EXPERTS] = {false};
    (void)state;
    for (uint32_t a = 0; a < COUNT; a++) {
        const int32_t *ids = t.ids + a * TRAINED;
        assert_true(ids[0] != ids[1] && ids[0] != ids[2] && ids[1] != ids[2]);
        assert_memory_equal(ids, ids + COUNT * TRAINED, TRAINED * sizeof(*ids)); /* next layer */
        for (uint32_t k = 0; k < TRAINED; k++)
            used[ids[k]] = true;
        for (uint32_t b = 0; b < a; b++)
            if (tokens[a] == tokens[b])
                assert_memory_equal(ids, t.ids + b * TRAINED, TRAINED * sizeof(*ids));
    }
    for (uint32_t e = 0; e < EXPERTS; e++)
        assert_true(used[e]);
    test_trace_free(&t);
}

/* What the model's own configuration asks for is what a caller gets by asking for it, and a router
 * that the caller names takes the place of all of it. */
static void the_configuration_may_ask_for_hash_noise_and_dense(void **state)
{
    static const struct {
        struct test_shape shape; /* what is said of routing in it */
        vkmoe_routing same;
    } cases[] = {
        {{.router = "hash", .router_seed = 3}, {.router = VKMOE_ROUTER_HASH, .seed = 3}},
        {{.router_noise = 2, .router_seed = 5}, {.noise = 2, .seed = 5}},
        {{.router = "dense", .top_k = EXPERTS}, {.router = VKMOE_ROUTER_DENSE}},
    };
    const vkmoe_routing own = {0},
                        topk = {.router = VKMOE_ROUTER_TOPK, .experts_per_token = TRAINED};
    vkmoe_error err;
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct engine with;
        struct test_shape wanted = shape;
        wanted.router = cases[i].shape.router;
        wanted.router_noise = cases[i].shape.router_noise;
        wanted.router_seed = cases[i].shape.router_seed;
        wanted.top_k = cases[i].shape.top_k ? cases[i].shape.top_k : TRAINED;
        engine_open(&with, &wanted);
        for (int turn = 0; turn < 3; turn++) {
            bool asked = turn == 1; /* and at last NULL, which is the configuration's own again */
            const vkmoe_session_params params = {.context = 128, .routing = asked ? topk : own};
            vkmoe_session *there = engine_session(&with, &params);
            if (turn == 2)
                assert_ok(vkmoe_session_set_routing(there, NULL, &err), &err);
            vkmoe_session *here = session_of(asked ? &topk : &cases[i].same);
            struct test_trace got = test_trace_eval(with.model, there, tokens, COUNT);
            struct test_trace expected = test_trace_eval(engine.model, here, tokens, COUNT);
            test_trace_assert_identical(&expected, &got);
            test_trace_free(&got);
            test_trace_free(&expected);
            vkmoe_session_destroy(there);
            vkmoe_session_destroy(here);
        }
        engine_close(&with);
    }
}

static void experts_can_be_switched_off_and_forced_and_freed_again(void **state)
{
    vkmoe_error err;
    vkmoe_session *s = session_of(&(vkmoe_routing){.skip = 1}), *fork;
    struct test_shape wanted = shape;
    (void)state;
    wanted.skip = 1;
    memset(states, 0, sizeof(states));
    for (uint32_t e = 0; e < 5; e++)
        states[e] = VKMOE_EXPERT_OFF;
    states[EXPERTS + 7] = VKMOE_EXPERT_FORCED;
    states[EXPERTS + 8] = VKMOE_EXPERT_FORCED;
    assert_ok(vkmoe_session_set_experts(s, states, &err), &err);
    wanted.states = states;
    assert_routes(s, &wanted);
    vkmoe_session_reset(s);
    assert_ok(vkmoe_session_fork(s, &fork, &err), &err);
    assert_routes(fork, &wanted);
    vkmoe_session_destroy(fork);
    assert_ok(vkmoe_session_set_experts(s, NULL, &err), &err);
    vkmoe_session_reset(s);
    wanted.states = NULL;
    assert_routes(s, &wanted);
    vkmoe_session_destroy(s);
}

/* Generation replays recorded steps: what is switched between two calls must reach them. */
static void generation_follows_what_is_switched(void **state)
{
    vkmoe_error err;
    const vkmoe_sampling greedy = {0};
    vkmoe_session *s = session_of(&(vkmoe_routing){0});
    (void)state;
    assert_ok(vkmoe_session_eval(s, tokens, 4, NULL, &err), &err);
    struct engine_text plain = engine_generate(s, &greedy, 20);
    assert_ok(vkmoe_session_rollback(s, 4, &err), &err);
    for (uint32_t e = 0; e < LAYERS * EXPERTS; e++)
        states[e] = e % EXPERTS < EXPERTS - TRAINED ? VKMOE_EXPERT_OFF : VKMOE_EXPERT_FREE;
    assert_ok(vkmoe_session_set_experts(s, states, &err), &err);
    assert_ok(vkmoe_session_reset_routing(s, &err), &err);
    (void)engine_generate(s, &greedy, 20);
    uint64_t chosen[LAYERS * EXPERTS];
    vkmoe_routing_counts counts = {.chosen = chosen};
    assert_ok(vkmoe_session_read_routing(s, &counts, &err), &err);
    assert_true(counts.tokens >= 20);
    for (uint32_t i = 0; i < LAYERS * EXPERTS; i++)
        assert_int_equal(chosen[i], states[i] == VKMOE_EXPERT_OFF ? 0 : counts.tokens);
    assert_ok(vkmoe_session_set_experts(s, NULL, &err), &err);
    assert_ok(vkmoe_session_rollback(s, 4, &err), &err);
    struct engine_text again = engine_generate(s, &greedy, 20);
    assert_same_text(&plain, &again);
    vkmoe_session_destroy(s);
}

/* What was counted when it was last asked. */
struct asked {
    vkmoe_session *session;
    uint64_t chosen[LAYERS * EXPERTS];
    double gates[LAYERS * EXPERTS], probs[LAYERS * EXPERTS];
    uint32_t times;
};

/* Steps that are in hand may be there in part, but nothing goes back. */
static bool ask(void *user, int32_t token)
{
    struct asked *asked = user, now = {.session = asked->session, .times = asked->times + 1};
    vkmoe_routing_counts counts = {
        .chosen = now.chosen, .gate_mass = now.gates, .prob_mass = now.probs};
    vkmoe_error err;
    (void)token;
    assert_ok(vkmoe_session_read_routing(now.session, &counts, &err), &err);
    for (uint32_t l = 0; l < LAYERS; l++) {
        uint64_t sum = 0;
        for (size_t e = l * EXPERTS; e < (l + 1) * EXPERTS; e++) {
            assert_true(now.chosen[e] >= asked->chosen[e] && now.gates[e] >= asked->gates[e] &&
                        now.probs[e] >= asked->probs[e]);
            assert_true(now.probs[e] <= (double)counts.tokens);
            sum += now.chosen[e];
        }
        assert_true(sum <= counts.tokens * TRAINED);
        assert_true(sum + 4 * TRAINED >= counts.tokens * TRAINED);
    }
    *asked = now;
    return true;
}

static void counts_can_be_read_while_text_is_generated(void **state)
{
    vkmoe_error err;
    vkmoe_session *s = session_of(&(vkmoe_routing){0});
    struct asked asked = {.session = s};
    const vkmoe_generate_params params = {
        .max_tokens = 90, .ignore_eos = true, .on_token = ask, .user = &asked};
    (void)state;
    assert_ok(vkmoe_session_eval(s, tokens, 4, NULL, &err), &err);
    assert_ok(vkmoe_session_generate(s, &params, NULL, &err), &err);
    assert_int_equal(asked.times, 90);
    vkmoe_session_destroy(s);
}

static const struct {
    vkmoe_routing routing;
    uint32_t k, skip, shared;
    bool normalise;
} steps[] = {
    {{.router = VKMOE_ROUTER_TOPK_NORMED, .experts_per_token = 2}, 2, 0, 1, true},
    {{.experts_per_token = 5, .skip = 4}, 5, 4, 1, false},
    {{.router = VKMOE_ROUTER_SWITCH, .without_shared = true}, 1, 0, 0, false},
    {{.router = VKMOE_ROUTER_DENSE}, EXPERTS, 0, 1, false},
    {{.router = VKMOE_ROUTER_MODEL}, TRAINED, 0, 1, false},
};

/* What was recorded and laid out for one router does not stand in the way of the next. */
static void a_session_can_be_routed_anew_at_any_time(void **state)
{
    vkmoe_error err;
    const vkmoe_sampling greedy = {0};
    const vkmoe_routing all = {.experts_per_token = EXPERTS};
    vkmoe_session *s = session_of(&all), *fork;
    (void)state;
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        struct test_shape wanted = shape;
        wanted.top_k = steps[i].k;
        wanted.skip = steps[i].skip;
        wanted.shared = steps[i].shared;
        wanted.normalise = steps[i].normalise;
        vkmoe_session_reset(s);
        assert_ok(vkmoe_session_set_routing(s, &steps[i].routing, &err), &err);
        assert_int_equal(vkmoe_session_experts_per_token(s), steps[i].k);
        assert_routes(s, &wanted);
        vkmoe_session_reset(s);
        assert_ok(vkmoe_session_fork(s, &fork, &err), &err);
        assert_routes(fork, &wanted);
        vkmoe_session_destroy(fork);
        vkmoe_session *made = session_of(&steps[i].routing);
        vkmoe_session_reset(s);
        assert_ok(vkmoe_session_eval(made, tokens, 9, NULL, &err), &err);
        assert_ok(vkmoe_session_eval(s, tokens, 9, NULL, &err), &err);
        struct engine_text want = engine_generate(made, &greedy, 20);
        struct engine_text got = engine_generate(s, &greedy, 20);
        assert_same_text(&want, &got);
        vkmoe_session_destroy(made);
    }
    vkmoe_session_destroy(s);
}

static void a_session_with_a_table_takes_another_one(void **state)
{
    vkmoe_error err;
    uint32_t table[VOCAB * 2];
    struct test_shape wanted = shape;
    (void)state;
    for (uint32_t i = 0; i < VOCAB * 2; i++)
        table[i] = (i / 2 * 7 + i % 2 * 3) % EXPERTS;
    vkmoe_session *s = session_of(&(vkmoe_routing){.router = VKMOE_ROUTER_HASH});
    assert_ok(
        vkmoe_session_set_routing(
            s,
            &(vkmoe_routing){.router = VKMOE_ROUTER_HASH, .experts_per_token = 2, .table = table},
            &err),
        &err);
    wanted.top_k = 2;
    wanted.table = table;
    assert_routes(s, &wanted);
    vkmoe_session_reset(s);
    assert_ok(vkmoe_session_set_routing(s, NULL, &err), &err);
    assert_routes(s, &shape);
    vkmoe_session_destroy(s);
}

static void routing_that_does_not_fit_the_session_is_refused_and_changes_nothing(void **state)
{
    static const struct {
        vkmoe_routing routing;
        const char *sentence;
    } cases[] = {
        {{.experts_per_token = 5}, "made to activate at most 4 experts of each token, not 5"},
        {{.router = VKMOE_ROUTER_DENSE}, "at most 4 experts of each token, not 9"},
        {{.router = VKMOE_ROUTER_HASH}, "was not made with a routing table"},
        {{.experts_per_token = EXPERTS + 1}, "experts_per_token is 10, the model has 9"},
        {{.router = VKMOE_ROUTER_SWITCH}, "2 experts are forced in MoE layer 1"},
        {{.skip = 4}, "2 of 9 experts are left in MoE layer 0, where a token activates 3"},
    };
    vkmoe_error err;
    const vkmoe_routing four = {.experts_per_token = 4};
    vkmoe_session *s = session_of(&four);
    struct test_shape wanted = shape;
    (void)state;
    memset(states, 0, sizeof(states));
    memset(states, VKMOE_EXPERT_OFF, 3);
    memset(states + EXPERTS, VKMOE_EXPERT_FORCED, 2);
    assert_ok(vkmoe_session_set_experts(s, states, &err), &err);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        test_assert_fails(vkmoe_session_set_routing(s, &cases[i].routing, &err), &err,
                          VKMOE_INVALID_ARGUMENT, cases[i].sentence);
    wanted.top_k = 4;
    wanted.states = states;
    assert_routes(s, &wanted);
    vkmoe_session_destroy(s);
}

/* Sums of the trace's own ids and gates. */
static void counts_are_sums_over_the_tokens(void **state)
{
    vkmoe_error err;
    uint64_t chosen[LAYERS * EXPERTS], chosen_want[LAYERS * EXPERTS] = {0};
    double gates[LAYERS * EXPERTS], probs[LAYERS * EXPERTS], gates_want[LAYERS * EXPERTS] = {0};
    uint32_t pairs[LAYERS * EXPERTS * EXPERTS], pairs_want[LAYERS * EXPERTS * EXPERTS] = {0};
    vkmoe_routing_counts counts = {
        .chosen = chosen, .gate_mass = gates, .prob_mass = probs, .pairs = pairs};
    vkmoe_session *s = session_of(&(vkmoe_routing){0});
    struct test_trace t = test_trace_eval(engine.model, s, tokens, COUNT);
    (void)state;
    for (uint32_t l = 0; l < LAYERS; l++)
        for (uint32_t i = 0; i < COUNT * TRAINED; i++) {
            const int32_t *row = t.ids + l * COUNT * TRAINED + i / TRAINED * TRAINED;
            size_t at = l * EXPERTS + (size_t)row[i % TRAINED];
            chosen_want[at]++;
            gates_want[at] += (double)t.weights[l * COUNT * TRAINED + i];
            for (uint32_t k = 0; k < TRAINED; k++)
                if (row[k] != row[i % TRAINED])
                    pairs_want[at * EXPERTS + (size_t)row[k]]++;
        }
    assert_ok(vkmoe_session_read_routing(s, &counts, &err), &err);
    assert_int_equal(counts.tokens, COUNT);
    assert_memory_equal(chosen, chosen_want, sizeof(chosen));
    assert_memory_equal(pairs, pairs_want, sizeof(pairs));
    for (uint32_t l = 0; l < LAYERS; l++) {
        double sum = 0;
        for (uint32_t e = 0; e < EXPERTS; e++) {
            size_t at = l * EXPERTS + e;
            assert_true(fabs(gates[at] - gates_want[at]) <= COUNT * 0x1p-24);
            assert_true(probs[at] * 1.5 >= gates[at] - COUNT * 0x1p-24);
            sum += probs[at];
        }
        assert_true(fabs(sum - COUNT) < 1e-3);
    }
    assert_ok(vkmoe_session_reset_routing(s, &err), &err);
    assert_ok(vkmoe_session_read_routing(s, &counts, &err), &err);
    assert_int_equal(counts.tokens, 0);
    for (uint32_t i = 0; i < LAYERS * EXPERTS; i++)
        assert_true(chosen[i] == 0 && gates[i] == 0 && probs[i] == 0);
    test_trace_free(&t);
    vkmoe_session_destroy(s);
}

static void what_cannot_be_is_refused(void **state)
{
    static const struct {
        vkmoe_routing routing;
        const char *sentence;
    } cases[] = {
        {{.experts_per_token = EXPERTS + 1}, "experts_per_token is 10, the model has 9"},
        {{.router = VKMOE_ROUTER_GSHARD, .experts_per_token = 3}, "the router takes 2 experts"},
        {{.router = VKMOE_ROUTER_COUNT}, "router is 7, expected 0 to 6"},
        {{.noise = -1}, "noise is -1"},
        {{.noise = NAN}, "noise is nan"},
        {{.router = VKMOE_ROUTER_HASH, .noise = 0.5f}, "the router's noise is 0.5, expected 0"},
        {{.router = VKMOE_ROUTER_DENSE, .noise = 1}, "as the router dense ranks no experts"},
        {{.router = VKMOE_ROUTER_HASH, .skip = 2}, "2 experts are to be passed over, expected 0"},
        {{.skip = EXPERTS - TRAINED + 1}, "7 of 9 experts passed over leave fewer than the 3"},
    };
    vkmoe_error err;
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        vkmoe_session *s = NULL;
        const vkmoe_session_params params = {.routing = cases[i].routing};
        test_assert_fails(vkmoe_session_create(engine.model, &params, &s, &err), &err,
                          VKMOE_INVALID_ARGUMENT, cases[i].sentence);
        assert_null(s);
    }
}

static void states_that_cannot_be_are_refused_and_change_nothing(void **state)
{
    static const struct {
        uint8_t first, count, value;
        const char *sentence;
    } cases[] = {
        {0, EXPERTS - TRAINED + 1, VKMOE_EXPERT_OFF, "2 of 9 experts are left in MoE layer 0"},
        {EXPERTS, TRAINED + 1, VKMOE_EXPERT_FORCED, "4 experts are forced in MoE layer 1"},
        {EXPERTS + 2, 1, 3, "the state of expert 2 in MoE layer 1 is 3"},
    };
    vkmoe_error err;
    vkmoe_session *s = session_of(&(vkmoe_routing){0});
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memset(states, 0, sizeof(states));
        memset(states + cases[i].first, cases[i].value, cases[i].count);
        test_assert_fails(vkmoe_session_set_experts(s, states, &err), &err, VKMOE_INVALID_ARGUMENT,
                          cases[i].sentence);
    }
    assert_routes(s, &shape);
    vkmoe_session_destroy(s);
}

static void what_is_not_counted_cannot_be_read(void **state)
{
    vkmoe_error err;
    uint32_t pairs[LAYERS * EXPERTS * EXPERTS];
    vkmoe_routing_counts counts = {.pairs = pairs};
    vkmoe_session *s = engine_session(&engine, &(vkmoe_session_params){.context = 64});
    (void)state;
    test_assert_fails(vkmoe_session_read_routing(s, &counts, &err), &err, VKMOE_INVALID_ARGUMENT,
                      "does not count what its router chooses");
    vkmoe_session_destroy(s);
    s = engine_session(&engine, &(vkmoe_session_params){.context = 64, .count_routing = true});
    test_assert_fails(vkmoe_session_read_routing(s, &counts, &err), &err, VKMOE_INVALID_ARGUMENT,
                      "does not count pairs");
    vkmoe_session_destroy(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routers_choose_as_they_are_defined),
        cmocka_unit_test(a_table_says_which_experts_a_token_gets),
        cmocka_unit_test(a_drawn_table_gives_a_token_the_same_different_experts_everywhere),
        cmocka_unit_test(the_configuration_may_ask_for_hash_noise_and_dense),
        cmocka_unit_test(experts_can_be_switched_off_and_forced_and_freed_again),
        cmocka_unit_test(generation_follows_what_is_switched),
        cmocka_unit_test(counts_can_be_read_while_text_is_generated),
        cmocka_unit_test(a_session_can_be_routed_anew_at_any_time),
        cmocka_unit_test(a_session_with_a_table_takes_another_one),
        cmocka_unit_test(routing_that_does_not_fit_the_session_is_refused_and_changes_nothing),
        cmocka_unit_test(counts_are_sums_over_the_tokens),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(states_that_cannot_be_are_refused_and_change_nothing),
        cmocka_unit_test(what_is_not_counted_cannot_be_read),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
