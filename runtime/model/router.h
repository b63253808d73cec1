/* How MoE layers route: what is fixed when a session is made. */
#ifndef VKM_ROUTER_H
#define VKM_ROUTER_H

#include "model/config.h"
#include "vkmoe/routing.h"

/* A vkmoe_routing, made definite by the model. */
struct vkm_router {
    uint32_t k;    /* routed experts of each token; 0 in a dense model */
    uint32_t most; /* that k may become, what memory is laid out for; 0: k */
    bool normalise;
    bool by_table; /* the token alone says which */
    float noise;   /* standard deviation, of logits */
    uint64_t seed;
    uint32_t skip;
    bool without_shared;
    bool count, count_pairs; /* what is chosen is added up */
    uint32_t keep;           /* experts of each token whose place in the ranking is kept; 0: none */
};

/* INVALID_ARGUMENT for what the model cannot do, the option being named; routing may be NULL. */
vkmoe_status vkm_router_resolve(const struct vkm_config *config, const vkmoe_routing *routing,
                                struct vkm_router *out, vkmoe_error *err);

static inline uint32_t vkm_router_most(const struct vkm_router *r)
{
    return r->most > r->k ? r->most : r->k;
}

/* Whether the plain kernel does not do. */
static inline bool vkm_router_is_steered(const struct vkm_router *r)
{
    return r->by_table || r->noise > 0 || r->skip > 0;
}

/* table [vocab_size, k]: for each token k different experts, drawn by the seed. `order` has room
 * for n_routed_experts. */
void vkm_router_draw_table(const struct vkm_config *config, const struct vkm_router *r,
                           uint32_t *order, uint32_t *table);

#endif
