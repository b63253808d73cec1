#include "model/accounting.h"

#include "../../shaders/params.h"
#include "model/kv.h"

static uint64_t ffn_parameters(const struct vkm_config *c, uint32_t width)
{
    return 3 * (uint64_t)width * c->hidden_size; /* gate, up, down */
}

static uint64_t attention_parameters(const struct vkm_config *c, bool biases)
{
    uint64_t q = (uint64_t)c->num_attention_heads * c->head_dim;
    uint64_t kv = (uint64_t)c->num_key_value_heads * c->head_dim;
    uint64_t weights = c->hidden_size * (2 * q + 2 * kv);
    return weights + (biases && c->attention_bias ? q + 2 * kv + c->hidden_size : 0);
}

/* Scores of the experts are one product, which a table over token ids does without. */
static uint64_t router_parameters(const struct vkm_config *c)
{
    return c->router == VKMOE_ROUTER_HASH ? 0 : (uint64_t)c->n_routed_experts * c->hidden_size;
}

static void set_part(vkmoe_description *d, vkmoe_part part, uint64_t total, uint64_t activated)
{
    d->parts[part] = (vkmoe_parameters){total, activated};
    d->parameters.total += total;
    d->parameters.activated += activated;
}

static void count_parameters(const struct vkm_config *c, vkmoe_description *d)
{
    uint64_t layers = c->num_hidden_layers, moe = vkm_config_moe_layers(c), dense = layers - moe;
    uint64_t table = (uint64_t)c->vocab_size * c->hidden_size;
    uint64_t head = c->tie_word_embeddings ? 0 : table;
    uint64_t attention = layers * attention_parameters(c, true);
    uint64_t norms = (2 * layers + 1) * c->hidden_size;
    uint64_t ffn = dense * ffn_parameters(c, c->intermediate_size);
    uint64_t routers = moe * router_parameters(c);
    uint64_t expert = ffn_parameters(c, c->moe_intermediate_size);
    uint64_t shared = moe * c->n_shared_experts * expert;
    set_part(d, VKMOE_PART_EMBEDDINGS, table, table);
    set_part(d, VKMOE_PART_ATTENTION, attention, attention);
    set_part(d, VKMOE_PART_NORMS, norms, norms);
    set_part(d, VKMOE_PART_DENSE_FFN, ffn, ffn);
    set_part(d, VKMOE_PART_ROUTERS, routers, routers);
    set_part(d, VKMOE_PART_SHARED_EXPERTS, shared, shared);
    set_part(d, VKMOE_PART_ROUTED_EXPERTS, moe * c->n_routed_experts * expert,
             moe * c->num_experts_per_tok * expert);
    set_part(d, VKMOE_PART_HEAD, head, head);
}

double vkm_forward_flops(const struct vkm_config *c, uint32_t tokens)
{
    double layers = c->num_hidden_layers, moe = vkm_config_moe_layers(c), n = tokens;
    double expert = (double)ffn_parameters(c, c->moe_intermediate_size);
    double moe_layer =
        expert * (c->n_shared_experts + c->num_experts_per_tok) + (double)router_parameters(c);
    double weights = layers * (double)attention_parameters(c, false) + moe * moe_layer +
                     (layers - moe) * (double)ffn_parameters(c, c->intermediate_size) +
                     (double)c->vocab_size * c->hidden_size;
    /* Scores and weighted values: two products of [n, head_dim] and [head_dim, n] in each head. */
    double attention = 2 * layers * n * c->num_attention_heads * c->head_dim;
    return 2 * n * (weights + attention);
}

double vkm_combinations(uint32_t n, uint32_t k)
{
    double ways = 1;
    if (k > n)
        return 0;
    for (uint32_t i = 0; i < k; i++) {
        double up = n - i, down = i + 1;
        ways = ways < 0x1p43 ? ways * up / down : ways * (up / down);
    }
    return ways;
}

static vkmoe_router router_of(const struct vkm_config *c)
{
    if (c->router != VKMOE_ROUTER_MODEL)
        return c->router;
    if (c->num_experts_per_tok == 1)
        return VKMOE_ROUTER_SWITCH;
    if (!c->norm_topk_prob)
        return VKMOE_ROUTER_TOPK;
    return c->num_experts_per_tok == 2 ? VKMOE_ROUTER_GSHARD : VKMOE_ROUTER_TOPK_NORMED;
}

void vkm_describe(const struct vkm_config *c, vkmoe_description *d)
{
    uint32_t moe = vkm_config_moe_layers(c);
    double per_2k = vkm_forward_flops(c, 2048), per_4k = vkm_forward_flops(c, 4096);
    *d = (vkmoe_description){
        .n_layers = c->num_hidden_layers,
        .n_moe_layers = moe,
        .hidden_size = c->hidden_size,
        .vocab_size = c->vocab_size,
        .n_heads = c->num_attention_heads,
        .n_kv_heads = c->num_key_value_heads,
        .head_size = c->head_dim,
        .dense_width = moe < c->num_hidden_layers ? c->intermediate_size : 0,
        .expert_width = moe > 0 ? c->moe_intermediate_size : 0,
        .n_routed_experts = moe > 0 ? c->n_routed_experts : 0,
        .n_experts_per_token = moe > 0 ? c->num_experts_per_tok : 0,
        .n_shared_experts = moe > 0 ? c->n_shared_experts : 0,
        .router = moe > 0 ? router_of(c) : VKMOE_ROUTER_MODEL,
        .router_noise = moe > 0 ? c->router_noise : 0,
        .router_seed = moe > 0 ? c->router_seed : 0,
        .max_context = c->max_position_embeddings,
        .tied_embeddings = c->tie_word_embeddings,
        .flops = {per_2k, per_4k, 3 * per_2k, 3 * per_4k},
        .expert_combinations =
            moe > 0 ? vkm_combinations(c->n_routed_experts, c->num_experts_per_tok) : 0,
    };
    for (int i = 0; i < VKMOE_KV_COUNT; i++)
        d->kv_bytes_per_token[i] =
            vkm_kv_bytes(c, vkm_kv_dtype((vkmoe_kv)i), VKM_KV_BLOCK) / VKM_KV_BLOCK;
    count_parameters(c, d);
}
