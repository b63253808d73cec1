/* Branches: sequences that each go on from another one of the same cache, computed in one step. */
#ifndef VKM_BRANCHES_H
#define VKM_BRANCHES_H

#include "engine/engine.h"

struct vkm_branch {
    const struct vkm_kv_sequence *from; /* what it goes on from; computed */
    const int32_t *tokens;              /* [n_rows], and one more where its losses are wanted */
    uint32_t n_rows;                    /* 0: it has no part in the step */
    struct vkm_kv_sequence sequence;    /* its own: whole blocks shared, the last one a copy */
};

/* Those that one step computes. */
struct vkm_branches {
    struct vkmoe_session *session; /* whose cache, activations and routing they use */
    struct vkm_branch *items;      /* [count], the caller's */
    uint32_t count, n_rows;        /* n_rows: of all */
    struct vkm_buffer *table;      /* of their blocks */
};

/* What follows from the rows. */
enum vkm_branches_want {
    VKM_BRANCHES_LAST,  /* the logits of each branch's last row, in order of branches with rows */
    VKM_BRANCHES_LOSSES /* the loss of each row's next token, in state.losses */
};

/* Blocks of the cache that a branch of `n_rows` after `length` positions takes. */
uint32_t vkm_branch_blocks(uint32_t length, uint32_t n_rows);

/* Gives each branch its blocks and computes them. The rows fit max_rows of the session's state,
 * those whose logits are wanted max_logits, and together with what they go on from its context.
 * Whatever comes of it, vkm_branches_finish is due. The session has no logits then. Fails with
 * CONTEXT_FULL where the cache has too few blocks, CANCELLED, or what the device reports. */
vkmoe_status vkm_branches_run(struct vkm_branches *b, enum vkm_branches_want want,
                              vkmoe_error *err);
void vkm_branches_finish(struct vkm_branches *b); /* gives the blocks back */

#endif
