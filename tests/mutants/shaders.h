/* The shaders' sources, and the modules that glslangValidator makes of them when one is changed. */
#ifndef MUTANTS_SHADERS_H
#define MUTANTS_SHADERS_H

#include <stdbool.h>

#include "kernels/kernels.h"
#include "rules.h"

#define SHADERS_MAX 64u

struct shaders {
    char *names[SHADERS_MAX]; /* below shaders/, ordered */
    char *sources[SHADERS_MAX];
    unsigned count;
};

/* Reads every .comp of shaders/ and every .glsl of shaders/lib. */
void shaders_load(struct shaders *s);
void shaders_free(struct shaders *s);
/* Every mutant of every source; mutant.file is an index into the sources. */
void shaders_mutants(const struct shaders *s, struct mutants *list);
/* Whether the kernel's source is this file or includes it. */
bool shaders_reach(const struct shaders *s, enum vkm_kernel_id kernel, unsigned file);

/* Copies the shaders to a folder, the mutant (or NULL) in its file's place. */
void shaders_write(const struct shaders *s, const struct mutant *m, const char *folder);

struct module {
    uint32_t *code; /* NULL: the source does not compile; else to be freed */
    size_t size;    /* bytes */
};

/* One module of the table. */
struct module_key {
    enum vkm_kernel_id kernel;
    enum vkm_dtype dtype;
    enum vkm_path path;
    bool debug;
};

/* Compiles it as the build does, from a folder that shaders_write filled. */
struct module shaders_compile(const char *folder, struct module_key key);
/* The module that was compiled last in the folder, without the functions that nothing calls, so
 * that equal code is equal. */
struct module shaders_used(const char *folder);
/* The same of the unchanged sources, from a folder that keeps them; it may be empty at first. */
struct module shaders_original(const struct shaders *s, const char *folder, struct module_key key);

#endif
