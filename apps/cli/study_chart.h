/* The loss against how many experts are passed over, or active; and the speed. */
#ifndef VKMOE_CLI_STUDY_CHART_H
#define VKMOE_CLI_STUDY_CHART_H

#include <stddef.h>

struct study_chart {
    const char *title, *subtitle; /* UTF-8 */
    const char *across;           /* what the values of x count */
    size_t count;              /* points, at least 1, the first of which others are compared with */
    const double *x;           /* [count], in any order */
    const double *nll, *error; /* [count]: loss, and half the width of its interval, or NaN */
    const double *rate;        /* [count]: tokens generated per second; NULL: not measured */
    const double *rate_deviation; /* [count]: its standard deviation, where it was measured */
};

/* Draws it, as drawing_write does. Returns an exit code, after saying why. */
int study_chart_draw(const struct study_chart *chart, const char *path);

#endif
