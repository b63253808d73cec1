#include "base/gguf.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/array.h"
#include "base/gguf_reader.h"

#define MAGIC "GGUF"
#define NAME_LIMIT 256u                 /* bytes of a tensor's name; writers keep to 64 */
#define SMALLEST_ENTRY (8 + 4 + 1)      /* bytes of a key and its value */
#define SMALLEST_TENSOR (8 + 4 + 4 + 8) /* bytes of what is said of one */
#define DEFAULT_ALIGNMENT 32

bool vkm_gguf_is(const char *path)
{
    static const char suffix[] = ".gguf";
    size_t n = strlen(path);
    struct stat st;
    struct vkm_file file;
    char start[4];
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
        return false;
    if (n >= sizeof(suffix) && strcmp(path + n - (sizeof(suffix) - 1), suffix) == 0)
        return true;
    if (vkm_file_open(path, &file, NULL) != VKMOE_OK)
        return false;
    bool found = file.size >= sizeof(start) &&
                 vkm_file_read_at(&file, 0, start, sizeof(start), NULL) == VKMOE_OK &&
                 memcmp(start, MAGIC, sizeof(start)) == 0;
    vkm_file_close(&file);
    return found;
}

/* --- tensors --- */

/* Names go into messages and are compared with ours, all of them ASCII. */
static vkmoe_status check_name(struct vkm_gguf_reader *r, const char *name)
{
    for (const char *p = name; *p; p++) {
        if (*p <= 0x20 || *p > 0x7e)
            return VKM_GGUF_FAIL(r, VKMOE_BAD_FORMAT, "has a name that is not %s",
                                 "printable ASCII");
    }
    return *name ? VKMOE_OK
                 : VKM_GGUF_FAIL(r, VKMOE_BAD_FORMAT, "has an empty name, expected %s", "one");
}

static vkmoe_status read_shape(struct vkm_gguf_reader *r, struct vkm_gguf_tensor *t)
{
    uint64_t n = 0, elements = 1;
    vkmoe_status status = vkm_gguf_number(r, 4, &n);
    if (status == VKMOE_OK && n > VKM_GGUF_DIMS)
        return VKM_GGUF_FAIL(r, VKMOE_UNSUPPORTED,
                             "has %" PRIu64 " dimensions, expected at most %d", n, VKM_GGUF_DIMS);
    t->n_dims = (uint32_t)n;
    for (uint32_t i = 0; i < VKM_GGUF_DIMS && status == VKMOE_OK; i++) {
        t->shape[i] = 1;
        if (i < t->n_dims)
            status = vkm_gguf_number(r, 8, &t->shape[i]);
        if (status == VKMOE_OK && !vkm_mul_u64(elements, t->shape[i], &elements))
            return VKM_GGUF_FAIL(r, VKMOE_BAD_FORMAT,
                                 "has a shape whose product does not fit %d bits", 64);
    }
    return status;
}

static vkmoe_status read_format(struct vkm_gguf_reader *r, struct vkm_gguf_tensor *t)
{
    uint64_t number = 0;
    vkmoe_status status = vkm_gguf_number(r, 4, &number);
    if (status != VKMOE_OK)
        return status;
    t->format = number <= UINT32_MAX ? vkm_block_format_find((uint32_t)number) : NULL;
    if (!t->format) {
        const char *name = vkm_block_type_name((uint32_t)number);
        return VKM_GGUF_FAIL(r, VKMOE_UNSUPPORTED, "is of type %" PRIu64 "%s%s%s, expected %s",
                             number, *name ? " (" : "", name, *name ? ")" : "",
                             vkm_block_format_names);
    }
    if (t->shape[0] % t->format->elements != 0)
        return VKM_GGUF_FAIL(r, VKMOE_BAD_FORMAT,
                             "has rows of %" PRIu64 " elements, expected a multiple of %u for %s",
                             t->shape[0], t->format->elements, t->format->name);
    uint64_t size = t->shape[0] / t->format->elements;
    for (uint32_t i = 1; i < VKM_GGUF_DIMS; i++)
        size *= t->shape[i]; /* the product of all fits */
    if (!vkm_mul_u64(size, t->format->bytes, &t->size))
        return VKM_GGUF_FAIL(r, VKMOE_BAD_FORMAT, "has a size that does not fit %d bits", 64);
    return VKMOE_OK;
}

static vkmoe_status read_tensor(struct vkm_gguf_reader *r, struct vkm_gguf *g)
{
    struct vkm_gguf_tensor t = {0};
    size_t size;
    if (!VKM_ARRAY_RESERVE(g->allocator, &g->tensors, 1))
        return vkm_fail_memory(r->err, (g->tensors.count + 1) * sizeof(t), g->path);
    vkm_gguf_reading(r, "a tensor", NULL);
    vkmoe_status status = vkm_gguf_string(r, NAME_LIMIT, &t.name, &size);
    if (status != VKMOE_OK)
        return status;
    struct vkm_gguf_tensor *kept = &g->tensors.items[g->tensors.count++];
    *kept = t;
    vkm_gguf_reading(r, "tensor", t.name);
    status = check_name(r, t.name);
    if (status == VKMOE_OK)
        status = read_shape(r, kept);
    if (status == VKMOE_OK)
        status = read_format(r, kept);
    return status == VKMOE_OK ? vkm_gguf_number(r, 8, &kept->offset) : status;
}

/* Offsets count from the data's beginning until here. */
static vkmoe_status place_tensor(struct vkm_gguf_reader *r, struct vkm_gguf_tensor *t,
                                 uint64_t start, uint64_t alignment)
{
    uint64_t data = start <= r->file->size ? r->file->size - start : 0;
    vkm_gguf_reading(r, "tensor", t->name);
    if (t->offset % alignment != 0)
        return VKM_GGUF_FAIL(r, VKMOE_BAD_FORMAT,
                             "starts at byte %" PRIu64
                             " of the data, expected a multiple of %" PRIu64,
                             t->offset, alignment);
    if (t->offset > data || t->size > data - t->offset)
        return VKM_GGUF_FAIL(r, VKMOE_BAD_FORMAT,
                             "takes %" PRIu64 " bytes from byte %" PRIu64
                             " of the data on, expected a range within its %" PRIu64 " bytes",
                             t->size, t->offset, data);
    t->offset += start;
    return VKMOE_OK;
}

static int by_place(const void *left, const void *right)
{
    const struct vkm_gguf_tensor *a = left, *b = right;
    if (a->offset != b->offset)
        return a->offset < b->offset ? -1 : 1;
    return (a->size > b->size) - (a->size < b->size);
}

static int by_name(const void *left, const void *right)
{
    const struct vkm_gguf_tensor *a = left, *b = right;
    return strcmp(a->name, b->name);
}

static vkmoe_status check_overlaps(struct vkm_gguf_reader *r, struct vkm_gguf *g)
{
    struct vkm_gguf_tensor *t = g->tensors.items;
    for (size_t i = 1; i < g->tensors.count; i++) {
        vkm_gguf_reading(r, "tensor", t[i].name);
        if (t[i].offset - t[i - 1].offset < t[i - 1].size)
            return VKM_GGUF_FAIL(r, VKMOE_BAD_FORMAT,
                                 "starts at byte %" PRIu64 " of the file, within tensor \"%s\"",
                                 t[i].offset, t[i - 1].name);
    }
    return VKMOE_OK;
}

static vkmoe_status check_names(struct vkm_gguf_reader *r, struct vkm_gguf *g)
{
    const struct vkm_gguf_tensor *t = g->tensors.items;
    for (size_t i = 1; i < g->tensors.count; i++) {
        vkm_gguf_reading(r, "tensor", t[i].name);
        if (strcmp(t[i - 1].name, t[i].name) == 0)
            return VKM_GGUF_FAIL(r, VKMOE_BAD_FORMAT, "comes twice, expected each tensor %s",
                                 "once");
    }
    return VKMOE_OK;
}

static vkmoe_status place_tensors(struct vkm_gguf_reader *r, struct vkm_gguf *g)
{
    const struct vkm_json_source source = {g->metadata, g->path, r->err};
    int64_t alignment = DEFAULT_ALIGNMENT;
    vkmoe_status status =
        vkm_json_get_integer(&source, "general.alignment", 1, INT32_MAX, &alignment);
    uint64_t start = vkm_align_up(r->at, (uint64_t)alignment);
    size_t n = g->tensors.count;
    for (size_t i = 0; i < n && status == VKMOE_OK; i++)
        status = place_tensor(r, &g->tensors.items[i], start, (uint64_t)alignment);
    if (status != VKMOE_OK || n == 0)
        return status;
    qsort(g->tensors.items, n, sizeof(*g->tensors.items), by_place);
    status = check_overlaps(r, g);
    if (status != VKMOE_OK)
        return status;
    qsort(g->tensors.items, n, sizeof(*g->tensors.items), by_name);
    return check_names(r, g);
}

/* --- the file --- */

static vkmoe_status check_start(struct vkm_gguf_reader *r)
{
    uint64_t magic = 0, version = 0;
    char start[5] = "";
    char printable[VKM_PRINTABLE_SIZE];
    vkm_gguf_reading(r, "the beginning", NULL);
    vkmoe_status status = vkm_gguf_number(r, 4, &magic);
    for (int i = 0; i < 4; i++)
        start[i] = (char)(magic >> (8 * i) & 0xff);
    if (status == VKMOE_OK && memcmp(start, MAGIC, 4) != 0)
        return vkm_fail(r->err, VKMOE_BAD_FORMAT, "%s: begins with \"%s\", expected \"" MAGIC "\"",
                        r->file->path, vkm_printable(printable, start));
    if (status == VKMOE_OK)
        status = vkm_gguf_number(r, 4, &version);
    if (status == VKMOE_OK && version != 2 && version != 3)
        return vkm_fail(r->err, VKMOE_UNSUPPORTED,
                        "%s: is of GGUF version %" PRIu64 ", expected 2 or 3, little-endian",
                        r->file->path, version);
    return status;
}

/* The tensors of the other files would be missing. */
static vkmoe_status check_split(const struct vkm_gguf *g, vkmoe_error *err)
{
    const struct vkm_json_source source = {g->metadata, g->path, err};
    int64_t files = 1;
    vkmoe_status status = vkm_json_get_integer(&source, "split.count", 0, INT32_MAX, &files);
    if (status == VKMOE_OK && files > 1)
        return vkm_fail(err, VKMOE_UNSUPPORTED,
                        "%s: split.count is %" PRId64 ", expected a model in one file", g->path,
                        files);
    return status;
}

static vkmoe_status read_header(struct vkm_gguf_reader *r, struct vkm_gguf *g)
{
    uint64_t tensors = 0, entries = 0;
    vkmoe_status status = check_start(r);
    vkm_gguf_reading(r, "the list of tensors", NULL);
    if (status == VKMOE_OK)
        status = vkm_gguf_count(r, SMALLEST_TENSOR, &tensors);
    vkm_gguf_reading(r, "the metadata", NULL);
    if (status == VKMOE_OK)
        status = vkm_gguf_count(r, SMALLEST_ENTRY, &entries);
    if (status == VKMOE_OK && !(g->metadata = json_object()))
        status = vkm_fail_memory(r->err, sizeof(*g), g->path);
    if (status == VKMOE_OK)
        status = vkm_gguf_metadata(r, entries, g->metadata);
    if (status == VKMOE_OK)
        status = check_split(g, r->err);
    for (uint64_t i = 0; i < tensors && status == VKMOE_OK; i++)
        status = read_tensor(r, g);
    return status == VKMOE_OK ? place_tensors(r, g) : status;
}

vkmoe_status vkm_gguf_open(const vkmoe_allocator *a, const char *path, size_t longest_array,
                           struct vkm_gguf **out, vkmoe_error *err)
{
    struct vkm_gguf *g = vkm_calloc(a, 1, sizeof(*g));
    if (!g)
        return vkm_fail_memory(err, sizeof(*g), path);
    g->allocator = a;
    g->file.fd = -1;
    g->path = vkm_strdup(a, path);
    vkmoe_status status =
        g->path ? vkm_file_open(g->path, &g->file, err) : vkm_fail_memory(err, strlen(path), path);
    if (status == VKMOE_OK) {
        struct vkm_gguf_reader r = {
            .allocator = a, .file = &g->file, .err = err, .longest_array = longest_array};
        status = read_header(&r, g);
        vkm_gguf_reader_finish(&r);
    }
    if (status == VKMOE_OK)
        *out = g;
    else
        vkm_gguf_close(g);
    return status;
}

void vkm_gguf_close(struct vkm_gguf *g)
{
    if (!g)
        return;
    for (size_t i = 0; i < g->tensors.count; i++)
        vkm_free(g->allocator, g->tensors.items[i].name);
    vkm_free(g->allocator, g->tensors.items);
    json_decref(g->metadata);
    vkm_file_close(&g->file);
    vkm_free(g->allocator, g->path);
    vkm_free(g->allocator, g);
}

const struct vkm_gguf_tensor *vkm_gguf_find(const struct vkm_gguf *g, const char *name)
{
    struct vkm_gguf_tensor key = {.name = (char *)(uintptr_t)name};
    if (g->tensors.count == 0)
        return NULL;
    return bsearch(&key, g->tensors.items, g->tensors.count, sizeof(key), by_name);
}
