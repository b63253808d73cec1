#include "gguf_model.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "gguf_file.h"
#include "model/config.h"
#include "model/safetensors.h"
#include "support.h"

struct converter {
    const struct gguf_recipe *recipe;
    const struct vkm_checkpoint *from;
    struct vkm_config config;
    struct gguf_file file;
    struct {
        struct vkm_tensor_out *items;
        size_t count, capacity;
    } exact;
};

/* What becomes of one tensor. */
struct item {
    const char *own;  /* in GGUF */
    const char *name; /* in Hugging Face; with a %u for the slice where it is a stack */
    uint32_t slices;  /* 0: no stack */
    uint32_t head;    /* rows of a head, to be interleaved; 0: none */
    bool f32;
};

/* --- types --- */

static enum vkm_dtype plain_dtype(uint32_t type)
{
    return type == 0    ? VKM_DTYPE_F32
           : type == 1  ? VKM_DTYPE_F16
           : type == 30 ? VKM_DTYPE_BF16
                        : VKM_DTYPE_COUNT;
}

static uint32_t elements_of(uint32_t type)
{
    return plain_dtype(type) == VKM_DTYPE_COUNT ? gguf_block_elements(type) : 1;
}

static uint32_t choose_type(const struct converter *c, const struct item *item, uint64_t cols)
{
    const struct gguf_recipe *r = c->recipe;
    uint64_t hash = vkm_hash(VKM_HASH_INIT, item->own, strlen(item->own)) >> 9;
    for (size_t i = 0; i < r->n_types && !item->f32; i++) {
        uint32_t type = r->types[(hash + i) % r->n_types];
        if (cols % elements_of(type) == 0)
            return type;
    }
    assert_true(item->f32);
    return 0;
}

/* --- rows --- */

/* Makes n elements of the type from `from`; writes what they are to `values`. */
static void make_row(uint32_t type, uint64_t *random, double size, const float *from, uint64_t n,
                     unsigned char *to, float *values)
{
    enum vkm_dtype plain = plain_dtype(type);
    if (plain != VKM_DTYPE_COUNT) {
        for (uint64_t i = 0; i < n; i++) {
            vkm_store_f32(to, plain, i, from[i]);
            values[i] = vkm_load_f32(to, plain, i);
        }
        return;
    }
    uint32_t elements = gguf_block_elements(type), bytes = gguf_block_bytes(type);
    for (uint64_t b = 0; b < n / elements; b++, to += bytes) {
        bool exotic = type != 3 && type != 8; /* the signs of their scales are what writers make */
        gguf_block_random(type, random, size, exotic, to);
        for (uint32_t i = 0; i < elements; i++)
            values[b * elements + i] = gguf_block_value(type, to, i);
    }
}

static uint64_t row_bytes(uint32_t type, uint64_t cols)
{
    enum vkm_dtype plain = plain_dtype(type);
    return plain == VKM_DTYPE_COUNT ? cols / gguf_block_elements(type) * gguf_block_bytes(type)
                                    : cols * vkm_dtype_size(plain);
}

static float *read_values(const struct vkm_tensor *t, uint64_t n)
{
    unsigned char *raw = malloc(t->size);
    float *values = malloc(n * sizeof(*values));
    vkmoe_error err;
    assert_true(raw && values);
    assert_ok(vkm_tensor_read(t, 0, raw, t->size, &err), &err);
    for (uint64_t i = 0; i < n; i++)
        values[i] = vkm_load_f32(raw, t->dtype, i);
    free(raw);
    return values;
}

static void keep_exact(struct converter *c, const struct vkm_tensor *t, uint32_t type,
                       const float *values, uint64_t n)
{
    enum vkm_dtype plain = plain_dtype(type);
    struct vkm_tensor_out out = {.name = strdup(t->name), .n_dims = t->n_dims};
    out.dtype = plain == VKM_DTYPE_COUNT ? VKM_DTYPE_F32 : plain;
    memcpy(out.shape, t->shape, sizeof(t->shape));
    char *data = malloc(n * vkm_dtype_size(out.dtype));
    assert_non_null(data);
    for (uint64_t i = 0; i < n; i++)
        vkm_store_f32(data, out.dtype, i, values[i]);
    out.data = data;
    assert_true(VKM_ARRAY_RESERVE(NULL, &c->exact, 1));
    c->exact.items[c->exact.count++] = out;
}

/* Row r of a head of which GGUF interleaves the halves. */
static uint64_t place_of(uint64_t r, uint32_t head)
{
    uint64_t half = head / 2;
    return head ? r / head * head + 2 * (r % head % half) + r % head / half : r;
}

static void convert_slice(struct converter *c, const struct item *item, const struct vkm_tensor *t,
                          uint32_t type, unsigned char *to)
{
    uint64_t rows = t->n_dims > 1 ? t->shape[0] : 1, cols = t->shape[t->n_dims - 1];
    uint64_t random = vkm_hash(VKM_HASH_INIT, t->name, strlen(t->name));
    float *from = read_values(t, rows * cols), *values = malloc(rows * cols * sizeof(*values));
    double size = strcmp(item->own, "token_embd.weight") == 0 ? 1 : 2 / sqrt((double)cols);
    assert_non_null(values);
    for (uint64_t r = 0; r < rows; r++)
        make_row(type, &random, size, from + r * cols, cols,
                 to + place_of(r, item->head) * row_bytes(type, cols), values + r * cols);
    keep_exact(c, t, type, values, rows * cols);
    free(values);
    free(from);
}

static const struct vkm_tensor *find_slice(const struct converter *c, const struct item *item,
                                           uint32_t slice)
{
    char name[160];
    const char *mark = strstr(item->name, "%u");
    if (!mark)
        return vkm_checkpoint_find(c->from, item->name);
    snprintf(name, sizeof(name), "%.*s%u%s", (int)(mark - item->name), item->name, slice, mark + 2);
    return vkm_checkpoint_find(c->from, name);
}

/* A tensor that the folder lacks is left out. */
static void convert(struct converter *c, const struct item *item)
{
    const struct vkm_tensor *t = find_slice(c, item, 0);
    uint32_t slices = item->slices ? item->slices : 1;
    if (!t)
        return;
    uint64_t cols = t->shape[t->n_dims - 1], rows = t->n_dims > 1 ? t->shape[0] : 1;
    const uint64_t shape[] = {cols, rows, slices};
    uint32_t type = choose_type(c, item, cols);
    size_t size = (size_t)(rows * row_bytes(type, cols));
    unsigned char *data = malloc(size * slices);
    assert_non_null(data);
    for (uint32_t i = 0; i < slices; i++)
        convert_slice(c, item, find_slice(c, item, i), type, data + i * size);
    gguf_tensor(&c->file, item->own, type, item->slices ? 3 : t->n_dims, shape, data,
                size * slices);
    free(data);
}

static void convert_layer(struct converter *c, uint32_t layer)
{
    const uint32_t head = c->config.head_dim, experts = c->config.n_routed_experts;
    const struct item items[] = {
        {"attn_norm", "input_layernorm", 0, 0, true},
        {"ffn_norm", "post_attention_layernorm", 0, 0, true},
        {"attn_q", "self_attn.q_proj", 0, head, false},
        {"attn_k", "self_attn.k_proj", 0, head, false},
        {"attn_v", "self_attn.v_proj", 0, 0, false},
        {"attn_output", "self_attn.o_proj", 0, 0, false},
        {"ffn_gate", "mlp.gate_proj", 0, 0, false},
        {"ffn_up", "mlp.up_proj", 0, 0, false},
        {"ffn_down", "mlp.down_proj", 0, 0, false},
        {"ffn_gate_inp", "mlp.gate", 0, 0, true},
        {"ffn_gate_exps", "mlp.experts.%u.gate_proj", experts, 0, false},
        {"ffn_up_exps", "mlp.experts.%u.up_proj", experts, 0, false},
        {"ffn_down_exps", "mlp.experts.%u.down_proj", experts, 0, false},
        {"ffn_gate_shexp", "mlp.shared_experts.gate_proj", 0, 0, false},
        {"ffn_up_shexp", "mlp.shared_experts.up_proj", 0, 0, false},
        {"ffn_down_shexp", "mlp.shared_experts.down_proj", 0, 0, false},
    };
    for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++) {
        struct item item = items[i];
        char own[96], name[128];
        snprintf(own, sizeof(own), "blk.%u.%s.weight", layer, items[i].own);
        snprintf(name, sizeof(name), "model.layers.%u.%s.weight", layer, items[i].name);
        item.own = own;
        item.name = name;
        convert(c, &item);
    }
}

/* --- metadata --- */

static void put_config(struct converter *c)
{
    const struct vkm_config *m = &c->config;
    struct gguf_file *f = &c->file;
    gguf_put_string(f, "general.architecture", "deepseek");
    gguf_put_u32(f, "deepseek.vocab_size", m->vocab_size);
    gguf_put_u32(f, "deepseek.context_length", m->max_position_embeddings);
    gguf_put_u32(f, "deepseek.embedding_length", m->hidden_size);
    gguf_put_u32(f, "deepseek.block_count", m->num_hidden_layers);
    gguf_put_u32(f, "deepseek.feed_forward_length", m->intermediate_size);
    gguf_put_u32(f, "deepseek.rope.dimension_count", m->head_dim);
    gguf_put_u32(f, "deepseek.attention.head_count", m->num_attention_heads);
    gguf_put_u32(f, "deepseek.attention.head_count_kv", m->num_key_value_heads);
    gguf_put_f32(f, "deepseek.attention.layer_norm_rms_epsilon", m->rms_norm_eps);
    gguf_put_f32(f, "deepseek.rope.freq_base", (float)m->rope_theta);
    gguf_put_u32(f, "deepseek.leading_dense_block_count", m->first_k_dense_replace);
    gguf_put_u32(f, "deepseek.expert_count", m->n_routed_experts);
    gguf_put_u32(f, "deepseek.expert_used_count", m->num_experts_per_tok);
    gguf_put_u32(f, "deepseek.expert_feed_forward_length", m->moe_intermediate_size);
    gguf_put_u32(f, "deepseek.expert_shared_count", m->n_shared_experts);
    gguf_put_f32(f, "deepseek.expert_weights_scale", m->routed_scaling_factor);
    gguf_put_bool(f, "deepseek.expert_weights_norm", m->norm_topk_prob);
    if (m->rope_scaling == VKM_ROPE_LINEAR) {
        gguf_put_string(f, "deepseek.rope.scaling.type", "linear");
        gguf_put_f32(f, "deepseek.rope.scaling.factor", (float)m->rope_factor);
    }
}

static void put_list(struct gguf_file *f, const char *key, const json_t *list)
{
    size_t n = json_array_size(list);
    const char **texts = calloc(n + 1, sizeof(*texts));
    assert_non_null(texts);
    for (size_t i = 0; i < n; i++)
        texts[i] = json_string_value(json_array_get(list, i));
    gguf_put_strings(f, key, texts, n);
    free(texts);
}

/* The id of the token that tokenizer_config.json calls `name`. */
static void put_named(struct converter *c, const json_t *config, const char *name, const char *key,
                      const char *const *tokens)
{
    const char *text = json_string_value(json_object_get(config, name));
    uint32_t id = 0;
    assert_non_null(text);
    while (strcmp(tokens[id], text) != 0)
        id++;
    gguf_put_u32(&c->file, key, id);
}

static json_t *load_json(const char *folder, const char *name)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    json_t *root = json_load_file(path, 0, NULL);
    assert_non_null(root);
    return root;
}

static void put_tokenizer(struct converter *c, const char *folder)
{
    enum { NORMAL = 1, CONTROL = 3, USER_DEFINED = 4 };
    const char *text;
    json_t *id, *entry;
    size_t i, n = c->config.vocab_size;
    json_t *root = load_json(folder, "tokenizer.json"), *model = json_object_get(root, "model");
    json_t *config = load_json(folder, "tokenizer_config.json");
    const char **tokens = calloc(n, sizeof(*tokens));
    int32_t *types = calloc(n, sizeof(*types));
    assert_true(tokens && types);
    json_object_foreach(json_object_get(model, "vocab"), text, id)
    {
        tokens[json_integer_value(id)] = text;
        types[json_integer_value(id)] = NORMAL;
    }
    json_array_foreach(json_object_get(root, "added_tokens"), i, entry)
    {
        json_int_t at = json_integer_value(json_object_get(entry, "id"));
        tokens[at] = json_string_value(json_object_get(entry, "content"));
        types[at] = json_is_true(json_object_get(entry, "special")) ? CONTROL : USER_DEFINED;
    }
    gguf_put_string(&c->file, "tokenizer.ggml.model", "gpt2");
    gguf_put_string(&c->file, "tokenizer.ggml.pre", "deepseek-llm");
    gguf_put_strings(&c->file, "tokenizer.ggml.tokens", tokens, n);
    gguf_put_integers(&c->file, "tokenizer.ggml.token_type", types, n);
    put_list(&c->file, "tokenizer.ggml.merges", json_object_get(model, "merges"));
    gguf_put_bool(&c->file, "tokenizer.ggml.add_bos_token",
                  json_is_true(json_object_get(config, "add_bos_token")));
    put_named(c, config, "bos_token", "tokenizer.ggml.bos_token_id", tokens);
    put_named(c, config, "eos_token", "tokenizer.ggml.eos_token_id", tokens);
    json_decref(config);
    free(tokens);
    free(types);
    json_decref(root);
}

/* --- files --- */

static void write_exact(struct converter *c, const char *folder, const char *exact)
{
    char path[4096];
    vkmoe_error err;
    json_t *config = load_json(folder, "config.json");
    snprintf(path, sizeof(path), "%s/config.json", exact);
    assert_int_equal(json_dump_file(config, path, 0), 0);
    json_decref(config);
    snprintf(path, sizeof(path), "%s/model.safetensors", exact);
    assert_ok(vkm_safetensors_write(NULL, path, c->exact.items, c->exact.count, &err), &err);
}

void gguf_convert(const char *folder, const struct gguf_recipe *recipe, const char *path,
                  const char *exact)
{
    struct converter c = {.recipe = recipe, .file = gguf_new()};
    struct vkm_checkpoint *from;
    vkmoe_error err;
    assert_ok(vkm_config_load(NULL, folder, &c.config, &err), &err);
    assert_ok(vkm_checkpoint_open(NULL, folder, &from, &err), &err);
    c.from = from;
    put_config(&c);
    if (recipe->tokenizer)
        put_tokenizer(&c, folder);
    if (recipe->chat_template)
        gguf_put_string(&c.file, "tokenizer.chat_template", recipe->chat_template);
    convert(&c, &(struct item){"token_embd.weight", "model.embed_tokens.weight", 0, 0, false});
    for (uint32_t i = 0; i < c.config.num_hidden_layers; i++)
        convert_layer(&c, i);
    convert(&c, &(struct item){"output_norm.weight", "model.norm.weight", 0, 0, true});
    convert(&c, &(struct item){"output.weight", "lm_head.weight", 0, 0, false});
    gguf_write(&c.file, path);
    if (exact)
        write_exact(&c, folder, exact);
    for (size_t i = 0; i < c.exact.count; i++) {
        free((void *)(uintptr_t)c.exact.items[i].name);
        free((void *)(uintptr_t)c.exact.items[i].data);
    }
    vkm_free(NULL, c.exact.items);
    vkm_checkpoint_close(from);
}
