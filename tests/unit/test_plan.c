/* The memory plan on devices that are not there: a discrete GPU of any size, in books alone. */
#include "books.h"
#include "process.h"
#include "support.h"

#include <string.h>

#include "engine/engine.h"
#include "gpu/block.h"
#include "kernels/kernels.h"
#include "model/named.h"
#include "model/plan.h"

#define GIB (UINT64_C(1) << 30)

struct planned {
    vkmoe_plan plan;
    struct vkm_placement placement;
};

static struct planned plan_16b_keeping(uint64_t local, uint64_t host, uint64_t limit,
                                       uint32_t context, uint32_t ranks)
{
    struct vkm_gpu gpu;
    struct vkm_config config;
    struct planned p;
    vkmoe_error err;
    books_gpu(&gpu, local, host, &vkm_kernels);
    assert_true(vkm_named_config_find("deepseek-moe-16b", &config));
    struct vkm_plan_params params = {
        .config = &config,
        .memory_limit = limit,
        .state = {.max_rows = 256,
                  .max_logits = 64,
                  .sequences = 1,
                  .context = context,
                  .routing = {.k = 6, .keep = ranks}},
        .cached = context,
    };
    assert_ok(vkm_plan_make(&gpu, &params, &p.plan, &p.placement, &err), &err);
    assert_int_equal(gpu.blocks.count, 0);
    assert_int_equal(gpu.heap_used[BOOKS_LOCAL] + gpu.heap_used[BOOKS_HOST], 0);
    return p;
}

static struct planned plan_16b(uint64_t local, uint64_t host, uint64_t limit, uint32_t context)
{
    return plan_16b_keeping(local, host, limit, context, 0);
}

static void finish(struct planned *p)
{
    vkm_placement_finish(NULL, &p->placement);
}

/* --- what is promised --- */

static void a_large_device_keeps_every_expert(void **state)
{
    struct planned p = plan_16b(48 * GIB, 64 * GIB, 0, 4096);
    const vkmoe_heap_plan *local = &p.plan.heaps[BOOKS_LOCAL], *host = &p.plan.heaps[BOOKS_HOST];
    (void)state;
    assert_true(p.plan.fits);
    assert_int_equal(p.plan.n_experts, 27 * 64);
    assert_int_equal(p.plan.n_host_experts, 0);
    /* 16.4 B parameters of two bytes, routers and norms of four; 28 layers of 4096 positions. */
    assert_in_range(local->weights, 32751456256, 32751456256 + 10 * 1000 * 1000);
    assert_int_equal(local->kv_cache, 458752ull * 4096);
    assert_int_equal(local->total,
                     local->weights + local->kv_cache + local->scratch + local->unused);
    assert_int_equal(p.plan.device_bytes, local->total);
    assert_int_equal(host->weights + host->kv_cache, 0);
    assert_true(local->unused < local->total / 100);
    assert_int_equal(host->staging, 4 * 8 << 20);
    assert_true(local->reserve > 0 && local->total + local->reserve <= local->left);
    /* Activated weights but the table of embeddings. */
    assert_in_range(p.plan.device_bytes_per_token, 2 * 2.61e9, 2 * 2.63e9);
    assert_true(p.plan.host_bytes_per_token == 0);
    finish(&p);
}

/* Of each token and MoE layer: ids, probabilities and gates of all ranks. */
static void ranks_that_are_kept_lie_in_host_memory(void **state)
{
    struct planned without = plan_16b(48 * GIB, 64 * GIB, 0, 4096);
    struct planned with = plan_16b_keeping(48 * GIB, 64 * GIB, 0, 4096, 16);
    (void)state;
    assert_int_equal(without.plan.heaps[BOOKS_HOST].scratch, 0);
    assert_int_equal(with.plan.heaps[BOOKS_HOST].scratch, 4096ull * 27 * 4 * 3 * 16);
    assert_int_equal(with.plan.device_bytes, without.plan.device_bytes);
    finish(&without);
    finish(&with);
}

static void what_a_device_cannot_hold_goes_to_the_host_last_layers_first(void **state)
{
    struct planned p = plan_16b(24 * GIB, 64 * GIB, 0, 4096);
    const vkmoe_heap_plan *local = &p.plan.heaps[BOOKS_LOCAL], *host = &p.plan.heaps[BOOKS_HOST];
    const double expert = 3.0 * 2048 * 1408 * 2;
    (void)state;
    assert_true(p.plan.fits);
    assert_in_range(p.plan.n_host_experts, 1, 27 * 64 - 1);
    uint32_t n = 0;
    for (uint32_t i = 0; i < p.plan.n_experts; i++)
        n += p.placement.on_host[i];
    assert_int_equal(n, p.plan.n_host_experts);
    for (uint32_t i = 1; i < p.plan.n_experts; i++)
        assert_true(p.placement.on_host[i] || !p.placement.on_host[i - 1]);
    /* Nothing but experts is moved, and no more of them than must be. */
    assert_int_equal(host->weights, p.plan.host_expert_bytes);
    assert_int_equal(p.plan.host_expert_bytes, n * (uint64_t)expert);
    assert_int_equal(host->kv_cache + host->scratch, 0);
    assert_true(local->total + local->reserve <= local->left);
    assert_true(local->total + local->reserve + 24 * GIB / 50 > local->left);
    assert_true(p.plan.host_bytes_per_token > 0.999 * n * expert * 6 / 64);
    assert_true(p.plan.host_bytes_per_token < 1.001 * n * expert * 6 / 64);
    finish(&p);
}

static void experts_chosen_least_go_first(void **state)
{
    static uint64_t usage[27 * 64];
    struct vkm_gpu gpu;
    struct vkm_config config;
    struct vkm_placement placement;
    vkmoe_plan plan;
    vkmoe_error err;
    uint64_t most = 0, least = UINT64_MAX;
    (void)state;
    for (uint32_t i = 0; i < 27 * 64; i++)
        usage[i] = i * 7919u % 1009u;
    books_gpu(&gpu, 24 * GIB, 64 * GIB, &vkm_kernels);
    assert_true(vkm_named_config_find("deepseek-moe-16b", &config));
    struct vkm_plan_params params = {
        .config = &config,
        .usage = usage,
        .state = {.max_rows = 256,
                  .max_logits = 64,
                  .sequences = 1,
                  .context = 4096,
                  .routing = {.k = 6}},
        .cached = 4096,
    };
    assert_ok(vkm_plan_make(&gpu, &params, &plan, &placement, &err), &err);
    for (uint32_t i = 0; i < plan.n_experts; i++) {
        if (placement.on_host[i])
            most = usage[i] > most ? usage[i] : most;
        else
            least = usage[i] < least ? usage[i] : least;
    }
    assert_true(plan.fits && most <= least);
    struct planned even = plan_16b(24 * GIB, 64 * GIB, 0, 4096);
    assert_int_equal(even.plan.n_host_experts, plan.n_host_experts);
    assert_true(plan.host_bytes_per_token < 0.8 * even.plan.host_bytes_per_token);
    double sum = plan.host_bytes_per_token + plan.device_bytes_per_token;
    double same = even.plan.host_bytes_per_token + even.plan.device_bytes_per_token;
    assert_true(sum > 0.999999 * same && sum < 1.000001 * same);
    vkm_placement_finish(NULL, &placement);
    finish(&even);
}

static void a_limit_counts_like_a_smaller_device(void **state)
{
    struct planned p = plan_16b(48 * GIB, 64 * GIB, 16 * GIB, 4096);
    (void)state;
    assert_true(p.plan.fits);
    assert_in_range(p.plan.n_host_experts, 1, 27 * 64 - 1);
    assert_true(p.plan.device_bytes <= 16 * GIB);
    assert_true(p.plan.device_bytes > 16 * GIB - 16 * GIB / 50);
    finish(&p);
}

/* What the authors of the model promise: the 16B at 16 bits on one GPU of 40 GB. */
static void the_16b_fits_into_40_gb_with_its_whole_context(void **state)
{
    const uint64_t gb = 1000 * 1000 * 1000;
    struct planned limited = plan_16b(80 * GIB, 64 * GIB, 40 * gb, 4096),
                   small = plan_16b(40 * gb, 64 * GIB, 0, 4096);
    (void)state;
    assert_true(limited.plan.fits && small.plan.fits);
    assert_int_equal(limited.plan.n_host_experts + small.plan.n_host_experts, 0);
    const vkmoe_heap_plan *local = &limited.plan.heaps[BOOKS_LOCAL];
    assert_int_equal(limited.plan.device_bytes, local->total);
    /* Weights and KV cache are as many bytes as they must be; beside them there is one arena. */
    assert_in_range(local->weights + local->kv_cache, 34630504448, 34630504448 + 10 * 1000 * 1000);
    assert_true(local->scratch < 200 * 1000 * 1000);
    assert_true(local->total < 35 * gb);
    finish(&limited);
    finish(&small);
}

static void a_longer_context_leaves_room_for_fewer_experts(void **state)
{
    struct planned p = plan_16b(24 * GIB, 64 * GIB, 0, 1024),
                   q = plan_16b(24 * GIB, 64 * GIB, 0, 16384);
    (void)state;
    assert_true(p.plan.fits && q.plan.fits);
    assert_true(q.plan.n_host_experts > p.plan.n_host_experts + 200);
    finish(&p);
    finish(&q);
}

static void what_neither_can_hold_does_not_fit(void **state)
{
    struct planned small = plan_16b(2 * GIB, 64 * GIB, 0, 4096),
                   host = plan_16b(8 * GIB, 8 * GIB, 0, 4096);
    (void)state;
    assert_false(small.plan.fits);
    assert_int_equal(small.plan.n_host_experts, small.plan.n_experts);
    assert_true(small.plan.heaps[BOOKS_LOCAL].total > small.plan.heaps[BOOKS_LOCAL].left);
    assert_false(host.plan.fits);
    assert_true(host.plan.heaps[BOOKS_HOST].total > host.plan.heaps[BOOKS_HOST].left);
    finish(&small);
    finish(&host);
}

/* Where all memory is the device's, moving experts would gain nothing. */
static void one_heap_for_all_moves_nothing(void **state)
{
    struct vkm_gpu gpu;
    struct vkm_config config;
    vkmoe_plan plan;
    vkmoe_error err;
    (void)state;
    books_gpu(&gpu, 16 * GIB, GIB, &vkm_kernels);
    gpu.info.kind = VKMOE_DEVICE_INTEGRATED;
    gpu.info.n_heaps = gpu.memory_properties.memoryHeapCount = 1;
    gpu.memory_properties.memoryTypeCount = 2;
    assert_true(vkm_named_config_find("deepseek-moe-16b", &config));
    struct vkm_plan_params params = {
        .config = &config,
        .state = {.max_rows = 1, .max_logits = 1, .sequences = 1, .context = 64},
        .cached = 64,
    };
    assert_ok(vkm_plan_make(&gpu, &params, &plan, NULL, &err), &err);
    assert_false(plan.fits);
    assert_int_equal(plan.n_host_experts, 0);
}

static void what_is_held_already_counts(void **state)
{
    struct vkm_gpu gpu, *first, *second;
    struct vkm_buffer *a, *b;
    struct vkm_heap_use use;
    vkmoe_error err;
    (void)state;
    books_gpu(&gpu, GIB, GIB, &vkm_kernels);
    assert_ok(vkm_gpu_rehearse(&gpu, &first, &err), &err);
    assert_ok(vkm_buffer_create(first, VKM_MEMORY_DEVICE, 1000, "a", &a, &err), &err);
    vkm_gpu_heap_use(first, BOOKS_LOCAL, &use);
    assert_int_equal(use.buffers, 1024);
    uint64_t block = use.blocks;
    assert_true(block > use.buffers && use.left == GIB - block);
    /* The second one finds room in the first one's block. */
    assert_ok(vkm_gpu_rehearse(first, &second, &err), &err);
    assert_ok(vkm_buffer_create(second, VKM_MEMORY_DEVICE, 1000, "b", &b, &err), &err);
    vkm_gpu_heap_use(second, BOOKS_LOCAL, &use);
    assert_int_equal(use.blocks, block);
    assert_int_equal(use.buffers, 2048);
    vkm_buffer_destroy(second, b);
    vkm_gpu_rehearsal_end(second);
    vkm_gpu_heap_use(first, BOOKS_LOCAL, &use);
    assert_int_equal(use.buffers, 1024);
    vkm_buffer_destroy(first, a);
    vkm_gpu_heap_use(first, BOOKS_LOCAL, &use);
    assert_int_equal(use.blocks, 0);
    vkm_gpu_rehearsal_end(first);
}

/* On a device with so much memory, and as its session then is planned. */
static uint32_t default_chunk(uint64_t local, uint64_t limit, bool cpu)
{
    struct vkm_gpu gpu;
    struct vkm_config config;
    vkmoe_plan plan;
    vkmoe_error err;
    books_gpu(&gpu, local, 64 * GIB, &vkm_kernels);
    gpu.caps.cpu = cpu;
    gpu.caps.cores = cpu;
    gpu.caps.max_invocations = 128;
    assert_true(vkm_named_config_find("deepseek-moe-16b", &config));
    const struct vkm_plan_request request = {
        .gpu = &gpu, .name = "a model", .config = &config, .memory_limit = limit};
    assert_ok(vkm_plan_request(&request, &plan, NULL, &err), &err);
    assert_true(plan.fits);
    return plan.chunk;
}

static void the_default_chunk_follows_memory_and_device(void **state)
{
    (void)state;
    assert_int_equal(default_chunk(80 * GIB, 0, false), 2048);
    assert_int_equal(default_chunk(80 * GIB, 0, true), 256);
    assert_int_equal(default_chunk(24 * GIB, 0, false), 256); /* experts are in host memory */
    assert_int_equal(default_chunk(80 * GIB, 34 * GIB, false), 256);
    uint32_t last = 0;
    for (uint64_t local = 33 * GIB; local <= 48 * GIB; local += GIB / 4) { /* never smaller */
        uint32_t chunk = default_chunk(local, 0, false);
        assert_true(chunk >= last &&
                    (chunk == 256 || chunk == 512 || chunk == 1024 || chunk == 2048));
        last = chunk;
    }
    assert_int_equal(last, 2048);
}

/* --- which limit is named where it does not fit --- */

/* Where no memory of the device is mapped, so that what is the host's finds no other place. */
static vkmoe_plan refused_16b(uint64_t local, uint64_t host, uint64_t limit)
{
    struct vkm_gpu gpu;
    struct vkm_config config;
    vkmoe_plan plan;
    vkmoe_error err;
    books_gpu(&gpu, local, host, &vkm_kernels);
    gpu.memory_properties.memoryTypes[1] = gpu.memory_properties.memoryTypes[0];
    assert_true(vkm_named_config_find("deepseek-moe-16b", &config));
    struct vkm_plan_request request = {
        .gpu = &gpu, .name = "a model", .config = &config, .memory_limit = limit};
    assert_ok(vkm_plan_request(&request, &plan, NULL, &err), &err);
    assert_false(plan.fits);
    request.memory_limit = plan.remedies.memory_limit;
    if (request.memory_limit > 0) {
        vkmoe_plan again;
        assert_ok(vkm_plan_request(&request, &again, NULL, &err), &err);
        assert_true(again.fits);
    }
    return plan;
}

static void a_refusal_names_the_limit_that_was_given(void **state)
{
    (void)state;
    vkmoe_plan p = refused_16b(48 * GIB, 64 * GIB, 3 * GIB);
    test_assert_part(p.reason, "the memory limit grants 3072.0 MiB, even with 1728 of 1728");
    assert_null(strstr(p.reason, "memory heap"));
    assert_in_range(p.remedies.memory_limit, 3 * GIB + 1, 6 * GIB);
    /* The device could not hold it either. */
    p = refused_16b(4 * GIB, 64 * GIB, 3 * GIB);
    test_assert_part(p.reason, "the memory limit grants 3072.0 MiB; it needs ");
    test_assert_part(p.reason, "MiB of memory heap 0 of ");
    assert_int_equal(p.remedies.memory_limit, 0);
    /* The limit is kept, but for it the host's memory would have fewer experts to hold. */
    p = refused_16b(48 * GIB, 8 * GIB, 16 * GIB);
    test_assert_part(p.reason, "MiB of memory heap 1 of ");
    test_assert_part(p.reason, ", under a memory limit of 16384.0 MiB, even with ");
    assert_in_range(p.remedies.memory_limit, 32 * GIB, 40 * GIB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refusal_names_the_limit_that_was_given),
        cmocka_unit_test(the_default_chunk_follows_memory_and_device),
        cmocka_unit_test(a_large_device_keeps_every_expert),
        cmocka_unit_test(ranks_that_are_kept_lie_in_host_memory),
        cmocka_unit_test(what_a_device_cannot_hold_goes_to_the_host_last_layers_first),
        cmocka_unit_test(experts_chosen_least_go_first),
        cmocka_unit_test(a_limit_counts_like_a_smaller_device),
        cmocka_unit_test(the_16b_fits_into_40_gb_with_its_whole_context),
        cmocka_unit_test(a_longer_context_leaves_room_for_fewer_experts),
        cmocka_unit_test(what_neither_can_hold_does_not_fit),
        cmocka_unit_test(one_heap_for_all_moves_nothing),
        cmocka_unit_test(what_is_held_already_counts),
    };
    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
