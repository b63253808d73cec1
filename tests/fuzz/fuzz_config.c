/* Configurations, and the plans made of them. An input that begins with 'g' goes on as a
 * generation_config.json, any other, after what is asked of the plan, as a config.json. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../support/books.h"
#include "engine/engine.h"
#include "fuzz.h"
#include "model/accounting.h"

#define MOST_EXPERTS 4000u /* that are planned for: more only take longer */

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

/* What a plan is asked for, from an input's first bytes. */
struct wish {
    uint8_t local, host; /* heaps: 2^(n mod 32 + 12) bytes */
    uint8_t limit;       /* likewise; never none: other devices would be listed */
    uint8_t context, chunk;
    uint8_t usage; /* seed of how often experts were chosen; 0: not known */
};

static uint64_t bytes_of(uint8_t n)
{
    return UINT64_C(4096) << n % 32;
}

static uint64_t *make_usage(const struct vkm_config *c, uint32_t seed)
{
    size_t n = (size_t)vkm_config_moe_layers(c) * c->n_routed_experts;
    uint64_t *usage = seed && n ? calloc(n, sizeof(*usage)) : NULL;
    for (size_t i = 0; usage && i < n; i++)
        usage[i] = (seed = seed * 1664525u + 1013904223u) >> 20;
    return usage;
}

static void check_placement(const struct vkm_placement *p, const vkmoe_plan *plan)
{
    uint32_t on_host = 0;
    for (size_t i = 0; i < (size_t)p->n_layers * p->n_experts; i++)
        on_host += p->on_host[i];
    FUZZ_CHECK(on_host == p->n_host && p->n_host == plan->n_host_experts);
}

static void check_plan(const struct vkm_config *c, const struct wish *wish)
{
    static const struct vkm_kernel_set no_kernels;
    struct vkm_gpu gpu;
    struct vkm_placement placement = {0};
    vkmoe_error err = {VKMOE_OK, ""};
    vkmoe_description d;
    vkmoe_plan plan;
    vkm_describe(c, &d);
    FUZZ_CHECK(d.parameters.activated <= d.parameters.total);
    if ((uint64_t)c->num_hidden_layers * (c->n_routed_experts + 1) > MOST_EXPERTS)
        return;
    books_gpu(&gpu, bytes_of(wish->local), bytes_of(wish->host), &no_kernels);
    uint64_t *usage = make_usage(c, wish->usage);
    const struct vkm_plan_request request = {
        .gpu = &gpu,
        .name = "the model",
        .config = c,
        .session = {.context = 1u + wish->context * 97u, .chunk = wish->chunk},
        .memory_limit = bytes_of(wish->limit),
        .usage = usage,
    };
    vkmoe_status status = vkm_plan_request(&request, &plan, &placement, &err);
    fuzz_check_outcome(status, &err);
    if (status == VKMOE_OK) {
        check_placement(&placement, &plan);
        FUZZ_CHECK(plan.fits == (plan.reason[0] == '\0'));
        FUZZ_CHECK(!plan.fits || plan.device_bytes <= plan.memory_limit);
        for (uint32_t i = 0; i < plan.n_heaps; i++) {
            const vkmoe_heap_plan *h = &plan.heaps[i];
            FUZZ_CHECK(h->total == h->weights + h->kv_cache + h->scratch + h->unused);
            FUZZ_CHECK(!plan.fits || h->total + h->staging + h->reserve <= h->left);
        }
    }
    vkm_placement_finish(NULL, &placement);
    free(usage);
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
    struct wish wish;
    if (size < sizeof(wish))
        return 0;
    memcpy(&wish, data, sizeof(wish));
    fuzz_write("config.json", data + sizeof(wish), size - sizeof(wish));
    vkmoe_status status = vkm_config_load(NULL, fuzz_folder(), &config, &err);
    fuzz_check_outcome(status, &err);
    if (status == VKMOE_OK) {
        check_config(&config);
        check_plan(&config, &wish);
    }
    return 0;
}
