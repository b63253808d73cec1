/* Small random models of awkward shapes: in the first nothing is a power of two, queries share
 * keys, the first layer is dense, gates are normalised. */
#include "conform/steps.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/file.h"
#include "model/safetensors.h"

struct shape {
    const char *name;
    uint32_t vocab, hidden, heads, kv_heads, layers, dense_layers, dense_width;
    uint32_t experts, k, expert_width, shared;
    bool normalise;
};

static const struct shape shapes[VKM_RANDOM_MODELS] = {
    {"random", 211, 72, 6, 3, 3, 1, 131, 17, 5, 39, 1, true},
    /* as fine-grained as the largest of the paper, and its gates as they are */
    {"fine-grained random", 131, 40, 2, 2, 2, 0, 8, 160, 12, 9, 2, false},
    /* one expert of few, none shared, one head for all keys */
    {"top-1 random", 97, 66, 3, 1, 3, 1, 33, 3, 1, 65, 0, true},
};

const char *vkm_random_model_name(uint32_t which)
{
    return shapes[which].name;
}

static const char config[] =
    "{\"model_type\": \"deepseek\", \"vocab_size\": %u, \"hidden_size\": %u,\n"
    " \"intermediate_size\": %u, \"moe_intermediate_size\": %u, \"num_hidden_layers\": %u,\n"
    " \"num_attention_heads\": %u, \"num_key_value_heads\": %u, \"n_shared_experts\": %s,\n"
    " \"n_routed_experts\": %u, \"num_experts_per_tok\": %u, \"first_k_dense_replace\": %u,\n"
    " \"norm_topk_prob\": %s, \"rms_norm_eps\": 1e-05, \"max_position_embeddings\": 256}\n";

struct writer {
    const vkmoe_allocator *allocator;
    const struct shape *shape;
    struct vkm_random random;
    struct {
        struct vkm_tensor_out *items;
        size_t count, capacity;
    } tensors;
    vkmoe_error error; /* sticks */
};

/* A tensor [rows, cols], or [cols] where rows is 0, of values around `mean`. */
static void add(struct writer *w, uint32_t rows, uint32_t cols, float mean, float deviation,
                const char *format, ...) VKM_PRINTF(6, 7);
static void add(struct writer *w, uint32_t rows, uint32_t cols, float mean, float deviation,
                const char *format, ...)
{
    char name[128];
    va_list args;
    size_t n = (size_t)(rows ? rows : 1) * cols;
    const float spread = 1.7320508f * deviation; /* of an even distribution */
    va_start(args, format);
    vsnprintf(name, sizeof(name), format, args);
    va_end(args);
    if (w->error.status != VKMOE_OK)
        return;
    char *own = vkm_strdup(w->allocator, name);
    void *data = vkm_malloc(w->allocator, n, vkm_dtype_size(VKM_DTYPE_BF16));
    if (!own || !data || !VKM_ARRAY_RESERVE(w->allocator, &w->tensors, 1)) {
        vkm_free(w->allocator, own);
        vkm_free(w->allocator, data);
        vkm_fail_memory(&w->error, n, "a random model");
        return;
    }
    for (size_t i = 0; i < n; i++)
        vkm_store_f32(data, VKM_DTYPE_BF16, i, mean + vkm_random_f32(&w->random, -spread, spread));
    struct vkm_tensor_out *t = &w->tensors.items[w->tensors.count++];
    *t = (struct vkm_tensor_out){own, VKM_DTYPE_BF16, rows ? 2 : 1, {rows, cols}, data};
    if (!rows)
        t->shape[0] = cols;
}

/* Keeps the size of what it multiplies, `gain` times. */
static void add_matrix(struct writer *w, uint32_t rows, uint32_t cols, float gain,
                       const char *prefix, const char *name)
{
    add(w, rows, cols, 0, gain / sqrtf((float)cols), "%s%s.weight", prefix, name);
}

static void add_ffn(struct writer *w, uint32_t width, const char *prefix)
{
    add_matrix(w, width, w->shape->hidden, 1, prefix, "gate_proj");
    add_matrix(w, width, w->shape->hidden, 1, prefix, "up_proj");
    add_matrix(w, w->shape->hidden, width, 1, prefix, "down_proj");
}

static void add_experts(struct writer *w, uint32_t layer)
{
    const struct shape *m = w->shape;
    char prefix[96];
    snprintf(prefix, sizeof(prefix), "model.layers.%u.mlp.", layer);
    add_matrix(w, m->experts, m->hidden, 2, prefix, "gate");
    for (uint32_t e = 0; e < m->experts; e++) {
        snprintf(prefix, sizeof(prefix), "model.layers.%u.mlp.experts.%u.", layer, e);
        add_ffn(w, m->expert_width, prefix);
    }
    snprintf(prefix, sizeof(prefix), "model.layers.%u.mlp.shared_experts.", layer);
    if (m->shared > 0)
        add_ffn(w, m->shared * m->expert_width, prefix);
}

static void add_layer(struct writer *w, uint32_t layer)
{
    const struct shape *m = w->shape;
    uint32_t kv = m->hidden / m->heads * m->kv_heads;
    char prefix[96];
    add(w, 0, m->hidden, 1, 0.2f, "model.layers.%u.input_layernorm.weight", layer);
    add(w, 0, m->hidden, 1, 0.2f, "model.layers.%u.post_attention_layernorm.weight", layer);
    snprintf(prefix, sizeof(prefix), "model.layers.%u.self_attn.", layer);
    add_matrix(w, m->hidden, m->hidden, 1, prefix, "q_proj");
    add_matrix(w, kv, m->hidden, 1, prefix, "k_proj");
    add_matrix(w, kv, m->hidden, 1, prefix, "v_proj");
    add_matrix(w, m->hidden, m->hidden, 1, prefix, "o_proj");
    snprintf(prefix, sizeof(prefix), "model.layers.%u.mlp.", layer);
    if (layer < m->dense_layers)
        add_ffn(w, m->dense_width, prefix);
    else
        add_experts(w, layer);
}

static char *format_config(const struct writer *w)
{
    const struct shape *m = w->shape;
    char shared[16] = "null"; /* no shared experts */
    if (m->shared > 0)
        snprintf(shared, sizeof(shared), "%u", m->shared);
    return vkm_format(w->allocator, config, m->vocab, m->hidden, m->dense_width, m->expert_width,
                      m->layers, m->heads, m->kv_heads, shared, m->experts, m->k, m->dense_layers,
                      m->normalise ? "true" : "false");
}

static void write_files(struct writer *w, const char *folder)
{
    const vkmoe_allocator *a = w->allocator;
    struct vkm_writer *file;
    char *weights = vkm_format(a, "%s/model.safetensors", folder);
    char *json = vkm_format(a, "%s/config.json", folder), *text = format_config(w);
    if (w->error.status == VKMOE_OK && (!weights || !json || !text))
        vkm_fail_memory(&w->error, strlen(folder), "a random model");
    if (w->error.status == VKMOE_OK)
        (void)vkm_safetensors_write(a, weights, w->tensors.items, w->tensors.count, &w->error);
    if (w->error.status == VKMOE_OK && vkm_writer_open(a, json, &file, &w->error) == VKMOE_OK) {
        vkm_writer_write(file, text, strlen(text));
        (void)vkm_writer_commit(file, &w->error);
    }
    vkm_free(a, weights);
    vkm_free(a, json);
    vkm_free(a, text);
}

static vkmoe_status fill_folder(const vkmoe_allocator *a, uint32_t which, uint64_t seed,
                                const char *folder, vkmoe_error *err)
{
    struct writer w = {.allocator = a,
                       .shape = &shapes[which],
                       .random = {.key = vkm_hash(VKM_HASH_INIT, &seed, sizeof(seed))}};
    add(&w, w.shape->vocab, w.shape->hidden, 0, 1, "model.embed_tokens.weight");
    for (uint32_t i = 0; i < w.shape->layers; i++)
        add_layer(&w, i);
    add(&w, 0, w.shape->hidden, 1, 0.2f, "model.norm.weight");
    add_matrix(&w, w.shape->vocab, w.shape->hidden, 1, "", "lm_head");
    write_files(&w, folder);
    for (size_t i = 0; i < w.tensors.count; i++) {
        vkm_free(a, (void *)(uintptr_t)w.tensors.items[i].name);
        vkm_free(a, (void *)(uintptr_t)w.tensors.items[i].data);
    }
    vkm_free(a, w.tensors.items);
    if (w.error.status != VKMOE_OK && err)
        *err = w.error;
    return w.error.status;
}

vkmoe_status vkm_random_model_write(const vkmoe_allocator *a, uint32_t which, uint64_t seed,
                                    char **folder, vkmoe_error *err)
{
    const char *base = getenv("TMPDIR");
    char *path = vkm_format(a, "%s/vkmoe-conform-XXXXXX", base && base[0] ? base : "/tmp");
    if (!path)
        return vkm_fail_memory(err, sizeof(config), "a random model");
    if (!mkdtemp(path)) {
        vkmoe_status status = vkm_fail(
            err, VKMOE_IO, "cannot make a folder %s for a random model: %s", path, strerror(errno));
        vkm_free(a, path);
        return status;
    }
    vkmoe_status status = fill_folder(a, which, seed, path, err);
    if (status == VKMOE_OK)
        *folder = path;
    else
        vkm_random_model_remove(a, path);
    return status;
}

void vkm_random_model_remove(const vkmoe_allocator *a, char *folder)
{
    static const char *const names[] = {"model.safetensors", "config.json"};
    for (size_t i = 0; folder && i < VKM_COUNT(names); i++) {
        char *path = vkm_format(a, "%s/%s", folder, names[i]);
        if (path)
            unlink(path);
        vkm_free(a, path);
    }
    if (folder)
        rmdir(folder);
    vkm_free(a, folder);
}
