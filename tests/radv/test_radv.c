/* What Mesa's compiler makes of every kernel on AMD GPUs of three generations, without having one:
 * on RADV's null device each pipeline is compiled as the launch table would have it there, and
 * nothing is ever submitted. A pipeline that spills registers fails. Tables in Markdown go to
 * stdout. tests/conformance/radv.md keeps what they say of pipelines with BF16 weights or none;
 * with VKMOE_RADV_TABLE in the environment it is written anew. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gpu/vk.h"
#include "launches.h"

/* --- the table that is kept --- */

enum family { POLARIS, RDNA_2, RDNA_3, FAMILIES };
static const char *const families[FAMILIES] = {"polaris10", "navi21", "navi31"};

static const char kept[] = VKMOE_SOURCE "/tests/conformance/radv.md";

#define ROWS_MAX 256u

struct stats {
    unsigned sgprs, vgprs, spilled_sgprs, spilled_vgprs, code, lds, scratch, subgroups;
};

struct row {
    char pipeline[96]; /* "| gemv | base | 64, 4, 1 |" */
    struct stats stats[FAMILIES];
};

struct table {
    struct row rows[ROWS_MAX];
    size_t n_rows;
    char driver[256];
};

static void add_row(struct table *t, enum family family, const char *pipeline,
                    const struct stats *stats)
{
    size_t i = 0;
    while (i < t->n_rows && strcmp(t->rows[i].pipeline, pipeline) != 0)
        i++;
    assert_true(i < ROWS_MAX);
    if (i == t->n_rows)
        snprintf(t->rows[t->n_rows++].pipeline, sizeof(t->rows[i].pipeline), "%s", pipeline);
    t->rows[i].stats[family] = *stats;
}

static void write_table(const struct table *t)
{
    FILE *f = fopen(kept, "w");
    assert_non_null(f);
    fprintf(f,
            "# Registers on AMD GPUs\n\n"
            "VGPRs / LDS bytes / waves per SIMD of every pipeline with BF16 weights or none, as\n"
            "%s compiles it for three generations, on its null device. Nothing\n"
            "spills, F16 and F32 included, or the test that writes this (`VKMOE_RADV_TABLE=1 ctest "
            "-R radv`)\n"
            "fails; `ctest -R radv -V` shows the other types, SGPRs and code sizes too. The "
            "constants are the\n"
            "workgroup size, then the kernel's own.\n\n"
            "| kernel | path | constants |",
            t->driver);
    for (int i = 0; i < FAMILIES; i++)
        fprintf(f, " %s |", families[i]);
    fputs("\n|---|---|---|--:|--:|--:|\n", f);
    for (size_t i = 0; i < t->n_rows; i++) {
        fputs(t->rows[i].pipeline, f);
        for (int j = 0; j < FAMILIES; j++) {
            const struct stats *s = &t->rows[i].stats[j];
            if (s->vgprs > 0)
                fprintf(f, " %u / %u / %u |", s->vgprs, s->lds, s->subgroups);
            else
                fputs(" not compiled |", f);
        }
        fputs("\n", f);
    }
    assert_int_equal(fclose(f), 0);
}

/* --- a device that can compile and nothing else --- */

static PFN_vkGetDeviceProcAddr real_device_call;

/* The null device cannot make semaphores, and nobody will wait for one. */
static VKAPI_ATTR VkResult VKAPI_CALL create_semaphore(VkDevice device,
                                                       const VkSemaphoreCreateInfo *info,
                                                       const VkAllocationCallbacks *allocator,
                                                       VkSemaphore *semaphore)
{
    (void)device, (void)info, (void)allocator;
    *semaphore = VK_NULL_HANDLE;
    return VK_SUCCESS;
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL device_call(VkDevice device, const char *name)
{
    if (strcmp(name, "vkCreateSemaphore") == 0)
        return (PFN_vkVoidFunction)create_semaphore;
    return real_device_call(device, name);
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL instance_call(VkInstance instance, const char *name)
{
    PFN_vkVoidFunction call = vkGetInstanceProcAddr(instance, name);
    if (strcmp(name, "vkGetDeviceProcAddr") != 0)
        return call;
    real_device_call = (PFN_vkGetDeviceProcAddr)call;
    return (PFN_vkVoidFunction)device_call;
}

static int load_loader(void **state)
{
    static struct table table;
    *state = &table;
    setenv("RADV_DEBUG", "shaderstats,nocache", 1);
    setenv("RADV_FORCE_FAMILY", "navi31", 1);
    return volkInitialize() == VK_SUCCESS ? 0 : -1;
}

/* --- compiling, and what the driver says of it --- */

static unsigned number_after(const char *text, const char *key)
{
    const char *found = strstr(text, key);
    if (!found)
        fail_msg("the driver's statistics lack '%s': %s", key + 1, text);
    return (unsigned)strtoul(found + strlen(key), NULL, 10);
}

static struct stats parse(const char *text)
{
    return (struct stats){
        .sgprs = number_after(text, "\nSGPRs: "),
        .vgprs = number_after(text, "\nVGPRs: "),
        .spilled_sgprs = number_after(text, "\nSpilled SGPRs: "),
        .spilled_vgprs = number_after(text, "\nSpilled VGPRs: "),
        .code = number_after(text, "\nCode size: "),
        .lds = number_after(text, "\nLDS size: "),
        .scratch = number_after(text, "\nScratch size: "),
        .subgroups = number_after(text, "\nSubgroups per SIMD: "),
    };
}

/* Compiles the stream's pipeline, of which the driver then prints statistics to stderr; false if
 * the device has it already. */
static bool compile(struct vkm_gpu *gpu, const struct vkm_stream *stream, struct stats *stats)
{
    size_t before = gpu->pipelines.count;
    static char text[65536];
    vkmoe_error err = {0};
    FILE *capture = tmpfile();
    assert_non_null(capture);
    fflush(stderr);
    int old = dup(STDERR_FILENO);
    assert_true(old >= 0 && dup2(fileno(capture), STDERR_FILENO) >= 0);
    vkmoe_status status = vkm_gpu_compile(gpu, stream, NULL, &err);
    fflush(stderr);
    dup2(old, STDERR_FILENO);
    close(old);
    rewind(capture);
    text[fread(text, 1, sizeof(text) - 1, capture)] = '\0';
    fclose(capture);
    assert_ok(status, &err);
    if (gpu->pipelines.count == before)
        return false;
    *stats = parse(text);
    return true;
}

/* --- all kernels on one family --- */

struct tally {
    struct table *table;
    enum family family;
    unsigned compiled, spilled, not_launched;
};

static void show(struct tally *tally, const struct vkm_op *op, const struct stats *s)
{
    const struct vkm_kernel *kernel = &vkm_kernels.kernels[op->kernel];
    const struct vkm_variant *variant = &kernel->variants[op->variant];
    const char *path = vkm_path_name(variant->path);
    char constants[64], pipeline[sizeof(tally->table->rows[0].pipeline)];
    size_t at = 0;
    for (uint32_t i = 0; i < kernel->n_spec; i++)
        at += (size_t)snprintf(constants + at, sizeof(constants) - at, i ? ", %u" : "%u",
                               op->spec[i]);
    printf("| %s | %s | %s | %s | %u | %u | %u | %u | %u |\n", kernel->name,
           kernel->has_dtype ? vkm_dtype_name(variant->dtype) : "", path, constants, s->vgprs,
           s->sgprs, s->lds, s->code, s->subgroups);
    /* What is tested before use need not be in every build. */
    if ((kernel->has_dtype && variant->dtype != VKM_DTYPE_BF16) ||
        vkm_path_row(variant->path)->tested)
        return;
    snprintf(pipeline, sizeof(pipeline), "| %s | %s | %s |", kernel->name, path, constants);
    add_row(tally->table, tally->family, pipeline, s);
}

/* One launch, if the launch table chooses this variant for it. */
static void try_launch(struct vkm_gpu *gpu, const struct vkm_variant *variant,
                       struct test_launch launch, struct tally *tally)
{
    const struct vkm_kernel *kernel = &vkm_kernels.kernels[launch.kernel];
    struct vkm_stream stream;
    struct vkm_recorder recorder;
    vkmoe_error err;
    vkm_stream_init(&stream, &vkm_kernels, NULL);
    vkm_recorder_init(&recorder, &stream, vkm_gpu_caps(gpu));
    test_record_launch(&recorder, launch);
    assert_ok(vkm_recorder_status(&recorder, &err), &err);
    const struct vkm_op *op = stream.ops.items;
    struct stats s;
    if (&kernel->variants[op->variant] == variant && compile(gpu, &stream, &s)) {
        show(tally, op, &s);
        tally->compiled++;
        if (s.spilled_sgprs || s.spilled_vgprs || s.scratch) {
            print_error("%s spills %u SGPRs and %u VGPRs, %u bytes of scratch\n", kernel->name,
                        s.spilled_sgprs, s.spilled_vgprs, s.scratch);
            tally->spilled++;
        }
    }
    vkm_recorder_finish(&recorder);
    vkm_stream_finish(&stream);
}

/* Base path, subgroups, every path, and every one but those that are better than fp16. */
enum device { BASE, FULL, BEST, PACKED, DEVICES };

static struct vkm_gpu *open_null(const char *family, enum device device)
{
    struct vkm_gpu_params params = {.selector = "0",
                                    .cache_dir = "",
                                    .no_subgroups = device == BASE,
                                    .all_paths = device == BEST || device == PACKED,
                                    .loader = instance_call};
    struct vkm_gpu *gpu = NULL;
    vkmoe_error err;
    if (device == PACKED)
        params.wishes[VKM_PATH_INT8] = params.wishes[VKM_PATH_COOPMAT] = VKM_WISH_OFF;
    setenv("RADV_FORCE_FAMILY", family, 1);
    assert_ok(vkm_gpu_open(&params, &vkm_kernels, &gpu, &err), &err);
    return gpu;
}

static void check_family(struct table *table, enum family family)
{
    static const uint32_t rows[] = {1, 8, 40, 300}, heads[] = {64, 128, 256};
    struct vkm_gpu *gpus[DEVICES];
    for (int i = 0; i < DEVICES; i++)
        gpus[i] = open_null(families[family], (enum device)i);
    struct vkm_gpu *full = gpus[FULL];
    struct tally tally = {.table = table, .family = family};
    snprintf(table->driver, sizeof(table->driver), "%s", vkm_gpu_info(full)->driver);
    printf("\n%s, %s, subgroups of %u\n\n", vkm_gpu_info(full)->name, vkm_gpu_info(full)->driver,
           vkm_gpu_caps(full)->subgroup_size);
    printf("| kernel | weights | path | constants | VGPRs | SGPRs | LDS | code | occupancy |\n"
           "|---|---|---|---|--:|--:|--:|--:|--:|\n");
    for (uint32_t k = 0; k < vkm_kernels.count; k++) {
        const struct vkm_kernel *kernel = &vkm_kernels.kernels[k];
        for (uint32_t v = 0; v < kernel->n_variants; v++) {
            const struct vkm_variant *variant = &kernel->variants[v];
            struct vkm_gpu *gpu = gpus[variant->path == VKM_PATH_BASE       ? BASE
                                       : variant->path == VKM_PATH_SUBGROUP ? FULL
                                       : variant->path == VKM_PATH_FP16     ? PACKED
                                                                            : BEST];
            unsigned before = tally.compiled;
            for (size_t r = 0; r < VKM_COUNT(rows); r++)
                for (size_t h = 0; h < VKM_COUNT(heads); h++)
                    try_launch(gpu, variant,
                               (struct test_launch){(enum vkm_kernel_id)k, variant->dtype, rows[r],
                                                    heads[h]},
                               &tally);
            tally.not_launched += tally.compiled == before;
        }
    }
    printf("\n%u pipelines, %u with spills; %u variants of the table are not for this device\n",
           tally.compiled, tally.spilled, tally.not_launched);
    assert_true(tally.compiled >= vkm_kernels.count);
    assert_int_equal(tally.spilled, 0);
    for (int i = 0; i < DEVICES; i++)
        vkm_gpu_close(gpus[i]);
}

static void no_kernel_spills_on_polaris(void **state)
{
    check_family(*state, POLARIS);
}

static void no_kernel_spills_on_rdna_2(void **state)
{
    check_family(*state, RDNA_2);
}

static void no_kernel_spills_on_rdna_3(void **state)
{
    check_family(*state, RDNA_3);
}

/* Kernels come and go, and launches change; the numbers are this compiler's own. */
static void the_kept_table_has_every_pipeline_and_no_other(void **state)
{
    const struct table *t = *state;
    char line[256];
    size_t n = 0;
    if (t->n_rows == 0)
        skip(); /* no family was compiled for */
    if (getenv("VKMOE_RADV_TABLE"))
        write_table(t);
    FILE *f = fopen(kept, "r");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f)) {
        if (strncmp(line, "| ", 2) != 0 || strncmp(line, "| kernel ", 9) == 0)
            continue;
        if (n == t->n_rows || strncmp(line, t->rows[n].pipeline, strlen(t->rows[n].pipeline)) != 0)
            fail_msg("%s: `VKMOE_RADV_TABLE=1 ctest -R radv` brings it up to date: it has '%.*s' "
                     "for '%s'",
                     kept, (int)strcspn(line, "\n"), line,
                     n < t->n_rows ? t->rows[n].pipeline : "nothing");
        n++;
    }
    fclose(f);
    assert_int_equal(n, t->n_rows);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_kernel_spills_on_polaris),
        cmocka_unit_test(no_kernel_spills_on_rdna_2),
        cmocka_unit_test(no_kernel_spills_on_rdna_3),
        cmocka_unit_test(the_kept_table_has_every_pipeline_and_no_other),
    };
    return cmocka_run_group_tests(tests, load_loader, NULL);
}
