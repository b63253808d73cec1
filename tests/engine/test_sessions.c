/* Sessions fork, roll back, are cancelled and tell their steps. */
#include "fixture.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PROMPT = 150, TEXT = 12 };

static struct engine engine;
static int32_t prompt[PROMPT];
static vkmoe_kv kv; /* what the sessions of a test keep keys and values as */

static int set_kv(void **state)
{
    kv = *(const vkmoe_kv *)*state;
    return 0;
}

static int open_all(void **state)
{
    (void)state;
    static const struct test_shape shape = {.shared = 1, .first_dense = 1, .layers = 3};
    engine_open(&engine, &shape);
    engine_tokens(&engine, 1, prompt, PROMPT);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    engine_close(&engine);
    return 0;
}

static vkmoe_session *session_with(size_t count, uint32_t cache_tokens)
{
    vkmoe_error err;
    vkmoe_session_params params = {
        .context = 256, .chunk = 64, .cache_tokens = cache_tokens, .kv = kv};
    vkmoe_session *s = engine_session(&engine, &params);
    if (count > 0)
        assert_ok(vkmoe_session_eval(s, prompt, count, NULL, &err), &err);
    return s;
}

static vkmoe_session *fork_of(vkmoe_session *s)
{
    vkmoe_error err;
    vkmoe_session *fork = NULL;
    assert_ok(vkmoe_session_fork(s, &fork, &err), &err);
    return fork;
}

/* Logits of the next tokens. */
static float *logits_of(vkmoe_session *s, const int32_t *tokens, size_t count)
{
    vkmoe_error err;
    uint32_t vocab = vkmoe_model_get_info(engine.model)->vocab_size;
    vkmoe_trace trace = {.logits = calloc(count * vocab, sizeof(float))};
    assert_non_null(trace.logits);
    assert_ok(vkmoe_session_eval(s, tokens, count, &trace, &err), &err);
    return trace.logits;
}

static void assert_same_logits(float *a, float *b, size_t count)
{
    uint32_t vocab = vkmoe_model_get_info(engine.model)->vocab_size;
    assert_memory_equal(a, b, count * vocab * sizeof(float));
    free(a);
    free(b);
}

static void a_fork_computes_the_same_bits(void **state)
{
    static const size_t lengths[] = {1, 63, 64, 65, 127, 128, 150};
    (void)state;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        vkmoe_session *s = session_with(lengths[i], 1024);
        vkmoe_session *fork = fork_of(s);
        assert_int_equal(vkmoe_session_length(fork), lengths[i]);
        assert_memory_equal(vkmoe_session_tokens(fork), prompt, lengths[i] * sizeof(prompt[0]));
        assert_same_logits(logits_of(fork, prompt, 9), logits_of(s, prompt, 9), 9);
        vkmoe_session_destroy(s);
        vkmoe_session_destroy(fork);
    }
}

static void forks_do_not_disturb_each_other(void **state)
{
    (void)state;
    int32_t other[40];
    engine_tokens(&engine, 2, other, 40);
    vkmoe_session *alone = session_with(100, 0);
    float *expected_logits = logits_of(alone, other, 5);
    struct engine_text expected = engine_generate(alone, NULL, TEXT);

    vkmoe_error err;
    vkmoe_session *s = session_with(100, 2048);
    vkmoe_session *forks[4];
    for (size_t i = 0; i < 4; i++) {
        forks[i] = fork_of(i == 3 ? forks[2] : s);
        if (i == 1) /* into the middle of a block that all share */
            assert_ok(vkmoe_session_rollback(forks[i], 30, &err), &err);
        assert_ok(vkmoe_session_eval(forks[i], other, 10 + 10 * i, NULL, &err), &err);
    }
    vkmoe_session_destroy(forks[0]);
    assert_same_logits(logits_of(s, other, 5), expected_logits, 5);
    vkmoe_session_destroy(forks[3]);
    struct engine_text text = engine_generate(s, NULL, TEXT);
    assert_same_text(&text, &expected);

    /* What the second fork holds is what a session of its own would. */
    vkmoe_session *own = session_with(30, 0);
    assert_ok(vkmoe_session_eval(own, other, 20, NULL, &err), &err);
    struct engine_text a = engine_generate(own, NULL, TEXT);
    struct engine_text b = engine_generate(forks[1], NULL, TEXT);
    assert_same_text(&a, &b);
    vkmoe_session_destroy(own);
    vkmoe_session_destroy(s); /* before its forks */
    struct engine_text c = engine_generate(forks[2], NULL, TEXT);
    assert_int_equal(c.count, TEXT);
    vkmoe_session_destroy(forks[1]);
    vkmoe_session_destroy(forks[2]);
    vkmoe_session_destroy(alone);
}

static void a_fork_in_the_middle_of_a_text_continues_it(void **state)
{
    (void)state;
    vkmoe_session *s = session_with(61, 1024);
    engine_generate(s, NULL, 5); /* the newest token is not computed yet */
    vkmoe_session *fork = fork_of(s);
    struct engine_text a = engine_generate(fork, NULL, TEXT);
    struct engine_text b = engine_generate(s, NULL, TEXT);
    assert_same_text(&a, &b);
    vkmoe_session_destroy(s);
    vkmoe_session_destroy(fork);
}

/* A penalty that no token survives twice: text depends on the whole history. */
static void a_fork_keeps_the_penalty_history(void **state)
{
    (void)state;
    const vkmoe_sampling sampling = {.repeat_penalty = 1e4f, .repeat_last = UINT32_MAX};
    vkmoe_session *s = session_with(70, 1024);
    engine_generate(s, &sampling, 20);
    vkmoe_session *fork = fork_of(s);
    struct engine_text a = engine_generate(fork, &sampling, 20);
    struct engine_text b = engine_generate(s, &sampling, 20);
    assert_same_text(&a, &b);
    vkmoe_session_destroy(s);
    vkmoe_session_destroy(fork);
}

static void a_full_cache_refuses_and_changes_nothing(void **state)
{
    (void)state;
    vkmoe_error err;
    vkmoe_session *s = session_with(100, 128), *fork = NULL; /* both of its blocks */
    test_assert_fails(vkmoe_session_fork(s, &fork, &err), &err, VKMOE_CONTEXT_FULL, "2 blocks");
    assert_null(fork);
    test_assert_fails(vkmoe_session_eval(s, prompt, 60, NULL, &err), &err, VKMOE_CONTEXT_FULL,
                      "full");
    assert_int_equal(vkmoe_session_length(s), 100);
    struct engine_text a = engine_generate(s, NULL, TEXT);
    vkmoe_session *fresh = session_with(100, 0);
    struct engine_text b = engine_generate(fresh, NULL, TEXT);
    assert_same_text(&a, &b);
    vkmoe_session_destroy(s);
    vkmoe_session_destroy(fresh);
}

/* Ends the text at its third token, when the device has later ones in hand. */
static bool stop_at_three(void *user, int32_t token)
{
    struct engine_text *text = user;
    text->ids[text->count++] = token;
    return text->count % 3 != 0;
}

static void a_text_that_a_listener_stops_goes_on_as_if_it_had_not(void **state)
{
    (void)state;
    enum { PARTS = 10 };
    vkmoe_error err;
    const vkmoe_sampling sampling = {
        .temperature = 1, .seed = 3, .repeat_penalty = 1.5f, .repeat_last = UINT32_MAX};
    vkmoe_session *s = session_with(60, 0), *whole = session_with(60, 0);
    struct engine_text a = engine_generate(whole, &sampling, 3 * PARTS), b = {.count = 0};
    const vkmoe_generate_params params = {.max_tokens = 100,
                                          .sampling = sampling,
                                          .ignore_eos = true,
                                          .on_token = stop_at_three,
                                          .user = &b};
    for (size_t i = 1; i <= PARTS; i++) {
        assert_ok(vkmoe_session_generate(s, &params, NULL, &err), &err);
        assert_int_equal(b.count, 3 * i);
        assert_int_equal(vkmoe_session_length(s), 60 + 3 * i);
    }
    assert_same_text(&a, &b);
    float *after = logits_of(s, prompt, 5), *expected = logits_of(whole, prompt, 5);
    assert_same_logits(after, expected, 5);
    vkmoe_session_destroy(s);
    vkmoe_session_destroy(whole);
}

static void rolling_back_forgets_what_came_after(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {1, 40, 64, 65, 99};
    vkmoe_error err;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        vkmoe_session *s = session_with(100, 0), *fresh = session_with(lengths[i], 0);
        engine_generate(s, NULL, 7);
        assert_int_equal(vkmoe_session_length(s), 107);
        test_assert_fails(vkmoe_session_rollback(s, 108, &err), &err, VKMOE_INVALID_ARGUMENT,
                          "107");
        assert_ok(vkmoe_session_rollback(s, lengths[i], &err), &err);
        assert_int_equal(vkmoe_session_length(s), lengths[i]);
        struct engine_text a = engine_generate(s, NULL, TEXT);
        struct engine_text b = engine_generate(fresh, NULL, TEXT);
        assert_same_text(&a, &b);
        vkmoe_session_destroy(s);
        vkmoe_session_destroy(fresh);
    }
}

static void a_token_taken_back_is_chosen_again(void **state)
{
    (void)state;
    vkmoe_error err;
    vkmoe_session *s = session_with(50, 0);
    struct engine_text all = engine_generate(s, NULL, 4);
    for (int i = 0; i < 3; i++) {
        assert_ok(vkmoe_session_rollback(s, 53, &err), &err);
        struct engine_text last = engine_generate(s, NULL, 1);
        assert_int_equal(last.ids[0], all.ids[3]);
    }
    assert_ok(vkmoe_session_rollback(s, 0, &err), &err);
    const vkmoe_generate_params params = {.max_tokens = 1};
    test_assert_fails(vkmoe_session_generate(s, &params, NULL, &err), &err, VKMOE_INVALID_ARGUMENT,
                      "nothing");
    vkmoe_session_destroy(s);
}

/* --- cancelling --- */

/* A session that another thread cancels once a generation has begun. */
struct cancelled {
    vkmoe_session *session;
    atomic_bool begun;
};

static void *cancel_begun(void *user)
{
    struct cancelled *c = user;
    while (!atomic_load(&c->begun))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    vkmoe_session_cancel(c->session);
    return NULL;
}

static bool note_begun(void *user, int32_t token)
{
    struct cancelled *c = user;
    (void)token;
    atomic_store(&c->begun, true);
    return true;
}

/* Generation would take minutes: it ends when the other thread says so. */
static void another_thread_cancels_a_generation(void **state)
{
    (void)state;
    vkmoe_error err;
    pthread_t thread;
    size_t count = 0;
    vkmoe_session_params long_one = {.context = 100000};
    vkmoe_session *s = engine_session(&engine, &long_one);
    struct cancelled cancelled = {.session = s};
    const vkmoe_generate_params params = {
        .max_tokens = 90000, .ignore_eos = true, .on_token = note_begun, .user = &cancelled};
    assert_ok(vkmoe_session_eval(s, prompt, 20, NULL, &err), &err);
    assert_int_equal(pthread_create(&thread, NULL, cancel_begun, &cancelled), 0);
    vkmoe_status status = vkmoe_session_generate(s, &params, &count, &err);
    atomic_store(&cancelled.begun, true); /* so that the thread ends in any case */
    pthread_join(thread, NULL);
    test_assert_fails(status, &err, VKMOE_CANCELLED, "cancelled");
    assert_true(count > 0 && count < 90000);
    assert_int_equal(vkmoe_session_length(s), 20 + count);

    uint32_t kept = (uint32_t)(count < 8 ? count : 8);
    assert_ok(vkmoe_session_rollback(s, 20 + kept, &err), &err);
    struct engine_text rest = engine_generate(s, NULL, 10);
    assert_ok(vkmoe_session_rollback(s, 20, &err), &err);
    struct engine_text whole = engine_generate(s, NULL, 10 + kept);
    assert_memory_equal(rest.ids, whole.ids + kept, 10 * sizeof(rest.ids[0]));
    vkmoe_session_destroy(s);
}

static void a_call_cancelled_ahead_does_nothing(void **state)
{
    (void)state;
    vkmoe_error err;
    vkmoe_session *s = session_with(10, 0);
    vkmoe_session_cancel(s);
    test_assert_fails(vkmoe_session_eval(s, prompt, 5, NULL, &err), &err, VKMOE_CANCELLED,
                      "cancelled");
    assert_int_equal(vkmoe_session_length(s), 10);
    struct engine_text a = engine_generate(s, NULL, TEXT); /* it was told once */
    vkmoe_session *fresh = session_with(10, 0);
    struct engine_text b = engine_generate(fresh, NULL, TEXT);
    assert_same_text(&a, &b);
    vkmoe_session_destroy(s);
    vkmoe_session_destroy(fresh);
}

struct steps {
    size_t count, prompts;
    uint64_t tokens, last_done, stop_at;
    double seconds;
};

static bool on_step(void *user, const vkmoe_step *step)
{
    struct steps *steps = user;
    steps->count++;
    steps->prompts += step->prompt;
    steps->tokens += step->n_tokens;
    steps->last_done = step->done;
    steps->seconds += step->seconds;
    assert_true(step->done <= step->total && step->seconds >= 0);
    return steps->count != steps->stop_at;
}

static void every_step_is_told_and_may_be_the_last(void **state)
{
    (void)state;
    vkmoe_error err;
    struct steps steps = {0};
    vkmoe_session_params params = {.context = 256, .chunk = 64, .on_step = on_step, .user = &steps};
    vkmoe_session *s = engine_session(&engine, &params);
    assert_ok(vkmoe_session_eval(s, prompt, 150, NULL, &err), &err);
    assert_int_equal(steps.count, 3);
    assert_int_equal(steps.prompts, 3);
    assert_int_equal(steps.tokens, 150);
    assert_int_equal(steps.last_done, 150);
    engine_generate(s, NULL, 6);
    assert_int_equal(steps.count, 9);
    assert_int_equal(steps.prompts, 3);
    assert_int_equal(steps.tokens, 155); /* the first was chosen from the prompt's logits */

    steps.stop_at = 11;
    test_assert_fails(vkmoe_session_eval(s, prompt, 90, NULL, &err), &err, VKMOE_CANCELLED,
                      "cancelled");
    assert_int_equal(vkmoe_session_length(s), 156);
    steps = (struct steps){.stop_at = 3};
    size_t count = 0;
    const vkmoe_generate_params generate = {.max_tokens = 9, .ignore_eos = true};
    test_assert_fails(vkmoe_session_generate(s, &generate, &count, &err), &err, VKMOE_CANCELLED,
                      "cancelled");
    assert_int_equal(count, 2);
    assert_int_equal(vkmoe_session_length(s), 158);
    vkmoe_session_destroy(s);
}

/* --- the edges --- */

static void a_sequence_never_exceeds_its_context(void **state)
{
    (void)state;
    vkmoe_error err;
    size_t count = 0;
    vkmoe_session_params params = {.context = 70};
    vkmoe_session *s = engine_session(&engine, &params);
    const vkmoe_generate_params generate = {.max_tokens = 100, .ignore_eos = true};
    assert_ok(vkmoe_session_eval(s, prompt, 60, NULL, &err), &err);
    test_assert_fails(vkmoe_session_generate(s, &generate, &count, &err), &err, VKMOE_CONTEXT_FULL,
                      "70 tokens");
    assert_int_equal(count, 10);
    assert_int_equal(vkmoe_session_length(s), vkmoe_session_context(s));
    vkmoe_session *again = engine_session(&engine, &params); /* has room for what was kept */
    assert_ok(vkmoe_session_eval(again, vkmoe_session_tokens(s), 70, NULL, &err), &err);
    vkmoe_session_destroy(again);
    vkmoe_session_destroy(s);
}

static void a_late_cancel_can_be_taken_back(void **state)
{
    (void)state;
    vkmoe_session *s = session_with(10, 0);
    vkmoe_session_cancel(s);
    vkmoe_session_clear_cancel(s);
    engine_generate(s, NULL, 3);
    vkmoe_session_destroy(s);
}

static void what_must_be_given_is_asked_for(void **state)
{
    (void)state;
    vkmoe_error err;
    vkmoe_session *s = session_with(10, 0);
    vkmoe_device *device = NULL;
    vkmoe_model *model = NULL;
    const vkmoe_trace none = {0};
    const vkmoe_status statuses[] = {
        vkmoe_device_open(NULL, NULL, &err),
        vkmoe_device_list(NULL, NULL, 0, NULL, &err),
        vkmoe_model_load(engine.device, NULL, NULL, &model, &err),
        vkmoe_model_load(device, "folder", NULL, &model, &err),
        vkmoe_model_describe(NULL, NULL, &err),
        vkmoe_model_plan(engine.device, NULL, NULL, NULL, &err),
        vkmoe_session_create(NULL, NULL, &s, &err),
        vkmoe_session_fork(s, NULL, &err),
        vkmoe_session_eval(s, NULL, 3, NULL, &err),
        vkmoe_session_generate(s, NULL, NULL, &err),
        vkmoe_trace_write(engine.model, prompt, 1, &none, NULL, &err),
        vkmoe_session_read_routes(s, NULL, &err),
    };
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
        test_assert_fails(statuses[i], &err, VKMOE_INVALID_ARGUMENT, "NULL");
    vkmoe_session_destroy(s);
}

/* --- threads --- */

struct worker {
    pthread_t thread;
    vkmoe_status status;
    vkmoe_error err;
    int32_t tokens[TEXT];
};

static bool keep_token(void *user, int32_t token)
{
    int32_t **next = user;
    *(*next)++ = token;
    return true;
}

/* Everything from opening a device on, without assertions: cmocka's belong to one thread. */
static void *work(void *user)
{
    struct worker *w = user;
    vkmoe_device *device = NULL;
    vkmoe_model *model = NULL;
    vkmoe_session *s = NULL;
    int32_t *next = w->tokens;
    const vkmoe_generate_params params = {
        .max_tokens = TEXT, .ignore_eos = true, .on_token = keep_token, .user = &next};
    w->status = vkmoe_device_open(NULL, &device, &w->err);
    if (w->status == VKMOE_OK)
        w->status = vkmoe_model_load(device, engine.folder, NULL, &model, &w->err);
    if (w->status == VKMOE_OK)
        w->status = vkmoe_session_create(model, NULL, &s, &w->err);
    if (w->status == VKMOE_OK)
        w->status = vkmoe_session_eval(s, prompt, PROMPT, NULL, &w->err);
    if (w->status == VKMOE_OK)
        w->status = vkmoe_session_generate(s, &params, NULL, &w->err);
    vkmoe_session_destroy(s);
    vkmoe_model_destroy(model);
    vkmoe_device_close(device);
    return NULL;
}

static void devices_of_different_threads_are_independent(void **state)
{
    (void)state;
    enum { WORKERS = 3 };
    static struct worker workers[WORKERS];
    for (size_t i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    for (size_t i = 0; i < WORKERS; i++)
        pthread_join(workers[i].thread, NULL);
    for (size_t i = 0; i < WORKERS; i++) {
        assert_ok(workers[i].status, &workers[i].err);
        assert_memory_equal(workers[i].tokens, workers[0].tokens, sizeof(workers[0].tokens));
    }
}

static void a_smaller_cache_is_told_and_takes_less(void **state)
{
    uint64_t bytes[VKMOE_KV_COUNT];
    (void)state;
    for (int i = 0; i < VKMOE_KV_COUNT; i++) {
        kv = (vkmoe_kv)i;
        vkmoe_session *s = session_with(0, 512), *fork = fork_of(s);
        vkmoe_session_stats stats, of_fork;
        vkmoe_session_get_stats(s, &stats);
        vkmoe_session_get_stats(fork, &of_fork);
        assert_int_equal(stats.kv, i);
        assert_int_equal(of_fork.kv, i);
        assert_int_equal(of_fork.kv_bytes, stats.kv_bytes);
        bytes[i] = stats.kv_bytes;
        vkmoe_session_destroy(s);
        vkmoe_session_destroy(fork);
    }
    kv = VKMOE_KV_F32;
    assert_int_equal(2 * bytes[VKMOE_KV_F16], bytes[VKMOE_KV_F32]);
    assert_int_equal(bytes[VKMOE_KV_BF16], bytes[VKMOE_KV_F16]);
    assert_in_range(bytes[VKMOE_KV_Q8], bytes[VKMOE_KV_F32] / 4, bytes[VKMOE_KV_F32] / 3);
}

static void a_kind_of_cache_that_is_not_listed_is_refused(void **state)
{
    vkmoe_error err;
    vkmoe_session *s = NULL;
    const vkmoe_session_params params = {.kv = VKMOE_KV_COUNT};
    (void)state;
    test_assert_fails(vkmoe_session_create(engine.model, &params, &s, &err), &err,
                      VKMOE_INVALID_ARGUMENT, "kept as kind 4 of 4");
}

/* A test once for each kind of KV cache. */
static vkmoe_kv kinds[VKMOE_KV_COUNT] = {VKMOE_KV_F32, VKMOE_KV_F16, VKMOE_KV_BF16, VKMOE_KV_Q8};
#define WITH_CACHE(test, name, kind)                                                               \
    {                                                                                              \
#test ", " name, test, set_kv, NULL, &kinds[kind]                                          \
    }
#define WITH_EVERY_CACHE(test)                                                                     \
    WITH_CACHE(test, "f32", VKMOE_KV_F32), WITH_CACHE(test, "f16", VKMOE_KV_F16),                  \
        WITH_CACHE(test, "bf16", VKMOE_KV_BF16), WITH_CACHE(test, "q8", VKMOE_KV_Q8)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_EVERY_CACHE(a_fork_computes_the_same_bits),
        WITH_EVERY_CACHE(forks_do_not_disturb_each_other),
        WITH_EVERY_CACHE(a_fork_in_the_middle_of_a_text_continues_it),
        cmocka_unit_test(a_fork_keeps_the_penalty_history),
        cmocka_unit_test(a_full_cache_refuses_and_changes_nothing),
        cmocka_unit_test(a_text_that_a_listener_stops_goes_on_as_if_it_had_not),
        WITH_EVERY_CACHE(rolling_back_forgets_what_came_after),
        WITH_EVERY_CACHE(a_token_taken_back_is_chosen_again),
        cmocka_unit_test(another_thread_cancels_a_generation),
        cmocka_unit_test(a_call_cancelled_ahead_does_nothing),
        cmocka_unit_test(every_step_is_told_and_may_be_the_last),
        cmocka_unit_test(a_sequence_never_exceeds_its_context),
        cmocka_unit_test(a_smaller_cache_is_told_and_takes_less),
        cmocka_unit_test(a_late_cancel_can_be_taken_back),
        cmocka_unit_test(a_kind_of_cache_that_is_not_listed_is_refused),
        cmocka_unit_test(what_must_be_given_is_asked_for),
        cmocka_unit_test(devices_of_different_threads_are_independent),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
