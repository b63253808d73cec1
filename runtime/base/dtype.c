#include "base/dtype.h"

#include <string.h>

static const struct {
    const char *name;
    size_t size;
} dtypes[VKM_DTYPE_COUNT] = {
#define DTYPE_ROW(id, name, size) {name, size},
    VKM_DTYPE_LIST(DTYPE_ROW)
#undef DTYPE_ROW
};

const char *vkm_dtype_name(enum vkm_dtype dtype)
{
    return dtypes[dtype].name;
}

size_t vkm_dtype_size(enum vkm_dtype dtype)
{
    return dtypes[dtype].size;
}

bool vkm_dtype_parse(const char *name, enum vkm_dtype *dtype)
{
    for (int i = 0; i < VKM_DTYPE_COUNT; i++) {
        if (strcmp(name, dtypes[i].name) == 0) {
            *dtype = (enum vkm_dtype)i;
            return true;
        }
    }
    return false;
}

uint16_t vkm_f32_f16(float value)
{
    uint32_t u = vkm_f32_bits(value);
    uint32_t sign = (u >> 16) & 0x8000u;
    uint32_t magnitude = u & 0x7fffffffu;
    if (magnitude > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u);
    if (magnitude >= 0x477ff000u)
        return (uint16_t)(sign | 0x7c00u);
    if (magnitude < 0x38800000u) /* below 2^-14: a denormal, in units of 2^-24 */
        return (uint16_t)(sign | (uint32_t)rintf(vkm_bits_f32(magnitude) * 0x1p24f));
    uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
    return (uint16_t)(sign | ((rounded - 0x38000000u) >> 13));
}

void vkm_store_f32(void *data, enum vkm_dtype dtype, size_t index, float value)
{
    switch (dtype) {
    case VKM_DTYPE_F32:
        ((float *)data)[index] = value;
        break;
    case VKM_DTYPE_F16:
        ((uint16_t *)data)[index] = vkm_f32_f16(value);
        break;
    case VKM_DTYPE_BF16:
        ((uint16_t *)data)[index] = vkm_f32_bf16(value);
        break;
    default:
        break;
    }
}
