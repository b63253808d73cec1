/* How attention splits its context: by the launch table alone, for devices that are made up. */
#include "support.h"

#include "kernels/ops.h"

static const struct vkm_caps devices[] = {
    {.cpu = true, .cores = 1},
    {.cpu = true, .cores = 2, .subgroup_size = 8, .paths = {true, true}},
    {.cpu = true, .cores = 64, .subgroup_size = 4, .paths = {true, true}},
    {.subgroup_size = 32, .paths = {true, true}},
    {.paths = {true}},
    {.paths = {true}, .split_positions = 64},
    {.cpu = true, .cores = 2, .split_positions = 1000},
};
static const uint32_t positions[] = {1, 64, 65, 200, 256, 257, 4096, 5000, 32768, 1000000};

typedef void check_fn(const struct vkm_caps *caps, const struct vkm_attention_shape *shape,
                      uint32_t bound);

static void for_each_launch(check_fn *check)
{
    static const uint32_t heads[] = {1, 2, 16, 128}, dims[] = {2, 40, 128, 1024};
    static const uint32_t rows[] = {1, 2, 7, 300};
    for (size_t i = 0; i < VKM_COUNT(devices) * VKM_COUNT(heads); i++)
        for (size_t j = 0; j < VKM_COUNT(dims) * VKM_COUNT(rows) * 2; j++)
            for (size_t p = 0; p < VKM_COUNT(positions); p++)
                check(&devices[i / VKM_COUNT(heads)],
                      &(struct vkm_attention_shape){.n_heads = heads[i % VKM_COUNT(heads)],
                                                    .head_dim = dims[j / 2 % VKM_COUNT(dims)],
                                                    .n_rows = rows[j / 2 / VKM_COUNT(dims)],
                                                    .consecutive = j % 2},
                      vkm_attention_bound(positions[p]));
}

static void check_cover(const struct vkm_caps *caps, const struct vkm_attention_shape *shape,
                        uint32_t bound)
{
    struct vkm_split split = vkm_attention_split(caps, shape, bound);
    assert_in_range(split.count, 1, 64);
    assert_int_equal(split.span % VKM_KV_BLOCK, 0);
    assert_true((uint64_t)split.count * split.span >= bound);
    assert_true((uint64_t)split.count * split.span < bound + split.count * VKM_KV_BLOCK);
}

static void splits_cover_the_context_in_whole_blocks(void **state)
{
    (void)state;
    for_each_launch(check_cover);
}

static void check_parts(const struct vkm_caps *caps, const struct vkm_attention_shape *shape,
                        uint32_t bound)
{
    uint64_t most = vkm_attention_max_parts(caps, shape, bound);
    for (uint32_t n = 1; n <= shape->n_rows; n++) {
        struct vkm_attention_shape fewer = *shape;
        fewer.n_rows = n;
        for (uint32_t smaller = 256; smaller <= bound; smaller *= 2) {
            struct vkm_split split = vkm_attention_split(caps, &fewer, smaller);
            assert_true(split.count == 1 || (uint64_t)n * shape->n_heads * split.count <= most);
        }
    }
}

static void every_step_finds_room_for_its_parts(void **state)
{
    (void)state;
    for_each_launch(check_parts);
}

static void a_bound_holds_for_many_steps(void **state)
{
    (void)state;
    uint32_t bounds = 0, last = 0;
    for (uint32_t n = 1; n <= 1000000; n++) {
        uint32_t bound = vkm_attention_bound(n);
        assert_true(bound >= n && bound >= last);
        bounds += bound != last;
        last = bound;
    }
    assert_in_range(bounds, 2, 16);
    assert_true(vkm_attention_bound(UINT32_MAX) == UINT32_MAX);
}

/* Where heads and rows keep the device busy, or the context is short, nothing is to be combined. */
static void attention_is_split_only_where_that_helps(void **state)
{
    (void)state;
    const struct vkm_attention_shape decode = {.n_heads = 16, .head_dim = 128, .n_rows = 1};
    const struct vkm_attention_shape chunk = {
        .n_heads = 16, .head_dim = 128, .n_rows = 256, .consecutive = true};
    const struct vkm_caps *two_cores = &devices[1], *many_cores = &devices[2], *card = &devices[3];
    assert_int_equal(vkm_attention_split(card, &decode, vkm_attention_bound(256)).count, 1);
    assert_int_equal(vkm_attention_split(card, &decode, vkm_attention_bound(4096)).count, 16);
    assert_int_equal(vkm_attention_split(card, &decode, vkm_attention_bound(32768)).count, 64);
    assert_int_equal(vkm_attention_split(card, &chunk, vkm_attention_bound(32768)).count, 1);
    assert_int_equal(vkm_attention_split(two_cores, &decode, vkm_attention_bound(32768)).count, 1);
    assert_int_equal(vkm_attention_split(two_cores, &decode, vkm_attention_bound(32769)).count, 2);
    assert_int_equal(vkm_attention_split(many_cores, &decode, vkm_attention_bound(1024)).count, 1);
    assert_int_equal(vkm_attention_split(many_cores, &decode, vkm_attention_bound(32768)).count,
                     16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splits_cover_the_context_in_whole_blocks),
        cmocka_unit_test(every_step_finds_room_for_its_parts),
        cmocka_unit_test(a_bound_holds_for_many_steps),
        cmocka_unit_test(attention_is_split_only_where_that_helps),
    };
    return cmocka_run_group_tests_name("attention_split", tests, NULL, NULL);
}
