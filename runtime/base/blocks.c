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

/* The product is exact in each of them: 11 bits of scale, at most 8 of quant. */
#define DECODE_SCALED(name, quant)                                                                 \
    static void name(const uint8_t *block, float *values)                                          \
    {                                                                                              \
        float d = load_f16(block);                                                                 \
        for (size_t i = 0; i < VKM_GROUP; i++)                                                     \
            values[i] = d * (float)quant(block, i);                                                \
    }
DECODE_SCALED(decode_q4_0, q4_0)
DECODE_SCALED(decode_q5_0, q5_0)
DECODE_SCALED(decode_q8_0, q8_0)
DECODE_SCALED(decode_iq4_nl, iq4_nl)

#define DECODE_SHIFTED(name, quant)                                                                \
    static void name(const uint8_t *block, float *values)                                          \
    {                                                                                              \
        float d = load_f16(block), m = load_f16(block + 2);                                        \
        for (size_t i = 0; i < VKM_GROUP; i++)                                                     \
            values[i] = d * (float)quant(block, i) + m;                                            \
    }
DECODE_SHIFTED(decode_q4_1, q4_1)
DECODE_SHIFTED(decode_q5_1, q5_1)

/* Scales of rows have no sign: it goes to the quants, of which -128 has no opposite. */
#define REGROUP(name, quant)                                                                       \
    static bool name(const uint8_t *block, struct vkm_group *g)                                    \
    {                                                                                              \
        float d = load_f16(block);                                                                 \
        int32_t sign = d < 0 ? -1 : 1, highest = 0;                                                \
        g->scale = (float)sign * d;                                                                \
        g->minimum = 0;                                                                            \
        for (size_t i = 0; i < VKM_GROUP; i++) {                                                   \
            g->quants[i] = sign * quant(block, i);                                                 \
            highest = g->quants[i] > highest ? g->quants[i] : highest;                             \
        }                                                                                          \
        return highest <= INT8_MAX && isfinite(d);                                                 \
    }
REGROUP(regroup_q4_0, q4_0)
REGROUP(regroup_q5_0, q5_0)
REGROUP(regroup_q8_0, q8_0)
REGROUP(regroup_iq4_nl, iq4_nl)

static bool regroup_q4_1(const uint8_t *block, struct vkm_group *g)
{
    g->scale = load_f16(block);
    g->minimum = load_f16(block + 2);
    for (size_t i = 0; i < VKM_GROUP; i++)
        g->quants[i] = q4_1(block, i);
    return g->scale >= 0 && isfinite(g->scale) && isfinite(g->minimum);
}

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
 * `fifth` (NULL: none) has 32 bytes, of which bit g belongs to group g. d s q is exact, so that the
 * subtraction alone rounds. */
static void decode_k(const uint8_t *block, const uint8_t *fifth, const uint8_t *low, float *values)
{
    float d = load_f16(block), m = load_f16(block + 2);
    for (size_t g = 0; g < 8; g++) {
        int scale, minimum;
        take_pair(block + 4, g, &scale, &minimum);
        float step = d * (float)scale, lowest = m * (float)minimum;
        for (size_t i = 0; i < 32; i++) {
            int q = low[g / 2 * 32 + i] >> g % 2 * 4 & 15;
            if (fifth)
                q |= (fifth[i] >> g & 1) << 4;
            values[g * 32 + i] = step * (float)q - lowest;
        }
    }
}

static void decode_q4_k(const uint8_t *block, float *values)
{
    decode_k(block, NULL, block + 16, values);
}

static void decode_q5_k(const uint8_t *block, float *values)
{
    decode_k(block, block + 16, block + 48, values);
}

/* A quarter, 32 elements, of a half of 128: the nibbles lie in the first or second 32 bytes of the
 * half's 64, low (in quarters 0 and 1) or high, the pairs of bits in the half's own 32 bytes. */
static void decode_q6_k_quarter(const uint8_t *low, int low_shift, const uint8_t *high,
                                int high_shift, const float scales[2], float *values)
{
    for (size_t i = 0; i < 32; i++) {
        int q = (low[i] >> low_shift & 15) | (high[i] >> high_shift & 3) << 4;
        values[i] = scales[i / 16] * (float)(q - 32);
    }
}

static void decode_q6_k(const uint8_t *block, float *values)
{
    float d = load_f16(block + 208);
    for (size_t g = 0; g < 8; g++) {
        size_t half = g / 4, quarter = g % 4;
        const int8_t *s = (const int8_t *)block + 192 + 2 * g;
        const float scales[2] = {d * (float)s[0], d * (float)s[1]};
        decode_q6_k_quarter(block + half * 64 + quarter % 2 * 32, (int)(quarter / 2 * 4),
                            block + 128 + half * 32, (int)quarter * 2, scales, values + g * 32);
    }
}

/* --- the formats --- */

/* clang-format off: a table */
static const struct vkm_block_format formats[] = {
    {"F32", 0, 1, 4, VKM_DTYPE_F32, NULL, NULL},
    {"F16", 1, 1, 2, VKM_DTYPE_F16, NULL, NULL},
    {"BF16", 30, 1, 2, VKM_DTYPE_BF16, NULL, NULL},
    {"Q4_0", 2, 32, 18, VKM_DTYPE_Q8, decode_q4_0, regroup_q4_0},
    {"Q4_1", 3, 32, 20, VKM_DTYPE_Q4, decode_q4_1, regroup_q4_1},
    {"Q5_0", 6, 32, 22, VKM_DTYPE_Q8, decode_q5_0, regroup_q5_0},
    {"Q5_1", 7, 32, 24, VKM_DTYPE_F32, decode_q5_1, NULL},
    {"Q8_0", 8, 32, 34, VKM_DTYPE_Q8, decode_q8_0, regroup_q8_0},
    {"IQ4_NL", 20, 32, 18, VKM_DTYPE_Q8, decode_iq4_nl, regroup_iq4_nl},
    {"Q4_K", 12, 256, 144, VKM_DTYPE_F32, decode_q4_k, NULL},
    {"Q5_K", 13, 256, 176, VKM_DTYPE_F32, decode_q5_k, NULL},
    {"Q6_K", 14, 256, 210, VKM_DTYPE_F32, decode_q6_k, NULL},
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

bool vkm_block_put(const struct vkm_block_format *f, const uint8_t *block, void *matrix, size_t ld,
                   size_t row, size_t group)
{
    uint16_t scale = (uint16_t)(block[0] | block[1] << 8);
    struct vkm_group g;
    if (f->decode == decode_q8_0 && scale < 0x7c00u) { /* finite, no sign: Q8 as it is */
        vkm_row_put_q8(matrix, ld, row, group, block + 2, scale);
        return true;
    }
    if (!f->regroup(block, &g))
        return false;
    vkm_row_put(matrix, f->stored, ld, row, group, &g);
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
