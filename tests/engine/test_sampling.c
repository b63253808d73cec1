/* The sampler draws what an independent one allows, as often as it should. */
#include "chi_squared.h"
#include "fixture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct engine small, large; /* vocabularies of 300 and 102400 */
static int32_t prompt[20];

static int open_all(void **state)
{
    (void)state;
    const struct test_shape a = {.vocab = 300, .layers = 1};
    const struct test_shape b = {.vocab = 102400, .layers = 1, .hidden = 64, .heads = 2};
    engine_open(&small, &a);
    engine_open(&large, &b);
    engine_tokens(&small, 3, prompt, 20);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    engine_close(&small);
    engine_close(&large);
    return 0;
}

/* --- an independent sampler, from the descriptions in vkmoe/sampling.h --- */

struct candidate {
    double logit, share;
    uint32_t token;
};

static int by_falling_logit(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    return (x->logit < y->logit) - (x->logit > y->logit);
}

static void penalise(struct candidate *c, const vkmoe_sampling *s, const int32_t *history,
                     size_t count)
{
    size_t last = s->repeat_last ? s->repeat_last : 64;
    size_t first = count > last ? count - last : 0;
    for (size_t i = first; i < count; i++) {
        size_t earlier = first;
        while (history[earlier] != history[i])
            earlier++;
        double *logit = &c[history[i]].logit;
        if (earlier == i && s->repeat_penalty > 0)
            *logit = *logit > 0 ? *logit / (double)s->repeat_penalty
                                : *logit * (double)s->repeat_penalty;
    }
}

/* Shares by token; 0 for what is cut. */
static double *expected_shares(const float *logits, uint32_t vocab, const vkmoe_sampling *s,
                               const int32_t *history, size_t count)
{
    struct candidate *c = calloc(vocab, sizeof(*c));
    double *shares = calloc(vocab, sizeof(*shares)), total = 0, held = 0, kept_total = 0;
    assert_true(c && shares);
    for (uint32_t i = 0; i < vocab; i++)
        c[i] = (struct candidate){.logit = (double)logits[i], .token = i};
    penalise(c, s, history, count);
    qsort(c, vocab, sizeof(*c), by_falling_logit);
    uint32_t n = s->top_k > 0 && s->top_k < vocab ? s->top_k : vocab;
    for (uint32_t i = 0; i < n; i++)
        total += c[i].share = exp((c[i].logit - c[0].logit) / (double)s->temperature);
    uint32_t kept = 0;
    for (; kept < n; kept++) {
        if (s->top_p > 0 && s->top_p < 1 && held >= (double)s->top_p * total)
            break;
        if (c[kept].share < (double)s->min_p)
            break;
        held += c[kept].share;
    }
    for (uint32_t i = 0; i < kept; i++)
        kept_total += c[i].share;
    for (uint32_t i = 0; i < kept; i++)
        shares[c[i].token] = c[i].share / kept_total;
    free(c);
    return shares;
}

/* Draws the token after the prompt again and again, with one seed after the other. */
static void check_draws(const struct engine *e, const vkmoe_sampling *sampling, uint32_t draws)
{
    uint32_t vocab = vkmoe_model_get_info(e->model)->vocab_size;
    vkmoe_session_params params = {.context = 64};
    vkmoe_session *s = engine_session(e, &params);
    vkmoe_trace trace = {.logits = calloc(20 * (size_t)vocab, sizeof(float))};
    unsigned *seen = calloc(vocab, sizeof(*seen)), kept = 0;
    vkmoe_error err;
    assert_true(trace.logits && seen);
    assert_ok(vkmoe_session_eval(s, prompt, 20, &trace, &err), &err);
    double *shares =
        expected_shares(trace.logits + 19 * (size_t)vocab, vocab, sampling, prompt, 20);
    for (uint32_t i = 0; i < draws; i++) {
        vkmoe_sampling own = *sampling;
        own.seed = 77 + i;
        struct engine_text text = engine_generate(s, &own, 1);
        seen[text.ids[0]]++;
        assert_true(shares[text.ids[0]] > 0);
        assert_ok(vkmoe_session_rollback(s, 20, &err), &err);
    }
    for (uint32_t i = 0; i < vocab; i++)
        kept += shares[i] > 0;
    double z = test_chi_squared(shares, seen, vocab, draws, 3);
    print_message("t %.1f k %u p %.2f min-p %.2f penalty %.1f: %u tokens left, %.2f standard "
                  "deviations off\n",
                  (double)sampling->temperature, sampling->top_k, (double)sampling->top_p,
                  (double)sampling->min_p, (double)sampling->repeat_penalty, kept, z);
    assert_true(z < 4.5);
    free(shares);
    free(trace.logits);
    free(seen);
    vkmoe_session_destroy(s);
}

static void draws_follow_the_distribution_that_every_setting_leaves(void **state)
{
    static const vkmoe_sampling settings[] = {
        {.temperature = 1},
        {.temperature = 0.7f, .top_k = 20},
        {.temperature = 1, .top_p = 0.6f},
        {.temperature = 0.8f, .min_p = 0.2f},
        {.temperature = 1, .repeat_penalty = 1.5f, .repeat_last = 10},
        {.temperature = 1.2f, .top_k = 60, .top_p = 0.9f, .min_p = 0.05f, .repeat_penalty = 1.3f},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
        check_draws(&small, &settings[i], 1500);
}

static void a_vocabulary_of_102400_is_cut_and_drawn_from(void **state)
{
    (void)state;
    check_draws(&large, &(vkmoe_sampling){.temperature = 0.3f, .top_k = 20, .top_p = 0.95f}, 200);
}

static vkmoe_session *prompted(void)
{
    vkmoe_error err;
    vkmoe_session *s = engine_session(&small, NULL);
    assert_ok(vkmoe_session_eval(s, prompt, 20, NULL, &err), &err);
    return s;
}

static struct engine_text text_with(const vkmoe_sampling *sampling)
{
    vkmoe_session *s = prompted();
    struct engine_text text = engine_generate(s, sampling, 40);
    vkmoe_session_destroy(s);
    return text;
}

static void the_same_seed_gives_the_same_text_and_another_one_another(void **state)
{
    (void)state;
    vkmoe_sampling sampling = {.temperature = 1, .top_k = 50, .top_p = 0.95f, .seed = 5};
    struct engine_text a = text_with(&sampling), b = text_with(&sampling);
    assert_same_text(&a, &b);
    sampling.seed = 6;
    b = text_with(&sampling);
    assert_memory_not_equal(a.ids, b.ids, sizeof(a.ids[0]) * 40);
}

static void cuts_to_one_token_are_greedy(void **state)
{
    (void)state;
    static const vkmoe_sampling settings[] = {
        {.temperature = 2, .top_k = 1},
        {.temperature = 2, .top_p = 1e-6f},
        {.temperature = 2, .min_p = 1},
        {.temperature = -1},
    };
    struct engine_text greedy = text_with(NULL);
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        struct engine_text text = text_with(&settings[i]);
        assert_same_text(&text, &greedy);
    }
}

static void a_strong_penalty_never_repeats_within_its_window(void **state)
{
    (void)state;
    struct engine_text text = text_with(&(vkmoe_sampling){.repeat_penalty = 1e6f});
    for (size_t i = 0; i < text.count; i++) {
        for (size_t j = 0; j < i; j++)
            assert_int_not_equal(text.ids[i], text.ids[j]);
        for (size_t j = 0; j < 20; j++)
            assert_int_not_equal(text.ids[i], prompt[j]);
    }
}

static void settings_that_are_no_numbers_are_refused(void **state)
{
    static const struct {
        vkmoe_sampling sampling;
        const char *name;
    } wrong[] = {
        {{.temperature = NAN}, "temperature"},
        {{.temperature = INFINITY}, "temperature"},
        {{.top_p = -0.1f}, "top_p"},
        {{.min_p = NAN}, "min_p"},
        {{.repeat_penalty = -1}, "repeat_penalty"},
    };
    (void)state;
    vkmoe_session *s = prompted();
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        vkmoe_error err;
        const vkmoe_generate_params params = {.max_tokens = 1, .sampling = wrong[i].sampling};
        test_assert_fails(vkmoe_session_generate(s, &params, NULL, &err), &err,
                          VKMOE_INVALID_ARGUMENT, wrong[i].name);
    }
    assert_int_equal(vkmoe_session_length(s), 20);
    vkmoe_session_destroy(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_follow_the_distribution_that_every_setting_leaves),
        cmocka_unit_test(a_vocabulary_of_102400_is_cut_and_drawn_from),
        cmocka_unit_test(the_same_seed_gives_the_same_text_and_another_one_another),
        cmocka_unit_test(cuts_to_one_token_are_greedy),
        cmocka_unit_test(a_strong_penalty_never_repeats_within_its_window),
        cmocka_unit_test(settings_that_are_no_numbers_are_refused),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
