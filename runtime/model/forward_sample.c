/* What follows from logits: tokens that are drawn, or the losses of tokens that are known. */
#include "kernels/ops.h"
#include "model/forward.h"

/* Penalty, cut, block summaries, draw; temperature is part of the last three. */
void vkm_forward_sample(struct vkm_recorder *r, const struct vkm_config *config,
                        const struct vkm_state *s, const struct vkm_batch *batch)
{
    struct vkm_launch launch = {.n_rows = batch->n_logits};
    struct vkm_view logits = batch->penalise ? s->penalised : s->logits;
    uint32_t vocab = config->vocab_size, ld = vkm_ld(vocab);
    bool use_index = batch->select_logits;
    if (batch->penalise)
        vkm_op_penalise(r, launch,
                        &(struct vkm_params_penalise){.logits = s->logits,
                                                      .rows = batch->rows,
                                                      .index = s->logit_rows,
                                                      .samplers = s->samplers,
                                                      .history = s->history,
                                                      .y = logits,
                                                      .vocab = vocab,
                                                      .ld = ld,
                                                      .use_index = use_index,
                                                      .history_ld = s->params.context});
    if (batch->cut)
        vkm_op_sample_cut(r, launch,
                          &(struct vkm_params_sample_cut){.logits = logits,
                                                          .rows = batch->rows,
                                                          .index = s->logit_rows,
                                                          .samplers = s->samplers,
                                                          .cut = s->cut,
                                                          .vocab = vocab,
                                                          .ld = ld,
                                                          .use_index = use_index});
    vkm_op_sample_blocks(r, launch,
                         &(struct vkm_params_sample_blocks){.logits = logits,
                                                            .rows = batch->rows,
                                                            .index = s->logit_rows,
                                                            .samplers = s->samplers,
                                                            .cut = s->cut,
                                                            .best = s->best,
                                                            .at = s->best_at,
                                                            .vocab = vocab,
                                                            .ld = ld,
                                                            .use_index = use_index,
                                                            .use_cut = batch->cut});
    vkm_op_sample(r, launch,
                  &(struct vkm_params_sample){.logits = logits,
                                              .rows = batch->rows,
                                              .index = s->logit_rows,
                                              .samplers = s->samplers,
                                              .cut = s->cut,
                                              .best = s->best,
                                              .at = s->best_at,
                                              .sampled = s->sampled,
                                              .next_rows = s->next,
                                              .vocab = vocab,
                                              .ld = ld,
                                              .use_index = use_index,
                                              .use_cut = batch->cut});
}

void vkm_forward_loss(struct vkm_recorder *r, const struct vkm_config *config,
                      const struct vkm_state *s, const struct vkm_batch *batch)
{
    uint64_t size = batch->n_logits * sizeof(uint32_t);
    vkm_op_token_loss(
        r, (struct vkm_launch){.n_rows = batch->n_logits},
        &(struct vkm_params_token_loss){.logits = s->logits,
                                        .targets = vkm_view_slice(s->targets, 0, size),
                                        .loss = vkm_view_slice(s->losses, 0, size),
                                        .vocab = config->vocab_size,
                                        .ld = vkm_ld(config->vocab_size)});
}
