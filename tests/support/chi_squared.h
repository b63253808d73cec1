/* Whether draws follow a distribution. */
#ifndef VKM_TEST_CHI_SQUARED_H
#define VKM_TEST_CHI_SQUARED_H

#include <stdint.h>

/* Pearson's statistic of `seen`, standardised by the Wilson-Hilferty approximation: about normal.
 * shares, seen: [n], of `draws`. What is expected fewer than 5 times counts together. Fails the
 * test where fewer than least_freedom degrees of freedom are left. */
double test_chi_squared(const double *shares, const unsigned *seen, uint32_t n, uint32_t draws,
                        uint32_t least_freedom);

#endif
