#include "kernels/ref.h"

#include <float.h>

/* 127 / a group's largest magnitude, from 16 bits of its mantissa rounded up and the quotient
 * rounded down, so that no value exceeds 127. */
static float int8_inverse(uint32_t mantissa, uint32_t exponent)
{
    return vkm_bits_f32(vkm_f32_bits((float)((127u << 24) / mantissa)) + ((118u - exponent) << 23));
}

static float int8_scale(uint32_t mantissa, uint32_t exponent)
{
    float scale = (float)mantissa * (1.0f / 127.0f);
    return vkm_bits_f32(vkm_f32_bits(scale) + ((exponent - 142u) << 23));
}

void vkm_round_int8(const float *values, size_t n, struct vkm_int8_group *group)
{
    uint32_t largest = 0;
    *group = (struct vkm_int8_group){0};
    for (size_t i = 0; i < n; i++)
        largest = vkm_max_u32(largest, vkm_f32_bits(values[i]) & 0x7fffffffu);
    uint32_t exponent = largest >> 23;
    if (exponent == 255)
        group->scale = NAN;
    if (exponent < 27 || exponent == 255)
        return;
    uint32_t mantissa = ((largest & 0x7fffffu) >> 8) + 0x8001u;
    float inverse = int8_inverse(mantissa, exponent);
    group->scale = int8_scale(mantissa, exponent);
    for (size_t i = 0; i < n; i++)
        group->quants[i] = (int32_t)nearbyintf(values[i] * inverse);
}

/* To 11 bits. Those that float16 has denormals for are too small to matter. */
static float round_half(float value)
{
    uint32_t bits = vkm_f32_bits(value);
    return isfinite(value) ? vkm_bits_f32((bits + 0xfffu + (bits >> 13 & 1u)) & ~0x1fffu) : value;
}

/* Up to VKM_GROUP activations, as the path rounds them. */
static void round_activations(enum vkm_rounding rounding, const float *x, size_t n, double *out)
{
    struct vkm_int8_group group;
    if (rounding == VKM_ROUNDING_INT8)
        vkm_round_int8(x, n, &group);
    for (size_t i = 0; i < n; i++) {
        switch (rounding) {
        case VKM_ROUNDING_F16:
        case VKM_ROUNDING_F16_SUMS:
            out[i] = (double)round_half(x[i]);
            break;
        case VKM_ROUNDING_INT8:
            out[i] = (double)group.scale * group.quants[i];
            break;
        default:
            out[i] = (double)x[i];
        }
    }
}

/* Conformance spends most of its time here: a stretch of weights is read at once, and LANES sums
 * side by side let compilers make vectors. */
double vkm_ref_dot(const struct vkm_ref *ref, const void *weights, size_t row, size_t ld,
                   const float *x, size_t n)
{
    enum { LANES = 4 };
    double sums[LANES] = {0};
    for (size_t at = 0; at < n; at += VKM_GROUP) {
        size_t count = n - at < VKM_GROUP ? n - at : VKM_GROUP;
        float w[VKM_GROUP] = {0};
        double values[VKM_GROUP] = {0};
        vkm_row_read(weights, ref->dtype, ld, row, at, count, w);
        round_activations(ref->rounding, x + at, count, values);
        for (size_t i = 0; i < count && ref->rounding == VKM_ROUNDING_F16; i++)
            w[i] = round_half(w[i]);
        for (size_t i = 0; i < VKM_GROUP; i++)
            values[i] *= (double)w[i];
        for (size_t i = 0; i < VKM_GROUP && ref->magnitude; i++)
            values[i] = fabs(values[i]);
        for (size_t i = 0; i < VKM_GROUP; i += LANES)
            for (size_t j = 0; j < LANES; j++)
                sums[j] += values[i + j];
    }
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
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
