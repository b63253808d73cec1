/* Noisy top-K: what the noise depends on, and what it does not. */
#include <string.h>

#include "routed.h"

static struct engine engine;
static int32_t tokens[COUNT];

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
    return engine_session(&engine, &(vkmoe_session_params){.context = 128, .routing = *routing});
}

/* What a session chose for the tokens. */
static struct test_trace trace_of(const vkmoe_routing *routing)
{
    vkmoe_session *s = session_of(routing);
    struct test_trace t = test_trace_eval(engine.model, s, tokens, COUNT);
    vkmoe_session_destroy(s);
    return t;
}

static uint32_t differences(const struct test_trace *a, const struct test_trace *b)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < LAYERS * COUNT * TRAINED; i++)
        n += a->ids[i] != b->ids[i];
    return n;
}

static void noise_changes_choices_by_its_seed_and_size(void **state)
{
    struct test_trace plain = trace_of(&(vkmoe_routing){0});
    struct test_trace faint = trace_of(&(vkmoe_routing){.noise = 1e-7f, .seed = 1});
    struct test_trace loud = trace_of(&(vkmoe_routing){.noise = 100, .seed = 1});
    struct test_trace again = trace_of(&(vkmoe_routing){.noise = 100, .seed = 1});
    struct test_trace other = trace_of(&(vkmoe_routing){.noise = 100, .seed = 2});
    uint32_t chosen[EXPERTS] = {0};
    (void)state;
    assert_true(differences(&plain, &faint) < COUNT / 10);
    assert_true(differences(&plain, &loud) > COUNT);
    assert_int_equal(differences(&loud, &again), 0);
    assert_true(differences(&loud, &other) > COUNT);
    for (uint32_t i = 0; i < LAYERS * COUNT * TRAINED; i++)
        chosen[loud.ids[i]]++;
    for (uint32_t e = 0; e < EXPERTS; e++) /* 47 expected, standard deviation below 6 */
        assert_in_range(chosen[e], 17, 77);
    test_trace_free(&plain);
    test_trace_free(&faint);
    test_trace_free(&loud);
    test_trace_free(&again);
    test_trace_free(&other);
}

static const vkmoe_routing noisy = {.noise = 100, .seed = 7};

/* The ids of the tokens from `first` on are those of the whole text. */
static void assert_same_choices(const struct test_trace *whole, const struct test_trace *part,
                                uint32_t first)
{
    for (uint32_t l = 0; l < LAYERS; l++)
        assert_memory_equal(part->ids + (size_t)l * part->count * TRAINED,
                            whole->ids + ((size_t)l * whole->count + first) * TRAINED,
                            part->count * TRAINED * sizeof(*part->ids));
}

static void a_position_draws_the_same_noise_in_a_chunk_of_any_size(void **state)
{
    struct test_trace whole = trace_of(&noisy), part;
    vkmoe_session *s = session_of(&noisy);
    (void)state;
    for (uint32_t at = 0, n = 1; at < COUNT; at += n, n = n % 5 + 1) {
        n = n < COUNT - at ? n : COUNT - at;
        part = test_trace_append(engine.model, s, tokens + at, n);
        assert_same_choices(&whole, &part, at);
        test_trace_free(&part);
    }
    vkmoe_session_destroy(s);
    test_trace_free(&whole);
}

/* By the steps of generation, whose kernel is that which keeps routes besides. */
static void a_position_draws_the_same_noise_when_it_is_generated_as_in_a_prompt(void **state)
{
    enum { PROMPT = 6, NEW = 40, TEXT = PROMPT + NEW - 1 };
    vkmoe_error err;
    const vkmoe_sampling greedy = {0};
    struct test_trace alone = {.count = TEXT}, whole;
    int32_t text[TEXT], ids[LAYERS * TEXT * TRAINED];
    vkmoe_routes routes = {.count = TEXT, .ids = ids};
    vkmoe_session *s = engine_session(
        &engine, &(vkmoe_session_params){.context = 128, .routing = noisy, .keep_ranks = TRAINED});
    (void)state;
    assert_ok(vkmoe_session_eval(s, tokens, PROMPT, NULL, &err), &err);
    assert_int_equal(engine_generate(s, &greedy, NEW).count, NEW);
    assert_ok(vkmoe_session_read_routes(s, &routes, &err), &err);
    memcpy(text, vkmoe_session_tokens(s), sizeof(text));
    whole = test_trace_eval(engine.model, s, text, TEXT);
    alone.ids = ids;
    assert_same_choices(&whole, &alone, 0);
    test_trace_free(&whole);
    vkmoe_session_destroy(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(noise_changes_choices_by_its_seed_and_size),
        cmocka_unit_test(a_position_draws_the_same_noise_in_a_chunk_of_any_size),
        cmocka_unit_test(a_position_draws_the_same_noise_when_it_is_generated_as_in_a_prompt),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
