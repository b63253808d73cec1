/* The number of experts that each token activates, chosen when a session is made. */
#include <string.h>

#include "fixture.h"

enum { COUNT = 70, TRAINED = 3, EXPERTS = 9 };

static const struct test_shape shape = {.experts = EXPERTS,
                                        .top_k = TRAINED,
                                        .shared = 1,
                                        .first_dense = 1,
                                        .layers = 3,
                                        .normalise = true};

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

static vkmoe_session *session_of(uint32_t experts)
{
    return engine_session(&engine, &(vkmoe_session_params){
                                       .context = 128, .routing = {.experts_per_token = experts}});
}

static struct test_trace expected_of(uint32_t experts)
{
    struct test_shape other = test_shape_complete(&shape);
    other.top_k = experts;
    return oracle_trace(&other, engine.folder, tokens, COUNT);
}

/* One expert, where gates are not renormalised; fewer, as many and more than trained; all. */
static void a_session_activates_as_many_experts_as_it_was_made_for(void **state)
{
    static const uint32_t numbers[] = {1, 2, TRAINED, 5, EXPERTS};
    (void)state;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        struct test_difference worst = {0};
        struct test_trace expected = expected_of(numbers[i]);
        vkmoe_session *s = session_of(numbers[i]);
        assert_int_equal(vkmoe_session_experts_per_token(s), numbers[i]);
        struct test_trace got = test_trace_eval(engine.model, s, tokens, COUNT);
        test_trace_compare(&expected, 0, &got, "a prompt", &worst);
        test_trace_free(&got);
        vkmoe_session_reset(s);
        for (uint32_t t = 0; t < 3; t++) { /* few rows take another path */
            got = test_trace_append(engine.model, s, tokens + t, 1);
            test_trace_compare(&expected, t, &got, "a token", &worst);
            test_trace_free(&got);
        }
        test_trace_free(&expected);
        vkmoe_session_destroy(s);
    }
}

static void the_default_is_what_the_model_was_trained_with(void **state)
{
    vkmoe_session *s = session_of(0);
    (void)state;
    assert_int_equal(vkmoe_session_experts_per_token(s), TRAINED);
    vkmoe_session_destroy(s);
}

static void a_fork_activates_as_many_as_its_origin(void **state)
{
    vkmoe_error err;
    vkmoe_session *s = session_of(5), *fork;
    (void)state;
    assert_ok(vkmoe_session_eval(s, tokens, 20, NULL, &err), &err);
    assert_ok(vkmoe_session_fork(s, &fork, &err), &err);
    assert_int_equal(vkmoe_session_experts_per_token(fork), 5);
    struct test_trace a = test_trace_append(engine.model, s, tokens + 20, 20);
    struct test_trace b = test_trace_append(engine.model, fork, tokens + 20, 20);
    test_trace_assert_identical(&a, &b);
    test_trace_free(&a);
    test_trace_free(&b);
    vkmoe_session_destroy(fork);
    vkmoe_session_destroy(s);
}

static void more_than_there_are_is_refused(void **state)
{
    vkmoe_error err;
    vkmoe_session *s = NULL;
    const vkmoe_session_params params = {.routing = {.experts_per_token = EXPERTS + 1}};
    (void)state;
    test_assert_fails(vkmoe_session_create(engine.model, &params, &s, &err), &err,
                      VKMOE_INVALID_ARGUMENT, "experts_per_token is 10, the model has 9");
    assert_null(s);
}

static void a_trace_without_room_for_them_is_refused(void **state)
{
    vkmoe_error err;
    int32_t ids[2 * TRAINED];
    vkmoe_session *s = session_of(5);
    (void)state;
    memset(ids, 0x5a, sizeof(ids));
    test_assert_fails(vkmoe_session_eval(s, tokens, 1, &(vkmoe_trace){.topk_ids = ids}, &err), &err,
                      VKMOE_INVALID_ARGUMENT, "room for 3 experts of each token");
    assert_int_equal(ids[0], 0x5a5a5a5a);
    assert_int_equal(vkmoe_session_length(s), 0);
    vkmoe_session_destroy(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_activates_as_many_experts_as_it_was_made_for),
        cmocka_unit_test(the_default_is_what_the_model_was_trained_with),
        cmocka_unit_test(a_fork_activates_as_many_as_its_origin),
        cmocka_unit_test(more_than_there_are_is_refused),
        cmocka_unit_test(a_trace_without_room_for_them_is_refused),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
