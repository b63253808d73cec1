/* The tiles of products of many rows: how high they may be, how pairs are sorted for them, and
 * which an expert's pairs get. */
#include "support.h"

#include <string.h>

#include "kernels/ops.h"
#include "kernels/ref.h"

static void *host_view(void *user, const struct vkm_view *view, bool written)
{
    (void)user, (void)written;
    return view->buffer->mapped + view->offset;
}

#define VIEW(array)                                                                                \
    {                                                                                              \
        &(struct vkm_buffer){.size = sizeof(array), .mapped = (unsigned char *)(array)}, 0,        \
            sizeof(array)                                                                          \
    }

static struct vkm_caps caps_with(uint32_t shared_bytes, uint32_t matrix)
{
    return (struct vkm_caps){.max_invocations = 256,
                             .shared_bytes = shared_bytes,
                             .subgroup_size = 32,
                             .matrix = matrix};
}

#define expect_tiling(tiling, least, most, columns)                                                \
    do {                                                                                           \
        struct vkm_tiling t_ = (tiling);                                                           \
        assert_int_equal(t_.least_rows, least);                                                    \
        assert_int_equal(vkm_tiling_most(&t_), most);                                              \
        assert_int_equal(t_.cols, columns);                                                        \
    } while (0)

static void what_cpu_drivers_take_has_one_height(void **state)
{
    struct vkm_caps caps = caps_with(32768, 0);
    (void)state;
    expect_tiling(vkm_tiling(&caps, VKM_PATH_SUBGROUP, VKM_DTYPE_BF16, true), 32, 32, 32);
    expect_tiling(vkm_tiling(&caps, VKM_PATH_WIDE, VKM_DTYPE_Q8, false), 32, 32, 32);
}

static void tiles_are_as_high_as_shared_memory_has_room_for(void **state)
{
    struct vkm_caps little = caps_with(16384, 0), enough = caps_with(32768, 0);
    (void)state;
    expect_tiling(vkm_tiling(&little, VKM_PATH_BASE, VKM_DTYPE_BF16, true), 16, 32, 32);
    expect_tiling(vkm_tiling(&little, VKM_PATH_BASE, VKM_DTYPE_BF16, false), 16, 64, 32);
    expect_tiling(vkm_tiling(&enough, VKM_PATH_BASE, VKM_DTYPE_BF16, true), 16, 64, 32);
    expect_tiling(vkm_tiling(&little, VKM_PATH_INT8, VKM_DTYPE_Q8K, true), 16, 16, 32);
    expect_tiling(vkm_tiling(&little, VKM_PATH_INT8, VKM_DTYPE_Q8, true), 16, 32, 32);
    expect_tiling(vkm_tiling(&enough, VKM_PATH_INT8, VKM_DTYPE_Q8K, true), 16, 64, 32);
    enough.max_invocations = 128; /* 64 rows take more */
    expect_tiling(vkm_tiling(&enough, VKM_PATH_INT8, VKM_DTYPE_Q8K, true), 16, 32, 32);
}

static void each_of_four_subgroups_has_a_matrix(void **state)
{
    static const uint32_t shapes[] = {0x080808, 0x101010, 0x101008, 0x100810, 0x081010};
    static const uint32_t sizes[] = {32768, 49152, 65536};
    (void)state;
    for (size_t i = 0; i < VKM_COUNT(shapes) * VKM_COUNT(sizes); i++) {
        uint32_t shape = shapes[i / VKM_COUNT(sizes)];
        struct vkm_caps caps = caps_with(sizes[i % VKM_COUNT(sizes)], shape);
        struct vkm_tiling t = vkm_tiling(&caps, VKM_PATH_COOPMAT, VKM_DTYPE_Q4, true);
        uint32_t down = t.least_rows / (shape & 255), across = t.cols / (shape >> 8 & 255);
        assert_true(t.least_rows >= VKM_TILE_LEAST);
        if (down > 1)
            assert_true(down % 2 == 0 && across % 2 == 0);
        else
            assert_true(down == 1 && across % 4 == 0);
    }
    struct vkm_caps caps = caps_with(49152, 0x101010);
    expect_tiling(vkm_tiling(&caps, VKM_PATH_COOPMAT, VKM_DTYPE_BF16, true), 16, 128, 64);
    caps.matrix = 0x100808; /* more than eight of them would take too many registers */
    expect_tiling(vkm_tiling(&caps, VKM_PATH_COOPMAT, VKM_DTYPE_BF16, true), 16, 64, 32);
}

static void heights_that_few_rows_do_not_need_are_left_out(void **state)
{
    static const struct {
        uint32_t rows, most;
    } cases[] = {{1, 16}, {16, 16}, {17, 32}, {32, 32}, {33, 64}, {64, 64}, {65, 128}, {9999, 128}};
    (void)state;
    for (size_t i = 0; i < VKM_COUNT(cases); i++)
        expect_tiling(vkm_tiling_for((struct vkm_tiling){16, 4, 64}, cases[i].rows), 16,
                      cases[i].most, 64);
}

static void one_height_can_be_had(void **state)
{
    struct vkm_caps caps = caps_with(32768, 0);
    (void)state;
    for (uint32_t rows = 16; rows <= 64; rows *= 2) {
        caps.tile_rows = rows;
        expect_tiling(vkm_tiling(&caps, VKM_PATH_BASE, VKM_DTYPE_F32, true), rows, rows, 32);
    }
    caps.tile_rows = 128;
    expect_tiling(vkm_tiling(&caps, VKM_PATH_BASE, VKM_DTYPE_F32, true), 64, 64, 32);
}

static void sort_is_stable(void **state)
{
    (void)state;
    enum { PAIRS = 300, EXPERTS = 3, TILES = 3 };
    uint32_t ids[PAIRS], histogram[TILES * EXPERTS], offsets[TILES * EXPERTS];
    uint32_t order[PAIRS], tiles[4 * 32], args[6];
    for (uint32_t i = 0; i < PAIRS; i++)
        ids[i] = i % 7 == 0 ? 2 : 0;
    ids[299] = 900; /* no expert: left out */
    struct vkm_ref ref = (struct vkm_ref){.view = host_view, .groups = {1, 1, 1}};
    vkm_ref_moe_histogram(&ref, &(struct vkm_params_moe_histogram){
                                    .ids = VIEW(ids),
                                    .histogram = VIEW(histogram),
                                    .n_pairs = PAIRS,
                                    .n_experts = EXPERTS,
                                });
    vkm_ref_moe_scan(&ref, &(struct vkm_params_moe_scan){
                               .histogram = VIEW(histogram),
                               .offsets = VIEW(offsets),
                               .tiles = VIEW(tiles),
                               .args = VIEW(args),
                               .n_sort_tiles = TILES,
                               .n_experts = EXPERTS,
                               .up_groups = 5,
                               .down_groups = 6,
                               .least_rows = 32,
                               .n_heights = 1,
                               .list_tiles = 32,
                           });
    vkm_ref_moe_scatter(&ref, &(struct vkm_params_moe_scatter){
                                  .ids = VIEW(ids),
                                  .offsets = VIEW(offsets),
                                  .order = VIEW(order),
                                  .n_pairs = PAIRS,
                                  .n_experts = EXPERTS,
                              });
    uint32_t n = 0;
    for (uint32_t e = 0; e < EXPERTS; e++)
        for (uint32_t i = 0; i < PAIRS; i++)
            if (ids[i] == e)
                assert_int_equal(order[n++], i);
    assert_int_equal(n, 299);
    /* 256 pairs of expert 0 make 8 tiles, 43 of expert 2 make 2. */
    assert_memory_equal(args, ((uint32_t[]){5, 10, 1, 6, 10, 1}), sizeof(args));
    assert_memory_equal(tiles, ((uint32_t[]){0, 0, 32, 0}), 16);
    assert_memory_equal(tiles + 36, ((uint32_t[]){2, 288, 11, 0}), 16);
}

static void tiles_are_as_high_as_an_experts_pairs_are_many(void **state)
{
    (void)state;
    enum { EXPERTS = 6, LIST = 16 };
    uint32_t histogram[EXPERTS] = {150, 0, 16, 17, 64, 100}, offsets[EXPERTS];
    uint32_t tiles[3 * 4 * LIST] = {0}, args[18];
    struct vkm_ref ref = (struct vkm_ref){.view = host_view, .groups = {1, 1, 1}};
    vkm_ref_moe_scan(&ref, &(struct vkm_params_moe_scan){
                               .histogram = VIEW(histogram),
                               .offsets = VIEW(offsets),
                               .tiles = VIEW(tiles),
                               .args = VIEW(args),
                               .n_sort_tiles = 1,
                               .n_experts = EXPERTS,
                               .up_groups = 5,
                               .down_groups = 6,
                               .least_rows = 16,
                               .n_heights = 3,
                               .list_tiles = LIST,
                           });
    static const uint32_t low[] = {2, 150, 16, 0};
    static const uint32_t middle[] = {0, 128, 22, 0, 3, 166, 17, 0};
    static const uint32_t high[] = {0,  0, 64, 0,   0,  64, 64, 0,   4,  183,
                                    64, 0, 5,  247, 64, 0,  5,  311, 36, 0};
    assert_memory_equal(tiles, low, sizeof(low));
    assert_memory_equal(tiles + 4 * LIST, middle, sizeof(middle));
    assert_memory_equal(tiles + 8 * LIST, high, sizeof(high));
    assert_memory_equal(args, ((uint32_t[]){5, 1, 1, 6, 1, 1, 5, 2, 1, 6, 2, 1, 5, 5, 1, 6, 5, 1}),
                        sizeof(args));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cpu_drivers_take_has_one_height),
        cmocka_unit_test(tiles_are_as_high_as_shared_memory_has_room_for),
        cmocka_unit_test(each_of_four_subgroups_has_a_matrix),
        cmocka_unit_test(heights_that_few_rows_do_not_need_are_left_out),
        cmocka_unit_test(one_height_can_be_had),
        cmocka_unit_test(sort_is_stable),
        cmocka_unit_test(tiles_are_as_high_as_an_experts_pairs_are_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
