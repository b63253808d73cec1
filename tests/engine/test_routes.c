/* Where tokens went, as a session keeps it: against the float64 oracle's ranking of all experts. */
#include <math.h>
#include <string.h>

#include "routed.h"

enum { MOST = LAYERS * COUNT * EXPERTS };

static struct engine engine;
static int32_t tokens[COUNT];

/* What a session kept of some tokens. */
struct kept {
    vkmoe_routes routes;
    int32_t ids[MOST];
    float gates[MOST], probs[MOST];
};

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

static vkmoe_session *session_of(const vkmoe_routing *routing, uint32_t keep)
{
    return engine_session(
        &engine, &(vkmoe_session_params){
                     .context = 192, .chunk = 32, .routing = *routing, .keep_ranks = keep});
}

static void eval(vkmoe_session *s, uint32_t first, uint32_t count)
{
    vkmoe_error err;
    assert_ok(vkmoe_session_eval(s, tokens + first, count, NULL, &err), &err);
}

static void read_kept(vkmoe_session *s, uint32_t first, uint32_t count, struct kept *k)
{
    vkmoe_error err;
    memset(k, 0x55, sizeof(*k));
    k->routes = (vkmoe_routes){
        .first = first, .count = count, .ids = k->ids, .gates = k->gates, .probs = k->probs};
    assert_ok(vkmoe_session_read_routes(s, &k->routes, &err), &err);
}

static void assert_same(const struct kept *a, const struct kept *b)
{
    size_t n = (size_t)LAYERS * a->routes.count * a->routes.ranks;
    assert_int_equal(a->routes.count, b->routes.count);
    assert_int_equal(a->routes.ranks, b->routes.ranks);
    assert_memory_equal(a->ids, b->ids, n * sizeof(a->ids[0]));
    assert_memory_equal(a->gates, b->gates, n * sizeof(a->gates[0]));
    assert_memory_equal(a->probs, b->probs, n * sizeof(a->probs[0]));
}

/* What one of the kept experts is to be: the best of those that are left, after the chosen. */
static void assert_next(const float *probs, bool *gone, int32_t id, float prob)
{
    float best = -1;
    for (uint32_t e = 0; e < EXPERTS; e++)
        if (!gone[e] && probs[e] > best)
            best = probs[e];
    if (best < 0) {
        assert_int_equal(id, -1);
        assert_true(prob == 0);
        return;
    }
    assert_in_range(id, 0, EXPERTS - 1);
    assert_false(gone[id]);
    gone[id] = true;
    assert_true(fabsf(best - probs[id]) < 1e-5f);
    assert_true(fabsf(prob - probs[id]) < 1e-4f);
}

/* One token in one layer: chosen as the trace says, then by falling probability. */
static void assert_ranking(const struct test_shape *wanted, uint32_t layer, const int32_t *ids,
                           const float *gates, const float *kept, uint32_t ranks,
                           const float *probs)
{
    const uint8_t *states = wanted->states ? wanted->states + layer * EXPERTS : NULL;
    bool gone[EXPERTS] = {false};
    for (uint32_t e = 0; e < EXPERTS; e++)
        gone[e] = wanted->table || (states && states[e] == VKMOE_EXPERT_OFF);
    for (uint32_t r = 0; r < wanted->top_k; r++) {
        gone[ids[r]] = true;
        assert_true(fabsf(kept[r] - probs[ids[r]]) < 1e-4f);
    }
    for (uint32_t r = wanted->top_k; r < ranks; r++) {
        assert_true(gates[r] == 0);
        assert_next(probs, gone, ids[r], kept[r]);
    }
}

/* The prompt in chunks; chosen experts and gates are the trace's bits. */
static void assert_routes(vkmoe_session *s, const struct test_shape *wanted, uint32_t ranks)
{
    struct test_shape complete = test_shape_complete(wanted);
    struct test_trace oracle = oracle_trace(&complete, engine.folder, tokens, COUNT);
    struct test_trace trace = test_trace_eval(engine.model, s, tokens, COUNT);
    static struct kept got;
    uint32_t k = wanted->top_k;
    read_kept(s, 0, COUNT, &got);
    assert_int_equal(got.routes.ranks, ranks);
    for (uint32_t i = 0; i < LAYERS * COUNT; i++) {
        const int32_t *ids = got.ids + i * ranks;
        assert_memory_equal(ids, trace.ids + i * k, k * sizeof(*ids));
        assert_memory_equal(got.gates + i * ranks, trace.weights + i * k, k * sizeof(float));
        assert_ranking(wanted, i / COUNT, ids, got.gates + i * ranks, got.probs + i * ranks, ranks,
                       oracle.probs + i * EXPERTS);
    }
    test_trace_free(&oracle);
    test_trace_free(&trace);
}

static void runners_up_follow_the_chosen_by_falling_probability(void **state)
{
    static const struct {
        vkmoe_routing routing;
        uint32_t k, skip, ranks;
        bool normalise;
    } cases[] = {
        {{.router = VKMOE_ROUTER_MODEL}, TRAINED, 0, EXPERTS, false},
        {{.router = VKMOE_ROUTER_MODEL}, TRAINED, 0, TRAINED, false},
        {{.router = VKMOE_ROUTER_TOPK_NORMED, .experts_per_token = 2}, 2, 0, 5, true},
        {{.router = VKMOE_ROUTER_SWITCH}, 1, 0, 4, false},
        {{.router = VKMOE_ROUTER_DENSE}, EXPERTS, 0, EXPERTS, false},
        {{.skip = 2}, TRAINED, 2, EXPERTS, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct test_shape wanted = shape;
        wanted.top_k = cases[i].k;
        wanted.skip = cases[i].skip;
        wanted.normalise = cases[i].normalise;
        vkmoe_session *s = session_of(&cases[i].routing, cases[i].ranks);
        assert_routes(s, &wanted, cases[i].ranks);
        vkmoe_session_destroy(s);
    }
}

static void experts_that_are_off_are_no_runners_up(void **state)
{
    uint8_t states[LAYERS * EXPERTS] = {0};
    vkmoe_error err;
    vkmoe_session *s = session_of(&(vkmoe_routing){0}, EXPERTS);
    struct test_shape wanted = shape;
    (void)state;
    for (uint32_t e = 0; e < 5; e++)
        states[e] = VKMOE_EXPERT_OFF;
    states[EXPERTS + 7] = VKMOE_EXPERT_FORCED;
    assert_ok(vkmoe_session_set_experts(s, states, &err), &err);
    wanted.states = states;
    assert_routes(s, &wanted, EXPERTS);
    vkmoe_session_destroy(s);
}

static void a_table_names_no_runners_up(void **state)
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
    vkmoe_session *s = session_of(&routing, 4);
    assert_routes(s, &wanted, 4);
    vkmoe_session_destroy(s);
}

/* --- while it runs --- */

struct live {
    vkmoe_session *session;
    uint32_t tokens;
    int32_t ids[192][LAYERS * EXPERTS]; /* by position */
    float probs[192][LAYERS * EXPERTS];
};

/* Takes the routes of the newest token that is computed. */
static bool take_newest(void *user, int32_t token)
{
    struct live *live = user;
    vkmoe_error err;
    uint32_t newest = vkmoe_session_length(live->session) - 2;
    (void)token;
    vkmoe_routes routes = {
        .first = newest, .count = 1, .ids = live->ids[newest], .probs = live->probs[newest]};
    assert_ok(vkmoe_session_read_routes(live->session, &routes, &err), &err);
    routes.first = newest + 1;
    test_assert_fails(vkmoe_session_read_routes(live->session, &routes, &err), &err,
                      VKMOE_INVALID_ARGUMENT, "are computed");
    live->tokens++;
    return true;
}

/* Whether the experts of a token are those of the trace's row, unless it was close. */
static void assert_chosen(const struct test_trace *trace, uint32_t layer, uint32_t t,
                          const int32_t *ids, const float *probs)
{
    const int32_t *want = trace->ids + ((size_t)layer * trace->count + t) * TRAINED;
    if (probs[TRAINED - 1] - probs[TRAINED] < 1e-4f)
        return;
    for (uint32_t r = 0; r < TRAINED; r++) {
        bool found = false;
        for (uint32_t q = 0; q < TRAINED; q++)
            found |= want[q] == ids[r];
        assert_true(found);
    }
}

/* Steps are in hand while on_token runs: what it reads then is what stays, and what the same tokens
 * choose in a prompt. */
static void routes_can_be_read_token_by_token_while_text_is_generated(void **state)
{
    static struct live live;
    static struct kept kept;
    vkmoe_error err;
    enum { PROMPT = 4, NEW = 60, FIRST = PROMPT - 1 };
    vkmoe_session *s = session_of(&(vkmoe_routing){0}, EXPERTS);
    (void)state;
    live = (struct live){.session = s};
    eval(s, 0, PROMPT);
    vkmoe_generate_params params = {
        .max_tokens = NEW, .ignore_eos = true, .on_token = take_newest, .user = &live};
    assert_ok(vkmoe_session_generate(s, &params, NULL, &err), &err);
    assert_int_equal(live.tokens, NEW);
    read_kept(s, FIRST, NEW, &kept);
    int32_t text[PROMPT + NEW];
    memcpy(text, vkmoe_session_tokens(s), sizeof(text));
    struct test_trace trace = test_trace_eval(engine.model, s, text, FIRST + NEW);
    for (uint32_t i = 0; i < LAYERS * NEW; i++) {
        uint32_t l = i / NEW, t = FIRST + i % NEW;
        const int32_t *ids = live.ids[t] + l * EXPERTS;
        const float *probs = live.probs[t] + l * EXPERTS;
        assert_memory_equal(kept.ids + i * EXPERTS, ids, EXPERTS * sizeof(*ids));
        assert_memory_equal(kept.probs + i * EXPERTS, probs, EXPERTS * sizeof(*probs));
        assert_chosen(&trace, l, t, ids, probs);
    }
    test_trace_free(&trace);
    vkmoe_session_destroy(s);
}

static bool read_in_step(void *user, const vkmoe_step *step)
{
    struct live *live = user;
    vkmoe_error err;
    vkmoe_routes routes = {.first = live->tokens, .count = step->n_tokens};
    int32_t ids[32 * LAYERS * EXPERTS];
    routes.ids = ids;
    assert_in_range(step->n_tokens, 1, 32);
    assert_ok(vkmoe_session_read_routes(live->session, &routes, &err), &err);
    for (uint32_t i = 0; i < step->n_tokens; i++)
        for (uint32_t l = 0; l < LAYERS; l++)
            memcpy(live->ids[live->tokens + i] + l * EXPERTS,
                   ids + ((size_t)l * step->n_tokens + i) * EXPERTS, EXPERTS * sizeof(*ids));
    live->tokens += step->n_tokens;
    routes.first++;
    test_assert_fails(vkmoe_session_read_routes(live->session, &routes, &err), &err,
                      VKMOE_INVALID_ARGUMENT, "are computed");
    return true;
}

static void a_step_s_routes_are_there_when_it_is_told_of(void **state)
{
    static struct live live;
    static struct kept kept;
    vkmoe_session *s = engine_session(
        &engine, &(vkmoe_session_params){
                     .chunk = 32, .keep_ranks = EXPERTS, .on_step = read_in_step, .user = &live});
    (void)state;
    live = (struct live){.session = s};
    eval(s, 0, COUNT);
    assert_int_equal(live.tokens, COUNT);
    read_kept(s, 0, COUNT, &kept);
    for (uint32_t i = 0; i < LAYERS * COUNT; i++)
        assert_memory_equal(kept.ids + i * EXPERTS, live.ids[i % COUNT] + i / COUNT * EXPERTS,
                            EXPERTS * sizeof(int32_t));
    vkmoe_session_destroy(s);
}

static void forks_have_what_was_kept_and_go_their_own_ways(void **state)
{
    static struct kept before, after, first, second;
    vkmoe_error err;
    vkmoe_session *fork, *s = session_of(&(vkmoe_routing){0}, 5);
    (void)state;
    eval(s, 0, 40);
    read_kept(s, 0, 40, &before);
    assert_ok(vkmoe_session_fork(s, &fork, &err), &err);
    eval(s, 40, 10);
    eval(fork, 55, 10);
    read_kept(fork, 0, 40, &after);
    assert_same(&before, &after);
    read_kept(s, 0, 40, &after);
    assert_same(&before, &after);
    read_kept(s, 40, 10, &first);
    read_kept(fork, 40, 10, &second);
    assert_memory_not_equal(first.ids, second.ids, LAYERS * 10 * 5 * sizeof(int32_t));
    vkmoe_session_destroy(s);
    read_kept(fork, 0, 40, &after);
    assert_same(&before, &after);
    vkmoe_session_destroy(fork);
}

static void what_is_rolled_back_is_gone_and_what_comes_after_takes_its_place(void **state)
{
    static struct kept straight, again;
    vkmoe_error err;
    vkmoe_session *s = session_of(&(vkmoe_routing){0}, EXPERTS);
    vkmoe_routes routes = {.first = 20, .count = 1};
    (void)state;
    eval(s, 0, 32);
    read_kept(s, 0, 32, &straight);
    assert_ok(vkmoe_session_rollback(s, 20, &err), &err);
    test_assert_fails(vkmoe_session_read_routes(s, &routes, &err), &err, VKMOE_INVALID_ARGUMENT,
                      "1 tokens from position 20 on were asked for, and 20 are computed");
    eval(s, 50, 12);
    read_kept(s, 0, 32, &again);
    assert_memory_not_equal(straight.ids, again.ids, sizeof(straight.ids));
    vkmoe_session_reset(s);
    eval(s, 0, 32);
    read_kept(s, 0, 32, &again);
    assert_same(&straight, &again);
    vkmoe_session_destroy(s);
}

/* Each token's gates are those of the K that it was computed with. */
static void tokens_of_another_k_are_kept_beside_one_another(void **state)
{
    static struct kept kept;
    vkmoe_error err;
    const vkmoe_routing most = {.experts_per_token = 6}, few = {.experts_per_token = 2};
    vkmoe_session *s = session_of(&most, EXPERTS);
    (void)state;
    eval(s, 0, 20);
    assert_ok(vkmoe_session_set_routing(s, &few, &err), &err);
    eval(s, 20, 30);
    read_kept(s, 0, 50, &kept);
    for (uint32_t i = 0; i < LAYERS * 50 * EXPERTS; i++)
        assert_int_equal(kept.gates[i] > 0, i % EXPERTS < (i / EXPERTS % 50 < 20 ? 6 : 2));
    vkmoe_session_destroy(s);
}

/* Keeping is another variant of the kernel: the text is the same. */
static void keeping_changes_nothing(void **state)
{
    const vkmoe_sampling greedy = {0};
    struct engine_text texts[2];
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        vkmoe_session *s = session_of(&(vkmoe_routing){0}, i == 0 ? 0 : EXPERTS);
        eval(s, 0, 20);
        texts[i] = engine_generate(s, &greedy, 60);
        vkmoe_session_destroy(s);
    }
    assert_same_text(&texts[0], &texts[1]);
}

static void what_cannot_be_kept_or_read_is_refused(void **state)
{
    static const struct {
        uint32_t keep;
        const char *sentence;
    } cases[] = {{TRAINED - 1, "keep_ranks is 2, expected 3"},
                 {EXPERTS + 1, "keep_ranks is 10, expected 3, which a token activates, to 9"}};
    vkmoe_error err;
    vkmoe_session *s = NULL;
    vkmoe_routes routes = {.count = 1};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        test_assert_fails(vkmoe_session_create(engine.model,
                                               &(vkmoe_session_params){.keep_ranks = cases[i].keep},
                                               &s, &err),
                          &err, VKMOE_INVALID_ARGUMENT, cases[i].sentence);
        assert_null(s);
    }
    s = session_of(&(vkmoe_routing){0}, 0);
    eval(s, 0, 4);
    test_assert_fails(vkmoe_session_read_routes(s, &routes, &err), &err, VKMOE_INVALID_ARGUMENT,
                      "does not keep which experts rank first");
    vkmoe_session_destroy(s);
    s = session_of(&(vkmoe_routing){0}, TRAINED);
    eval(s, 0, 4);
    routes = (vkmoe_routes){.first = UINT32_MAX, .count = 2};
    test_assert_fails(vkmoe_session_read_routes(s, &routes, &err), &err, VKMOE_INVALID_ARGUMENT,
                      "and 4 are computed");
    vkmoe_session_destroy(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runners_up_follow_the_chosen_by_falling_probability),
        cmocka_unit_test(experts_that_are_off_are_no_runners_up),
        cmocka_unit_test(a_table_names_no_runners_up),
        cmocka_unit_test(routes_can_be_read_token_by_token_while_text_is_generated),
        cmocka_unit_test(a_step_s_routes_are_there_when_it_is_told_of),
        cmocka_unit_test(forks_have_what_was_kept_and_go_their_own_ways),
        cmocka_unit_test(what_is_rolled_back_is_gone_and_what_comes_after_takes_its_place),
        cmocka_unit_test(tokens_of_another_k_are_kept_beside_one_another),
        cmocka_unit_test(keeping_changes_nothing),
        cmocka_unit_test(what_cannot_be_kept_or_read_is_refused),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
