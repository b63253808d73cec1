/* What lib/gemm_fp16.glsl adds up in float16: that it cannot overflow, and costs no more than
 * rounding to float16 may, on drivers that round to the nearest, products apart or not. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

static const char shader[] = VKMOE_SOURCE "/shaders/lib/gemm_fp16.glsl";

/* The value of a constant of the shader. */
static int constant(const char *declaration)
{
    char line[256];
    FILE *f = fopen(shader, "r");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f)) {
        size_t n = strlen(declaration);
        if (strncmp(line, declaration, n) != 0)
            continue;
        fclose(f);
        return atoi(line + n);
    }
    fail_msg("%s does not declare '%s'", shader, declaration);
    return 0;
}

/* --- float16, but for its range --- */

enum arithmetic { FUSED, SEPARATE, ARITHMETICS };
static const char *const names[ARITHMETICS] = {"fused", "separate"};

static double rounded(double v)
{
    int exponent;
    frexp(v, &exponent);
    return ldexp(nearbyint(ldexp(v, 11 - exponent)), exponent - 11);
}

static double multiply_add(double a, double b, double sum, enum arithmetic arithmetic)
{
    double product = arithmetic == FUSED ? a * b : rounded(a * b);
    return rounded(product + sum);
}

/* --- products of random vectors --- */

static double random_number(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return rounded((double)(*state >> 8) * 0x1p-23 - 1);
}

/* The mean squared error of sums of `n` products, made in intervals. */
static double error_of(int interval, enum arithmetic arithmetic)
{
    enum { SUMS = 2000, INTERVALS = 16 };
    uint32_t random = 1;
    double error = 0, power = 0;
    for (int s = 0; s < SUMS; s++) {
        double exact = 0, sum = 0;
        for (int i = 0; i < INTERVALS; i++) {
            double part = 0;
            for (int k = 0; k < interval; k++) {
                double a = random_number(&random), b = random_number(&random);
                exact += a * b;
                part = multiply_add(a, b, part, arithmetic);
            }
            sum += part;
        }
        error += (sum - exact) * (sum - exact);
        power += exact * exact;
    }
    return error / power;
}

static void an_interval_costs_less_than_rounding_to_float16_may(void **state)
{
    int interval = constant("const uint INTERVAL = ");
    (void)state;
    for (int a = 0; a < ARITHMETICS; a++) {
        double error = error_of(interval, (enum arithmetic)a);
        print_message("%s: %.2e\n", names[a], error);
        assert_true(error > 0);
        assert_true(2 * error <= 1e-6); /* of the product of two such sums, as SwiGLU makes it */
    }
}

static void an_interval_cannot_overflow(void **state)
{
    double x = ldexp(1, constant("const int X_LIMIT = "));
    double w = ldexp(1, constant("const int W_LIMIT = "));
    (void)state;
    assert_true(w >= 127); /* quants, as they are */
    assert_true(constant("const uint INTERVAL = ") * x * w <= 65504);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_interval_costs_less_than_rounding_to_float16_may),
        cmocka_unit_test(an_interval_cannot_overflow),
    };
    return cmocka_run_group_tests_name("sums in float16", tests, NULL, NULL);
}
