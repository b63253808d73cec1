/* Configurations. An input that begins with 'g' goes on as a generation_config.json, any other as a
 * config.json. */
#include <math.h>

#include "fuzz.h"
#include "model/config.h"

static void check_config(const struct vkm_config *c)
{
    FUZZ_CHECK(vkm_config_check(c, "the configuration that was read", NULL) == VKMOE_OK);
    FUZZ_CHECK(c->num_attention_heads * c->head_dim == c->hidden_size);
    FUZZ_CHECK(c->num_attention_heads % c->num_key_value_heads == 0);
    FUZZ_CHECK(c->num_experts_per_tok <= c->n_routed_experts);
    FUZZ_CHECK(c->bos_token_id < (int32_t)c->vocab_size);
    FUZZ_CHECK(isfinite(c->rope_theta) && isfinite(c->rope_factor) && c->rope_factor > 0);
    FUZZ_CHECK(isfinite(c->rms_norm_eps) && isfinite(c->routed_scaling_factor));
    FUZZ_CHECK(vkm_config_moe_layers(c) <= c->num_hidden_layers);
}

static void check_generation(const struct vkm_generation_defaults *d)
{
    FUZZ_CHECK(d->n_eos <= VKM_MAX_EOS);
    FUZZ_CHECK(isfinite(d->temperature) && d->temperature >= 0);
    FUZZ_CHECK(d->top_p >= 0 && d->top_p <= 1);
    for (uint32_t i = 0; i < d->n_eos; i++)
        FUZZ_CHECK(d->eos_token_ids[i] >= 0 && d->eos_token_ids[i] < (int32_t)VKM_MAX_VOCAB);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vkmoe_error err = {VKMOE_OK, ""};
    if (size == 0)
        return 0;
    if (data[0] == 'g') {
        struct vkm_generation_defaults defaults = {.temperature = 1.0f, .top_p = 1.0f};
        fuzz_write("generation_config.json", data + 1, size - 1);
        fuzz_check_outcome(vkm_generation_load(NULL, fuzz_folder(), &defaults, &err), &err);
        check_generation(&defaults);
        return 0;
    }
    struct vkm_config config;
    fuzz_write("config.json", data + 1, size - 1);
    vkmoe_status status = vkm_config_load(NULL, fuzz_folder(), &config, &err);
    fuzz_check_outcome(status, &err);
    if (status == VKMOE_OK)
        check_config(&config);
    return 0;
}
