/* Intervals of means of few samples, and of medians. */
#include <math.h>

#include "../apps/cli/interval.h"
#include "bench/bench.h"
#include "support.h"

static void intervals_are_students(void **state)
{
    static const struct {
        uint64_t n;
        double half; /* of a standard error of 1, from tables */
    } known[] = {{2, 12.7062}, {3, 4.3027},  {4, 3.1824},   {6, 2.5706},
                 {11, 2.2281}, {31, 2.0423}, {121, 1.9799}, {1000001, 1.95997}};
    (void)state;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        assert_true(fabs(cli_half_interval(2, known[i].n) / 2 - known[i].half) < 5e-3);
}

static void one_sample_has_no_interval(void **state)
{
    (void)state;
    assert_true(isnan(cli_half_interval(0, 0)) && isnan(cli_half_interval(0, 1)));
    assert_string_equal(cli_figure((double)NAN, 7, 4).text, "      -");
    assert_string_equal(cli_figure(0.25, 7, 4).text, " 0.2500");
}

/* The chance that at most `most` of n fall below the median. */
static double tail(uint32_t n, uint32_t most)
{
    double sum = 0;
    for (uint32_t k = 0; k <= most; k++)
        sum += exp(lgamma(n + 1.0) - lgamma(k + 1.0) - lgamma(n - k + 1.0) - n * log(2));
    return sum;
}

/* With values 1 to n in any order its ends tell how many lie beyond. */
static void the_median_of_pairs_has_an_interval_of_95_percent(void **state)
{
    (void)state;
    for (uint32_t n = 1; n <= 400; n++) {
        double values[400];
        for (uint32_t i = 0; i < n; i++)
            values[i] = 1 + (n % 7 > 0 ? i * 7 % n : n - 1 - i);
        vkmoe_bench_counting c = vkm_counting_of(values, n);
        assert_true(c.pairs == n && c.ratio == (n + 1) / 2.0);
        if (n < 6) {
            assert_true(c.low == 0 && c.high == 0);
            continue;
        }
        uint32_t beyond = (uint32_t)c.low - 1;
        assert_true(c.high == n - beyond);
        assert_true(tail(n, beyond) <= 0.025);    /* wide enough, */
        assert_true(tail(n, beyond + 2) > 0.025); /* and hardly wider */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intervals_are_students),
        cmocka_unit_test(one_sample_has_no_interval),
        cmocka_unit_test(the_median_of_pairs_has_an_interval_of_95_percent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
