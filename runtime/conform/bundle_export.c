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
#include "vkmoe/version.h"

struct bundle {
    struct vkm_suite *suite;
    const struct vkm_stream *stream;
    const struct vkm_op *op;
    const struct vkm_kernel *kernel;
    const unsigned char *params;
    const char *folder;
    unsigned char *got; /* the arena as the kernel left it */
    struct vkm_outputs want, magnitude;
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

static const unsigned char *before(const struct bundle *b, const struct vkm_view *view)
{
    return view->buffer == b->suite->views.buffer ? b->suite->pristine + view->offset
                                                  : view->buffer->mapped + view->offset;
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
    vkm_free(a, data);
}

static void add_outputs(struct bundle *b, json_t *out, const struct vkm_field *field)
{
    for (uint32_t i = 0; i < b->want.count; i++) {
        if (b->want.items[i].field != field)
            continue;
        const struct vkm_view *view = &b->want.items[i].view;
        write_view(b, out, field->name, "expected", b->want.items[i].data, view->size);
        write_view(b, out, field->name, "got", b->got + view->offset, view->size);
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
    json_t *spec = json_array();
    for (uint32_t i = 0; i < b->kernel->n_spec; i++)
        json_array_append_new(spec, json_integer(b->op->spec[i]));
    return json_pack("{s:s, s:s, s:o, s:i, s:b, s:i, s:s, s:[III], s:b}", "spirv", "kernel.spv",
                     "entry_point", "main", "specialisation", spec, "subgroup_size",
                     (int)b->op->subgroup_size, "full_subgroups", b->op->subgroup_size > 0,
                     "push_constant_bytes", (int)push_size, "push_constants", "push_constants.bin",
                     "groups", (json_int_t)groups[0], (json_int_t)groups[1], (json_int_t)groups[2],
                     "indirect", b->op->indirect.buffer != NULL);
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
                  "metric", metrics[b->kernel->metric], "device", device_json(s), "pipeline",
                  pipeline_json(b, groups, at), "fields", b->fields);
    write_json(b, root);
    json_decref(root);
}

static void write_shader(struct bundle *b)
{
    uint32_t *code = NULL;
    size_t size = 0;
    if (vkm_gpu_shader(b->suite->gpu, b->suite->variant.variant, &code, &size, &b->error) ==
        VKMOE_OK)
        write_file(b, "kernel.spv", code, size);
    vkm_free(vkm_gpu_allocator(b->suite->gpu), code);
}

static void write_readme(struct bundle *b, const char *sentence)
{
    const struct vkm_suite *s = b->suite;
    const vkmoe_device_info *d = vkm_gpu_info(s->gpu);
    uint32_t size = s->variant.subgroup_size;
    char *text = vkm_format(b->stream->allocator,
                            "# One compute dispatch that went wrong\n\n"
                            "- kernel: `%s`, weights %s, path %s%s%.0u\n- case: `%s`, seed %llu\n"
                            "- device: %s\n- driver: %s\n- what is wrong: %s\n%s",
                            b->kernel->name, vkm_variant_dtype_name(s->variant.variant),
                            vkm_path_name(s->path), size ? ", subgroups of " : "", size, s->name,
                            (unsigned long long)s->params->seed, d->name, d->driver, sentence,
                            vkm_bundle_readme);
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

/* Computes what is expected from the inputs, which takes the outputs' place meanwhile. */
static void compute(struct bundle *b)
{
    struct vkm_suite *s = b->suite;
    size_t used = s->views.used;
    b->got = vkm_malloc(b->stream->allocator, used, 1);
    if (!b->got) {
        vkm_fail_memory(&b->error, used, "the outputs of the bundle");
        return;
    }
    memcpy(b->got, s->views.buffer->mapped, used);
    memcpy(s->views.buffer->mapped, s->pristine, used);
    if (vkm_outputs_make(s->gpu, b->stream, 0, &b->want, &b->error) == VKMOE_OK)
        vkm_outputs_compute(&b->want, b->stream, 0, false);
    if (b->kernel->metric == VKM_METRIC_PRODUCT && b->error.status == VKMOE_OK &&
        vkm_outputs_make(s->gpu, b->stream, 0, &b->magnitude, &b->error) == VKMOE_OK)
        vkm_outputs_compute(&b->magnitude, b->stream, 0, true);
    memcpy(s->views.buffer->mapped, b->got, used);
}

vkmoe_status vkm_bundle_export(struct vkm_suite *s, const struct vkm_stream *stream,
                               const char *sentence, char **folder, vkmoe_error *err)
{
    struct bundle b = {.suite = s, .stream = stream, .op = stream->ops.items};
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
    json_decref(b.fields);
    if (b.error.status != VKMOE_OK && err)
        *err = b.error;
    return b.error.status;
}
