/* The rules that make mutants, and what the mutants' test takes for granted. */
#include "shaders.h"
#include "support.h"
#include "survivors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const sample = "/* a < b, 1u + 2u; barrier() */\n"
                                  "#version 460\n"
                                  "#define WIDTH 3u\n"
                                  "#ifdef VKM_DEBUG\n"
                                  "a < b\n"
                                  "#endif\n"
                                  "layout(constant_id = 1) const uint NR = 4;\n"
                                  "shared float part[64];\n"
                                  "VKM_LOAD(ld_f32, float, vkm_f32s, 4u)\n"
                                  "for (uint i = lane; i < n; i += lanes) {\n"
                                  "    if (a.x == b << 2 || x < -1.5)\n"
                                  "        sum += f(x, (y));\n"
                                  "    r * k + s; r * k + s[0]; (n + m - 1u) / m;\n"
                                  "    min(a, b) % c;   \\\n"
                                  "    i += gl_WorkGroupSize.x;\n"
                                  "}\n"
                                  "barrier();\n";

static const char *const expected[] = {
    "s: one: #define WIDTH 3u => #define WIDTH 4u",
    "s: flip: for (uint i = lane; i < n; i += lanes) { => for (uint i = lane; i > n; i += lanes) {",
    "s: edge: for (uint i = lane; i < n; i += lanes) { => for (uint i = lane; i <= n; i += lanes) "
    "{",
    "s: tail: for (uint i = lane; i < n; i += lanes) { => for (uint i = lane; i + 1u < n; i += "
    "lanes) {",
    "s: swap: if (a.x == b << 2 || x < -1.5) => if (a.y == b << 2 || x < -1.5)",
    "s: flip: if (a.x == b << 2 || x < -1.5) => if (a.x != b << 2 || x < -1.5)",
    "s: one: if (a.x == b << 2 || x < -1.5) => if (a.x == b << 3 || x < -1.5)",
    "s: flip: if (a.x == b << 2 || x < -1.5) => if (a.x == b << 2 || x > -1.5)",
    "s: edge: if (a.x == b << 2 || x < -1.5) => if (a.x == b << 2 || x <= -1.5)",
    "s: narrow: sum += f(x, (y)); => sum = uintBitsToFloat(floatBitsToUint(sum + ( f(x, (y)))) & "
    "0xffffe000u);",
    "s: swap: r * k + s; r * k + s[0]; (n + m - 1u) / m; => s * k + r; r * k + s[0]; (n + m - 1u) "
    "/ m;",
    "s: one: r * k + s; r * k + s[0]; (n + m - 1u) / m; => r * k + s; r * k + s[1]; (n + m - 1u) / "
    "m;",
    "s: tail: r * k + s; r * k + s[0]; (n + m - 1u) / m; => r * k + s; r * k + s[0]; (n) / m;",
    "s: one: r * k + s; r * k + s[0]; (n + m - 1u) / m; => r * k + s; r * k + s[0]; (n + m - 0u) / "
    "m;",
    "s: swap: r * k + s; r * k + s[0]; (n + m - 1u) / m; => r * k + s; r * k + s[0]; (n + m - 1u) "
    "% m;",
    "s: tie: min(a, b) % c; => max(a, b) % c;",
    "s: swap: min(a, b) % c; => min(a, b) / c;",
    "s: narrow: i += gl_WorkGroupSize.x; => i = uintBitsToFloat(floatBitsToUint(i + ( "
    "gl_WorkGroupSize.x)) & 0xffffe000u);",
    "s: barrier: barrier(); => ;",
};

static void every_rule_finds_its_places_and_no_others(void **state)
{
    struct mutants list = {0};
    (void)state;
    mutants_add(&list, 0, "s", sample);
    for (size_t i = 0; i < list.count && i < VKM_COUNT(expected); i++)
        assert_string_equal(list.items[i].name, expected[i]);
    assert_int_equal(list.count, VKM_COUNT(expected));
    mutants_free(&list);
}

static void a_mutant_differs_from_its_source_in_one_place(void **state)
{
    struct mutants list = {0};
    (void)state;
    mutants_add(&list, 0, "s", "a < b\na < b\n");
    assert_int_equal(list.count, 6);
    assert_string_equal(list.items[4].name, "s: edge: a < b => a <= b (2)");
    char *changed = mutant_source(&list.items[4], "a < b\na < b\n");
    assert_string_equal(changed, "a < b\na <= b\n");
    free(changed);
    mutants_free(&list);
}

static void every_rule_fits_somewhere_in_the_shaders(void **state)
{
    static const char *const rules[] = {"flip", "edge", "tie",     "one",
                                        "tail", "swap", "barrier", "narrow"};
    struct shaders s;
    struct mutants list = {0};
    unsigned counts[VKM_COUNT(rules)] = {0};
    (void)state;
    shaders_load(&s);
    shaders_mutants(&s, &list);
    for (size_t i = 0; i < list.count; i++)
        for (size_t r = 0; r < VKM_COUNT(rules); r++) {
            char part[32];
            snprintf(part, sizeof(part), ": %s: ", rules[r]);
            counts[r] += strstr(list.items[i].name, part) != NULL;
        }
    for (size_t r = 0; r < VKM_COUNT(rules); r++) {
        print_message("%-8s %4u mutants\n", rules[r], counts[r]);
        assert_true(counts[r] >= 10);
    }
    mutants_free(&list);
    shaders_free(&s);
}

/* Else a mutant's module would differ from the library's for other reasons than the change. */
static void unchanged_shaders_compile_to_the_librarys_modules(void **state)
{
    struct shaders s;
    (void)state;
    char *folder = test_folder_make();
    shaders_load(&s);
    shaders_write(&s, NULL, folder);
    for (uint32_t k = 0; k < VKM_KERNEL_COUNT; k++) {
        const struct vkm_kernel *kernel = &vkm_kernels.kernels[k];
        const struct vkm_variant *v = &kernel->variants[k % kernel->n_variants];
        if (v->path == VKM_PATH_COOPMAT) /* which another compiler may have made */
            v = kernel->variants;
        for (int debug = 0; debug < 2; debug++) {
            struct module module = shaders_compile(
                folder, (struct module_key){(enum vkm_kernel_id)k, v->dtype, v->path, debug != 0});
            assert_non_null(module.code);
            assert_int_equal(module.size, debug ? v->debug_code_size : v->code_size);
            assert_memory_equal(module.code, debug ? v->debug_code : v->code, module.size);
            free(module.code);
        }
    }
    test_folder_remove(folder);
    shaders_free(&s);
}

static void survivors_are_mutants_and_listed_once(void **state)
{
    struct shaders s;
    struct mutants list = {0};
    struct survivors survivors;
    unsigned complaints = 0;
    (void)state;
    shaders_load(&s);
    shaders_mutants(&s, &list);
    survivors_load(&survivors);
    for (unsigned i = 0; i < survivors.count; i++) {
        unsigned found = 0, again = 0;
        for (size_t m = 0; m < list.count; m++)
            found += strcmp(list.items[m].name, survivors.names[i]) == 0;
        for (unsigned j = 0; j < i; j++)
            again += strcmp(survivors.names[j], survivors.names[i]) == 0;
        if (found != 1 || again > 0) {
            print_error("survivors.txt: %s: %s\n", again ? "listed twice" : "no such mutant",
                        survivors.names[i]);
            complaints++;
        }
    }
    assert_int_equal(complaints, 0);
    survivors_free(&survivors);
    mutants_free(&list);
    shaders_free(&s);
}

static void a_file_reaches_the_kernels_that_include_it(void **state)
{
    struct shaders s;
    unsigned team = 0, gemm = 0;
    (void)state;
    shaders_load(&s);
    for (unsigned i = 0; i < s.count; i++) {
        if (strcmp(s.names[i], "lib/team.glsl") == 0)
            team = i;
        if (strcmp(s.names[i], "gemm.comp") == 0)
            gemm = i;
    }
    assert_true(shaders_reach(&s, VKM_K_gemm, team)); /* through lib/gemm_team.glsl */
    assert_true(shaders_reach(&s, VKM_K_gemm_add, gemm));
    assert_false(shaders_reach(&s, VKM_K_gemv, gemm));
    assert_false(shaders_reach(&s, VKM_K_topk, team));
    shaders_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rule_finds_its_places_and_no_others),
        cmocka_unit_test(a_mutant_differs_from_its_source_in_one_place),
        cmocka_unit_test(every_rule_fits_somewhere_in_the_shaders),
        cmocka_unit_test(unchanged_shaders_compile_to_the_librarys_modules),
        cmocka_unit_test(survivors_are_mutants_and_listed_once),
        cmocka_unit_test(a_file_reaches_the_kernels_that_include_it),
    };
    return cmocka_run_group_tests_name("mutation rules", tests, NULL, NULL);
}
