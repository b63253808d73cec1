#include "base/blocks.h"

#include <string.h>

static float load_f16(const uint8_t *bytes)
{
    return vkm_f16_f32((uint16_t)(bytes[0] | bytes[1] << 8));
}

/* Element i of 32 nibbles. */
static int nibble(const uint8_t *bytes, size_t i)
{
    return i < 16 ? bytes[i] & 15 : bytes[i - 16] >> 4;
}

/* Bit i of 32. */
static int bit(const uint8_t *bytes, size_t i)
{
    uint32_t all =
        bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
    return (int)(all >> i & 1);
}

/* --- blocks of 32: their quants --- */

static int q4_0(const uint8_t *block, size_t i)
{
    return nibble(block + 2, i) - 8;
}

static int q4_1(const uint8_t *block, size_t i)
{
    return nibble(block + 4, i);
}

static int q5_0(const uint8_t *block, size_t i)
{
    return (nibble(block + 6, i) | bit(block + 2, i) << 4) - 16;
}

static int q5_1(const uint8_t *block, size_t i)
{
    return nibble(block + 8, i) | bit(block + 4, i) << 4;
}

static int q8_0(const uint8_t *block, size_t i)
{
    return (int8_t)block[2 + i];
}

static int iq4_nl(const uint8_t *block, size_t i)
{
    static const int8_t table[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                     1,    13,   25,  38,  53,  69,  89,  113};
    return table[nibble(block + 2, i)];
}

/* --- blocks of 32 --- */

/* What the block says, not yet brought to the form of any type. */
#define TAKE(name, quant, with_minimum)                                                            \
    static void take_##name(const uint8_t *block, size_t index, struct vkm_group *g)               \
    {                                                                                              \
        (void)index;                                                                               \
        g->scale = load_f16(block);                                                                \
        g->minimum = (with_minimum) ? load_f16(block + 2) : 0;                                     \
        g->factors[0] = g->factors[1] = 1;                                                         \
        for (size_t i = 0; i < VKM_GROUP; i++)                                                     \
            g->quants[i] = quant(block, i);                                                        \
    }
TAKE(q4_0, q4_0, false)
TAKE(q4_1, q4_1, true)
TAKE(q5_0, q5_0, false)
TAKE(q5_1, q5_1, true)
TAKE(q8_0, q8_0, false)
TAKE(iq4_nl, iq4_nl, false)

/* --- blocks of 256 --- */

/* Pair `i` of the eight 6-bit scales and minima in 12 bytes: the first four lie whole in bytes 0 ..
 * 3 and 4 .. 7; of the others the low four bits lie in bytes 8 .. 11, the high two above the first.
 */
static void take_pair(const uint8_t *bytes, size_t i, int *scale, int *minimum)
{
    if (i < 4) {
        *scale = bytes[i] & 63;
        *minimum = bytes[i + 4] & 63;
    } else {
        *scale = (bytes[i + 4] & 15) | bytes[i - 4] >> 6 << 4;
        *minimum = bytes[i + 4] >> 4 | bytes[i] >> 6 << 4;
    }
}

/* Groups 2 i and 2 i + 1 of 32 elements are the low and the high halves of the same 32 bytes;
 * `fifth` (NULL: none) has 32 bytes, of which bit g belongs to group g. */
static void take_k(const uint8_t *block, const uint8_t *fifth, const uint8_t *low, size_t index,
                   struct vkm_group *g)
{
    int scale, minimum;
    take_pair(block + 4, index, &scale, &minimum);
    g->scale = load_f16(block);
    g->minimum = -(load_f16(block + 2) * (float)minimum); /* exact: 11 bits by 6 */
    g->factors[0] = g->factors[1] = scale;
    for (size_t i = 0; i < VKM_GROUP; i++) {
        g->quants[i] = low[index / 2 * VKM_GROUP + i] >> index % 2 * 4 & 15;
        if (fifth)
            g->quants[i] |= (fifth[i] >> index & 1) << 4;
    }
}

static void take_q4_k(const uint8_t *block, size_t index, struct vkm_group *g)
{
    take_k(block, NULL, block + 16, index, g);
}

static void take_q5_k(const uint8_t *block, size_t index, struct vkm_group *g)
{
    take_k(block, block + 16, block + 48, index, g);
}

/* A group is a quarter of a half of 128: the nibbles lie in the first or second 32 bytes of the
 * half's 64, low (in quarters 0 and 1) or high, the pairs of bits in the half's own 32 bytes. */
static void take_q6_k(const uint8_t *block, size_t index, struct vkm_group *g)
{
    size_t half = index / 4, quarter = index % 4;
    const uint8_t *low = block + half * 64 + quarter % 2 * 32, *high = block + 128 + half * 32;
    g->scale = load_f16(block + 208);
    g->minimum = 0;
    for (size_t i = 0; i < VKM_GROUP_HALVES; i++)
        g->factors[i] = (int8_t)block[192 + VKM_GROUP_HALVES * index + i];
    for (size_t i = 0; i < VKM_GROUP; i++)
        g->quants[i] = ((low[i] >> quarter / 2 * 4 & 15) | (high[i] >> quarter * 2 & 3) << 4) - 32;
}

/* --- the formats --- */

/* clang-format off: a table */
static const struct vkm_block_format formats[] = {
    {"F32", 0, 1, 4, VKM_DTYPE_F32, NULL},
    {"F16", 1, 1, 2, VKM_DTYPE_F16, NULL},
    {"BF16", 30, 1, 2, VKM_DTYPE_BF16, NULL},
    {"Q4_0", 2, 32, 18, VKM_DTYPE_Q8, take_q4_0},
    {"Q4_1", 3, 32, 20, VKM_DTYPE_Q4, take_q4_1},
    {"Q5_0", 6, 32, 22, VKM_DTYPE_Q8, take_q5_0},
    {"Q5_1", 7, 32, 24, VKM_DTYPE_Q8K, take_q5_1},
    {"Q8_0", 8, 32, 34, VKM_DTYPE_Q8, take_q8_0},
    {"IQ4_NL", 20, 32, 18, VKM_DTYPE_Q8, take_iq4_nl},
    {"Q4_K", 12, 256, 144, VKM_DTYPE_Q4K, take_q4_k},
    {"Q5_K", 13, 256, 176, VKM_DTYPE_Q8K, take_q5_k},
    {"Q6_K", 14, 256, 210, VKM_DTYPE_Q8K, take_q6_k},
};
/* clang-format on */

const char vkm_block_format_names[] =
    "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL, Q4_K, Q5_K or Q6_K";

/* By number, what files of other makers call their types; those above are among them. */
static const char *const type_names[] = {
    "F32",     "F16",    "Q4_0",    "Q4_1",  "",       "",      "Q5_0",  "Q5_1",
    "Q8_0",    "Q8_1",   "Q2_K",    "Q3_K",  "Q4_K",   "Q5_K",  "Q6_K",  "Q8_K",
    "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS",
    "I8",      "I16",    "I32",     "I64",   "F64",    "IQ1_M", "BF16",
};

void vkm_block_decode(const struct vkm_block_format *f, const uint8_t *block, float *values)
{
    struct vkm_group g;
    for (size_t i = 0; i < f->elements; i++) {
        if (i % VKM_GROUP == 0)
            f->take(block, i / VKM_GROUP, &g);
        values[i] = vkm_group_value(&g, i % VKM_GROUP);
    }
}

bool vkm_block_group(const struct vkm_block_format *f, const uint8_t *block, size_t index,
                     enum vkm_dtype dtype, struct vkm_group *group)
{
    f->take(block, index, group);
    return vkm_group_fit(dtype, group);
}

bool vkm_block_put(const struct vkm_block_format *f, const uint8_t *block, void *matrix,
                   enum vkm_dtype dtype, size_t ld, size_t row, size_t index)
{
    uint16_t scale = (uint16_t)(block[0] | block[1] << 8);
    const size_t groups = f->elements / VKM_GROUP;
    struct vkm_group g;
    if (f->take == take_q8_0 && dtype == VKM_DTYPE_Q8 && scale < 0x7c00u) { /* Q8 as it is */
        vkm_row_put_q8(matrix, ld, row, index, block + 2, scale);
        return true;
    }
    for (size_t i = 0; i < groups; i++) {
        if (!vkm_block_group(f, block, i, dtype, &g))
            return false;
        vkm_row_put(matrix, dtype, ld, row, index * groups + i, &g);
    }
    return true;
}

const struct vkm_block_format *vkm_block_format_find(uint32_t number)
{
    for (size_t i = 0; i < VKM_COUNT(formats); i++) {
        if (formats[i].number == number)
            return &formats[i];
    }
    return NULL;
}

const char *vkm_block_type_name(uint32_t number)
{
    return number < VKM_COUNT(type_names) ? type_names[number] : "";
}
