/* Choices of one device as text: lines of what they were measured on, one line for each kernel,
 * with the weights that it is for, and setting that is not the table's, and the hash of all that
 * stands before. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "kernels/launch.h"
#include "vkmoe/version.h"

#define FIRST_LINE "vkmoe tuning 2\n"
#define NO_WEIGHTS "none"
#define LONGEST_LINE 160

uint64_t vkm_launch_build(void)
{
    uint64_t hash = vkm_hash(VKM_HASH_INIT, VKMOE_VERSION, strlen(VKMOE_VERSION));
    for (uint32_t k = 0; k < vkm_kernels.count; k++) {
        const struct vkm_kernel *kernel = &vkm_kernels.kernels[k];
        hash = vkm_hash(hash, kernel->name, strlen(kernel->name));
        for (uint32_t v = 0; v < kernel->n_variants; v++)
            hash = vkm_hash(hash, kernel->variants[v].code, kernel->variants[v].code_size);
    }
    for (int class = 0; class < VKM_LAUNCH_CLASSES; class ++) {
        const struct vkm_caps caps = vkm_launch_class_caps((enum vkm_launch_class) class);
        for (uint32_t k = 0; k < vkm_kernels.count; k++) {
            struct vkm_geometry g = vkm_launch_geometry(&caps, k, VKM_DTYPE_COUNT, false);
            hash = vkm_hash(hash, &g, sizeof(g));
        }
        for (int s = 0; s < VKM_SETTING_COUNT; s++) {
            uint32_t value = vkm_launch_setting(&caps, (enum vkm_setting)s);
            hash = vkm_hash(hash, &value, sizeof(value));
        }
    }
    return hash;
}

/* Adds to a text; NULL once memory ran out. */
static char *add(const vkmoe_allocator *a, char *text, const char *line)
{
    char *longer = text ? vkm_format(a, "%s%s", text, line) : NULL;
    vkm_free(a, text);
    return longer;
}

static const char *type_name(int type)
{
    return type < VKM_DTYPE_COUNT ? vkm_dtype_name((enum vkm_dtype)type) : NO_WEIGHTS;
}

static char *add_kernel(const vkmoe_allocator *a, char *text, const struct vkm_tuning *t,
                        uint32_t kernel)
{
    char line[LONGEST_LINE];
    for (int type = 0; type < VKM_TUNED_TYPES; type++) {
        const struct vkm_geometry *g = &t->kernels[kernel][type];
        if (g->lanes == 0)
            continue;
        snprintf(line, sizeof(line),
                 "kernel %s weights %s lanes %" PRIu32 " outputs %" PRIu32 " panels %" PRIu32 "\n",
                 vkm_kernels.kernels[kernel].name, type_name(type), g->lanes, g->outputs,
                 g->panels);
        text = add(a, text, line);
    }
    return text;
}

char *vkm_tuning_format(const vkmoe_allocator *a, const struct vkm_tuning *t, const char *identity)
{
    char line[LONGEST_LINE];
    char *text = vkm_format(a, FIRST_LINE "%sclass %d\n", identity, (int)t->launch_class);
    for (uint32_t k = 0; k < VKM_KERNEL_COUNT; k++)
        text = add_kernel(a, text, t, k);
    for (int s = 0; s < VKM_SETTING_COUNT; s++) {
        if (t->settings[s] == 0)
            continue;
        snprintf(line, sizeof(line), "setting %s %" PRIu32 "\n", vkm_setting_names[s],
                 t->settings[s]);
        text = add(a, text, line);
    }
    if (text)
        snprintf(line, sizeof(line), "hash %016" PRIx64 "\n",
                 vkm_hash(VKM_HASH_INIT, text, strlen(text)));
    return add(a, text, line);
}

/* Whether the last line is the hash of the others, which are *size bytes long then. */
static bool is_whole(const char *text, size_t *size)
{
    char line[LONGEST_LINE];
    const size_t n = sizeof("hash 0123456789abcdef\n") - 1;
    if (*size < n || memchr(text, '\0', *size))
        return false;
    *size -= n;
    snprintf(line, sizeof(line), "hash %016" PRIx64 "\n", vkm_hash(VKM_HASH_INIT, text, *size));
    return memcmp(text + *size, line, n) == 0;
}

static bool read_type(const char *name, uint32_t kernel, int *type)
{
    for (int i = 0; i < VKM_TUNED_TYPES; i++) {
        if (strcmp(name, type_name(i)) == 0) {
            *type = i;
            return vkm_kernels.kernels[kernel].has_dtype == (i < VKM_DTYPE_COUNT);
        }
    }
    return false;
}

static bool read_kernel(const char *line, const struct vkm_caps *caps, struct vkm_tuning *t)
{
    char name[64], weights[16];
    int type;
    struct vkm_geometry g = {0};
    if (sscanf(line,
               "kernel %63s weights %15s lanes %" SCNu32 " outputs %" SCNu32 " panels %" SCNu32,
               name, weights, &g.lanes, &g.outputs, &g.panels) != 5)
        return false;
    for (uint32_t k = 0; k < VKM_KERNEL_COUNT; k++) {
        if (strcmp(name, vkm_kernels.kernels[k].name) == 0 && read_type(weights, k, &type)) {
            t->kernels[k][type] = g;
            return vkm_launch_fits(caps, k, g);
        }
    }
    return false;
}

static bool read_setting(const char *line, struct vkm_tuning *t)
{
    char name[64];
    uint32_t value;
    if (sscanf(line, "setting %63s %" SCNu32, name, &value) != 2)
        return false;
    for (int s = 0; s < VKM_SETTING_COUNT; s++) {
        if (strcmp(name, vkm_setting_names[s]) == 0) {
            t->settings[s] = value;
            return vkm_launch_setting_fits((enum vkm_setting)s, value);
        }
    }
    return false;
}

static bool read_line(const char *line, const struct vkm_caps *caps, struct vkm_tuning *t)
{
    int launch_class;
    if (sscanf(line, "class %d", &launch_class) == 1) {
        t->launch_class = vkm_launch_class(caps);
        return launch_class == (int)t->launch_class;
    }
    return read_kernel(line, caps, t) || read_setting(line, t);
}

enum vkm_tuning_verdict vkm_tuning_parse(const char *text, size_t size, const char *identity,
                                         const struct vkm_caps *caps, struct vkm_tuning *t)
{
    const size_t first = sizeof(FIRST_LINE) - 1, known = first + strlen(identity);
    *t = (struct vkm_tuning){0};
    if (!is_whole(text, &size))
        return VKM_TUNING_DAMAGED;
    if (size < known || memcmp(text, FIRST_LINE, first) != 0 ||
        memcmp(text + first, identity, known - first) != 0)
        return VKM_TUNING_OTHERS;
    for (size_t at = known; at < size;) {
        char line[LONGEST_LINE];
        const char *end = memchr(text + at, '\n', size - at);
        size_t n = end ? (size_t)(end - text) - at : sizeof(line);
        if (n < sizeof(line)) {
            memcpy(line, text + at, n);
            line[n] = '\0';
        }
        if (n >= sizeof(line) || !read_line(line, caps, t)) {
            *t = (struct vkm_tuning){0};
            return VKM_TUNING_BEYOND;
        }
        at += n + 1;
    }
    t->hash = vkm_hash(VKM_HASH_INIT, text, size);
    return VKM_TUNING_GOOD;
}
