/* What `vkmoe bench` shares: its options, and how results are put. */
#ifndef VKMOE_CLI_BENCH_H
#define VKMOE_CLI_BENCH_H

#include "cli.h"

struct bench_options {
    struct cli_common common;
    const char *config, *svg;
    uint64_t layers, prompt, generate, depth, batch, repetitions;
    bool profile, count_routing, tune, as_json;
    bool measures; /* -p, -n, -d, -b or -r were given */
};

/* What was measured, and on what. */
struct bench_results {
    const struct bench_options *options;
    const char *model;
    const vkmoe_device_info *device;
    vkmoe_weights weights;               /* what they are in memory */
    vkmoe_bench_result prompt, generate; /* zeroed where not asked for */
};

#define BENCH_NAME_SIZE 64
/* "pp512", "tg128", "tg16b8@d4096". */
void bench_name(char name[BENCH_NAME_SIZE], const struct bench_options *o, bool prompt);

/* --- bench_output.c --- */

void bench_print_table(const struct bench_results *r);
/* Both return an exit code, after saying why. */
int bench_print_json(const struct bench_results *r);

/* --- bench_tune.c --- */

/* Tunes the model's device in place of measuring; of `about` no results are used. An exit code. */
int bench_tune(const struct bench_results *about, vkmoe_model *model);

/* --- bench_chart.c --- */

/* Writes bars of time per kernel, a panel for each test, as SVG. */
int bench_draw(const struct bench_results *r, const char *path);

#endif
