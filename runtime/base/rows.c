#include "base/rows.h"

#include <string.h>

/* By dtype: bits of a quant, and how many f16 go with a group; zeros where it is not quantised. */
static const struct {
    uint32_t bits, scales;
} formats[VKM_DTYPE_COUNT] = {
    [VKM_DTYPE_Q8] = {8, 1},
    [VKM_DTYPE_Q4] = {4, 2},
};

#define Q8_MAX 127
#define Q4_MAX 15
#define F16_MAX 65504.0f

bool vkm_dtype_is_quantised(enum vkm_dtype dtype)
{
    return formats[dtype].bits > 0;
}

static size_t quant_bytes(enum vkm_dtype dtype, size_t n)
{
    return n * formats[dtype].bits / 8;
}

uint64_t vkm_row_bytes(enum vkm_dtype dtype, uint64_t ld)
{
    if (!vkm_dtype_is_quantised(dtype))
        return ld * vkm_dtype_size(dtype);
    uint64_t scales = ld / VKM_GROUP * formats[dtype].scales * sizeof(uint16_t);
    return vkm_align_up(quant_bytes(dtype, ld) + scales, 16);
}

/* --- one group --- */

struct group {
    float scale, minimum; /* as f16 holds them */
    uint8_t quants[VKM_GROUP];
};

/* Where the f16 of a group begin. */
static size_t scales_at(enum vkm_dtype dtype, size_t ld, size_t group)
{
    return quant_bytes(dtype, ld) + group * formats[dtype].scales * sizeof(uint16_t);
}

/* The half of a byte that element i of a group of Q4 lies in, and the byte. */
static size_t q4_byte(size_t i)
{
    return i / 8 * 4 + i % 4;
}

static uint32_t q4_shift(size_t i)
{
    return i % 8 < 4 ? 0 : 4;
}

float vkm_row_load(const void *row, enum vkm_dtype dtype, size_t ld, size_t i)
{
    if (!vkm_dtype_is_quantised(dtype))
        return vkm_load_f32(row, dtype, i);
    const uint8_t *bytes = row;
    const uint8_t *quants = bytes + quant_bytes(dtype, i / VKM_GROUP * VKM_GROUP);
    uint16_t scales[2] = {0};
    memcpy(scales, bytes + scales_at(dtype, ld, i / VKM_GROUP),
           formats[dtype].scales * sizeof(*scales));
    i %= VKM_GROUP;
    if (dtype == VKM_DTYPE_Q8)
        return vkm_f16_f32(scales[0]) * (float)(int8_t)quants[i];
    int q = quants[q4_byte(i)] >> q4_shift(i) & Q4_MAX;
    return vkm_f16_f32(scales[0]) * (float)q + vkm_f16_f32(scales[1]);
}

/* --- rounding --- */

/* The f16 next to a value; the largest where it is beyond. */
static float to_f16(float value)
{
    return vkm_f16_f32(vkm_f32_f16(fmaxf(-F16_MAX, fminf(F16_MAX, value))));
}

/* The scale of a group that reaches `largest` with q = steps: rounded up where f16 is too coarse
 * for that (below 2^-14), or the largest quant would be cut off. */
static float scale_for(float largest, float steps)
{
    uint16_t h = vkm_f32_f16(fminf(largest / steps, F16_MAX));
    return vkm_f16_f32(vkm_f16_f32(h) * (steps + 0.5f) < largest && h < 0x7bffu ? (uint16_t)(h + 1)
                                                                                : h);
}

/* x to the nearest integer in [0, most]. */
static int nearest(float x, int most)
{
    return x <= 0 ? 0 : x >= (float)most ? most : (int)(x + 0.5f);
}

static bool quantise_q8(const float *x, size_t n, struct group *g)
{
    float largest = 0;
    for (size_t i = 0; i < n; i++)
        largest = fmaxf(largest, fabsf(x[i]));
    *g = (struct group){.scale = scale_for(largest, Q8_MAX)};
    float inverse = g->scale > 0 ? 1 / g->scale : 0;
    for (size_t i = 0; i < n; i++) {
        int q = nearest(fabsf(x[i]) * inverse, Q8_MAX);
        g->quants[i] = (uint8_t)(x[i] < 0 ? -q : q);
    }
    return largest <= F16_MAX * Q8_MAX;
}

/* Rounds x to a scale and a minimum; returns the sum of squared errors. */
static float round_q4(const float *x, size_t n, float scale, float minimum, struct group *g)
{
    float error = 0, inverse = scale > 0 ? 1 / scale : 0;
    g->scale = scale;
    g->minimum = minimum;
    for (size_t i = 0; i < n; i++) {
        int q = nearest((x[i] - minimum) * inverse, Q4_MAX);
        float off = scale * (float)q + minimum - x[i];
        g->quants[i] = (uint8_t)q;
        error += off * off;
    }
    return error;
}

/* The scale and minimum that suit the quants of g best, in least squares; false where all quants
 * are alike. */
static bool refit_q4(const float *x, size_t n, const struct group *g, float *scale, float *minimum)
{
    float sum_q = 0, sum_qq = 0, sum_x = 0, sum_qx = 0, count = (float)n;
    for (size_t i = 0; i < n; i++) {
        float q = (float)g->quants[i];
        sum_q += q;
        sum_qq += q * q;
        sum_x += x[i];
        sum_qx += q * x[i];
    }
    float determinant = count * sum_qq - sum_q * sum_q;
    if (determinant <= 0)
        return false;
    *scale = to_f16((count * sum_qx - sum_q * sum_x) / determinant);
    *minimum = to_f16((sum_x - *scale * sum_q) / count);
    return *scale > 0;
}

#define Q4_REFITS 3 /* each lowers the error; later ones hardly */

static bool quantise_q4(const float *x, size_t n, struct group *g)
{
    float low = x[0], high = x[0], scale, minimum;
    for (size_t i = 1; i < n; i++) {
        low = fminf(low, x[i]);
        high = fmaxf(high, x[i]);
    }
    struct group next = {0};
    minimum = to_f16(low);
    *g = next;
    float error = round_q4(x, n, scale_for(high - minimum, Q4_MAX), minimum, g);
    for (int i = 0; i < Q4_REFITS && refit_q4(x, n, g, &scale, &minimum); i++) {
        float lower = round_q4(x, n, scale, minimum, &next);
        if (lower >= error)
            break;
        error = lower;
        *g = next;
    }
    return fmaxf(-low, high) <= F16_MAX;
}

/* --- rows --- */

static void put_group(uint8_t *bytes, enum vkm_dtype dtype, size_t ld, size_t group,
                      const struct group *g)
{
    uint8_t *quants = bytes + quant_bytes(dtype, group * VKM_GROUP);
    uint16_t scales[2] = {vkm_f32_f16(g->scale), vkm_f32_f16(g->minimum)};
    memcpy(bytes + scales_at(dtype, ld, group), scales, formats[dtype].scales * sizeof(*scales));
    if (dtype == VKM_DTYPE_Q8) {
        memcpy(quants, g->quants, VKM_GROUP);
        return;
    }
    memset(quants, 0, VKM_GROUP / 2);
    for (size_t i = 0; i < VKM_GROUP; i++)
        quants[q4_byte(i)] |= (uint8_t)(g->quants[i] << q4_shift(i));
}

static bool store_quantised(uint8_t *bytes, enum vkm_dtype dtype, size_t ld, const float *values,
                            size_t n)
{
    bool good = true;
    for (size_t first = 0; first < ld; first += VKM_GROUP) {
        struct group g = {0};
        size_t left = n > first ? n - first : 0, count = left < VKM_GROUP ? left : VKM_GROUP;
        if (count > 0 && dtype == VKM_DTYPE_Q8)
            good &= quantise_q8(values + first, count, &g);
        else if (count > 0)
            good &= quantise_q4(values + first, count, &g);
        put_group(bytes, dtype, ld, first / VKM_GROUP, &g);
    }
    size_t end = scales_at(dtype, ld, ld / VKM_GROUP);
    memset(bytes + end, 0, (size_t)vkm_row_bytes(dtype, ld) - end);
    return good;
}

bool vkm_row_store(void *row, enum vkm_dtype dtype, size_t ld, const float *values, size_t n)
{
    if (vkm_dtype_is_quantised(dtype))
        return store_quantised(row, dtype, ld, values, n);
    for (size_t i = 0; i < ld; i++)
        vkm_store_f32(row, dtype, i, i < n ? values[i] : 0);
    return true;
}
