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
        if (dtypes[i].size > 0 && strcmp(name, dtypes[i].name) == 0) {
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

/* By dtype: the exponent of every lane of 64 bits, and its lowest bit. */
static const struct {
    uint64_t exponent, low;
} exponents[VKM_DTYPE_COUNT] = {
    [VKM_DTYPE_F32] = {0x7f8000007f800000u, 0x0080000000800000u},
    [VKM_DTYPE_F16] = {0x7c007c007c007c00u, 0x0400040004000400u},
    [VKM_DTYPE_BF16] = {0x7f807f807f807f80u, 0x0080008000800080u},
};

/* Words of 64 bits looked at together, so that a compiler can use vector registers. */
#define WORDS 4

/* Adds one to every exponent: where that is all ones it carries into the lane's sign bit, and never
 * beyond. */
static void add_carries(uint64_t carried[WORDS], const uint64_t words[WORDS], enum vkm_dtype dtype)
{
    uint64_t exponent = exponents[dtype].exponent, low = exponents[dtype].low;
    for (int k = 0; k < WORDS; k++)
        carried[k] |= (words[k] & exponent) + low;
}

/* Several elements at a time, because all weights come through here. */
static bool any_exponent_full(const unsigned char *bytes, size_t size, enum vkm_dtype dtype)
{
    uint64_t words[WORDS], carried[WORDS] = {0}, all = 0;
    size_t at = 0;
    for (; size - at >= sizeof(words); at += sizeof(words)) {
        memcpy(words, bytes + at, sizeof(words));
        add_carries(carried, words, dtype);
    }
    memset(words, 0, sizeof(words));
    memcpy(words, bytes + at, size - at);
    add_carries(carried, words, dtype);
    for (int k = 0; k < WORDS; k++)
        all |= carried[k];
    return (all & (exponents[dtype].exponent + exponents[dtype].low)) != 0;
}

size_t vkm_first_nonfinite(const void *data, enum vkm_dtype dtype, size_t n)
{
    if (exponents[dtype].exponent == 0 ||
        !any_exponent_full(data, n * vkm_dtype_size(dtype), dtype))
        return n;
    size_t i = 0;
    while (i < n && isfinite(vkm_load_f32(data, dtype, i)))
        i++;
    return i;
}
