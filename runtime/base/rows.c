#include "base/rows.h"

#include <string.h>

/* By dtype: bits of a quant, bytes of the scales of a group, and whether they have factors; zeros
 * where it is not quantised. */
static const struct {
    uint32_t bits, scale_bytes;
    bool factors;
} formats[VKM_DTYPE_COUNT] = {
    [VKM_DTYPE_Q8] = {8, 2, false},
    [VKM_DTYPE_Q4] = {4, 4, false},
    [VKM_DTYPE_Q8K] = {8, 8, true},
    [VKM_DTYPE_Q4K] = {4, 8, true},
};

#define Q8_MAX 127
#define Q4_MAX 15
#define F16_MAX 65504.0f

bool vkm_dtype_is_quantised(enum vkm_dtype dtype)
{
    return formats[dtype].bits > 0;
}

bool vkm_dtype_has_one_scale(enum vkm_dtype dtype)
{
    return vkm_dtype_is_quantised(dtype) && !formats[dtype].factors;
}

enum vkm_dtype vkm_dtype_join(enum vkm_dtype a, enum vkm_dtype b)
{
    if (a == b)
        return a;
    if (!vkm_dtype_is_quantised(a) || !vkm_dtype_is_quantised(b))
        return VKM_DTYPE_F32;
    return formats[a].bits == 4 && formats[b].bits == 4 ? VKM_DTYPE_Q4K : VKM_DTYPE_Q8K;
}

/* Bytes of the quants of n elements of a row. */
static size_t quant_bytes(enum vkm_dtype dtype, size_t n)
{
    return n * formats[dtype].bits / 8;
}

/* Bytes of the scales of one group of one row. */
static size_t scale_bytes(enum vkm_dtype dtype)
{
    return formats[dtype].scale_bytes;
}

size_t vkm_panel_block_bytes(enum vkm_dtype dtype)
{
    return VKM_PANEL_ROWS *
           (quant_bytes(dtype, VKM_PANEL_COLS) + VKM_PANEL_COLS / VKM_GROUP * scale_bytes(dtype));
}

uint64_t vkm_panel_blocks(uint64_t ld)
{
    return vkm_align_up(ld, VKM_PANEL_COLS) / VKM_PANEL_COLS;
}

uint64_t vkm_stored_rows(enum vkm_dtype dtype, uint64_t n_rows)
{
    return vkm_dtype_is_quantised(dtype) ? vkm_align_up(n_rows, VKM_PANEL_ROWS) : n_rows;
}

uint64_t vkm_matrix_bytes(enum vkm_dtype dtype, uint64_t n_rows, uint64_t ld)
{
    if (!vkm_dtype_is_quantised(dtype))
        return n_rows * ld * vkm_dtype_size(dtype);
    uint64_t panels = vkm_stored_rows(dtype, n_rows) / VKM_PANEL_ROWS;
    return panels * vkm_panel_blocks(ld) * vkm_panel_block_bytes(dtype);
}

/* --- one group --- */

/* Where in a matrix the quants and the scales of a row's group lie. */
struct place {
    size_t quants, scales;
};

static struct place place_of(enum vkm_dtype dtype, size_t ld, size_t row, size_t group)
{
    const size_t groups = VKM_PANEL_COLS / VKM_GROUP, in_panel = row % VKM_PANEL_ROWS;
    size_t block = row / VKM_PANEL_ROWS * (size_t)vkm_panel_blocks(ld) + group / groups;
    size_t at = block * vkm_panel_block_bytes(dtype),
           row_bytes = quant_bytes(dtype, VKM_PANEL_COLS);
    return (struct place){
        at + in_panel * row_bytes + quant_bytes(dtype, group % groups * VKM_GROUP),
        at + VKM_PANEL_ROWS * row_bytes +
            (group % groups * VKM_PANEL_ROWS + in_panel) * scale_bytes(dtype),
    };
}

/* A scale is finite and not negative, but for zero's sign; a minimum is finite. */
static bool is_scale(uint16_t h)
{
    return h < 0x7c00u || h == 0x8000u;
}

static bool is_minimum(uint16_t h)
{
    return (h & 0x7fffu) < 0x7c00u;
}

/* A compiler makes vectors of this: all blocks come through here. */
static bool all_valid(const uint16_t *scales, const uint16_t *minima, uint32_t count)
{
    bool good = true;
    for (uint32_t i = 0; i < count; i++)
        good &= is_scale(scales[i]);
    for (uint32_t i = 0; i < count; i++)
        good &= is_minimum(minima[i]);
    return good;
}

bool vkm_panel_block_valid(const void *block, enum vkm_dtype dtype, uint64_t n_rows, uint64_t ld,
                           uint64_t index, uint64_t *row, uint64_t *group)
{
    enum { GROUPS = VKM_PANEL_COLS / VKM_GROUP, COUNT = GROUPS * VKM_PANEL_ROWS };
    uint16_t found[2 * COUNT] = {0}, scales[COUNT], minima[COUNT] = {0};
    uint64_t first_row = index / vkm_panel_blocks(ld) * VKM_PANEL_ROWS;
    uint64_t first_group = index % vkm_panel_blocks(ld) * GROUPS;
    bool whole = first_row + VKM_PANEL_ROWS <= n_rows && first_group + GROUPS <= ld / VKM_GROUP;
    memcpy(found, (const uint8_t *)block + VKM_PANEL_ROWS * quant_bytes(dtype, VKM_PANEL_COLS),
           COUNT * scale_bytes(dtype));
    size_t halves = scale_bytes(dtype) / sizeof(*found);
    for (uint32_t i = 0; i < COUNT; i++)
        scales[i] = found[i * halves];
    for (uint32_t i = 0; i < COUNT && halves > 1; i++)
        minima[i] = found[2 * i + 1];
    if (whole && all_valid(scales, minima, COUNT))
        return true;
    for (uint32_t i = 0; i < COUNT; i++) {
        *row = first_row + i % VKM_PANEL_ROWS;
        *group = first_group + i / VKM_PANEL_ROWS;
        bool zero = ((scales[i] | minima[i]) & 0x7fffu) == 0;
        if (!is_scale(scales[i]) || !is_minimum(minima[i]) ||
            (!zero && (*row >= n_rows || *group >= ld / VKM_GROUP)))
            return false;
    }
    return true;
}

/* The byte that element i of a group of Q4 lies in, and its half. */
static size_t q4_byte(size_t i)
{
    return i / 8 * 4 + i % 4;
}

static uint32_t q4_shift(size_t i)
{
    return i % 8 < 4 ? 0 : 4;
}

/* The scales of a group as they lie in memory; the shorter kinds end earlier. */
struct plain_scales {
    uint16_t scale, minimum;
};
struct factor_scales {
    uint16_t scale;
    int8_t factors[VKM_GROUP_HALVES];
    float minimum;
};

static void get_scales(enum vkm_dtype dtype, const uint8_t *from, struct vkm_group *g)
{
    struct factor_scales wide = {.factors = {1, 1}};
    struct plain_scales plain = {0};
    if (formats[dtype].factors) {
        memcpy(&wide, from, sizeof(wide));
    } else {
        memcpy(&plain, from, scale_bytes(dtype));
        wide.scale = plain.scale;
        wide.minimum = vkm_f16_f32(plain.minimum);
    }
    g->scale = vkm_f16_f32(wide.scale);
    g->minimum = wide.minimum;
    for (size_t i = 0; i < VKM_GROUP_HALVES; i++)
        g->factors[i] = wide.factors[i];
}

static void put_scales(enum vkm_dtype dtype, const struct vkm_group *g, uint8_t *to)
{
    struct factor_scales wide = {.scale = vkm_f32_f16(g->scale), .minimum = g->minimum};
    struct plain_scales plain = {wide.scale, vkm_f32_f16(g->minimum)};
    for (size_t i = 0; i < VKM_GROUP_HALVES; i++)
        wide.factors[i] = (int8_t)g->factors[i];
    memcpy(to, formats[dtype].factors ? (const void *)&wide : &plain, scale_bytes(dtype));
}

/* Elements [first, first + n) of a group. */
static void read_group(const uint8_t *matrix, enum vkm_dtype dtype, struct place place,
                       size_t first, size_t n, float *values)
{
    const uint8_t *quants = matrix + place.quants;
    bool bytes = formats[dtype].bits == 8;
    struct vkm_group g;
    get_scales(dtype, matrix + place.scales, &g);
    for (size_t i = first; i < first + n; i++) {
        g.quants[i] = bytes ? (int8_t)quants[i] : quants[q4_byte(i)] >> q4_shift(i) & Q4_MAX;
        values[i - first] = vkm_group_value(&g, i);
    }
}

void vkm_row_read(const void *matrix, enum vkm_dtype dtype, size_t ld, size_t row, size_t first,
                  size_t n, float *values)
{
    if (!vkm_dtype_is_quantised(dtype)) {
        for (size_t i = 0; i < n; i++)
            values[i] = vkm_load_f32(matrix, dtype, row * ld + first + i);
        return;
    }
    for (size_t at = first, end = first + n, count; at < end; at += count) {
        size_t in_group = at % VKM_GROUP;
        count = end - at < VKM_GROUP - in_group ? end - at : VKM_GROUP - in_group;
        read_group(matrix, dtype, place_of(dtype, ld, row, at / VKM_GROUP), in_group, count,
                   values + (at - first));
    }
}

float vkm_row_load(const void *matrix, enum vkm_dtype dtype, size_t ld, size_t row, size_t i)
{
    float value;
    vkm_row_read(matrix, dtype, ld, row, i, 1, &value);
    return value;
}

bool vkm_group_fit(enum vkm_dtype dtype, struct vkm_group *g)
{
    bool negative = g->scale < 0, bytes = formats[dtype].bits == 8, fits = true;
    /* -128 has no opposite. */
    bool to_factors =
        formats[dtype].factors && g->factors[0] > INT8_MIN && g->factors[1] > INT8_MIN;
    if (negative)
        g->scale = -g->scale;
    for (size_t i = 0; i < VKM_GROUP_HALVES && negative && to_factors; i++)
        g->factors[i] = -g->factors[i];
    for (size_t i = 0; i < VKM_GROUP && negative && !to_factors; i++) {
        g->quants[i] = -g->quants[i];
        fits &= bytes && g->quants[i] <= INT8_MAX;
    }
    return fits && isfinite(g->scale) && isfinite(g->minimum);
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

/* The loops below have a fixed length and LANES sums side by side, so that compilers make vectors
 * of them: all weights of a quantised model come through here. */
#define LANES 8

static float sum_lanes(const float lanes[LANES])
{
    return (lanes[0] + lanes[4]) + (lanes[1] + lanes[5]) + (lanes[2] + lanes[6]) +
           (lanes[3] + lanes[7]);
}

/* The least and the largest value. */
static void find_range(const float x[VKM_GROUP], float *low, float *high)
{
    float lows[LANES], highs[LANES];
    memcpy(lows, x, sizeof(lows));
    memcpy(highs, x, sizeof(highs));
    for (size_t i = LANES; i < VKM_GROUP; i += LANES) {
        for (size_t j = 0; j < LANES; j++) {
            lows[j] = x[i + j] < lows[j] ? x[i + j] : lows[j];
            highs[j] = x[i + j] > highs[j] ? x[i + j] : highs[j];
        }
    }
    *low = lows[0];
    *high = highs[0];
    for (size_t j = 1; j < LANES; j++) {
        *low = lows[j] < *low ? lows[j] : *low;
        *high = highs[j] > *high ? highs[j] : *high;
    }
}

/* The nearest integers to (x - from) / step, in [0, most]. */
static void round_all(const float x[VKM_GROUP], float from, float step, float most,
                      int32_t quants[VKM_GROUP])
{
    float inverse = step > 0 ? 1 / step : 0;
    for (size_t i = 0; i < VKM_GROUP; i++) {
        float q = (x[i] - from) * inverse + 0.5f;
        q = q > 0 ? q : 0;
        q = q < most + 0.5f ? q : most + 0.5f;
        quants[i] = (int32_t)q;
    }
}

static bool quantise_q8(const float x[VKM_GROUP], struct vkm_group *g)
{
    float low, high;
    find_range(x, &low, &high);
    float largest = fmaxf(-low, high);
    g->scale = scale_for(largest, Q8_MAX);
    g->minimum = 0;
    round_all(x, -Q8_MAX * g->scale, g->scale, 2 * Q8_MAX, g->quants);
    for (size_t i = 0; i < VKM_GROUP; i++)
        g->quants[i] = g->scale > 0 ? g->quants[i] - Q8_MAX : 0;
    return largest <= F16_MAX * Q8_MAX;
}

/* Rounds x to a scale and a minimum; returns the sum of squared errors. */
static float round_q4(const float x[VKM_GROUP], float scale, float minimum, struct vkm_group *g)
{
    float errors[LANES] = {0};
    g->scale = scale;
    g->minimum = minimum;
    round_all(x, minimum, scale, Q4_MAX, g->quants);
    for (size_t i = 0; i < VKM_GROUP; i += LANES) {
        for (size_t j = 0; j < LANES; j++) {
            float off = scale * (float)g->quants[i + j] + minimum - x[i + j];
            errors[j] += off * off;
        }
    }
    return sum_lanes(errors);
}

/* The scale and minimum that suit the quants of g best, in least squares; false where all quants
 * are alike. */
static bool refit_q4(const float x[VKM_GROUP], const struct vkm_group *g, float *scale,
                     float *minimum)
{
    float sum_x[LANES] = {0}, sum_qx[LANES] = {0};
    int32_t sum_q = 0, sum_qq = 0;
    for (size_t i = 0; i < VKM_GROUP; i += LANES) {
        for (size_t j = 0; j < LANES; j++) {
            sum_x[j] += x[i + j];
            sum_qx[j] += (float)g->quants[i + j] * x[i + j];
        }
    }
    for (size_t i = 0; i < VKM_GROUP; i++) {
        sum_q += g->quants[i];
        sum_qq += g->quants[i] * g->quants[i];
    }
    float n = VKM_GROUP, determinant = n * (float)sum_qq - (float)sum_q * (float)sum_q;
    if (determinant <= 0)
        return false;
    float total = sum_lanes(sum_x);
    *scale = to_f16((n * sum_lanes(sum_qx) - (float)sum_q * total) / determinant);
    *minimum = to_f16((total - *scale * (float)sum_q) / n);
    return *scale > 0;
}

#define Q4_REFITS 3 /* each lowers the error; later ones hardly: see SPEED.md */

static bool quantise_q4(const float x[VKM_GROUP], struct vkm_group *g)
{
    float low, high, scale, minimum;
    struct vkm_group next;
    find_range(x, &low, &high);
    minimum = to_f16(low);
    float error = round_q4(x, scale_for(fmaxf(0, high - minimum), Q4_MAX), minimum, g);
    for (int i = 0; i < Q4_REFITS && refit_q4(x, g, &scale, &minimum); i++) {
        float lower = round_q4(x, scale, minimum, &next);
        if (lower >= error)
            break;
        error = lower;
        *g = next;
    }
    return fmaxf(-low, high) <= F16_MAX;
}

/* The smallest factor of the scale with which `range` is at most `steps` steps. */
static int32_t factor_for(float scale, float range, float steps)
{
    float factor = scale > 0 ? ceilf(range / (scale * steps)) : 0;
    return factor < INT8_MAX ? (int32_t)factor : INT8_MAX;
}

/* K types: 4 bits above the group's least value, 8 bits to both sides of the middle of its range,
 * where one half's factor is negative. That is as good as two positive ones, and what reads them
 * has to heed the sign. */
static bool quantise_k(enum vkm_dtype dtype, const float x[VKM_GROUP], struct vkm_group *g)
{
    bool bytes = formats[dtype].bits == 8;
    float low, high, ranges[VKM_GROUP_HALVES] = {0}, steps = bytes ? Q8_MAX : Q4_MAX;
    const size_t half = VKM_GROUP / VKM_GROUP_HALVES;
    find_range(x, &low, &high);
    g->minimum = bytes ? low + (high - low) / 2 : low;
    for (size_t i = 0; i < VKM_GROUP; i++)
        ranges[i / half] = fmaxf(ranges[i / half], fabsf(x[i] - g->minimum));
    g->scale = scale_for(fmaxf(ranges[0], ranges[1]), steps * INT8_MAX);
    for (size_t h = 0; h < VKM_GROUP_HALVES; h++) {
        g->factors[h] = factor_for(g->scale, ranges[h], steps);
        if (bytes && h > 0)
            g->factors[h] = -g->factors[h];
    }
    for (size_t i = 0; i < VKM_GROUP; i++) {
        float step = g->scale * (float)g->factors[i / half];
        float q = step != 0 ? rintf((x[i] - g->minimum) / step) : 0;
        g->quants[i] = (int32_t)fmaxf(-steps, fminf(steps, q));
    }
    return fmaxf(-low, high) <= F16_MAX * steps;
}

static bool quantise(enum vkm_dtype dtype, const float x[VKM_GROUP], struct vkm_group *g)
{
    return formats[dtype].factors  ? quantise_k(dtype, x, g)
           : dtype == VKM_DTYPE_Q8 ? quantise_q8(x, g)
                                   : quantise_q4(x, g);
}

/* --- rows --- */

static void put_group(uint8_t *matrix, enum vkm_dtype dtype, struct place place,
                      const struct vkm_group *g)
{
    uint8_t *quants = matrix + place.quants;
    put_scales(dtype, g, matrix + place.scales);
    if (formats[dtype].bits == 8) {
        for (size_t i = 0; i < VKM_GROUP; i++)
            quants[i] = (uint8_t)g->quants[i];
        return;
    }
    for (size_t i = 0; i < VKM_GROUP; i += 8)
        for (size_t j = 0; j < 4; j++)
            quants[q4_byte(i + j)] = (uint8_t)(g->quants[i + j] | g->quants[i + j + 4] << 4);
}

/* Zeros in the columns of a panel that lie beyond the row. */
static void end_row(uint8_t *matrix, enum vkm_dtype dtype, size_t ld, size_t row)
{
    const struct vkm_group zeros = {0};
    for (size_t at = ld; at < vkm_align_up(ld, VKM_PANEL_COLS); at += VKM_GROUP)
        put_group(matrix, dtype, place_of(dtype, ld, row, at / VKM_GROUP), &zeros);
}

/* The values of a group, at least one. Behind the end of the row Q8 has zeros; zero may lie far
 * from what types with a minimum can tell apart, so they repeat the last value there. */
static void take_group(const float *values, size_t n, enum vkm_dtype dtype, float x[VKM_GROUP])
{
    size_t count = n < VKM_GROUP ? n : VKM_GROUP;
    float rest = dtype == VKM_DTYPE_Q8 ? 0 : values[count - 1];
    memcpy(x, values, count * sizeof(*x));
    for (size_t i = count; i < VKM_GROUP; i++)
        x[i] = rest;
}

void vkm_row_put(void *matrix, enum vkm_dtype dtype, size_t ld, size_t row, size_t group,
                 const struct vkm_group *values)
{
    put_group(matrix, dtype, place_of(dtype, ld, row, group), values);
    if (group + 1 == ld / VKM_GROUP)
        end_row(matrix, dtype, ld, row);
}

void vkm_row_put_q8(void *matrix, size_t ld, size_t row, size_t group,
                    const uint8_t quants[VKM_GROUP], uint16_t scale)
{
    uint8_t *bytes = matrix;
    struct place place = place_of(VKM_DTYPE_Q8, ld, row, group);
    memcpy(bytes + place.quants, quants, VKM_GROUP);
    memcpy(bytes + place.scales, &scale, sizeof(scale));
    if (group + 1 == ld / VKM_GROUP)
        end_row(bytes, VKM_DTYPE_Q8, ld, row);
}

static bool store_quantised(uint8_t *matrix, enum vkm_dtype dtype, size_t ld, size_t row,
                            const float *values, size_t n)
{
    bool good = true;
    for (size_t first = 0; first < ld; first += VKM_GROUP) {
        struct vkm_group g = {0};
        float x[VKM_GROUP];
        if (first < n) {
            take_group(values + first, n - first, dtype, x);
            good &= quantise(dtype, x, &g);
        }
        put_group(matrix, dtype, place_of(dtype, ld, row, first / VKM_GROUP), &g);
    }
    end_row(matrix, dtype, ld, row);
    return good;
}

bool vkm_row_store(void *matrix, enum vkm_dtype dtype, size_t ld, size_t row, const float *values,
                   size_t n)
{
    if (vkm_dtype_is_quantised(dtype))
        return store_quantised(matrix, dtype, ld, row, values, n);
    for (size_t i = 0; i < ld; i++)
        vkm_store_f32(matrix, dtype, row * ld + i, i < n ? values[i] : 0);
    return true;
}
