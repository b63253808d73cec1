#include "kernels/ref.h"

#include <float.h>

double vkm_ref_dot(const struct vkm_ref *ref, const void *weights, size_t row, size_t ld,
                   const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += vkm_ref_weight(ref, weights, row, ld, i) * vkm_ref_f32(ref, x, i);
    return sum;
}

void vkm_ref_pad(float *row, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        row[i] = 0;
}

const void *vkm_ref_expert(const struct vkm_ref *ref, const uint32_t *experts, uint32_t id,
                           uint32_t n_experts)
{
    if (id >= n_experts)
        return NULL;
    uint64_t address = (uint64_t)experts[2 * id + 1] << 32 | experts[2 * id];
    return ref->address(ref->user, address);
}

uint32_t vkm_ref_order_key(float value)
{
    uint32_t bits = vkm_f32_bits(value);
    uint32_t size = bits & 0x7fffffffu;
    if (size > 0x7f800000u)
        return 0;
    return bits >> 31 && size > 0 ? ~bits : 0x80000000u + size;
}

double vkm_ref_largest(const float *logits, size_t begin, size_t end)
{
    double largest = -(double)FLT_MAX;
    for (size_t i = begin; i < end; i++)
        if ((double)logits[i] > largest)
            largest = (double)logits[i];
    return largest > (double)FLT_MAX ? (double)FLT_MAX : largest;
}

double vkm_ref_exp(float logit, double largest, double factor)
{
    if (isnan(logit))
        return 0;
    double finite = fmax(fmin((double)logit, (double)FLT_MAX), -(double)FLT_MAX);
    double x = (finite - largest) * factor;
    return exp(x < -100 ? -100 : x > 0 ? 0 : x);
}
