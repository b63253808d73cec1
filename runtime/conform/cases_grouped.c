/* Cases of the grouped products over sorted pairs, and of the weighted sum after them. */
#include "conform/case.h"

struct grouped {
    uint32_t hidden, width, n_experts, k, rows;
    enum vkm_routing routing;
    uint32_t height; /* 1: of the lowest tiles, and so on; 0: any */
};

/* What the sort hands to the products. */
struct sorted {
    struct vkm_view tiles, order, args;
};

/* Tiles of one height, so that one list has them all: a case's own, of those that the path has. */
static struct vkm_tiling case_tiling(const struct vkm_suite *s, const struct grouped *g)
{
    struct vkm_tiling t = vkm_tiling(&s->caps, s->path, s->dtype, true);
    t.least_rows <<= g->height > 0 ? g->height - 1 : (g->rows + g->width) % t.n_heights;
    t.n_heights = 1;
    return t;
}

static struct sorted sort_pairs(struct vkm_suite *s, const struct grouped *g)
{
    struct vkm_tiling tiling = case_tiling(s, g);
    uint32_t n_pairs = g->rows * g->k, n_tiles = vkm_moe_sort_tiles(n_pairs);
    uint32_t list_tiles = vkm_moe_list_tiles(n_pairs, g->n_experts, tiling.least_rows);
    uint64_t cells = (uint64_t)n_tiles * g->n_experts;
    struct vkm_params_moe_histogram histogram = {
        .ids = vkm_case_ids(s, n_pairs, g->n_experts, g->routing),
        .histogram = vkm_case_output(s, cells),
        .n_pairs = n_pairs,
        .n_experts = g->n_experts,
    };
    struct vkm_params_moe_scan scan = {
        .histogram = histogram.histogram,
        .offsets = vkm_case_output(s, cells),
        .tiles = vkm_case_output(s, 4 * (uint64_t)list_tiles),
        .args = vkm_case_output(s, 6),
        .n_sort_tiles = n_tiles,
        .n_experts = g->n_experts,
        .up_groups = vkm_ceil_div(vkm_ld(g->width), tiling.cols),
        .down_groups = vkm_ceil_div(vkm_ld(g->hidden), tiling.cols),
        .least_rows = tiling.least_rows,
        .n_heights = tiling.n_heights,
        .list_tiles = list_tiles,
    };
    struct vkm_params_moe_scatter scatter = {
        .ids = histogram.ids,
        .offsets = scan.offsets,
        .order = vkm_case_output(s, n_pairs),
        .n_pairs = n_pairs,
        .n_experts = g->n_experts,
    };
    vkm_case_reference(s, VKM_K_moe_histogram, 1, &histogram);
    vkm_case_reference(s, VKM_K_moe_scan, 1, &scan);
    vkm_case_reference(s, VKM_K_moe_scatter, 1, &scatter);
    return (struct sorted){scan.tiles, scatter.order, scan.args};
}

static bool grouped_case(struct vkm_suite *s, const struct grouped *g)
{
    if (vkm_case_is_short(s) && g->rows * g->k <= 3 * g->n_experts) /* blocks of other heights */
        return false;
    return vkm_case(s, "hidden=%u width=%u experts=%u k=%u rows=%u %s tile=%u", g->hidden, g->width,
                    g->n_experts, g->k, g->rows, vkm_routing_name(g->routing),
                    case_tiling(s, g).least_rows);
}

static struct vkm_launch grouped_launch(const struct vkm_suite *s, const struct grouped *g,
                                        struct vkm_view args)
{
    struct vkm_tiling tiling = case_tiling(s, g);
    return (struct vkm_launch){.n_rows = g->rows * g->k,
                               .dtype = s->dtype,
                               .indirect = args,
                               .tile_rows = tiling.least_rows,
                               .tile_cols = tiling.cols,
                               .lists = 1};
}

static void grouped_up(struct vkm_suite *s, const struct grouped *g)
{
    if (!grouped_case(s, g))
        return;
    uint32_t n_pairs = g->rows * g->k, h_ld = vkm_ld(g->width);
    struct sorted sorted = sort_pairs(s, g);
    struct vkm_case_ffns ffns = vkm_case_ffns(s, g->n_experts, g->hidden, g->width);
    struct vkm_params_moe_gemm_up p = {
        .x = vkm_case_rows(s, g->rows, g->hidden, 1),
        .tiles = sorted.tiles,
        .order = sorted.order,
        .experts = ffns.table,
        .weights = ffns.weights,
        .h = vkm_case_output(s, (uint64_t)n_pairs * h_ld),
        .k = g->k,
        .k_ld = vkm_ld(g->hidden),
        .width = g->width,
        .h_ld = h_ld,
        .n_experts = g->n_experts,
    };
    vkm_case_run(s, grouped_launch(s, g, vkm_view_slice(sorted.args, 0, 12)), &p);
}

static void grouped_down(struct vkm_suite *s, const struct grouped *g)
{
    if (!grouped_case(s, g))
        return;
    uint32_t n_pairs = g->rows * g->k, y_ld = vkm_ld(g->hidden);
    struct sorted sorted = sort_pairs(s, g);
    struct vkm_case_ffns ffns = vkm_case_ffns(s, g->n_experts, g->hidden, g->width);
    struct vkm_params_moe_gemm_down p = {
        .h = vkm_case_rows(s, n_pairs, g->width, 1),
        .tiles = sorted.tiles,
        .order = sorted.order,
        .experts = ffns.table,
        .weights = ffns.weights,
        .y = vkm_case_output(s, (uint64_t)n_pairs * y_ld),
        .k_ld = vkm_ld(g->hidden),
        .width = g->width,
        .h_ld = vkm_ld(g->width),
        .n_out = g->hidden,
        .y_ld = y_ld,
        .n_experts = g->n_experts,
    };
    vkm_case_run(s, grouped_launch(s, g, vkm_view_slice(sorted.args, 12, 12)), &p);
}

static void grouped_shapes(struct vkm_suite *s,
                           void (*run)(struct vkm_suite *, const struct grouped *))
{
    static const struct grouped shapes[] = {
        {1, 1, 1, 1, 1, VKM_ROUTING_EVEN, 0},       {2, 7, 2, 2, 3, VKM_ROUTING_EVEN, 0},
        {31, 8, 8, 3, 8, VKM_ROUTING_EVEN, 0},      {33, 31, 8, 8, 9, VKM_ROUTING_SKEWED, 0},
        {64, 33, 64, 6, 31, VKM_ROUTING_EVEN, 0},   {128, 32, 64, 6, 33, VKM_ROUTING_SKEWED, 0},
        {70, 40, 3, 1, 32, VKM_ROUTING_ONE, 0},     {33, 40, 3, 1, 33, VKM_ROUTING_ONE, 0},
        {65, 20, 16, 7, 33, VKM_ROUTING_BOUNDS, 0}, {32, 33, 64, 64, 2, VKM_ROUTING_EVEN, 0},
        {96, 20, 160, 6, 5, VKM_ROUTING_ONE, 0},    {33, 2, 257, 9, 64, VKM_ROUTING_EVEN, 0},
        {40, 1, 1024, 12, 20, VKM_ROUTING_EVEN, 0}, {1280, 33, 3, 2, 5, VKM_ROUTING_EVEN, 0},
        {33, 1407, 3, 2, 2, VKM_ROUTING_EVEN, 0},   {128, 70, 8, 6, 100, VKM_ROUTING_EVEN, 0},
    };
    static const struct grouped large[] = {
        {33, 1408, 3, 2, 33, VKM_ROUTING_EVEN, 0},   {1408, 33, 3, 2, 33, VKM_ROUTING_EVEN, 0},
        {33, 8, 160, 160, 2, VKM_ROUTING_EVEN, 0},   {33, 8, 257, 257, 3, VKM_ROUTING_EVEN, 0},
        {8, 7, 1024, 1024, 2, VKM_ROUTING_EVEN, 0},  {96, 40, 1024, 12, 65, VKM_ROUTING_ONE, 0},
        {1280, 853, 16, 7, 33, VKM_ROUTING_EVEN, 0}, {2048, 1408, 6, 6, 40, VKM_ROUTING_SKEWED, 0},
    };
    for (size_t i = 0; i < VKM_COUNT(shapes); i++)
        run(s, &shapes[i]);
    struct vkm_tiling tiling = vkm_tiling(&s->caps, s->path, s->dtype, true);
    for (uint32_t h = 1; h <= tiling.n_heights;
         h++) /* full ones, and more than one for an expert */
        run(s, &(struct grouped){70, 40, 2, 1, 290, VKM_ROUTING_EVEN, h});
    for (size_t i = 0; i < VKM_COUNT(large) && s->params->level == VKM_CONFORM_FULL; i++)
        run(s, &large[i]);
}

void vkm_cases_moe_gemm_up(struct vkm_suite *s)
{
    grouped_shapes(s, grouped_up);
}

void vkm_cases_moe_gemm_down(struct vkm_suite *s)
{
    grouped_shapes(s, grouped_down);
}

static void combine(struct vkm_suite *s, uint32_t width, uint32_t k, uint32_t rows)
{
    if (!vkm_case(s, "width=%u k=%u rows=%u", width, k, rows))
        return;
    struct vkm_params_moe_combine p = {
        .y = vkm_case_rows(s, (uint64_t)rows * k, width, 1),
        .gates = vkm_case_floats(s, (uint64_t)rows * k, 0, 1),
        .x = vkm_case_rows(s, rows, width, 1),
        .k = k,
        .ld = vkm_ld(width),
        .n_rows = rows,
    };
    vkm_case_run(s, (struct vkm_launch){.n_rows = rows}, &p);
}

void vkm_cases_moe_combine(struct vkm_suite *s)
{
    static const uint32_t widths[] = {1, 2, 7, 8, 31, 32, 33, 127, 128, 1407, 2048, 10944};
    static const uint32_t rows[] = {1, 2, 3, 5, 8, 9, 31, 32, 33, 64, 100};
    static const uint32_t ks[] = {1, 2, 3, 6, 12, 64, 257};
    for (size_t i = 0; i < VKM_COUNT(widths); i++)
        combine(s, widths[i], 6, 2);
    for (size_t i = 0; i < VKM_COUNT(rows); i++)
        combine(s, 40, 2, rows[i]);
    for (size_t i = 0; i < VKM_COUNT(ks); i++)
        combine(s, 33, ks[i], 3);
    if (s->params->level == VKM_CONFORM_FULL) {
        combine(s, 33, 1024, 3);
        combine(s, 1408, 6, 257);
    }
}
