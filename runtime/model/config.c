#include "model/config.h"

#include <float.h>
#include <inttypes.h>
#include <string.h>

#include "base/json.h"
#include "model/gguf.h"

#define FIELD(key) #key, offsetof(struct vkm_config, key)
#define IS_FLOAT(key) (sizeof(((struct vkm_config *)NULL)->key) == sizeof(float))

/* The keys that hold one value, with the range that each must keep. Defaults: vkm_config_defaults.
 */
static const struct count_row {
    const char *key;
    size_t offset;
    uint32_t low, high;
    bool required;
} counts[] = {
    {FIELD(vocab_size), 1, VKM_MAX_VOCAB, true},
    {FIELD(hidden_size), 2, VKM_MAX_WIDTH, true},
    {FIELD(intermediate_size), 0, VKM_MAX_WIDTH, false},
    {FIELD(moe_intermediate_size), 0, VKM_MAX_WIDTH, false},
    {FIELD(num_hidden_layers), 1, VKM_MAX_LAYERS, true},
    {FIELD(num_attention_heads), 1, VKM_MAX_WIDTH, true},
    {FIELD(num_key_value_heads), 1, VKM_MAX_WIDTH, false},
    {FIELD(n_shared_experts), 0, VKM_MAX_EXPERTS, false},
    {FIELD(n_routed_experts), 0, VKM_MAX_EXPERTS, false},
    {FIELD(num_experts_per_tok), 0, VKM_MAX_EXPERTS, false},
    {FIELD(moe_layer_freq), 1, VKM_MAX_LAYERS, false},
    {FIELD(first_k_dense_replace), 0, VKM_MAX_LAYERS, false},
    {FIELD(max_position_embeddings), 1, VKM_MAX_CONTEXT, false},
};

static const struct real_row {
    const char *key;
    size_t offset;
    bool is_float;
    double low, high;
} reals[] = {
    {FIELD(routed_scaling_factor), IS_FLOAT(routed_scaling_factor), (double)FLT_MIN, 1e6},
    {"vkmoe_router_noise", offsetof(struct vkm_config, router_noise), true, 0, 1e6},
    {FIELD(rms_norm_eps), IS_FLOAT(rms_norm_eps), (double)FLT_MIN, 1},
    {FIELD(rope_theta), IS_FLOAT(rope_theta), 1, 1e12},
    {FIELD(aux_loss_alpha), IS_FLOAT(aux_loss_alpha), 0, 1e6},
};

struct field_row {
    const char *key;
    size_t offset;
};

static const struct field_row flags[] = {
    {FIELD(norm_topk_prob)},
    {FIELD(attention_bias)},
    {FIELD(tie_word_embeddings)},
    {FIELD(seq_aux)},
};

static const struct field_row tokens[] = {
    {FIELD(bos_token_id)},
    {FIELD(eos_token_id)},
    {FIELD(pad_token_id)},
};

/* The keys whose only served value is the default. */
static const struct choice_row {
    const char *key;
    const char *served;
} choices[] = {
    {"model_type", "deepseek"},
    {"hidden_act", "silu"},
    {"scoring_func", "softmax"},
    {"topk_method", "greedy"},
};

#define ROPE_FACTOR_LOW 1e-6
#define ROPE_FACTOR_HIGH 1e6

static const void *field(const struct vkm_config *c, size_t offset)
{
    return (const char *)c + offset;
}

static void *mutable_field(struct vkm_config *c, size_t offset)
{
    return (char *)c + offset;
}

struct vkm_config vkm_config_defaults(void)
{
    return (struct vkm_config){
        .moe_layer_freq = 1,
        .routed_scaling_factor = 1.0f,
        .rms_norm_eps = 1e-6f,
        .max_position_embeddings = 2048,
        .rope_theta = 10000.0,
        .rope_scaling = VKM_ROPE_DEFAULT,
        .rope_factor = 1.0,
        .aux_loss_alpha = 0.001,
        .seq_aux = true,
        .bos_token_id = -1,
        .eos_token_id = -1,
        .pad_token_id = -1,
    };
}

static vkmoe_status read_counts(const struct vkm_json_source *s, struct vkm_config *c)
{
    for (size_t i = 0; i < VKM_COUNT(counts); i++) {
        const struct count_row *row = &counts[i];
        uint32_t *target = mutable_field(c, row->offset);
        int64_t value = *target;
        vkmoe_status status = vkm_json_get_integer(s, row->key, row->low, row->high, &value);
        if (status != VKMOE_OK)
            return status;
        if (row->required && !vkm_json_get(s, row->key))
            return vkm_fail(s->err, VKMOE_BAD_FORMAT,
                            "%s: %s is absent, expected an integer from %" PRIu32 " to %" PRIu32,
                            s->file, row->key, row->low, row->high);
        *target = (uint32_t)value;
    }
    return VKMOE_OK;
}

static vkmoe_status read_reals_and_flags(const struct vkm_json_source *s, struct vkm_config *c)
{
    for (size_t i = 0; i < VKM_COUNT(reals); i++) {
        const struct real_row *row = &reals[i];
        void *target = mutable_field(c, row->offset);
        double value = row->is_float ? (double)*(float *)target : *(double *)target;
        vkmoe_status status = vkm_json_get_real(s, row->key, row->low, row->high, &value);
        if (status != VKMOE_OK)
            return status;
        if (row->is_float)
            *(float *)target = (float)value;
        else
            *(double *)target = value;
    }
    for (size_t i = 0; i < VKM_COUNT(flags); i++) {
        vkmoe_status status = vkm_json_get_bool(s, flags[i].key, mutable_field(c, flags[i].offset));
        if (status != VKMOE_OK)
            return status;
    }
    return VKMOE_OK;
}

static vkmoe_status read_tokens(const struct vkm_json_source *s, struct vkm_config *c)
{
    const int64_t last = (int64_t)VKM_MAX_VOCAB - 1;
    for (size_t i = 0; i < VKM_COUNT(tokens); i++) {
        int32_t *target = mutable_field(c, tokens[i].offset);
        int64_t values[VKM_MAX_EOS] = {-1};
        uint32_t n = 0;
        vkmoe_status status =
            target == &c->eos_token_id
                ? vkm_json_get_integers(s, tokens[i].key, -1, last, VKM_MAX_EOS, values, &n)
                : vkm_json_get_integer(s, tokens[i].key, -1, last, values);
        if (status != VKMOE_OK)
            return status;
        *target = (int32_t)values[0];
    }
    return VKMOE_OK;
}

static vkmoe_status read_rope_scaling(const struct vkm_json_source *s, struct vkm_config *c)
{
    static const char key[] = "rope_scaling";
    const json_t *scaling = vkm_json_get(s, key);
    const struct vkm_json_source inner = {scaling, s->file, s->err};
    if (!scaling)
        return VKMOE_OK;
    if (!json_is_object(scaling))
        return vkm_json_mismatch(s->err, VKMOE_BAD_FORMAT, s->file, key, scaling,
                                 "null or an object");
    const json_t *type = vkm_json_get(&inner, "rope_type");
    if (!type)
        type = vkm_json_get(&inner, "type");
    const char *name = json_string_value(type);
    if (!name)
        return vkm_json_mismatch(s->err, VKMOE_BAD_FORMAT, s->file, "rope_scaling.type", type,
                                 "a string");
    if (strcmp(name, "default") == 0)
        return VKMOE_OK;
    if (strcmp(name, "linear") == 0)
        c->rope_scaling = VKM_ROPE_LINEAR;
    else if (strcmp(name, "dynamic") == 0)
        c->rope_scaling = VKM_ROPE_DYNAMIC;
    else
        return vkm_json_mismatch(s->err, VKMOE_UNSUPPORTED, s->file, "rope_scaling.type", type,
                                 "default, linear or dynamic");
    if (!vkm_json_get(&inner, "factor"))
        return vkm_json_mismatch(s->err, VKMOE_BAD_FORMAT, s->file, "rope_scaling.factor", NULL,
                                 "a number");
    return vkm_json_get_real(&inner, "factor", ROPE_FACTOR_LOW, ROPE_FACTOR_HIGH, &c->rope_factor);
}

/* Refuses what would load and then compute something else than the model means. */
static vkmoe_status read_choices(const struct vkm_json_source *s)
{
    for (size_t i = 0; i < VKM_COUNT(choices); i++) {
        const char *value = choices[i].served;
        vkmoe_status status = vkm_json_get_string(s, choices[i].key, &value);
        if (status != VKMOE_OK)
            return status;
        if (strcmp(value, choices[i].served) != 0)
            return vkm_json_mismatch(s->err, VKMOE_UNSUPPORTED, s->file, choices[i].key,
                                     vkm_json_get(s, choices[i].key), choices[i].served);
    }
    return VKMOE_OK;
}

static vkmoe_status read_architectures(const struct vkm_json_source *s)
{
    static const char key[] = "architectures", served[] = "DeepseekForCausalLM";
    const json_t *list = vkm_json_get(s, key);
    if (!list)
        return VKMOE_OK;
    if (!json_is_array(list))
        return vkm_json_mismatch(s->err, VKMOE_BAD_FORMAT, s->file, key, list,
                                 "an array of strings");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *name = json_array_get(list, i);
        if (!json_is_string(name))
            return vkm_json_mismatch(s->err, VKMOE_BAD_FORMAT, s->file, "an entry of architectures",
                                     name, "a string");
        if (strcmp(json_string_value(name), served) != 0)
            return vkm_json_mismatch(s->err, VKMOE_UNSUPPORTED, s->file, "the architecture", name,
                                     served);
    }
    return VKMOE_OK;
}

static const char *const routers[VKMOE_ROUTER_COUNT] = {
    [VKMOE_ROUTER_MODEL] = "topk", [VKMOE_ROUTER_HASH] = "hash", [VKMOE_ROUTER_DENSE] = "dense"};

/* How experts are chosen where that is not by the K largest scores. GShard and Switch are top-K,
 * which num_experts_per_tok and norm_topk_prob say. */
static vkmoe_status read_router(const struct vkm_json_source *s, struct vkm_config *c)
{
    static const char key[] = "vkmoe_router";
    const char *name = routers[VKMOE_ROUTER_MODEL];
    int64_t seed = 0;
    int router = 0;
    vkmoe_status status = vkm_json_get_string(s, key, &name);
    if (status == VKMOE_OK)
        status = vkm_json_get_integer(s, "vkmoe_router_seed", 0, INT64_MAX, &seed);
    if (status != VKMOE_OK)
        return status;
    while (router < VKMOE_ROUTER_COUNT && (!routers[router] || strcmp(name, routers[router]) != 0))
        router++;
    if (router == VKMOE_ROUTER_COUNT)
        return vkm_json_mismatch(s->err, VKMOE_UNSUPPORTED, s->file, key, vkm_json_get(s, key),
                                 "topk, hash or dense");
    c->router = (vkmoe_router)router;
    c->router_seed = (uint64_t)seed;
    if (c->router == VKMOE_ROUTER_DENSE && !vkm_json_get(s, "num_experts_per_tok"))
        c->num_experts_per_tok = c->n_routed_experts;
    return VKMOE_OK;
}

/* head_dim is no key of DeepseekConfig; where a file has it, it must say nothing new. */
static vkmoe_status derive(const struct vkm_json_source *s, struct vkm_config *c)
{
    int64_t head_dim;
    if (!vkm_json_get(s, "num_key_value_heads"))
        c->num_key_value_heads = c->num_attention_heads;
    if (c->n_routed_experts == 0)
        c->n_shared_experts = c->num_experts_per_tok = 0;
    head_dim = c->head_dim = c->hidden_size / c->num_attention_heads;
    vkmoe_status status = vkm_json_get_integer(s, "head_dim", 1, VKM_MAX_WIDTH, &head_dim);
    if (status == VKMOE_OK && head_dim != c->head_dim)
        return vkm_fail(s->err, VKMOE_UNSUPPORTED,
                        "%s: head_dim is %" PRId64 ", expected %" PRIu32
                        ", hidden_size over num_attention_heads",
                        s->file, head_dim, c->head_dim);
    return status;
}

vkmoe_status vkm_config_load_file(const vkmoe_allocator *a, const char *file,
                                  struct vkm_config *config, vkmoe_error *err)
{
    struct vkm_config c = vkm_config_defaults();
    json_t *object;
    vkmoe_status status = vkm_json_load(a, file, VKM_CONFIG_FILE_LIMIT, &object, err);
    if (status != VKMOE_OK)
        return status;
    const struct vkm_json_source s = {object, file, err};
    status = read_architectures(&s);
    if (status == VKMOE_OK)
        status = read_choices(&s);
    if (status == VKMOE_OK)
        status = read_counts(&s, &c);
    if (status == VKMOE_OK)
        status = read_reals_and_flags(&s, &c);
    if (status == VKMOE_OK)
        status = read_tokens(&s, &c);
    if (status == VKMOE_OK)
        status = read_rope_scaling(&s, &c);
    if (status == VKMOE_OK)
        status = read_router(&s, &c);
    if (status == VKMOE_OK)
        status = derive(&s, &c);
    if (status == VKMOE_OK)
        status = vkm_config_check(&c, file, err);
    if (status == VKMOE_OK)
        *config = c;
    json_decref(object);
    return status;
}

static vkmoe_status load_gguf(const vkmoe_allocator *a, const char *path, struct vkm_config *config,
                              vkmoe_error *err)
{
    struct vkm_gguf *g = NULL;
    vkmoe_status status = vkm_gguf_open(a, path, VKM_GGUF_SHORT_ARRAY, &g, err);
    if (status == VKMOE_OK)
        status = vkm_gguf_config(g, config, err);
    vkm_gguf_close(g);
    return status;
}

vkmoe_status vkm_config_load(const vkmoe_allocator *a, const char *path, struct vkm_config *config,
                             vkmoe_error *err)
{
    if (vkm_gguf_is(path))
        return load_gguf(a, path, config, err);
    char *file = vkm_format(a, "%s/config.json", path);
    if (!file)
        return vkm_fail_memory(err, strlen(path), path);
    vkmoe_status status = vkm_config_load_file(a, file, config, err);
    vkm_free(a, file);
    return status;
}

static vkmoe_status check_ranges(const struct vkm_config *c, const char *where, vkmoe_error *err)
{
    for (size_t i = 0; i < VKM_COUNT(counts); i++) {
        const struct count_row *row = &counts[i];
        uint32_t value = *(const uint32_t *)field(c, row->offset);
        if (value < row->low || value > row->high)
            return vkm_fail(err, VKMOE_BAD_FORMAT,
                            "%s: %s is %" PRIu32 ", expected %" PRIu32 " to %" PRIu32, where,
                            row->key, value, row->low, row->high);
    }
    for (size_t i = 0; i < VKM_COUNT(reals); i++) {
        const struct real_row *row = &reals[i];
        const void *source = field(c, row->offset);
        double value = row->is_float ? (double)*(const float *)source : *(const double *)source;
        if (!(value >= row->low && value <= row->high))
            return vkm_fail(err, VKMOE_BAD_FORMAT, "%s: %s is %g, expected %g to %g", where,
                            row->key, value, row->low, row->high);
    }
    if (!(c->rope_factor >= ROPE_FACTOR_LOW && c->rope_factor <= ROPE_FACTOR_HIGH))
        return vkm_fail(err, VKMOE_BAD_FORMAT, "%s: rope_scaling.factor is %g, expected %g to %g",
                        where, c->rope_factor, ROPE_FACTOR_LOW, ROPE_FACTOR_HIGH);
    for (size_t i = 0; i < VKM_COUNT(tokens); i++) {
        int32_t value = *(const int32_t *)field(c, tokens[i].offset);
        if (value < -1 || value >= (int32_t)c->vocab_size)
            return vkm_fail(err, VKMOE_BAD_FORMAT,
                            "%s: %s is %" PRId32 ", expected an id below the vocab_size of %" PRIu32
                            " or -1 for none",
                            where, tokens[i].key, value, c->vocab_size);
    }
    return VKMOE_OK;
}

static vkmoe_status check_attention(const struct vkm_config *c, const char *where, vkmoe_error *err)
{
    if (c->hidden_size % c->num_attention_heads != 0)
        return vkm_fail(err, VKMOE_BAD_FORMAT,
                        "%s: hidden_size is %" PRIu32
                        ", expected a multiple of the num_attention_heads of %" PRIu32,
                        where, c->hidden_size, c->num_attention_heads);
    if (c->num_attention_heads % c->num_key_value_heads != 0)
        return vkm_fail(err, VKMOE_BAD_FORMAT,
                        "%s: num_key_value_heads is %" PRIu32
                        ", expected a divisor of the num_attention_heads of %" PRIu32,
                        where, c->num_key_value_heads, c->num_attention_heads);
    uint32_t head_dim = c->hidden_size / c->num_attention_heads;
    if (c->head_dim != head_dim || head_dim % 2 != 0 || head_dim > VKM_MAX_HEAD_DIM)
        return vkm_fail(err, VKMOE_BAD_FORMAT,
                        "%s: the head size is %" PRIu32
                        ", expected hidden_size over num_attention_heads, which is %" PRIu32
                        ", even and at most %u",
                        where, c->head_dim, head_dim, VKM_MAX_HEAD_DIM);
    return VKMOE_OK;
}

static vkmoe_status check_layers(const struct vkm_config *c, const char *where, vkmoe_error *err)
{
    uint32_t moe = vkm_config_moe_layers(c), dense = c->num_hidden_layers - moe;
    if (c->n_routed_experts > 0 &&
        (c->num_experts_per_tok == 0 || c->num_experts_per_tok > c->n_routed_experts))
        return vkm_fail(err, VKMOE_BAD_FORMAT,
                        "%s: num_experts_per_tok is %" PRIu32
                        ", expected 1 to the n_routed_experts of %" PRIu32,
                        where, c->num_experts_per_tok, c->n_routed_experts);
    if (dense > 0 && c->intermediate_size == 0)
        return vkm_fail(err, VKMOE_BAD_FORMAT,
                        "%s: intermediate_size is 0 or absent, expected 1 to %u for the %" PRIu32
                        " dense layers",
                        where, VKM_MAX_WIDTH, dense);
    if (moe > 0 && c->moe_intermediate_size == 0)
        return vkm_fail(err, VKMOE_BAD_FORMAT,
                        "%s: moe_intermediate_size is 0 or absent, expected 1 to %u for the "
                        "%" PRIu32 " MoE layers",
                        where, VKM_MAX_WIDTH, moe);
    if ((uint64_t)c->n_shared_experts * c->moe_intermediate_size > VKM_MAX_WIDTH)
        return vkm_fail(err, VKMOE_BAD_FORMAT,
                        "%s: n_shared_experts is %" PRIu32
                        ", expected shared experts whose widths of %" PRIu32
                        " add up to at most %u",
                        where, c->n_shared_experts, c->moe_intermediate_size, VKM_MAX_WIDTH);
    return VKMOE_OK;
}

/* Keys that contradict each other: what was meant cannot be known. */
static vkmoe_status check_router(const struct vkm_config *c, const char *where, vkmoe_error *err)
{
    const char *name = routers[c->router];
    if (c->router == VKMOE_ROUTER_MODEL && (c->router_noise == 0 || c->n_routed_experts > 0))
        return VKMOE_OK;
    if (c->n_routed_experts == 0)
        return vkm_fail(err, VKMOE_BAD_FORMAT,
                        "%s: vkmoe_router or vkmoe_router_noise says how to choose among routed "
                        "experts, of which n_routed_experts has none",
                        where);
    if (c->router_noise > 0)
        return vkm_fail(err, VKMOE_BAD_FORMAT,
                        "%s: vkmoe_router_noise is %g, expected 0 or none, as vkmoe_router %s "
                        "compares no scores",
                        where, (double)c->router_noise, name);
    if (c->router == VKMOE_ROUTER_DENSE && c->num_experts_per_tok != c->n_routed_experts)
        return vkm_fail(err, VKMOE_BAD_FORMAT,
                        "%s: num_experts_per_tok is %" PRIu32
                        ", expected the n_routed_experts of %" PRIu32 ", as vkmoe_router is dense",
                        where, c->num_experts_per_tok, c->n_routed_experts);
    if (c->router == VKMOE_ROUTER_HASH && c->norm_topk_prob)
        return vkm_fail(err, VKMOE_BAD_FORMAT,
                        "%s: norm_topk_prob is true, expected false, as vkmoe_router hash gives "
                        "every chosen expert the same gate",
                        where);
    return VKMOE_OK;
}

vkmoe_status vkm_config_check(const struct vkm_config *config, const char *where, vkmoe_error *err)
{
    vkmoe_status status = check_ranges(config, where, err);
    if (status == VKMOE_OK)
        status = check_attention(config, where, err);
    if (status == VKMOE_OK)
        status = check_layers(config, where, err);
    if (status == VKMOE_OK)
        status = check_router(config, where, err);
    return status;
}

bool vkm_config_is_moe(const struct vkm_config *config, uint32_t index)
{
    return config->n_routed_experts > 0 && index >= config->first_k_dense_replace &&
           index % config->moe_layer_freq == 0;
}

uint32_t vkm_config_moe_layers(const struct vkm_config *config)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < config->num_hidden_layers; i++)
        n += vkm_config_is_moe(config, i);
    return n;
}
