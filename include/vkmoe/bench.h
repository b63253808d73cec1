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
    uint32_t prompt;       /* tokens of a prompt that are evaluated; 0: none */
    uint32_t generate;     /* tokens that are generated, greedily; 0: none */
    uint32_t depth;        /* tokens in the sequence before either */
    uint32_t chunk;        /* prompt tokens computed in one step; 0: 256 */
    vkmoe_routing routing; /* as for a session */
    uint32_t repetitions;  /* measured; one more goes before. 0: 5 */
    bool profile;          /* also the time of every kernel, in one more repetition */
    /* Called before each repetition, with how many there are; false ends the measurement with
     * CANCELLED. NULL: none. */
    bool (*progress)(void *user, uint32_t done, uint32_t total);
    void *user; /* handed to progress */
} vkmoe_bench_params;

/* What one kernel took of one pass over a prompt, or of one generated token. */
typedef struct vkmoe_bench_kernel {
    const char *name;    /* static storage */
    uint32_t dispatches; /* of it */
    double seconds;      /* on the device */
} vkmoe_bench_kernel;

/* At least as many as there are kernels. */
#define VKMOE_BENCH_MAX_KERNELS 64

/* What was measured of prompts, or of generation. */
typedef struct vkmoe_bench_result {
    uint32_t tokens;         /* of one repetition */
    uint32_t repetitions;    /* that count */
    double mean;             /* tokens per second */
    double deviation;        /* of the repetitions, standard, same unit */
    double weight_bytes;     /* read for a token that is generated; 0 for a prompt */
    double kv_bytes;         /* of the KV cache, likewise, on average */
    double bytes_per_second; /* both together at the mean rate */
    double read_bandwidth;   /* bytes a second that one product with a large matrix reads */
    uint32_t dispatches;     /* of one step */
    uint32_t barriers;       /* of one step */
    uint32_t n_kernels;      /* entries that follow; 0 unless a profile was asked for */
    vkmoe_bench_kernel kernels[VKMOE_BENCH_MAX_KERNELS]; /* by falling time */
} vkmoe_bench_result;

/* Measures prompts into *prompt and generation into *generate; what was not asked for is zeroed.
 * Fails with INVALID_ARGUMENT where neither is, CANCELLED, or what the device reports. */
vkmoe_status vkmoe_bench_run(vkmoe_model *model, const vkmoe_bench_params *params,
                             vkmoe_bench_result *prompt, vkmoe_bench_result *generate,
                             vkmoe_error *err);

#ifdef __cplusplus
}
#endif

#endif
