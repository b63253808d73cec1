#include "kernel_suite.h"

#include "device.h"

#include "conform/conform.h"

#define MAX_FAILURES_SHOWN 10u

struct suite {
    struct test_device device;
    enum vkm_conform_level level;
};

struct tally {
    uint32_t variants, failures;
};

static void show_case(void *user, const struct vkm_conform_case *result)
{
    struct tally *tally = user;
    if (!result->passed && tally->failures++ < MAX_FAILURES_SHOWN)
        print_error("%s\n", result->sentence);
}

static void show_variant(void *user, const struct vkm_conform_variant *result)
{
    struct tally *tally = user;
    tally->variants++;
    print_message("%-14s %-4s %-8s %3u %4u cases, worst NMSE %8.2e  %s\n",
                  vkm_kernels.kernels[result->kernel].name, vkm_variant_dtype_name(result->variant),
                  vkm_path_name(result->variant->path), result->subgroup_size, result->cases,
                  result->nmse, result->worst);
}

/* Variants of a kernel that the device can run, those with subgroups once for each size. */
static uint32_t count_variants(const struct vkm_gpu *gpu, const struct vkm_kernel *kernel)
{
    uint32_t n = 0, sizes = 0;
    for (uint32_t size = 4; size <= 128; size *= 2)
        sizes += (vkm_gpu_info(gpu)->subgroup_sizes & size) != 0;
    for (uint32_t i = 0; i < kernel->n_variants; i++)
        if (vkm_gpu_caps(gpu)->paths[kernel->variants[i].path])
            n += kernel->variants[i].path == VKM_PATH_SUBGROUP ||
                         kernel->variants[i].path == VKM_PATH_WIDE
                     ? sizes
                     : 1;
    return n;
}

static void check_kernel(struct suite *s, const struct vkm_kernel *kernel)
{
    struct tally tally = {0};
    struct vkm_conform_totals totals;
    vkmoe_error err = {0};
    struct vkm_conform_params params = {
        .kernels = kernel->name,
        .level = s->level,
        .on_case = show_case,
        .on_variant = show_variant,
        .user = &tally,
    };
    assert_ok(vkm_conform_run(s->device.gpu, &params, &totals, &err), &err);
    if (totals.failed > 0)
        fail_msg("%s: %u of %u cases failed", kernel->name, totals.failed, totals.cases);
    assert_true(totals.cases > 0);
    if (s->level != VKM_CONFORM_BRIEF)
        assert_int_equal(tally.variants, count_variants(s->device.gpu, kernel));
    assert_int_equal(s->device.log.errors, 0);
}

#define KERNEL(name, ...)                                                                          \
    static void name(void **state)                                                                 \
    {                                                                                              \
        check_kernel(*state, &vkm_kernels.kernels[VKM_K_##name]);                                  \
    }
#include "kernels/table.def"
#undef KERNEL

static int open_device(void **state, enum vkm_conform_level level, bool check_addresses)
{
    static struct suite s;
    s.level = level;
    *state = &s;
    return test_device_open(&s.device, &vkm_kernels, check_addresses);
}

static int open_plain(void **state)
{
    return open_device(state,
                       getenv("VKMOE_CONFORM_FULL") ? VKM_CONFORM_FULL
                       : test_is_brief()            ? VKM_CONFORM_BRIEF
                                                    : VKM_CONFORM_QUICK,
                       false);
}

static int open_checked(void **state)
{
    return open_device(state, VKM_CONFORM_BRIEF, true);
}

static int close_suite(void **state)
{
    struct suite *s = *state;
    return test_device_close(&s->device);
}

int kernel_suite_run(bool check_addresses, int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
#define KERNEL(name, ...) cmocka_unit_test(name),
#include "kernels/table.def"
#undef KERNEL
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return check_addresses ? cmocka_run_group_tests_name("kernels, addresses checked", tests,
                                                         open_checked, close_suite)
                           : cmocka_run_group_tests_name("kernels", tests, open_plain, close_suite);
}
