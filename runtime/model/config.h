/* The shape of a model, from config.json (keys of DeepseekConfig) or the metadata of a GGUF file.
 */
#ifndef VKM_CONFIG_H
#define VKM_CONFIG_H

#include "base/base.h"
#include "vkmoe/routing.h"
#include "vkmoe/sampling.h"

enum vkm_rope_scaling { VKM_ROPE_DEFAULT, VKM_ROPE_LINEAR, VKM_ROPE_DYNAMIC };

struct vkm_config {
    uint32_t vocab_size;
    uint32_t hidden_size;
    uint32_t intermediate_size;     /* width of a dense layer's FFN */
    uint32_t moe_intermediate_size; /* width of one expert */
    uint32_t num_hidden_layers;
    uint32_t num_attention_heads;
    uint32_t num_key_value_heads; /* divides num_attention_heads; default: the same */
    uint32_t head_dim;            /* hidden_size / num_attention_heads; even */
    uint32_t n_shared_experts;    /* 0: none (null in the file) */
    uint32_t n_routed_experts;    /* 0: every layer is dense (null in the file) */
    uint32_t num_experts_per_tok; /* 1 .. n_routed_experts */
    uint32_t moe_layer_freq;
    uint32_t first_k_dense_replace;
    bool norm_topk_prob;
    float routed_scaling_factor; /* default 1 */
    /* vkmoe's own keys, which DeepseekConfig lacks: vkmoe_router (MODEL for "topk", HASH or DENSE),
     * vkmoe_router_noise and vkmoe_router_seed, as in vkmoe_routing. */
    vkmoe_router router;
    float router_noise;
    uint64_t router_seed;
    bool attention_bias;
    bool tie_word_embeddings;
    float rms_norm_eps;
    uint32_t max_position_embeddings;
    double rope_theta;
    enum vkm_rope_scaling rope_scaling;
    double rope_factor; /* of linear and dynamic scaling; > 0 */
    double aux_loss_alpha;
    bool seq_aux;
    int32_t bos_token_id, eos_token_id, pad_token_id; /* -1 where null or absent */
};

/* Bounds that every configuration must keep: they keep sizes and indices within 32 bits and refuse
 * absurd files before memory is asked for. */
#define VKM_MAX_LAYERS 1024u
#define VKM_MAX_EXPERTS 1024u
#define VKM_MAX_WIDTH (1u << 20) /* hidden, intermediate */
#define VKM_MAX_VOCAB (1u << 24)
#define VKM_MAX_HEAD_DIM 1024u
#define VKM_MAX_CONTEXT (1u << 24)
#define VKM_MAX_EOS 8
#define VKM_CONFIG_FILE_LIMIT (4u << 20) /* bytes of one JSON file */

/* Reads PATH/config.json, or the GGUF file PATH. Unknown keys are ignored and null counts as
 * absent. Wrong types, values out of range and contradictions (a head count that does not divide, K
 * > experts) end in BAD_FORMAT, what only another runtime could serve (an activation other than
 * silu, a scoring function other than softmax) in UNSUPPORTED, with a sentence that names the file,
 * the key, what was found and what was expected. *config is written only on success. */
vkmoe_status vkm_config_load(const vkmoe_allocator *a, const char *path, struct vkm_config *config,
                             vkmoe_error *err);
/* The same for a configuration file by its own path. */
vkmoe_status vkm_config_load_file(const vkmoe_allocator *a, const char *file,
                                  struct vkm_config *config, vkmoe_error *err);

/* What DeepseekConfig takes for an absent key; zero where there is no sensible value. */
struct vkm_config vkm_config_defaults(void);

/* Checks ranges and contradictions; `where` names the source in messages. */
vkmoe_status vkm_config_check(const struct vkm_config *config, const char *where, vkmoe_error *err);

/* True where layer `index` routes to experts: index >= first_k_dense_replace and
 * index mod moe_layer_freq = 0. */
bool vkm_config_is_moe(const struct vkm_config *config, uint32_t index);
uint32_t vkm_config_moe_layers(const struct vkm_config *config);

/* Sampling defaults of PATH/generation_config.json; absent file or keys leave *d as it is (a
 * GGUF file has none), and so does a failure. No id is checked against a vocabulary. */
struct vkm_generation_defaults {
    bool do_sample;
    vkmoe_sampling sampling;
    int32_t eos_token_ids[VKM_MAX_EOS]; /* a file may list several */
    uint32_t n_eos;
};
vkmoe_status vkm_generation_load(const vkmoe_allocator *a, const char *path,
                                 struct vkm_generation_defaults *d, vkmoe_error *err);

#endif
