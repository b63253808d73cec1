/* Intervals of means of few samples. */
#include <math.h>

#include "../apps/cli/interval.h"
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intervals_are_students),
        cmocka_unit_test(one_sample_has_no_interval),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
