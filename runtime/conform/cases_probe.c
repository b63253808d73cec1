/* Cases of the kernels that only measure. */
#include "conform/case.h"

void vkm_cases_probe_read(struct vkm_suite *s)
{
    static const uint32_t shapes[][2] = {{1, 1},     {1, 7},     {7, 1},       {127, 128},
                                         {129, 128}, {1025, 64}, {1407, 1000}, {100000, 513}};
    for (size_t i = 0; i < VKM_COUNT(shapes); i++) {
        uint32_t quads = shapes[i][0], count = shapes[i][1];
        if (!vkm_case(s, "quads=%u count=%u", quads, count))
            continue;
        struct vkm_params_probe_read p = {
            .x = vkm_case_uints(s, 4 * (uint64_t)quads, UINT32_MAX),
            .y = vkm_case_output(s, count),
            .quads = quads,
            .count = count,
        };
        vkm_case_run(s, (struct vkm_launch){.n_rows = 1}, &p);
    }
}

void vkm_cases_probe_fma(struct vkm_suite *s)
{
    static const uint32_t shapes[][2] = {{0, 1},     {1, 127},  {2, 129},
                                         {13, 1000}, {100, 64}, {1000, 33}};
    for (size_t i = 0; i < VKM_COUNT(shapes); i++) {
        uint32_t rounds = shapes[i][0], count = shapes[i][1];
        if (!vkm_case(s, "rounds=%u count=%u", rounds, count))
            continue;
        struct vkm_params_probe_fma p = {
            .y = vkm_case_output(s, count),
            .rounds = rounds,
            .count = count,
            .factor = 0.75f,
            .addend = -1.5f,
        };
        vkm_case_run(s, (struct vkm_launch){.n_rows = 1}, &p);
    }
}
