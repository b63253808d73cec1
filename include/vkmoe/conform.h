/* Conformance: whether a device and its driver compute mixtures of experts correctly, and if not,
 * which kernel, which shape and which element. */
#ifndef VKMOE_CONFORM_H
#define VKMOE_CONFORM_H

#include "vkmoe/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How much is run. */
typedef enum vkmoe_conform_level {
    VKMOE_CONFORM_QUICK, /* every kernel and variant; some minutes on a CPU driver, of which most go
                            into compiling, and seconds where its shader cache has all */
    VKMOE_CONFORM_FULL,  /* the matrix shapes of real models and longer checks too: many times as
                            long */
} vkmoe_conform_level;

/* What is tested: a kernel in one of its variants, or a check of whole steps. */
typedef struct vkmoe_conform_test {
    const char *kernel;     /* its name; of a check: "routing-parity", "determinism", "barriers",
                               "memory-limit", "exhaustion", "cancel" */
    const char *weights;    /* storage type of the weights or the KV cache ("BF16", ...), or "-" */
    const char *path;       /* vkmoe_path_info.name, or "step" for a check of whole steps */
    uint32_t subgroup_size; /* that it runs with; 0 off the subgroup path */
} vkmoe_conform_test;

/* Bins into which the errors of elements are counted. Bin 0: exact. Bin i, 0 < i: the difference,
 * divided by the root mean square of what is expected, lies below 2^(2 i - 46) and in no bin
 * before; the last but one takes all that is larger, and the last what is NaN, infinite or not
 * written where a number is expected, or the other way round. */
#define VKMOE_CONFORM_BINS 25

/* The element that is worst, or breaks the rule. */
typedef struct vkmoe_conform_element {
    const char *view; /* the output it belongs to; "" where no output was compared */
    uint64_t index;   /* in 32-bit elements */
    double got;       /* what the device wrote */
    double expected;  /* what the float64 reference wrote */
} vkmoe_conform_element;

/* One case as it went. Strings are valid during the callback. */
typedef struct vkmoe_conform_case {
    vkmoe_conform_test test; /* what it is a case of */
    const char *name; /* holds its parameters; with kernel and seed it determines all inputs */
    bool passed;      /* also where it was only listed */
    bool untested;    /* it neither passed nor failed: nothing could be tested, as `note` says */
    const char *sentence; /* what went wrong; "" where nothing did */
    const char *note;     /* what a check of whole steps measured; "" elsewhere */
    const char *bundle;   /* the folder it was exported to; "" where it was not */
    double nmse; /* normalised mean squared error of its worst output; infinite where an element
                    is NaN, infinite or not written and should not be */
    vkmoe_conform_element worst;         /* of that output */
    uint64_t errors[VKMOE_CONFORM_BINS]; /* elements by error */
} vkmoe_conform_case;

/* All cases of a test. Strings are valid during the callback. */
typedef struct vkmoe_conform_result {
    vkmoe_conform_test test; /* what was tested */
    uint32_t cases;          /* run, or listed */
    uint32_t failed;         /* of them */
    uint32_t untested;       /* of them, neither passed nor failed */
    double nmse;             /* the worst */
    const char *worst_case;  /* name of the first that failed, else of the one with that error */
    vkmoe_conform_element worst;         /* its element */
    uint64_t errors[VKMOE_CONFORM_BINS]; /* of all cases */
} vkmoe_conform_result;

/* What is run and who is told. */
typedef struct vkmoe_conform_params {
    const char *kernels; /* shell pattern of kernels and checks; NULL: all */
    const char *cases;   /* shell pattern of case names; NULL: all */
    const char *path;    /* shell pattern of paths, vkmoe_conform_test.path; NULL: all that the
                            device can run and its params do not forbid */
    const char *weights; /* shell pattern of storage types, vkmoe_conform_test.weights; NULL: all */
    uint64_t seed;       /* of all random inputs; at most INT64_MAX */
    vkmoe_conform_level level; /* how many cases */
    bool list;                 /* report every case as passed and run none */
    const char *model; /* folder of a model for the checks of whole steps, besides random ones
                          of their own; NULL: none */
    /* What sessions of those checks keep keys and values as; but the one that compares with the
     * reference device has float32, as a number between two roundings may go either way. Kernels
     * are tested with every kind. */
    vkmoe_kv kv;
    const char *export_dir; /* folder, made if need be, for bundles of cases of kernels that fail,
                               the first ten of each variant, also of one that loses the device;
                               with `list` of the first ten listed, which are not run, so that one
                               on which a driver crashes can be handed on; NULL: none */
    /* Kernels are tested on so many devices opened at the same time, each in a thread of its own,
     * at most 4, on a CPU driver with the checks of whole steps beside them; 0: there as many as
     * there are processors, else one. With one, everything is done in the calling thread, one after
     * the other. What is found is the same, and is told in the same order. */
    uint32_t jobs;
    /* Asked before each case and now and then within the long ones; true ends the run with
     * CANCELLED after what has begun. NULL: never. */
    bool (*stops)(void *user);
    void (*on_device)(void *user, const vkmoe_device_info *device); /* first; NULL: none */
    void (*on_case)(void *user, const vkmoe_conform_case *c);       /* NULL: none */
    void (*on_result)(void *user, const vkmoe_conform_result *r); /* after its cases; NULL: none */
    void *user; /* handed to the callbacks, which come from the calling thread */
} vkmoe_conform_params;

/* Cases in all. */
typedef struct vkmoe_conform_totals {
    uint32_t cases;    /* run, or listed */
    uint32_t failed;   /* of them */
    uint32_t untested; /* of them, neither passed nor failed */
} vkmoe_conform_totals;

/* Opens the device (device may be NULL) and runs what params ask for, without vkmoe's pipeline
 * cache, so that every shader is compiled by the driver at hand; device->check_addresses runs the
 * kernels with every address checked. A case that fails is counted in *totals and reported; the
 * status tells only that the suite could not begin or go on: the device could not be opened or was
 * lost or is the reference itself, memory ran out, a bundle could not be written, or params->stops
 * said so (CANCELLED; *totals are of what was run). With a log, each case is named at level DEBUG
 * before it is run: with one job, the last one is where a driver crashed.
 * Different devices may be tested at the same time in different threads. */
vkmoe_status vkmoe_conform_run(const vkmoe_device_params *device,
                               const vkmoe_conform_params *params, vkmoe_conform_totals *totals,
                               vkmoe_error *err);

/* Which suite this is: *suite is a hash over the SPIR-V of all kernels, how they are launched, and
 * the names of all cases of every level on the path "base". What reports with the same one say was
 * asked in the same words of the same shaders; builds with another GLSL compiler differ. Needs no
 * Vulkan. Fails with OUT_OF_HOST_MEMORY alone. Thread-safe. */
vkmoe_status vkmoe_conform_suite(uint64_t *suite, vkmoe_error *err);

/* Runs the case that was exported to `folder` alone, from the files there. Only the callbacks of
 * params are used. Fails also with NOT_FOUND, IO or BAD_FORMAT for what is in the folder, and with
 * UNSUPPORTED where the device lacks the subgroup size, the limits or a capability of SPIR-V that
 * the case needs. */
vkmoe_status vkmoe_conform_replay(const vkmoe_device_params *device, const char *folder,
                                  const vkmoe_conform_params *params, vkmoe_conform_totals *totals,
                                  vkmoe_error *err);

#ifdef __cplusplus
}
#endif

#endif
