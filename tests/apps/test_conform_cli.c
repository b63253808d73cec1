/* `vkmoe conform` as users meet it, and bundles of cases that fail: kernels are made wrong on
 * purpose, and each must be reported, exported, and fail again when its folder is replayed. */
#include "support.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "conform/bundle.h"
#include "gpu/paths.h"
#include "process.h"
#include "spoil.h"

static json_t *load_json(const char *path)
{
    json_error_t error;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        fail_msg("%s: %s", path, error.text);
    return root;
}

static json_int_t integer(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value))
        fail_msg("%s is not there or no integer", key);
    return json_integer_value(value);
}

static const char *string(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    if (!value)
        fail_msg("%s is not there or no string", key);
    return value;
}

/* --- reports --- */

/* Elements are closed in order, attributes quoted, and there is no `&` or `<` of another kind. */
static void assert_well_formed(const char *html)
{
    char open[32][16];
    size_t depth = 0;
    for (const char *p = strchr(html, '\n'); p && (p = strpbrk(p, "<&")); p++) {
        if (*p == '&') {
            assert_true(strncmp(p, "&lt;", 4) == 0 || strncmp(p, "&gt;", 4) == 0 ||
                        strncmp(p, "&amp;", 5) == 0 || strncmp(p, "&quot;", 6) == 0);
            continue;
        }
        const char *end = strchr(p, '>'), *name = p + 1 + (p[1] == '/');
        size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789");
        size_t quotes = 0;
        assert_non_null(end);
        assert_true(n > 0 && n < sizeof(open[0]));
        for (const char *q = p; q < end; q++)
            quotes += *q == '"';
        assert_int_equal(quotes % 2, 0);
        if (p[1] == '/') {
            assert_true(depth > 0);
            depth--;
            assert_true(strlen(open[depth]) == n && strncmp(open[depth], name, n) == 0);
        } else if (end[-1] != '/') {
            assert_true(depth < 32);
            snprintf(open[depth++], sizeof(open[0]), "%.*s", (int)n, name);
        }
    }
    assert_int_equal(depth, 0);
}

/* Sums must agree from the cases up; returns the cases of all devices. */
static json_int_t check_sums(const json_t *root, json_int_t *failed)
{
    json_int_t total = 0;
    size_t d, t, c;
    json_t *device, *test, *one;
    *failed = 0;
    json_array_foreach(json_object_get(root, "devices"), d, device)
    {
        json_int_t cases = 0, bad = 0;
        const json_t *key = json_object_get(device, "key");
        assert_int_equal(strlen(string(key, "device_uuid")), 36);
        assert_true(integer(key, "driver_id") > 0);
        (void)integer(key, "driver_version");
        json_array_foreach(json_object_get(device, "tests"), t, test)
        {
            const json_t *list = json_object_get(test, "cases");
            json_int_t own = 0;
            json_array_foreach(list, c, one)
            {
                assert_true(string(one, "name")[0]);
                bool passed = json_is_true(json_object_get(one, "passed"));
                own += !passed;
                if (!passed)
                    assert_true(string(one, "failure")[0] && string(one, "reproduce")[0]);
            }
            assert_int_equal(json_array_size(list), integer(test, "cases_run"));
            assert_int_equal(own, integer(test, "failed"));
            assert_int_equal(json_array_size(json_object_get(test, "errors")), VKMOE_CONFORM_BINS);
            cases += integer(test, "cases_run");
            bad += own;
        }
        assert_int_equal(cases, integer(device, "cases_run"));
        assert_int_equal(bad, integer(device, "failed"));
        total += cases;
        *failed += bad;
    }
    return total;
}

static size_t count_lines(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

/* It says of every test what the whole report says, on a line of its own, and of cases only those
 * that measured something: none of a kernel's that passed. */
static void check_summary(const char *path, const json_t *whole)
{
    size_t size, t;
    json_t *test, *root = load_json(path);
    const json_t *device = json_array_get(json_object_get(root, "devices"), 0);
    const json_t *other = json_array_get(json_object_get(whole, "devices"), 0);
    const json_t *tests = json_object_get(device, "tests");
    assert_true(json_equal(json_object_get(root, "passed"), json_object_get(whole, "passed")));
    assert_true(json_equal(json_object_get(device, "key"), json_object_get(other, "key")));
    assert_int_equal(json_array_size(tests), json_array_size(json_object_get(other, "tests")));
    json_array_foreach(tests, t, test)
    {
        const json_t *full = json_array_get(json_object_get(other, "tests"), t);
        assert_string_equal(string(test, "kernel"), string(full, "kernel"));
        assert_int_equal(integer(test, "cases_run"), integer(full, "cases_run"));
        assert_true(json_equal(json_object_get(test, "nmse"), json_object_get(full, "nmse")));
        assert_null(json_object_get(test, "cases"));
    }
    char *text = test_file_read(path, &size);
    /* And one line for the report, one for the device. */
    assert_int_equal(count_lines(text), json_array_size(tests) + 2);
    free(text);
    json_decref(root);
}

static void a_good_driver_passes_and_the_reports_are_complete(void **state)
{
    struct test_process list = {0}, run = {0};
    const char *json, *summary, *html;
    json_int_t failed;
    size_t size;
    (void)state;
    json = test_folder_path("report.json");
    summary = test_folder_path("summary.json");
    html = test_folder_path("report.html");
    test_vkmoe(&list, "conform", "--list", "--kernel", "s*m*");
    test_process_assert_code(&list, 0);
    test_vkmoe(&run, "conform", "--kernel", "s*m*", "--json", json, "--summary", summary, "--html",
               html);
    test_process_assert_code(&run, 0);
    assert_non_null(strstr(run.out, "softmax"));
    assert_non_null(strstr(run.out, "sample_cut"));
    assert_non_null(strstr(run.out, "passed\n"));
    json_t *root = load_json(json);
    assert_true(json_is_true(json_object_get(root, "passed")));
    json_int_t cases = check_sums(root, &failed);
    assert_int_equal(failed, 0);
    assert_int_equal(cases + 2, count_lines(list.out)); /* two lines tell the device */
    check_summary(summary, root);
    json_decref(root);
    char *page = test_file_read(html, &size);
    assert_well_formed(page);
    assert_non_null(strstr(page, "softmax"));
    assert_non_null(strstr(page, "<svg"));
    assert_null(strstr(page, "<script"));
    free(page);
    test_process_free(&list);
    test_process_free(&run);
}

static void a_case_that_is_listed_can_be_run_alone_and_again(void **state)
{
    struct test_process p[2] = {{0}};
    (void)state;
    for (int i = 0; i < 2; i++) {
        test_vkmoe(&p[i], "conform", "--kernel", "rmsnorm", "--case",
                   "width=1407 rows=3 index=1 plain", "--seed", "5");
        test_process_assert_code(&p[i], 0);
        assert_non_null(strstr(p[i].out, "all 1 cases in 1 tests passed"));
    }
    assert_string_equal(p[0].out, p[1].out);
    test_process_free(&p[0]);
    test_vkmoe(&p[0], "conform", "--kernel", "rmsnorm", "--case", "width=1407 rows=3 index=1 plain",
               "--seed", "6");
    assert_string_not_equal(p[0].out, p[1].out);
    test_process_free(&p[0]);
    test_process_free(&p[1]);
}

static void every_device_gets_its_turn(void **state)
{
    struct test_process p = {0};
    (void)state;
    test_vkmoe(&p, "conform", "--device", "all", "--kernel", "kv_copy");
    test_process_assert_code(&p, 0);
    assert_non_null(strstr(p.out, "device 0: "));
    assert_non_null(strstr(p.out, "all 6 cases"));
    test_process_free(&p);
}

static void wrong_usage_is_one_sentence(void **state)
{
    static const struct {
        const char *arguments[4];
        int code;
        const char *part;
    } wrong[] = {
        {{"--seed", "-1"}, 2, "--seed"},
        {{"--replay", "x", "--list"}, 2, "--replay"},
        {{"--list", "--html", "x"}, 2, "--list"},
        {{"--replay", "x", "--seed", "1"}, 2, "--replay"},
        {{"--full", "--quick"}, 2, "exclude each other"},
        {{"voodoo"}, 2, "voodoo"},
        {{"--kernal", "gemv"}, 2, "--kernal"},
        {{"--weights", "q4"}, 2, "--weights"},
        {{"--device", "voodoo"}, 1, "voodoo"},
        {{"--replay", "/nowhere"}, 1, "/nowhere/manifest.json"},
        {{"--device", "reference", "--kernel", "kv_copy"},
         1,
         "compares a device with the reference"},
        {{"--json", "/nowhere/report.json"}, 1, "/nowhere/report.json"},
        {{"--html", "/"}, 1, "cannot write /"},
        {{"-m", "/nowhere"}, 1, "no such folder"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct test_process p = {0};
        test_vkmoe(&p, "conform", wrong[i].arguments[0], wrong[i].arguments[1],
                   wrong[i].arguments[2], wrong[i].arguments[3]);
        test_process_assert_sentence(&p, wrong[i].code, wrong[i].part);
        test_process_free(&p);
    }
}

static void a_pattern_that_fits_nothing_is_a_failure(void **state)
{
    struct test_process p = {0};
    (void)state;
    test_vkmoe(&p, "conform", "--kernel", "voodoo");
    test_process_assert_code(&p, 1);
    assert_non_null(strstr(p.err, "voodoo"));
    assert_null(strstr(p.out, "passed"));
    test_process_free(&p);
}

static void a_folder_that_cannot_be_exported_to_is_told_before_any_case(void **state)
{
    struct test_process p = {0};
    const char *file = test_folder_path("file");
    (void)state;
    test_file_write(file, "x", 1);
    test_vkmoe(&p, "conform", "--kernel", "kv_copy", "--export", file);
    test_process_assert_code(&p, 1);
    assert_non_null(strstr(p.err, "Not a directory"));
    assert_non_null(strstr(p.out, "0 cases were run"));
    test_process_free(&p);
}

/* Where a driver crashes, that line is the last. */
static void each_case_is_named_before_it_runs(void **state)
{
    struct test_process p = {0};
    (void)state;
    test_vkmoe(&p, "conform", "--kernel", "kv_copy", "--case", "words=128 *", "-v", "-v");
    test_process_assert_code(&p, 0);
    assert_non_null(strstr(p.err, "next: kv_copy (-, base), case words=128 blocks=64"));
    test_process_free(&p);
}

struct reader {
    const char *path;
    char text[8192];
};

static void *read_pipe(void *user)
{
    struct reader *r = user;
    FILE *f = fopen(r->path, "r");
    if (f) {
        r->text[fread(r->text, 1, sizeof(r->text) - 1, f)] = '\0';
        fclose(f);
    }
    return NULL;
}

/* Nor does trying whether it can be written end what its reader reads. */
static void a_report_into_a_pipe_leaves_the_pipe(void **state)
{
    struct reader r = {.path = test_folder_path("pipe")};
    struct test_process p = {0};
    struct stat there;
    pthread_t thread;
    (void)state;
    assert_int_equal(mkfifo(r.path, 0600), 0);
    assert_int_equal(pthread_create(&thread, NULL, read_pipe, &r), 0);
    test_vkmoe(&p, "conform", "--kernel", "kv_copy", "--summary", r.path);
    test_process_assert_code(&p, 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_non_null(strstr(r.text, "\"passed\": true"));
    assert_int_equal(stat(r.path, &there), 0);
    assert_true(S_ISFIFO(there.st_mode));
    test_process_free(&p);
}

/* --- bundles --- */

struct exported {
    uint32_t failed, bundles;
    char sentence[1024], bundle[1024]; /* of the first */
};

static void note_failure(void *user, const struct vkm_conform_case *c)
{
    struct exported *e = user;
    e->bundles += c->bundle != NULL;
    if (c->passed || e->failed++ > 0)
        return;
    assert_non_null(c->bundle);
    snprintf(e->sentence, sizeof(e->sentence), "%s", c->sentence);
    snprintf(e->bundle, sizeof(e->bundle), "%s", c->bundle);
}

/* Runs cases of a kernel whose modules are spoiled, and exports those that fail. */
static void export_spoiled(enum vkm_kernel_id id, const char *cases, struct exported *e)
{
    struct vkm_kernel kernels[VKM_KERNEL_COUNT];
    struct vkm_variant variants[2]; /* one storage type of weights, on both paths */
    const struct vkm_kernel_set set = {kernels, VKM_KERNEL_COUNT};
    struct vkm_gpu *gpu;
    struct vkm_conform_totals totals;
    vkmoe_error err = {0};
    *e = (struct exported){0};
    memcpy(kernels, vkm_kernels.kernels, sizeof(kernels));
    kernels[id].n_variants = vkm_min_u32(kernels[id].n_variants, 2);
    for (uint32_t i = 0; i < kernels[id].n_variants; i++) {
        variants[i] = kernels[id].variants[i];
        variants[i].code = test_spoil(variants[i].code, variants[i].code_size);
    }
    kernels[id].variants = variants;
    struct vkm_gpu_params open = {
        .selector = getenv("VKMOE_DEVICE"), .host_visible = true, .cache_dir = ""};
    struct vkm_conform_params params = {
        .kernels = kernels[id].name,
        .cases = cases,
        .seed = 3,
        .export_dir = test_folder(),
        .on_case = note_failure,
        .user = e,
    };
    assert_ok(vkm_gpu_open(&open, &set, &gpu, &err), &err);
    assert_ok(vkm_conform_run(gpu, &params, &totals, &err), &err);
    vkm_gpu_close(gpu);
    for (uint32_t i = 0; i < kernels[id].n_variants; i++)
        free((void *)(uintptr_t)variants[i].code);
    if (totals.failed == 0)
        fail_msg("%s: no case failed", kernels[id].name);
    assert_int_equal(totals.failed, e->failed);
}

/* Puts the right module in place of the spoiled one. */
static void repair(const char *bundle, enum vkm_kernel_id id)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/manifest.json", bundle);
    json_t *root = load_json(path);
    const struct vkm_kernel *kernel = &vkm_kernels.kernels[id];
    const struct vkm_variant *variant = NULL;
    for (uint32_t i = 0; i < kernel->n_variants && !variant; i++) {
        const struct vkm_variant *v = &kernel->variants[i];
        if (strcmp(vkm_path_name(v->path), string(root, "path")) == 0 &&
            strcmp(vkm_variant_dtype_name(v), string(root, "weights")) == 0)
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
    export_spoiled(id, cases, &e);
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

static void a_failure_is_in_the_reports(void **state)
{
    struct exported e;
    struct test_process p = {0};
    const char *json, *html;
    json_int_t failed;
    size_t size;
    (void)state;
    export_spoiled(VKM_K_rmsnorm, "width=33 rows=3*", &e);
    json = test_folder_path("report.json");
    html = test_folder_path("report.html");
    test_vkmoe(&p, "conform", "--replay", e.bundle, "--json", json, "--html", html);
    test_process_assert_code(&p, 1);
    json_t *root = load_json(json);
    assert_true(json_is_false(json_object_get(root, "passed")));
    assert_string_equal(string(root, "replay"), e.bundle);
    assert_null(json_object_get(root, "seed")); /* the folder has it */
    assert_int_equal(check_sums(root, &failed), 1);
    assert_int_equal(failed, 1);
    json_decref(root);
    char *page = test_file_read(html, &size);
    assert_well_formed(page);
    assert_non_null(strstr(page, "1 of 1 cases failed"));
    assert_non_null(strstr(page, " --replay"));
    assert_non_null(strstr(page, "the case in "));
    free(page);
    test_process_free(&p);
}

static void a_bundle_stands_alone_and_explains_itself(void **state)
{
    static const char *const files[] = {"kernel.spv",   "push_constants.bin", "README.md",
                                        "x.before.bin", "y.expected.bin",     "y.got.bin"};
    struct exported e;
    char path[4096];
    size_t size;
    (void)state;
    export_spoiled(VKM_K_gemv, "k=127 n=33 rows=1*", &e);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", e.bundle, files[i]);
        free(test_file_read(path, &size));
        assert_true(size > 0);
    }
    snprintf(path, sizeof(path), "%s/manifest.json", e.bundle);
    json_t *root = load_json(path);
    assert_int_equal(integer(root, "seed"), 3);
    assert_non_null(strstr(e.sentence, string(root, "failure")));
    assert_int_equal(integer(json_object_get(root, "pipeline"), "push_constant_bytes"),
                     vkm_kernels.kernels[VKM_K_gemv].push_size);
    snprintf(path, sizeof(path), "%s/README.md", e.bundle);
    char *readme = test_file_read(path, &size);
    assert_non_null(strstr(readme, string(root, "failure")));
    assert_non_null(strstr(readme, string(root, "case")));
    free(readme);
    json_decref(root);
}

/* A driver that gets all wrong does not fill the disk. */
static void the_first_ten_cases_of_a_variant_are_exported(void **state)
{
    struct exported e;
    (void)state;
    export_spoiled(VKM_K_rmsnorm, NULL, &e);
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
    export_spoiled(VKM_K_rmsnorm, "width=33 rows=3*", &e);
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
        {"\"kind\": \"read\"", "\"kind\": \"reed\"", "kind"},
    };
    struct exported e;
    char path[4096];
    size_t size;
    (void)state;
    export_spoiled(VKM_K_gemv, "k=127 n=33 rows=1*", &e);
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
        TEST_IN_FOLDER(a_good_driver_passes_and_the_reports_are_complete),
        TEST_IN_FOLDER(a_case_that_is_listed_can_be_run_alone_and_again),
        TEST_IN_FOLDER(every_device_gets_its_turn),
        TEST_IN_FOLDER(wrong_usage_is_one_sentence),
        TEST_IN_FOLDER(a_pattern_that_fits_nothing_is_a_failure),
        TEST_IN_FOLDER(a_folder_that_cannot_be_exported_to_is_told_before_any_case),
        TEST_IN_FOLDER(each_case_is_named_before_it_runs),
        TEST_IN_FOLDER(a_report_into_a_pipe_leaves_the_pipe),
        TEST_IN_FOLDER(a_wrong_product_is_exported_and_fails_again),
        TEST_IN_FOLDER(a_wrong_kernel_that_updates_is_exported_and_fails_again),
        TEST_IN_FOLDER(a_wrong_kernel_with_tables_is_exported_and_fails_again),
        TEST_IN_FOLDER(a_wrong_indirect_kernel_is_exported_and_fails_again),
        TEST_IN_FOLDER(a_kernel_without_weights_is_exported_and_fails_again),
        TEST_IN_FOLDER(a_failure_is_in_the_reports),
        TEST_IN_FOLDER(a_bundle_stands_alone_and_explains_itself),
        TEST_IN_FOLDER(the_first_ten_cases_of_a_variant_are_exported),
        TEST_IN_FOLDER(a_damaged_module_is_refused),
        TEST_IN_FOLDER(damaged_bundles_are_refused),
    };
    return cmocka_run_group_tests_name("conform", tests, NULL, NULL);
}
