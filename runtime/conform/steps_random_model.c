/* A small random model of an awkward shape: nothing is a power of two, queries share keys, the
 * first layer is dense, gates are normalised. */
#include "conform/steps.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/file.h"
#include "model/safetensors.h"

enum {
    VOCAB = 211,
    HIDDEN = 72,
    HEADS = 6,
    KV_HEADS = 3,
    LAYERS = 3,
    DENSE_WIDTH = 131,
    EXPERTS = 17,
    TOP_K = 5,
    EXPERT_WIDTH = 39
};

static const char config[] =
    "{\"model_type\": \"deepseek\", \"vocab_size\": 211, \"hidden_size\": 72,\n"
    " \"intermediate_size\": 131, \"moe_intermediate_size\": 39, \"num_hidden_layers\": 3,\n"
    " \"num_attention_heads\": 6, \"num_key_value_heads\": 3, \"n_shared_experts\": 1,\n"
    " \"n_routed_experts\": 17, \"num_experts_per_tok\": 5, \"first_k_dense_replace\": 1,\n"
    " \"norm_topk_prob\": true, \"rms_norm_eps\": 1e-05, \"max_position_embeddings\": 256}\n";

struct writer {
    const vkmoe_allocator *allocator;
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
    add_matrix(w, width, HIDDEN, 1, prefix, "gate_proj");
    add_matrix(w, width, HIDDEN, 1, prefix, "up_proj");
    add_matrix(w, HIDDEN, width, 1, prefix, "down_proj");
}

static void add_layer(struct writer *w, uint32_t layer)
{
    char prefix[96];
    add(w, 0, HIDDEN, 1, 0.2f, "model.layers.%u.input_layernorm.weight", layer);
    add(w, 0, HIDDEN, 1, 0.2f, "model.layers.%u.post_attention_layernorm.weight", layer);
    snprintf(prefix, sizeof(prefix), "model.layers.%u.self_attn.", layer);
    add_matrix(w, HIDDEN, HIDDEN, 1, prefix, "q_proj");
    add_matrix(w, HIDDEN / HEADS * KV_HEADS, HIDDEN, 1, prefix, "k_proj");
    add_matrix(w, HIDDEN / HEADS * KV_HEADS, HIDDEN, 1, prefix, "v_proj");
    add_matrix(w, HIDDEN, HIDDEN, 1, prefix, "o_proj");
    snprintf(prefix, sizeof(prefix), "model.layers.%u.mlp.", layer);
    if (layer == 0) {
        add_ffn(w, DENSE_WIDTH, prefix);
        return;
    }
    add_matrix(w, EXPERTS, HIDDEN, 2, prefix, "gate");
    for (uint32_t e = 0; e < EXPERTS; e++) {
        snprintf(prefix, sizeof(prefix), "model.layers.%u.mlp.experts.%u.", layer, e);
        add_ffn(w, EXPERT_WIDTH, prefix);
    }
    snprintf(prefix, sizeof(prefix), "model.layers.%u.mlp.shared_experts.", layer);
    add_ffn(w, EXPERT_WIDTH, prefix);
}

static void write_files(struct writer *w, const char *folder)
{
    const vkmoe_allocator *a = w->allocator;
    struct vkm_writer *file;
    char *weights = vkm_format(a, "%s/model.safetensors", folder);
    char *json = vkm_format(a, "%s/config.json", folder);
    if (w->error.status == VKMOE_OK && (!weights || !json))
        vkm_fail_memory(&w->error, strlen(folder), "a random model");
    if (w->error.status == VKMOE_OK)
        (void)vkm_safetensors_write(a, weights, w->tensors.items, w->tensors.count, &w->error);
    if (w->error.status == VKMOE_OK && vkm_writer_open(a, json, &file, &w->error) == VKMOE_OK) {
        vkm_writer_write(file, config, sizeof(config) - 1);
        (void)vkm_writer_commit(file, &w->error);
    }
    vkm_free(a, weights);
    vkm_free(a, json);
}

static vkmoe_status fill_folder(const vkmoe_allocator *a, uint64_t seed, const char *folder,
                                vkmoe_error *err)
{
    struct writer w = {.allocator = a,
                       .random = {.key = vkm_hash(VKM_HASH_INIT, &seed, sizeof(seed))}};
    add(&w, VOCAB, HIDDEN, 0, 1, "model.embed_tokens.weight");
    for (uint32_t i = 0; i < LAYERS; i++)
        add_layer(&w, i);
    add(&w, 0, HIDDEN, 1, 0.2f, "model.norm.weight");
    add_matrix(&w, VOCAB, HIDDEN, 1, "", "lm_head");
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

vkmoe_status vkm_random_model_write(const vkmoe_allocator *a, uint64_t seed, char **folder,
                                    vkmoe_error *err)
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
    vkmoe_status status = fill_folder(a, seed, path, err);
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
