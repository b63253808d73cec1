/* The paged KV cache: which sequence holds which blocks, through growing, shrinking and sharing. */
#include "unit.h"

#include <limits.h>

#include "model/kv.h"

enum { BLOCKS = 12, BLOCK = 64, SEQUENCES = 4, LAYERS = 3 };

static const struct vkm_config config = {
    .num_hidden_layers = LAYERS, .num_key_value_heads = 2, .head_dim = 4};
static const struct vkm_kernel_set no_kernels;

static struct vkm_gpu *gpu;
static struct vkm_kv kv;
static struct vkm_kv_sequence sequences[SEQUENCES];

static int open_device(void **state)
{
    (void)state;
    vkmoe_error err;
    struct vkm_gpu_params params = {.selector = "reference"};
    return vkm_gpu_open(&params, &no_kernels, &gpu, &err) == VKMOE_OK ? 0 : -1;
}

static int close_device(void **state)
{
    (void)state;
    vkm_gpu_close(gpu);
    return 0;
}

static int make_cache(void **state)
{
    (void)state;
    vkmoe_error err;
    if (vkm_kv_init(&kv, gpu, &config, VKM_DTYPE_F32, BLOCKS, &err) != VKMOE_OK)
        return -1;
    for (int i = 0; i < SEQUENCES; i++)
        if (vkm_kv_sequence_init(&kv, &sequences[i], 8 * BLOCK, &err) != VKMOE_OK)
            return -1;
    return 0;
}

static int drop_cache(void **state)
{
    (void)state;
    for (int i = 0; i < SEQUENCES; i++)
        vkm_kv_sequence_finish(&kv, &sequences[i]);
    int left = (int)(BLOCKS - kv.n_free);
    vkm_kv_finish(&kv);
    return left + (vkm_gpu_memory_used(gpu) != 0);
}

/* Every block is free once, or held by as many sequences as its count says; none is both. */
static void check_books(void)
{
    uint32_t holders[BLOCKS] = {0}, free_entries[BLOCKS] = {0};
    for (int i = 0; i < SEQUENCES; i++) {
        const struct vkm_kv_sequence *s = &sequences[i];
        assert_true(s->count <= s->capacity);
        assert_true(s->length <= s->count * BLOCK);
        for (uint32_t b = 0; b < s->count; b++) {
            assert_true(s->blocks[b] < BLOCKS);
            holders[s->blocks[b]]++;
            for (uint32_t c = 0; c < b; c++)
                assert_int_not_equal(s->blocks[b], s->blocks[c]);
        }
    }
    assert_true(kv.n_free <= BLOCKS);
    for (uint32_t i = 0; i < kv.n_free; i++)
        free_entries[kv.free[i]]++;
    for (uint32_t b = 0; b < BLOCKS; b++) {
        assert_int_equal(free_entries[b], holders[b] == 0);
        assert_int_equal(kv.references[b], holders[b]);
    }
}

/* Extends by `n` and uses what was made room for. */
static void grow(struct vkm_kv_sequence *s, uint32_t n)
{
    vkmoe_error err;
    if (vkm_kv_extend(&kv, s, n, &err) != VKMOE_OK)
        fail_msg("%s", err.message);
    s->length += n;
    assert_true(s->count == vkm_ceil_div(s->length, BLOCK));
    check_books();
}

static void expect_full(struct vkm_kv_sequence *s, uint32_t n)
{
    vkmoe_error err;
    struct vkm_kv_sequence before = *s;
    uint32_t blocks[BLOCKS], free_blocks = kv.n_free;
    memcpy(blocks, s->blocks, s->count * sizeof(*blocks));
    expect_failure(vkm_kv_extend(&kv, s, n, &err), &err, VKMOE_CONTEXT_FULL, "context is full",
                   NULL);
    assert_memory_equal(s, &before, sizeof(before));
    assert_memory_equal(s->blocks, blocks, s->count * sizeof(*blocks));
    assert_int_equal(kv.n_free, free_blocks);
    check_books();
}

static void blocks_are_taken_as_positions_need_them(void **state)
{
    (void)state;
    struct vkm_kv_sequence *s = &sequences[0];
    grow(s, 0);
    assert_int_equal(s->count, 0);
    grow(s, 1);
    assert_int_equal(s->count, 1);
    grow(s, 63);
    assert_int_equal(s->count, 1);
    grow(s, 1);
    assert_int_equal(s->count, 2);
    grow(s, 3 * BLOCK);
    assert_int_equal(s->count, 5);
    assert_int_equal(kv.n_free, BLOCKS - 5);
}

static void room_that_was_made_but_not_used_is_not_taken_twice(void **state)
{
    (void)state;
    vkmoe_error err;
    struct vkm_kv_sequence *s = &sequences[0];
    for (int i = 0; i < 3; i++)
        assert_int_equal(vkm_kv_extend(&kv, s, 100, &err), VKMOE_OK);
    assert_int_equal(s->count, 2);
    assert_int_equal(s->length, 0);
    check_books();
}

static void a_full_sequence_says_so_and_changes_nothing(void **state)
{
    (void)state;
    struct vkm_kv_sequence *s = &sequences[0];
    grow(s, 8 * BLOCK - 3);
    expect_full(s, 4);
    grow(s, 3);
    expect_full(s, 1);
    expect_full(s, UINT32_MAX);
    expect_full(s, UINT32_MAX - 8 * BLOCK + 1); /* the sum is zero in 32 bits */
    expect_full(&sequences[1], UINT32_MAX);
    expect_full(&sequences[1], 8 * BLOCK + 1);
}

static void a_full_cache_says_so_and_changes_nothing(void **state)
{
    (void)state;
    grow(&sequences[0], 7 * BLOCK);
    grow(&sequences[1], 4 * BLOCK);
    expect_full(&sequences[2], BLOCK + 1);
    grow(&sequences[2], BLOCK);
    expect_full(&sequences[3], 1);
    expect_full(&sequences[0], 1);
    /* what one gives back another may have */
    vkm_kv_truncate(&kv, &sequences[1], 3 * BLOCK);
    grow(&sequences[3], BLOCK);
    expect_full(&sequences[0], 1);
}

static void truncating_gives_back_whole_blocks(void **state)
{
    (void)state;
    struct vkm_kv_sequence *s = &sequences[0];
    grow(s, 300);
    uint32_t first[2] = {s->blocks[0], s->blocks[1]};
    vkm_kv_truncate(&kv, s, 500); /* beyond the end: nothing to forget */
    assert_int_equal(s->length, 300);
    assert_int_equal(s->count, 5);
    vkm_kv_truncate(&kv, s, 65);
    assert_int_equal(s->length, 65);
    assert_int_equal(s->count, 2);
    check_books();
    vkm_kv_truncate(&kv, s, 64);
    assert_int_equal(s->count, 1);
    grow(s, 1);
    assert_memory_equal(s->blocks, first, sizeof(first));
    vkm_kv_truncate(&kv, s, 0);
    assert_int_equal(s->count, 0);
    assert_int_equal(kv.n_free, BLOCKS);
    check_books();
}

static void room_without_positions_is_given_back_too(void **state)
{
    (void)state;
    vkmoe_error err;
    struct vkm_kv_sequence *s = &sequences[0];
    grow(s, 10);
    assert_int_equal(vkm_kv_extend(&kv, s, 400, &err), VKMOE_OK);
    vkm_kv_truncate(&kv, s, 10);
    assert_int_equal(s->count, 1);
    check_books();
}

static void a_fork_shares_whole_blocks(void **state)
{
    (void)state;
    struct vkm_kv_sequence *from = &sequences[0], *to = &sequences[1];
    grow(from, 200);
    vkm_kv_fork(&kv, from, 200, to);
    assert_int_equal(to->length, 3 * BLOCK);
    assert_int_equal(to->count, 3);
    assert_memory_equal(to->blocks, from->blocks, 3 * sizeof(uint32_t));
    assert_int_equal(kv.n_free, BLOCKS - 4);
    check_books();
    /* they go on apart */
    grow(to, 1);
    grow(from, 60);
    assert_int_not_equal(to->blocks[3], from->blocks[3]);
}

static void a_fork_takes_no_more_than_there_is(void **state)
{
    (void)state;
    vkmoe_error err;
    struct vkm_kv_sequence *from = &sequences[0];
    grow(from, 130);
    vkm_kv_fork(&kv, from, UINT32_MAX, &sequences[1]);
    assert_int_equal(sequences[1].length, 128);
    vkm_kv_fork(&kv, from, 127, &sequences[2]);
    assert_int_equal(sequences[2].length, 64);
    vkm_kv_fork(&kv, from, 63, &sequences[3]);
    assert_int_equal(sequences[3].length, 0);
    check_books();
    /* nor more than the new sequence may hold */
    vkm_kv_sequence_finish(&kv, &sequences[3]);
    assert_int_equal(vkm_kv_sequence_init(&kv, &sequences[3], 10, &err), VKMOE_OK);
    vkm_kv_fork(&kv, from, 130, &sequences[3]);
    assert_int_equal(sequences[3].length, 64);
    check_books();
}

static void a_shared_block_is_free_when_the_last_one_lets_go(void **state)
{
    (void)state;
    grow(&sequences[0], 3 * BLOCK);
    vkm_kv_fork(&kv, &sequences[0], 3 * BLOCK, &sequences[1]);
    vkm_kv_fork(&kv, &sequences[1], 2 * BLOCK, &sequences[2]);
    uint32_t shared = sequences[0].blocks[1];
    assert_int_equal(kv.references[shared], 3);
    vkm_kv_truncate(&kv, &sequences[0], 0);
    assert_int_equal(kv.references[shared], 2);
    assert_int_equal(kv.n_free, BLOCKS - 3);
    vkm_kv_sequence_finish(&kv, &sequences[1]);
    assert_int_equal(kv.n_free, BLOCKS - 2);
    check_books();
    vkm_kv_truncate(&kv, &sequences[2], BLOCK);
    assert_int_equal(kv.references[shared], 0);
    vkm_kv_truncate(&kv, &sequences[2], 0);
    assert_int_equal(kv.n_free, BLOCKS);
    check_books();
}

static void the_books_balance_after_any_history(void **state)
{
    (void)state;
    uint64_t random = 5;
    unsigned full = 0, forks = 0;
    for (int step = 0; step < 20000; step++) {
        struct vkm_kv_sequence *s = &sequences[random_u32(&random) % SEQUENCES];
        vkmoe_error err;
        uint32_t n = random_u32(&random) % 200;
        switch (random_u32(&random) % 4) {
        case 0:
        case 1:
            if (vkm_kv_extend(&kv, s, n, &err) == VKMOE_OK)
                s->length += n;
            else
                full++;
            break;
        case 2:
            vkm_kv_truncate(&kv, s, random_u32(&random) % (s->length + 1));
            break;
        default: {
            struct vkm_kv_sequence *to = &sequences[random_u32(&random) % SEQUENCES];
            if (to == s)
                break;
            vkm_kv_truncate(&kv, to, 0);
            vkm_kv_fork(&kv, s, n, to);
            forks++;
            break;
        }
        }
        check_books();
    }
    assert_true(full > 500);
    assert_true(forks > 500);
}

static void the_cache_is_as_large_as_announced(void **state)
{
    (void)state;
    uint64_t held = 0;
    for (uint32_t i = 0; i < LAYERS; i++) {
        assert_int_equal(kv.keys[i]->size, BLOCKS * BLOCK * 2 * 4 * sizeof(float));
        assert_int_equal(kv.values[i]->size, kv.keys[i]->size);
        held += kv.keys[i]->size + kv.values[i]->size;
    }
    assert_int_equal(vkm_kv_bytes(&config, VKM_DTYPE_F32, BLOCKS * BLOCK), held);
    assert_int_equal(vkm_kv_bytes(&config, VKM_DTYPE_F32, BLOCKS * BLOCK - 63), held);
    assert_int_equal(vkm_kv_bytes(&config, VKM_DTYPE_F32, BLOCKS * BLOCK + 1),
                     held / BLOCKS * (BLOCKS + 1));
    struct vkm_config large = {.num_hidden_layers = 62, .num_key_value_heads = 32, .head_dim = 128};
    assert_true(vkm_kv_bytes(&large, VKM_DTYPE_F32, 1 << 20) == UINT64_C(62) * 2 * 32 * 128 * 4
                                                                    << 20);
}

static void a_cache_without_memory_leaves_nothing(void **state)
{
    (void)state;
    vkmoe_error err;
    bool made = false;
    for (long n = 0; !made; n++) {
        struct scarce scarce = {.fail_at = LONG_MAX};
        vkmoe_allocator a = scarce_allocator(&scarce);
        struct vkm_gpu_params params = {.selector = "reference", .allocator = &a};
        struct vkm_gpu *scarce_gpu;
        struct vkm_kv cache;
        assert_int_equal(vkm_gpu_open(&params, &no_kernels, &scarce_gpu, &err), VKMOE_OK);
        scarce.fail_at = scarce.calls + n;
        made = vkm_kv_init(&cache, scarce_gpu, &config, VKM_DTYPE_F32, BLOCKS, &err) == VKMOE_OK;
        if (!made)
            expect_failure(err.status, &err, VKMOE_OUT_OF_HOST_MEMORY, "memory", NULL);
        vkm_kv_finish(&cache);
        assert_int_equal(vkm_gpu_memory_used(scarce_gpu), 0);
        vkm_gpu_close(scarce_gpu);
        assert_int_equal(scarce.live, 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_cache, drop_cache)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(blocks_are_taken_as_positions_need_them),
        TEST(room_that_was_made_but_not_used_is_not_taken_twice),
        TEST(a_full_sequence_says_so_and_changes_nothing),
        TEST(a_full_cache_says_so_and_changes_nothing),
        TEST(truncating_gives_back_whole_blocks),
        TEST(room_without_positions_is_given_back_too),
        TEST(a_fork_shares_whole_blocks),
        TEST(a_fork_takes_no_more_than_there_is),
        TEST(a_shared_block_is_free_when_the_last_one_lets_go),
        TEST(the_books_balance_after_any_history),
        TEST(the_cache_is_as_large_as_announced),
        TEST(a_cache_without_memory_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
