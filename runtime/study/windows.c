#include "study/windows.h"

#include <string.h>

vkmoe_status vkm_windows_open(struct vkm_windows *w, struct vkmoe_model *m,
                              const vkmoe_study_params *params, vkmoe_error *err)
{
    const vkmoe_session_params session = {.context = params->context,
                                          .chunk = params->chunk,
                                          .routing = params->routing,
                                          .kv = params->kv,
                                          .count_routing = true};
    *w = (struct vkm_windows){
        .params = params, .n_layers = m->info.n_moe_layers, .n_experts = m->info.n_routed_experts};
    if (w->n_experts == 0)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT, "the model has no routed experts");
    vkmoe_status status = vkmoe_session_create(m, &session, &w->session, err);
    if (status == VKMOE_OK && params->experts)
        status = vkmoe_session_set_experts(w->session, params->experts, err);
    if (status != VKMOE_OK)
        return status;
    uint32_t context = vkmoe_session_context(w->session);
    if (context < 2)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT, "windows of %u tokens, expected at least 2",
                        context);
    w->room = context - params->bos;
    w->tokens = vkm_malloc(vkm_gpu_allocator(m->gpu), context, sizeof(*w->tokens));
    if (!w->tokens)
        return vkm_fail_memory(err, context * sizeof(*w->tokens), "a window");
    if (params->on_session)
        params->on_session(params->user, w->session);
    return VKMOE_OK;
}

void vkm_windows_close(struct vkm_windows *w)
{
    if (!w->session)
        return;
    if (w->params->on_session)
        w->params->on_session(w->params->user, NULL);
    vkm_free(vkm_gpu_allocator(w->session->model->gpu), w->tokens);
    vkmoe_session_destroy(w->session);
}

vkmoe_status vkm_windows_eval(struct vkm_windows *w, const int32_t *text, size_t n, float *losses,
                              uint64_t *chosen, vkmoe_error *err)
{
    const vkmoe_trace trace = {.losses = losses};
    vkmoe_routing_counts counts = {.chosen = chosen};
    bool bos = w->params->bos;
    vkmoe_status status = VKMOE_OK;
    if (bos)
        w->tokens[0] = w->params->bos_token;
    memcpy(w->tokens + bos, text, n * sizeof(*text));
    vkmoe_session_reset(w->session);
    if (chosen)
        status = vkmoe_session_reset_routing(w->session, err);
    if (status == VKMOE_OK)
        status = vkmoe_session_eval(w->session, w->tokens, n + bos, losses ? &trace : NULL, err);
    if (status == VKMOE_OK && chosen)
        status = vkmoe_session_read_routing(w->session, &counts, err);
    w->done++;
    if (status == VKMOE_OK && w->params->progress &&
        !w->params->progress(w->params->user, w->done, w->total))
        status = vkm_fail(err, VKMOE_CANCELLED, "cancelled");
    return status;
}
