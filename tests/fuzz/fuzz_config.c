/* Configurations, and the plans made of them. An input that begins with 'g' goes on as a
 * generation_config.json, any other as a config.json. */
#include <math.h>
#include <stdlib.h>

#include "fuzz.h"
#include "model/accounting.h"
#include "model/plan.h"

#define MOST_EXPERTS 20000u /* that are planned for: more only take longer */

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
    FUZZ_CHECK(isfinite(d->sampling.temperature) && d->sampling.temperature >= 0);
    FUZZ_CHECK(d->sampling.top_p >= 0 && d->sampling.top_p <= 1);
    FUZZ_CHECK(d->sampling.min_p >= 0 && d->sampling.min_p <= 1);
    FUZZ_CHECK(isfinite(d->sampling.repeat_penalty) && d->sampling.repeat_penalty >= 0);
    for (uint32_t i = 0; i < d->n_eos; i++)
        FUZZ_CHECK(d->eos_token_ids[i] >= 0 && d->eos_token_ids[i] < (int32_t)VKM_MAX_VOCAB);
}

/* The host's memory, with the reference executor's limits: there need be no Vulkan device. */
static struct vkm_gpu *device(void)
{
    static struct vkm_gpu *gpu;
    static const struct vkm_kernel_set no_kernels;
    const struct vkm_gpu_params params = {.selector = "reference", .cache_dir = ""};
    if (!gpu && vkm_gpu_open(&params, &no_kernels, &gpu, NULL) != VKMOE_OK)
        abort();
    return gpu;
}

static void check_plan(const struct vkm_config *c)
{
    const struct vkm_plan_params params = {
        .config = c,
        .state = {.max_rows = 16, .max_logits = 1, .sequences = 1, .context = 64},
        .cached = 64,
    };
    vkmoe_error err = {VKMOE_OK, ""};
    vkmoe_description d;
    vkmoe_plan plan;
    vkm_describe(c, &d);
    FUZZ_CHECK(d.parameters.activated <= d.parameters.total);
    if ((uint64_t)c->num_hidden_layers * (c->n_routed_experts + 1) > MOST_EXPERTS)
        return;
    vkmoe_status status = vkm_plan_make(device(), &params, &plan, NULL, &err);
    fuzz_check_outcome(status, &err);
    if (status != VKMOE_OK)
        return;
    for (uint32_t i = 0; i < plan.n_heaps; i++) {
        const vkmoe_heap_plan *h = &plan.heaps[i];
        FUZZ_CHECK(h->total == h->weights + h->kv_cache + h->scratch + h->unused);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vkmoe_error err = {VKMOE_OK, ""};
    if (size == 0)
        return 0;
    if (data[0] == 'g') {
        struct vkm_generation_defaults defaults = {.sampling = {.temperature = 1, .top_p = 1}};
        fuzz_write("generation_config.json", data + 1, size - 1);
        fuzz_check_outcome(vkm_generation_load(NULL, fuzz_folder(), &defaults, &err), &err);
        check_generation(&defaults);
        return 0;
    }
    struct vkm_config config;
    fuzz_write("config.json", data + 1, size - 1);
    vkmoe_status status = vkm_config_load(NULL, fuzz_folder(), &config, &err);
    fuzz_check_outcome(status, &err);
    if (status == VKMOE_OK) {
        check_config(&config);
        check_plan(&config);
    }
    return 0;
}
