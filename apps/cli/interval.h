/* Intervals of means that are known from few samples. */
#ifndef VKMOE_CLI_INTERVAL_H
#define VKMOE_CLI_INTERVAL_H

#include <stdint.h>

/* Half of the 95 % interval of a mean of n samples with that standard error, by Student's t; NaN
 * where n < 2, of which no spread is known. */
double cli_half_interval(double standard_error, uint64_t n);
/* Of at most 15 characters: as printf's %*.*f has it, or "-" for NaN, right-aligned likewise. */
struct cli_figure {
    char text[16];
};
struct cli_figure cli_figure(double value, int width, int digits);
/* A standard error from n samples as a cell of CSV: empty where n < 2, of which no spread is known.
 */
struct cli_figure cli_csv_error(double standard_error, uint64_t n);

#endif
