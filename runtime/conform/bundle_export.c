/* Writing a case that failed to a folder. */
#include "conform/bundle.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "gpu/spirv.h"
#include "vkmoe/version.h"

struct bundle {
    struct vkm_suite *suite;
    const struct vkm_stream *stream;
    const struct vkm_op *op;
    const struct vkm_kernel *kernel;
    const unsigned char *params;
    const char *folder;
    bool ran;                        /* the dispatch, to its end */
    unsigned char *got, *tables_got; /* the arenas as the kernel left them */
    struct vkm_outputs want, magnitude;
    uint32_t *code; /* as the driver was given it */
    size_t code_size;
    const char *features[VKM_SPIRV_FEATURES + 2]; /* that a device needs for it */
    uint32_t n_features;
    json_t *fields;
    vkmoe_error error; /* sticks */
};

/* --- files --- */

static void write_file(struct bundle *b, const char *name, const void *data, size_t size)
{
    const vkmoe_allocator *a = b->stream->allocator;
    struct vkm_writer *writer;
    char *path = vkm_format(a, "%s/%s", b->folder, name);
    if (b->error.status == VKMOE_OK && !path)
        vkm_fail_memory(&b->error, strlen(name), "the name of a file");
    if (b->error.status == VKMOE_OK && vkm_writer_open(a, path, &writer, &b->error) == VKMOE_OK) {
        vkm_writer_write(writer, data, size);
        (void)vkm_writer_commit(writer, &b->error);
    }
    vkm_free(a, path);
}

/* Writes FIELD.WHAT.bin and notes its name under `what`. */
static void write_view(struct bundle *b, json_t *view, const char *field, const char *what,
                       const void *data, size_t size)
{
    char name[128];
    snprintf(name, sizeof(name), "%s.%s.bin", field, what);
    write_file(b, name, data, size);
    json_object_set_new(view, what, json_string(name));
}

static void write_json(struct bundle *b, const json_t *root)
{
    char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
    if (!text && b->error.status == VKMOE_OK)
        vkm_fail_memory(&b->error, sizeof(*b), VKM_BUNDLE_MANIFEST);
    if (text)
        write_file(b, VKM_BUNDLE_MANIFEST, text, strlen(text));
    free(text);
}

/* --- views --- */

static bool is_table(const struct bundle *b, const struct vkm_view *view)
{
    return view->buffer == b->suite->tables.buffer;
}

static const unsigned char *before(const struct bundle *b, const struct vkm_view *view)
{
    return (is_table(b, view) ? b->suite->tables_before : b->suite->pristine) + view->offset;
}

static const unsigned char *after(const struct bundle *b, const struct vkm_view *view)
{
    return (is_table(b, view) ? b->tables_got : b->got) + view->offset;
}

/* The view that is read through addresses in another, if the kernel has one. */
static const struct vkm_field *find_table(const struct bundle *b)
{
    for (uint32_t i = 0; i < b->kernel->n_fields; i++) {
        const struct vkm_field *field = &b->kernel->fields[i];
        if (field->kind == VKM_FIELD_TABLE && vkm_params_view(b->params, field)->buffer)
            return field;
    }
    return NULL;
}

/* If all that a view holds are addresses inside the table, turns them into offsets there. */
static bool relocate(uint64_t *words, size_t n, const struct vkm_view *table)
{
    uint64_t begin = table->buffer->address + table->offset;
    for (size_t i = 0; i < n; i++) {
        if (words[i] < begin || words[i] - begin >= table->size)
            return false;
    }
    for (size_t i = 0; i < n; i++)
        words[i] -= begin;
    return n > 0;
}

static void add_input(struct bundle *b, json_t *out, const struct vkm_field *field,
                      const struct vkm_view *view)
{
    const vkmoe_allocator *a = b->stream->allocator;
    const struct vkm_field *table = find_table(b);
    void *data = vkm_malloc(a, view->size, 1);
    if (!data) {
        vkm_fail_memory(&b->error, view->size, "an input of the bundle");
        return;
    }
    memcpy(data, before(b, view), view->size);
    if (table && table != field && view->size % 8 == 0 &&
        relocate(data, view->size / 8, vkm_params_view(b->params, table)))
        json_object_set_new(out, "addresses_in", json_string(table->name));
    write_view(b, out, field->name, "before", data, view->size);
    bool changed = b->ran && memcmp(before(b, view), after(b, view), view->size) != 0;
    if (changed && !vkm_field_writes(field->kind))
        write_view(b, out, field->name, "got", after(b, view), view->size);
    vkm_free(a, data);
}

static void add_outputs(struct bundle *b, json_t *out, const struct vkm_field *field)
{
    for (uint32_t i = 0; i < b->want.count; i++) {
        if (b->want.items[i].field != field)
            continue;
        const struct vkm_view *view = &b->want.items[i].view;
        bool words = vkm_compares_words(field, b->suite->variant.variant->dtype);
        json_object_set_new(out, "compare", json_string(words ? "words" : "floats"));
        write_view(b, out, field->name, "expected", b->want.items[i].data, view->size);
        if (b->ran)
            write_view(b, out, field->name, "got", after(b, view), view->size);
        if (b->magnitude.count > 0)
            write_view(b, out, field->name, "magnitude", b->magnitude.items[i].data, view->size);
    }
}

static const char *kind_name(enum vkm_field_kind kind)
{
    static const char *const names[] = VKM_BUNDLE_KINDS;
    return names[kind];
}

/* Adds the field's bytes to the push constants, zero for a view, and returns how many. */
static uint32_t add_field(struct bundle *b, const struct vkm_field *field, unsigned char *push,
                          uint32_t at)
{
    json_t *out = json_pack("{s:s, s:s, s:i}", "name", field->name, "kind", kind_name(field->kind),
                            "push_offset", (int)at);
    const struct vkm_view *view = vkm_params_view(b->params, field);
    uint32_t word = 0;
    if (!vkm_field_is_view(field->kind)) {
        memcpy(&word, b->params + field->offset, sizeof(word));
        memcpy(push + at, &word, sizeof(word));
        json_object_set_new(out, "bits", json_integer(word));
        if (field->kind == VKM_FIELD_FLOAT)
            json_object_set_new(out, "value", json_real((double)vkm_bits_f32(word)));
    } else if (view->buffer) {
        json_object_set_new(out, "bytes", json_integer((json_int_t)view->size));
        add_input(b, out, field, view);
        add_outputs(b, out, field);
    }
    json_array_append_new(b->fields, out);
    return vkm_field_is_view(field->kind) ? 8 : 4;
}

/* --- the manifest --- */

static json_t *device_json(const struct vkm_suite *s)
{
    const vkmoe_device_info *d = vkm_gpu_info(s->gpu);
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I}", "name", d->name, "driver", d->driver, "uuid",
                     d->uuid, "driver_id", (json_int_t)d->driver_id, "driver_version",
                     (json_int_t)d->driver_version, "api_version", (json_int_t)d->api_version);
}

static json_t *pipeline_json(const struct bundle *b, const uint32_t groups[3], uint32_t push_size)
{
    json_t *spec = json_array(), *features = json_array();
    for (uint32_t i = 0; i < b->kernel->n_spec; i++)
        json_array_append_new(spec, json_integer(b->op->spec[i]));
    for (uint32_t i = 0; i < b->n_features; i++)
        json_array_append_new(features, json_string(b->features[i]));
    return json_pack("{s:s, s:o, s:s, s:o, s:i, s:b, s:i, s:s, s:[III], s:b}", "spirv",
                     "kernel.spv", "features", features, "entry_point", "main", "specialisation",
                     spec, "subgroup_size", (int)b->op->subgroup_size, "full_subgroups",
                     b->op->subgroup_size > 0, "push_constant_bytes", (int)push_size,
                     "push_constants", "push_constants.bin", "groups", (json_int_t)groups[0],
                     (json_int_t)groups[1], (json_int_t)groups[2], "indirect",
                     b->op->indirect.buffer != NULL);
}

static void write_manifest(struct bundle *b, const char *sentence)
{
    static const char *const metrics[] = VKM_BUNDLE_METRICS;
    struct vkm_suite *s = b->suite;
    unsigned char push[VKM_MAX_PUSH + 8] = {0};
    uint32_t at = 0, groups[3];
    memcpy(groups, b->op->groups, sizeof(groups));
    if (b->op->indirect.buffer)
        memcpy(groups, before(b, &b->op->indirect), sizeof(groups));
    for (uint32_t i = 0; i < b->kernel->n_fields; i++)
        at += add_field(b, &b->kernel->fields[i], push, at);
    write_file(b, "push_constants.bin", push, at);
    json_t *root =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:s, s:s, s:o, s:o, s:O}", "format",
                  VKM_BUNDLE_FORMAT, "vkmoe", VKMOE_VERSION, "kernel", b->kernel->name, "weights",
                  vkm_variant_dtype_name(s->variant.variant), "path", vkm_path_name(s->path),
                  "case", s->name, "seed", (json_int_t)s->params->seed, "failure", sentence,
                  "metric", metrics[vkm_kernel_metric(b->kernel, s->variant.variant)], "device",
                  device_json(s), "pipeline", pipeline_json(b, groups, at), "fields", b->fields);
    write_json(b, root);
    json_decref(root);
}

/* The module that checks no addresses: the record that the other one reads stays behind. */
static void write_shader(struct bundle *b)
{
    struct vkm_variant plain = *b->suite->variant.variant;
    plain.debug_code = plain.code;
    plain.debug_code_size = plain.code_size;
    if (vkm_gpu_shader(b->suite->gpu, &plain, &b->code, &b->code_size, &b->error) != VKMOE_OK)
        return;
    write_file(b, "kernel.spv", b->code, b->code_size);
    b->n_features = vkm_spirv_features(b->code, b->code_size, b->features);
    if (b->op->subgroup_size > 0) {
        b->features[b->n_features++] = "subgroupSizeControl";
        b->features[b->n_features++] = "computeFullSubgroups";
    }
}

static void write_readme(struct bundle *b, const char *sentence)
{
    const struct vkm_suite *s = b->suite;
    const vkmoe_device_info *d = vkm_gpu_info(s->gpu);
    uint32_t size = s->variant.subgroup_size;
    char features[512] = "";
    for (uint32_t i = 0, at = 0; i < b->n_features; i++)
        at += (uint32_t)snprintf(features + at, sizeof(features) - at, "%s`%s`", i ? ", " : "",
                                 b->features[i]);
    char *text = vkm_format(b->stream->allocator,
                            "# One compute dispatch\n\n"
                            "- kernel: `%s`, weights %s, path %s%s%.0u\n- case: `%s`, seed %llu\n"
                            "- device: %s\n- driver: %s\n- what is wrong: %s\n"
                            "- features that a device needs for it: %s\n%s",
                            b->kernel->name, vkm_variant_dtype_name(s->variant.variant),
                            vkm_path_name(s->path), size ? ", subgroups of " : "", size, s->name,
                            (unsigned long long)s->params->seed, d->name, d->driver, sentence,
                            features, vkm_bundle_readme);
    if (text)
        write_file(b, "README.md", text, strlen(text));
    else
        vkm_fail_memory(&b->error, strlen(vkm_bundle_readme), "the README of a bundle");
    vkm_free(b->stream->allocator, text);
}

/* --- the folder --- */

vkmoe_status vkm_bundle_folder(const char *path, vkmoe_error *err)
{
    struct stat there;
    if (mkdir(path, 0777) == 0)
        return VKMOE_OK;
    if (errno == EEXIST && stat(path, &there) == 0 && !S_ISDIR(there.st_mode))
        errno = ENOTDIR;
    else if (errno == EEXIST && access(path, W_OK | X_OK) == 0)
        return VKMOE_OK;
    return vkm_fail(err, VKMOE_IO, "cannot make the folder %s: %s", path, strerror(errno));
}

/* Tells devices and drivers apart, by what reports key on. */
static uint32_t device_key(const vkmoe_device_info *d)
{
    uint64_t key = vkm_hash(VKM_HASH_INIT, d->uuid, strlen(d->uuid));
    key = vkm_hash(key, &d->driver_id, sizeof(d->driver_id));
    return (uint32_t)vkm_hash(key, &d->driver_version, sizeof(d->driver_version));
}

/* Kernel, variant, case, seed and device, in letters that every file system takes. */
static char *folder_name(const struct vkm_suite *s, const char *kernel)
{
    char name[256];
    const char *weights = vkm_variant_dtype_name(s->variant.variant);
    int n = snprintf(name, sizeof(name), "%s%s%s-%s%.0u-%s-seed-%llu-%08x", kernel,
                     weights[0] == '-' ? "" : "-", weights[0] == '-' ? "" : weights,
                     vkm_path_name(s->path), s->variant.subgroup_size, s->name,
                     (unsigned long long)s->params->seed, device_key(vkm_gpu_info(s->gpu)));
    for (int i = 0; i < n && i < (int)sizeof(name) - 1; i++)
        if (!isalnum((unsigned char)name[i]) && name[i] != '_' && name[i] != '.')
            name[i] = '-';
    return vkm_format(vkm_gpu_allocator(s->gpu), "%s/%s", s->params->export_dir, name);
}

/* A copy of what an arena holds, which then holds what it did before. */
static unsigned char *take_back(struct bundle *b, const struct vkm_arena *arena,
                                const unsigned char *before)
{
    unsigned char *got = vkm_malloc(b->stream->allocator, arena->used + 1, 1);
    if (!got) {
        vkm_fail_memory(&b->error, arena->used, "the outputs of the bundle");
        return NULL;
    }
    memcpy(got, arena->buffer->mapped, arena->used);
    memcpy(arena->buffer->mapped, before, arena->used);
    return got;
}

/* Computes what is expected from the inputs, which takes the outputs' place meanwhile. */
static void compute(struct bundle *b)
{
    struct vkm_suite *s = b->suite;
    b->got = take_back(b, &s->views, s->pristine);
    b->tables_got = take_back(b, &s->tables, s->tables_before);
    if (b->error.status != VKMOE_OK)
        return;
    if (vkm_outputs_make(s->gpu, b->stream, 0, &b->want, &b->error) == VKMOE_OK)
        vkm_outputs_compute(&b->want, b->stream, 0, false);
    if (vkm_kernel_metric(b->kernel, s->variant.variant) == VKM_METRIC_PRODUCT &&
        b->error.status == VKMOE_OK &&
        vkm_outputs_make(s->gpu, b->stream, 0, &b->magnitude, &b->error) == VKMOE_OK)
        vkm_outputs_compute(&b->magnitude, b->stream, 0, true);
    memcpy(s->views.buffer->mapped, b->got, s->views.used);
    memcpy(s->tables.buffer->mapped, b->tables_got, s->tables.used);
}

vkmoe_status vkm_bundle_export(struct vkm_suite *s, const struct vkm_stream *stream,
                               const char *sentence, char **folder, vkmoe_error *err)
{
    struct bundle b = {.suite = s,
                       .stream = stream,
                       .op = stream->ops.items,
                       .ran = sentence && s->error.status == VKMOE_OK};
    if (!sentence)
        sentence = "not known: the case was exported without being run";
    b.kernel = vkm_op_kernel(stream, b.op);
    b.params = vkm_op_params(stream, b.op);
    *folder = folder_name(s, b.kernel->name);
    b.folder = *folder;
    b.fields = json_array();
    if (!b.folder || !b.fields)
        vkm_fail_memory(&b.error, sizeof(b), "a conformance bundle");
    else
        (void)vkm_bundle_folder(b.folder, &b.error);
    if (b.error.status == VKMOE_OK)
        compute(&b);
    if (b.error.status == VKMOE_OK) {
        write_shader(&b);
        write_manifest(&b, sentence);
        write_readme(&b, sentence);
    }
    vkm_outputs_drop(&b.want, stream);
    vkm_outputs_drop(&b.magnitude, stream);
    vkm_free(stream->allocator, b.got);
    vkm_free(stream->allocator, b.tables_got);
    vkm_free(vkm_gpu_allocator(s->gpu), b.code);
    json_decref(b.fields);
    if (b.error.status != VKMOE_OK && err)
        *err = b.error;
    return b.error.status;
}
