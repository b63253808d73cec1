/* Devices under test, and a small computation to give them. */
#ifndef GPU_FIXTURE_H
#define GPU_FIXTURE_H

#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/recorder.h"
#include "gpu/vk.h"
#include "kernels/ops.h"

/* The device that VKMOE_DEVICE selects, or the default one, with validation and without a cache. */
struct vkm_gpu_params gpu_test_params(struct test_log *log);
/* Fails the test if it cannot be opened. */
struct vkm_gpu *gpu_test_open(const struct vkm_gpu_params *params);
/* Closes it, and fails the test if anything was held or complained about. */
void gpu_test_close(struct vkm_gpu *gpu, const struct test_log *log);

/* A vector multiplied by a matrix over and over; at last the best of its first 64 elements. */
struct workload {
    struct vkm_gpu *gpu;
    uint32_t size, steps;
    struct vkm_buffer *matrix, *x, *y, *probs, *ids, *gates;
    struct vkm_stream stream;
    struct vkm_recorder recorder;
};

void workload_init(struct workload *w, struct vkm_gpu *gpu, uint32_t size, uint32_t steps);
void workload_finish(struct workload *w);
/* Uploads the inputs. */
void workload_fill(struct workload *w);
/* A hash of all outputs. */
uint64_t workload_result(struct workload *w);
/* Fills, encodes, runs, and returns the result. */
uint64_t workload_run(struct workload *w);

uint32_t test_random(uint64_t *state);
double test_seconds(void); /* a clock that only goes forward */

#endif
