/* Multiple choice without a device: where a context ends and a choice begins, what is picked, and
 * how sure that is. */
#include <math.h>
#include <string.h>

#include "support.h"

#include <vkmoe/vkmoe.h>

static vkmoe_tokenizer *tokenizer;

static int open_all(void **state)
{
    (void)state;
    vkmoe_error err;
    assert_ok(vkmoe_tokenizer_load(VKMOE_TEST_MODEL, NULL, &tokenizer, &err), &err);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    vkmoe_tokenizer_destroy(tokenizer);
    return 0;
}

static vkmoe_text text(const char *bytes)
{
    return (vkmoe_text){bytes, strlen(bytes)};
}

static vkmoe_choices encode(const char *context, const char *a, const char *b)
{
    vkmoe_error err;
    vkmoe_choices c;
    assert_ok(vkmoe_choices_encode(tokenizer, text(context), (const vkmoe_text[]){text(a), text(b)},
                                   2, &c, &err),
              &err);
    return c;
}

/* What tokens [from, to) of a choice stand for. */
static void assert_text(const vkmoe_choices *c, uint32_t i, size_t from, size_t to,
                        const char *expected)
{
    vkmoe_error err;
    char *bytes;
    size_t size;
    assert_ok(vkmoe_tokenizer_decode(tokenizer, c->tokens[i] + from, to - from, false, &bytes,
                                     &size, &err),
              &err);
    assert_string_equal(bytes, expected);
    vkmoe_tokenizer_free(tokenizer, bytes);
}

static void context_and_choice_are_one_text(void **state)
{
    (void)state;
    vkmoe_choices c = encode("12 + 7 =", " 19", " 20");
    assert_int_equal(c.tokens[0][0], vkmoe_tokenizer_bos(tokenizer));
    assert_text(&c, 0, 0, c.shared, "12 + 7 =");
    assert_text(&c, 0, c.shared, c.n_tokens[0], " 19");
    assert_text(&c, 1, c.shared, c.n_tokens[1], " 20");
    assert_int_equal(c.n_bytes[1], 3);
    vkmoe_choices_free(tokenizer, &c);
    vkmoe_choices_free(tokenizer, &c);
}

/* "the" and "re" make one token: so the end of the context is scored in both choices, or else one
 * of them would be given more of it than the other. */
static void tokens_across_the_border_are_scored_in_every_choice(void **state)
{
    (void)state;
    vkmoe_error err;
    int32_t *ids;
    size_t count;
    assert_ok(vkmoe_tokenizer_encode(tokenizer, "and the", 7, true, &ids, &count, &err), &err);
    vkmoe_choices c = encode("and the", "re", " king");
    assert_true(c.shared < count && c.shared > 1);
    assert_memory_equal(c.tokens[0], ids, c.shared * sizeof(*ids));
    assert_memory_equal(c.tokens[1], ids,
                        count * sizeof(*ids)); /* by itself it would keep it all */
    assert_text(&c, 0, 0, c.shared, "and");
    assert_text(&c, 0, c.shared, c.n_tokens[0], " there");
    assert_text(&c, 1, c.shared, c.n_tokens[1], " the king");
    assert_int_equal(c.n_bytes[0], 2);
    assert_int_equal(c.n_bytes[1], 5);
    vkmoe_tokenizer_free(tokenizer, ids);
    vkmoe_choices_free(tokenizer, &c);
}

static void bos_alone_may_come_before_the_choices(void **state)
{
    (void)state;
    vkmoe_choices c = encode("", "ROMEO:", "JULIET:");
    assert_int_equal(c.shared, 1);
    assert_text(&c, 1, 1, c.n_tokens[1], "JULIET:");
    vkmoe_choices_free(tokenizer, &c);
}

static void choices_that_cannot_be_told_apart_from_nothing_are_refused(void **state)
{
    (void)state;
    vkmoe_error err;
    vkmoe_choices c;
    const vkmoe_text empty[] = {text(" 19"), text("")}, broken[] = {text(" 19"), text(" \xff")};
    test_assert_fails(vkmoe_choices_encode(tokenizer, text("12"), empty, 2, &c, &err), &err,
                      VKMOE_INVALID_ARGUMENT, "choice 1 has no tokens of its own");
    test_assert_fails(vkmoe_choices_encode(tokenizer, text("12"), empty, 1, &c, &err), &err,
                      VKMOE_INVALID_ARGUMENT, "1 choices, expected at least 2");
    test_assert_fails(vkmoe_choices_encode(tokenizer, text("12"), broken, 2, &c, &err), &err,
                      VKMOE_BAD_FORMAT, "");
}

static void rules_divide_by_tokens_or_bytes(void **state)
{
    (void)state;
    const vkmoe_choice_score scores[] = {
        {.log_likelihood = -6, .tokens = 2, .bytes = 6},
        {.log_likelihood = -7, .tokens = 4, .bytes = 7},
        {.log_likelihood = -8, .tokens = 3, .bytes = 20},
        {.log_likelihood = -6, .tokens = 2, .bytes = 6},
    };
    assert_int_equal(vkmoe_choices_pick(scores, 4, VKMOE_CHOICE_SUM), 0); /* first of equals */
    assert_int_equal(vkmoe_choices_pick(scores, 4, VKMOE_CHOICE_PER_TOKEN), 1);
    assert_int_equal(vkmoe_choices_pick(scores, 4, VKMOE_CHOICE_PER_BYTE), 2);
}

/* The interval's ends are the shares for which what was seen lies 1.96 deviations away. */
static void intervals_are_wilsons(void **state)
{
    (void)state;
    static const uint64_t cases[][2] = {{0, 10}, {1, 10}, {5, 10}, {10, 10}, {810, 1000}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        double n = (double)cases[i][1], p = (double)cases[i][0] / n;
        vkmoe_accuracy a = vkmoe_accuracy_of(cases[i][0], cases[i][1]);
        const double ends[] = {a.low, a.high};
        assert_true(fabs(a.mean - p) < 1e-15 && a.low <= p && p <= a.high);
        for (size_t e = 0; e < 2; e++) {
            double z = 1.959963984540054 * sqrt(ends[e] * (1 - ends[e]) / n);
            assert_true(fabs(fabs(p - ends[e]) - z) < 1e-9);
        }
    }
    vkmoe_accuracy none = vkmoe_accuracy_of(0, 0);
    assert_true(none.mean == 0 && none.low == 0 && none.high == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(context_and_choice_are_one_text),
        cmocka_unit_test(tokens_across_the_border_are_scored_in_every_choice),
        cmocka_unit_test(bos_alone_may_come_before_the_choices),
        cmocka_unit_test(choices_that_cannot_be_told_apart_from_nothing_are_refused),
        cmocka_unit_test(rules_divide_by_tokens_or_bytes),
        cmocka_unit_test(intervals_are_wilsons),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
