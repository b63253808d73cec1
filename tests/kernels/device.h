/* A device under test. */
#ifndef TEST_DEVICE_H
#define TEST_DEVICE_H

#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "gpu/gpu.h"
#include "kernels/kernels.h"

struct test_device {
    struct vkm_gpu *gpu;
    struct test_log log;
};

/* Opens the device that VKMOE_DEVICE selects, or the default one, with validation and mapped
 * memory. The result is what a cmocka fixture returns. */
static inline int test_device_open(struct test_device *d, const struct vkm_kernel_set *set,
                                   bool check_addresses)
{
    vkmoe_error err = {0};
    test_log_init(&d->log);
    struct vkm_gpu_params params = {
        .log = &d->log.log,
        .selector = getenv("VKMOE_DEVICE"),
        .validation = true,
        .check_addresses = check_addresses,
        .host_visible = true,
        .all_paths = true,
        .cache_dir = "",
    };
    if (vkm_gpu_open(&params, set, &d->gpu, &err) == VKMOE_OK)
        return 0;
    print_error("%s\n", err.message);
    return 1;
}

/* Fails if the device or the validation layer complained. */
static inline int test_device_close(struct test_device *d)
{
    vkm_gpu_close(d->gpu);
    d->gpu = NULL;
    return d->log.errors == 0 ? 0 : 1;
}

#endif
