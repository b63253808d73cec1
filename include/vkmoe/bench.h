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
    uint32_t prompt;            /* tokens of a prompt that are evaluated; 0: none */
    uint32_t generate;          /* tokens that are generated, greedily; 0: none */
    uint32_t depth;             /* tokens in the sequence before either */
    uint32_t batch;             /* sequences that generate together, one row of each in every step,
                                   each `generate` tokens; 0: 1. Prompts are of one sequence. */
    uint32_t chunk;             /* prompt tokens computed in one step; 0: 256 */
    uint32_t experts_per_token; /* routed ones; 0: the model's */
    uint32_t repetitions;       /* measured; one more goes before. 0: 5 */
    bool profile;               /* also the time of every kernel, in two more repetitions */
    /* Called before each repetition with how many are done, and again after each of its steps with
     * the same; false ends the measurement with CANCELLED. NULL: none. */
    bool (*progress)(void *user, uint32_t done, uint32_t total);
    void *user; /* handed to progress */
} vkmoe_bench_params;

/* What a device can do at most in a second. */
typedef struct vkmoe_bench_peak {
    double measured; /* by a short kernel that does nothing else, or what another was seen to do */
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
    double operations;   /* that it has to compute */
    double share;        /* of the peak that it is nearer to, memory's or arithmetic's; more than 1
                            where caches hold what it reads */
} vkmoe_bench_kernel;

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
    uint32_t dispatches;         /* of one step */
    uint32_t barriers;           /* of one step */
    double dispatches_per_token;
    double barriers_per_token;
    /* Seconds of the host for each token, in the repetitions that count, without profiling: */
    double record_seconds; /* describing steps and encoding them, */
    double submit_seconds; /* handing them to the device and taking results, */
    double wait_seconds;   /* and waiting for the device */
    uint32_t n_kernels;    /* entries that follow; 0 unless a profile was asked for */
    vkmoe_bench_kernel kernels[VKMOE_BENCH_MAX_KERNELS]; /* by falling time */
} vkmoe_bench_result;

/* Measures prompts into *prompt and generation into *generate; what was not asked for is zeroed.
 * Fails with INVALID_ARGUMENT where neither is, CANCELLED, OUT_OF_DEVICE_MEMORY where the sequences
 * find no room, or what the device reports. */
vkmoe_status vkmoe_bench_run(vkmoe_model *model, const vkmoe_bench_params *params,
                             vkmoe_bench_result *prompt, vkmoe_bench_result *generate,
                             vkmoe_error *err);

#ifdef __cplusplus
}
#endif

#endif
