/* Every call that can fail, failing in every way it may, everywhere that loading a model and
 * continuing a text makes it; and every allocation of host memory. Exhaustive, because the driver
 * below computes nothing and takes no time. */
#include "life.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "conform/conform.h"
#include "memory.h"
#include "null_driver.h"
#include "watch.h"

enum { MOST = 2000, PAIRS = 300 }; /* calls of one kind that are tried; random pairs of faults */

static struct life_setup discrete = {.selector = "0", .under = null_driver_discrete};
static struct life_setup integrated = {.selector = "0", .under = null_driver_integrated};
static struct life_setup processor = {.selector = "0", .under = null_driver_processor};
static struct life_setup checked = {
    .selector = "0", .under = null_driver_discrete, .check_addresses = true};
static struct life_setup reference = {.selector = "reference"};
static struct life_setup *const setups[] = {&discrete, &integrated, &processor, &checked,
                                            &reference};
enum { N_SETUPS = sizeof(setups) / sizeof(setups[0]) };

static int measure(void **state)
{
    (void)state;
    char *model = life_model_make();
    for (int i = 0; i < N_SETUPS; i++) {
        setups[i]->model = model;
        life_setup_measure(setups[i]);
    }
    return 0;
}

static int drop_model(void **state)
{
    (void)state;
    test_folder_remove((char *)(uintptr_t)discrete.model);
    return 0;
}

struct tally {
    unsigned lives, survived, lost;
};

static bool count(struct tally *t, const struct life *life)
{
    if (!life->fired)
        return false;
    t->lives++;
    t->survived += life->failures == 0;
    t->lost += life->lost > 0;
    return true;
}

/* Every nth call with each of its results, until it is not made that often. */
static void fail_each(const struct life_setup *setup, enum fault_call call, bool for_good,
                      struct tally *t)
{
    VkResult result;
    for (size_t i = 0; (result = fault_result(call, i)) != VK_SUCCESS; i++) {
        struct life_faults faults = {
            .plans = {{.call = call, .nth = 1, .result = result, .for_good = for_good}},
            .n_plans = 1,
            .no_recovery = for_good,
        };
        for (; faults.plans[0].nth <= MOST; faults.plans[0].nth++) {
            struct life life = life_lead(setup, &faults);
            if (!count(t, &life))
                break;
        }
    }
}

static void say(const char *what, const struct tally *t)
{
    print_message("%s: %u faults, %u survived, %u lost the device\n", what, t->lives, t->survived,
                  t->lost);
}

static void any_call_may_fail_once(void **state)
{
    const struct life_setup *setup = *state;
    struct tally t = {0};
    for (int call = 0; call < FAULT_CALLS; call++) {
        unsigned before = t.lives;
        fail_each(setup, (enum fault_call)call, false, &t);
        /* Made with validation only, with a cache folder only, on the host's processor only. */
        bool imports = call == FAULT_GetMemoryHostPointerPropertiesEXT;
        bool made = call != FAULT_EnumerateInstanceLayerProperties &&
                    call != FAULT_GetPipelineCacheData && (!imports || setup == &processor);
        if ((t.lives > before) != made && (setup == &discrete || imports))
            fail_msg("%s is %s", fault_call_name((enum fault_call)call),
                     made ? "never made" : "made");
    }
    say("once", &t);
    assert_true(t.lost > 0 && t.survived > 0);
}

static void any_call_may_fail_for_good(void **state)
{
    const struct life_setup *setup = *state;
    struct tally t = {0};
    for (int call = 0; call < FAULT_CALLS; call++)
        fail_each(setup, (enum fault_call)call, true, &t);
    say("for good", &t);
    assert_true(t.survived < t.lives);
}

static void calls_about_the_cache_may_fail(void **state)
{
    static const enum fault_call calls[] = {FAULT_CreatePipelineCache, FAULT_GetPipelineCacheData};
    struct tally t = {0};
    (void)state;
    for (size_t c = 0; c < sizeof(calls) / sizeof(calls[0]); c++) {
        for (uint64_t nth = 1; nth <= 4; nth++) {
            char *folder = test_folder_make(); /* so that there is no file yet */
            struct life_setup setup = discrete;
            setup.cache_dir = folder;
            const struct life_faults faults = {
                .plans = {{.call = calls[c], .nth = nth, .result = VK_ERROR_OUT_OF_HOST_MEMORY}},
                .n_plans = 1};
            struct life life = life_lead(&setup, &faults);
            count(&t, &life);
            assert_int_equal(life.failures, 0);
            test_folder_remove(folder);
        }
    }
    say("cache", &t);
    assert_true(t.lives >= 4);
}

static void a_full_disk_costs_the_cache_alone(void **state)
{
    char *folder = test_folder_make();
    struct life_setup setup = discrete;
    struct rlimit old, full;
    (void)state;
    setup.cache_dir = folder;
    signal(SIGXFSZ, SIG_IGN); /* the write fails instead */
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    full = (struct rlimit){.rlim_cur = 40, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &full), 0);
    struct life life = life_lead(&setup, &(struct life_faults){0});
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(life.failures, 0);
    assert_non_null(strstr(life.warning, "pipeline cache not kept"));
    assert_int_equal(rmdir(folder), 0); /* nothing was left in it */
    free(folder);
}

static uint32_t next_random(uint64_t *random)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*random >> 33);
}

static void two_calls_may_fail(void **state)
{
    const struct life_setup *setup = *state;
    struct tally t = {0};
    uint64_t random = 2401;
    life_lead(setup, &(struct life_faults){0});
    uint64_t calls = fault_calls(FAULT_ANY);
    for (int i = 0; i < PAIRS; i++) {
        struct life_faults faults = {.n_plans = 2};
        for (int p = 0; p < 2; p++)
            faults.plans[p] = (struct fault_plan){.call = FAULT_ANY,
                                                  .nth = 1 + next_random(&random) % calls,
                                                  .draw = next_random(&random)};
        /* Half of the pairs are neighbours: what is done about a failure fails too. */
        if (i % 2)
            faults.plans[1].nth = faults.plans[0].nth + 1 + next_random(&random) % 3;
        struct life life = life_lead(setup, &faults);
        count(&t, &life);
    }
    say("two", &t);
    assert_int_equal(t.lives, PAIRS);
}

static void fail_allocations(const struct life_setup *setup, struct tally *t)
{
    for (uint64_t nth = 1;; nth++) {
        const struct life_faults faults = {.allocation = nth};
        struct life life = life_lead(setup, &faults);
        if (!count(t, &life))
            break;
    }
}

static void any_allocation_may_fail(void **state)
{
    struct tally t = {0};
    fail_allocations(*state, &t);
    say("allocations", &t);
    assert_true(t.lives > 100);
}

/* Lists with that call failing; false if it is not made that often. */
static bool list_with(enum fault_call call, uint64_t nth, VkResult result, bool validation)
{
    const struct fault_plan plan = {.call = call, .nth = nth, .result = result};
    const struct vkm_gpu_params params = {
        .allocator = memory_hook(), .loader = fault_loader, .validation = validation};
    vkmoe_device_info info;
    vkmoe_error err = {0};
    size_t found = 0;
    fault_start(null_driver_discrete, &plan, 1);
    memory_start(0);
    vkmoe_status status = vkm_gpu_list(&params, &info, 1, &found, &err);
    if (status == VKMOE_OK)
        assert_int_equal(found, 1);
    else if (fault_count() > 0)
        test_assert_fails(status, &err, vkm_vk_status(result, status), fault_call_name(call));
    assert_int_equal(memory_in_use(), 0);
    assert_int_equal(watch_alive(), 0);
    assert_string_equal(watch_misuse(), "");
    return fault_count() > 0;
}

static void listing_devices_may_fail(void **state)
{
    unsigned faults = 0;
    (void)state;
    for (int c = 0; c < FAULT_CALLS; c++) {
        enum fault_call call = (enum fault_call)c;
        bool layers = call == FAULT_EnumerateInstanceLayerProperties;
        VkResult result;
        for (size_t i = 0; (result = fault_result(call, i)) != VK_SUCCESS; i++) {
            for (uint64_t nth = 1; list_with(call, nth, result, layers); nth++)
                faults++;
        }
    }
    print_message("listing: %u faults\n", faults);
    assert_true(faults > 15);
}

static void note_bundle(void *user, const struct vkm_conform_case *c)
{
    char **bundle = user;
    if (c->bundle && !*bundle)
        *bundle = vkm_strdup(NULL, c->bundle);
}

static bool is_in(const char *folder, const char *name)
{
    char *path = vkm_format(NULL, "%s/%s", folder, name);
    bool is = access(path, R_OK) == 0;
    vkm_free(NULL, path);
    return is;
}

/* With its inputs and what was expected of it. */
static void a_case_that_loses_the_device_is_exported(void **state)
{
    char *folder = test_folder_make(), *bundle = NULL;
    const struct vkm_gpu_params open = {
        .selector = "0", .loader = fault_loader, .host_visible = true, .cache_dir = ""};
    const struct vkm_conform_params params = {
        .kernels = "rmsnorm", .export_dir = folder, .on_case = note_bundle, .user = &bundle};
    struct vkm_conform_totals totals;
    struct vkm_gpu *gpu;
    vkmoe_error err = {0};
    (void)state;
    fault_start(null_driver_integrated, NULL, 0);
    assert_ok(vkm_gpu_open(&open, &vkm_kernels, &gpu, &err), &err);
    fault_next(FAULT_QueueSubmit2, VK_ERROR_DEVICE_LOST);
    vkmoe_status status = vkm_conform_run(gpu, &params, &totals, &err);
    vkm_gpu_close(gpu);
    assert_int_equal(status, VKMOE_DEVICE_LOST);
    assert_int_equal(totals.failed, 1);
    assert_non_null(bundle);
    assert_true(is_in(bundle, "kernel.spv") && is_in(bundle, "manifest.json"));
    assert_true(is_in(bundle, "x.before.bin") && is_in(bundle, "y.expected.bin"));
    assert_false(is_in(bundle, "y.got.bin"));
    vkm_free(NULL, bundle);
    test_folder_remove(folder);
}

static void a_refused_import_is_made_up_for(void **state)
{
    const struct life_faults faults = {.plans = {{.call = FAULT_GetMemoryHostPointerPropertiesEXT,
                                                  .nth = 1,
                                                  .result = VK_ERROR_INVALID_EXTERNAL_HANDLE,
                                                  .for_good = true}},
                                       .n_plans = 1,
                                       .no_recovery = true};
    (void)state;
    struct life life = life_lead(&processor, &faults);
    assert_true(life.fired);
    assert_int_equal(life.failures, 0);
}

static void memory_without_an_address_is_exhausted_memory(void **state)
{
    const struct vkm_gpu_params params = {
        .selector = "0", .loader = null_driver_integrated, .cache_dir = ""};
    struct vkm_buffer *buffer = NULL;
    struct vkm_gpu *gpu;
    vkmoe_error err = {0};
    (void)state;
    assert_ok(vkm_gpu_open(&params, &vkm_kernels, &gpu, &err), &err);
    null_driver_misplace(UINT64_MAX);
    vkmoe_status status = vkm_buffer_create(gpu, VKM_MEMORY_HOST, 1 << 20, "a test", &buffer, &err);
    null_driver_misplace(0);
    test_assert_fails(status, &err, VKMOE_OUT_OF_DEVICE_MEMORY, "has no room for a test");
    assert_ok(vkm_buffer_create(gpu, VKM_MEMORY_HOST, 1 << 20, "a test", &buffer, &err), &err);
    vkm_buffer_destroy(gpu, buffer);
    vkm_gpu_close(gpu);
}

int main(int argc, char **argv)
{
#define ON(setup, test)                                                                            \
    {                                                                                              \
#test " on " #setup, test, NULL, NULL, &setup                                              \
    }
    const struct CMUnitTest tests[] = {
        ON(discrete, any_call_may_fail_once),
        ON(integrated, any_call_may_fail_once),
        ON(processor, any_call_may_fail_once),
        ON(checked, any_call_may_fail_once),
        ON(discrete, any_call_may_fail_for_good),
        ON(integrated, any_call_may_fail_for_good),
        ON(processor, any_call_may_fail_for_good),
        ON(discrete, two_calls_may_fail),
        ON(integrated, two_calls_may_fail),
        ON(processor, two_calls_may_fail),
        ON(checked, two_calls_may_fail),
        ON(discrete, any_allocation_may_fail),
        ON(integrated, any_allocation_may_fail),
        ON(checked, any_allocation_may_fail),
        ON(reference, any_allocation_may_fail),
        cmocka_unit_test(calls_about_the_cache_may_fail),
        cmocka_unit_test(a_full_disk_costs_the_cache_alone),
        cmocka_unit_test(listing_devices_may_fail),
        cmocka_unit_test(a_case_that_loses_the_device_is_exported),
        cmocka_unit_test(a_refused_import_is_made_up_for),
        cmocka_unit_test(memory_without_an_address_is_exhausted_memory),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("faults over a driver that computes nothing", tests, measure,
                                       drop_model);
}
