/* Number formats of weights and their conversion to float32. */
#ifndef VKM_DTYPE_H
#define VKM_DTYPE_H

#include <math.h>

#include "base/base.h"

/* X(enumerator, name in files and listings, bytes per element; 0: rows of such weights are not
 * arrays, see rows.h, and files do not have them) */
#define VKM_DTYPE_LIST(X)                                                                          \
    X(F32, "F32", 4)                                                                               \
    X(F16, "F16", 2)                                                                               \
    X(BF16, "BF16", 2)                                                                             \
    X(I32, "I32", 4)                                                                               \
    X(Q8, "Q8", 0)                                                                                 \
    X(Q4, "Q4", 0)                                                                                 \
    X(Q8K, "Q8K", 0)                                                                               \
    X(Q4K, "Q4K", 0)

enum vkm_dtype {
#define VKM_DTYPE_ENUM(id, name, size) VKM_DTYPE_##id,
    VKM_DTYPE_LIST(VKM_DTYPE_ENUM)
#undef VKM_DTYPE_ENUM
        VKM_DTYPE_COUNT
};

const char *vkm_dtype_name(enum vkm_dtype dtype);
size_t vkm_dtype_size(enum vkm_dtype dtype);
/* Finds a dtype by its name in a safetensors header; false when there is none. */
bool vkm_dtype_parse(const char *name, enum vkm_dtype *dtype);

static inline float vkm_bits_f32(uint32_t bits)
{
    union {
        uint32_t u;
        float f;
    } pun = {bits};
    return pun.f;
}

static inline uint32_t vkm_f32_bits(float value)
{
    union {
        float f;
        uint32_t u;
    } pun = {value};
    return pun.u;
}

static inline float vkm_bf16_f32(uint16_t h)
{
    return vkm_bits_f32((uint32_t)h << 16);
}

/* Round to nearest even; NaN stays NaN. */
static inline uint16_t vkm_f32_bf16(float value)
{
    uint32_t u = vkm_f32_bits(value);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)((u >> 16) | 0x40u);
    return (uint16_t)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

static inline float vkm_f16_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t exponent = (h >> 10) & 31u;
    uint32_t mantissa = h & 0x3ffu;
    if (exponent == 0)
        return (sign ? -1.0f : 1.0f) * (float)mantissa * 0x1p-24f;
    if (exponent == 31)
        return vkm_bits_f32(sign | 0x7f800000u | mantissa << 13);
    return vkm_bits_f32(sign | (exponent + 112u) << 23 | mantissa << 13);
}

/* Round to nearest even, overflow to infinity, denormals kept; NaN stays NaN. */
uint16_t vkm_f32_f16(float value);

/* One element of a row of weights, as float32. */
static inline float vkm_load_f32(const void *data, enum vkm_dtype dtype, size_t index)
{
    switch (dtype) {
    case VKM_DTYPE_F32:
        return ((const float *)data)[index];
    case VKM_DTYPE_F16:
        return vkm_f16_f32(((const uint16_t *)data)[index]);
    case VKM_DTYPE_BF16:
        return vkm_bf16_f32(((const uint16_t *)data)[index]);
    default:
        return NAN;
    }
}

/* The index of the first infinity or NaN of n elements, n where there is none. `data` is aligned to
 * the element size. Integers have none. */
size_t vkm_first_nonfinite(const void *data, enum vkm_dtype dtype, size_t n);

/* The inverse of vkm_load_f32, for test data and writers. */
void vkm_store_f32(void *data, enum vkm_dtype dtype, size_t index, float value);

#endif
