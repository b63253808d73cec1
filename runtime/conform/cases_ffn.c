/* Cases of the FFN kernels that serve each row on its own: dense, shared, and routed experts in the
 * decode form. */
#include "conform/case.h"

#include <string.h>

_Static_assert(sizeof(struct vkm_params_ffn_gemv_up) == sizeof(struct vkm_params_ffn_gemm_up),
               "layout");

/* `size` of the activations: large ones drive silu into saturation on both sides. */
static void ffn_up(struct vkm_suite *s, uint32_t hidden, uint32_t width, uint32_t rows, float size)
{
    if (!vkm_case_wants_rows(s, rows) ||
        !vkm_case(s, "hidden=%u width=%u rows=%u size=%g", hidden, width, rows, (double)size))
        return;
    uint32_t h_ld = vkm_ld(width);
    struct vkm_params_ffn_gemv_up p = {
        .w = vkm_case_ffn(s, hidden, width),
        .x = vkm_case_rows(s, rows, hidden, size),
        .h = vkm_case_output(s, (uint64_t)rows * h_ld),
        .k_ld = vkm_ld(hidden),
        .width = width,
        .n_rows = rows,
        .h_ld = h_ld,
    };
    vkm_case_run(s, (struct vkm_launch){.n_rows = rows, .dtype = s->dtype}, &p);
}

/* NaN and infinity in single weights and in one row's activations. */
static void ffn_up_nan(struct vkm_suite *s, uint32_t hidden, uint32_t width, uint32_t rows)
{
    if (!vkm_case_wants_rows(s, rows) ||
        !vkm_case(s, "hidden=%u width=%u rows=%u nan", hidden, width, rows))
        return;
    uint32_t k_ld = vkm_ld(hidden), h_ld = vkm_ld(width);
    struct vkm_params_ffn_gemv_up p = {
        .w = vkm_case_ffn(s, hidden, width),
        .x = vkm_case_rows(s, rows, hidden, 1),
        .h = vkm_case_output(s, (uint64_t)rows * h_ld),
        .k_ld = k_ld,
        .width = width,
        .n_rows = rows,
        .h_ld = h_ld,
    };
    float *x = vkm_case_host(p.x);
    void *w = vkm_case_host(p.w);
    vkm_store_f32(w, s->dtype, hidden / 2, NAN);
    vkm_store_f32(w, s->dtype, ((size_t)width + 2) * k_ld + hidden - 1, INFINITY);
    x[(size_t)(rows - 1) * k_ld + hidden / 3] = NAN;
    vkm_case_run(s, (struct vkm_launch){.n_rows = rows, .dtype = s->dtype}, &p);
}

static void ffns_up(struct vkm_suite *s)
{
    static const uint32_t sizes[] = {1, 2, 7, 8, 31, 32, 33, 127, 128, 853, 1407, 1408};
    static const uint32_t rows[] = {1, 2, 3, 5, 8, 9, 31, 32, 33, 64, 100, 129};
    for (size_t i = 0; i < VKM_COUNT(sizes); i++) {
        ffn_up(s, sizes[i], 33, i % 2 ? 3 : 1, 1);
        ffn_up(s, 65, sizes[i], i % 2 ? 4 : 1, 1);
    }
    for (size_t i = 0; i < VKM_COUNT(rows); i++)
        ffn_up(s, 40, 70, rows[i], 1);
    ffn_up(s, 64, 50, 2, 20);
    ffn_up(s, 64, 50, 40, 20);
    ffn_up(s, 64, 50, 5, 1e-20f); /* what comes out is denormal */
    ffn_up(s, 10944, 9, 2, 1);
    ffn_up(s, 33, 2048, 1, 1);
    ffn_up(s, 33, 10944, 1, 1);
    ffn_up_nan(s, 40, 33, 2);
    ffn_up_nan(s, 65, 40, 33);
    if (s->params->level == VKM_CONFORM_FULL) {
        ffn_up(s, 2048, 1408, 1, 1);
        ffn_up(s, 2048, 1408, 64, 1);
        ffn_up(s, 1024, 10944, 2, 1);
    }
}

void vkm_cases_ffn_gemv_up(struct vkm_suite *s)
{
    ffns_up(s);
}

void vkm_cases_ffn_gemm_up(struct vkm_suite *s)
{
    ffns_up(s);
}

struct moe_shape {
    uint32_t hidden, width, n_experts, k, rows;
    enum vkm_routing routing;
    uint32_t shared_width;
};

static bool moe_case(struct vkm_suite *s, const struct moe_shape *m)
{
    return vkm_case(s, "hidden=%u width=%u experts=%u k=%u rows=%u shared=%u %s", m->hidden,
                    m->width, m->n_experts, m->k, m->rows, m->shared_width,
                    vkm_routing_name(m->routing));
}

static void moe_up(struct vkm_suite *s, const struct moe_shape *m)
{
    if (!moe_case(s, m))
        return;
    uint32_t h_ld = vkm_ld(m->width), n_pairs = m->rows * m->k;
    struct vkm_case_ffns ffns = vkm_case_ffns(s, m->n_experts, m->hidden, m->width);
    struct vkm_params_moe_gemv_up p = {
        .x = vkm_case_rows(s, m->rows, m->hidden, 1),
        .ids = vkm_case_ids(s, n_pairs, m->n_experts, m->routing),
        .experts = ffns.table,
        .weights = ffns.weights,
        .h = vkm_case_output(s, (uint64_t)n_pairs * h_ld),
        .k = m->k,
        .k_ld = vkm_ld(m->hidden),
        .width = m->width,
        .n_pairs = n_pairs,
        .h_ld = h_ld,
        .n_experts = m->n_experts,
    };
    vkm_case_run(s, (struct vkm_launch){.n_rows = n_pairs, .dtype = s->dtype}, &p);
}

static void moe_down(struct vkm_suite *s, const struct moe_shape *m)
{
    if (!moe_case(s, m))
        return;
    uint32_t x_ld = vkm_ld(m->hidden), n_pairs = m->rows * m->k;
    struct vkm_case_ffns ffns = vkm_case_ffns(s, m->n_experts, m->hidden, m->width);
    struct vkm_params_moe_gemv_down p = {
        .h = vkm_case_rows(s, n_pairs, m->width, 1),
        .ids = vkm_case_ids(s, n_pairs, m->n_experts, m->routing),
        .gates = vkm_case_floats(s, n_pairs, 0, 1),
        .experts = ffns.table,
        .weights = ffns.weights,
        .x = vkm_case_rows(s, m->rows, m->hidden, 1),
        .k = m->k,
        .n_out = m->hidden,
        .x_ld = x_ld,
        .width = m->width,
        .h_ld = vkm_ld(m->width),
        .n_experts = m->n_experts,
    };
    if (m->shared_width > 0) {
        p.shared_w = vkm_case_ffn(s, m->hidden, m->shared_width);
        p.shared_h = vkm_case_rows(s, m->rows, m->shared_width, 1);
        p.shared_width = m->shared_width;
        p.shared_ld = vkm_ld(m->shared_width);
    }
    vkm_case_run(s, (struct vkm_launch){.n_rows = m->rows, .dtype = s->dtype}, &p);
}

static void moe_shapes(struct vkm_suite *s,
                       void (*run)(struct vkm_suite *, const struct moe_shape *))
{
    static const struct moe_shape shapes[] = {
        {1, 1, 1, 1, 1, VKM_ROUTING_EVEN, 0},        {2, 7, 2, 2, 1, VKM_ROUTING_EVEN, 1},
        {31, 8, 8, 3, 2, VKM_ROUTING_EVEN, 2},       {33, 31, 8, 8, 1, VKM_ROUTING_EVEN, 31},
        {64, 33, 64, 6, 1, VKM_ROUTING_EVEN, 66},    {128, 32, 64, 6, 2, VKM_ROUTING_SKEWED, 0},
        {127, 40, 16, 7, 3, VKM_ROUTING_BOUNDS, 40}, {32, 33, 64, 64, 1, VKM_ROUTING_EVEN, 7},
        {96, 20, 160, 6, 5, VKM_ROUTING_ONE, 40},    {33, 2, 257, 9, 8, VKM_ROUTING_EVEN, 33},
        {40, 1, 1024, 12, 9, VKM_ROUTING_SKEWED, 2}, {128, 9, 8, 1, 31, VKM_ROUTING_EVEN, 128},
        {70, 33, 8, 2, 32, VKM_ROUTING_BOUNDS, 0},   {65, 31, 8, 4, 33, VKM_ROUTING_EVEN, 5},
        {1280, 100, 3, 2, 1, VKM_ROUTING_EVEN, 0},   {100, 853, 3, 2, 2, VKM_ROUTING_EVEN, 853},
        {33, 1407, 3, 2, 1, VKM_ROUTING_EVEN, 2815}, {2048, 33, 3, 2, 1, VKM_ROUTING_EVEN, 64},
    };
    static const struct moe_shape large[] = {
        {33, 1408, 3, 2, 1, VKM_ROUTING_EVEN, 2816},  {1408, 33, 3, 2, 2, VKM_ROUTING_EVEN, 66},
        {33, 8, 160, 160, 2, VKM_ROUTING_EVEN, 16},   {33, 8, 257, 257, 1, VKM_ROUTING_EVEN, 8},
        {8, 7, 1024, 1024, 1, VKM_ROUTING_EVEN, 0},   {96, 40, 1024, 12, 33, VKM_ROUTING_ONE, 0},
        {1280, 853, 16, 7, 1, VKM_ROUTING_EVEN, 853}, {2048, 1408, 6, 6, 1, VKM_ROUTING_EVEN, 2816},
        {2048, 1408, 6, 6, 9, VKM_ROUTING_SKEWED, 0},
    };
    for (size_t i = 0; i < VKM_COUNT(shapes); i++)
        run(s, &shapes[i]);
    for (size_t i = 0; i < VKM_COUNT(large) && s->params->level == VKM_CONFORM_FULL; i++)
        run(s, &large[i]);
}

void vkm_cases_moe_gemv_up(struct vkm_suite *s)
{
    moe_shapes(s, moe_up);
}

void vkm_cases_moe_gemv_down(struct vkm_suite *s)
{
    moe_shapes(s, moe_down);
}
