/* Multiple choice: how likely each choice is after what all of them share. */
#include <math.h>
#include <string.h>

#include "engine/engine.h"
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

static vkmoe_status check(const struct vkmoe_session *s, const vkmoe_choices *c, vkmoe_error *err)
{
    if (c->count < 2)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT, "%u choices, expected at least 2", c->count);
    if (c->shared == 0)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT, "nothing comes before the choices");
    vkmoe_status status = VKMOE_OK;
    for (uint32_t i = 0; i < c->count && status == VKMOE_OK; i++)
        status = check_choice(s, c, i, err);
    return status;
}

/* The session then holds these tokens, the newest one computed just now. */
static vkmoe_status bring_to(struct vkmoe_session *s, const int32_t *tokens, size_t count,
                             vkmoe_error *err)
{
    const int32_t *held = vkmoe_session_tokens(s);
    size_t n_held = vkmoe_session_length(s), same = 0;
    while (same + 1 < count && same < n_held && tokens[same] == held[same])
        same++;
    vkmoe_status status = vkmoe_session_rollback(s, (uint32_t)same, err);
    if (status == VKMOE_OK)
        status = vkmoe_session_eval(s, tokens + same, count - same, NULL, err);
    return status;
}

vkmoe_status vkmoe_choices_score(vkmoe_session *session, const vkmoe_choices *choices,
                                 vkmoe_choice_score *scores, vkmoe_error *err)
{
    VKM_REQUIRE(session && choices && scores, err);
    VKM_REQUIRE(choices->tokens && choices->n_tokens && choices->n_bytes, err);
    const vkmoe_allocator *a = vkm_gpu_allocator(session->model->gpu);
    vkmoe_status status = check(session, choices, err);
    if (status != VKMOE_OK)
        return status;
    struct vkm_branch *branches = vkm_calloc(a, choices->count, sizeof(*branches));
    if (!branches)
        return vkm_fail_memory(err, choices->count * sizeof(*branches), "choices");
    for (uint32_t i = 0; i < choices->count; i++)
        branches[i] = (struct vkm_branch){.tokens = choices->tokens[i] + choices->shared,
                                          .count = choices->n_tokens[i] - choices->shared};
    status = bring_to(session, choices->tokens[0], choices->shared, err);
    if (status == VKMOE_OK)
        status = vkm_session_score(session, branches, choices->count, err);
    for (uint32_t i = 0; i < choices->count && status == VKMOE_OK; i++)
        scores[i] = (vkmoe_choice_score){.log_likelihood = -branches[i].loss,
                                         .tokens = branches[i].count,
                                         .bytes = choices->n_bytes[i]};
    vkm_free(a, branches);
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
