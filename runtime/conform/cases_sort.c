/* Cases of the sort of pairs by expert. */
#include "conform/case.h"

struct sort {
    uint32_t n_pairs, n_experts, n_tiles;
    struct vkm_tiling tiling;
    struct vkm_view ids, histogram, offsets;
};

static struct vkm_params_moe_histogram histogram_params(const struct sort *t)
{
    return (struct vkm_params_moe_histogram){
        .ids = t->ids,
        .histogram = t->histogram,
        .n_pairs = t->n_pairs,
        .n_experts = t->n_experts,
    };
}

static struct vkm_params_moe_scan scan_params(struct vkm_suite *s, const struct sort *t)
{
    uint32_t list_tiles = vkm_moe_list_tiles(t->n_pairs, t->n_experts, vkm_tiling_most(&t->tiling));
    return (struct vkm_params_moe_scan){
        .histogram = t->histogram,
        .offsets = t->offsets,
        .tiles = vkm_case_output(s, 4 * (uint64_t)list_tiles * t->tiling.n_heights),
        .args = vkm_case_output(s, 6 * (uint64_t)t->tiling.n_heights),
        .n_sort_tiles = t->n_tiles,
        .n_experts = t->n_experts,
        .up_groups = 44,
        .down_groups = 64,
        .least_rows = t->tiling.least_rows,
        .n_heights = t->tiling.n_heights,
        .list_tiles = list_tiles,
    };
}

static void run_histogram(struct vkm_suite *s, struct sort *t)
{
    struct vkm_params_moe_histogram p = histogram_params(t);
    vkm_case_run(s, (struct vkm_launch){.n_rows = t->n_pairs}, &p);
}

static void run_scan(struct vkm_suite *s, struct sort *t)
{
    struct vkm_params_moe_histogram before = histogram_params(t);
    struct vkm_params_moe_scan p = scan_params(s, t);
    vkm_case_reference(s, VKM_K_moe_histogram, 1, &before);
    vkm_case_run(s, (struct vkm_launch){.n_rows = t->n_pairs}, &p);
}

static void run_scatter(struct vkm_suite *s, struct sort *t)
{
    struct vkm_params_moe_histogram counts = histogram_params(t);
    struct vkm_params_moe_scan before = scan_params(s, t);
    struct vkm_params_moe_scatter p = {
        .ids = t->ids,
        .offsets = t->offsets,
        .order = vkm_case_output(s, t->n_pairs),
        .n_pairs = t->n_pairs,
        .n_experts = t->n_experts,
    };
    vkm_case_reference(s, VKM_K_moe_histogram, 1, &counts);
    vkm_case_reference(s, VKM_K_moe_scan, 1, &before);
    vkm_case_run(s, (struct vkm_launch){.n_rows = t->n_pairs}, &p);
}

static void sort_case(struct vkm_suite *s, uint32_t n_pairs, uint32_t n_experts,
                      enum vkm_routing routing, void (*run)(struct vkm_suite *, struct sort *))
{
    static const struct vkm_tiling tilings[] = {{32, 1, 32}, {16, 3, 32}, {16, 4, 64},
                                                {16, 1, 32}, {32, 3, 32}, {16, 2, 32}};
    struct vkm_tiling tiling = tilings[(n_pairs + n_experts + routing) % VKM_COUNT(tilings)];
    if (!vkm_case(s, "pairs=%u experts=%u %s tiles=%u..%u", n_pairs, n_experts,
                  vkm_routing_name(routing), tiling.least_rows, vkm_tiling_most(&tiling)))
        return;
    struct sort t = {.n_pairs = n_pairs,
                     .n_experts = n_experts,
                     .n_tiles = vkm_moe_sort_tiles(n_pairs),
                     .tiling = tiling};
    uint64_t cells = (uint64_t)t.n_tiles * n_experts;
    t.ids = vkm_case_ids(s, n_pairs, n_experts, routing);
    t.histogram = vkm_case_output(s, cells);
    t.offsets = vkm_case_output(s, cells);
    run(s, &t);
}

static void sort_cases(struct vkm_suite *s, void (*run)(struct vkm_suite *, struct sort *))
{
    static const uint32_t experts[] = {1, 2, 7, 8, 63, 64, 128, 160, 257, 1024};
    static const uint32_t pairs[] = {1, 2, 6, 31, 32, 33, 127, 128, 129, 255, 256, 257, 700, 3072};
    for (size_t i = 0; i < VKM_COUNT(experts); i++)
        for (uint32_t r = 0; r < VKM_ROUTING_COUNT; r++)
            sort_case(s, 300, experts[i], (enum vkm_routing)r, run);
    for (size_t i = 0; i < VKM_COUNT(pairs); i++)
        sort_case(s, pairs[i], i % 2 ? 64 : 5, (enum vkm_routing)(i % VKM_ROUTING_COUNT), run);
    sort_case(s, 16, 7, VKM_ROUTING_ONE, run); /* the lowest tile, and full */
    sort_case(s, 6 * 1024, 64, VKM_ROUTING_EVEN, run);
    sort_case(s, 12 * 512, 1024, VKM_ROUTING_SKEWED, run);
}

void vkm_cases_moe_histogram(struct vkm_suite *s)
{
    sort_cases(s, run_histogram);
}

void vkm_cases_moe_scan(struct vkm_suite *s)
{
    sort_cases(s, run_scan);
}

void vkm_cases_moe_scatter(struct vkm_suite *s)
{
    sort_cases(s, run_scatter);
}
