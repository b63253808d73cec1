#include <inttypes.h>
#include <string.h>

#include "model/gguf.h"

#define KEY(name) VKM_GGUF_ARCH "." name
#define COUNT(name, field) KEY(name), offsetof(struct vkm_config, field)

/* Ranges are those of every configuration: vkm_config_check. */
static const struct count_row {
    const char *key;
    size_t offset;
    bool required;
} counts[] = {
    {COUNT("embedding_length", hidden_size), true},
    {COUNT("block_count", num_hidden_layers), true},
    {COUNT("attention.head_count", num_attention_heads), true},
    {COUNT("attention.head_count_kv", num_key_value_heads), false},
    {COUNT("feed_forward_length", intermediate_size), false},
    {COUNT("expert_feed_forward_length", moe_intermediate_size), false},
    {COUNT("expert_count", n_routed_experts), false},
    {COUNT("expert_used_count", num_experts_per_tok), false},
    {COUNT("expert_shared_count", n_shared_experts), false},
    {COUNT("leading_dense_block_count", first_k_dense_replace), false},
    {COUNT("context_length", max_position_embeddings), true},
    {COUNT("vocab_size", vocab_size), false},
};

static vkmoe_status read_counts(const struct vkm_json_source *s, struct vkm_config *c)
{
    for (size_t i = 0; i < VKM_COUNT(counts); i++) {
        uint32_t *target = (uint32_t *)(void *)((char *)c + counts[i].offset);
        int64_t value = *target;
        vkmoe_status status = vkm_json_get_integer(s, counts[i].key, 0, UINT32_MAX, &value);
        if (status != VKMOE_OK)
            return status;
        if (counts[i].required && !vkm_json_get(s, counts[i].key))
            return vkm_json_mismatch(s->err, VKMOE_BAD_FORMAT, s->file, counts[i].key, NULL,
                                     "an integer");
        *target = (uint32_t)value;
    }
    return VKMOE_OK;
}

static vkmoe_status read_reals(const struct vkm_json_source *s, struct vkm_config *c)
{
    double eps = (double)c->rms_norm_eps, scale = (double)c->routed_scaling_factor;
    vkmoe_status status = vkm_json_get_real(s, KEY("attention.layer_norm_rms_epsilon"), 0, 1, &eps);
    if (status == VKMOE_OK && !vkm_json_get(s, KEY("attention.layer_norm_rms_epsilon")))
        return vkm_json_mismatch(s->err, VKMOE_BAD_FORMAT, s->file,
                                 KEY("attention.layer_norm_rms_epsilon"), NULL, "a number");
    if (status == VKMOE_OK)
        status = vkm_json_get_real(s, KEY("expert_weights_scale"), 0, 1e6, &scale);
    if (status == VKMOE_OK)
        status = vkm_json_get_bool(s, KEY("expert_weights_norm"), &c->norm_topk_prob);
    if (status == VKMOE_OK)
        status = vkm_json_get_real(s, KEY("rope.freq_base"), 1, 1e12, &c->rope_theta);
    c->rms_norm_eps = (float)eps;
    if (scale > 0) /* writers put 0 for none */
        c->routed_scaling_factor = (float)scale;
    return status;
}

static vkmoe_status read_rope_scaling(const struct vkm_json_source *s, struct vkm_config *c)
{
    static const char key[] = KEY("rope.scaling.type"), factor[] = KEY("rope.scaling.factor");
    const char *type = "none";
    vkmoe_status status = vkm_json_get_string(s, key, &type);
    if (status != VKMOE_OK || strcmp(type, "none") == 0)
        return status;
    if (strcmp(type, "linear") != 0)
        return vkm_json_mismatch(s->err, VKMOE_UNSUPPORTED, s->file, key, vkm_json_get(s, key),
                                 "none or linear");
    if (!vkm_json_get(s, factor))
        return vkm_json_mismatch(s->err, VKMOE_BAD_FORMAT, s->file, factor, NULL, "a number");
    c->rope_scaling = VKM_ROPE_LINEAR;
    return vkm_json_get_real(s, factor, 1e-6, 1e6, &c->rope_factor);
}

static vkmoe_status read_tokens(const struct vkm_json_source *s, struct vkm_config *c)
{
    static const struct {
        const char *key;
        size_t offset;
    } tokens[] = {
        {"tokenizer.ggml.bos_token_id", offsetof(struct vkm_config, bos_token_id)},
        {"tokenizer.ggml.eos_token_id", offsetof(struct vkm_config, eos_token_id)},
        {"tokenizer.ggml.padding_token_id", offsetof(struct vkm_config, pad_token_id)},
    };
    for (size_t i = 0; i < VKM_COUNT(tokens); i++) {
        int64_t id = -1;
        vkmoe_status status =
            vkm_json_get_integer(s, tokens[i].key, 0, (int64_t)VKM_MAX_VOCAB - 1, &id);
        if (status != VKMOE_OK)
            return status;
        *(int32_t *)(void *)((char *)c + tokens[i].offset) = (int32_t)id;
    }
    return VKMOE_OK;
}

/* Keys that must say what follows from others, or nothing: only another runtime could serve more.
 */
static vkmoe_status check_fixed(const struct vkm_json_source *s, const struct vkm_config *c)
{
    const struct {
        const char *key;
        int64_t served;
    } fixed[] = {
        {KEY("rope.dimension_count"), c->head_dim},
        {KEY("attention.key_length"), c->head_dim},
        {KEY("attention.value_length"), c->head_dim},
        {KEY("expert_gating_func"), 1}, /* softmax */
    };
    for (size_t i = 0; i < VKM_COUNT(fixed); i++) {
        int64_t value = fixed[i].served;
        vkmoe_status status = vkm_json_get_integer(s, fixed[i].key, 0, UINT32_MAX, &value);
        if (status != VKMOE_OK)
            return status;
        if (value != fixed[i].served)
            return vkm_fail(s->err, VKMOE_UNSUPPORTED, "%s: %s is %" PRId64 ", expected %" PRId64,
                            s->file, fixed[i].key, value, fixed[i].served);
    }
    return VKMOE_OK;
}

static vkmoe_status check_architecture(const struct vkm_json_source *s)
{
    static const char key[] = "general.architecture";
    const char *name = ""; /* absent: as wrong as another one */
    vkmoe_status status = vkm_json_get_string(s, key, &name);
    if (status == VKMOE_OK && strcmp(name, VKM_GGUF_ARCH) != 0)
        return vkm_json_mismatch(s->err, VKMOE_UNSUPPORTED, s->file, key, vkm_json_get(s, key),
                                 VKM_GGUF_ARCH);
    return status;
}

/* What is said by tensors, or follows from other keys. */
static void derive(const struct vkm_gguf *g, const struct vkm_json_source *s, struct vkm_config *c)
{
    const struct vkm_gguf_tensor *embeddings = vkm_gguf_find(g, "token_embd.weight");
    c->tie_word_embeddings = !vkm_gguf_find(g, "output.weight");
    if (!vkm_json_get(s, KEY("vocab_size")) && embeddings && embeddings->shape[1] <= VKM_MAX_VOCAB)
        c->vocab_size = (uint32_t)embeddings->shape[1];
    if (!vkm_json_get(s, KEY("attention.head_count_kv")))
        c->num_key_value_heads = c->num_attention_heads;
    if (c->n_routed_experts == 0)
        c->n_shared_experts = c->num_experts_per_tok = 0;
    c->head_dim = c->num_attention_heads > 0 ? c->hidden_size / c->num_attention_heads : 0;
}

vkmoe_status vkm_gguf_config(const struct vkm_gguf *g, struct vkm_config *config, vkmoe_error *err)
{
    const struct vkm_json_source s = {g->metadata, g->path, err};
    struct vkm_config c = vkm_config_defaults();
    vkmoe_status status = check_architecture(&s);
    if (status == VKMOE_OK)
        status = read_counts(&s, &c);
    if (status == VKMOE_OK)
        status = read_reals(&s, &c);
    if (status == VKMOE_OK)
        status = read_rope_scaling(&s, &c);
    if (status == VKMOE_OK)
        status = read_tokens(&s, &c);
    if (status != VKMOE_OK)
        return status;
    derive(g, &s, &c);
    status = vkm_config_check(&c, g->path, err);
    if (status == VKMOE_OK)
        status = check_fixed(&s, &c);
    if (status == VKMOE_OK)
        *config = c;
    return status;
}
