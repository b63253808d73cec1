/* The stable counting sort of (row, slot) pairs by expert. */
#include "kernels/ref.h"

void vkm_ref_moe_histogram(const struct vkm_ref *ref, const void *params)
{
    const struct vkm_params_moe_histogram *p = params;
    const uint32_t *ids = vkm_ref_in(ref, &p->ids);
    uint32_t *histogram = vkm_ref_out(ref, &p->histogram);
    size_t n_tiles = vkm_ceil_div(p->n_pairs, VKM_SORT_TILE);
    for (size_t i = 0; i < n_tiles * p->n_experts; i++)
        histogram[i] = 0;
    for (size_t i = 0; i < p->n_pairs; i++) {
        if (ids[i] < p->n_experts)
            histogram[i / VKM_SORT_TILE * p->n_experts + ids[i]]++;
    }
}

/* The list of the lowest tiles that hold so many pairs, which are not more than the highest do. */
static uint32_t list_of(const struct vkm_params_moe_scan *p, uint32_t pairs)
{
    uint32_t list = 0;
    while (p->least_rows << list < pairs)
        list++;
    return list;
}

void vkm_ref_moe_scan(const struct vkm_ref *ref, const void *params)
{
    const struct vkm_params_moe_scan *p = params;
    const uint32_t *histogram = vkm_ref_in(ref, &p->histogram);
    uint32_t *offsets = vkm_ref_out(ref, &p->offsets);
    uint32_t *tiles = vkm_ref_out(ref, &p->tiles);
    uint32_t *args = vkm_ref_out(ref, &p->args);
    uint32_t sorted = 0, n_tiles[VKM_TILE_HEIGHTS] = {0};
    uint32_t most = p->least_rows << (p->n_heights - 1);
    for (uint32_t e = 0; e < p->n_experts; e++) {
        uint32_t first = sorted;
        for (size_t t = 0; t < p->n_sort_tiles; t++) {
            offsets[t * p->n_experts + e] = sorted;
            sorted += histogram[t * p->n_experts + e];
        }
        for (uint32_t i = first; i < sorted; i += most) {
            uint32_t rows = vkm_min_u32(sorted - i, most), list = list_of(p, rows);
            uint32_t *tile = tiles + 4 * ((size_t)list * p->list_tiles + n_tiles[list]++);
            tile[0] = e;
            tile[1] = i;
            tile[2] = rows;
            tile[3] = 0;
        }
    }
    for (size_t l = 0; l < p->n_heights; l++) {
        const uint32_t counts[6] = {p->up_groups, n_tiles[l], 1, p->down_groups, n_tiles[l], 1};
        for (size_t i = 0; i < VKM_COUNT(counts); i++)
            args[6 * l + i] = counts[i];
    }
}

void vkm_ref_moe_scatter(const struct vkm_ref *ref, const void *params)
{
    const struct vkm_params_moe_scatter *p = params;
    const uint32_t *ids = vkm_ref_in(ref, &p->ids);
    const uint32_t *offsets = vkm_ref_in(ref, &p->offsets);
    uint32_t *order = vkm_ref_out(ref, &p->order);
    for (uint32_t i = 0; i < p->n_pairs; i++) {
        uint32_t first = i / VKM_SORT_TILE * VKM_SORT_TILE;
        if (ids[i] >= p->n_experts)
            continue;
        uint32_t at = offsets[(size_t)(i / VKM_SORT_TILE) * p->n_experts + ids[i]];
        for (uint32_t j = first; j < i; j++)
            at += ids[j] == ids[i];
        order[at] = i;
    }
}
