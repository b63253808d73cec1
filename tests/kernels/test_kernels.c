/* Every kernel, in every variant that the device can run, against its reference; then the same with
 * the shaders that check their addresses. VKMOE_CONFORM_FULL runs the larger shapes too; an argument
 * is a pattern of kernel names. */
#include "device.h"

#include "conform/conform.h"

#define MAX_FAILURES_SHOWN 10u

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
    print_message("%-14s %-4s %-8s %4u cases, worst NMSE %8.2e  %s\n",
                  vkm_kernels.kernels[result->kernel].name,
                  vkm_variant_dtype_name(result->variant), vkm_path_name(result->variant->path),
                  result->cases, result->nmse, result->worst);
}

static uint32_t count_variants(const struct vkm_gpu *gpu, const char *name)
{
    uint32_t n = 0;
    for (uint32_t k = 0; k < vkm_kernels.count; k++)
        for (uint32_t i = 0; i < vkm_kernels.kernels[k].n_variants; i++)
            if (strcmp(vkm_kernels.kernels[k].name, name) == 0 &&
                vkm_gpu_caps(gpu)->paths[vkm_kernels.kernels[k].variants[i].path])
                n++;
    return n;
}

static void check_kernel(struct test_device *d, const char *name)
{
    struct tally tally = {0};
    struct vkm_conform_totals totals;
    vkmoe_error err = {0};
    unsigned errors = atomic_load(&d->errors);
    struct vkm_conform_params params = {
        .kernels = name,
        .full = getenv("VKMOE_CONFORM_FULL") != NULL,
        .on_case = show_case,
        .on_variant = show_variant,
        .user = &tally,
    };
    if (vkm_conform_run(d->gpu, &params, &totals, &err) != VKMOE_OK)
        fail_msg("%s: %s", name, err.message);
    if (totals.failed > 0)
        fail_msg("%s: %u of %u cases failed", name, totals.failed, totals.cases);
    assert_true(totals.cases > 0);
    assert_int_equal(tally.variants, count_variants(d->gpu, name));
    assert_int_equal(atomic_load(&d->errors), errors);
}

#define KERNEL(name, ...)                                                                          \
    static void name(void **state)                                                                 \
    {                                                                                              \
        check_kernel(*state, #name);                                                               \
    }
#include "kernels/table.def"
#undef KERNEL

static struct test_device plain, checked;

static int open_plain(void **state)
{
    *state = &plain;
    return test_device_open(&plain, &vkm_kernels, false);
}

static int open_checked(void **state)
{
    *state = &checked;
    return test_device_open(&checked, &vkm_kernels, true);
}

static int close_device(void **state)
{
    return test_device_close(*state);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
#define KERNEL(name, ...) cmocka_unit_test(name),
#include "kernels/table.def"
#undef KERNEL
    };
    int failed = cmocka_run_group_tests_name("kernels", tests, open_plain, close_device);
    failed += cmocka_run_group_tests_name("kernels, addresses checked", tests, open_checked,
                                          close_device);
    return failed != 0;
}
