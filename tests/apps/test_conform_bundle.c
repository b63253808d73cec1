/* Bundles of cases: kernels are made wrong on purpose, and each must be exported, and fail again
 * when its folder is replayed; what is wrong with a folder is said. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "exported.h"
#include "gpu/paths.h"
#include "process.h"

/* Puts the right module in place of the spoiled one. */
static void repair(const char *bundle, enum vkm_kernel_id id)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/manifest.json", bundle);
    json_t *root = exported_json(path);
    const struct vkm_kernel *kernel = &vkm_kernels.kernels[id];
    const struct vkm_variant *variant = NULL;
    for (uint32_t i = 0; i < kernel->n_variants && !variant; i++) {
        const struct vkm_variant *v = &kernel->variants[i];
        if (strcmp(vkm_path_name(v->path), exported_string(root, "path")) == 0 &&
            strcmp(vkm_variant_dtype_name(v), exported_string(root, "weights")) == 0)
            variant = v;
    }
    json_decref(root);
    assert_non_null(variant);
    snprintf(path, sizeof(path), "%s/kernel.spv", bundle);
    test_file_write(path, variant->code, variant->code_size);
}

static void check_bundle(enum vkm_kernel_id id, const char *cases)
{
    struct exported e;
    struct test_process wrong = {0}, right = {0};
    exported_spoiled(id, cases, &e);
    test_vkmoe(&wrong, "conform", "--replay", e.bundle);
    test_process_assert_code(&wrong, 1);
    if (!strstr(wrong.out, e.sentence))
        fail_msg("exported with '%s', but replayed:\n%s%s", e.sentence, wrong.out, wrong.err);
    repair(e.bundle, id);
    test_vkmoe(&right, "conform", "--replay", e.bundle);
    if (right.code != 0)
        fail_msg("repaired, but:\n%s%s", right.out, right.err);
    assert_non_null(strstr(right.out, "all 1 cases in 1 tests passed"));
    test_process_free(&wrong);
    test_process_free(&right);
}

static void a_wrong_product_is_exported_and_fails_again(void **state)
{
    (void)state;
    check_bundle(VKM_K_gemv, "k=127 n=33 rows=1*");
}

static void a_wrong_kernel_that_updates_is_exported_and_fails_again(void **state)
{
    (void)state;
    check_bundle(VKM_K_gemm_add, "k=40 n=70 rows=33*");
}

/* Its experts are reached through addresses. */
static void a_wrong_kernel_with_tables_is_exported_and_fails_again(void **state)
{
    (void)state;
    check_bundle(VKM_K_moe_gemv_up, "hidden=33 width=31 experts=8*");
}

/* Its workgroups are counted by the device. */
static void a_wrong_indirect_kernel_is_exported_and_fails_again(void **state)
{
    (void)state;
    check_bundle(VKM_K_moe_gemm_down, "hidden=33 width=31 experts=8*");
}

static void a_kernel_without_weights_is_exported_and_fails_again(void **state)
{
    (void)state;
    check_bundle(VKM_K_rmsnorm, "width=33 rows=3*");
}

static void a_bundle_stands_alone_and_explains_itself(void **state)
{
    static const char *const files[] = {"kernel.spv",   "push_constants.bin", "README.md",
                                        "x.before.bin", "y.expected.bin",     "y.got.bin"};
    struct exported e;
    char path[4096];
    size_t size;
    (void)state;
    exported_spoiled(VKM_K_gemv, "k=127 n=33 rows=1*", &e);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", e.bundle, files[i]);
        free(test_file_read(path, &size));
        assert_true(size > 0);
    }
    snprintf(path, sizeof(path), "%s/manifest.json", e.bundle);
    json_t *root = exported_json(path);
    assert_int_equal(exported_integer(root, "seed"), 3);
    assert_non_null(strstr(e.sentence, exported_string(root, "failure")));
    assert_int_equal(exported_integer(json_object_get(root, "pipeline"), "push_constant_bytes"),
                     vkm_kernels.kernels[VKM_K_gemv].push_size);
    snprintf(path, sizeof(path), "%s/README.md", e.bundle);
    char *readme = test_file_read(path, &size);
    assert_non_null(strstr(readme, exported_string(root, "failure")));
    assert_non_null(strstr(readme, exported_string(root, "case")));
    free(readme);
    json_decref(root);
}

/* Copies the folder named by the first "# exported to FOLDER". */
static void find_export(const char *out, char bundle[1024])
{
    const char *mark = "# exported to ", *at = strstr(out, mark);
    if (!at)
        fail_msg("nothing was exported:\n%s", out);
    at += strlen(mark);
    snprintf(bundle, 1024, "%.*s", (int)strcspn(at, "\n"), at);
}

static bool is_in(const char *bundle, const char *name)
{
    char path[4096];
    struct stat there;
    snprintf(path, sizeof(path), "%s/%s", bundle, name);
    return stat(path, &there) == 0;
}

/* For one on which the driver would crash. */
static void a_listed_case_is_exported_without_being_run(void **state)
{
    struct test_process list = {0}, run = {0};
    char bundle[1024];
    (void)state;
    test_vkmoe(&list, "conform", "--list", "--export", test_folder(), "--kernel", "rmsnorm",
               "--case", "width=33 rows=3*");
    test_process_assert_code(&list, 0);
    assert_non_null(strstr(list.out, "\nrmsnorm - base width=33 rows=3"));
    find_export(list.out, bundle);
    assert_true(is_in(bundle, "kernel.spv") && is_in(bundle, "y.expected.bin"));
    assert_false(is_in(bundle, "y.got.bin"));
    test_vkmoe(&run, "conform", "--replay", bundle);
    test_process_assert_code(&run, 0);
    test_assert_part(run.out, "all 1 cases in 1 tests passed");
    test_process_free(&list);
    test_process_free(&run);
}

/* Exports the first case of that kernel and path; false where the device lacks the path. */
static bool export_listed(const char *kernel, const char *path, char bundle[1024])
{
    struct test_process p = {0};
    test_vkmoe(&p, "conform", "--list", "--export", test_folder(), "--kernel", kernel, "--path",
               path, "--weights", "BF16", "--case", "*rows=1*");
    bool has = p.code == 0;
    if (has)
        find_export(p.out, bundle);
    else
        test_assert_part(p.err, "no case fits");
    test_process_free(&p);
    return has;
}

static void assert_says(const char *bundle, const char *name, const char *part)
{
    char path[4096];
    size_t size;
    snprintf(path, sizeof(path), "%s/%s", bundle, name);
    char *text = test_file_read(path, &size);
    test_assert_part(text, part);
    free(text);
}

/* A recipe for programs of others. */
static void a_bundle_names_features_and_how_fields_are_compared(void **state)
{
    char bundle[1024];
    (void)state;
    assert_true(export_listed("gemv", "base", bundle));
    assert_says(bundle, "README.md", "`bufferDeviceAddress`, `maintenance4`\n");
    assert_says(bundle, "manifest.json", "\"maintenance4\"");
    assert_says(bundle, "manifest.json", "\"compare\": \"floats\"");
    if (export_listed("gemv", "wide", bundle)) {
        assert_says(bundle, "README.md", "`shaderInt64`");
        assert_says(bundle, "README.md", "`subgroupSizeControl`, `computeFullSubgroups`\n");
    }
    assert_true(export_listed("rope_kv", "base", bundle));
    assert_says(bundle, "manifest.json", "\"compare\": \"words\"");
}

/* A driver that gets all wrong does not fill the disk. */
static void the_first_ten_cases_of_a_variant_are_exported(void **state)
{
    struct exported e;
    (void)state;
    exported_spoiled(VKM_K_rmsnorm, NULL, &e);
    assert_true(e.failed > VKM_BUNDLES);
    assert_int_equal(e.bundles, VKM_BUNDLES);
}

/* What is no module never reaches the driver, which may crash on it. */
static void a_damaged_module_is_refused(void **state)
{
    struct exported e;
    char path[4096];
    size_t size;
    (void)state;
    exported_spoiled(VKM_K_rmsnorm, "width=33 rows=3*", &e);
    snprintf(path, sizeof(path), "%s/kernel.spv", e.bundle);
    char *code = test_file_read(path, &size);
    for (int i = 0; i < 3; i++) {
        struct test_process p = {0};
        char *damaged = malloc(size);
        memcpy(damaged, code, size);
        if (i == 1)
            damaged[0] ^= 1; /* of the magic number */
        if (i == 2)
            memset(damaged + size / 2 / 4 * 4, 0, 64);
        test_file_write(path, damaged, i == 0 ? size / 2 / 4 * 4 - 6 : size);
        test_vkmoe(&p, "conform", "--replay", e.bundle);
        test_process_assert_sentence(&p, 1, "not a whole SPIR-V module");
        test_process_free(&p);
        free(damaged);
    }
    free(code);
}

/* Nor does one reach the driver that declares what the device was not opened with. */
static void a_module_beyond_the_device_is_refused(void **state)
{
    static const struct {
        uint32_t capability;
        const char *part;
    } beyond[] = {{10, "declares the capability Float64, which "},
                  {6080, "declares the capability number 6080, which "}};
    enum { HEADER = 20, CAPABILITY = 8 }; /* bytes */
    struct exported e;
    char path[4096];
    size_t size;
    (void)state;
    exported_spoiled(VKM_K_rmsnorm, "width=33 rows=3*", &e);
    snprintf(path, sizeof(path), "%s/kernel.spv", e.bundle);
    char *code = test_file_read(path, &size), *longer = malloc(size + CAPABILITY);
    for (size_t i = 0; i < VKM_COUNT(beyond); i++) {
        const uint32_t words[] = {2 << 16 | 17, beyond[i].capability};
        struct test_process p = {0};
        memcpy(longer, code, HEADER);
        memcpy(longer + HEADER, words, CAPABILITY);
        memcpy(longer + HEADER + CAPABILITY, code + HEADER, size - HEADER);
        test_file_write(path, longer, size + CAPABILITY);
        test_vkmoe(&p, "conform", "--replay", e.bundle);
        test_process_assert_code(&p, 1);
        test_assert_part(p.err, beyond[i].part);
        test_process_free(&p);
    }
    free(longer);
    free(code);
}

/* Each change of the manifest, and what is said of it. */
static void damaged_bundles_are_refused(void **state)
{
    static const struct {
        const char *from, *to, *part;
    } damage[] = {
        {"vkmoe conformance bundle 1", "vkmoe conformance bundle 9", "format"},
        {"\"metric\": \"product\"", "\"metric\": \"guess\"", "metric"},
        {"\"x.before.bin\"", "\"../x.before.bin\"", "same folder"},
        {"\"x.before.bin\"", "\"y.before.bin\"", "bytes, expected"},
        {"\"kernel.spv\"", "\"kernel.sp\"", "kernel.sp"},
        {"\"groups\": [", "\"groups\": [0,", "groups"},
        {"\"kind\": \"read\"", "\"kind\": \"reed\"", "expected one of \"read\", \"write_f32\", "},
        {"\"specialisation\"", "\"specialization\"", "3 groups and 0 specialisation constants"},
        {"\"weights\": \"", "\"weights\": \"Q9", "weights"},
        {"\"push_offset\": 8", "\"push_offset\": 12", "push_offset is 12, expected 8"},
        {"\"push_offset\": 8", "\"push_offzet\": 8", "push_offset"},
        {"\"bits\": ", "\"bitz\": ", "bits"},
        {"\"bits\": ", "\"bits\": 1", "push constants differs from the field"},
        {"\"push_constants.bin\"", "\"x.before.bin\"", "bytes, expected"},
        {"\"push_constant_bytes\": ", "\"push_constant_bytes\": 1", "push_constant_bytes"},
        {"\"compare\": \"floats\"", "\"compare\": \"words\"", "compare"},
    };
    struct exported e;
    char path[4096];
    size_t size;
    (void)state;
    exported_spoiled(VKM_K_gemv, "k=127 n=33 rows=1*", &e);
    snprintf(path, sizeof(path), "%s/manifest.json", e.bundle);
    char *text = test_file_read(path, &size);
    for (size_t i = 0; i < sizeof(damage) / sizeof(damage[0]); i++) {
        struct test_process p = {0};
        const char *at = strstr(text, damage[i].from);
        assert_non_null(at);
        char *changed = malloc(size + 64);
        int n = snprintf(changed, size + 64, "%.*s%s%s", (int)(at - text), text, damage[i].to,
                         at + strlen(damage[i].from));
        test_file_write(path, changed, (size_t)n);
        free(changed);
        test_vkmoe(&p, "conform", "--replay", e.bundle);
        test_process_assert_code(&p, 1);
        if (!strstr(p.err, damage[i].part))
            fail_msg("%s: %s", damage[i].to, p.err);
        test_process_free(&p);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FOLDER(a_wrong_product_is_exported_and_fails_again),
        TEST_IN_FOLDER(a_wrong_kernel_that_updates_is_exported_and_fails_again),
        TEST_IN_FOLDER(a_wrong_kernel_with_tables_is_exported_and_fails_again),
        TEST_IN_FOLDER(a_wrong_indirect_kernel_is_exported_and_fails_again),
        TEST_IN_FOLDER(a_kernel_without_weights_is_exported_and_fails_again),
        TEST_IN_FOLDER(a_bundle_stands_alone_and_explains_itself),
        TEST_IN_FOLDER(a_listed_case_is_exported_without_being_run),
        TEST_IN_FOLDER(a_bundle_names_features_and_how_fields_are_compared),
        TEST_IN_FOLDER(the_first_ten_cases_of_a_variant_are_exported),
        TEST_IN_FOLDER(a_damaged_module_is_refused),
        TEST_IN_FOLDER(a_module_beyond_the_device_is_refused),
        TEST_IN_FOLDER(damaged_bundles_are_refused),
    };
    return cmocka_run_group_tests_name("conform_bundle", tests, NULL, NULL);
}
