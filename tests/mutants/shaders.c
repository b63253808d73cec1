#include "shaders.h"
#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#define PATH_SIZE 4096u

/* Of the table, what the build reads. */
static const struct {
    const char *source, *types, *defines;
} rows[] = {
#define KERNEL(name, source, types, paths, n_spec, metric, defines) {source, #types, defines},
#include "kernels/table.def"
#undef KERNEL
};

/* --- reading --- */

static char *read_text(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("%s: %s", path, strerror(errno));
    struct stat st;
    assert_int_equal(fstat(fileno(file), &st), 0);
    char *text = malloc((size_t)st.st_size + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, (size_t)st.st_size, file), st.st_size);
    text[st.st_size] = '\0';
    fclose(file);
    return text;
}

static bool ends_with(const char *text, const char *ending)
{
    size_t n = strlen(text), m = strlen(ending);
    return n >= m && strcmp(text + n - m, ending) == 0;
}

/* Calls `found` for the files of a folder, below the project's root, in order of their names. */
static void for_files(const char *folder, const char *ending,
                      void (*found)(void *user, const char *path, const char *name), void *user)
{
    struct dirent **entries;
    char path[PATH_SIZE];
    snprintf(path, sizeof(path), "%s/%s", VKMOE_SOURCE, folder);
    int n = scandir(path, &entries, NULL, alphasort);
    assert_true(n > 0);
    for (int i = 0; i < n; i++) {
        if (ends_with(entries[i]->d_name, ending)) {
            snprintf(path, sizeof(path), "%s/%s/%s", VKMOE_SOURCE, folder, entries[i]->d_name);
            found(user, path, entries[i]->d_name);
        }
        free(entries[i]);
    }
    free(entries);
}

static void add_source(struct shaders *s, const char *path, const char *folder, const char *name)
{
    char *full = malloc(strlen(folder) + strlen(name) + 1);
    assert_true(full && s->count < SHADERS_MAX);
    sprintf(full, "%s%s", folder, name);
    s->names[s->count] = full;
    s->sources[s->count++] = read_text(path);
}

static void add_kernel(void *user, const char *path, const char *name)
{
    add_source(user, path, "", name);
}

static void add_library(void *user, const char *path, const char *name)
{
    add_source(user, path, "lib/", name);
}

void shaders_load(struct shaders *s)
{
    *s = (struct shaders){.count = 0};
    for_files("shaders", ".comp", add_kernel, s);
    for_files("shaders/lib", ".glsl", add_library, s);
}

void shaders_free(struct shaders *s)
{
    for (unsigned i = 0; i < s->count; i++) {
        free(s->names[i]);
        free(s->sources[i]);
    }
}

void shaders_mutants(const struct shaders *s, struct mutants *list)
{
    for (unsigned i = 0; i < s->count; i++)
        mutants_add(list, i, s->names[i], s->sources[i]);
}

/* --- who includes whom --- */

static unsigned find(const struct shaders *s, const char *folder, const char *name, size_t n)
{
    char full[256];
    snprintf(full, sizeof(full), "%s%.*s", folder, (int)n, name);
    for (unsigned i = 0; i < s->count; i++)
        if (strcmp(s->names[i], full) == 0)
            return i;
    return SHADERS_MAX;
}

static bool includes(const struct shaders *s, unsigned from, unsigned file)
{
    static const char word[] = "#include \"";
    const char *folder = strncmp(s->names[from], "lib/", 4) == 0 ? "lib/" : "";
    if (from == file)
        return true;
    for (const char *at = s->sources[from]; (at = strstr(at, word));) {
        at += strlen(word);
        unsigned other = find(s, folder, at, strcspn(at, "\"\n"));
        if (other < SHADERS_MAX && includes(s, other, file))
            return true;
    }
    return false;
}

bool shaders_reach(const struct shaders *s, enum vkm_kernel_id kernel, unsigned file)
{
    unsigned from = find(s, "", rows[kernel].source, strlen(rows[kernel].source));
    assert_true(from < SHADERS_MAX);
    return includes(s, from, file);
}

/* --- compiling --- */

static void write_text(const char *folder, const char *name, const char *text)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    if (!file)
        fail_msg("%s: %s", path, strerror(errno));
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

void shaders_write(const struct shaders *s, const struct mutant *m, const char *folder)
{
    char path[PATH_SIZE];
    assert_true(mkdir(folder, 0700) == 0 || errno == EEXIST);
    snprintf(path, sizeof(path), "%s/lib", folder);
    assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
    char *params = read_text(VKMOE_SOURCE "/shaders/params.h");
    write_text(folder, "params.h", params);
    free(params);
    for (unsigned i = 0; i < s->count; i++) {
        char *changed = m && m->file == i ? mutant_source(m, s->sources[i]) : NULL;
        write_text(folder, s->names[i], changed ? changed : s->sources[i]);
        free(changed);
    }
}

/* Whether the program ends with 0; nothing that it says is of use. */
static bool run(char *const argv[])
{
    pid_t pid;
    int status;
    posix_spawn_file_actions_t actions;
    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    if (posix_spawn(&pid, argv[0], &actions, NULL, argv, environ) != 0)
        fail_msg("%s: cannot be run", argv[0]);
    posix_spawn_file_actions_destroy(&actions);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status == 0;
}

static struct module read_module(const char *path)
{
    struct module module = {0};
    struct stat st;
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fstat(fileno(file), &st), 0);
    module.size = (size_t)st.st_size;
    module.code = malloc(module.size);
    assert_non_null(module.code);
    assert_int_equal(fread(module.code, 1, module.size, file), module.size);
    fclose(file);
    return module;
}

#define MAX_ARGUMENTS 24u

struct command {
    char *argv[MAX_ARGUMENTS + 1];
    char text[2 * PATH_SIZE];
    unsigned n;
    size_t used;
};

static void argue(struct command *c, const char *prefix, const char *text, size_t n)
{
    assert_true(c->n < MAX_ARGUMENTS && c->used + strlen(prefix) + n + 1 <= sizeof(c->text));
    char *at = c->text + c->used;
    c->used += (size_t)sprintf(at, "%s%.*s", prefix, (int)n, text) + 1;
    c->argv[c->n++] = at;
}

static void argue_words(struct command *c, const char *prefix, const char *words)
{
    for (words += strspn(words, " "); *words; words += strspn(words, " ")) {
        size_t n = strcspn(words, " ");
        argue(c, prefix, words, n);
        words += n;
    }
}

/* As vkmoe_kernel in cmake/VkmoeShaders.cmake has it. */
struct module shaders_compile(const char *folder, struct module_key key)
{
    static const char *const dtypes[] = {
        [VKM_DTYPE_F32] = "F32", [VKM_DTYPE_F16] = "F16", [VKM_DTYPE_BF16] = "BF16",
        [VKM_DTYPE_Q8] = "Q8",   [VKM_DTYPE_Q4] = "Q4",   [VKM_DTYPE_Q8K] = "Q8K",
        [VKM_DTYPE_Q4K] = "Q4K"};
    static const char *const paths[] = {
#define PATH(name, ...) #name,
#include "gpu/paths.def"
#undef PATH
    };
    struct command c = {.n = 0};
    char source[PATH_SIZE], output[PATH_SIZE];
    const char *name = vkm_kernels.kernels[key.kernel].name;
    snprintf(source, sizeof(source), "%s/%s", folder, rows[key.kernel].source);
    snprintf(output, sizeof(output), "%s/module.spv", folder);
    argue_words(&c, "", VKMOE_GLSLANG " --quiet -V --target-env vulkan1.3");
    argue_words(&c, "-D", rows[key.kernel].defines);
    argue(&c, "-DVKM_KERNEL=", name, strlen(name));
    argue(&c, "-DVKM_PARAMS=VKM_PARAMS_", name, strlen(name));
    if (key.dtype != VKM_DTYPE_COUNT)
        argue(&c, strcmp(rows[key.kernel].types, "KV") == 0 ? "-DKV_" : "-DWEIGHTS_",
              dtypes[key.dtype], strlen(dtypes[key.dtype]));
    argue(&c, "-DPATH_", paths[key.path], strlen(paths[key.path]));
    if (key.debug)
        argue_words(&c, "", "-DVKM_DEBUG");
    argue_words(&c, "", "-o");
    argue(&c, "", output, strlen(output));
    argue(&c, "", source, strlen(source));
    return run(c.argv) ? read_module(output) : (struct module){0};
}

struct module shaders_used(const char *folder)
{
    char all[PATH_SIZE], used[PATH_SIZE];
    struct command c = {.n = 0};
    snprintf(all, sizeof(all), "%s/module.spv", folder);
    snprintf(used, sizeof(used), "%s/used.spv", folder);
    argue_words(&c, "",
                VKMOE_SPIRV_OPT " --eliminate-dead-functions --eliminate-dead-const "
                                "--compact-ids");
    argue(&c, "", all, strlen(all));
    argue_words(&c, "", "-o");
    argue(&c, "", used, strlen(used));
    assert_true(run(c.argv));
    return read_module(used);
}

struct module shaders_original(const struct shaders *s, const char *folder, struct module_key key)
{
    char kept[PATH_SIZE], used[PATH_SIZE];
    snprintf(kept, sizeof(kept), "%s/%d-%d-%d-%d.spv", folder, (int)key.kernel, (int)key.dtype,
             (int)key.path, key.debug);
    snprintf(used, sizeof(used), "%s/used.spv", folder);
    if (access(kept, R_OK) != 0) {
        shaders_write(s, NULL, folder);
        struct module whole = shaders_compile(folder, key);
        assert_non_null(whole.code);
        free(whole.code);
        free(shaders_used(folder).code);
        assert_int_equal(rename(used, kept), 0);
    }
    return read_module(kept);
}
