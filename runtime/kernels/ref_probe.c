/* Kernels that only measure. */
#include "kernels/ref.h"

void vkm_ref_probe_read(const struct vkm_ref *ref, const void *params)
{
    const struct vkm_params_probe_read *p = params;
    const uint32_t *x = vkm_ref_in(ref, &p->x);
    uint32_t *y = vkm_ref_out(ref, &p->y);
    for (size_t i = 0; i < p->count; i++) {
        y[i] = 0;
        for (size_t quad = i; quad < p->quads; quad += p->count)
            for (size_t word = 0; word < 4; word++)
                y[i] ^= x[4 * quad + word];
    }
}

void vkm_ref_probe_fma(const struct vkm_ref *ref, const void *params)
{
    const struct vkm_params_probe_fma *p = params;
    float *y = vkm_ref_out(ref, &p->y);
    for (uint32_t i = 0; i < p->count; i++) {
        double sum = 0;
        for (uint32_t c = 0; c < VKM_PROBE_CHAINS; c++) {
            double v = (i % 64 + c) / 64.0;
            for (uint64_t n = (uint64_t)p->rounds * VKM_PROBE_UNROLL; n > 0; n--)
                v = v * (double)p->factor + (double)p->addend;
            sum += v;
        }
        y[i] = (float)sum;
    }
}
