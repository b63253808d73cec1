/* Branches: texts that each go on from a session's newest token, scored together. */
#include <math.h>
#include <string.h>

#include "engine/engine.h"
#include "gpu/once.h"
#include "kernels/ops.h"

/* Those that one step computes. Branch i of them is sequence i: whole blocks of the session's
 * tokens are shared, the last one is a copy that the branch goes on in. */
struct group {
    struct vkmoe_session *s;
    struct vkm_branch *branches;
    uint32_t count;
    struct vkm_kv_sequence *sequences; /* [count] */
    struct vkm_buffer *table;          /* of the sequences' blocks */
    uint32_t n_rows, longest;          /* in all, of one branch */
};

/* What is computed of a branch: nothing follows its last token. */
static uint32_t rows_of(const struct vkm_branch *b)
{
    return (uint32_t)b->count - 1;
}

static uint32_t blocks_of(const struct vkmoe_session *s, const struct vkm_branch *b)
{
    uint32_t length = s->sequence.length, whole = length / VKM_KV_BLOCK;
    return rows_of(b) > 0 ? vkm_ceil_div(length + rows_of(b), VKM_KV_BLOCK) - whole : 0;
}

/* The branches that find room in a step, from the first on. */
static struct group gather(struct vkmoe_session *s, struct vkm_branch *branches, uint32_t n)
{
    struct group g = {.s = s, .branches = branches};
    uint32_t most = vkm_min_u32(s->state.params.max_logits, s->state.params.max_rows), blocks = 0;
    for (; g.count < n; g.count++) {
        uint32_t rows = rows_of(&branches[g.count]);
        blocks += blocks_of(s, &branches[g.count]);
        if (rows > most - g.n_rows || blocks > s->memory->kv.n_free)
            break;
        g.n_rows += rows;
        g.longest = vkm_max_u32(g.longest, rows);
    }
    return g;
}

/* --- one step --- */

/* Blocks of its own for what a branch adds, and whole ones shared with the session. */
static vkmoe_status fork_into(const struct group *g, uint32_t i, vkmoe_error *err)
{
    struct vkm_kv *kv = &g->s->memory->kv;
    struct vkm_kv_sequence *to = &g->sequences[i];
    const struct vkm_kv_sequence *from = &g->s->sequence;
    uint32_t block;
    vkmoe_status status = vkm_kv_sequence_init(kv, to, g->s->state.params.context, err);
    if (status != VKMOE_OK || rows_of(&g->branches[i]) == 0)
        return status;
    vkm_kv_fork(kv, from, from->length, to);
    if (from->length % VKM_KV_BLOCK > 0) {
        status = vkm_kv_take(kv, &block, err);
        if (status != VKMOE_OK)
            return status;
        vkm_kv_put(kv, to, from->length / VKM_KV_BLOCK, block);
    }
    to->length = from->length;
    return vkm_kv_extend(kv, to, rows_of(&g->branches[i]), err);
}

/* Of the session's last block, where it is not whole, into each branch's own. */
static vkmoe_status copy_tails(const struct group *g, vkmoe_error *err)
{
    const struct vkm_kv_sequence *from = &g->s->sequence;
    uint32_t last = from->length / VKM_KV_BLOCK;
    struct vkm_once once;
    if (from->length % VKM_KV_BLOCK == 0)
        return VKMOE_OK;
    vkm_once_begin(&once, g->s->model->gpu);
    for (uint32_t i = 0; i < g->count; i++)
        if (rows_of(&g->branches[i]) > 0)
            vkm_forward_copy_block(&once.recorder, &g->s->memory->kv, from->blocks[last],
                                   g->sequences[i].blocks[last]);
    return vkm_once_run(&once, err);
}

static vkmoe_status fork_all(struct group *g, vkmoe_error *err)
{
    const vkmoe_allocator *a = vkm_gpu_allocator(g->s->model->gpu);
    g->sequences = vkm_calloc(a, g->count, sizeof(*g->sequences));
    if (!g->sequences)
        return vkm_fail_memory(err, g->count * sizeof(*g->sequences), "branches");
    vkmoe_status status = VKMOE_OK;
    for (uint32_t i = 0; i < g->count && status == VKMOE_OK; i++)
        status = fork_into(g, i, err);
    return status == VKMOE_OK ? copy_tails(g, err) : status;
}

/* Tells the device where the branches' positions lie. */
static vkmoe_status publish(struct group *g, vkmoe_error *err)
{
    uint64_t stride = g->s->state.block_stride * sizeof(uint32_t);
    vkmoe_status status = vkm_buffer_create(g->s->model->gpu, VKM_MEMORY_SHARED, g->count * stride,
                                            "branches", &g->table, err);
    for (uint32_t i = 0; i < g->count && status == VKMOE_OK; i++)
        memcpy(g->table->mapped + i * stride, g->sequences[i].blocks,
               g->sequences[i].count * sizeof(uint32_t));
    return status;
}

static void write_rows(const struct group *g)
{
    const struct vkm_state *state = &g->s->state;
    struct vkm_row *row = vkm_host_rows(state->rows);
    uint32_t *target = (uint32_t *)(void *)(state->targets.buffer->mapped + state->targets.offset);
    for (uint32_t i = 0; i < g->count; i++)
        for (uint32_t t = 0; t < rows_of(&g->branches[i]); t++) {
            *row++ = (struct vkm_row){.token = (uint32_t)g->branches[i].tokens[t],
                                      .position = g->s->sequence.length + t,
                                      .sequence = i};
            *target++ = (uint32_t)g->branches[i].tokens[t + 1];
        }
}

static void add_losses(const struct group *g)
{
    struct vkm_view view = g->s->state.losses;
    const float *loss = (const float *)(const void *)(view.buffer->mapped + view.offset);
    for (uint32_t i = 0; i < g->count; i++)
        for (uint32_t t = 0; t < rows_of(&g->branches[i]); t++)
            g->branches[i].loss += (double)*loss++;
}

static vkmoe_status compute(const struct group *g, vkmoe_error *err)
{
    struct vkmoe_session *s = g->s;
    struct vkm_state state = s->state;
    struct vkm_step step = {0};
    vkmoe_step info = {
        .prompt = true, .done = g->n_rows, .total = g->n_rows, .n_tokens = g->n_rows};
    double start = vkm_seconds();
    state.blocks = vkm_buffer_view(g->table);
    const struct vkm_batch batch = {.rows = state.rows,
                                    .n_rows = g->n_rows,
                                    .n_logits = g->n_rows,
                                    .bound = vkm_attention_bound(s->sequence.length + g->longest),
                                    .steer = s->steers};
    write_rows(g);
    vkmoe_status status =
        vkm_step_prepare(s, &step, &state, &batch, VKM_STEP_FORWARD | VKM_STEP_LOSS, err);
    if (status == VKMOE_OK)
        status = vkm_step_run(s, &step, &info, err);
    vkm_step_finish(&step);
    if (status == VKMOE_OK) {
        s->memory->routed += g->n_rows;
        s->stats.prompt_tokens += g->n_rows;
        s->stats.prompt_seconds += vkm_seconds() - start;
        add_losses(g);
    }
    return status;
}

static vkmoe_status run_group(struct group *g, vkmoe_error *err)
{
    struct vkm_gpu *gpu = g->s->model->gpu;
    if (g->n_rows == 0)
        return VKMOE_OK;
    vkmoe_status status = fork_all(g, err);
    if (status == VKMOE_OK)
        status = publish(g, err);
    if (status == VKMOE_OK)
        status = compute(g, err);
    for (uint32_t i = 0; i < g->count && g->sequences; i++)
        vkm_kv_sequence_finish(&g->s->memory->kv, &g->sequences[i]);
    vkm_free(vkm_gpu_allocator(gpu), g->sequences);
    vkm_buffer_destroy(gpu, g->table);
    return status;
}

/* --- what finds no room in a step --- */

/* On the session's own sequence, chunk by chunk, which is then taken back. */
static vkmoe_status score_alone(struct vkmoe_session *s, struct vkm_branch *b, vkmoe_error *err)
{
    const vkmoe_allocator *a = vkm_gpu_allocator(s->model->gpu);
    uint32_t length = vkmoe_session_length(s);
    float *losses = vkm_malloc(a, b->count, sizeof(*losses));
    if (!losses)
        return vkm_fail_memory(err, b->count * sizeof(*losses), "losses");
    vkmoe_status status =
        vkmoe_session_eval(s, b->tokens, b->count, &(vkmoe_trace){.losses = losses}, err);
    for (uint32_t i = 0; i < rows_of(b) && status == VKMOE_OK; i++)
        b->loss += (double)losses[i];
    if (status == VKMOE_OK)
        status = vkmoe_session_rollback(s, length, err);
    vkm_free(a, losses);
    return status;
}

/* --- first tokens --- */

/* ln of the sum of exp(logits). */
static double log_sum(const float *logits, uint32_t n)
{
    double largest = -INFINITY, sum = 0;
    for (uint32_t i = 0; i < n; i++)
        largest = fmax(largest, (double)logits[i]);
    for (uint32_t i = 0; i < n; i++)
        sum += exp((double)logits[i] - largest);
    return largest + log(sum);
}

/* They all follow the session's newest token, whose logits are at hand. */
static vkmoe_status score_first(struct vkmoe_session *s, struct vkm_branch *branches, uint32_t n,
                                vkmoe_error *err)
{
    const vkmoe_allocator *a = vkm_gpu_allocator(s->model->gpu);
    uint32_t vocab = s->model->info.vocab_size;
    uint64_t row = vkm_ld(vocab) * sizeof(float);
    float *logits = vkm_malloc(a, vocab, sizeof(*logits));
    if (!logits)
        return vkm_fail_memory(err, vocab * sizeof(*logits), "logits");
    vkmoe_status status = vkm_buffer_read(
        s->model->gpu,
        vkm_view_slice(s->state.logits, s->logits_row * row, vocab * sizeof(*logits)), logits, err);
    double all = status == VKMOE_OK ? log_sum(logits, vocab) : 0;
    for (uint32_t i = 0; i < n && status == VKMOE_OK; i++)
        branches[i].loss = all - (double)logits[branches[i].tokens[0]];
    vkm_free(a, logits);
    return status;
}

vkmoe_status vkm_session_score(struct vkmoe_session *s, struct vkm_branch *branches, uint32_t n,
                               vkmoe_error *err)
{
    vkmoe_status status = score_first(s, branches, n, err);
    s->has_logits = false;
    s->memory->logits_of = NULL;
    for (uint32_t i = 0; i < n && status == VKMOE_OK;) {
        struct group g = gather(s, branches + i, n - i);
        if (vkm_session_take_cancel(s, err))
            return VKMOE_CANCELLED;
        status = g.count > 0 ? run_group(&g, err) : score_alone(s, branches + i, err);
        i += g.count > 0 ? g.count : 1;
    }
    if (status == VKMOE_CANCELLED)
        atomic_store(&s->cancelled, false);
    return status;
}
