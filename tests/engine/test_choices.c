/* Multiple choice: likelihoods against the logits in float64, however choices are batched. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

enum { VOCAB = 200, MOST = 7, LONGEST = 260 };

static const struct test_shape shape = {.experts = 6, .top_k = 2, .layers = 2, .vocab = VOCAB};

static struct engine engine;

static int open_all(void **state)
{
    (void)state;
    engine_open(&engine, &shape);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    engine_close(&engine);
    return 0;
}

/* An item of random tokens, in memory of its own. */
struct item {
    vkmoe_choices choices;
    int32_t tokens[MOST][LONGEST];
    int32_t *rows[MOST];
    size_t n_tokens[MOST], n_bytes[MOST];
};

/* `shared` tokens by `seed`, then choices of these lengths. */
static void item_make(struct item *it, uint64_t seed, size_t shared, const size_t *lengths,
                      uint32_t count)
{
    *it = (struct item){.choices = {.count = count, .shared = shared}};
    for (uint32_t i = 0; i < count; i++) {
        engine_tokens(&engine, seed, it->tokens[i], shared);
        engine_tokens(&engine, seed * 100 + i, it->tokens[i] + shared, lengths[i]);
        it->rows[i] = it->tokens[i];
        it->n_tokens[i] = shared + lengths[i];
        it->n_bytes[i] = 3 * lengths[i] + i;
    }
    it->choices.tokens = it->rows;
    it->choices.n_tokens = it->n_tokens;
    it->choices.n_bytes = it->n_bytes;
}

static double loss_of(const float *logits, int32_t token)
{
    double largest = -INFINITY, sum = 0;
    for (uint32_t i = 0; i < VOCAB; i++)
        largest = fmax(largest, (double)logits[i]);
    for (uint32_t i = 0; i < VOCAB; i++)
        sum += exp((double)logits[i] - largest);
    return log(sum) + largest - (double)logits[token];
}

/* By a session of its own that sees context and choice as one text. */
static double expected(const struct item *it, uint32_t i, const vkmoe_session_params *params,
                       const uint8_t *experts)
{
    vkmoe_error err;
    size_t n = it->n_tokens[i];
    double sum = 0;
    vkmoe_session_params alone = *params;
    alone.cache_tokens = 0;
    alone.on_step = NULL;
    float *logits = calloc(n * VOCAB, sizeof(float));
    vkmoe_session *s = engine_session(&engine, &alone);
    assert_non_null(logits);
    assert_ok(vkmoe_session_set_experts(s, experts, &err), &err);
    assert_ok(vkmoe_session_eval(s, it->rows[i], n, &(vkmoe_trace){.logits = logits}, &err), &err);
    for (size_t t = it->choices.shared; t < n; t++)
        sum -= loss_of(logits + (t - 1) * VOCAB, it->rows[i][t]);
    vkmoe_session_destroy(s);
    free(logits);
    return sum;
}

static vkmoe_status score(vkmoe_session *s, const struct item *it, vkmoe_choice_score *scores,
                          vkmoe_error *err)
{
    return vkmoe_choices_score(s, &it->choices, 1, &scores, NULL, err);
}

static void assert_expected(const struct item *it, const vkmoe_choice_score *scores,
                            const vkmoe_session_params *params, const uint8_t *experts)
{
    for (uint32_t i = 0; i < it->choices.count; i++) {
        double sum = expected(it, i, params, experts);
        assert_true(fabs(scores[i].log_likelihood - sum) <= 1e-5 * fabs(sum));
        assert_int_equal(scores[i].tokens, it->n_tokens[i] - it->choices.shared);
        assert_int_equal(scores[i].bytes, it->n_bytes[i]);
    }
}

static void assert_scores(vkmoe_session *s, const struct item *it,
                          const vkmoe_session_params *params, const uint8_t *experts)
{
    vkmoe_error err;
    vkmoe_choice_score scores[MOST];
    assert_ok(score(s, it, scores, &err), &err);
    assert_expected(it, scores, params, experts);
    assert_int_equal(vkmoe_session_length(s), it->choices.shared);
    assert_memory_equal(vkmoe_session_tokens(s), it->rows[0], it->choices.shared * sizeof(int32_t));
}

/* Steps that the listener has seen, and tokens that they computed. */
struct seen {
    uint32_t steps, tokens;
};

static bool on_step(void *user, const vkmoe_step *step)
{
    struct seen *seen = user;
    seen->steps++;
    seen->tokens += step->n_tokens;
    return true;
}

/* Contexts within a block of the cache, at its end and past it; a choice of one token needs no
 * step, and one of 90 reaches into further blocks. */
static void likelihoods_are_those_of_the_logits(void **state)
{
    (void)state;
    static const size_t contexts[] = {1, 5, 63, 64, 65, 150};
    static const size_t lengths[] = {3, 1, 90, 2};
    struct item it;
    const vkmoe_session_params params = {.context = 256, .cache_tokens = 1024};
    vkmoe_session *s = engine_session(&engine, &params);
    for (size_t i = 0; i < sizeof(contexts) / sizeof(contexts[0]); i++) {
        item_make(&it, 20 + i, contexts[i], lengths, 4);
        assert_scores(s, &it, &params, NULL);
    }
    vkmoe_session_destroy(s);
}

static void a_context_is_computed_once_and_its_choices_in_one_step(void **state)
{
    (void)state;
    static const size_t lengths[] = {3, 1, 9, 2};
    static const size_t letters[] = {1, 1, 1, 1};
    struct seen seen = {0};
    struct item it;
    vkmoe_error err;
    vkmoe_choice_score scores[MOST];
    const vkmoe_session_params params = {
        .context = 256, .cache_tokens = 1024, .on_step = on_step, .user = &seen};
    vkmoe_session *s = engine_session(&engine, &params);
    item_make(&it, 31, 100, lengths, 4);
    assert_ok(score(s, &it, scores, &err), &err);
    assert_int_equal(seen.steps, 2);
    assert_int_equal(seen.tokens, 100 + 2 + 0 + 8 + 1);

    /* The next one begins with the same 60 tokens, the one after it is no longer than they are. */
    seen = (struct seen){0};
    engine_tokens(&engine, 99, it.tokens[0] + 60, 40);
    for (uint32_t i = 1; i < 4; i++)
        memcpy(it.tokens[i], it.tokens[0], 100 * sizeof(int32_t));
    assert_scores(s, &it, &params, NULL);
    seen = (struct seen){0};
    item_make(&it, 31, 60, letters, 4);
    assert_ok(score(s, &it, scores, &err), &err);
    assert_int_equal(seen.steps, 1);
    assert_int_equal(seen.tokens, 1);
    assert_scores(s, &it, &params, NULL);
    vkmoe_session_destroy(s);
}

/* In a step each, since a chunk or the cache has no room for two; and without room for one beside
 * the context, in its place. */
static void choices_one_by_one_have_the_same_likelihoods(void **state)
{
    (void)state;
    static const size_t lengths[] = {20, 1, 25, 60};
    const struct {
        vkmoe_session_params params;
        size_t shared;
    } cases[] = {
        {{.context = 256, .cache_tokens = 1024, .chunk = 30}, 100},
        {{.context = 160, .cache_tokens = 192}, 70},
        {{.context = 160}, 100},
        {{.context = 128}, 64 + 4},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct item it;
        vkmoe_session *s = engine_session(&engine, &cases[i].params);
        item_make(&it, 40 + i, cases[i].shared, lengths, 4);
        assert_scores(s, &it, &cases[i].params, NULL);
        assert_scores(s, &it, &cases[i].params, NULL); /* nothing of the cache is lost */
        vkmoe_session_destroy(s);
    }
}

/* Their positions are no larger than the numbers of their rows, and there are many of them. */
static void choices_beside_each_other_do_not_meet(void **state)
{
    (void)state;
    static const size_t lengths[MOST] = {5, 4, 6, 4, 5, 4, 6};
    const vkmoe_session_params params = {.context = 64, .cache_tokens = 1024};
    vkmoe_session *s = engine_session(&engine, &params);
    for (size_t shared = 1; shared < 16; shared += 3) {
        struct item it;
        item_make(&it, 50 + shared, shared, lengths, MOST);
        assert_scores(s, &it, &params, NULL);
    }
    vkmoe_session_destroy(s);
}

/* --- several items --- */

enum { ITEMS = 6 };

static struct item items[ITEMS];

/* Scores the items as they come together; returns in how many calls. */
static uint32_t score_all(vkmoe_session *s, const vkmoe_session_params *params)
{
    vkmoe_choices all[ITEMS];
    vkmoe_choice_score scores[ITEMS][MOST], *rows[ITEMS];
    uint32_t calls = 0;
    for (size_t i = 0; i < ITEMS; i++) {
        all[i] = items[i].choices;
        rows[i] = scores[i];
    }
    for (uint32_t at = 0, done; at < ITEMS; at += done, calls++) {
        vkmoe_error err;
        assert_ok(vkmoe_choices_score(s, all + at, ITEMS - at, rows + at, &done, &err), &err);
        assert_true(done > 0 && done <= ITEMS - at);
    }
    for (size_t i = 0; i < ITEMS; i++)
        assert_expected(&items[i], scores[i], params, NULL);
    return calls;
}

/* All choices of an item begin with these tokens instead. */
static void begin_with(struct item *it, uint64_t seed, size_t count)
{
    for (uint32_t i = 0; i < it->choices.count; i++)
        engine_tokens(&engine, seed, it->tokens[i], count);
}

static void items_run_in_two_steps_together(void **state)
{
    (void)state;
    static const size_t lengths[] = {3, 1, 4};
    struct seen seen = {0};
    const vkmoe_session_params params = {
        .context = 128, .cache_tokens = 4096, .on_step = on_step, .user = &seen};
    vkmoe_session *s = engine_session(&engine, &params);
    uint32_t tokens = 0;
    for (size_t i = 0; i < ITEMS; i++) { /* they have nothing in common */
        item_make(&items[i], 200 + i, 3 + 7 * i, lengths, 3);
        tokens += (uint32_t)(3 + 7 * i) + 2 + 0 + 3;
        items[i].tokens[0][0] = items[i].tokens[1][0] = items[i].tokens[2][0] = (int32_t)i;
    }
    assert_int_equal(score_all(s, &params), 1);
    assert_int_equal(vkmoe_session_length(s), 0);
    assert_int_equal(seen.steps, 2);
    assert_int_equal(seen.tokens, tokens);
    vkmoe_session_destroy(s);
}

static void what_items_have_in_common_is_computed_once(void **state)
{
    (void)state;
    enum { HEADER = 70, OWN = 20 };
    static const size_t lengths[] = {3, 1, 4};
    struct seen seen = {0};
    const vkmoe_session_params params = {
        .context = 128, .cache_tokens = 4096, .on_step = on_step, .user = &seen};
    vkmoe_session *s = engine_session(&engine, &params);
    for (size_t i = 0; i < ITEMS; i++) {
        item_make(&items[i], 300 + i, HEADER + OWN, lengths, 3);
        begin_with(&items[i], 7, HEADER);
    }
    assert_int_equal(score_all(s, &params), 1);
    assert_int_equal(vkmoe_session_length(s), HEADER);
    assert_int_equal(seen.steps, 3);
    assert_int_equal(seen.tokens, HEADER + ITEMS * (OWN + 5));
    seen = (struct seen){0};
    assert_int_equal(score_all(s, &params), 1);
    assert_int_equal(seen.steps, 2);
    assert_int_equal(seen.tokens, ITEMS * (OWN + 5));
    vkmoe_session_destroy(s);
}

/* Questions on the same passage come together, those on another one do not. */
static void items_of_other_passages_stay_away(void **state)
{
    (void)state;
    enum { PASSAGE = 90, OWN = 5 };
    static const size_t lengths[] = {3, 2, 4};
    struct seen seen = {0};
    const vkmoe_session_params params = {
        .context = 128, .cache_tokens = 4096, .on_step = on_step, .user = &seen};
    vkmoe_session *s = engine_session(&engine, &params);
    for (size_t i = 0; i < ITEMS; i++) {
        item_make(&items[i], 400 + i, PASSAGE + OWN, lengths, 3);
        begin_with(&items[i], 8 + i / 3, PASSAGE);
    }
    assert_int_equal(score_all(s, &params), 2);
    assert_int_equal(seen.tokens, 2 * PASSAGE + ITEMS * (OWN + 6));
    vkmoe_session_destroy(s);
}

/* Of a chunk, or of the cache, some of which has room for one item and not for all its choices. */
static void items_without_room_wait(void **state)
{
    (void)state;
    static const size_t lengths[] = {3, 20, 4, 1};
    const vkmoe_session_params params[] = {
        {.context = 128, .cache_tokens = 4096, .chunk = 60},
        {.context = 128, .cache_tokens = 4096, .chunk = 16},
        {.context = 128, .cache_tokens = 64 * 9},
        {.context = 128, .cache_tokens = 64 * 5},
        {.context = 128},
    };
    static const uint32_t calls[] = {3, 6, 3, 6, 6};
    for (size_t i = 0; i < ITEMS; i++)
        item_make(&items[i], 500 + i, 10 + i, lengths, 4);
    for (size_t i = 0; i < sizeof(params) / sizeof(params[0]); i++) {
        vkmoe_session *s = engine_session(&engine, &params[i]);
        assert_int_equal(score_all(s, &params[i]), calls[i]);
        assert_int_equal(score_all(s, &params[i]), calls[i]); /* nothing of the cache is lost */
        vkmoe_session_destroy(s);
    }
}

static void routing_options_hold_for_choices(void **state)
{
    (void)state;
    static const size_t lengths[] = {6, 4, 2};
    uint8_t experts[2 * 6] = {VKMOE_EXPERT_OFF, VKMOE_EXPERT_FREE, VKMOE_EXPERT_FORCED};
    const vkmoe_session_params params[] = {
        {.context = 128, .cache_tokens = 512, .routing = {.experts_per_token = 3}},
        {.context = 128, .cache_tokens = 512, .routing = {.router = VKMOE_ROUTER_HASH}},
        {.context = 128, .cache_tokens = 512, .routing = {.skip = 1, .without_shared = true}},
        /* which a position draws, whatever its row in the step */
        {.context = 128, .cache_tokens = 512, .routing = {.noise = 100, .seed = 7}},
        {.context = 128, .cache_tokens = 512},
    };
    for (size_t i = 0; i < sizeof(params) / sizeof(params[0]); i++) {
        const uint8_t *states = i + 1 == sizeof(params) / sizeof(params[0]) ? experts : NULL;
        struct item it;
        vkmoe_error err;
        vkmoe_session *s = engine_session(&engine, &params[i]);
        assert_ok(vkmoe_session_set_experts(s, states, &err), &err);
        item_make(&it, 60 + i, 33, lengths, 3);
        assert_scores(s, &it, &params[i], states);
        vkmoe_session_destroy(s);
    }
}

static void what_choices_route_is_counted(void **state)
{
    (void)state;
    static const size_t lengths[] = {6, 4, 2};
    const vkmoe_session_params params = {
        .context = 128, .cache_tokens = 512, .count_routing = true};
    vkmoe_routing_counts counts = {0};
    uint64_t chosen[2 * 6], sum = 0;
    struct item it;
    vkmoe_error err;
    vkmoe_choice_score scores[MOST];
    vkmoe_session *s = engine_session(&engine, &params);
    item_make(&it, 70, 33, lengths, 3);
    assert_ok(score(s, &it, scores, &err), &err);
    counts.chosen = chosen;
    assert_ok(vkmoe_session_read_routing(s, &counts, &err), &err);
    assert_int_equal(counts.tokens, 33 + 5 + 3 + 1);
    for (size_t i = 0; i < 6; i++)
        sum += chosen[i];
    assert_int_equal(sum, 2 * counts.tokens);
    vkmoe_session_destroy(s);
}

/* Choices lie at positions after it, and are of other sequences. */
static void kept_routes_are_those_of_the_context(void **state)
{
    (void)state;
    enum { SHARED = 5, RANKS = 3, COUNT = 2 * SHARED * RANKS };
    static const size_t lengths[] = {6, 4, 5};
    const vkmoe_session_params params = {.context = 64, .cache_tokens = 512, .keep_ranks = RANKS};
    int32_t ids[2][COUNT];
    float probs[2][COUNT];
    struct item it;
    vkmoe_error err;
    vkmoe_session *s = engine_session(&engine, &params), *other = engine_session(&engine, &params);
    item_make(&it, 75, SHARED, lengths, 3);
    assert_scores(s, &it, &params, NULL);
    assert_ok(vkmoe_session_eval(other, it.rows[0], SHARED, NULL, &err), &err);
    vkmoe_routes routes[] = {{.count = SHARED, .ids = ids[0], .probs = probs[0]},
                             {.count = SHARED, .ids = ids[1], .probs = probs[1]}};
    assert_ok(vkmoe_session_read_routes(s, &routes[0], &err), &err);
    assert_ok(vkmoe_session_read_routes(other, &routes[1], &err), &err);
    assert_memory_equal(ids[0], ids[1], sizeof(ids[0]));
    assert_memory_equal(probs[0], probs[1], sizeof(probs[0]));
    vkmoe_session_destroy(s);
    vkmoe_session_destroy(other);
}

/* As after a rollback. */
static void the_session_goes_on_from_the_context(void **state)
{
    (void)state;
    static const size_t lengths[] = {6, 4, 2};
    const vkmoe_session_params params = {.context = 128, .cache_tokens = 512};
    struct item it;
    vkmoe_error err;
    vkmoe_choice_score scores[MOST];
    vkmoe_session *s = engine_session(&engine, &params), *other = engine_session(&engine, &params);
    item_make(&it, 80, 70, lengths, 3);
    assert_ok(score(s, &it, scores, &err), &err);
    assert_ok(vkmoe_session_eval(other, it.rows[0], 70, NULL, &err), &err);
    struct engine_text a = engine_generate(s, NULL, 20), b = engine_generate(other, NULL, 20);
    assert_same_text(&a, &b);
    assert_scores(s, &it, &params, NULL); /* after a text, which is taken back */
    vkmoe_session_destroy(s);
    vkmoe_session_destroy(other);
}

static void a_cancelled_item_can_be_scored_again(void **state)
{
    (void)state;
    static const size_t lengths[] = {6, 4, 2};
    const vkmoe_session_params params = {.context = 128, .cache_tokens = 512};
    struct item it;
    vkmoe_error err;
    vkmoe_choice_score scores[MOST];
    vkmoe_session *s = engine_session(&engine, &params);
    item_make(&it, 90, 70, lengths, 3);
    vkmoe_session_cancel(s);
    test_assert_fails(score(s, &it, scores, &err), &err, VKMOE_CANCELLED, "cancelled");
    assert_scores(s, &it, &params, NULL);
    vkmoe_session_destroy(s);
}

static void what_cannot_be_scored_is_refused(void **state)
{
    (void)state;
    static const size_t lengths[] = {6, 4, 2}, none[] = {6, 0, 2}, much[] = {6, 59, 2};
    struct item few, nothing, empty, full, other, outside, bytes;
    item_make(&few, 1, 10, lengths, 1);
    item_make(&nothing, 1, 0, lengths, 3);
    item_make(&empty, 1, 10, none, 3);
    item_make(&full, 1, 70, much, 3);
    item_make(&other, 1, 10, lengths, 3);
    item_make(&outside, 1, 10, lengths, 3);
    item_make(&bytes, 1, 10, lengths, 3);
    other.tokens[2][9] ^= 1;
    outside.tokens[1][11] = VOCAB;
    bytes.n_bytes[2] = 0;
    const struct {
        const struct item *item;
        const char *part;
    } cases[] = {
        {&few, "1 choices, expected at least 2"},
        {&nothing, "nothing comes before the choices"},
        {&empty, "choice 1 has no tokens of its own"},
        {&full, "choice 1 has 129 tokens, expected at most the 128"},
        {&other, "choice 2 does not begin with the 10 tokens"},
        {&outside, "token 11 of choice 1 is 200"},
        {&bytes, "choice 2 is of no bytes"},
    };
    vkmoe_session *s = engine_session(&engine, &(vkmoe_session_params){.context = 128});
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        vkmoe_error err;
        vkmoe_choice_score scores[MOST];
        test_assert_fails(score(s, cases[i].item, scores, &err), &err, VKMOE_INVALID_ARGUMENT,
                          cases[i].part);
        test_assert_fails(vkmoe_choices_check(s, &cases[i].item->choices, &err), &err,
                          VKMOE_INVALID_ARGUMENT, cases[i].part);
        assert_int_equal(vkmoe_session_length(s), 0);
    }
    vkmoe_session_destroy(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(likelihoods_are_those_of_the_logits),
        cmocka_unit_test(a_context_is_computed_once_and_its_choices_in_one_step),
        cmocka_unit_test(choices_one_by_one_have_the_same_likelihoods),
        cmocka_unit_test(choices_beside_each_other_do_not_meet),
        cmocka_unit_test(items_run_in_two_steps_together),
        cmocka_unit_test(what_items_have_in_common_is_computed_once),
        cmocka_unit_test(items_of_other_passages_stay_away),
        cmocka_unit_test(items_without_room_wait),
        cmocka_unit_test(routing_options_hold_for_choices),
        cmocka_unit_test(what_choices_route_is_counted),
        cmocka_unit_test(kept_routes_are_those_of_the_context),
        cmocka_unit_test(the_session_goes_on_from_the_context),
        cmocka_unit_test(a_cancelled_item_can_be_scored_again),
        cmocka_unit_test(what_cannot_be_scored_is_refused),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
