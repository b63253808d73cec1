#include "checkpoint.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/safetensors.h"

#define MAX_TENSORS 4096u

struct builder {
    const struct test_shape *shape;
    struct vkm_tensor_out tensors[MAX_TENSORS];
    size_t count;
};

static uint32_t either(uint32_t value, uint32_t otherwise)
{
    return value ? value : otherwise;
}

struct test_shape test_shape_complete(const struct test_shape *shape)
{
    struct test_shape s = *shape;
    s.vocab = either(s.vocab, 200);
    s.hidden = either(s.hidden, 64);
    s.heads = either(s.heads, 4);
    s.kv_heads = either(s.kv_heads, s.heads);
    s.layers = either(s.layers, 2);
    s.dense_width = either(s.dense_width, 96);
    s.experts = either(s.experts, 8);
    s.top_k = either(s.top_k, 3);
    s.expert_width = either(s.expert_width, 40);
    s.layer_freq = either(s.layer_freq, 1);
    s.max_position = either(s.max_position, 512);
    s.context = either(s.context, s.max_position);
    s.eps = s.eps > 0 ? s.eps : 1e-5;
    return s;
}

/* --- random values --- */

static uint64_t hash_name(const char *name)
{
    return vkm_hash(VKM_HASH_INIT, name, strlen(name));
}

static uint64_t next_bits(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Uniform, of mean 0 and deviation 1. */
static float next_value(uint64_t *state)
{
    return (float)(((double)(next_bits(state) >> 11) * 0x1p-53 - 0.5) * sqrt(12));
}

static enum vkm_dtype storage_of(const struct test_shape *s, uint64_t hash)
{
    static const enum vkm_dtype dtypes[] = {VKM_DTYPE_BF16, VKM_DTYPE_F16, VKM_DTYPE_F32};
    return dtypes[s->storage == STORE_MIXED ? hash % 3 : (uint64_t)s->storage];
}

/* --- tensors --- */

static bool is(const char *name, const char *other)
{
    return other && strcmp(name, other) == 0;
}

/* A tensor [rows, cols], or [cols] where rows is 0, of values around `mean`. */
static void add(struct builder *b, const char *name, uint32_t rows, uint32_t cols, double mean,
                double deviation)
{
    if (is(name, b->shape->missing))
        return;
    uint64_t random = hash_name(name);
    enum vkm_dtype dtype = storage_of(b->shape, random >> 7);
    cols += is(name, b->shape->misshapen);
    dtype = is(name, b->shape->mistyped) ? VKM_DTYPE_I32 : dtype;
    size_t n = (size_t)(rows ? rows : 1) * cols;
    unsigned char *data = calloc(n, vkm_dtype_size(dtype));
    assert_non_null(data);
    for (size_t i = 0; i < n && dtype != VKM_DTYPE_I32; i++)
        vkm_store_f32(data, dtype, i, (float)(mean + deviation * (double)next_value(&random)));
    assert_true(b->count < MAX_TENSORS);
    struct vkm_tensor_out *t = &b->tensors[b->count++];
    *t = (struct vkm_tensor_out){strdup(name), dtype, rows ? 2 : 1, {rows, cols}, data};
    if (!rows)
        t->shape[0] = cols;
}

static void add_norm(struct builder *b, const char *prefix, const char *name)
{
    char full[128];
    snprintf(full, sizeof(full), "%s%s.weight", prefix, name);
    add(b, full, 0, b->shape->hidden, 1, 0.2);
}

/* Weights that keep the size of what they multiply, `gain` times. */
static void add_matrix(struct builder *b, const char *prefix, const char *name, uint32_t rows,
                       uint32_t cols, double gain)
{
    char full[128];
    snprintf(full, sizeof(full), "%s%s.weight", prefix, name);
    add(b, full, rows, cols, 0, gain / sqrt(cols));
}

static void add_projection(struct builder *b, const char *prefix, const char *name, uint32_t rows,
                           uint32_t cols)
{
    char full[128];
    add_matrix(b, prefix, name, rows, cols, 1);
    snprintf(full, sizeof(full), "%s%s.bias", prefix, name);
    if (b->shape->bias)
        add(b, full, 0, rows, 0, 0.3);
}

static void add_ffn(struct builder *b, const char *prefix, uint32_t width)
{
    add_matrix(b, prefix, "gate_proj", width, b->shape->hidden, 1);
    add_matrix(b, prefix, "up_proj", width, b->shape->hidden, 1);
    add_matrix(b, prefix, "down_proj", b->shape->hidden, width, 1);
}

static void add_layer(struct builder *b, uint32_t layer)
{
    const struct test_shape *s = b->shape;
    uint32_t head = s->hidden / s->heads;
    char prefix[64], inner[96];
    snprintf(prefix, sizeof(prefix), "model.layers.%u.", layer);
    add_norm(b, prefix, "input_layernorm");
    add_norm(b, prefix, "post_attention_layernorm");
    snprintf(inner, sizeof(inner), "%sself_attn.", prefix);
    add_projection(b, inner, "q_proj", s->hidden, s->hidden);
    add_projection(b, inner, "k_proj", s->kv_heads * head, s->hidden);
    add_projection(b, inner, "v_proj", s->kv_heads * head, s->hidden);
    add_projection(b, inner, "o_proj", s->hidden, s->hidden);
    snprintf(inner, sizeof(inner), "%smlp.", prefix);
    if (!test_shape_is_moe(s, layer)) {
        add_ffn(b, inner, s->dense_width);
        return;
    }
    add_matrix(b, inner, "gate", s->experts, s->hidden, 2);
    for (uint32_t e = 0; e < s->experts; e++) {
        snprintf(inner, sizeof(inner), "%smlp.experts.%u.", prefix, e);
        add_ffn(b, inner, s->expert_width);
    }
    snprintf(inner, sizeof(inner), "%smlp.shared_experts.", prefix);
    if (s->shared > 0)
        add_ffn(b, inner, s->shared * s->expert_width);
}

/* --- files --- */

static void write_config(const struct test_shape *s, const char *folder)
{
    char path[4096];
    json_t *config = json_pack(
        "{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:b, s:b, s:b, s:i}", "model_type",
        "deepseek", "vocab_size", (int)s->vocab, "hidden_size", (int)s->hidden,
        "num_attention_heads", (int)s->heads, "num_key_value_heads", (int)s->kv_heads,
        "num_hidden_layers", (int)s->layers, "intermediate_size", (int)s->dense_width,
        "first_k_dense_replace", (int)s->first_dense, "moe_layer_freq", (int)s->layer_freq,
        "norm_topk_prob", s->normalise, "tie_word_embeddings", s->tied, "attention_bias", s->bias,
        "max_position_embeddings", (int)s->max_position);
    assert_non_null(config);
    json_object_set_new(config, "rms_norm_eps", json_real(s->eps));
    if (s->router)
        json_object_set_new(config, "vkmoe_router", json_string(s->router));
    if (s->router_noise > 0)
        json_object_set_new(config, "vkmoe_router_noise", json_real(s->router_noise));
    if (s->router_seed > 0)
        json_object_set_new(config, "vkmoe_router_seed", json_integer(s->router_seed));
    json_object_set_new(config, "n_routed_experts",
                        s->dense ? json_null() : json_integer(s->experts));
    json_object_set_new(config, "n_shared_experts",
                        s->shared ? json_integer(s->shared) : json_null());
    if (!s->dense) {
        json_object_set_new(config, "num_experts_per_tok", json_integer(s->top_k));
        json_object_set_new(config, "moe_intermediate_size", json_integer(s->expert_width));
    }
    if (s->scaling > 0)
        json_object_set_new(config, "routed_scaling_factor", json_real(s->scaling));
    if (s->rope)
        json_object_set_new(config, "rope_scaling",
                            json_pack("{s:s, s:f}", "type", s->rope, "factor", s->rope_factor));
    snprintf(path, sizeof(path), "%s/config.json", folder);
    assert_int_equal(json_dump_file(config, path, 0), 0);
    json_decref(config);
}

static void shard_name(char *name, size_t size, uint32_t shard, uint32_t shards)
{
    snprintf(name, size, "model-%05u-of-%05u.safetensors", shard + 1, shards);
}

/* Tensors go to the shards in turn, and an index says where each is. */
static void write_shards(const struct builder *b, const char *folder)
{
    uint32_t shards = b->shape->shards;
    char name[64], path[4096];
    json_t *map = json_object();
    for (uint32_t shard = 0; shard < shards; shard++) {
        struct vkm_tensor_out *own = calloc(b->count + 1, sizeof(*own));
        size_t n = 0;
        vkmoe_error err;
        assert_non_null(own);
        shard_name(name, sizeof(name), shard, shards);
        for (size_t i = shard; i < b->count; i += shards) {
            own[n++] = b->tensors[i];
            json_object_set_new(map, b->tensors[i].name, json_string(name));
        }
        snprintf(path, sizeof(path), "%s/%s", folder, name);
        assert_ok(vkm_safetensors_write(NULL, path, own, n, &err), &err);
        free(own);
    }
    json_t *index = json_pack("{s:{}, s:o}", "metadata", "weight_map", map);
    snprintf(path, sizeof(path), "%s/model.safetensors.index.json", folder);
    assert_int_equal(json_dump_file(index, path, 0), 0);
    json_decref(index);
}

void checkpoint_write(const struct test_shape *shape, const char *folder)
{
    struct builder *b = calloc(1, sizeof(*b));
    vkmoe_error err;
    char path[4096];
    assert_non_null(b);
    b->shape = shape;
    add(b, "model.embed_tokens.weight", shape->vocab, shape->hidden, 0, 1);
    for (uint32_t i = 0; i < shape->layers; i++)
        add_layer(b, i);
    add_norm(b, "model.", "norm");
    if (!shape->tied)
        add_matrix(b, "", "lm_head", shape->vocab, shape->hidden, 1);
    write_config(shape, folder);
    snprintf(path, sizeof(path), "%s/model.safetensors", folder);
    if (shape->shards > 1)
        write_shards(b, folder);
    else
        assert_ok(vkm_safetensors_write(NULL, path, b->tensors, b->count, &err), &err);
    for (size_t i = 0; i < b->count; i++) {
        free((void *)(uintptr_t)b->tensors[i].name);
        free((void *)(uintptr_t)b->tensors[i].data);
    }
    free(b);
}
