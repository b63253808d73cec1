/* Every kernel as the launch table sends it out, without a model: for tests that look at pipelines.
 */
#ifndef VKM_TEST_LAUNCHES_H
#define VKM_TEST_LAUNCHES_H

#include "kernels/ops.h"

struct test_launch {
    enum vkm_kernel_id kernel;
    enum vkm_dtype dtype; /* of the weights */
    uint32_t n_rows;      /* batch rows */
    uint32_t head_dim;
};

/* Records one dispatch with the sizes of a 16B model (by parameter name; what has no known name
 * gets 64; grouped products with the highest tiles). Its views lie in a buffer without memory: the
 * stream may be compiled, never run. */
void test_record_launch(struct vkm_recorder *r, struct test_launch launch);

/* Whether the launch table sends out this variant on a device of these caps. */
bool test_is_launched(const struct vkm_caps *caps, enum vkm_kernel_id kernel,
                      const struct vkm_variant *variant);

#endif
