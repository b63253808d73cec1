/* The project's structure: who includes whom, how long files are, and that nothing is left undone.
 */
#include "support.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

#define MAX_LINES 600

/* The layers from the bottom up. Each may include those of a lower rank, and itself. */
static const struct {
    const char *folder;
    int rank;
} layers[] = {
    {"base", 0},   {"gpu", 1},     {"kernels", 2}, {"model", 3}, {"text", 3},
    {"engine", 4}, {"conform", 5}, {"bench", 5},   {"study", 5},
};

static int layer_of(const char *path)
{
    for (size_t i = 0; i < VKM_COUNT(layers); i++) {
        size_t n = strlen(layers[i].folder);
        if (strncmp(path, layers[i].folder, n) == 0 && path[n] == '/')
            return (int)i;
    }
    return -1;
}

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static bool is_vulkan(const char *name)
{
    return starts_with(name, "vulkan/") || strcmp(name, "volk.h") == 0;
}

/* Why `file` (below the root) may not include `name`, or NULL if it may. */
static const char *judge_runtime(const char *file, const char *name, bool quoted)
{
    int self = layer_of(file + strlen("runtime/")), other = layer_of(name);
    if (self < 0)
        return "its folder is no layer";
    if (!quoted) {
        if (starts_with(name, "vkmoe/") || other >= 0)
            return "the project's own headers are included with quotation marks";
        return is_vulkan(name) && strcmp(layers[self].folder, "gpu") != 0
                   ? "only the gpu layer knows Vulkan"
                   : NULL;
    }
    if (starts_with(name, "vkmoe/"))
        return NULL;
    if (strcmp(name, "../../shaders/params.h") == 0)
        return layers[self].rank >= 2 ? NULL : "kernels are above it";
    if (strcmp(name, "vkm_spirv.inc") == 0)
        return strcmp(file, "runtime/kernels/table.c") == 0 ? NULL : "it is the table's alone";
    if (other < 0)
        return "it is in no layer";
    if (strcmp(name, "gpu/vk.h") == 0 && self != other)
        return "it is the gpu layer's own";
    if (self != other && layers[other].rank >= layers[self].rank)
        return layers[other].rank > layers[self].rank ? "it is of a higher layer"
                                                      : "it is of a layer beside";
    return NULL;
}

static const char *judge_app(const char *file, const char *name, bool quoted)
{
    (void)file;
    if (!quoted)
        return is_vulkan(name) || layer_of(name) >= 0 ? "apps use the public API only" : NULL;
    return strchr(name, '/')
               ? "apps include the headers of their own folder, of common/ and <vkmoe/...>"
               : NULL;
}

static const char *judge_public(const char *file, const char *name, bool quoted)
{
    static const char *const standard[] = {"stdbool.h", "stddef.h", "stdint.h"};
    (void)file;
    if (quoted)
        return starts_with(name, "vkmoe/") ? NULL : "public headers include each other only";
    for (size_t i = 0; i < VKM_COUNT(standard); i++)
        if (strcmp(name, standard[i]) == 0)
            return NULL;
    return "public headers need no more than bool, size_t and integers";
}

static const char *judge_shader(const char *file, const char *name, bool quoted)
{
    (void)file;
    return quoted && !strstr(name, "runtime") && !starts_with(name, "../../")
               ? NULL
               : "shaders include shaders";
}

static const char *judge(const char *file, const char *name, bool quoted)
{
    if (starts_with(file, "runtime/"))
        return judge_runtime(file, name, quoted);
    if (starts_with(file, "apps/"))
        return judge_app(file, name, quoted);
    if (starts_with(file, "include/"))
        return judge_public(file, name, quoted);
    if (starts_with(file, "shaders/"))
        return judge_shader(file, name, quoted);
    return NULL;
}

/* --- walking --- */

typedef void line_fn(const char *file, unsigned number, const char *line);
typedef void file_fn(const char *file, unsigned lines);

static line_fn *on_line;
static file_fn *on_file;
static unsigned files, includes, complaints;

static bool ends_with(const char *path, const char *const *endings)
{
    size_t n = strlen(path);
    for (; *endings; endings++) {
        size_t m = strlen(*endings);
        if (n >= m && strcmp(path + n - m, *endings) == 0)
            return true;
    }
    return false;
}

static const char *const sources[] = {".c", ".h", ".comp", ".glsl", ".def", NULL};
static const char *const texts[] = {".c",  ".h",  ".comp", ".glsl", ".def", ".cmake", ".txt",
                                    ".sh", ".md", ".in",   ".map",  ".yml", ".supp",  NULL};
static const char *const *wanted;

static int visit(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    const char *name = path + strlen(VKMOE_SOURCE "/");
    if (kind != FTW_F || !ends_with(path, wanted))
        return 0;
    FILE *file = fopen(path, "r");
    if (!file)
        return 0; /* gone meanwhile */
    char line[4096];
    unsigned number = 0;
    while (fgets(line, sizeof(line), file)) {
        number++;
        if (on_line)
            on_line(name, number, line);
    }
    fclose(file);
    files++;
    if (on_file)
        on_file(name, number);
    return 0;
}

/* Hands every line and every file of these endings to the callbacks; fails if one complained. */
static void walk(const char *const *endings, line_fn *line, file_fn *file)
{
    static const char *const roots[] = {"runtime", "apps", "include", "shaders", "tests", "cmake"};
    files = includes = complaints = 0;
    wanted = endings;
    on_line = line;
    on_file = file;
    for (size_t i = 0; i < VKM_COUNT(roots); i++) {
        char path[4096];
        snprintf(path, sizeof(path), "%s/%s", VKMOE_SOURCE, roots[i]);
        nftw(path, visit, 16, FTW_PHYS);
    }
    assert_true(files > 50);
}

/* Finds the name in an #include line; *end gets the character after it. */
static const char *included(const char *line, bool *quoted, size_t *length)
{
    line += strspn(line, " \t");
    if (*line != '#')
        return NULL;
    line += 1 + strspn(line + 1, " \t");
    if (!starts_with(line, "include"))
        return NULL;
    line += strlen("include");
    line += strspn(line, " \t");
    if (*line != '"' && *line != '<')
        return NULL;
    *quoted = *line == '"';
    *length = strcspn(line + 1, "\">");
    return line + 1;
}

static void check_include(const char *file, unsigned number, const char *line)
{
    bool quoted;
    size_t length;
    const char *name = included(line, &quoted, &length);
    char copy[256];
    if (!name)
        return;
    includes++;
    snprintf(copy, sizeof(copy), "%.*s", (int)length, name);
    const char *why = judge(file, copy, quoted);
    if (why) {
        print_error("%s:%u includes %s: %s\n", file, number, copy, why);
        complaints++;
    }
}

static void every_include_goes_down(void **state)
{
    (void)state;
    walk(sources, check_include, NULL);
    print_message("%u includes in %u files\n", includes, files);
    assert_true(includes > 200);
    assert_int_equal(complaints, 0);
}

static void includes_that_go_up_or_sideways_are_found(void **state)
{
    (void)state;
    static const struct {
        const char *file, *name;
        bool quoted, allowed;
    } cases[] = {
        {"runtime/base/base.h", "vkmoe/status.h", true, true},
        {"runtime/base/base.h", "gpu/gpu.h", true, false},
        {"runtime/base/base.h", "../../shaders/params.h", true, false},
        {"runtime/gpu/gpu.h", "base/base.h", true, true},
        {"runtime/gpu/gpu.h", "kernels/kernels.h", true, false},
        {"runtime/gpu/vk.h", "volk.h", false, true},
        {"runtime/kernels/ops.h", "gpu/recorder.h", true, true},
        {"runtime/kernels/ops.c", "gpu/vk.h", true, false},
        {"runtime/kernels/ops.c", "vulkan/vulkan.h", false, false},
        {"runtime/kernels/table.c", "vkm_spirv.inc", true, true},
        {"runtime/model/kv.c", "vkm_spirv.inc", true, false},
        {"runtime/model/kv.c", "../../shaders/params.h", true, true},
        {"runtime/model/kv.c", "text/bpe.h", true, false},
        {"runtime/text/bpe.c", "model/json.h", true, false},
        {"runtime/text/bpe.c", "text/bpe.h", true, true},
        {"runtime/engine/model.c", "text/bpe.h", true, true},
        {"runtime/engine/model.c", "conform/case.h", true, false},
        {"runtime/conform/case.c", "engine/engine.h", true, true},
        {"runtime/conform/case.c", "study/route.h", true, false},
        {"runtime/other/x.c", "base/base.h", true, false},
        {"runtime/text/bpe.c", "string.h", false, true},
        {"runtime/text/bpe.c", "vkmoe/status.h", false, false},
        {"apps/cli/main.c", "vkmoe/vkmoe.h", false, true},
        {"apps/cli/main.c", "cli.h", true, true},
        {"apps/cli/main.c", "../../runtime/base/base.h", true, false},
        {"apps/cli/main.c", "base/base.h", true, false},
        {"apps/cli/main.c", "base/base.h", false, false},
        {"include/vkmoe/log.h", "stddef.h", false, true},
        {"include/vkmoe/log.h", "vkmoe/status.h", true, true},
        {"include/vkmoe/log.h", "stdio.h", false, false},
        {"include/vkmoe/log.h", "base/base.h", true, false},
        {"shaders/gemv.comp", "lib/mem.glsl", true, true},
        {"shaders/gemv.comp", "../runtime/gpu/gpu.h", true, false},
    };
    for (size_t i = 0; i < VKM_COUNT(cases); i++) {
        bool allowed = !judge(cases[i].file, cases[i].name, cases[i].quoted);
        if (allowed != cases[i].allowed)
            fail_msg("%s including %s is judged %d", cases[i].file, cases[i].name, allowed);
    }
    bool quoted;
    size_t length;
    assert_non_null(included("  #  include <a/b.h> /* c */", &quoted, &length));
    assert_int_equal(length, 5);
    assert_false(quoted);
    assert_null(included("// #include \"x.h\"", &quoted, &length));
}

static void check_length(const char *file, unsigned lines)
{
    if (lines > MAX_LINES) {
        print_error("%s has %u lines\n", file, lines);
        complaints++;
    }
}

static void no_file_is_longer_than_600_lines(void **state)
{
    (void)state;
    walk(sources, NULL, check_length);
    assert_int_equal(complaints, 0);
}

static bool is_word(const char *text, const char *found, size_t n)
{
    const char *letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";
    return (found == text || !strchr(letters, found[-1])) &&
           (!found[n] || !strchr(letters, found[n]));
}

/* Put together from halves, so that this file does not find itself. */
static const char *const undone[] = {"TO"
                                     "DO",
                                     "FIX"
                                     "ME",
                                     "XX"
                                     "X",
                                     "HA"
                                     "CK"};

static void check_words(const char *file, unsigned number, const char *line)
{
    for (size_t i = 0; i < VKM_COUNT(undone); i++) {
        for (const char *at = strstr(line, undone[i]); at; at = strstr(at + 1, undone[i])) {
            if (is_word(line, at, strlen(undone[i]))) {
                print_error("%s:%u: %s", file, number, line);
                complaints++;
            }
        }
    }
}

static void nothing_is_marked_as_undone(void **state)
{
    (void)state;
    walk(texts, check_words, NULL);
    assert_int_equal(complaints, 0);
}

/* Whether a string literal of the line names an option of the program: --word, or -x by itself. */
static bool names_option(const char *line)
{
    bool inside = false;
    for (const char *p = line; *p; p++) {
        if (*p == '"' && (p == line || p[-1] != '\\'))
            inside = !inside;
        if (!inside || *p != '-' || !strchr(" \"`'(", p[-1]))
            continue;
        bool is_long = p[1] == '-';
        char letter = p[1 + is_long];
        if (letter >= 'a' && letter <= 'z' && (is_long || strchr(" \"`')", p[2])))
            return true;
    }
    return false;
}

/* Programs that embed the library have no options of ours. What a bundle says is said to somebody
 * who has the program. */
static void check_options(const char *file, unsigned number, const char *line)
{
    if (starts_with(file, "runtime/") && strcmp(file, "runtime/conform/bundle_readme.c") != 0 &&
        names_option(line)) {
        print_error("%s:%u: %s", file, number, line);
        complaints++;
    }
}

static void no_message_of_the_library_names_an_option(void **state)
{
    (void)state;
    assert_true(names_option("    fail(\"too long; -c makes\");"));
    assert_true(names_option("    fail(\"%s (--force tries)\", x);"));
    assert_false(names_option("    fail(\"%-5s - %d\", --n);"));
    walk(sources, check_options, NULL);
    assert_int_equal(complaints, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_include_goes_down),
        cmocka_unit_test(includes_that_go_up_or_sideways_are_found),
        cmocka_unit_test(no_file_is_longer_than_600_lines),
        cmocka_unit_test(nothing_is_marked_as_undone),
        cmocka_unit_test(no_message_of_the_library_names_an_option),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
