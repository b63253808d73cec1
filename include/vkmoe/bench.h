/* How fast a model runs on a device. */
#ifndef VKMOE_BENCH_H
#define VKMOE_BENCH_H

#include "vkmoe/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A model of any shape whose weights are made up on the device, BF16 or as params->weights says:
 * for measuring without a file. `config` is what vkmoe_model_describe takes, of weights beside it
 * nothing is used; layers: only the first so many, 0: all. Otherwise like vkmoe_model_load. */
vkmoe_status vkmoe_model_invent(vkmoe_device *device, const char *config, uint32_t layers,
                                const vkmoe_model_params *params, vkmoe_model **out,
                                vkmoe_error *err);

/* What is measured. */
typedef struct vkmoe_bench_params {
    uint32_t prompt;   /* tokens of a prompt that are evaluated; 0: none */
    uint32_t generate; /* tokens that are generated, greedily; 0: none */
    uint32_t depth;    /* tokens in the sequence before either */
    uint32_t batch;    /* sequences that generate together, one row of each in every step,
                          each `generate` tokens; 0: 1. Prompts are of one sequence. */
    uint32_t chunk;    /* prompt tokens computed in one step; 0: on GPUs the largest of 512, 1024
                          and 2048 that leaves room in memory, else 256 */
    vkmoe_routing routing; /* as for a session */
    vkmoe_kv kv;           /* what keys and values are kept as */
    uint32_t repetitions;  /* measured; one more goes before. 0: 5 */
    bool profile;          /* also the time of every kernel, in two more repetitions */
    bool count_routing;    /* also what it costs to count routes while tokens are generated */
    /* Called before each repetition with how many are done, and again after each of its steps with
     * the same; false ends the measurement with CANCELLED. NULL: none. */
    bool (*progress)(void *user, uint32_t done, uint32_t total);
    void *user; /* handed to progress */
} vkmoe_bench_params;

/* What a device can do at most in a second. */
typedef struct vkmoe_bench_peak {
    double measured; /* by a short kernel that does nothing else, or what another was seen to do:
                        on CPU drivers any that takes a twentieth of the time */
    double nominal;  /* as its maker says; 0: not known */
    double rate;     /* what shares are of: the larger of `measured` and 80 % of `nominal` */
} vkmoe_bench_peak;

/* What one kernel took of one pass over a prompt, or of one generated step. Bytes are counted once
 * for each dispatch, however often it reads them: weights of an expert once if any row chose it (as
 * the device routed in this very repetition), keys and values once for all rows of a sequence. A
 * multiply-add is two operations. */
typedef struct vkmoe_bench_kernel {
    const char *name;    /* static storage */
    uint32_t dispatches; /* of it */
    double seconds;      /* on the device */
    double bytes;        /* that it has to move */
    double weight_bytes; /* of them, of the matrices of products */
    double operations;   /* that it has to compute */
    bool unit_unknown;   /* it computes in units whose peak is not known (int8, matrix units): its
                            share is of memory's peak alone, so that it is larger or the same */
    double share;        /* of the peak that it is nearer to, memory's or arithmetic's; more than 1
                            where a GPU's caches hold what it reads */
} vkmoe_bench_kernel;

/* What a session's count_routing costs: one that counts and one that does not generate the same
 * tokens in turns of eight or fewer, as many pairs as eights are in what repetitions generate. */
typedef struct vkmoe_bench_counting {
    uint32_t pairs; /* of turns; 0: not measured */
    double ratio;   /* seconds with counting over seconds without, the median of pairs */
    double low;     /* where its interval of at least 95 %, by order statistics, begins; 0 for
                     * fewer than 6 pairs */
    double high;    /* and where it ends, likewise */
} vkmoe_bench_counting;

/* At least as many as there are kernels. */
#define VKMOE_BENCH_MAX_KERNELS 64

/* What was measured of prompts, or of generation. */
typedef struct vkmoe_bench_result {
    uint32_t tokens;             /* of one repetition, of all sequences */
    uint32_t batch;              /* sequences that generate together; 1 for a prompt */
    uint32_t repetitions;        /* that count */
    double mean;                 /* tokens per second, of all sequences */
    double deviation;            /* of the repetitions, standard, same unit; 0 for a single one */
    double weight_bytes;         /* read in a step of generation: of experts only those that a row
                                    chose, by the newest step where there are several; 0 for a prompt */
    double kv_bytes;             /* of the KV cache, likewise, on average */
    double bytes_per_second;     /* both together at the mean rate */
    double read_bandwidth;       /* bytes a second that one product with a large matrix reads */
    vkmoe_bench_peak memory;     /* bytes a second */
    vkmoe_bench_peak arithmetic; /* float32 operations a second, off any matrix units */
    /* Of the steps of generation whose kernels were timed; 0: of a prompt, or not profiled. By the
     * clock, what one took: from where it was started, or the one before it had ended, until it had
     * ended itself, pauses between kernels and the host's part in handing it over among it. */
    double step_seconds;
    /* And that over what its weights alone would take at the rates that the kernels which read them
     * had in those very steps, so never less than 1; also 0 where the device has no clock. */
    double step_over_weights;
    uint32_t dispatches;         /* of one step */
    uint32_t barriers;           /* of one step */
    double dispatches_per_token; /* those of all steps */
    double barriers_per_token;   /* likewise */
    /* Seconds of the host for each token, in the repetitions that count, without profiling: */
    double record_seconds;         /* describing steps and encoding them, */
    double submit_seconds;         /* handing them to the device and taking results, */
    double wait_seconds;           /* and waiting for the device */
    vkmoe_bench_counting counting; /* of one sequence that generates, where it was asked for */
    uint32_t n_kernels;            /* entries that follow; 0 unless a profile was asked for */
    vkmoe_bench_kernel kernels[VKMOE_BENCH_MAX_KERNELS]; /* by falling time */
} vkmoe_bench_result;

/* Measures prompts into *prompt and generation into *generate; what was not asked for is zeroed.
 * Fails with INVALID_ARGUMENT where neither is, or where routes are to be counted but no tokens to
 * be generated or no experts to be routed to; CANCELLED, OUT_OF_DEVICE_MEMORY where the sequences
 * find no room, or what the device reports. */
vkmoe_status vkmoe_bench_run(vkmoe_model *model, const vkmoe_bench_params *params,
                             vkmoe_bench_result *prompt, vkmoe_bench_result *generate,
                             vkmoe_error *err);

/* How launches are tuned. */
typedef struct vkmoe_tune_params {
    double seconds; /* to be done in, the compilation of one candidate more or less; 0: 40 */
    /* Called after each pair of runs with what is being tried (static storage) and the share of the
     * time that is over; false ends it with CANCELLED. NULL: none. */
    bool (*progress)(void *user, const char *what, double share);
    void *user; /* handed to progress */
} vkmoe_tune_params;

/* A launch that won over the library's own, and whether it did so again when it was proved. */
typedef struct vkmoe_tune_choice {
    const char *name;    /* of the kernel, or of what else is chosen; static storage */
    const char *weights; /* storage type that it is for; NULL: any; static storage */
    uint32_t from[2]; /* lanes of a workgroup, and outputs of a team where the kernel has those; or
                         the value, and 0 */
    uint32_t to[2];   /* likewise */
    double ratio;     /* of times, the median of pairs: below 1 is faster */
    double noise;     /* that a ratio of 1 may be off by */
    bool kept;        /* faster by more than the noise, and by 3 % at least */
} vkmoe_tune_choice;

/* Far more than there are kernels and settings. */
#define VKMOE_TUNE_MAX_CHOICES 64

/* What tuning found. */
typedef struct vkmoe_tune_result {
    uint32_t candidates; /* that were compared with the library's launches; 0: there was no time */
    uint32_t n_choices;  /* entries that follow */
    vkmoe_tune_choice choices[VKMOE_TUNE_MAX_CHOICES]; /* kernels first */
    double seconds;                                    /* that it took */
    char file[4096]; /* where the choices are kept; "" if it failed */
} vkmoe_tune_result;

/* Measures other launches of kernels than the library's own on the model's device and weights, each
 * in turns with those, and writes what was kept, maybe nothing, to a file in the cache folder. What
 * is there already for other types of weights stays. A device that is opened later goes by it
 * (vkmoe_device_info.tuned), as long as device, driver version and library are the same and
 * no_tuning is not set; this one, and any that is open, goes on as it was opened. Results may
 * differ in rounding between tuned and not; the same file gives the same bits. Fails with
 * UNSUPPORTED where the device has no clock, NOT_FOUND where there is no cache folder, IO,
 * CANCELLED, or what the device reports; the file that was there is then left alone. */
vkmoe_status vkmoe_bench_tune(vkmoe_model *model, const vkmoe_tune_params *params,
                              vkmoe_tune_result *result, vkmoe_error *err);

#ifdef __cplusplus
}
#endif

#endif
