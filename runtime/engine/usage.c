#include "engine/usage.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"

struct header {
    char magic[8];
    uint32_t n_layers, n_experts;
    uint64_t hash; /* of the counts */
};

static const char magic[8] = "vkmoeUS1";

/* Two folders of one name and size may share it: a wrong order costs some speed, nothing else. */
static uint64_t key_of(const char *path, const struct vkm_config *c,
                       const struct vkm_checkpoint *checkpoint)
{
    uint64_t values[] = {c->num_hidden_layers,
                         c->hidden_size,
                         c->n_routed_experts,
                         c->vocab_size,
                         c->num_experts_per_tok,
                         c->moe_intermediate_size,
                         c->first_k_dense_replace,
                         c->moe_layer_freq,
                         0};
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    size_t start = n;
    while (start > 0 && path[start - 1] != '/')
        start--;
    for (size_t i = 0; i < vkm_checkpoint_count(checkpoint); i++)
        values[VKM_COUNT(values) - 1] += vkm_checkpoint_at(checkpoint, i)->size;
    uint64_t key = vkm_hash(VKM_HASH_INIT, path + start, n - start);
    return vkm_hash(key, values, sizeof(values));
}

static size_t counts_bytes(const struct vkm_usage *u)
{
    return (size_t)u->n_layers * u->n_experts * sizeof(*u->counts);
}

static bool valid(const struct vkm_usage *u, const char *file, size_t size)
{
    struct header h;
    if (size != sizeof(h) + counts_bytes(u))
        return false;
    memcpy(&h, file, sizeof(h));
    return memcmp(h.magic, magic, sizeof(magic)) == 0 && h.n_layers == u->n_layers &&
           h.n_experts == u->n_experts &&
           h.hash == vkm_hash(VKM_HASH_INIT, file + sizeof(h), counts_bytes(u));
}

void vkm_usage_load(struct vkm_usage *u, const struct vkm_gpu *gpu, const char *path,
                    const struct vkm_config *config, const struct vkm_checkpoint *checkpoint)
{
    const vkmoe_allocator *a = vkm_gpu_allocator(gpu);
    char name[32], *file = NULL;
    size_t size;
    vkmoe_error err;
    *u = (struct vkm_usage){.n_layers = vkm_config_moe_layers(config),
                            .n_experts = config->n_routed_experts};
    snprintf(name, sizeof(name), "%016llx.usage",
             (unsigned long long)key_of(path, config, checkpoint));
    u->file = vkm_gpu_cache_file(gpu, name);
    if (!u->file)
        return;
    vkmoe_status status =
        vkm_file_read(a, u->file, sizeof(struct header) + counts_bytes(u), &file, &size, &err);
    if (status == VKMOE_NOT_FOUND)
        return;
    if (status == VKMOE_OK && valid(u, file, size) &&
        (u->counts = vkm_malloc(a, counts_bytes(u), 1)))
        memcpy(u->counts, file + sizeof(struct header), counts_bytes(u));
    else
        vkm_log(vkm_gpu_log(gpu), VKMOE_LOG_WARNING, "%s is not readable or damaged; ignored",
                u->file);
    vkm_free(a, status == VKMOE_OK ? file : NULL);
}

void vkm_usage_add(struct vkm_usage *u, const struct vkm_gpu *gpu, uint32_t layer,
                   const uint32_t *ids, size_t n)
{
    if (!u->file)
        return;
    if (!u->counts)
        u->counts = vkm_calloc(vkm_gpu_allocator(gpu), counts_bytes(u), 1);
    for (size_t i = 0; i < n && u->counts; i++) {
        if (ids[i] < u->n_experts)
            u->counts[(size_t)layer * u->n_experts + ids[i]]++;
    }
    u->changed = u->counts != NULL;
}

void vkm_usage_store(struct vkm_usage *u, const struct vkm_gpu *gpu)
{
    struct header h = {.n_layers = u->n_layers, .n_experts = u->n_experts};
    struct vkm_writer *writer;
    vkmoe_error err;
    if (!u->changed)
        return;
    u->changed = false;
    memcpy(h.magic, magic, sizeof(magic));
    h.hash = vkm_hash(VKM_HASH_INIT, u->counts, counts_bytes(u));
    vkmoe_status status = vkm_writer_open(vkm_gpu_allocator(gpu), u->file, &writer, &err);
    if (status == VKMOE_OK) {
        vkm_writer_write(writer, &h, sizeof(h));
        vkm_writer_write(writer, u->counts, counts_bytes(u));
        status = vkm_writer_commit(writer, &err);
    }
    if (status != VKMOE_OK)
        vkm_log(vkm_gpu_log(gpu), VKMOE_LOG_WARNING, "use of experts not kept: %s", err.message);
}

void vkm_usage_finish(struct vkm_usage *u, const struct vkm_gpu *gpu)
{
    vkm_free(vkm_gpu_allocator(gpu), u->file);
    vkm_free(vkm_gpu_allocator(gpu), u->counts);
    *u = (struct vkm_usage){0};
}
