#include "chi_squared.h"

#include <math.h>

#include "support.h"

double test_chi_squared(const double *shares, const unsigned *seen, uint32_t n, uint32_t draws,
                        uint32_t least_freedom)
{
    double sum = 0, rare_expected = 0, rare_seen = 0, cells = 0;
    for (uint32_t i = 0; i < n; i++) {
        double expected = shares[i] * draws;
        if (expected < 5) {
            rare_expected += expected;
            rare_seen += seen[i];
            continue;
        }
        sum += (seen[i] - expected) * (seen[i] - expected) / expected;
        cells++;
    }
    if (rare_expected >= 5) {
        sum += (rare_seen - rare_expected) * (rare_seen - rare_expected) / rare_expected;
        cells++;
    }
    double freedom = cells - 1, spread = 2 / (9 * freedom);
    assert_true(freedom >= least_freedom);
    return (cbrt(sum / freedom) - (1 - spread)) / sqrt(spread);
}
