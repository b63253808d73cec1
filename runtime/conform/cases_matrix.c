/* Cases of the products of a weight matrix with rows. */
#include "base/rows.h"
#include "conform/case.h"

#include <string.h>

enum special {
    SPECIAL_NONE,
    SPECIAL_NAN,
    SPECIAL_ZERO,
    SPECIAL_TINY,
    SPECIAL_HUGE,
    SPECIAL_FAINT,
    SPECIAL_VAST
};

struct shape {
    uint32_t k, n_out, n_rows;
    enum special special;
};

/* The kernels of a family have params of one layout. */
_Static_assert(sizeof(struct vkm_params_gemv) == sizeof(struct vkm_params_gemv_add), "layout");
_Static_assert(sizeof(struct vkm_params_gemv) == sizeof(struct vkm_params_gemm), "layout");
_Static_assert(sizeof(struct vkm_params_gemv) == sizeof(struct vkm_params_gemm_add), "layout");

/* Fills a row of weights with one value. */
static void fill_row(struct vkm_suite *s, const struct shape *shape, unsigned char *w, uint32_t row,
                     float value)
{
    uint32_t ld = vkm_ld(shape->k);
    float *values = vkm_malloc(vkm_gpu_allocator(s->gpu), shape->k, sizeof(*values));
    if (!values)
        vkm_fail_memory(&s->error, shape->k * sizeof(*values), "a row of weights");
    for (uint32_t i = 0; values && i < shape->k; i++)
        values[i] = value;
    if (values)
        vkm_row_store(w, s->dtype, ld, row, values, shape->k);
    vkm_free(vkm_gpu_allocator(s->gpu), values);
}

/* On either side of 2^-100, below which vkm_round_int8 has zeros. */
static void make_faint(const struct shape *shape, float *x)
{
    uint32_t ld = vkm_ld(shape->k);
    for (size_t r = 0; r < shape->n_rows; r++)
        for (size_t i = 0; i < shape->k; i++)
            x[r * ld + i] *= r % 2 ? 0x1p-100f : 0x1p-99f;
}

/* Each row has one of the largest powers of two, which weights of zero take no notice of. */
static void make_vast(struct vkm_suite *s, const struct shape *shape, unsigned char *w, float *x)
{
    uint32_t ld = vkm_ld(shape->k);
    for (uint32_t r = 0; r < shape->n_rows; r++)
        x[r * ld + r % shape->k] = r % 2 ? -0x1p127f : 0x1p127f;
    for (uint32_t o = 0; o < shape->n_out; o++)
        fill_row(s, shape, w, o, 0);
}

/* NaN and infinity in single activations, and in single weights of a type that has them; a row of
 * zeros; weights that are denormal in F16, or need such a scale, with small activations;
 * activations beyond what F16 can hold among others, with large weights; activations at either end
 * of what F32 can hold. */
static void put_special(struct vkm_suite *s, const struct shape *shape, unsigned char *w, float *x)
{
    uint32_t ld = vkm_ld(shape->k), last_row = shape->n_out - 1;
    if (shape->special == SPECIAL_NAN) {
        if (!vkm_dtype_is_quantised(s->dtype)) {
            vkm_store_f32(w, s->dtype, shape->k / 2, NAN);
            vkm_store_f32(w, s->dtype, (size_t)last_row * ld + shape->k - 1, INFINITY);
        }
        x[(shape->n_rows - 1) * ld + shape->k / 3] = NAN;
    } else if (shape->special == SPECIAL_ZERO) {
        memset(x, 0, ld * sizeof(*x));
        fill_row(s, shape, w, last_row, -0.0f);
    } else if (shape->special == SPECIAL_TINY) {
        fill_row(s, shape, w, 0, 0x1.8p-23f);
        for (size_t i = 0; i < shape->k; i++)
            x[i] *= 0x1p-60f;
    } else if (shape->special == SPECIAL_HUGE) {
        for (size_t i = 0; i < (size_t)shape->n_rows * ld; i += 37) /* at most one in 32 */
            x[i] *= 0x1p20f;
        fill_row(s, shape, w, last_row, 0x1.8p10f);
    } else if (shape->special == SPECIAL_FAINT) {
        make_faint(shape, x);
    } else if (shape->special == SPECIAL_VAST) {
        make_vast(s, shape, w, x);
    }
}

static void product(struct vkm_suite *s, const struct shape *shape, bool use_bias, bool adds)
{
    static const char *const specials[] = {"",      " nan",   " zero", " tiny",
                                           " huge", " faint", " vast"};
    if (!vkm_case_wants_rows(s, shape->n_rows) ||
        !vkm_case(s, "k=%u n=%u rows=%u%s%s", shape->k, shape->n_out, shape->n_rows,
                  use_bias ? " bias" : "", specials[shape->special]))
        return;
    uint32_t k_ld = vkm_ld(shape->k), y_ld = vkm_ld(shape->n_out);
    uint64_t y_size = (uint64_t)shape->n_rows * y_ld;
    struct vkm_params_gemv p = {
        .w = vkm_case_weights(s, shape->n_out, shape->k, 3 / sqrtf((float)shape->k)),
        .x = vkm_case_rows(s, shape->n_rows, shape->k, 1),
        .y = adds ? vkm_case_floats(s, y_size, -1, 1) : vkm_case_output(s, y_size),
        .k_ld = k_ld,
        .n_out = shape->n_out,
        .n_rows = shape->n_rows,
        .y_ld = y_ld,
        .use_bias = use_bias,
    };
    if (use_bias)
        p.bias = vkm_case_floats(s, shape->n_out, -2, 2);
    put_special(s, shape, vkm_case_host(p.w), vkm_case_host(p.x));
    vkm_case_run(s, (struct vkm_launch){.n_rows = shape->n_rows, .dtype = s->dtype}, &p);
}

static void products(struct vkm_suite *s, bool adds)
{
    static const uint32_t sizes[] = {1, 2, 7, 8, 31, 32, 33, 127, 128, 1407, 1408, 2048, 10944};
    static const uint32_t rows[] = {1, 2, 3, 4, 5, 8, 9, 16, 31, 32, 33, 64, 100, 129};
    static const struct shape specials[] = {
        {40, 70, 3, SPECIAL_NAN},   {300, 5, 1, SPECIAL_NAN},   {40, 70, 33, SPECIAL_NAN},
        {64, 40, 2, SPECIAL_ZERO},  {64, 40, 1, SPECIAL_TINY},  {65, 33, 40, SPECIAL_ZERO},
        {100, 9, 40, SPECIAL_TINY}, {100, 9, 40, SPECIAL_HUGE}, {100, 9, 9, SPECIAL_FAINT},
        {33, 5, 9, SPECIAL_VAST},
    };
    static const struct shape large[] = {
        {2048, 2048, 1, 0},
        {2048, 2048, 7, 0},
        {10944, 2048, 1, 0},
        {1408, 2048, 100, 0},
    };
    for (size_t i = 0; i < VKM_COUNT(sizes); i++) {
        product(s, &(struct shape){.k = sizes[i], .n_out = 33, .n_rows = 1}, i % 2, adds);
        product(s, &(struct shape){.k = sizes[i], .n_out = 20, .n_rows = 5}, !(i % 2), adds);
        product(s, &(struct shape){.k = 33, .n_out = sizes[i], .n_rows = 1}, !(i % 2), adds);
        product(s, &(struct shape){.k = 65, .n_out = sizes[i], .n_rows = 3}, i % 2, adds);
    }
    for (size_t i = 0; i < VKM_COUNT(rows); i++)
        product(s, &(struct shape){.k = 40, .n_out = 70, .n_rows = rows[i]}, i % 2, adds);
    for (size_t i = 0; i < VKM_COUNT(specials); i++)
        product(s, &specials[i], i % 2, adds);
    for (size_t i = 0; i < VKM_COUNT(large) && s->params->level == VKM_CONFORM_FULL; i++)
        product(s, &large[i], i % 2, adds);
}

void vkm_cases_gemv(struct vkm_suite *s)
{
    products(s, false);
    /* More workgroups than one axis holds. */
    if (s->dtype == VKM_DTYPE_BF16 && s->params->level != VKM_CONFORM_BRIEF)
        product(s, &(struct shape){.k = 1, .n_out = 300000, .n_rows = 1}, true, false);
}

void vkm_cases_gemv_add(struct vkm_suite *s)
{
    products(s, true);
}

void vkm_cases_gemm(struct vkm_suite *s)
{
    products(s, false);
}

void vkm_cases_gemm_add(struct vkm_suite *s)
{
    products(s, true);
}
