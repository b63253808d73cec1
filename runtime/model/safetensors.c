/* Reading safetensors: one file, or the shards that model.safetensors.index.json names. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "model/safetensors_header.h"

/* Opens one file and appends its tensors. Takes `path`, which is NULL if memory ran out for it. */
static vkmoe_status add_shard(struct vkm_checkpoint *c, char *path, vkmoe_error *err)
{
    if (!path)
        return vkm_fail_memory(err, strlen(c->path), c->path);
    struct vkm_shard *shard = &c->shards[c->n_shards++];
    shard->path = path;
    vkmoe_status status = vkm_file_open(path, &shard->file, err);
    if (status != VKMOE_OK)
        return status;
    return vkm_safetensors_parse(c->allocator, &shard->file, &c->tensors, err);
}

vkmoe_status vkm_checkpoint_open_file(const vkmoe_allocator *a, const char *path,
                                      struct vkm_checkpoint **out, vkmoe_error *err)
{
    struct vkm_checkpoint *c = NULL;
    vkmoe_status status = vkm_checkpoint_create(a, path, 1, &c, err);
    if (status != VKMOE_OK)
        return status;
    status = add_shard(c, vkm_strdup(a, path), err);
    if (status != VKMOE_OK) {
        vkm_checkpoint_close(c);
        return status;
    }
    vkm_checkpoint_sort(c);
    *out = c;
    return VKMOE_OK;
}

/* An index must not lead out of its folder. */
static bool is_plain_name(const char *name)
{
    for (const char *p = name; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == '/' || *p == '\\')
            return false;
    }
    return name[0] != '\0' && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static int compare_strings(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* Lists the files that the map names, each once. The names belong to the map. */
static vkmoe_status list_files(const vkmoe_allocator *a, const char *index, json_t *weight_map,
                               const char ***out, size_t *n, vkmoe_error *err)
{
    size_t count = 0, unique = 0;
    char name[VKM_PRINTABLE_SIZE];
    const char *tensor;
    json_t *file;
    const char **files = vkm_malloc(a, json_object_size(weight_map), sizeof(*files));
    if (!files)
        return vkm_fail_memory(err, json_object_size(weight_map) * sizeof(*files), index);
    json_object_foreach(weight_map, tensor, file)
    {
        if (!json_is_string(file) || !is_plain_name(json_string_value(file))) {
            vkm_free(a, files);
            return vkm_json_mismatch(err, VKMOE_BAD_FORMAT, index, vkm_printable(name, tensor),
                                     file, "the plain name of a file in the same folder");
        }
        files[count++] = json_string_value(file);
    }
    qsort(files, count, sizeof(*files), compare_strings);
    for (size_t i = 0; i < count; i++) {
        if (unique == 0 || strcmp(files[unique - 1], files[i]) != 0)
            files[unique++] = files[i];
    }
    *out = files;
    *n = unique;
    return VKMOE_OK;
}

/* Drops the tensors from `first` on that the map does not place in `file`. */
static void keep_mapped(struct vkm_checkpoint *c, size_t first, const json_t *weight_map,
                        const char *file)
{
    size_t kept = first;
    for (size_t i = first; i < c->tensors.count; i++) {
        const struct vkm_tensor *t = &c->tensors.items[i];
        const char *place = json_string_value(json_object_get(weight_map, t->name));
        if (place && strcmp(place, file) == 0)
            c->tensors.items[kept++] = *t;
        else
            vkm_tensor_free_name(c->allocator, t);
    }
    c->tensors.count = kept;
}

static vkmoe_status check_complete(const struct vkm_checkpoint *c, const char *index,
                                   json_t *weight_map, vkmoe_error *err)
{
    char name[VKM_PRINTABLE_SIZE], place[VKM_PRINTABLE_SIZE];
    const char *tensor;
    json_t *file;
    json_object_foreach(weight_map, tensor, file)
    {
        if (!vkm_checkpoint_find(c, tensor))
            return vkm_fail(
                err, VKMOE_BAD_FORMAT, "%s places tensor \"%s\" in %s, which holds no such tensor",
                index, vkm_printable(name, tensor), vkm_printable(place, json_string_value(file)));
    }
    return VKMOE_OK;
}

static vkmoe_status add_shards(struct vkm_checkpoint *c, const char *index, json_t *weight_map,
                               const char **files, size_t n, vkmoe_error *err)
{
    for (size_t i = 0; i < n; i++) {
        size_t first = c->tensors.count;
        char *path = vkm_format(c->allocator, "%s/%s", c->path, files[i]);
        vkmoe_status status = add_shard(c, path, err);
        if (status == VKMOE_NOT_FOUND)
            return vkm_fail(err, status, "%s names %s, which is not in that folder", index,
                            files[i]);
        if (status != VKMOE_OK)
            return status;
        keep_mapped(c, first, weight_map, files[i]);
    }
    vkm_checkpoint_sort(c);
    return check_complete(c, index, weight_map, err);
}

static vkmoe_status open_shards(const vkmoe_allocator *a, const char *folder, const char *index,
                                const json_t *root, struct vkm_checkpoint **out, vkmoe_error *err)
{
    json_t *weight_map = json_object_get(root, "weight_map");
    const char **files = NULL;
    size_t n = 0;
    if (!json_is_object(weight_map))
        return vkm_json_mismatch(err, VKMOE_BAD_FORMAT, index, "weight_map", weight_map,
                                 "an object of tensor names and files");
    vkmoe_status status = list_files(a, index, weight_map, &files, &n, err);
    if (status != VKMOE_OK)
        return status;
    struct vkm_checkpoint *c = NULL;
    status = vkm_checkpoint_create(a, folder, n, &c, err);
    if (status == VKMOE_OK)
        status = add_shards(c, index, weight_map, files, n, err);
    if (status == VKMOE_OK)
        *out = c;
    else
        vkm_checkpoint_close(c);
    vkm_free(a, files);
    return status;
}

static vkmoe_status open_index(const vkmoe_allocator *a, const char *folder,
                               struct vkm_checkpoint **out, vkmoe_error *err)
{
    json_t *root;
    char *index = vkm_format(a, "%s/model.safetensors.index.json", folder);
    if (!index)
        return vkm_fail_memory(err, strlen(folder), folder);
    vkmoe_status status = vkm_json_load(a, index, VKM_SAFETENSORS_HEADER_LIMIT, &root, err);
    if (status == VKMOE_NOT_FOUND) {
        vkm_fail(err, status, "%s holds neither model.safetensors nor model.safetensors.index.json",
                 folder);
    } else if (status == VKMOE_OK) {
        status = open_shards(a, folder, index, root, out, err);
        json_decref(root);
    }
    vkm_free(a, index);
    return status;
}

vkmoe_status vkm_safetensors_open(const vkmoe_allocator *a, const char *path,
                                  struct vkm_checkpoint **out, vkmoe_error *err)
{
    vkmoe_error first = {VKMOE_OK, ""}; /* err stays untouched when the index opens */
    char *single = vkm_format(a, "%s/model.safetensors", path);
    if (!single)
        return vkm_fail_memory(err, strlen(path), path);
    vkmoe_status status = vkm_checkpoint_open_file(a, single, out, &first);
    vkm_free(a, single);
    if (status == VKMOE_NOT_FOUND)
        return open_index(a, path, out, err);
    if (status != VKMOE_OK && err)
        *err = first;
    return status;
}
