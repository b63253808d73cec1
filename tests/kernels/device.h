/* Opening the device under test, and counting what it complains about. */
#ifndef TEST_DEVICE_H
#define TEST_DEVICE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/gpu.h"
#include "kernels/kernels.h"

struct test_device {
    struct vkm_gpu *gpu;
    vkmoe_log log;
    atomic_uint errors; /* lines logged as errors, validation messages among them */
};

static inline void test_device_log(void *user, vkmoe_log_level level, const char *line)
{
    struct test_device *d = user;
    if (level == VKMOE_LOG_ERROR) {
        atomic_fetch_add(&d->errors, 1);
        fprintf(stderr, "error: %s\n", line);
    }
}

/* Opens the device that VKMOE_DEVICE selects, or the default one, with validation and mapped
 * memory. */
static inline int test_device_open(struct test_device *d, const struct vkm_kernel_set *set,
                                   bool check_addresses)
{
    vkmoe_error err = {0};
    *d = (struct test_device){.log = {test_device_log, d}};
    struct vkm_gpu_params params = {
        .log = &d->log,
        .selector = getenv("VKMOE_DEVICE"),
        .validation = true,
        .check_addresses = check_addresses,
        .host_visible = true,
        .cache_dir = "",
    };
    if (vkm_gpu_open(&params, set, &d->gpu, &err) == VKMOE_OK)
        return 0;
    fprintf(stderr, "error: %s\n", err.message);
    return 1;
}

static inline int test_device_close(struct test_device *d)
{
    vkm_gpu_close(d->gpu);
    d->gpu = NULL;
    return atomic_load(&d->errors) == 0 ? 0 : 1;
}

#endif
