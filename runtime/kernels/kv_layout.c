#include "kernels/kv_layout.h"

#include "../../shaders/params.h"

#define SMALLEST 0x1p-100f /* magnitude that has a scale */

/* Words of one position without scales. */
static uint32_t value_words(enum vkm_dtype dtype, uint32_t head_dim)
{
    switch (dtype) {
    case VKM_DTYPE_F16:
    case VKM_DTYPE_BF16:
        return head_dim / 2;
    case VKM_DTYPE_Q8:
        return vkm_ceil_div(head_dim, 4);
    default:
        return head_dim;
    }
}

uint32_t vkm_kv_words(enum vkm_dtype dtype, uint32_t head_dim)
{
    uint32_t scales = dtype == VKM_DTYPE_Q8 ? vkm_ceil_div(head_dim, 4 * VKM_KV_GROUP) : 0;
    return value_words(dtype, head_dim) + scales;
}

uint32_t vkm_kv_group_pairs(const struct vkm_kv_part *part, uint32_t group)
{
    uint32_t pairs = part->head_dim / 2, before = group * VKM_KV_GROUP;
    return before < pairs ? vkm_min_u32(pairs - before, VKM_KV_GROUP) : 0;
}

/* The element that is `second` (0 or 1) of a pair. */
static uint32_t element_of(const struct vkm_kv_part *part, uint32_t pair, uint32_t second)
{
    return part->side == VKM_KV_KEYS ? pair + second * (part->head_dim / 2) : 2 * pair + second;
}

/* Where word `word` of a position lies. */
static size_t place(const struct vkm_kv_part *part, uint32_t at, uint32_t word)
{
    uint32_t n = value_words(part->dtype, part->head_dim);
    if (part->side == VKM_KV_KEYS || word >= n)
        return (size_t)word * VKM_KV_BLOCK + at;
    return (size_t)at * n + word;
}

static size_t scale_place(const struct vkm_kv_part *part, uint32_t at, uint32_t group)
{
    return place(part, at, value_words(part->dtype, part->head_dim) + group / 2);
}

/* Half `half` of a word becomes h. */
static void put_half(uint32_t *word, uint32_t half, uint32_t h)
{
    *word = half ? (*word & 0xffffu) | h << 16 : (*word & 0xffff0000u) | h;
}

static uint32_t round_f16(float value)
{
    uint32_t sign = vkm_f32_bits(value) >> 16 & 0x8000u;
    if (isnan(value))
        return sign | 0x7e00u;
    return isfinite(value) && fabsf(value) > 65504 ? sign | 0x7bffu : vkm_f32_f16(value);
}

/* The bits of a group's scale, a BF16 as float32. */
static uint32_t scale_bits(const float pairs[VKM_KV_GROUP][2], uint32_t n)
{
    uint32_t largest = 0;
    for (uint32_t i = 0; i < 2 * n; i++)
        largest = vkm_max_u32(largest, vkm_f32_bits(pairs[i / 2][i % 2]) & 0x7fffffffu);
    if (largest >= 0x7f800000u)
        return 0x7fc00000u;
    if (vkm_bits_f32(largest) < SMALLEST)
        return 0;
    uint32_t bits = vkm_f32_bits(vkm_bits_f32(largest) / 127) & 0xffff0000u;
    return 127 * (double)vkm_bits_f32(bits) < (double)vkm_bits_f32(largest) ? bits + 0x10000u
                                                                            : bits;
}

static uint32_t round_q8(float value, float scale)
{
    return scale > 0 ? (uint32_t)(int32_t)rint((double)value / (double)scale) & 0xffu : 0;
}

static void put_q8(uint32_t *words, const struct vkm_kv_part *part, uint32_t at, uint32_t group,
                   const float pairs[VKM_KV_GROUP][2])
{
    uint32_t n = vkm_kv_group_pairs(part, group), scale = scale_bits(pairs, n);
    uint32_t *scales = &words[scale_place(part, at, group)];
    for (uint32_t i = 0; i < n; i += 2) {
        uint32_t word = 0;
        for (uint32_t b = 0; b < 4 && i + b / 2 < n; b++)
            word |= round_q8(pairs[i + b / 2][b % 2], vkm_bits_f32(scale)) << 8 * b;
        words[place(part, at, (group * VKM_KV_GROUP + i) / 2)] = word;
    }
    put_half(scales, group % 2, scale >> 16);
    if (group % 2 == 0 && vkm_kv_group_pairs(part, group + 1) == 0)
        put_half(scales, 1, 0);
}

void vkm_kv_put_pairs(void *data, const struct vkm_kv_part *part, uint32_t at, uint32_t group,
                      const float pairs[VKM_KV_GROUP][2])
{
    uint32_t *words = data;
    if (part->dtype == VKM_DTYPE_Q8) {
        put_q8(words, part, at, group, pairs);
        return;
    }
    for (uint32_t i = 0; i < 2 * vkm_kv_group_pairs(part, group); i++) {
        uint32_t pair = group * VKM_KV_GROUP + i / 2, second = i % 2;
        float value = pairs[i / 2][second];
        if (part->dtype == VKM_DTYPE_F32)
            words[place(part, at, element_of(part, pair, second))] = vkm_f32_bits(value);
        else
            put_half(&words[place(part, at, pair)], second,
                     part->dtype == VKM_DTYPE_F16 ? round_f16(value) : vkm_f32_bf16(value));
    }
}

void vkm_kv_put_row(void *data, const struct vkm_kv_part *part, uint32_t at, const float *row)
{
    uint32_t n;
    for (uint32_t g = 0; (n = vkm_kv_group_pairs(part, g)) > 0; g++) {
        float pairs[VKM_KV_GROUP][2];
        for (uint32_t i = 0; i < 2 * n; i++)
            pairs[i / 2][i % 2] = row[element_of(part, g * VKM_KV_GROUP + i / 2, i % 2)];
        vkm_kv_put_pairs(data, part, at, g, pairs);
    }
}

float vkm_kv_element(const void *data, const struct vkm_kv_part *part, uint32_t at, uint32_t i)
{
    const uint32_t *words = data;
    bool keys = part->side == VKM_KV_KEYS;
    uint32_t half_dim = part->head_dim / 2;
    uint32_t pair = keys ? i % half_dim : i / 2, second = keys ? i / half_dim : i % 2;
    if (part->dtype == VKM_DTYPE_F32)
        return vkm_bits_f32(words[place(part, at, i)]);
    if (part->dtype == VKM_DTYPE_Q8) {
        uint32_t group = pair / VKM_KV_GROUP;
        uint32_t scale = words[scale_place(part, at, group)] >> group % 2 * 16;
        uint32_t quant = words[place(part, at, pair / 2)] >> (pair % 2 * 2 + second) * 8;
        return (float)(int8_t)(quant & 0xffu) * vkm_bf16_f32((uint16_t)scale);
    }
    uint16_t half = (uint16_t)(words[place(part, at, pair)] >> second * 16);
    return part->dtype == VKM_DTYPE_F16 ? vkm_f16_f32(half) : vkm_bf16_f32(half);
}
