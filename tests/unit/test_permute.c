/* The permutation test of whether texts differ in their experts, on choices that are made up. */
#include <math.h>
#include <string.h>

#include "conform/random.h"
#include "study/permute.h"
#include "support.h"

enum { EXPERTS = 12, MOST_WINDOWS = 60, TOKENS = 100, PERMUTATIONS = 199 };

static double expert_p[EXPERTS];

static vkmoe_affinity_layer test_of(const uint32_t *chosen, const uint32_t *text_of, size_t n,
                                    uint32_t texts, uint32_t permutations, uint64_t seed)
{
    vkmoe_affinity_layer layer = {.expert_p = expert_p};
    vkmoe_error err;
    assert_ok(
        vkmoe_affinity_of(chosen, text_of, n, texts, EXPERTS, permutations, seed, &layer, &err),
        &err);
    return layer;
}

/* A window whose tokens depend on each other: they go by weights of the window's own, around those
 * of its text. */
static void draw_window(struct vkm_random *r, const double *text, uint32_t *chosen)
{
    double weights[EXPERTS], sum = 0;
    for (int e = 0; e < EXPERTS; e++)
        sum += weights[e] = text[e] * (double)vkm_random_f32(r, 0.2f, 1.8f);
    memset(chosen, 0, EXPERTS * sizeof(*chosen));
    for (int t = 0; t < TOKENS; t++) {
        double at = (double)vkm_random_f32(r, 0, 1) * sum;
        int e = 0;
        while (e < EXPERTS - 1 && (at -= weights[e]) >= 0)
            e++;
        chosen[e]++;
    }
}

/* Windows of texts with the same weights, but for the first expert's in text 0. */
static void draw(struct vkm_random *r, const uint32_t *text_of, size_t n, double first,
                 uint32_t *chosen)
{
    double weights[EXPERTS];
    for (int e = 0; e < EXPERTS; e++)
        weights[e] = 1 + e % 3;
    for (size_t w = 0; w < n; w++) {
        weights[0] = text_of[w] == 0 ? first : 1;
        draw_window(r, weights, chosen + w * EXPERTS);
    }
}

/* p is even between 0 and 1 where nothing differs, though tokens of a window go together: its
 * distribution function is never off by more than 1.95 / sqrt(n), Kolmogorov's bound for a chance
 * of one in a thousand. */
static void p_is_even_where_texts_do_not_differ(void **state)
{
    enum { TRIALS = 500, WINDOWS = 24 };
    static uint32_t chosen[WINDOWS * EXPERTS];
    uint32_t text_of[WINDOWS], below[2][PERMUTATIONS + 2] = {{0}};
    struct vkm_random r = {.key = 77};
    (void)state;
    for (uint32_t w = 0; w < WINDOWS; w++)
        text_of[w] = w < 6 ? 0 : w < 14 ? 1 : 2;
    for (uint64_t i = 0; i < TRIALS; i++) {
        draw(&r, text_of, WINDOWS, 1, chosen);
        vkmoe_affinity_layer layer = test_of(chosen, text_of, WINDOWS, 3, PERMUTATIONS, i);
        below[0][(int)lround(layer.p * (PERMUTATIONS + 1))]++;
        below[1][(int)lround(layer.expert_p[5] * (PERMUTATIONS + 1))]++;
    }
    for (int kind = 0; kind < 2; kind++) {
        assert_int_equal(below[kind][0], 0); /* p is never 0 */
        double sum = 0;
        for (int i = 1; i <= PERMUTATIONS + 1; i++) {
            sum += below[kind][i];
            assert_true(fabs(sum / TRIALS - i / (PERMUTATIONS + 1.0)) < 1.95 / sqrt(TRIALS));
        }
    }
}

/* The test that deals tokens would not do: it calls windows that go their own way a difference. */
static void dealing_tokens_would_find_differences_where_there_are_none(void **state)
{
    enum { TRIALS = 40, WINDOWS = 6 };
    uint32_t chosen[WINDOWS * EXPERTS], tokens[WINDOWS * TOKENS * EXPERTS], text_of[WINDOWS],
        token_text[WINDOWS * TOKENS], found[2] = {0};
    struct vkm_random r = {.key = 5};
    (void)state;
    for (uint32_t w = 0; w < WINDOWS; w++)
        text_of[w] = w % 2;
    for (uint64_t i = 0; i < TRIALS; i++) {
        size_t at = 0;
        draw(&r, text_of, WINDOWS, 1, chosen);
        memset(tokens, 0, sizeof(tokens));
        for (size_t c = 0; c < WINDOWS * EXPERTS; c++)
            for (uint32_t n = 0; n < chosen[c]; n++) {
                tokens[at * EXPERTS + c % EXPERTS] = 1;
                token_text[at++] = text_of[c / EXPERTS];
            }
        found[0] += test_of(chosen, text_of, WINDOWS, 2, 99, i).p <= 0.05;
        found[1] += test_of(tokens, token_text, at, 2, 99, i).p <= 0.05;
    }
    assert_in_range(found[0], 0, TRIALS / 5);
    assert_in_range(found[1], TRIALS / 2, TRIALS);
}

static void a_text_that_differs_is_found_and_the_expert_too(void **state)
{
    uint32_t chosen[MOST_WINDOWS * EXPERTS], text_of[MOST_WINDOWS];
    double adjusted[EXPERTS];
    struct vkm_random r = {.key = 3};
    vkmoe_error err;
    (void)state;
    for (uint32_t w = 0; w < MOST_WINDOWS; w++)
        text_of[w] = w % 3;
    draw(&r, text_of, MOST_WINDOWS, 4, chosen);
    vkmoe_affinity_layer layer = test_of(chosen, text_of, MOST_WINDOWS, 3, 999, 1);
    assert_true(layer.p == 0.001 && layer.divergence > 2 * layer.chance);
    assert_ok(vkmoe_adjust(VKMOE_ADJUST_FDR, layer.expert_p, EXPERTS, adjusted, &err), &err);
    assert_true(adjusted[0] < 0.02);
    for (int e = 1; e < EXPERTS; e++)
        assert_true(layer.expert_p[e] > layer.expert_p[0]);
}

/* Worked out by hand. */
static void divergence_goes_from_nought_to_one(void **state)
{
    const uint32_t apart[2 * EXPERTS] = {[0] = 3, [1] = 5, [EXPERTS + 2] = 9};
    const uint32_t same[2 * EXPERTS] = {[0] = 3, [1] = 5, [EXPERTS] = 6, [EXPERTS + 1] = 10};
    const uint32_t half[2 * EXPERTS] = {[0] = 1, [EXPERTS] = 1, [EXPERTS + 1] = 1};
    const uint32_t text_of[2] = {0, 1};
    (void)state;
    assert_true(fabs(test_of(apart, text_of, 2, 2, 9, 0).divergence - 1) < 1e-12);
    assert_true(fabs(test_of(same, text_of, 2, 2, 9, 0).divergence) < 1e-12);
    /* (1, 0) and (1/2, 1/2), their mean (3/4, 1/4): in bits */
    double expected = (log2(4.0 / 3) + 0.5 * log2(2.0 / 3) + 0.5 * log2(2)) / 2;
    vkmoe_affinity_layer layer = test_of(half, text_of, 2, 2, 9, 0);
    assert_true(fabs(layer.divergence - expected) < 1e-12);
    assert_true(layer.p == 1); /* two windows cannot be dealt otherwise */
    assert_true(fabs(layer.chance - expected) < 1e-12);
}

static void the_same_seed_gives_the_same(void **state)
{
    uint32_t chosen[20 * EXPERTS], text_of[20];
    struct vkm_random r = {.key = 8};
    double p[3];
    (void)state;
    for (uint32_t w = 0; w < 20; w++)
        text_of[w] = w / 10;
    draw(&r, text_of, 20, 1, chosen);
    for (uint64_t i = 0; i < 3; i++)
        p[i] = test_of(chosen, text_of, 20, 2, 499, i / 2).chance;
    assert_true(p[0] == p[1] && p[0] != p[2]);
}

/* By the definitions, on figures small enough to check. */
static void families_of_tests_are_adjusted(void **state)
{
    const double p[5] = {0.04, 0.01, 0.5, 0.03, 0.011};
    const double holm[5] = {0.09, 0.05, 0.5, 0.09, 0.05};
    const double fdr[5] = {0.05, 0.0275, 0.5, 0.05, 0.0275};
    double got[5];
    vkmoe_error err;
    (void)state;
    assert_ok(vkmoe_adjust(VKMOE_ADJUST_HOLM, p, 5, got, &err), &err);
    for (int i = 0; i < 5; i++)
        assert_true(fabs(got[i] - holm[i]) < 1e-12);
    memcpy(got, p, sizeof(p));
    assert_ok(vkmoe_adjust(VKMOE_ADJUST_FDR, got, 5, got, &err), &err);
    for (int i = 0; i < 5; i++)
        assert_true(fabs(got[i] - fdr[i]) < 1e-12);
}

static void what_cannot_be_tested_is_refused(void **state)
{
    const uint32_t chosen[2 * EXPERTS] = {1}, two[2] = {0, 1}, three[2] = {0, 3};
    vkmoe_affinity_layer layer = {.expert_p = expert_p};
    vkmoe_error err;
    (void)state;
    test_assert_fails(vkmoe_affinity_of(chosen, two, 2, 1, EXPERTS, 9, 0, &layer, &err), &err,
                      VKMOE_INVALID_ARGUMENT, "1 text has nothing to differ from");
    test_assert_fails(vkmoe_affinity_of(chosen, three, 2, 2, EXPERTS, 9, 0, &layer, &err), &err,
                      VKMOE_INVALID_ARGUMENT, "window 1 is of text 3, expected one below 2");
    test_assert_fails(vkmoe_affinity_of(chosen, two, 2, 2, EXPERTS, 9, 0, &layer, &err), &err,
                      VKMOE_INVALID_ARGUMENT, "a text has no token");
    test_assert_fails(vkmoe_affinity_of(NULL, two, 2, 2, EXPERTS, 9, 0, &layer, &err), &err,
                      VKMOE_INVALID_ARGUMENT, "missing (NULL)");
}

static bool is_fourth(void *user)
{
    uint32_t *questions = user;
    return ++*questions == 4;
}

static void a_test_ends_soon_after_it_is_told_to(void **state)
{
    const uint32_t text_of[2] = {0, 1};
    static uint32_t chosen[2 * EXPERTS];
    vkmoe_affinity_layer layer = {.expert_p = expert_p};
    struct vkm_random r = {.key = 5};
    uint32_t questions = 0;
    vkmoe_error err;
    (void)state;
    draw(&r, text_of, 2, 1, chosen);
    test_assert_fails(vkm_affinity_of(chosen, text_of, 2, 2, EXPERTS, UINT32_MAX, 0, is_fourth,
                                      &questions, &layer, &err),
                      &err, VKMOE_CANCELLED, "cancelled");
    assert_int_equal(questions, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p_is_even_where_texts_do_not_differ),
        cmocka_unit_test(dealing_tokens_would_find_differences_where_there_are_none),
        cmocka_unit_test(a_text_that_differs_is_found_and_the_expert_too),
        cmocka_unit_test(divergence_goes_from_nought_to_one),
        cmocka_unit_test(the_same_seed_gives_the_same),
        cmocka_unit_test(families_of_tests_are_adjusted),
        cmocka_unit_test(what_cannot_be_tested_is_refused),
        cmocka_unit_test(a_test_ends_soon_after_it_is_told_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
