/* Reading a bundle and running what is in it. */
#include "conform/bundle.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "gpu/spirv.h"

#define SHADER_LIMIT (16u << 20)
#define VIEW_LIMIT (UINT64_C(1) << 30)

struct replay {
    const vkmoe_allocator *allocator;
    const char *folder;
    char *manifest; /* its path */
    json_t *root;
    struct vkm_json_source source, pipeline; /* of the manifest, and of its `pipeline` */

    struct vkm_kernel kernel;
    struct vkm_variant variant;
    struct vkm_kernel_set set;
    struct vkm_field fields[VKM_MAX_FIELDS];
    const json_t *entries[VKM_MAX_FIELDS]; /* of the manifest */
    uint32_t *code;
    struct vkm_op op;
    bool indirect;
    const char *case_name;

    struct vkm_suite suite;
    struct vkm_stream stream;
    struct vkm_outputs want, magnitude;
    vkmoe_error *err;
};

/* The params struct of the kernel gives each field the room of a view. */
#define FIELD_BYTES sizeof(struct vkm_view)

static struct vkm_view *view_of(struct replay *r, uint32_t field)
{
    return (struct vkm_view *)(void *)(r->stream.params.items + r->fields[field].offset);
}

/* --- the manifest --- */

/* A string that must be there. */
static vkmoe_status get_text(const struct vkm_json_source *s, const char *key, const char **text)
{
    *text = NULL;
    vkmoe_status status = vkm_json_get_string(s, key, text);
    if (status == VKMOE_OK && !*text)
        status = vkm_json_mismatch(s->err, VKMOE_BAD_FORMAT, s->file, key, NULL, "a string");
    return status;
}

/* The place of a string among some words. */
static vkmoe_status get_word(const struct vkm_json_source *s, const char *key,
                             const char *const *words, uint32_t n, uint32_t *index)
{
    const char *text;
    vkmoe_status status = get_text(s, key, &text);
    for (*index = 0; status == VKMOE_OK && *index < n; ++*index) {
        if (strcmp(words[*index], text) == 0)
            return VKMOE_OK;
    }
    char expected[256] = "one of";
    for (uint32_t i = 0; i < n; i++) {
        size_t at = strlen(expected);
        snprintf(expected + at, sizeof(expected) - at, "%s \"%s\"", i ? "," : "", words[i]);
    }
    return status != VKMOE_OK ? status
                              : vkm_json_mismatch(s->err, VKMOE_BAD_FORMAT, s->file, key,
                                                  vkm_json_get(s, key), expected);
}

static vkmoe_status get_uint(const struct vkm_json_source *s, const char *key, uint32_t *value)
{
    int64_t number = 0;
    vkmoe_status status = vkm_json_get_integer(s, key, 0, UINT32_MAX, &number);
    *value = (uint32_t)number;
    return status;
}

/* One that must be there. */
static vkmoe_status need_uint(const struct vkm_json_source *s, const char *key, uint32_t *value)
{
    if (!vkm_json_get(s, key))
        return vkm_json_mismatch(s->err, VKMOE_BAD_FORMAT, s->file, key, NULL, "an integer");
    return get_uint(s, key, value);
}

/* One that follows from what else the manifest says. */
static vkmoe_status check_uint(const struct vkm_json_source *s, const char *key, uint32_t expected)
{
    char text[16];
    uint32_t value = 0;
    vkmoe_status status = need_uint(s, key, &value);
    snprintf(text, sizeof(text), "%u", expected);
    if (status == VKMOE_OK && value != expected)
        status =
            vkm_json_mismatch(s->err, VKMOE_BAD_FORMAT, s->file, key, vkm_json_get(s, key), text);
    return status;
}

static vkmoe_status read_field(struct replay *r, uint32_t i)
{
    static const char *const kinds[] = VKM_BUNDLE_KINDS;
    struct vkm_json_source s = {r->entries[i], r->manifest, r->err};
    const char *name;
    uint32_t kind;
    vkmoe_status status = get_text(&s, "name", &name);
    if (status == VKMOE_OK)
        status = get_word(&s, "kind", kinds, (uint32_t)VKM_COUNT(kinds), &kind);
    if (status == VKMOE_OK)
        status = check_uint(&s, "push_offset", r->kernel.push_size);
    if (status != VKMOE_OK)
        return status;
    r->fields[i] = (struct vkm_field){name, (enum vkm_field_kind)kind, (uint32_t)(i * FIELD_BYTES)};
    r->kernel.push_size += vkm_field_is_view(r->fields[i].kind) ? 8 : 4;
    return VKMOE_OK;
}

static vkmoe_status read_fields(struct replay *r)
{
    const json_t *fields = vkm_json_get(&r->source, "fields");
    size_t n = json_array_size(fields);
    vkmoe_status status = VKMOE_OK;
    if (n == 0 || n > VKM_MAX_FIELDS)
        return vkm_json_mismatch(r->err, VKMOE_BAD_FORMAT, r->manifest, "fields", fields,
                                 "a list of 1 to 24");
    for (uint32_t i = 0; i < n && status == VKMOE_OK; i++) {
        r->entries[i] = json_array_get(fields, i);
        status = read_field(r, i);
    }
    if (status == VKMOE_OK && r->kernel.push_size > VKM_MAX_PUSH)
        status = vkm_fail(r->err, VKMOE_BAD_FORMAT,
                          "%s: fields take %u bytes of push constants, expected at most %u",
                          r->manifest, r->kernel.push_size, VKM_MAX_PUSH);
    r->kernel.fields = r->fields;
    r->kernel.n_fields = (uint32_t)n;
    r->kernel.params_size = (uint32_t)(n * FIELD_BYTES);
    return status;
}

static vkmoe_status read_pipeline(struct replay *r)
{
    int64_t spec[VKM_MAX_SPEC] = {0}, groups[3] = {0};
    uint32_t n_groups = 0;
    struct vkm_json_source *p = &r->pipeline;
    *p = (struct vkm_json_source){vkm_json_get(&r->source, "pipeline"), r->manifest, r->err};
    if (!json_is_object(p->object))
        return vkm_json_mismatch(r->err, VKMOE_BAD_FORMAT, r->manifest, "pipeline", p->object,
                                 "an object");
    vkmoe_status status = vkm_json_get_integers(p, "specialisation", 0, UINT32_MAX, VKM_MAX_SPEC,
                                                spec, &r->kernel.n_spec);
    if (status == VKMOE_OK)
        status = vkm_json_get_integers(p, "groups", 1, UINT32_MAX, 3, groups, &n_groups);
    if (status == VKMOE_OK)
        status = get_uint(p, "subgroup_size", &r->op.subgroup_size);
    if (status == VKMOE_OK)
        status = vkm_json_get_bool(p, "indirect", &r->indirect);
    if (status != VKMOE_OK)
        return status;
    if (n_groups != 3 || r->kernel.n_spec == 0)
        return vkm_fail(r->err, VKMOE_BAD_FORMAT,
                        "%s: found %u groups and %u specialisation constants, expected 3 groups "
                        "and at least one constant",
                        r->manifest, n_groups, r->kernel.n_spec);
    for (uint32_t i = 0; i < VKM_MAX_SPEC; i++)
        r->op.spec[i] = (uint32_t)spec[i];
    for (uint32_t i = 0; i < 3; i++)
        r->op.groups[i] = (uint32_t)groups[i];
    return VKMOE_OK;
}

/* The storage type of the weights; VKM_DTYPE_COUNT for "-". */
static vkmoe_status read_weights(struct replay *r, uint32_t *dtype)
{
    const char *names[VKM_DTYPE_COUNT + 1] = {[VKM_DTYPE_COUNT] = "-"};
    for (uint32_t i = 0; i < VKM_DTYPE_COUNT; i++)
        names[i] = vkm_dtype_name((enum vkm_dtype)i);
    return get_word(&r->source, "weights", names, VKM_DTYPE_COUNT + 1, dtype);
}

static vkmoe_status read_manifest(struct replay *r)
{
    static const char *const metrics[] = VKM_BUNDLE_METRICS;
    static const char *const formats[] = {VKM_BUNDLE_FORMAT};
    static const char *const paths[] = {
#define PATH(name, text, ...) text,
#include "gpu/paths.def"
#undef PATH
    };
    uint32_t metric, format, path, dtype;
    vkmoe_status status =
        vkm_json_load(r->allocator, r->manifest, VKM_BUNDLE_JSON_LIMIT, &r->root, r->err);
    r->source = (struct vkm_json_source){r->root, r->manifest, r->err};
    if (status == VKMOE_OK)
        status = get_word(&r->source, "format", formats, 1, &format);
    if (status == VKMOE_OK)
        status = get_word(&r->source, "metric", metrics, (uint32_t)VKM_COUNT(metrics), &metric);
    if (status == VKMOE_OK)
        status = get_word(&r->source, "path", paths, VKM_PATH_COUNT, &path);
    if (status == VKMOE_OK)
        status = get_text(&r->source, "kernel", &r->kernel.name);
    if (status == VKMOE_OK)
        status = read_weights(r, &dtype);
    if (status == VKMOE_OK)
        status = get_text(&r->source, "case", &r->case_name);
    if (status == VKMOE_OK)
        status = read_fields(r);
    if (status == VKMOE_OK)
        status = read_pipeline(r);
    if (status != VKMOE_OK)
        return status;
    r->kernel.metric = (enum vkm_metric)metric;
    r->variant.dtype = (enum vkm_dtype)dtype;
    r->variant.path = (enum vkm_path)path;
    r->kernel.has_dtype = r->variant.dtype < VKM_DTYPE_COUNT;
    return VKMOE_OK;
}

/* --- files of the folder --- */

/* A path for the name under a key; the name must not lead out of the folder. */
static vkmoe_status file_path(const struct replay *r, const struct vkm_json_source *s,
                              const char *key, char **path)
{
    const char *name;
    vkmoe_status status = get_text(s, key, &name);
    if (status != VKMOE_OK)
        return status;
    if (strchr(name, '/'))
        return vkm_json_mismatch(s->err, VKMOE_BAD_FORMAT, s->file, key, vkm_json_get(s, key),
                                 "the name of a file in the same folder");
    *path = vkm_format(r->allocator, "%s/%s", r->folder, name);
    return *path ? VKMOE_OK : vkm_fail_memory(r->err, strlen(name), "the name of a file");
}

/* Whether words begin as SPIR-V does and can be walked to the end: drivers crash on less. */
static bool is_module(const uint32_t *words, size_t size)
{
    enum { HEADER_WORDS = 5 };
    const uint32_t magic = 0x07230203;
    size_t n = size / 4, at = HEADER_WORDS;
    if (size % 4 != 0 || n <= HEADER_WORDS || words[0] != magic)
        return false;
    while (at < n && words[at] >> 16 > 0)
        at += words[at] >> 16;
    return at == n;
}

static vkmoe_status read_shader(struct replay *r)
{
    char *path, *data = NULL;
    size_t size = 0;
    vkmoe_status status = file_path(r, &r->pipeline, "spirv", &path);
    if (status != VKMOE_OK)
        return status;
    status = vkm_file_read(r->allocator, path, SHADER_LIMIT, &data, &size, r->err);
    r->code = (uint32_t *)(void *)data;
    if (status == VKMOE_OK && !is_module(r->code, size))
        status = vkm_fail(r->err, VKMOE_BAD_FORMAT,
                          "%s, of %zu bytes, is not a whole SPIR-V module: expected its magic "
                          "number and instructions up to its end",
                          path, size);
    vkm_free(r->allocator, path);
    r->variant.code = r->code;
    r->variant.code_size = size;
    return status;
}

/* Reads a file of exactly `size` bytes. */
static vkmoe_status read_exactly(struct replay *r, const json_t *entry, const char *key, void *to,
                                 uint64_t size)
{
    struct vkm_json_source s = {entry, r->manifest, r->err};
    struct vkm_file file = {.fd = -1};
    char *path;
    vkmoe_status status = file_path(r, &s, key, &path);
    if (status != VKMOE_OK)
        return status;
    status = vkm_file_open(path, &file, r->err);
    if (status == VKMOE_OK && file.size != size)
        status = vkm_fail(r->err, VKMOE_BAD_FORMAT, "%s has %llu bytes, expected %llu", path,
                          (unsigned long long)file.size, (unsigned long long)size);
    if (status == VKMOE_OK)
        status = vkm_file_read_at(&file, 0, to, (size_t)size, r->err);
    vkm_file_close(&file);
    vkm_free(r->allocator, path);
    return status;
}

/* --- memory --- */

static vkmoe_status view_bytes(const struct replay *r, uint32_t i, uint64_t *bytes)
{
    struct vkm_json_source s = {r->entries[i], r->manifest, r->err};
    int64_t n = 0;
    vkmoe_status status = vkm_json_get_integer(&s, "bytes", 0, (int64_t)VIEW_LIMIT, &n);
    *bytes = (uint64_t)n;
    return status;
}

static vkmoe_status read_output(struct replay *r, uint32_t i, const char *key,
                                struct vkm_outputs *out)
{
    const struct vkm_view *view = view_of(r, i);
    void *data = vkm_malloc(r->allocator, view->size, 1);
    if (!data)
        return vkm_fail_memory(r->err, view->size, "an output of the bundle");
    out->items[out->count].view = *view;
    out->items[out->count].field = &r->fields[i];
    out->items[out->count++].data = data;
    return read_exactly(r, r->entries[i], key, data, view->size);
}

/* Where it is said how a field is compared, that is what follows from its kind. */
static vkmoe_status check_compare(const struct replay *r, uint32_t i)
{
    static const char *const words[] = {"floats", "words"};
    struct vkm_json_source s = {r->entries[i], r->manifest, r->err};
    uint32_t word;
    return vkm_json_get(&s, "compare")
               ? get_word(&s, "compare",
                          &words[vkm_compares_words(&r->fields[i], r->variant.dtype)], 1, &word)
               : VKMOE_OK;
}

/* A view in the arena with guards around it, as it was when the case was exported. */
static vkmoe_status fill_view(struct replay *r, uint32_t i)
{
    uint64_t bytes;
    vkmoe_status status = view_bytes(r, i, &bytes);
    if (status != VKMOE_OK || !json_object_get(r->entries[i], "before"))
        return status;
    bool table = r->fields[i].kind == VKM_FIELD_TABLE;
    struct vkm_arena *arena = table ? &r->suite.tables : &r->suite.views;
    struct vkm_view view = vkm_case_alloc_in(&r->suite, arena, bytes);
    *view_of(r, i) = view;
    status = read_exactly(r, r->entries[i], "before", vkm_case_host(view), bytes);
    if (status == VKMOE_OK && vkm_field_writes(r->fields[i].kind))
        status = check_compare(r, i);
    if (status == VKMOE_OK && vkm_field_writes(r->fields[i].kind))
        status = read_output(r, i, "expected", &r->want);
    if (status == VKMOE_OK && vkm_field_writes(r->fields[i].kind) &&
        r->kernel.metric == VKM_METRIC_PRODUCT)
        status = read_output(r, i, "magnitude", &r->magnitude);
    return status;
}

static vkmoe_status fill_field(struct replay *r, uint32_t i)
{
    struct vkm_json_source s = {r->entries[i], r->manifest, r->err};
    uint32_t bits = 0;
    if (vkm_field_is_view(r->fields[i].kind))
        return fill_view(r, i);
    vkmoe_status status = need_uint(&s, "bits", &bits);
    if (status == VKMOE_OK)
        memcpy(r->stream.params.items + r->fields[i].offset, &bits, sizeof(bits));
    return status;
}

/* Turns the offsets in a view of addresses into addresses of the table that they lie in. */
static vkmoe_status relocate(struct replay *r, uint32_t i)
{
    struct vkm_json_source s = {r->entries[i], r->manifest, r->err};
    const char *name = NULL;
    vkmoe_status status = vkm_json_get_string(&s, "addresses_in", &name);
    if (status != VKMOE_OK || !name || !view_of(r, i)->buffer)
        return status;
    uint32_t t = 0;
    while (t < r->kernel.n_fields && strcmp(r->fields[t].name, name) != 0)
        t++;
    if (t == r->kernel.n_fields || r->fields[t].kind != VKM_FIELD_TABLE || !view_of(r, t)->buffer)
        return vkm_json_mismatch(r->err, VKMOE_BAD_FORMAT, r->manifest, "addresses_in",
                                 json_object_get(r->entries[i], "addresses_in"),
                                 "the name of a table");
    const struct vkm_view *table = view_of(r, t);
    unsigned char *words = vkm_case_host(*view_of(r, i));
    for (uint64_t at = 0; at + 8 <= view_of(r, i)->size; at += 8) {
        uint64_t word;
        memcpy(&word, words + at, 8);
        if (word >= table->size)
            return vkm_fail(r->err, VKMOE_BAD_FORMAT,
                            "%s: %s has an offset of %llu, expected one below the %llu bytes of %s",
                            r->manifest, r->fields[i].name, (unsigned long long)word,
                            (unsigned long long)table->size, name);
        word += table->buffer->address + table->offset;
        memcpy(words + at, &word, 8);
    }
    return VKMOE_OK;
}

static vkmoe_status make_stream(struct replay *r)
{
    size_t size = r->kernel.params_size;
    vkm_stream_init(&r->stream, &r->set, r->allocator);
    r->stream.ops.items = vkm_calloc(r->allocator, 1, sizeof(struct vkm_op));
    r->stream.params.items = vkm_calloc(r->allocator, size, 1);
    if (!r->stream.ops.items || !r->stream.params.items)
        return vkm_fail_memory(r->err, size, "a stream of one operation");
    r->stream.ops.count = r->stream.ops.capacity = 1;
    r->stream.params.count = r->stream.params.capacity = size;
    if (r->indirect) {
        r->op.indirect = vkm_case_alloc(&r->suite, sizeof(r->op.groups));
        memcpy(vkm_case_host(r->op.indirect), r->op.groups, sizeof(r->op.groups));
    }
    r->stream.ops.items[0] = r->op;
    return VKMOE_OK;
}

/* The file of push constants is for others: it has to say what the fields do. */
static vkmoe_status check_push(struct replay *r)
{
    unsigned char push[VKM_MAX_PUSH];
    uint32_t at = 0;
    vkmoe_status status = check_uint(&r->pipeline, "push_constant_bytes", r->kernel.push_size);
    if (status == VKMOE_OK)
        status = read_exactly(r, r->pipeline.object, "push_constants", push, r->kernel.push_size);
    for (uint32_t i = 0; i < r->kernel.n_fields && status == VKMOE_OK; i++) {
        static const unsigned char zeros[8];
        bool view = vkm_field_is_view(r->fields[i].kind);
        const unsigned char *expected = view ? zeros : r->stream.params.items + r->fields[i].offset;
        if (memcmp(push + at, expected, view ? 8 : 4) != 0)
            status = vkm_fail(r->err, VKMOE_BAD_FORMAT,
                              "%s: the file of push constants differs from the field %s at byte "
                              "%u, expected %s",
                              r->manifest, r->fields[i].name, at,
                              view ? "zeros, as for every address" : "its bits");
        at += view ? 8 : 4;
    }
    return status;
}

static vkmoe_status fill_memory(struct replay *r)
{
    const uint64_t guards = 1024; /* around each view */
    uint64_t total = guards, bytes;
    vkmoe_status status = VKMOE_OK;
    for (uint32_t i = 0; i < r->kernel.n_fields && status == VKMOE_OK; i++) {
        status = view_bytes(r, i, &bytes);
        total += bytes + guards;
    }
    if (status == VKMOE_OK)
        status = vkm_suite_begin(&r->suite, vkm_align_up(total, 256), false, r->err);
    if (status == VKMOE_OK)
        status = make_stream(r);
    for (uint32_t i = 0; i < r->kernel.n_fields && status == VKMOE_OK; i++)
        status = fill_field(r, i);
    if (status == VKMOE_OK)
        status = check_push(r);
    for (uint32_t i = 0; i < r->kernel.n_fields && status == VKMOE_OK; i++)
        status = vkm_field_is_view(r->fields[i].kind) ? relocate(r, i) : VKMOE_OK;
    return status;
}

/* --- running --- */

/* "8, 16, 32", or "none". */
static void subgroup_sizes(const vkmoe_device_info *info, char *text, size_t size)
{
    size_t at = 0;
    for (uint32_t n = 1; n != 0; n *= 2)
        if ((info->subgroup_sizes & n) && at < size)
            at += (size_t)snprintf(text + at, size - at, "%s%u", at ? ", " : "", n);
    if (at == 0)
        snprintf(text, size, "none");
}

/* What the recorder would have checked. */
static vkmoe_status check_device(const struct replay *r)
{
    const struct vkm_caps *caps = vkm_gpu_caps(r->suite.gpu);
    const vkmoe_device_info *info = vkm_gpu_info(r->suite.gpu);
    char sizes[128], capability[64];
    if (vkm_gpu_is_reference(r->suite.gpu))
        return vkm_fail(r->err, VKMOE_UNSUPPORTED,
                        "the reference runs no SPIR-V: %s needs a Vulkan device", r->manifest);
    if (vkm_gpu_lacks(r->suite.gpu, r->code, r->variant.code_size, capability))
        return vkm_fail(r->err, VKMOE_UNSUPPORTED,
                        "the module of %s declares the capability %s, which %s lacks", r->manifest,
                        capability, info->name);
    subgroup_sizes(info, sizes, sizeof(sizes));
    if (r->op.subgroup_size > 0 && !(info->subgroup_sizes & r->op.subgroup_size))
        return vkm_fail(r->err, VKMOE_UNSUPPORTED,
                        "%s asks for subgroups of %u; sizes that %s can be asked for: %s",
                        r->manifest, r->op.subgroup_size, info->name, sizes);
    if (r->variant.path == VKM_PATH_COOPMAT && r->op.spec[4] != caps->matrix)
        return vkm_fail(r->err, VKMOE_UNSUPPORTED,
                        "%s multiplies matrices of %u by %u by %u; those of %s are %u by %u by %u",
                        r->manifest, vkm_matrix_rows(r->op.spec[4]), vkm_matrix_cols(r->op.spec[4]),
                        vkm_matrix_k(r->op.spec[4]), info->name, vkm_matrix_rows(caps->matrix),
                        vkm_matrix_cols(caps->matrix), vkm_matrix_k(caps->matrix));
    bool fits = r->op.spec[0] > 0 && r->op.spec[0] <= caps->max_invocations;
    for (int i = 0; i < 3; i++)
        fits = fits && r->op.groups[i] <= caps->max_groups[i];
    return fits
               ? VKMOE_OK
               : vkm_fail(r->err, VKMOE_UNSUPPORTED,
                          "%s: workgroups of %u, %u x %u x %u of them, are beyond the limits of %s",
                          r->manifest, r->op.spec[0], r->op.groups[0], r->op.groups[1],
                          r->op.groups[2], info->name);
}

static void run(struct replay *r)
{
    struct vkm_suite *s = &r->suite;
    struct vkm_lockstep outcome = {0};
    struct vkm_case_known known = {&r->want, &r->magnitude};
    char sentence[512] = "";
    vkm_case_run_stream(s, &r->stream, &known, &outcome, sentence, sizeof(sentence));
    if (s->error.status == VKMOE_OK)
        vkm_case_report(s, sentence, &outcome, NULL);
}

static void finish(struct replay *r)
{
    vkm_outputs_drop(&r->want, &r->stream);
    vkm_outputs_drop(&r->magnitude, &r->stream);
    vkm_free(r->allocator, r->stream.ops.items);
    vkm_free(r->allocator, r->stream.params.items);
    if (r->suite.gpu) {
        vkm_suite_finish(&r->suite);
        vkm_gpu_close(r->suite.gpu);
    }
    vkm_free(r->allocator, r->code);
    vkm_free(r->allocator, r->manifest);
    json_decref(r->root);
}

vkmoe_status vkm_bundle_replay(const struct vkm_gpu_params *device, const char *folder,
                               const struct vkm_conform_params *params, vkmoe_error *err)
{
    struct replay r = {.allocator = device->allocator, .folder = folder, .err = err};
    struct vkm_gpu_params open = *device;
    open.host_visible = true;
    open.check_addresses = false; /* the module in the folder checks none */
    r.kernel.variants = &r.variant;
    r.kernel.n_variants = 1;
    r.set = (struct vkm_kernel_set){&r.kernel, 1};
    r.manifest = vkm_format(r.allocator, "%s/%s", folder, VKM_BUNDLE_MANIFEST);
    vkmoe_status status =
        r.manifest ? read_manifest(&r) : vkm_fail_memory(err, strlen(folder), "a bundle");
    if (status == VKMOE_OK)
        status = read_shader(&r);
    if (status == VKMOE_OK)
        status = vkm_gpu_open(&open, &r.set, &r.suite.gpu, err);
    r.suite.params = params;
    r.suite.variant.variant = &r.variant;
    r.suite.variant.subgroup_size = r.op.subgroup_size;
    if (status == VKMOE_OK) {
        if (params->on_device)
            params->on_device(params->user, vkm_gpu_info(r.suite.gpu));
        snprintf(r.suite.name, sizeof(r.suite.name), "%s", r.case_name);
        status = check_device(&r);
    }
    if (status == VKMOE_OK)
        status = fill_memory(&r);
    if (status == VKMOE_OK) {
        run(&r);
        status = r.suite.error.status;
        if (status != VKMOE_OK && err)
            *err = r.suite.error;
    }
    finish(&r);
    return status;
}
