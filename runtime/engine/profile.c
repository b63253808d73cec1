#include "engine/profile.h"

/* Distinct experts of a layer's n pairs; `seen` has room for all. */
static uint32_t count_distinct(const uint32_t *ids, size_t n, bool *seen, uint32_t n_experts)
{
    uint32_t distinct = 0;
    for (uint32_t i = 0; i < n_experts; i++)
        seen[i] = false;
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < n_experts && !seen[ids[i]]) {
            seen[ids[i]] = true;
            distinct++;
        }
    }
    return distinct;
}

vkmoe_status vkm_profile_experts(const struct vkm_state *s, const struct vkm_config *c,
                                 uint32_t n_rows, double *mean, vkmoe_error *err)
{
    const vkmoe_allocator *a = vkm_gpu_allocator(s->gpu);
    uint32_t layers = vkm_config_moe_layers(c), sum = 0;
    size_t pairs = (size_t)n_rows * s->params.routing.k;
    vkmoe_status status = VKMOE_OK;
    *mean = s->params.routing.k;
    if (layers == 0 || n_rows <= 1)
        return VKMOE_OK;
    uint32_t *ids = vkm_malloc(a, pairs, sizeof(*ids));
    bool *seen = vkm_malloc(a, c->n_routed_experts, sizeof(*seen));
    if (!ids || !seen)
        status = vkm_fail_memory(err, pairs * sizeof(*ids), "the experts chosen");
    for (uint32_t i = 0; i < layers && status == VKMOE_OK; i++) {
        status = vkm_buffer_read(
            s->gpu, vkm_view_slice(s->topk_ids, i * s->trace_stride, pairs * sizeof(*ids)), ids,
            err);
        if (status == VKMOE_OK)
            sum += count_distinct(ids, pairs, seen, c->n_routed_experts);
    }
    vkm_free(a, ids);
    vkm_free(a, seen);
    *mean = (double)sum / layers;
    return status;
}

static vkmoe_status find_facts(const struct vkm_state *state, const struct vkm_config *config,
                               const struct vkm_profile_rows *r, struct vkm_cost_facts *facts,
                               vkmoe_error *err)
{
    double n = r->rows_each;
    facts->positions = r->sequences * (n * r->length + n * (n + 1) / 2);
    facts->cached = r->sequences * (n + r->length);
    return vkm_profile_experts(state, config, r->sequences * r->rows_each, &facts->experts, err);
}

vkmoe_status vkm_profile_step(struct vkm_profile *p, const struct vkm_stream *stream,
                              const struct vkm_commands *commands, const struct vkm_state *state,
                              const struct vkm_config *config, const struct vkm_profile_rows *rows,
                              vkmoe_error *err)
{
    struct vkm_cost_facts facts = {0};
    vkmoe_status status = p->timed ? find_facts(state, config, rows, &facts, err) : VKMOE_OK;
    p->steps++;
    for (size_t i = 0; i < stream->ops.count && status == VKMOE_OK; i++) {
        const struct vkm_op *op = &stream->ops.items[i];
        p->barriers += op->barrier;
        p->dispatches[op->kernel]++;
        if (!p->timed)
            continue;
        struct vkm_cost cost = vkm_op_cost(stream, op, &facts);
        p->seconds[op->kernel] += 1e-9 * (double)vkm_commands_time(commands, i);
        p->cost[op->kernel].bytes += cost.bytes;
        p->cost[op->kernel].operations += cost.operations;
        p->cost[op->kernel].weights += cost.weights;
        p->rounds[op->kernel] |=
            vkm_path_row(vkm_op_kernel(stream, op)->variants[op->variant].path)->rounding !=
            VKM_ROUNDING_NONE;
    }
    return status;
}
