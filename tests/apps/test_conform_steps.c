/* The checks of whole steps: they pass on a good driver, and find kernels made wrong on purpose. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "conform/steps.h"
#include "process.h"
#include "spoil.h"

static void whole_steps_pass_on_a_random_model(void **state)
{
    static const char *const checks[] = {"routing-parity", "determinism", "barriers", "exhaustion",
                                         "cancel"};
    struct test_process p = {0};
    (void)state;
    test_vkmoe(&p, "conform", "--kernel", "*", "--case", "*random model*");
    test_process_assert_code(&p, 0);
    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
        struct test_process one = {0};
        test_vkmoe(&one, "conform", "--kernel", checks[i], "--list");
        assert_non_null(strstr(one.out, "random model"));
        assert_non_null(strstr(one.out, "given model"));
        test_process_free(&one);
    }
    test_process_free(&p);
}

/* A run that nobody stops. */
static const vkmoe_conform_params asked;
static struct vkm_report report = {.params = &asked};

/* The device has one model, the reference another. */
static void routing_parity_tells_models_apart(void **state)
{
    char *own, *other;
    vkmoe_error err = {0};
    struct vkm_finding finding = {.worst = {.view = ""}};
    vkmoe_device_params params = {.cache_dir = ""};
    struct vkm_steps s = {
        .report = &report, .device_params = &params, .count = 50, .random = {.key = 1}};
    (void)state;
    assert_ok(vkm_random_model_write(NULL, 0, 1, &own, &err), &err);
    assert_ok(vkm_random_model_write(NULL, 0, 2, &other, &err), &err);
    assert_ok(vkmoe_device_open(&params, &s.device, &err), &err);
    assert_ok(vkmoe_model_load(s.device, own, NULL, &s.model, &err), &err);
    s.path = own;
    assert_ok(vkm_check_routing(&s, &finding, &err), &err);
    assert_string_equal(finding.sentence, "");
    assert_true(finding.nmse < 1e-8);
    s.path = other;
    assert_ok(vkm_check_routing(&s, &finding, &err), &err);
    assert_non_null(strstr(finding.sentence, "other experts"));
    assert_non_null(strstr(finding.note, "flipped"));
    vkmoe_model_destroy(s.model);
    vkmoe_device_close(s.device);
    vkm_random_model_remove(NULL, own);
    vkm_random_model_remove(NULL, other);
}

/* A device on which every variant of one kernel is wrong. */
struct wrong_device {
    struct vkm_kernel kernels[VKM_KERNEL_COUNT];
    struct vkm_kernel_set set;
    struct vkm_variant *variants;
    struct vkmoe_device device;
    enum vkm_kernel_id id;
};

static void open_wrong(struct wrong_device *w, enum vkm_kernel_id id)
{
    vkmoe_error err = {0};
    struct vkm_gpu_params open = {.selector = getenv("VKMOE_DEVICE"), .cache_dir = ""};
    memcpy(w->kernels, vkm_kernels.kernels, sizeof(w->kernels));
    struct vkm_kernel *k = &w->kernels[id];
    w->id = id;
    w->set = (struct vkm_kernel_set){w->kernels, VKM_KERNEL_COUNT};
    w->variants = malloc(k->n_variants * sizeof(*w->variants));
    assert_non_null(w->variants);
    for (uint32_t i = 0; i < k->n_variants; i++) {
        w->variants[i] = k->variants[i];
        w->variants[i].code = test_spoil(k->variants[i].code, k->variants[i].code_size);
    }
    k->variants = w->variants;
    assert_ok(vkm_gpu_open(&open, &w->set, &w->device.gpu, &err), &err);
}

static void close_wrong(struct wrong_device *w)
{
    vkm_gpu_close(w->device.gpu);
    for (uint32_t i = 0; i < w->kernels[w->id].n_variants; i++)
        free((void *)(uintptr_t)w->variants[i].code);
    free(w->variants);
}

/* What decoding alone uses, and prompts alone, and both. */
static void routing_parity_finds_errors_in_decoding_and_in_prompts(void **state)
{
    static const enum vkm_kernel_id ids[] = {VKM_K_gemv, VKM_K_gemm, VKM_K_moe_gemv_up,
                                             VKM_K_moe_gemm_up, VKM_K_rmsnorm};
    char *folder;
    vkmoe_error err = {0};
    vkmoe_device_params params = {.cache_dir = ""};
    (void)state;
    assert_ok(vkm_random_model_write(NULL, 0, 1, &folder, &err), &err);
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        struct wrong_device w;
        struct vkm_finding finding = {.worst = {.view = ""}};
        open_wrong(&w, ids[i]);
        struct vkm_steps s = {.report = &report,
                              .device_params = &params,
                              .device = &w.device,
                              .path = folder,
                              .count = 200,
                              .random = {.key = 1}};
        assert_ok(vkmoe_model_load(s.device, folder, NULL, &s.model, &err), &err);
        assert_ok(vkm_check_routing(&s, &finding, &err), &err);
        if (!finding.sentence[0])
            fail_msg("%s is wrong, and nothing was found: %s", w.kernels[ids[i]].name,
                     finding.note);
        vkmoe_model_destroy(s.model);
        close_wrong(&w);
    }
    vkm_random_model_remove(NULL, folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FOLDER(whole_steps_pass_on_a_random_model),
        TEST_IN_FOLDER(routing_parity_tells_models_apart),
        TEST_IN_FOLDER(routing_parity_finds_errors_in_decoding_and_in_prompts),
    };
    return cmocka_run_group_tests_name("conform_steps", tests, NULL, NULL);
}
