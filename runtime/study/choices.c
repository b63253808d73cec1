/* Multiple choice: how likely each choice is after what all of them share. */
#include <math.h>
#include <string.h>

#include "engine/score.h"
#include "vkmoe/eval.h"

/* --- scoring --- */

static vkmoe_status check_choice(const struct vkmoe_session *s, const vkmoe_choices *c, uint32_t i,
                                 vkmoe_error *err)
{
    uint32_t vocab = s->model->info.vocab_size, context = s->state.params.context;
    if (c->n_tokens[i] <= c->shared)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT, "choice %u has no tokens of its own", i);
    if (c->n_bytes[i] == 0)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT, "choice %u is of no bytes", i);
    if (c->n_tokens[i] > context)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "the context with choice %u has %zu tokens, expected at most the %u that "
                        "the session can hold",
                        i, c->n_tokens[i], context);
    if (memcmp(c->tokens[i], c->tokens[0], c->shared * sizeof(int32_t)) != 0)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "choice %u does not begin with the %zu tokens that it shares", i,
                        c->shared);
    for (size_t t = 0; t < c->n_tokens[i]; t++)
        if (c->tokens[i][t] < 0 || (uint32_t)c->tokens[i][t] >= vocab)
            return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                            "token %zu of choice %u is %d, outside the vocabulary of %u", t, i,
                            c->tokens[i][t], vocab);
    return VKMOE_OK;
}

vkmoe_status vkmoe_choices_check(const vkmoe_session *session, const vkmoe_choices *item,
                                 vkmoe_error *err)
{
    VKM_REQUIRE(session && item, err);
    VKM_REQUIRE(item->tokens && item->n_tokens && item->n_bytes, err);
    if (item->count < 2)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT, "%u choices, expected at least 2",
                        item->count);
    if (item->shared == 0)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT, "nothing comes before the choices");
    vkmoe_status status = VKMOE_OK;
    for (uint32_t i = 0; i < item->count && status == VKMOE_OK; i++)
        status = check_choice(session, item, i, err);
    return status;
}

/* Items as stems with endings. */
struct lowered {
    struct vkm_stem *stems;     /* [n] */
    struct vkm_ending *endings; /* of all of them, one after the other */
};

static vkmoe_status lower(const vkmoe_allocator *a, const vkmoe_choices *items, uint32_t n,
                          struct lowered *l, vkmoe_error *err)
{
    size_t choices = 0, at = 0;
    for (uint32_t i = 0; i < n; i++)
        choices += items[i].count;
    l->stems = vkm_calloc(a, n, sizeof(*l->stems));
    l->endings = vkm_calloc(a, choices, sizeof(*l->endings));
    if (!l->stems || !l->endings)
        return vkm_fail_memory(err, choices * sizeof(*l->endings), "choices");
    for (uint32_t i = 0; i < n; i++) {
        const vkmoe_choices *item = &items[i];
        l->stems[i] = (struct vkm_stem){.tokens = item->tokens[0],
                                        .count = (uint32_t)item->shared,
                                        .endings = l->endings + at,
                                        .n_endings = item->count};
        for (uint32_t c = 0; c < item->count; c++)
            l->endings[at++] =
                (struct vkm_ending){.tokens = item->tokens[c] + item->shared,
                                    .count = (uint32_t)(item->n_tokens[c] - item->shared)};
    }
    return VKMOE_OK;
}

vkmoe_status vkmoe_choices_score(vkmoe_session *session, const vkmoe_choices *items, uint32_t n,
                                 vkmoe_choice_score *const *scores, uint32_t *done,
                                 vkmoe_error *err)
{
    VKM_REQUIRE(session && items && scores && n > 0, err);
    VKM_REQUIRE(done || n == 1, err);
    const vkmoe_allocator *a = vkm_gpu_allocator(session->model->gpu);
    struct lowered l = {0};
    uint32_t scored = 0;
    vkmoe_status status = VKMOE_OK;
    for (uint32_t i = 0; i < n && status == VKMOE_OK; i++)
        status = vkmoe_choices_check(session, &items[i], err);
    if (status == VKMOE_OK)
        status = lower(a, items, n, &l, err);
    if (status == VKMOE_OK)
        status = vkm_session_score(session, l.stems, n, &scored, err);
    for (uint32_t i = 0; i < scored; i++)
        for (uint32_t c = 0; c < items[i].count; c++)
            scores[i][c] = (vkmoe_choice_score){.log_likelihood = -l.stems[i].endings[c].loss,
                                                .tokens = l.stems[i].endings[c].count,
                                                .bytes = items[i].n_bytes[c]};
    if (done)
        *done = scored;
    vkm_free(a, l.stems);
    vkm_free(a, l.endings);
    return status;
}

/* --- what comes of it --- */

static double value(const vkmoe_choice_score *s, vkmoe_choice_rule rule)
{
    double over = rule == VKMOE_CHOICE_PER_TOKEN  ? (double)s->tokens
                  : rule == VKMOE_CHOICE_PER_BYTE ? (double)s->bytes
                                                  : 1;
    return s->log_likelihood / over;
}

uint32_t vkmoe_choices_pick(const vkmoe_choice_score *scores, uint32_t count,
                            vkmoe_choice_rule rule)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < count; i++)
        if (value(&scores[i], rule) > value(&scores[best], rule))
            best = i;
    return best;
}

vkmoe_accuracy vkmoe_accuracy_of(uint64_t correct, uint64_t items)
{
    const double z = 1.959963984540054; /* of a normal variable, 2.5 % lie above it */
    double n = (double)items, p = (double)correct / n;
    if (items == 0)
        return (vkmoe_accuracy){.mean = 0, .low = 0, .high = 1};
    double middle = p + z * z / (2 * n);
    double half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n));
    double all = 1 + z * z / n;
    return (vkmoe_accuracy){.mean = p,
                            .low = fmax(0, fmin(p, (middle - half) / all)),
                            .high = fmin(1, fmax(p, (middle + half) / all))};
}
