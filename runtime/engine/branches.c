#include "engine/branches.h"

#include <string.h>

#include "gpu/once.h"
#include "kernels/ops.h"

uint32_t vkm_branch_blocks(uint32_t length, uint32_t n_rows)
{
    return n_rows > 0 ? vkm_ceil_div(length + n_rows, VKM_KV_BLOCK) - length / VKM_KV_BLOCK : 0;
}

/* --- what they take of the cache --- */

/* Blocks of its own for what a branch adds, and whole ones shared with what it goes on from. */
static vkmoe_status fork_one(const struct vkm_branches *b, struct vkm_branch *branch,
                             vkmoe_error *err)
{
    struct vkm_kv *kv = &b->session->memory->kv;
    struct vkm_kv_sequence *to = &branch->sequence;
    const struct vkm_kv_sequence *from = branch->from;
    uint32_t block;
    if (branch->n_rows == 0)
        return VKMOE_OK;
    vkmoe_status status = vkm_kv_sequence_init(kv, to, b->session->state.params.context, err);
    if (status != VKMOE_OK)
        return status;
    vkm_kv_fork(kv, from, from->length, to);
    if (from->length % VKM_KV_BLOCK > 0) {
        status = vkm_kv_take(kv, &block, err);
        if (status != VKMOE_OK)
            return status;
        vkm_kv_put(kv, to, from->length / VKM_KV_BLOCK, block);
    }
    to->length = from->length;
    return vkm_kv_extend(kv, to, branch->n_rows, err);
}

/* Last blocks that are not whole are copied into the branches' own. */
static vkmoe_status copy_tails(const struct vkm_branches *b, vkmoe_error *err)
{
    struct vkm_once once;
    bool any = false;
    for (uint32_t i = 0; i < b->count; i++)
        any = any || (b->items[i].n_rows > 0 && b->items[i].from->length % VKM_KV_BLOCK > 0);
    if (!any)
        return VKMOE_OK;
    vkm_once_begin(&once, b->session->model->gpu);
    for (uint32_t i = 0; i < b->count; i++) {
        const struct vkm_kv_sequence *from = b->items[i].from, *to = &b->items[i].sequence;
        uint32_t last = from->length / VKM_KV_BLOCK;
        if (b->items[i].n_rows > 0 && from->length % VKM_KV_BLOCK > 0)
            vkm_forward_copy_block(&once.recorder, &b->session->memory->kv, from->blocks[last],
                                   to->blocks[last]);
    }
    return vkm_once_run(&once, err);
}

/* Tells the device where positions lie: branch i is sequence i. */
static vkmoe_status publish(struct vkm_branches *b, vkmoe_error *err)
{
    uint64_t stride = b->session->state.block_stride * sizeof(uint32_t);
    vkmoe_status status = vkm_buffer_create(b->session->model->gpu, VKM_MEMORY_SHARED,
                                            b->count * stride, "branches", &b->table, err);
    for (uint32_t i = 0; i < b->count && status == VKMOE_OK; i++)
        if (b->items[i].n_rows > 0)
            memcpy(b->table->mapped + i * stride, b->items[i].sequence.blocks,
                   b->items[i].sequence.count * sizeof(uint32_t));
    return status;
}

/* --- the step --- */

static uint32_t *words(struct vkm_view view)
{
    return (uint32_t *)(void *)(view.buffer->mapped + view.offset);
}

/* Returns the positions that the rows see at most. */
static uint32_t write_rows(const struct vkm_branches *b, enum vkm_branches_want want)
{
    const struct vkm_state *state = &b->session->state;
    struct vkm_row *row = vkm_host_rows(state->rows);
    uint32_t *target = words(state->targets), *last = words(state->logit_rows), most = 0, n = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        const struct vkm_branch *branch = &b->items[i];
        for (uint32_t t = 0; t < branch->n_rows; t++, n++) {
            row[n] = (struct vkm_row){.token = (uint32_t)branch->tokens[t],
                                      .position = branch->from->length + t,
                                      .sequence = i};
            if (want == VKM_BRANCHES_LOSSES)
                target[n] = (uint32_t)branch->tokens[t + 1];
        }
        if (branch->n_rows > 0 && want == VKM_BRANCHES_LAST)
            *last++ = n - 1;
        if (branch->n_rows > 0)
            most = vkm_max_u32(most, branch->from->length + branch->n_rows);
    }
    return most;
}

static vkmoe_status compute(struct vkm_branches *b, enum vkm_branches_want want, vkmoe_error *err)
{
    struct vkmoe_session *s = b->session;
    struct vkm_state state = s->state;
    struct vkm_step step = {0};
    vkmoe_step info = {
        .prompt = true, .done = b->n_rows, .total = b->n_rows, .n_tokens = b->n_rows};
    bool last = want == VKM_BRANCHES_LAST;
    uint32_t branches = 0;
    for (uint32_t i = 0; i < b->count; i++)
        branches += b->items[i].n_rows > 0;
    state.blocks = vkm_buffer_view(b->table);
    state.params.context = 0; /* nothing is kept by position: that is of the session */
    const struct vkm_batch batch = {.rows = state.rows,
                                    .n_rows = b->n_rows,
                                    .n_logits = last ? branches : b->n_rows,
                                    .select_logits = last,
                                    .bound = vkm_attention_bound(write_rows(b, want)),
                                    .steer = s->steers};
    vkmoe_status status = vkm_step_prepare(
        s, &step, &state, &batch, last ? VKM_STEP_FORWARD : VKM_STEP_FORWARD | VKM_STEP_LOSS, err);
    if (status == VKMOE_OK)
        status = vkm_step_run(s, &step, &info, err);
    vkm_step_finish(&step);
    if (status == VKMOE_OK && s->model->n_host_experts > 0)
        status = vkm_session_count_use(s, b->n_rows, err);
    return status;
}

vkmoe_status vkm_branches_run(struct vkm_branches *b, enum vkm_branches_want want, vkmoe_error *err)
{
    struct vkmoe_session *s = b->session;
    double start = vkm_seconds();
    vkmoe_status status = VKMOE_OK;
    b->n_rows = 0;
    for (uint32_t i = 0; i < b->count; i++)
        b->n_rows += b->items[i].n_rows;
    s->has_logits = false;
    s->memory->logits_of = NULL;
    if (b->n_rows == 0)
        return VKMOE_OK;
    if (vkm_session_take_cancel(s, err))
        return VKMOE_CANCELLED;
    for (uint32_t i = 0; i < b->count && status == VKMOE_OK; i++)
        status = fork_one(b, &b->items[i], err);
    if (status == VKMOE_OK)
        status = copy_tails(b, err);
    if (status == VKMOE_OK)
        status = publish(b, err);
    if (status == VKMOE_OK)
        status = compute(b, want, err);
    if (status == VKMOE_CANCELLED)
        atomic_store(&s->cancelled, false);
    if (status != VKMOE_OK)
        return status;
    for (uint32_t i = 0; i < b->count; i++)
        b->items[i].sequence.length = b->items[i].from->length + b->items[i].n_rows;
    s->memory->routed += b->n_rows;
    s->stats.prompt_tokens += b->n_rows;
    s->stats.prompt_seconds += vkm_seconds() - start;
    return VKMOE_OK;
}

void vkm_branches_finish(struct vkm_branches *b)
{
    for (uint32_t i = 0; i < b->count; i++)
        vkm_kv_sequence_finish(&b->session->memory->kv, &b->items[i].sequence);
    vkm_buffer_destroy(b->session->model->gpu, b->table);
    b->table = NULL;
}
