/* Losses of known tokens, and perplexity over windows of a text. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

enum { COUNT = 300, CONTEXT = 64 };

static const struct test_shape shape = {.experts = 6, .top_k = 2, .layers = 2, .vocab = 200};

static struct engine engine;
static int32_t text[COUNT];

static int open_all(void **state)
{
    (void)state;
    engine_open(&engine, &shape);
    engine_tokens(&engine, 11, text, COUNT);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    engine_close(&engine);
    return 0;
}

/* -ln softmax(logits)[token], in float64. */
static double loss_of(const float *logits, uint32_t vocab, int32_t token)
{
    double largest = -INFINITY, sum = 0;
    for (uint32_t i = 0; i < vocab; i++)
        largest = fmax(largest, (double)logits[i]);
    for (uint32_t i = 0; i < vocab; i++)
        sum += exp((double)logits[i] - largest);
    return log(sum) + largest - (double)logits[token];
}

/* The prompt is longer than a chunk, so that a target lies in the next one. */
static void losses_are_those_of_the_logits(void **state)
{
    (void)state;
    enum { N = 150 };
    vkmoe_error err;
    const vkmoe_session_params params = {.context = N, .chunk = 40};
    uint32_t vocab = vkmoe_model_get_info(engine.model)->vocab_size;
    float *logits = calloc(N * vocab, sizeof(float)), losses[N], alone[N];
    vkmoe_session *s = engine_session(&engine, &params);
    assert_non_null(logits);
    losses[N - 1] = alone[N - 1] = -1; /* no token follows: it is left alone */
    assert_ok(
        vkmoe_session_eval(s, text, N, &(vkmoe_trace){.logits = logits, .losses = losses}, &err),
        &err);
    for (uint32_t i = 0; i + 1 < N; i++) {
        double expected = loss_of(logits + i * vocab, vocab, text[i + 1]);
        assert_true(fabs((double)losses[i] - expected) <= 1e-5 * expected);
    }
    assert_true(losses[N - 1] == -1);
    vkmoe_session_reset(s);
    assert_ok(vkmoe_session_eval(s, text, N, &(vkmoe_trace){.losses = alone}, &err), &err);
    assert_memory_equal(alone, losses, sizeof(losses));
    vkmoe_session_destroy(s);
    free(logits);
}

/* The losses of one window, by a session of its own; the first of `n` is of its second token. */
static void window_losses(const int32_t *tokens, size_t n, float *losses)
{
    vkmoe_error err;
    vkmoe_session *s = engine_session(&engine, &(vkmoe_session_params){.context = CONTEXT});
    assert_ok(vkmoe_session_eval(s, tokens, n, &(vkmoe_trace){.losses = losses}, &err), &err);
    vkmoe_session_destroy(s);
}

/* Sum over the tokens [score, end) of a window that begins at `begin`. */
static double window_sum(size_t begin, size_t score, size_t end)
{
    float losses[CONTEXT];
    double sum = 0;
    window_losses(text + begin, end - begin, losses);
    for (size_t i = score > begin ? score : begin + 1; i < end; i++)
        sum += (double)losses[i - begin - 1];
    return sum;
}

static vkmoe_perplexity run(size_t count, const vkmoe_perplexity_params *params)
{
    vkmoe_error err;
    vkmoe_perplexity p;
    assert_ok(vkmoe_perplexity_run(engine.model, text, count, params, &p, &err), &err);
    return p;
}

static void windows_apart_score_all_but_their_first_tokens(void **state)
{
    (void)state;
    double sum = 0;
    vkmoe_perplexity p = run(COUNT, &(vkmoe_perplexity_params){.context = CONTEXT});
    for (size_t begin = 0; begin < COUNT; begin += CONTEXT)
        sum += window_sum(begin, begin, begin + CONTEXT < COUNT ? begin + CONTEXT : COUNT);
    assert_int_equal(p.windows, 5);
    assert_int_equal(p.scored, COUNT - 5);
    assert_true(fabs(p.sum - sum) <= 1e-9 * sum);
    assert_true(fabs(p.nll - sum / (COUNT - 5)) <= 1e-9 * p.nll);
    assert_true(fabs(p.perplexity - exp(p.nll)) <= 1e-9 * p.perplexity);
    assert_true(p.standard_error > 0 && p.standard_error < p.nll);
    assert_true(p.bits_per_byte == 0);
}

/* Each token is scored once, and after the first window with at least 44 before it. */
static void windows_that_overlap_score_each_token_once(void **state)
{
    (void)state;
    enum { STRIDE = 20 };
    uint32_t bytes[COUNT];
    double sum = window_sum(0, 0, CONTEXT);
    size_t windows = 1;
    for (size_t score = CONTEXT; score < COUNT; score += STRIDE, windows++) {
        size_t end = score + STRIDE < COUNT ? score + STRIDE : COUNT;
        sum += window_sum(end - CONTEXT, score, end);
    }
    for (size_t i = 0; i < COUNT; i++)
        bytes[i] = (uint32_t)(i % 7);
    vkmoe_perplexity p =
        run(COUNT,
            &(vkmoe_perplexity_params){.context = CONTEXT, .stride = STRIDE, .token_bytes = bytes});
    assert_int_equal(p.windows, windows);
    assert_int_equal(p.scored, COUNT - 1);
    assert_true(fabs(p.sum - sum) <= 1e-9 * sum);
    uint64_t n_bytes = 0;
    for (size_t i = 1; i < COUNT; i++)
        n_bytes += bytes[i];
    assert_int_equal(p.bytes, n_bytes);
    assert_true(fabs(p.bits_per_byte - sum / log(2) / (double)n_bytes) <= 1e-9);
}

static void the_interval_is_that_of_the_windows(void **state)
{
    (void)state;
    enum { WINDOWS = 4 };
    double s[WINDOWS], sum = 0, spread = 0;
    vkmoe_perplexity p = run(WINDOWS * CONTEXT, &(vkmoe_perplexity_params){.context = CONTEXT});
    for (size_t i = 0; i < WINDOWS; i++)
        sum += s[i] = window_sum(i * CONTEXT, i * CONTEXT, (i + 1) * CONTEXT);
    for (size_t i = 0; i < WINDOWS; i++) /* all of the same length: the usual standard error */
        spread += pow(s[i] - sum / WINDOWS, 2);
    double expected = sqrt(spread / (WINDOWS - 1) / WINDOWS) / (CONTEXT - 1);
    assert_true(fabs(p.standard_error - expected) <= 1e-6 * expected);
}

static bool stop_at_two(void *user, const vkmoe_perplexity *so_far)
{
    (void)user;
    return so_far->windows < 2;
}

static void what_was_ended_early_goes_on_to_the_same_bits(void **state)
{
    (void)state;
    vkmoe_error err;
    vkmoe_perplexity_params params = {
        .context = CONTEXT, .stride = 30, .routing = {.experts_per_token = 3}};
    vkmoe_perplexity whole = run(COUNT, &params), part;
    params.progress = stop_at_two;
    test_assert_fails(vkmoe_perplexity_run(engine.model, text, COUNT, &params, &part, &err), &err,
                      VKMOE_CANCELLED, "cancelled");
    assert_int_equal(part.windows, 2);
    params.progress = NULL;
    vkmoe_perplexity before = part;
    params.resume = &before;
    part = run(COUNT, &params);
    assert_memory_equal(&part, &whole, sizeof(part));
    test_assert_fails(vkmoe_perplexity_run(engine.model, text, COUNT - 1, &params, &part, &err),
                      &err, VKMOE_INVALID_ARGUMENT, "is of 300 tokens, the text has 299");
}

static void what_cannot_be_scored_is_refused(void **state)
{
    (void)state;
    vkmoe_error err;
    vkmoe_perplexity p;
    const struct {
        size_t count;
        vkmoe_perplexity_params params;
        const char *part;
    } cases[] = {
        {1, {.context = CONTEXT}, "a text of 1 tokens"},
        {0, {.context = CONTEXT}, "a text of 0 tokens"},
        {COUNT, {.context = 1}, "windows of 1 tokens"},
        {COUNT, {.context = CONTEXT, .stride = 65}, "a stride of 65 tokens"},
        {COUNT,
         {.context = CONTEXT, .routing = {.experts_per_token = 7}},
         "experts_per_token is 7"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        test_assert_fails(
            vkmoe_perplexity_run(engine.model, text, cases[i].count, &cases[i].params, &p, &err),
            &err, VKMOE_INVALID_ARGUMENT, cases[i].part);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_are_those_of_the_logits),
        cmocka_unit_test(windows_apart_score_all_but_their_first_tokens),
        cmocka_unit_test(windows_that_overlap_score_each_token_once),
        cmocka_unit_test(the_interval_is_that_of_the_windows),
        cmocka_unit_test(what_was_ended_early_goes_on_to_the_same_bits),
        cmocka_unit_test(what_cannot_be_scored_is_refused),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
