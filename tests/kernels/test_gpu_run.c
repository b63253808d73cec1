/* Running recorded streams: the same bits however they are cut, device times, and a device that
 * hangs. */
#include "gpu_fixture.h"

/* --- results --- */

static void results_do_not_depend_on_how_memory_is_reached(void **state)
{
    (void)state;
    uint64_t results[6];
    for (int i = 0; i < 6; i++) {
        struct test_log log;
        struct vkm_gpu_params params = gpu_test_params(&log);
        struct workload w;
        params.force_staging = i == 1;
        params.host_visible = i == 2;
        params.check_addresses = i == 3;
        params.validation = i != 4;
        struct vkm_gpu *gpu = gpu_test_open(&params);
        gpu->imports &= i != 5; /* the driver's own memory */
        workload_init(&w, gpu, 256, 5);
        results[i] = workload_run(&w);
        workload_finish(&w);
        gpu_test_close(gpu, &log);
        assert_int_equal(log.warnings, 0);
        assert_true(results[i] == results[0]);
    }
}

static void a_stream_may_run_again_and_again(void **state)
{
    (void)state;
    vkmoe_error err;
    struct test_log log;
    struct vkm_gpu_params params = gpu_test_params(&log);
    struct vkm_gpu *gpu = gpu_test_open(&params);
    struct vkm_commands *commands;
    struct workload w;
    workload_init(&w, gpu, 256, 5);
    assert_ok(vkm_commands_create(gpu, &w.stream, false, &commands, &err), &err);
    uint64_t first = 0;
    for (int i = 0; i < 6; i++) {
        workload_fill(&w);
        assert_ok(vkm_commands_run(commands, NULL, &err), &err);
        uint64_t result = workload_result(&w);
        first = i ? first : result;
        assert_true(result == first);
    }
    vkm_commands_destroy(commands);
    vkm_commands_destroy(NULL);
    workload_finish(&w);
    gpu_test_close(gpu, &log);
}

static void an_empty_stream_runs(void **state)
{
    (void)state;
    vkmoe_error err;
    struct test_log log;
    struct vkm_gpu_params params = gpu_test_params(&log);
    struct vkm_gpu *gpu = gpu_test_open(&params);
    struct vkm_commands *commands;
    struct vkm_stream stream;
    vkm_stream_init(&stream, &vkm_kernels, NULL);
    assert_ok(vkm_gpu_compile(gpu, &stream, NULL, &err), &err);
    assert_ok(vkm_commands_create(gpu, &stream, true, &commands, &err), &err);
    assert_ok(vkm_commands_run(commands, NULL, &err), &err);
    vkm_commands_destroy(commands);
    vkm_stream_finish(&stream);
    gpu_test_close(gpu, &log);
}

static void pipelines_are_built_once(void **state)
{
    (void)state;
    vkmoe_error err;
    struct test_log log;
    struct vkm_gpu_params params = gpu_test_params(&log);
    struct vkm_gpu *gpu = gpu_test_open(&params);
    struct workload w;
    workload_init(&w, gpu, 256, 5);
    assert_ok(vkm_gpu_compile(gpu, &w.stream, NULL, &err), &err);
    assert_int_equal(gpu->pipelines.count, 2);
    workload_run(&w);
    assert_int_equal(gpu->pipelines.count, 2);
    workload_finish(&w);
    gpu_test_close(gpu, &log);
}

/* --- cuts --- */

/* Runs the workload with every kernel believed to take `ns` (0: unknown); *submits gets how many
 * submits that made. */
static uint64_t run_cut(struct workload *w, double ns, uint64_t *submits)
{
    vkmoe_error err;
    struct vkm_gpu *gpu = w->gpu;
    struct vkm_commands *commands;
    vkm_rates_finish(&gpu->rates, NULL);
    assert_ok(vkm_rates_init(&gpu->rates, &vkm_kernels, NULL, &err), &err);
    for (size_t i = 0; i < w->stream.ops.count && ns > 0; i++)
        for (int j = 0; j < 2; j++)
            vkm_rates_learn(&gpu->rates, &w->stream.ops.items[i], (uint64_t)ns);
    workload_fill(w);
    assert_ok(vkm_commands_create(gpu, &w->stream, false, &commands, &err), &err);
    uint64_t before = gpu->compute.submitted;
    assert_ok(vkm_commands_run(commands, NULL, &err), &err);
    *submits = gpu->compute.submitted - before;
    vkm_commands_destroy(commands);
    return workload_result(w);
}

static void slow_kernels_are_cut_into_submits_without_changing_bits(void **state)
{
    (void)state;
    struct test_log log;
    struct vkm_gpu_params params = gpu_test_params(&log);
    struct vkm_gpu *gpu = gpu_test_open(&params);
    struct workload w;
    uint64_t submits;
    workload_init(&w, gpu, 256, 23);
    uint64_t whole = run_cut(&w, 1000, &submits);
    assert_int_equal(submits, 1);
    assert_true(run_cut(&w, 11e6, &submits) == whole); /* four fit into 50 ms */
    assert_int_equal(submits, 6);
    assert_true(run_cut(&w, 1e9, &submits) == whole); /* each longer than a submit may be */
    assert_int_equal(submits, 24);
    assert_true(run_cut(&w, 0, &submits) == whole); /* taken for 5 ms */
    assert_int_equal(submits, 3);
    workload_finish(&w);
    gpu_test_close(gpu, &log);
}

static void kernels_of_unknown_speed_are_timed_when_they_run(void **state)
{
    (void)state;
    struct test_log log;
    struct vkm_gpu_params params = gpu_test_params(&log);
    struct vkm_gpu *gpu = gpu_test_open(&params);
    struct workload w;
    workload_init(&w, gpu, 512, 30);
    for (size_t i = 0; i < w.stream.ops.count; i++)
        assert_int_equal(vkm_rates_of(&gpu->rates, &w.stream.ops.items[i])->samples, 0);
    workload_run(&w);
    for (size_t i = 0; i < w.stream.ops.count && gpu->timestamp_period > 0; i++) {
        const struct vkm_op *op = &w.stream.ops.items[i];
        assert_true(vkm_rates_of(&gpu->rates, op)->samples > 0);
        assert_true(vkm_rates_estimate(&gpu->rates, op) < 1e12);
    }
    workload_finish(&w);
    gpu_test_close(gpu, &log);
}

/* --- device times --- */

static void device_times_are_plausible(void **state)
{
    (void)state;
    vkmoe_error err;
    struct test_log log;
    struct vkm_gpu_params params = gpu_test_params(&log);
    struct vkm_gpu *gpu = gpu_test_open(&params);
    struct vkm_commands *commands;
    struct workload w;
    workload_init(&w, gpu, 1024, 12);
    workload_fill(&w);
    assert_ok(vkm_commands_create(gpu, &w.stream, true, &commands, &err), &err);
    assert_int_equal(vkm_commands_time(commands, 0), 0); /* nothing has run */
    assert_ok(vkm_commands_run(commands, NULL, &err), &err);
    double start = test_seconds();
    assert_ok(vkm_commands_run(commands, NULL, &err), &err);
    double wall = test_seconds() - start, device = 0;
    for (uint32_t i = 0; i < w.steps && gpu->timestamp_period > 0; i++) {
        uint64_t ns = vkm_commands_time(commands, i);
        /* a million products take 10 us at least on anything that there is */
        if (ns < 100 || (double)ns > 1e9 * wall)
            fail_msg("step %u took %u ns of a run of %g s", i, (unsigned)ns, wall);
        device += 1e-9 * (double)ns;
    }
    print_message("%g ms by the device's clock in a run of %g ms\n", 1e3 * device, 1e3 * wall);
    assert_true(device <= wall * 1.05);
    vkm_commands_destroy(commands);

    /* not asked for, and all speeds known: no times */
    assert_ok(vkm_commands_create(gpu, &w.stream, false, &commands, &err), &err);
    assert_ok(vkm_commands_run(commands, NULL, &err), &err);
    if (gpu->timestamp_period > 0)
        assert_int_equal(vkm_commands_time(commands, 0), 0);
    vkm_commands_destroy(commands);
    workload_finish(&w);
    gpu_test_close(gpu, &log);
}

/* --- a device that hangs --- */

static struct vkm_gpu *watched;
static struct vkm_vk real; /* the calls behind those that are watched */
static unsigned destroyed;

/* Nothing may be destroyed while the device is still at work. */
static void watch_destroy(void)
{
    uint64_t last = watched->compute.submitted;
    VkSemaphoreWaitInfo info = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
                                .semaphoreCount = 1,
                                .pSemaphores = &watched->compute.timeline,
                                .pValues = &last};
    destroyed++;
    if (real.WaitSemaphores(watched->device, &info, 0) != VK_SUCCESS)
        fail_msg("something is destroyed under a device at work");
}

#define WATCHED_LIST(X)                                                                            \
    X(DestroyBuffer, VkBuffer)                                                                     \
    X(FreeMemory, VkDeviceMemory)                                                                  \
    X(DestroyCommandPool, VkCommandPool)                                                           \
    X(DestroyQueryPool, VkQueryPool)                                                               \
    X(DestroyPipeline, VkPipeline)                                                                 \
    X(DestroyPipelineLayout, VkPipelineLayout)

#define WATCHED(name, type)                                                                        \
    static VKAPI_ATTR void VKAPI_CALL watched_##name(VkDevice device, type handle,                 \
                                                     const VkAllocationCallbacks *allocator)       \
    {                                                                                              \
        watch_destroy();                                                                           \
        real.name(device, handle, allocator);                                                      \
    }
WATCHED_LIST(WATCHED)
#undef WATCHED

static VKAPI_ATTR void VKAPI_CALL watched_DestroyDevice(VkDevice device,
                                                        const VkAllocationCallbacks *allocator)
{
    destroyed++;
    real.DestroyDevice(device, allocator);
}

static void watch(struct vkm_gpu *gpu)
{
    watched = gpu;
    real = gpu->vk;
    destroyed = 0;
#define WATCH(name, type) gpu->vk.name = watched_##name;
    WATCHED_LIST(WATCH)
#undef WATCH
    gpu->vk.DestroyDevice = watched_DestroyDevice;
}

/* A device on which everything takes too long, and a run that it did not end in time. */
static void hang(struct workload *w, struct vkm_gpu *gpu, struct vkm_commands **commands)
{
    vkmoe_error err;
    workload_init(w, gpu, 1024, 60);
    watch(gpu);
    assert_ok(vkm_commands_create(gpu, &w->stream, true, commands, &err), &err);
    double start = test_seconds();
    test_assert_fails(vkm_commands_run(*commands, NULL, &err), &err, VKMOE_DEVICE_LOST,
                      "lost or hung");
    assert_non_null(strstr(err.message, vkm_gpu_info(gpu)->name));
    print_message("said to hang after %g ms\n", 1e3 * (test_seconds() - start));
}

static void expect_lost(struct vkm_gpu *gpu, struct workload *w, struct vkm_commands *commands)
{
    vkmoe_error err;
    struct vkm_uploader *u;
    unsigned char data[64] = {0};
    double start = test_seconds();
    test_assert_fails(vkm_commands_run(commands, NULL, &err), &err, VKMOE_DEVICE_LOST, "is lost");
    assert_ok(vkm_uploader_create(gpu, &u, &err), &err);
    test_assert_fails(vkm_uploader_write(u, vkm_buffer_view(w->x), data, sizeof(data), &err), &err,
                      VKMOE_DEVICE_LOST, "is lost");
    vkm_gpu_save_cache(gpu);
    if (test_seconds() - start > 0.5)
        fail_msg("calls on a lost device took %g s", test_seconds() - start);
    vkm_uploader_destroy(u);
    test_assert_fails(
        vkm_buffer_read(gpu, vkm_view_slice(vkm_buffer_view(w->x), 0, 64), data, &err), &err,
        VKMOE_DEVICE_LOST, "is lost");
}

static void a_hung_device_is_said_and_can_be_closed(void **state)
{
    (void)state;
    struct test_log log;
    struct vkm_gpu_params params = gpu_test_params(&log);
    struct vkm_commands *commands;
    struct workload w;
    params.hang_seconds = 1e-6;
    params.force_staging = true;
    /* each of these may be the first to be destroyed */
    for (int first = 0; first < 3; first++) {
        struct vkm_gpu *gpu = gpu_test_open(&params);
        hang(&w, gpu, &commands);
        if (first == 0)
            expect_lost(gpu, &w, commands);
        if (first == 1)
            workload_finish(&w);
        vkm_commands_destroy(commands);
        if (first != 1)
            workload_finish(&w);
        assert_true(destroyed > 0);
        gpu_test_close(gpu, &log);
    }
    assert_int_equal(log.warnings, 0);
}

static VKAPI_ATTR VkResult VKAPI_CALL never_ends(VkDevice device, const VkSemaphoreWaitInfo *info,
                                                 uint64_t timeout)
{
    (void)device, (void)info, (void)timeout;
    return VK_TIMEOUT;
}

static void a_device_that_never_ends_keeps_what_it_may_touch(void **state)
{
    (void)state;
    struct test_log log;
    struct vkm_gpu_params params = gpu_test_params(&log);
    struct vkm_commands *commands;
    struct workload w;
    struct vkm_gpu *gpu = gpu_test_open(&params);
    gpu->vk.WaitSemaphores = never_ends;
    VkDevice device = gpu->device;
    hang(&w, gpu, &commands);
    vkm_commands_destroy(commands);
    workload_finish(&w);
    gpu_test_close(gpu, &log);
    assert_int_equal(destroyed, 0);
    assert_int_equal(log.warnings, 1);
    assert_non_null(strstr(log.warning, "left to it"));
    real.DeviceWaitIdle(device); /* it does end here, but what it kept stays */
}

static VKAPI_ATTR VkResult VKAPI_CALL lose(VkDevice device, const VkSemaphoreWaitInfo *info,
                                           uint64_t timeout)
{
    real.WaitSemaphores(device, info, timeout);
    return VK_ERROR_DEVICE_LOST;
}

static void a_device_that_its_driver_gives_up_is_destroyed(void **state)
{
    (void)state;
    vkmoe_error err;
    struct test_log log;
    struct vkm_gpu_params params = gpu_test_params(&log);
    struct vkm_commands *commands;
    struct workload w;
    struct vkm_gpu *gpu = gpu_test_open(&params);
    watch(gpu);
    gpu->vk.WaitSemaphores = lose;
    workload_init(&w, gpu, 256, 3);
    assert_ok(vkm_commands_create(gpu, &w.stream, true, &commands, &err), &err);
    test_assert_fails(vkm_commands_run(commands, NULL, &err), &err, VKMOE_DEVICE_LOST,
                      "VK_ERROR_DEVICE_LOST");
    test_assert_fails(vkm_commands_run(commands, NULL, &err), &err, VKMOE_DEVICE_LOST, "is lost");
    vkm_commands_destroy(commands);
    workload_finish(&w);
    gpu_test_close(gpu, &log);
    assert_true(destroyed > 0);
    assert_int_equal(log.warnings, 0);
}

static void a_slow_device_is_no_hung_one(void **state)
{
    (void)state;
    struct test_log log;
    struct vkm_gpu_params params = gpu_test_params(&log);
    struct workload w;
    params.hang_seconds = 1e300; /* beyond what nanoseconds can say */
    struct vkm_gpu *gpu = gpu_test_open(&params);
    workload_init(&w, gpu, 256, 30);
    workload_run(&w);
    workload_finish(&w);
    gpu_test_close(gpu, &log);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_do_not_depend_on_how_memory_is_reached),
        cmocka_unit_test(a_stream_may_run_again_and_again),
        cmocka_unit_test(an_empty_stream_runs),
        cmocka_unit_test(pipelines_are_built_once),
        cmocka_unit_test(slow_kernels_are_cut_into_submits_without_changing_bits),
        cmocka_unit_test(kernels_of_unknown_speed_are_timed_when_they_run),
        cmocka_unit_test(device_times_are_plausible),
        cmocka_unit_test(a_hung_device_is_said_and_can_be_closed),
        cmocka_unit_test(a_device_that_never_ends_keeps_what_it_may_touch),
        cmocka_unit_test(a_device_that_its_driver_gives_up_is_destroyed),
        cmocka_unit_test(a_slow_device_is_no_hung_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
