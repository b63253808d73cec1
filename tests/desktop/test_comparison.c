/* Two texts side by side: where they part, what they are worth. No display. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "comparison.h"

static int set_up(void **state)
{
    MoeComparison *c = moe_comparison_new();
    moe_comparison_begin(c, "6 of 32", "2 of 32");
    *state = c;
    return 0;
}

static int tear_down(void **state)
{
    g_object_unref(*state);
    return 0;
}

/* A token of one letter, which is its id. */
static void say(MoeComparison *c, MoeSide side, const char *letters)
{
    for (; *letters; letters++)
        moe_comparison_append(c, side, *letters, letters, 1);
}

static void sums_up(MoeComparison *c, const char *words)
{
    char *text = moe_comparison_summarise(c);
    if (!strstr(text, words))
        fail_msg("“%s” does not say “%s”", text, words);
    g_free(text);
}

static void texts_part_at_the_first_token_that_differs(void **state)
{
    MoeComparison *c = *state;
    say(c, MOE_SIDE_LEFT, "to be");
    assert_int_equal(moe_comparison_get_parting(c), -1);
    sums_up(c, "The left text comes first, then the right one.");
    say(c, MOE_SIDE_RIGHT, "to");
    assert_int_equal(moe_comparison_get_parting(c), -1);
    sums_up(c, "The texts are the same so far.");
    say(c, MOE_SIDE_RIGHT, " do");
    assert_int_equal(moe_comparison_get_parting(c), 3);
    sums_up(c, "The texts part after 3 tokens.");
    char *rest = moe_comparison_dup_text(c, MOE_SIDE_RIGHT, 3, G_MAXUINT);
    assert_string_equal(rest, "do");
    g_free(rest);
    rest = moe_comparison_dup_text(c, MOE_SIDE_RIGHT, 9, G_MAXUINT);
    assert_string_equal(rest, "");
    g_free(rest);
}

static void a_text_that_ends_first_parts_where_it_ends(void **state)
{
    MoeComparison *c = *state;
    say(c, MOE_SIDE_LEFT, "ab");
    say(c, MOE_SIDE_RIGHT, "abc");
    assert_int_equal(moe_comparison_get_parting(c), -1); /* it may go on */
    moe_comparison_finish(c, MOE_SIDE_LEFT);
    assert_int_equal(moe_comparison_get_parting(c), 2);
}

static void texts_that_are_the_same_do_not_part(void **state)
{
    MoeComparison *c = *state;
    say(c, MOE_SIDE_LEFT, "abc");
    say(c, MOE_SIDE_RIGHT, "abc");
    moe_comparison_finish(c, MOE_SIDE_LEFT);
    moe_comparison_finish(c, MOE_SIDE_RIGHT);
    assert_int_equal(moe_comparison_get_parting(c), -1);
    sums_up(c, "The texts are the same, 3 tokens.");
}

static void likelihood_is_the_mean_of_what_is_known(void **state)
{
    static const float left[] = {1, 2, NAN}, right[] = {0.5f, 7};
    MoeComparison *c = *state;
    assert_true(isnan(moe_comparison_get_difference(c)));
    say(c, MOE_SIDE_LEFT, "a");
    say(c, MOE_SIDE_LEFT, "b");
    say(c, MOE_SIDE_LEFT, "c");
    say(c, MOE_SIDE_RIGHT, "x");
    moe_comparison_set_losses(c, MOE_SIDE_LEFT, left, 3);
    moe_comparison_set_losses(c, MOE_SIDE_RIGHT, right, 2); /* one more than there are tokens */
    assert_true(fabs(moe_comparison_get_mean_logprob(c, MOE_SIDE_LEFT) + 1.5) < 1e-12);
    assert_true(fabs(moe_comparison_get_difference(c) - 1) < 1e-12);
    sums_up(c, "left -1.500, right -0.500 nats per token; difference +1.000.");
    sums_up(c, "part at their first token");
}

static void bytes_that_are_no_text_are_replaced(void **state)
{
    MoeComparison *c = *state;
    moe_comparison_append(c, MOE_SIDE_LEFT, 1, "\xc3", 1);
    moe_comparison_append(c, MOE_SIDE_LEFT, 2, "\xa4", 1);
    char *text = moe_comparison_dup_text(c, MOE_SIDE_LEFT, 0, 2);
    assert_string_equal(text, "ä"); /* one letter of two tokens */
    g_free(text);
    text = moe_comparison_dup_text(c, MOE_SIDE_LEFT, 0, 1);
    assert_string_equal(text, "\xef\xbf\xbd");
    g_free(text);
}

static void beginning_anew_forgets(void **state)
{
    MoeComparison *c = *state;
    say(c, MOE_SIDE_LEFT, "abc");
    say(c, MOE_SIDE_RIGHT, "abd");
    moe_comparison_finish(c, MOE_SIDE_RIGHT);
    moe_comparison_begin(c, "l", "r");
    assert_int_equal(moe_comparison_get_length(c, MOE_SIDE_LEFT), 0);
    assert_int_equal(moe_comparison_get_parting(c), -1);
    assert_false(moe_comparison_is_finished(c, MOE_SIDE_RIGHT));
    assert_string_equal(moe_comparison_get_settings(c, MOE_SIDE_RIGHT), "r");
    assert_true(isnan(moe_comparison_get_mean_logprob(c, MOE_SIDE_LEFT)));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(texts_part_at_the_first_token_that_differs),
        CASE(a_text_that_ends_first_parts_where_it_ends),
        CASE(texts_that_are_the_same_do_not_part),
        CASE(likelihood_is_the_mean_of_what_is_known),
        CASE(bytes_that_are_no_text_are_replaced),
        CASE(beginning_anew_forgets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
