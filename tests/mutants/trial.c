#include "trial.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conform/conform.h"

#define MAX_VARIANTS (VKM_DTYPE_COUNT * VKM_PATH_COUNT)
/* A submit of a quick case takes far less, even on a busy machine. */
#define HANG_SECONDS 20

struct trial {
    const struct shaders *shaders;
    const struct mutant *mutant;
    const char *folder;         /* the mutant's sources */
    const char *originals;      /* a folder that keeps the modules of the unchanged sources */
    struct vkm_kernel *kernels; /* a copy of the table, whose variants are those that changed */
    struct vkm_kernel_set set;
    struct vkm_variant variants[VKM_KERNEL_COUNT][MAX_VARIANTS];
    bool any;
};

/* Kernels that are cheap to try come first: those without weights, then the one that only copies
 * them, then the products for a few rows. */
static const enum vkm_kernel_id order[] = {
    VKM_K_topk,
    VKM_K_topk_steered,
    VKM_K_route_count,
    VKM_K_rmsnorm,
    VKM_K_kv_copy,
    VKM_K_rope_kv,
    VKM_K_moe_histogram,
    VKM_K_moe_scatter,
    VKM_K_moe_scan,
    VKM_K_moe_combine,
    VKM_K_softmax,
    VKM_K_embed,
    VKM_K_penalise,
    VKM_K_sample_blocks,
    VKM_K_sample,
    VKM_K_sample_cut,
    VKM_K_attention,
    VKM_K_gemv,
    VKM_K_gemv_add,
    VKM_K_ffn_gemv_up,
    VKM_K_moe_gemv_up,
    VKM_K_moe_gemv_down,
    VKM_K_gemm,
    VKM_K_gemm_add,
    VKM_K_ffn_gemm_up,
    VKM_K_moe_gemm_up,
    VKM_K_moe_gemm_down,
    VKM_K_random_words,
    VKM_K_attention_combine,
    VKM_K_token_loss,
};
_Static_assert(VKM_COUNT(order) == VKM_KERNEL_COUNT, "every kernel once");

_Noreturn static void end(enum verdict verdict)
{
    fflush(stdout);
    _exit((int)verdict); /* without the driver's clean-up: threads of a hung dispatch still run */
}

static void judge_case(void *user, const struct vkm_conform_case *result)
{
    (void)user;
    if (!result->passed) {
        printf("%s\n", result->sentence);
        end(VERDICT_KILLED);
    }
    alarm(TRIAL_CASE_SECONDS);
}

/* --- modules --- */

/* Compiles a variant; no code if the change makes no difference to it. */
static struct module changed_module(const struct trial *t, struct module_key key)
{
    struct module module = shaders_compile(t->folder, key);
    if (!module.code)
        end(VERDICT_INVALID);
    struct module is = shaders_used(t->folder);
    struct module was = shaders_original(t->shaders, t->originals, key);
    if (is.size == was.size && memcmp(is.code, was.code, is.size) == 0) {
        free(module.code);
        module.code = NULL;
    }
    free(is.code);
    free(was.code);
    return module;
}

static bool wants(const struct vkm_variant *variant, bool main_dtype)
{
    bool is_main = variant->dtype == VKM_DTYPE_BF16 || variant->dtype == VKM_DTYPE_COUNT;
    return is_main == main_dtype;
}

/* Leaves the kernel those variants that the mutant changes. */
static void take_variants(struct trial *t, enum vkm_kernel_id k, bool main_dtype)
{
    const struct vkm_kernel *kernel = &vkm_kernels.kernels[k];
    uint32_t n = 0;
    for (uint32_t i = 0; i < kernel->n_variants; i++) {
        const struct vkm_variant *v = &kernel->variants[i];
        if (!wants(v, main_dtype))
            continue;
        struct module module = changed_module(t, (struct module_key){k, v->dtype, v->path, false});
        if (!module.code)
            continue;
        assert_true(n < MAX_VARIANTS);
        t->variants[k][n++] = (struct vkm_variant){
            .dtype = v->dtype, .path = v->path, .code = module.code, .code_size = module.size};
    }
    t->kernels[k].variants = t->variants[k];
    t->kernels[k].n_variants = n;
    t->any |= n > 0;
}

/* Gives those variants the modules that check addresses. */
static void take_debug_modules(struct trial *t, enum vkm_kernel_id k)
{
    for (uint32_t i = 0; i < t->kernels[k].n_variants; i++) {
        struct vkm_variant *v = &t->variants[k][i];
        struct module module =
            shaders_compile(t->folder, (struct module_key){k, v->dtype, v->path, true});
        if (!module.code)
            end(VERDICT_INVALID);
        v->debug_code = module.code;
        v->debug_code_size = module.size;
    }
}

/* --- cases --- */

/* Ends the process if a case of the kernel fails, or the device does. */
static void run_cases(struct vkm_gpu *gpu, const struct vkm_kernel *kernel,
                      enum vkm_conform_level level)
{
    vkmoe_error err = {0};
    struct vkm_conform_totals totals;
    struct vkm_conform_params params = {
        .kernels = kernel->name, .level = level, .on_case = judge_case};
    if (kernel->n_variants == 0)
        return;
    alarm(TRIAL_CASE_SECONDS);
    if (vkm_conform_run(gpu, &params, &totals, &err) != VKMOE_OK) {
        printf("%s: %s\n", kernel->name, err.message);
        end(VERDICT_KILLED);
    }
    alarm(0); /* compiling what comes next is no case */
}

static struct vkm_gpu *open_device(struct trial *t, struct test_log *log, bool check_addresses)
{
    vkmoe_error err = {0};
    struct vkm_gpu *gpu = NULL;
    test_log_init(log);
    struct vkm_gpu_params params = {
        .log = &log->log,
        .selector = getenv("VKMOE_DEVICE"),
        .check_addresses = check_addresses,
        .host_visible = true,
        .cache_dir = "",
        .hang_seconds = HANG_SECONDS,
    };
    assert_ok(vkm_gpu_open(&params, &t->set, &gpu, &err), &err);
    return gpu;
}

static void try_plain(struct trial *t, struct vkm_gpu *gpu, bool main_dtype)
{
    for (size_t i = 0; i < VKM_COUNT(order); i++) {
        enum vkm_kernel_id k = order[i];
        if (!shaders_reach(t->shaders, k, t->mutant->file))
            continue;
        take_variants(t, k, main_dtype);
        run_cases(gpu, &t->kernels[k], VKM_CONFORM_QUICK);
    }
}

static void try_checked(struct trial *t, struct vkm_gpu *gpu)
{
    for (size_t i = 0; i < VKM_COUNT(order); i++) {
        take_debug_modules(t, order[i]);
        run_cases(gpu, &t->kernels[order[i]], VKM_CONFORM_BRIEF);
    }
}

_Noreturn void trial_run(const struct shaders *s, const struct mutant *m, const char *folder)
{
    static struct trial t;
    static struct vkm_kernel kernels[VKM_KERNEL_COUNT];
    struct test_log log;
    char changed[4096], originals[4096];
    snprintf(changed, sizeof(changed), "%s/changed", folder);
    snprintf(originals, sizeof(originals), "%s/originals", folder);
    t = (struct trial){.shaders = s, .mutant = m, .folder = changed, .originals = originals};
    t.set = (struct vkm_kernel_set){kernels, VKM_KERNEL_COUNT};
    t.kernels = kernels;
    memcpy(kernels, vkm_kernels.kernels, sizeof(kernels));
    for (uint32_t k = 0; k < VKM_KERNEL_COUNT; k++)
        kernels[k].n_variants = 0;
    shaders_write(s, m, changed);
    struct vkm_gpu *gpu = open_device(&t, &log, false);
    try_plain(&t, gpu, true);
    if (!t.any)
        try_plain(&t, gpu, false);
    if (!t.any)
        end(VERDICT_SAME);
    try_checked(&t, open_device(&t, &log, true));
    end(VERDICT_SURVIVED);
}
