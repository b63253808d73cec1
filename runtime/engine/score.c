#include "engine/score.h"

#include <math.h>

#include "engine/branches.h"

/* Tokens that may be computed once more so that another stem comes along in a step. */
#define MOST_REPEATED 32u

/* Nothing follows the last token of an ending, so it need not be computed. */
static uint32_t rows_of(const struct vkm_ending *e)
{
    return e->count - 1;
}

/* The session then holds the first `count` tokens. With `fresh`, the newest of them is computed now
 * in any case, so that its logits are at hand. */
static vkmoe_status bring_to(struct vkmoe_session *s, const int32_t *tokens, uint32_t count,
                             bool fresh, vkmoe_error *err)
{
    const int32_t *held = vkmoe_session_tokens(s);
    uint32_t n_held = s->sequence.length, same = 0; /* without a token that is pending */
    while (same + fresh < count && same < n_held && tokens[same] == held[same])
        same++;
    vkmoe_status status = vkmoe_session_rollback(s, same, err);
    if (status == VKMOE_OK && same < count)
        status = vkmoe_session_eval(s, tokens + same, count - same, NULL, err);
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

/* Those of all endings follow the newest token, whose logits are in this row. */
static vkmoe_status score_first(struct vkmoe_session *s, const struct vkm_stem *stem, uint32_t row,
                                vkmoe_error *err)
{
    const vkmoe_allocator *a = vkm_gpu_allocator(s->model->gpu);
    uint32_t vocab = s->model->info.vocab_size;
    uint64_t size = vocab * sizeof(float), stride = vkm_ld(vocab) * sizeof(float);
    float *logits = vkm_malloc(a, (size_t)size, 1);
    if (!logits)
        return vkm_fail_memory(err, (size_t)size, "logits");
    vkmoe_status status = vkm_buffer_read(
        s->model->gpu, vkm_view_slice(s->state.logits, row * stride, size), logits, err);
    double all = status == VKMOE_OK ? log_sum(logits, vocab) : 0;
    for (uint32_t i = 0; i < stem->n_endings && status == VKMOE_OK; i++)
        stem->endings[i].loss = all - (double)logits[stem->endings[i].tokens[0]];
    vkm_free(a, logits);
    return status;
}

/* --- one stem, which is the session's own sequence --- */

/* Chunk by chunk in the session's own sequence, which is then taken back. */
static vkmoe_status score_alone(struct vkmoe_session *s, struct vkm_ending *e, vkmoe_error *err)
{
    const vkmoe_allocator *a = vkm_gpu_allocator(s->model->gpu);
    uint32_t length = vkmoe_session_length(s);
    float *losses = vkm_malloc(a, e->count, sizeof(*losses));
    if (!losses)
        return vkm_fail_memory(err, e->count * sizeof(*losses), "losses");
    vkmoe_status status =
        vkmoe_session_eval(s, e->tokens, e->count, &(vkmoe_trace){.losses = losses}, err);
    for (uint32_t i = 0; i < rows_of(e) && status == VKMOE_OK; i++)
        e->loss += (double)losses[i];
    if (status == VKMOE_OK)
        status = vkmoe_session_rollback(s, length, err);
    vkm_free(a, losses);
    return status;
}

static struct vkm_branch branch_of(const struct vkm_kv_sequence *from, const struct vkm_ending *e)
{
    return (struct vkm_branch){.from = from, .tokens = e->tokens, .n_rows = rows_of(e)};
}

static void add_losses(struct vkm_ending *e, const float **loss)
{
    for (uint32_t i = 0; i < rows_of(e); i++)
        e->loss += (double)*(*loss)++;
}

static const float *losses_of(const struct vkmoe_session *s)
{
    struct vkm_view view = s->state.losses;
    return (const float *)(const void *)(view.buffer->mapped + view.offset);
}

/* Rows of one step whose logits are computed. */
static uint32_t most_rows(const struct vkmoe_session *s)
{
    return vkm_min_u32(s->state.params.max_logits, s->state.params.max_rows);
}

/* How many endings find room in a step after the session's tokens. */
static uint32_t endings_together(const struct vkmoe_session *s, const struct vkm_ending *endings,
                                 uint32_t n)
{
    uint32_t rows = 0, blocks = 0, count = 0;
    for (; count < n; count++) {
        if (rows_of(&endings[count]) > most_rows(s) - rows)
            break;
        rows += rows_of(&endings[count]);
        blocks += vkm_branch_blocks(s->sequence.length, rows_of(&endings[count]));
        if (blocks > s->memory->kv.n_free)
            break;
    }
    return count;
}

static vkmoe_status score_endings(struct vkmoe_session *s, struct vkm_ending *endings, uint32_t n,
                                  vkmoe_error *err)
{
    const vkmoe_allocator *a = vkm_gpu_allocator(s->model->gpu);
    struct vkm_branches b = {.session = s, .count = n};
    b.items = vkm_malloc(a, n, sizeof(*b.items));
    if (!b.items)
        return vkm_fail_memory(err, n * sizeof(*b.items), "endings");
    for (uint32_t i = 0; i < n; i++)
        b.items[i] = branch_of(&s->sequence, &endings[i]);
    vkmoe_status status = vkm_branches_run(&b, VKM_BRANCHES_LOSSES, err);
    const float *loss = losses_of(s);
    for (uint32_t i = 0; i < n && status == VKMOE_OK; i++)
        add_losses(&endings[i], &loss);
    vkm_branches_finish(&b);
    vkm_free(a, b.items);
    return status;
}

static vkmoe_status score_one(struct vkmoe_session *s, const struct vkm_stem *stem,
                              vkmoe_error *err)
{
    vkmoe_status status = bring_to(s, stem->tokens, stem->count, true, err);
    if (status == VKMOE_OK)
        status = score_first(s, stem, s->logits_row, err);
    for (uint32_t i = 0; i < stem->n_endings && status == VKMOE_OK;) {
        uint32_t n = endings_together(s, stem->endings + i, stem->n_endings - i);
        status = n > 0 ? score_endings(s, stem->endings + i, n, err)
                       : score_alone(s, stem->endings + i, err);
        i += n > 0 ? n : 1;
    }
    return status;
}

/* --- several stems, which go on from what they have in common --- */

struct group {
    uint32_t count;
    uint32_t common; /* tokens */
};

static uint32_t common_tokens(const struct vkm_stem *a, const struct vkm_stem *b, uint32_t most)
{
    uint32_t n = 0;
    while (n < most && n + 1 < b->count && a->tokens[n] == b->tokens[n])
        n++;
    return n;
}

static uint32_t rows_of_endings(const struct vkm_stem *stem)
{
    uint32_t rows = 0;
    for (uint32_t i = 0; i < stem->n_endings; i++)
        rows += rows_of(&stem->endings[i]);
    return rows;
}

/* Tokens of a stem that the session has computed. */
static uint32_t held_tokens(const struct vkmoe_session *s, const struct vkm_stem *stem)
{
    uint32_t n = 0;
    while (n < s->sequence.length && n + 1 < stem->count && s->tokens.items[n] == stem->tokens[n])
        n++;
    return n;
}

/* Those whose rows find room in two steps. One that has less in common with them than they have
 * with each other, or with the session, stays away: that would be computed for each. */
static struct group gather(const struct vkmoe_session *s, const struct vkm_stem *stems, uint32_t n)
{
    struct group g = {.count = 1, .common = stems[0].count - 1};
    uint64_t tokens = stems[0].count, endings = rows_of_endings(&stems[0]);
    uint32_t held = held_tokens(s, &stems[0]);
    for (; g.count < n; g.count++) {
        const struct vkm_stem *next = &stems[g.count];
        uint32_t common = common_tokens(&stems[0], next, g.common);
        tokens += next->count;
        endings += rows_of_endings(next);
        uint64_t repeated = (uint64_t)(g.common - common) * (g.count - 1);
        repeated += held > common ? held - common : 0;
        if (repeated > MOST_REPEATED ||
            tokens - (uint64_t)common * (g.count + 1) > s->state.params.max_rows ||
            endings > most_rows(s) || g.count >= s->state.params.max_logits)
            break;
        g.common = common;
    }
    return g;
}

static uint64_t blocks_of(const struct vkm_stem *stem, uint32_t common)
{
    uint64_t blocks = vkm_branch_blocks(common, stem->count - common);
    for (uint32_t i = 0; i < stem->n_endings; i++)
        blocks += vkm_branch_blocks(stem->count, rows_of(&stem->endings[i]));
    return blocks;
}

/* Of a group, those that the cache has blocks for beside the session's tokens. */
static uint32_t fitting(const struct vkmoe_session *s, const struct vkm_stem *stems,
                        const struct group *g)
{
    uint64_t blocks = 0;
    uint32_t n = 0;
    for (; n < g->count; n++) {
        blocks += blocks_of(&stems[n], g->common);
        if (blocks > s->memory->kv.n_free)
            break;
    }
    return n;
}

/* Endings of stems that are computed, all in one step. */
static vkmoe_status score_all_endings(const struct vkm_branches *of, const struct vkm_stem *stems,
                                      struct vkm_branch *items, vkmoe_error *err)
{
    struct vkm_branches b = {.session = of->session, .items = items};
    for (uint32_t i = 0; i < of->count; i++)
        for (uint32_t e = 0; e < stems[i].n_endings; e++)
            items[b.count++] = branch_of(&of->items[i].sequence, &stems[i].endings[e]);
    vkmoe_status status = vkm_branches_run(&b, VKM_BRANCHES_LOSSES, err);
    const float *loss = losses_of(of->session);
    for (uint32_t i = 0; i < of->count && status == VKMOE_OK; i++)
        for (uint32_t e = 0; e < stems[i].n_endings; e++)
            add_losses(&stems[i].endings[e], &loss);
    vkm_branches_finish(&b);
    return status;
}

static vkmoe_status score_group(struct vkmoe_session *s, const struct vkm_stem *stems,
                                const struct group *g, vkmoe_error *err)
{
    const vkmoe_allocator *a = vkm_gpu_allocator(s->model->gpu);
    struct vkm_branches b = {.session = s, .count = g->count};
    size_t n = g->count;
    for (uint32_t i = 0; i < g->count; i++)
        n += stems[i].n_endings;
    b.items = vkm_malloc(a, n, sizeof(*b.items)); /* stems, then their endings */
    if (!b.items)
        return vkm_fail_memory(err, n * sizeof(*b.items), "endings");
    for (uint32_t i = 0; i < g->count; i++)
        b.items[i] = (struct vkm_branch){.from = &s->sequence,
                                         .tokens = stems[i].tokens + g->common,
                                         .n_rows = stems[i].count - g->common};
    vkmoe_status status = vkm_branches_run(&b, VKM_BRANCHES_LAST, err);
    for (uint32_t i = 0; i < g->count && status == VKMOE_OK; i++)
        status = score_first(s, &stems[i], i, err);
    if (status == VKMOE_OK)
        status = score_all_endings(&b, stems, b.items + b.count, err);
    vkm_branches_finish(&b);
    vkm_free(a, b.items);
    return status;
}

vkmoe_status vkm_session_score(struct vkmoe_session *s, const struct vkm_stem *stems, uint32_t n,
                               uint32_t *done, vkmoe_error *err)
{
    struct group g = gather(s, stems, n);
    vkmoe_status status = VKMOE_OK;
    if (g.count > 1) {
        status = bring_to(s, stems[0].tokens, g.common, false, err);
        g.count = fitting(s, stems, &g);
    }
    if (status == VKMOE_OK)
        status = g.count > 1 ? score_group(s, stems, &g, err) : score_one(s, stems, err);
    *done = status != VKMOE_OK ? 0 : g.count > 1 ? g.count : 1;
    return status;
}
