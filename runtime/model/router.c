#include "model/router.h"

#include <math.h>

#include "kernels/ref.h"

/* The K that a router fixes; 0: any. */
static uint32_t fixed_k(const struct vkm_config *c, vkmoe_router router)
{
    switch (router) {
    case VKMOE_ROUTER_GSHARD:
        return 2;
    case VKMOE_ROUTER_SWITCH:
        return 1;
    case VKMOE_ROUTER_DENSE:
        return c->n_routed_experts;
    default:
        return 0;
    }
}

static vkmoe_status check_k(const struct vkm_config *c, const vkmoe_routing *r, uint32_t k,
                            vkmoe_error *err)
{
    uint32_t fixed = fixed_k(c, r->router), asked = r->experts_per_token;
    if (fixed > 0 && asked > 0 && asked != fixed)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "experts_per_token is %u, the router takes %u experts", asked, fixed);
    if (k > c->n_routed_experts)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "experts_per_token is %u, the model has %u routed experts in a layer", k,
                        c->n_routed_experts);
    if (r->skip > c->n_routed_experts - k)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "%u of %u experts passed over leave fewer than the %u that each token "
                        "activates",
                        r->skip, c->n_routed_experts, k);
    return VKMOE_OK;
}

/* What changes a ranking says nothing to routers that have none. */
static vkmoe_status check_ranking(const vkmoe_routing *r, vkmoe_error *err)
{
    bool hash = r->router == VKMOE_ROUTER_HASH;
    if (!hash && r->router != VKMOE_ROUTER_DENSE)
        return VKMOE_OK;
    if (r->noise > 0)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "the router's noise is %g, expected 0, as the router %s ranks no experts",
                        (double)r->noise, hash ? "hash" : "dense");
    if (r->skip > 0)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "%u experts are to be passed over, expected 0, as the router %s ranks none",
                        r->skip, hash ? "hash" : "dense");
    return VKMOE_OK;
}

static vkmoe_status check_table(const struct vkm_config *c, const uint32_t *table, uint32_t k,
                                vkmoe_error *err)
{
    for (size_t i = 0; table && i < (size_t)c->vocab_size * k; i++)
        if (table[i] >= c->n_routed_experts)
            return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                            "the routing table has expert %u for token %zu, the model has %u",
                            table[i], i / k, c->n_routed_experts);
    return VKMOE_OK;
}

/* What the caller leaves to the model: the router, and with it noise and seed where he gives none.
 */
static vkmoe_routing complete(const struct vkm_config *c, const vkmoe_routing *routing)
{
    vkmoe_routing r = routing ? *routing : (vkmoe_routing){0};
    if (r.router != VKMOE_ROUTER_MODEL)
        return r;
    r.router = c->router;
    r.noise = r.noise != 0 ? r.noise : c->router_noise; /* NaN stays, to be refused */
    r.seed = r.seed > 0 ? r.seed : c->router_seed;
    return r;
}

vkmoe_status vkm_router_resolve(const struct vkm_config *config, const vkmoe_routing *routing,
                                struct vkm_router *out, vkmoe_error *err)
{
    const vkmoe_routing completed = complete(config, routing), *r = &completed;
    uint32_t fixed = fixed_k(config, r->router);
    uint32_t k = r->experts_per_token > 0 ? r->experts_per_token
                 : fixed > 0              ? fixed
                                          : config->num_experts_per_tok;
    if (r->router < 0 || r->router >= VKMOE_ROUTER_COUNT)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT, "router is %d, expected 0 to %d",
                        (int)r->router, VKMOE_ROUTER_COUNT - 1);
    if (!(r->noise >= 0) || !isfinite(r->noise))
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT, "the router's noise is %g, expected 0 or more",
                        (double)r->noise);
    vkmoe_status status = check_ranking(r, err);
    if (status == VKMOE_OK)
        status = check_k(config, r, k, err);
    if (status == VKMOE_OK && r->router == VKMOE_ROUTER_HASH)
        status = check_table(config, r->table, k, err);
    if (status != VKMOE_OK)
        return status;
    bool normed = r->router == VKMOE_ROUTER_MODEL
                      ? config->norm_topk_prob
                      : r->router == VKMOE_ROUTER_TOPK_NORMED || r->router == VKMOE_ROUTER_GSHARD;
    *out = (struct vkm_router){
        .k = config->n_routed_experts > 0 ? k : 0,
        .normalise = normed && k > 1,
        .by_table = r->router == VKMOE_ROUTER_HASH,
        .noise = r->noise,
        .seed = r->seed,
        .skip = r->skip,
        .without_shared = r->without_shared,
    };
    return VKMOE_OK;
}

/* The first k steps of a shuffle, undone afterwards by starting from what it left: any order is as
 * good as another to draw from. */
void vkm_router_draw_table(const struct vkm_config *config, const struct vkm_router *r,
                           uint32_t *order, uint32_t *table)
{
    const uint32_t key[2] = {(uint32_t)r->seed, (uint32_t)(r->seed >> 32)};
    uint32_t n = config->n_routed_experts, words[4];
    for (uint32_t i = 0; i < n; i++)
        order[i] = i;
    for (uint32_t token = 0; token < config->vocab_size; token++)
        for (uint32_t i = 0; i < r->k; i++) {
            if (i % 4 == 0)
                vkm_ref_philox(key, (uint32_t[4]){token, i / 4, 0, UINT32_MAX}, words);
            uint32_t at = i + (uint32_t)((uint64_t)words[i % 4] * (n - i) >> 32);
            uint32_t expert = order[at];
            order[at] = order[i];
            order[i] = expert;
            table[(size_t)token * r->k + i] = expert;
        }
}
