#include "model/named.h"

#include <string.h>
#include <sys/stat.h>

#include "base/gguf.h"

/* How they choose experts: the K best by score, with gates that add up to 1, or by a table. */
enum chooser { TOP, NORMED, HASH };

/* The baselines at 2B differ from deepseek-moe-2b in their FFNs and routers alone: standard experts
 * are four times as wide as fine-grained ones, and a dense layer has one of them. */
static const struct named {
    const char *name;
    uint32_t layers, hidden, heads, vocab;
    uint32_t dense_layers, dense_width; /* the first so many layers */
    uint32_t shared, routed, active, expert_width;
    enum chooser chooser;
    uint32_t context;
} named[] = {
    /* name, layers, hidden, heads, vocab, dense, width, shared, routed, active, width, ... */
    {"deepseek-moe-2b", 9, 1280, 10, 8192, 0, 0, 1, 63, 7, 853, TOP, 2048},
    {"deepseek-moe-16b", 28, 2048, 16, 102400, 1, 10944, 2, 64, 6, 1408, TOP, 4096},
    {"deepseek-moe-145b", 62, 4096, 32, 102400, 1, 11264, 4, 128, 12, 1408, TOP, 4096},
    {"dense-2b", 9, 1280, 10, 8192, 9, 3412, 0, 0, 0, 0, TOP, 2048},
    {"hash-2b", 9, 1280, 10, 8192, 0, 0, 0, 16, 1, 3412, HASH, 2048},
    {"switch-2b", 9, 1280, 10, 8192, 0, 0, 0, 16, 1, 3412, TOP, 2048},
    {"gshard-2b", 9, 1280, 10, 8192, 0, 0, 0, 16, 2, 3412, NORMED, 2048},
    {"llama2-7b", 32, 4096, 32, 32000, 32, 11008, 0, 0, 0, 0, TOP, 4096},
    {"deepseek-7b", 30, 4096, 32, 102400, 30, 11008, 0, 0, 0, 0, TOP, 4096},
};

const char *vkm_named_config(size_t index)
{
    return index < VKM_COUNT(named) ? named[index].name : NULL;
}

static struct vkm_config config_of(const struct named *n)
{
    return (struct vkm_config){
        .vocab_size = n->vocab,
        .hidden_size = n->hidden,
        .intermediate_size = n->dense_width,
        .moe_intermediate_size = n->expert_width,
        .num_hidden_layers = n->layers,
        .num_attention_heads = n->heads,
        .num_key_value_heads = n->heads,
        .head_dim = n->hidden / n->heads,
        .n_shared_experts = n->shared,
        .n_routed_experts = n->routed,
        .num_experts_per_tok = n->active,
        .moe_layer_freq = 1,
        .first_k_dense_replace = n->dense_layers,
        .norm_topk_prob = n->chooser == NORMED,
        .router = n->chooser == HASH ? VKMOE_ROUTER_HASH : VKMOE_ROUTER_MODEL,
        .routed_scaling_factor = 1,
        .rms_norm_eps = 1e-6f,
        .max_position_embeddings = n->context,
        .rope_theta = 10000,
        .rope_factor = 1,
        .bos_token_id = -1,
        .eos_token_id = -1,
        .pad_token_id = -1,
    };
}

bool vkm_named_config_find(const char *name, struct vkm_config *config)
{
    for (size_t i = 0; i < VKM_COUNT(named); i++) {
        if (strcmp(named[i].name, name) == 0) {
            *config = config_of(&named[i]);
            return true;
        }
    }
    return false;
}

vkmoe_status vkm_config_resolve(const vkmoe_allocator *a, const char *model,
                                struct vkm_config *config, bool *weights, vkmoe_error *err)
{
    struct stat st;
    bool found = vkm_named_config_find(model, config);
    bool has_weights =
        !found && ((stat(model, &st) == 0 && S_ISDIR(st.st_mode)) || vkm_gguf_is(model));
    if (weights)
        *weights = has_weights;
    if (found)
        return VKMOE_OK;
    if (has_weights)
        return vkm_config_load(a, model, config, err);
    vkmoe_status status = vkm_config_load_file(a, model, config, err);
    if (status == VKMOE_NOT_FOUND)
        return vkm_fail(err, status,
                        "%s is neither a folder, nor a GGUF file, nor a configuration file, nor "
                        "the name of a known "
                        "configuration such as %s",
                        model, named[1].name);
    return status;
}
