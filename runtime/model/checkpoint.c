#include "model/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/checkpoint_parts.h"

vkmoe_status vkm_checkpoint_create(const vkmoe_allocator *a, const char *path, size_t max_shards,
                                   struct vkm_checkpoint **out, vkmoe_error *err)
{
    struct vkm_checkpoint *c = vkm_calloc(a, 1, sizeof(*c));
    if (!c)
        return vkm_fail_memory(err, sizeof(*c), path);
    c->allocator = a;
    c->path = vkm_strdup(a, path);
    c->shards = vkm_calloc(a, max_shards, sizeof(*c->shards));
    if (!c->path || !c->shards) {
        vkm_checkpoint_close(c);
        return vkm_fail_memory(err, max_shards * sizeof(*c->shards), path);
    }
    *out = c;
    return VKMOE_OK;
}

void vkm_tensor_free_name(const vkmoe_allocator *a, const struct vkm_tensor *t)
{
    vkm_free(a, (void *)(uintptr_t)t->name);
}

void vkm_checkpoint_close(struct vkm_checkpoint *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->tensors.count; i++)
        vkm_tensor_free_name(c->allocator, &c->tensors.items[i]);
    vkm_free(c->allocator, c->tensors.items);
    for (size_t i = 0; i < c->n_shards; i++) {
        vkm_file_close(&c->shards[i].file);
        vkm_free(c->allocator, c->shards[i].path);
    }
    vkm_free(c->allocator, c->shards);
    vkm_gguf_close(c->gguf);
    vkm_free(c->allocator, c->path);
    vkm_free(c->allocator, c);
}

static int compare_names(const void *left, const void *right)
{
    const struct vkm_tensor *a = left, *b = right;
    return strcmp(a->name, b->name);
}

void vkm_checkpoint_sort(struct vkm_checkpoint *c)
{
    if (c->tensors.count > 0)
        qsort(c->tensors.items, c->tensors.count, sizeof(*c->tensors.items), compare_names);
}

vkmoe_status vkm_checkpoint_open(const vkmoe_allocator *a, const char *path,
                                 struct vkm_checkpoint **out, vkmoe_error *err)
{
    return vkm_gguf_is(path) ? vkm_gguf_checkpoint_open(a, path, out, err)
                             : vkm_safetensors_open(a, path, out, err);
}

const struct vkm_tensor *vkm_checkpoint_find(const struct vkm_checkpoint *c, const char *name)
{
    const struct vkm_tensor key = {.name = name};
    if (c->tensors.count == 0)
        return NULL;
    return bsearch(&key, c->tensors.items, c->tensors.count, sizeof(key), compare_names);
}

size_t vkm_checkpoint_count(const struct vkm_checkpoint *c)
{
    return c->tensors.count;
}

const struct vkm_tensor *vkm_checkpoint_at(const struct vkm_checkpoint *c, size_t index)
{
    return &c->tensors.items[index];
}

vkmoe_status vkm_tensor_read(const struct vkm_tensor *t, uint64_t offset, void *to, size_t size,
                             vkmoe_error *err)
{
    return vkm_file_read_at(t->from, t->offset + offset, to, size, err);
}

const char *vkm_checkpoint_path(const struct vkm_checkpoint *c)
{
    return c->path;
}

bool vkm_checkpoint_is_gguf(const struct vkm_checkpoint *c)
{
    return c->gguf != NULL;
}

enum vkm_dtype vkm_checkpoint_quantised(const struct vkm_checkpoint *c)
{
    enum vkm_dtype smallest = VKM_DTYPE_COUNT;
    for (size_t i = 0; i < c->tensors.count; i++) {
        const struct vkm_tensor *t = &c->tensors.items[i];
        if (t->packed && (smallest == VKM_DTYPE_COUNT || t->dtype > smallest))
            smallest = t->dtype;
    }
    return smallest;
}

const char *vkm_checkpoint_authority(const struct vkm_checkpoint *c)
{
    return c->gguf ? "the file's metadata" : "config.json";
}

const char *vkm_checkpoint_own_name(const struct vkm_checkpoint *c, const char *name,
                                    char out[VKM_TENSOR_NAME_SIZE])
{
    if (c->gguf)
        return vkm_gguf_tensor_name(name, out);
    snprintf(out, VKM_TENSOR_NAME_SIZE, "%s", name);
    return out;
}
