/* Routing: how a session chooses the routed experts of each token, what a caller may change about
 * that while it runs, and what was chosen. */
#ifndef VKMOE_ROUTING_H
#define VKMOE_ROUTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Which experts, and with what gates g_i; s_i is the softmax of the router's logits over all routed
 * experts (equation 5 of arXiv 2401.06066). Gates are then scaled by routed_scaling_factor. */
typedef enum vkmoe_router {
    VKMOE_ROUTER_MODEL,       /* the model's own: one of the next two, by norm_topk_prob */
    VKMOE_ROUTER_TOPK,        /* the K largest, g_i = s_i */
    VKMOE_ROUTER_TOPK_NORMED, /* the K largest, g_i = s_i / (sum of the chosen s_j + 1e-20) */
    VKMOE_ROUTER_GSHARD,      /* the 2 largest, gates normalised likewise (arXiv 2006.16668) */
    VKMOE_ROUTER_SWITCH,      /* the largest, g_i = s_i (arXiv 2101.03961) */
    VKMOE_ROUTER_DENSE,       /* all, g_i = s_i */
    VKMOE_ROUTER_HASH,        /* K by a table over token ids, g_i = 1 / K (arXiv 2106.04426) */
    VKMOE_ROUTER_COUNT        /* how many there are */
} vkmoe_router;

/* How a session routes; all zero: as the model was trained. */
typedef struct vkmoe_routing {
    vkmoe_router router; /* which experts, with what gates */
    /* Routed experts that each token activates, the K of equation 4; 0: the model's
     * (num_experts_per_tok), or what the router fixes. At most n_routed_experts. */
    uint32_t experts_per_token;
    /* Standard deviation of the noise that is added to each logit before experts are ranked (gates
     * are not affected): close to normal, a function of seed, position, layer and expert. 0: none.
     */
    float noise;
    uint64_t seed; /* of the noise, and of the table that HASH draws */
    /* Of each token's ranking, the first so many experts are passed over (figure 4 of the paper).
     */
    uint32_t skip;
    bool without_shared; /* the shared experts of MoE layers are left out */
    /* HASH: [vocab_size, K] ids of experts, copied when a session is made. NULL: drawn at random, K
     * different ones for each token. */
    const uint32_t *table;
} vkmoe_routing;

/* What the caller wants of one expert. */
typedef enum vkmoe_expert_state {
    VKMOE_EXPERT_FREE,  /* its score decides */
    VKMOE_EXPERT_OFF,   /* never chosen; with HASH: its gate is 0 */
    VKMOE_EXPERT_FORCED /* always chosen, lower ids first, before all that are free */
} vkmoe_expert_state;

/* What was chosen, added up over tokens. The caller gives the arrays; NULL: not wanted. L stands
 * for the number of MoE layers, N for n_routed_experts. */
typedef struct vkmoe_routing_counts {
    uint64_t tokens;   /* that were computed, those of steps that were rolled back included */
    uint64_t *chosen;  /* [L, N]: tokens for which the expert was chosen */
    double *gate_mass; /* [L, N]: sum of its gates; each is rounded down to 2^-26, at most 63 */
    double *prob_mass; /* [L, N]: sum of s_i over all tokens, rounded likewise */
    uint32_t *pairs;   /* [L, N, N]: tokens for which both were chosen, 0 on the diagonal; needs
                        * a session that counts pairs */
} vkmoe_routing_counts;

/* Where a run of tokens went: the experts that rank first for each of them, in every MoE layer.
 * Arrays are the caller's; NULL: not wanted. L stands for the number of MoE layers, R for ranks. */
typedef struct vkmoe_routes {
    uint32_t first; /* in: position of the first token in the sequence, from 0 */
    uint32_t count; /* in: tokens */
    uint32_t ranks; /* out: R, the session's keep_ranks */
    /* [L, count, R]: the chosen ones in the order of vkmoe_trace, then the runners-up: experts that
     * are not off, by falling router logit (with its noise), those first that were passed over; -1
     * where there are no more, as after what a HASH table chose. */
    int32_t *ids;
    float *gates; /* [L, count, R]: g_i, after any normalisation and scaling; 0 for a runner-up */
    float
        *probs; /* [L, count, R]: s_i, the softmax over all routed experts; 0 where the id is -1 */
} vkmoe_routes;

/* How evenly the experts of one MoE layer are used (section 3.3 of the paper), N = n_experts. */
typedef struct vkmoe_balance {
    /* Sum of f_i P_i, f_i = N / (K T) * tokens that chose expert i, P_i = mean of s_i over T
     * tokens: L_ExpBal / alpha_1, 1 where all is even. */
    double expert_loss;
    /* Sum of f'_d P'_d, f'_d the mean of f_i and P'_d the sum of P_i over the experts of device d:
     * L_DevBal / alpha_2. */
    double device_loss;
    double busiest;   /* load of the busiest expert over the mean load */
    double variation; /* standard deviation of the load over its mean */
    double entropy;   /* of the load, over that of an even one: 1 where all is even */
    uint32_t dead;    /* experts that no token chose */
} vkmoe_balance;

/* From one layer's counts [n_experts] over `tokens` > 0 tokens of k > 0 experts each. device_of
 * [n_experts] says on which of n_devices devices an expert lies; NULL: expert i on device
 * i * n_devices / n_experts. No device is without experts. Thread-safe. */
void vkmoe_balance_of(const uint64_t *chosen, const double *prob_mass, uint64_t tokens,
                      uint32_t n_experts, uint32_t k, const uint32_t *device_of, uint32_t n_devices,
                      vkmoe_balance *out);

#ifdef __cplusplus
}
#endif

#endif
