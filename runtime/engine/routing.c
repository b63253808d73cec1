/* Routing of a session: experts switched off or forced, and what was chosen. */
#include <string.h>

#include "engine/engine.h"

static uint32_t *words_at(struct vkm_view view, uint64_t offset)
{
    return (uint32_t *)(void *)(view.buffer->mapped + view.offset + offset);
}

uint32_t vkmoe_session_experts_per_token(const vkmoe_session *session)
{
    return session->state.params.routing.k;
}

/* --- what the host writes --- */

static vkmoe_status write_table(struct vkmoe_session *s, const uint32_t *table, vkmoe_error *err)
{
    const vkmoe_allocator *a = vkm_gpu_allocator(s->model->gpu);
    const struct vkm_config *c = &s->model->weights.config;
    if (table) {
        memcpy(words_at(s->state.table, 0), table,
               (size_t)c->vocab_size * s->state.params.routing.k * sizeof(*table));
        return VKMOE_OK;
    }
    uint32_t *order = vkm_malloc(a, c->n_routed_experts, sizeof(*order));
    if (!order)
        return vkm_fail_memory(err, c->n_routed_experts * sizeof(*order), "a routing table");
    vkm_router_draw_table(c, &s->state.params.routing, order, words_at(s->state.table, 0));
    vkm_free(a, order);
    return VKMOE_OK;
}

vkmoe_status vkm_routing_prepare(struct vkmoe_session *s, const uint32_t *table, vkmoe_error *err)
{
    vkmoe_status status = VKMOE_OK;
    if (s->state.params.routing.count)
        status = vkmoe_session_reset_routing(s, err);
    if (status == VKMOE_OK && s->state.params.routing.by_table && s->state.table.size > 0)
        status = write_table(s, table, err);
    return status;
}

/* Of all that is computed. */
static void copy_routes(struct vkmoe_session *s, const struct vkmoe_session *from)
{
    const struct vkm_state *to = &s->state, *of = &from->state;
    size_t n = from->sequence.length, keep = to->params.routing.keep;
    for (uint32_t i = 0; i < s->model->info.n_moe_layers; i++) {
        uint64_t ids = i * to->kept_ids_stride, weights = i * to->kept_weights_stride;
        memcpy(words_at(to->kept_ids, ids), words_at(of->kept_ids, ids),
               n * keep * sizeof(uint32_t));
        memcpy(words_at(to->kept_weights, weights), words_at(of->kept_weights, weights),
               n * 2 * keep * sizeof(float));
    }
}

void vkm_routing_inherit(struct vkmoe_session *s, const struct vkmoe_session *from)
{
    s->steers = from->steers;
    memcpy(words_at(s->state.experts, 0), words_at(from->state.experts, 0),
           (size_t)s->state.experts.size);
    memcpy(words_at(s->state.table, 0), words_at(from->state.table, 0),
           (size_t)s->state.table.size);
    if (s->state.kept)
        copy_routes(s, from);
}

/* --- experts off and forced --- */

/* What the host wants of a layer's experts. */
struct wanted {
    uint32_t off, forced;
};

static vkmoe_status count_wanted(const uint8_t *states, uint32_t n, uint32_t layer,
                                 struct wanted *wanted, vkmoe_error *err)
{
    *wanted = (struct wanted){0};
    for (uint32_t i = 0; i < n; i++) {
        if (states[i] > VKMOE_EXPERT_FORCED)
            return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                            "the state of expert %u in MoE layer %u is %u, expected 0 to %d", i,
                            layer, states[i], VKMOE_EXPERT_FORCED);
        wanted->off += states[i] == VKMOE_EXPERT_OFF;
        wanted->forced += states[i] == VKMOE_EXPERT_FORCED;
    }
    return VKMOE_OK;
}

/* Whether a router can do with that, of n experts. */
static vkmoe_status check_wanted(const struct vkm_router *routing, uint32_t n, uint32_t layer,
                                 const struct wanted *wanted, vkmoe_error *err)
{
    if (wanted->forced > routing->k)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "%u experts are forced in MoE layer %u, where a token activates %u",
                        wanted->forced, layer, routing->k);
    if (!routing->by_table && n - wanted->off < routing->skip + routing->k)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "%u of %u experts are left in MoE layer %u, where a token activates %u",
                        n - wanted->off > routing->skip ? n - wanted->off - routing->skip : 0, n,
                        layer, routing->k);
    return VKMOE_OK;
}

vkmoe_status vkmoe_session_set_experts(vkmoe_session *session, const uint8_t *states,
                                       vkmoe_error *err)
{
    VKM_REQUIRE(session, err);
    const struct vkm_state *s = &session->state;
    uint32_t n = session->model->info.n_routed_experts;
    uint32_t layers = session->model->info.n_moe_layers;
    bool steers = false;
    for (uint32_t i = 0; states && i < layers; i++) {
        struct wanted wanted;
        vkmoe_status status = count_wanted(states + (size_t)i * n, n, i, &wanted, err);
        if (status == VKMOE_OK)
            status = check_wanted(&s->params.routing, n, i, &wanted, err);
        if (status != VKMOE_OK)
            return status;
    }
    for (uint32_t i = 0; i < layers; i++)
        for (uint32_t e = 0; e < n; e++) {
            uint32_t state = states ? states[(size_t)i * n + e] : VKMOE_EXPERT_FREE;
            words_at(s->experts, i * s->experts_stride)[e] = state;
            steers = steers || state != VKMOE_EXPERT_FREE;
        }
    session->steers = steers;
    return VKMOE_OK;
}

/* --- another router --- */

/* Whether it fits what memory is laid out for, and the experts that are off or forced. */
static vkmoe_status check_router(const struct vkmoe_session *session,
                                 const struct vkm_router *routing, vkmoe_error *err)
{
    const struct vkm_state *s = &session->state;
    uint32_t n = session->model->info.n_routed_experts;
    uint32_t most = vkm_router_most(&s->params.routing);
    vkmoe_status status = VKMOE_OK;
    if (routing->k > most)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "the session was made to activate at most %u experts of each token, not %u",
                        most, routing->k);
    if (routing->by_table && s->table.size == 0)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "the session was not made with a routing table");
    for (uint32_t i = 0; i < session->model->info.n_moe_layers && status == VKMOE_OK; i++) {
        const uint32_t *states = words_at(s->experts, i * s->experts_stride);
        struct wanted wanted = {0};
        for (uint32_t e = 0; e < n; e++) {
            wanted.off += states[e] == VKM_EXPERT_OFF;
            wanted.forced += states[e] == VKM_EXPERT_FORCED;
        }
        status = check_wanted(routing, n, i, &wanted, err);
    }
    return status;
}

vkmoe_status vkmoe_session_set_routing(vkmoe_session *session, const vkmoe_routing *routing,
                                       vkmoe_error *err)
{
    VKM_REQUIRE(session, err);
    struct vkm_router *now = &session->state.params.routing, before = *now, after;
    vkmoe_status status = vkm_router_resolve(&session->model->weights.config, routing, &after, err);
    if (status == VKMOE_OK)
        status = check_router(session, &after, err);
    if (status != VKMOE_OK)
        return status;
    after.most = vkm_router_most(&before);
    after.count = before.count;
    after.count_pairs = before.count_pairs;
    after.keep = before.keep;
    *now = after;
    if (after.by_table)
        status = write_table(session, routing ? routing->table : NULL, err);
    if (status != VKMOE_OK)
        *now = before;
    for (uint32_t i = 0; i < VKM_STEPS_AHEAD; i++)
        vkm_step_finish(&session->decode[i]); /* recorded for the router before */
    return status;
}

/* --- what was chosen --- */

/* A view read from the device into memory of its own; the caller frees it. */
static vkmoe_status fetch(struct vkmoe_session *s, struct vkm_view view, const char *what,
                          uint32_t **out, vkmoe_error *err)
{
    const vkmoe_allocator *a = vkm_gpu_allocator(s->model->gpu);
    *out = vkm_malloc(a, (size_t)view.size, 1);
    if (!*out)
        return vkm_fail_memory(err, (size_t)view.size, what);
    vkmoe_status status = vkm_buffer_read(s->model->gpu, view, *out, err);
    if (status != VKMOE_OK) {
        vkm_free(a, *out);
        *out = NULL;
    }
    return status;
}

/* Words as they were, and a moment later: steps that are in hand may be adding to them, first to
 * the low word and then what it carries to the high one. */
static double mass(const uint32_t *before, const uint32_t *after)
{
    bool carries = after[0] < before[0] && after[1] == before[1];
    return (((double)after[1] + carries) * 0x1p32 + after[0]) / (double)VKM_MASS_UNIT;
}

/* Two readings; one will do where it comes behind the steps in hand. */
static vkmoe_status fetch_counts(struct vkmoe_session *s, uint32_t **before, uint32_t **after,
                                 vkmoe_error *err)
{
    const char *what = "the router's counts";
    vkmoe_status status = fetch(s, s->state.counts, what, before, err);
    *after = *before;
    if (status == VKMOE_OK && s->state.counts.buffer->mapped)
        status = fetch(s, s->state.counts, what, after, err);
    return status;
}

static vkmoe_status read_counts(struct vkmoe_session *s, vkmoe_routing_counts *counts,
                                vkmoe_error *err)
{
    const vkmoe_allocator *a = vkm_gpu_allocator(s->model->gpu);
    uint32_t n = s->model->info.n_routed_experts, *before = NULL, *after = NULL;
    vkmoe_status status = fetch_counts(s, &before, &after, err);
    for (uint32_t i = 0; i < s->model->info.n_moe_layers && status == VKMOE_OK; i++)
        for (uint32_t e = 0; e < n; e++) {
            size_t of = i * (s->state.counts_stride / sizeof(*after)) + e * VKM_COUNT_WORDS;
            size_t at = (size_t)i * n + e;
            if (counts->chosen)
                counts->chosen[at] = after[of];
            if (counts->gate_mass)
                counts->gate_mass[at] = mass(before + of + 1, after + of + 1);
            if (counts->prob_mass)
                counts->prob_mass[at] = mass(before + of + 3, after + of + 3);
        }
    if (after != before)
        vkm_free(a, after);
    vkm_free(a, before);
    return status;
}

static vkmoe_status read_pairs(struct vkmoe_session *s, uint32_t *pairs, vkmoe_error *err)
{
    size_t n = s->model->info.n_routed_experts, size = n * n * sizeof(uint32_t);
    uint32_t *words;
    vkmoe_status status = fetch(s, s->state.pairs, "the counts of pairs", &words, err);
    if (status != VKMOE_OK)
        return status;
    for (uint32_t i = 0; i < s->model->info.n_moe_layers; i++)
        memcpy(pairs + i * n * n, words + i * (s->state.pairs_stride / sizeof(*words)), size);
    vkm_free(vkm_gpu_allocator(s->model->gpu), words);
    return VKMOE_OK;
}

vkmoe_status vkmoe_session_read_routing(vkmoe_session *session, vkmoe_routing_counts *counts,
                                        vkmoe_error *err)
{
    VKM_REQUIRE(session && counts, err);
    const struct vkm_router *routing = &session->state.params.routing;
    if (!routing->count)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "the session does not count what its router chooses");
    if (counts->pairs && !routing->count_pairs)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT, "the session does not count pairs of experts");
    counts->tokens = session->memory->routed;
    vkmoe_status status = read_counts(session, counts, err);
    if (status == VKMOE_OK && counts->pairs)
        status = read_pairs(session, counts->pairs, err);
    return status;
}

static vkmoe_status clear(struct vkmoe_session *s, struct vkm_view view, vkmoe_error *err)
{
    struct vkm_uploader *u = NULL;
    vkmoe_status status = vkm_uploader_create(s->model->gpu, &u, err);
    for (uint64_t at = 0; status == VKMOE_OK && at < view.size; at += VKM_UPLOAD_CHUNK) {
        uint64_t size = view.size - at < VKM_UPLOAD_CHUNK ? view.size - at : VKM_UPLOAD_CHUNK;
        void *data;
        status = vkm_uploader_begin(u, view, at, size, &data, err);
        if (status == VKMOE_OK) {
            memset(data, 0, (size_t)size);
            status = vkm_uploader_end(u, err);
        }
    }
    if (status == VKMOE_OK)
        status = vkm_uploader_flush(u, err);
    vkm_uploader_destroy(u);
    return status;
}

vkmoe_status vkmoe_session_reset_routing(vkmoe_session *session, vkmoe_error *err)
{
    VKM_REQUIRE(session, err);
    const struct vkm_router *routing = &session->state.params.routing;
    vkmoe_status status = VKMOE_OK;
    if (routing->count)
        status = clear(session, session->state.counts, err);
    if (status == VKMOE_OK && routing->count_pairs)
        status = clear(session, session->state.pairs, err);
    if (status == VKMOE_OK)
        session->memory->routed = 0;
    return status;
}

/* --- which experts ranked first --- */

static void read_routes(const struct vkm_state *s, uint32_t layer, const vkmoe_routes *r)
{
    size_t keep = s->params.routing.keep, at = (size_t)layer * r->count * keep;
    const uint32_t *ids = words_at(s->kept_ids, layer * s->kept_ids_stride) + r->first * keep;
    const uint32_t *weights =
        words_at(s->kept_weights, layer * s->kept_weights_stride) + r->first * 2 * keep;
    if (r->ids)
        memcpy(r->ids + at, ids, r->count * keep * sizeof(*ids));
    for (uint32_t i = 0; i < r->count; i++, at += keep, weights += 2 * keep) {
        if (r->probs)
            memcpy(r->probs + at, weights, keep * sizeof(float));
        if (r->gates)
            memcpy(r->gates + at, weights + keep, keep * sizeof(float));
    }
}

vkmoe_status vkmoe_session_read_routes(vkmoe_session *session, vkmoe_routes *routes,
                                       vkmoe_error *err)
{
    VKM_REQUIRE(session && routes, err);
    const struct vkm_state *s = &session->state;
    uint32_t computed = session->sequence.length + session->told;
    routes->ranks = s->params.routing.keep;
    if (routes->ranks == 0)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "the session does not keep which experts rank first");
    if (routes->first > computed || routes->count > computed - routes->first)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "%u tokens from position %u on were asked for, and %u are computed",
                        routes->count, routes->first, computed);
    for (uint32_t i = 0; i < session->model->info.n_moe_layers; i++)
        read_routes(s, i, routes);
    return VKMOE_OK;
}
