#include "interval.h"

#include <math.h>
#include <stdio.h>

/* The 0.975 quantile with v degrees of freedom: beyond three by its expansion in 1 / v. */
static double quantile(uint64_t v)
{
    static const double first[] = {12.7062, 4.3027, 3.1824};
    double part = 1 / (double)v;
    if (v <= sizeof(first) / sizeof(first[0]))
        return first[v - 1];
    return 1.95996 + (2.37227 + (2.82250 + 2.55585 * part) * part) * part;
}

double cli_half_interval(double standard_error, uint64_t n)
{
    return n < 2 ? (double)NAN : quantile(n - 1) * standard_error;
}

struct cli_figure cli_figure(double value, int width, int digits)
{
    struct cli_figure figure;
    if (isnan(value))
        snprintf(figure.text, sizeof(figure.text), "%*s", width, "-");
    else
        snprintf(figure.text, sizeof(figure.text), "%*.*f", width, digits, value);
    return figure;
}

struct cli_figure cli_csv_error(double standard_error, uint64_t n)
{
    struct cli_figure f = {""};
    if (n > 1)
        snprintf(f.text, sizeof(f.text), "%.9g", standard_error);
    return f;
}
