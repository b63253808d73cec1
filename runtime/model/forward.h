/* The forward pass of a DeepSeekMoE transformer (arXiv 2401.06066, section 2 and 3), recorded for
 * one batch of rows. */
#ifndef VKM_FORWARD_H
#define VKM_FORWARD_H

#include "gpu/recorder.h"
#include "model/kv.h"
#include "model/state.h"
#include "model/weights.h"

struct vkm_batch {
    struct vkm_view rows; /* [n_rows] struct vkm_row: state->rows, or state->next when decoding */
    uint32_t n_rows;
    uint32_t n_logits;  /* rows whose logits are wanted */
    bool select_logits; /* they are named by state->logit_rows; else the first n_logits rows */
    bool consecutive;   /* rows are of one sequence, each one position after the one before */
    uint32_t bound;     /* rows see at most so many positions: a value of vkm_attention_bound */
    bool penalise;      /* sampling: with the repeat penalty; n_logits <= sequences */
    bool cut;           /* sampling: with top-k, top-p or min-p */
    bool steer;         /* routing: as state->experts says */
};

/* Records the whole step up to state->logits. The routing of MoE layer i (counting MoE layers from
 * 0) is left at i * trace_stride in state->topk_ids and topk_gates. Errors stick to the recorder.
 */
void vkm_forward(struct vkm_recorder *r, const struct vkm_weights *w, const struct vkm_kv *kv,
                 const struct vkm_state *s, const struct vkm_batch *batch);

/* Records the copy of one block of the KV cache to another, in all layers. */
void vkm_forward_copy_block(struct vkm_recorder *r, const struct vkm_kv *kv, uint32_t from,
                            uint32_t to);

/* Records the choice of the next token of each logits row, into state->sampled and state->next. */
void vkm_forward_sample(struct vkm_recorder *r, const struct vkm_config *config,
                        const struct vkm_state *s, const struct vkm_batch *batch);

/* Records the loss of state->targets by state->logits, of the batch's n_logits rows, into
 * state->losses. */
void vkm_forward_loss(struct vkm_recorder *r, const struct vkm_config *config,
                      const struct vkm_state *s, const struct vkm_batch *batch);

#endif
