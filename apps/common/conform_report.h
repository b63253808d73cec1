/* The outcome of a conformance run, kept to be shown and written: what the programs that run the
 * suite share. */
#ifndef VKMOE_CONFORM_REPORT_H
#define VKMOE_CONFORM_REPORT_H

#include <stdio.h>

#include <vkmoe/vkmoe.h>

/* One case. Strings are malloc'ed. */
struct conform_case {
    char *name, *sentence, *note, *bundle;
    bool failed, untested; /* neither: it passed */
    double nmse;
    char view[64];
    vkmoe_conform_element worst; /* its `view` is not used: above */
};

/* All cases of a kernel's variant, or of a check. */
struct conform_test {
    char kernel[64], weights[16], path[16];
    uint32_t subgroup_size;
    struct conform_case *cases;
    size_t n_cases, capacity;
    uint32_t failed, untested; /* of them */
    double nmse;
    size_t worst; /* index of the case */
    uint64_t errors[VKMOE_CONFORM_BINS];
};

struct conform_device {
    vkmoe_device_info info;
    struct conform_test *tests;
    size_t n_tests, capacity;
    vkmoe_conform_totals totals;
    double seconds;
    vkmoe_error error; /* why the suite did not end; message "" where it did */
};

struct conform_report {
    uint64_t suite; /* vkmoe_conform_suite */
    uint64_t seed;
    bool full;
    const char *model;  /* that was asked for, or NULL */
    const char *replay; /* the folder that was run, or NULL */
    bool check_addresses, no_subgroups, validation;
    uint32_t tiled_rows; /* 0: not given */
    struct conform_device *devices;
    size_t n_devices;
};

/* Adds a case to the device's newest test, or to a new one; false when memory ran out. */
bool conform_record_case(struct conform_device *d, const vkmoe_conform_case *c);
/* Takes over what the suite says of the newest test. */
void conform_record_result(struct conform_device *d, const vkmoe_conform_result *r);
void conform_report_free(struct conform_report *r);
bool conform_report_passed(const struct conform_report *r);

/* "passed", "failed" or "not tested". */
const char *conform_state(const struct conform_case *c);
/* "base", "subgroup 8": the path with its size. */
const char *conform_path(const struct conform_test *t, char text[32]);
/* What was asked for besides, as it stands in a command: " --no-subgroups"; or nothing. */
void conform_flags(FILE *to, const struct conform_report *r);
/* The command that runs a case again. */
void conform_command(FILE *to, const struct conform_report *r, const struct conform_device *d,
                     const struct conform_test *t, const struct conform_case *c);
/* "y[37]: got 1, expected 2"; nothing where no element was compared. */
void conform_element(FILE *to, const struct conform_case *c);

/* The report as one page that needs nothing but itself, in UTF-8: malloc'ed, zero-terminated, its
 * length in *size. NULL when memory ran out. */
char *conform_html(const struct conform_report *r, size_t *size);

#endif
