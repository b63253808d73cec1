#include "trial.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/rows.h"
#include "conform/conform.h"

#define MAX_VARIANTS (VKM_DTYPE_COUNT * VKM_PATH_COUNT)
/* Of time that passes, for what waits without working. */
#define HANG_SECONDS 300

/* Storage types by turns: what lives in BF16 may die in those that are decoded by other code, and
 * what changes neither in F32 and F16, which have of their own only how they are read. */
enum turn { TURN_MAIN, TURN_QUANTISED, TURN_OTHER, TURN_COUNT };

/* The table with no variants but those of a turn that the mutant changes. */
struct changes {
    struct vkm_kernel kernels[VKM_KERNEL_COUNT];
    struct vkm_kernel_set set;
    struct vkm_variant variants[VKM_KERNEL_COUNT][MAX_VARIANTS];
    struct vkm_gpu *gpu; /* NULL before the first of them; devices keep the pipelines of variants */
    struct test_log log;
    bool any;
};

struct trial {
    const struct shaders *shaders;
    const struct mutant *mutant;
    const char *folder;    /* the mutant's sources */
    const char *originals; /* a folder that keeps the modules of the unchanged sources */
    struct changes turns[TURN_COUNT];
};

/* Kernels that are cheap to try come first: those without weights, then the one that only copies
 * them, then the products for a few rows. */
static const enum vkm_kernel_id order[] = {
    VKM_K_topk,         VKM_K_topk_steered,      VKM_K_topk_kept,     VKM_K_route_count,
    VKM_K_rmsnorm,      VKM_K_kv_copy,           VKM_K_rope_kv,       VKM_K_moe_histogram,
    VKM_K_moe_scatter,  VKM_K_moe_scan,          VKM_K_moe_combine,   VKM_K_token_loss,
    VKM_K_embed,        VKM_K_penalise,          VKM_K_sample_blocks, VKM_K_sample,
    VKM_K_sample_cut,   VKM_K_attention,         VKM_K_gemv,          VKM_K_gemv_add,
    VKM_K_ffn_gemv_up,  VKM_K_moe_gemv_up,       VKM_K_moe_gemv_down, VKM_K_gemm,
    VKM_K_gemm_add,     VKM_K_ffn_gemm_up,       VKM_K_moe_gemm_up,   VKM_K_moe_gemm_down,
    VKM_K_random_words, VKM_K_attention_combine, VKM_K_probe_read,    VKM_K_probe_fma};
_Static_assert(VKM_COUNT(order) == VKM_KERNEL_COUNT, "every kernel once");

/* Lets the process work for so long before a signal ends it: time that passes would depend on what
 * else the machine does. 0: no limit. */
static void limit_work(int seconds)
{
    struct itimerval limit = {.it_value = {.tv_sec = seconds}};
    assert_int_equal(setitimer(ITIMER_PROF, &limit, NULL), 0);
}

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
    limit_work(TRIAL_CASE_SECONDS);
}

/* --- modules --- */

/* Compiles a variant; no code if the change makes no difference to it. */
static struct module changed_module(const struct trial *t, const struct vkm_variant *v,
                                    struct module_key key)
{
    struct module module = shaders_compile(t->folder, key), is = {0}, was = {0};
    if (!module.code)
        end(VERDICT_INVALID);
    bool same = module.size == v->code_size && memcmp(module.code, v->code, module.size) == 0;
    if (!same) { /* unless it differs in functions that nothing calls */
        is = shaders_used(t->folder);
        was = shaders_original(t->shaders, t->originals, key);
        same = is.size == was.size && memcmp(is.code, was.code, is.size) == 0;
    }
    if (same) {
        free(module.code);
        module.code = NULL;
    }
    free(is.code);
    free(was.code);
    return module;
}

static bool wants(const struct vkm_variant *variant, enum turn turn)
{
    enum vkm_dtype dtype = variant->dtype;
    if (dtype == VKM_DTYPE_BF16 || dtype == VKM_DTYPE_COUNT)
        return turn == TURN_MAIN;
    return turn == (vkm_dtype_is_quantised(dtype) ? TURN_QUANTISED : TURN_OTHER);
}

/* Gives the turn those of the kernel's variants that the mutant changes. */
static void take_variants(struct trial *t, enum vkm_kernel_id k, enum turn turn)
{
    const struct vkm_kernel *kernel = &vkm_kernels.kernels[k];
    struct changes *changes = &t->turns[turn];
    uint32_t n = 0;
    for (uint32_t i = kernel->n_variants;
         i-- > 0;) { /* subgroups first: drivers compile them faster */
        const struct vkm_variant *v = &kernel->variants[i];
        if (!wants(v, turn) || v->path == VKM_PATH_COOPMAT) /* which no CPU driver runs */
            continue;
        struct module module =
            changed_module(t, v, (struct module_key){k, v->dtype, v->path, false});
        if (!module.code)
            continue;
        assert_true(n < MAX_VARIANTS);
        changes->variants[k][n++] = (struct vkm_variant){
            .dtype = v->dtype, .path = v->path, .code = module.code, .code_size = module.size};
    }
    changes->kernels[k].variants = changes->variants[k];
    changes->kernels[k].n_variants = n;
    changes->any |= n > 0;
}

/* Gives those variants the modules that check addresses. */
static void take_debug_modules(struct trial *t, enum vkm_kernel_id k, enum turn turn)
{
    struct changes *changes = &t->turns[turn];
    for (uint32_t i = 0; i < changes->kernels[k].n_variants; i++) {
        struct vkm_variant *v = &changes->variants[k][i];
        struct module module =
            shaders_compile(t->folder, (struct module_key){k, v->dtype, v->path, true});
        if (!module.code)
            end(VERDICT_INVALID);
        v->debug_code = module.code;
        v->debug_code_size = module.size;
    }
}

/* --- cases --- */

/* Ends the process if a case of the kernel fails, or the device does. `only` one, or NULL. */
static void run_cases(struct vkm_gpu *gpu, const struct vkm_kernel *kernel,
                      enum vkm_conform_level level, const struct killer *only)
{
    vkmoe_error err = {0};
    struct vkm_conform_totals totals;
    struct vkm_conform_params params = {
        .kernels = kernel->name, .level = level, .on_case = judge_case};
    if (only) {
        params.cases = only->name;
        params.path = only->path;
    }
    limit_work(TRIAL_CASE_SECONDS);
    if (vkm_conform_run(gpu, &params, &totals, &err) != VKMOE_OK) {
        printf("%s: %s\n", kernel->name, err.message);
        end(VERDICT_KILLED);
    }
    limit_work(0); /* compiling what comes next is no case */
}

static struct vkm_gpu *open_device(struct changes *changes, bool check_addresses)
{
    vkmoe_error err = {0};
    struct vkm_gpu *gpu = NULL;
    test_log_init(&changes->log);
    struct vkm_gpu_params params = {
        .log = &changes->log.log,
        .selector = getenv("VKMOE_DEVICE"),
        .check_addresses = check_addresses,
        .host_visible = true,
        .all_paths = true,
        .cache_dir = "",
        .hang_seconds = HANG_SECONDS,
    };
    assert_ok(vkm_gpu_open(&params, &changes->set, &gpu, &err), &err);
    return gpu;
}

static void try_plain(struct trial *t, enum vkm_kernel_id k, enum turn turn,
                      const struct killer *only)
{
    struct changes *changes = &t->turns[turn];
    take_variants(t, k, turn);
    if (changes->kernels[k].n_variants == 0)
        return;
    if (!changes->gpu)
        changes->gpu = open_device(changes, false);
    run_cases(changes->gpu, &changes->kernels[k], VKM_CONFORM_QUICK, only);
}

static void try_checked(struct trial *t, enum turn turn)
{
    struct changes *changes = &t->turns[turn];
    struct vkm_gpu *gpu = open_device(changes, true);
    for (size_t i = 0; i < VKM_COUNT(order); i++) {
        take_debug_modules(t, order[i], turn);
        if (changes->kernels[order[i]].n_variants > 0)
            run_cases(gpu, &changes->kernels[order[i]], VKM_CONFORM_BRIEF, NULL);
    }
}

/* The turn that has this storage type; for what is none (or none any more) the first. */
static enum turn turn_of(const char *dtype)
{
    for (unsigned i = 0; i < VKM_DTYPE_COUNT; i++) {
        struct vkm_variant variant = {.dtype = (enum vkm_dtype)i};
        for (unsigned turn = 0; turn < TURN_COUNT; turn++)
            if (strcmp(dtype, vkm_dtype_name(variant.dtype)) == 0 &&
                wants(&variant, (enum turn)turn))
                return (enum turn)turn;
    }
    return TURN_MAIN;
}

static void try_first(struct trial *t, const struct killer *first)
{
    for (size_t i = 0; i < VKM_COUNT(order); i++)
        if (strcmp(first->kernel, vkm_kernels.kernels[order[i]].name) == 0 &&
            shaders_reach(t->shaders, order[i], t->mutant->file))
            try_plain(t, order[i], turn_of(first->dtype), first);
}

static void begin(struct changes *changes)
{
    changes->set = (struct vkm_kernel_set){changes->kernels, VKM_KERNEL_COUNT};
    memcpy(changes->kernels, vkm_kernels.kernels, sizeof(changes->kernels));
    for (uint32_t k = 0; k < VKM_KERNEL_COUNT; k++)
        changes->kernels[k].n_variants = 0;
}

_Noreturn void trial_run(const struct shaders *s, const struct mutant *m, const char *folder,
                         const struct killer *first)
{
    static struct trial t;
    char changed[4096], originals[4096];
    snprintf(changed, sizeof(changed), "%s/changed", folder);
    snprintf(originals, sizeof(originals), "%s/originals", folder);
    t = (struct trial){.shaders = s, .mutant = m, .folder = changed, .originals = originals};
    for (unsigned turn = 0; turn < TURN_COUNT; turn++)
        begin(&t.turns[turn]);
    shaders_write(s, m, changed);
    if (first)
        try_first(&t, first);
    for (size_t i = 0; i < VKM_COUNT(order); i++) {
        if (!shaders_reach(s, order[i], m->file))
            continue;
        try_plain(&t, order[i], TURN_MAIN, NULL);
        try_plain(&t, order[i], TURN_QUANTISED, NULL);
        if (!t.turns[TURN_MAIN].any && !t.turns[TURN_QUANTISED].any)
            try_plain(&t, order[i], TURN_OTHER, NULL);
    }
    enum turn turn = TURN_MAIN;
    while (turn < TURN_COUNT && !t.turns[turn].any)
        turn++;
    if (turn == TURN_COUNT)
        end(VERDICT_SAME);
    try_checked(&t, turn);
    end(VERDICT_SURVIVED);
}
