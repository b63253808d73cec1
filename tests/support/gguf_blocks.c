/* The block formats a second time: element by element, from a string of bits, in float64. */
#include <math.h>
#include <string.h>

#include "gguf_file.h"
#include "support.h"

enum {
    Q4_0 = 2,
    Q4_1 = 3,
    Q5_0 = 6,
    Q5_1 = 7,
    Q8_0 = 8,
    Q4_K = 12,
    Q5_K = 13,
    Q6_K = 14,
    IQ4_NL = 20
};

/* Where the parts of a block begin, in bytes; -1: it has none. */
static const struct layout {
    uint32_t type, elements, bytes;
    int d, m, scales, low, high;
} layouts[] = {
    {Q4_0, 32, 18, 0, -1, -1, 2, -1},   {Q4_1, 32, 20, 0, 2, -1, 4, -1},
    {Q5_0, 32, 22, 0, -1, -1, 6, 2},    {Q5_1, 32, 24, 0, 2, -1, 8, 4},
    {Q8_0, 32, 34, 0, -1, -1, 2, -1},   {Q4_K, 256, 144, 0, 2, 4, 16, -1},
    {Q5_K, 256, 176, 0, 2, 4, 48, 16},  {Q6_K, 256, 210, 208, -1, 192, 0, 128},
    {IQ4_NL, 32, 18, 0, -1, -1, 2, -1},
};

static const struct layout *layout_of(uint32_t type)
{
    for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++) {
        if (layouts[i].type == type)
            return &layouts[i];
    }
    fail_msg("there is no block type %u", type);
    return NULL;
}

uint32_t gguf_block_elements(uint32_t type)
{
    return layout_of(type)->elements;
}

uint32_t gguf_block_bytes(uint32_t type)
{
    return layout_of(type)->bytes;
}

/* `n` bits from bit `at` on, the lowest first. */
static int bits(const unsigned char *from, uint32_t at, uint32_t n)
{
    int value = 0;
    for (uint32_t i = 0; i < n; i++)
        value |= (from[(at + i) / 8] >> (at + i) % 8 & 1) << i;
    return value;
}

static double half(const unsigned char *from)
{
    int sign = bits(from, 15, 1), exponent = bits(from, 10, 5), mantissa = bits(from, 0, 10);
    double magnitude = exponent == 0    ? ldexp(mantissa, -24)
                       : exponent == 31 ? (mantissa ? (double)NAN : (double)INFINITY)
                                        : ldexp(1024 + mantissa, exponent - 25);
    return sign ? -magnitude : magnitude;
}

static int byte_with_sign(const unsigned char *from)
{
    return from[0] < 128 ? from[0] : from[0] - 256;
}

/* In every 2 n elements, the first n are the low halves of n bytes, the others the high ones. */
static int quarter_byte(const unsigned char *low, uint32_t i, uint32_t n)
{
    return bits(low, 8 * (i / (2 * n) * n + i % n) + (i / n % 2) * 4, 4);
}

/* Scale and minimum number g of a Q4_K or Q5_K. */
static void pair(const unsigned char *scales, uint32_t g, int *scale, int *minimum)
{
    *scale = g < 4 ? bits(scales, 8 * g, 6)
                   : bits(scales, 8 * (g + 4), 4) + 16 * bits(scales, 8 * (g - 4) + 6, 2);
    *minimum = g < 4 ? bits(scales, 8 * (g + 4), 6)
                     : bits(scales, 8 * (g + 4) + 4, 4) + 16 * bits(scales, 8 * g + 6, 2);
}

static double value_k(const struct layout *l, const unsigned char *block, uint32_t i)
{
    int scale, minimum, q = quarter_byte(block + l->low, i, 32);
    pair(block + l->scales, i / 32, &scale, &minimum);
    if (l->high >= 0)
        q += 16 * bits(block + l->high, 8 * (i % 32) + i / 32, 1);
    return half(block + l->d) * scale * q - half(block + l->m) * minimum;
}

static double value_q6_k(const struct layout *l, const unsigned char *block, uint32_t i)
{
    int q = quarter_byte(block + l->low, i, 64);
    q += 16 * bits(block + l->high, 8 * (i / 128 * 32 + i % 32) + 2 * (i % 128 / 32), 2);
    return half(block + l->d) * byte_with_sign(block + l->scales + i / 16) * (q - 32);
}

float gguf_block_value(uint32_t type, const unsigned char *block, uint32_t i)
{
    static const int table[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                  1,    13,   25,  38,  53,  69,  89,  113};
    const struct layout *l = layout_of(type);
    const unsigned char *low = block + l->low;
    double d = half(block + l->d);
    int fifth = type == Q5_0 || type == Q5_1 ? 16 * bits(block + l->high, i, 1) : 0;
    switch (type) {
    case Q4_0:
        return (float)(d * (quarter_byte(low, i, 16) - 8));
    case Q5_0:
        return (float)(d * (quarter_byte(low, i, 16) + fifth - 16));
    case Q4_1:
    case Q5_1:
        return (float)(d * (quarter_byte(low, i, 16) + fifth) + half(block + l->m));
    case Q8_0:
        return (float)(d * byte_with_sign(low + i));
    case IQ4_NL:
        return (float)(d * table[quarter_byte(low, i, 16)]);
    case Q6_K:
        return (float)value_q6_k(l, block, i);
    default:
        return (float)value_k(l, block, i);
    }
}

static uint64_t next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    return z ^ z >> 29;
}

/* Rounded towards zero. */
static void put_half(unsigned char *to, double value)
{
    int exponent;
    double fraction = frexp(fabs(value), &exponent);
    unsigned h = (unsigned)(fraction * 2048) - 1024 + ((unsigned)(exponent + 14) << 10);
    assert_true(exponent <= 16);
    if (exponent < -13)
        h = (unsigned)(fabs(value) * 0x1p24);
    h |= value < 0 ? 0x8000u : 0;
    to[0] = (unsigned char)h;
    to[1] = (unsigned char)(h >> 8);
}

void gguf_block_random(uint32_t type, uint64_t *random, double size, bool exotic,
                       unsigned char *block)
{
    /* By type: what d is multiplied by at most, and m. */
    static const double most[] = {
        [Q4_0] = 8,       [Q4_1] = 15,        [Q5_0] = 16,         [Q5_1] = 31,   [Q8_0] = 127,
        [Q4_K] = 63 * 15, [Q5_K] = 63 * 31.0, [Q6_K] = 127 * 32.0, [IQ4_NL] = 127};
    const struct layout *l = layout_of(type);
    for (uint32_t i = 0; i < l->bytes; i++) {
        block[i] = (unsigned char)(next(random) >> 40);
        if (type == Q8_0 && block[i] == 128 && !exotic)
            block[i] = 129;
    }
    double spread = 0.5 + (double)(next(random) >> 11) * 0x1p-54;
    bool negative = next(random) >> 63;
    bool k = type == Q4_K || type == Q5_K;
    double range = l->m >= 0 ? 2 * size : size;
    put_half(block + l->d, range / most[type] * spread * (negative && exotic ? -1 : 1));
    if (l->m >= 0)
        put_half(block + l->m, size * spread * (k ? 1 / 63.0 : -1));
}
