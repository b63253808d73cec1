/* The checks of whole steps: they pass on a good driver, and find kernels made wrong on purpose. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conform/steps.h"
#include "../mutants/shaders.h"
#include "process.h"
#include "spoil.h"

static void whole_steps_pass_on_a_random_model(void **state)
{
    static const char *const checks[] = {"routing-parity", "determinism", "barriers",
                                         "memory-limit",   "exhaustion",  "cancel"};
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
    assert_non_null(strstr(finding.note, "at margins below 1e-08"));
    assert_non_null(strstr(finding.note, "the widest of the first: layer"));
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

typedef void spoiler(enum vkm_kernel_id id, struct vkm_variant *variant);

static void spoil_sums(enum vkm_kernel_id id, struct vkm_variant *variant)
{
    (void)id;
    variant->code = test_spoil(variant->code, variant->code_size);
}

static void open_wrong(struct wrong_device *w, enum vkm_kernel_id id, spoiler *spoil)
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
        spoil(id, &w->variants[i]);
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
        open_wrong(&w, ids[i], spoil_sums);
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

/* --- what else can be wrong with steps --- */

/* Lets a check look at the first random model, on a device. */
static void look(struct vkm_steps *s, vkm_step_check *check, struct vkm_finding *f)
{
    char *folder;
    vkmoe_error err = {0};
    *f = (struct vkm_finding){.worst = {.view = ""}};
    s->report = &report;
    s->random.key = 1;
    assert_ok(vkm_random_model_write(NULL, 0, 1, &folder, &err), &err);
    assert_ok(vkmoe_model_load(s->device, folder, NULL, &s->model, &err), &err);
    assert_ok(check(s, f, &err), &err);
    vkmoe_model_destroy(s->model);
    vkm_random_model_remove(NULL, folder);
}

static void open_device(struct vkm_steps *s, const char *selector)
{
    vkmoe_error err = {0};
    const vkmoe_device_params params = {.cache_dir = "", .selector = selector};
    assert_ok(vkmoe_device_open(&params, &s->device, &err), &err);
}

/* Compiles rmsnorm so that a little of what its output held before goes into it. */
static void read_unwritten(enum vkm_kernel_id id, struct vkm_variant *variant)
{
    static const char right[] = "st_vec4(y, c, ";
    static const char wrong[] = "st_vec4(y, c, min(abs(ld_vec4(y, c)), vec4(1.0)) * 0.001 + ";
    struct shaders s;
    struct module_key key = {.kernel = id, .dtype = variant->dtype, .path = variant->path};
    shaders_load(&s);
    for (unsigned i = 0; i < s.count; i++) {
        if (strcmp(s.names[i], "rmsnorm.comp") != 0)
            continue;
        const char *at = strstr(s.sources[i], right);
        char *changed = malloc(strlen(s.sources[i]) + sizeof(wrong));
        assert_true(at && changed);
        sprintf(changed, "%.*s%s%s", (int)(at - s.sources[i]), s.sources[i], wrong,
                at + strlen(right));
        free(s.sources[i]);
        s.sources[i] = changed;
    }
    shaders_write(&s, NULL, test_folder_path("shaders"));
    struct module module = shaders_compile(test_folder_path("shaders"), key);
    assert_non_null(module.code);
    variant->code = module.code;
    variant->code_size = module.size;
    shaders_free(&s);
}

static void determinism_finds_a_kernel_that_reads_what_was_not_written(void **state)
{
    struct wrong_device w;
    struct vkm_finding f;
    struct vkm_steps s = {.device = &w.device, .count = 3};
    (void)state;
    open_wrong(&w, VKM_K_rmsnorm, read_unwritten);
    look(&s, vkm_check_determinism, &f);
    assert_non_null(strstr(f.sentence, "gave other bits"));
    assert_null(strstr(f.note, "in 3 of them"));
    close_wrong(&w);
}

struct disorder {
    uint32_t barrier; /* that is taken away: the first, the second, ... */
    uint32_t runs;    /* each in another order */
};

static void drop_barrier(void *user, struct vkmoe_session *session, struct vkm_step *step)
{
    uint32_t left = ((const struct disorder *)user)->barrier;
    (void)session;
    for (size_t i = 0; i < step->stream.ops.count; i++)
        if (step->stream.ops.items[i].barrier && --left == 0)
            step->stream.ops.items[i].barrier = false;
}

/* A device on which what no barrier keeps apart runs in any order. */
static vkmoe_status run_in_any_order(void *user, const struct vkm_gpu *gpu,
                                     const struct vkm_stream *stream, vkmoe_error *err)
{
    struct disorder *d = user;
    (void)err;
    vkm_reference_run(gpu, stream, UINT64_C(0x9e3779b97f4a7c15) * ++d->runs);
    return VKMOE_OK;
}

static void barriers_finds_one_that_is_missing(void **state)
{
    struct disorder d = {.barrier = 5};
    struct vkm_finding f;
    struct vkm_steps s = {.run = run_in_any_order, .count = 6, .user = &d};
    (void)state;
    open_device(&s, "reference");
    look(&s, vkm_check_barriers, &f);
    assert_string_equal(f.sentence, "");
    assert_non_null(strstr(f.note, "6 gave the same bits"));
    s.meddle = drop_barrier;
    look(&s, vkm_check_barriers, &f);
    assert_non_null(strstr(f.sentence, "gave other bits with a barrier before every dispatch"));
    assert_null(strstr(f.note, "6 gave the same bits"));
    vkmoe_device_close(s.device);
}

static void leak(void *user, struct vkmoe_session *session, struct vkm_step *step)
{
    vkmoe_error err = {0};
    (void)step;
    assert_ok(
        vkm_buffer_create(session->model->gpu, VKM_MEMORY_DEVICE, 40u << 20, "a leak", user, &err),
        &err);
}

static void memory_limit_finds_a_leak(void **state)
{
    struct vkm_buffer *leaked = NULL;
    struct vkm_finding f;
    struct vkm_steps s = {.meddle = leak, .user = &leaked, .count = 1};
    (void)state;
    open_device(&s, NULL);
    look(&s, vkm_check_memory_limit, &f);
    assert_non_null(strstr(f.sentence, "were not given back"));
    assert_string_equal(f.note, "");
    vkm_buffer_destroy(s.device->gpu, leaked);
    vkmoe_device_close(s.device);
}

static void full_memory_of_a_cpu_driver_is_not_tested(void **state)
{
    struct vkm_finding f;
    struct vkm_steps s = {.count = 1};
    struct test_process p = {0};
    (void)state;
    open_device(&s, NULL);
    bool cpu = vkmoe_device_get_info(s.device)->kind == VKMOE_DEVICE_CPU;
    look(&s, vkm_check_exhaustion, &f);
    vkmoe_device_close(s.device);
    assert_string_equal(f.sentence, "");
    assert_int_equal(f.untested, cpu);
    test_vkmoe(&p, "conform", "--kernel", "exhaustion", "--case", "random model*");
    test_process_assert_code(&p, 0);
    test_assert_part(p.out, cpu ? "0 of 1 cases in 1 tests passed, 1 could not be tested\n"
                                : "all 1 cases in 1 tests passed\n");
    test_process_free(&p);
}

/* What a cancelled evaluation computed, kept. */
static void keep_result(void *user, struct vkmoe_session *session, struct vkm_step *step)
{
    const int32_t token = 1;
    vkmoe_error err = {0};
    (void)user;
    (void)step;
    assert_ok(vkmoe_session_eval(session, &token, 1, NULL, &err), &err);
}

static void cancel_finds_a_result_that_is_kept(void **state)
{
    struct vkm_finding f;
    struct vkm_steps s = {.meddle = keep_result, .count = 6};
    (void)state;
    open_device(&s, NULL);
    look(&s, vkm_check_cancel, &f);
    assert_non_null(strstr(f.sentence, "a cancelled evaluation left 1 tokens behind"));
    vkmoe_device_close(s.device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FOLDER(whole_steps_pass_on_a_random_model),
        TEST_IN_FOLDER(routing_parity_tells_models_apart),
        TEST_IN_FOLDER(routing_parity_finds_errors_in_decoding_and_in_prompts),
        TEST_IN_FOLDER(determinism_finds_a_kernel_that_reads_what_was_not_written),
        TEST_IN_FOLDER(barriers_finds_one_that_is_missing),
        TEST_IN_FOLDER(memory_limit_finds_a_leak),
        TEST_IN_FOLDER(full_memory_of_a_cpu_driver_is_not_tested),
        TEST_IN_FOLDER(cancel_finds_a_result_that_is_kept),
    };
    return cmocka_run_group_tests_name("conform_steps", tests, NULL, NULL);
}
