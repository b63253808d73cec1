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
        memcpy(words_at(s->state.table, 0), table, (size_t)s->state.table.size);
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
    size_t row = keep + to->params.routing.k;
    for (uint32_t i = 0; i < s->model->info.n_moe_layers; i++) {
        uint64_t ids = i * to->kept_ids_stride, weights = i * to->kept_weights_stride;
        memcpy(words_at(to->kept_ids, ids), words_at(of->kept_ids, ids),
               n * keep * sizeof(uint32_t));
        memcpy(words_at(to->kept_weights, weights), words_at(of->kept_weights, weights),
               n * row * sizeof(float));
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

static vkmoe_status check_layer(const struct vkmoe_session *s, uint32_t layer,
                                const uint8_t *states, vkmoe_error *err)
{
    const struct vkm_router *routing = &s->state.params.routing;
    uint32_t n = s->model->info.n_routed_experts, off = 0, forced = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (states[i] > VKMOE_EXPERT_FORCED)
            return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                            "the state of expert %u in MoE layer %u is %u, expected 0 to %d", i,
                            layer, states[i], VKMOE_EXPERT_FORCED);
        off += states[i] == VKMOE_EXPERT_OFF;
        forced += states[i] == VKMOE_EXPERT_FORCED;
    }
    if (forced > routing->k)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "%u experts are forced in MoE layer %u, where a token activates %u", forced,
                        layer, routing->k);
    if (!routing->by_table && n - off - routing->skip < routing->k)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "%u of %u experts are left in MoE layer %u, where a token activates %u",
                        n - off - routing->skip, n, layer, routing->k);
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
        vkmoe_status status = check_layer(session, i, states + (size_t)i * n, err);
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

static double mass(const uint32_t *words)
{
    return ((double)words[1] * 0x1p32 + words[0]) / (double)VKM_MASS_UNIT;
}

static vkmoe_status read_counts(struct vkmoe_session *s, vkmoe_routing_counts *counts,
                                vkmoe_error *err)
{
    uint32_t n = s->model->info.n_routed_experts, *words;
    vkmoe_status status = fetch(s, s->state.counts, "the router's counts", &words, err);
    if (status != VKMOE_OK)
        return status;
    for (uint32_t i = 0; i < s->model->info.n_moe_layers; i++)
        for (uint32_t e = 0; e < n; e++) {
            const uint32_t *of =
                words + i * (s->state.counts_stride / sizeof(*words)) + e * VKM_COUNT_WORDS;
            size_t at = (size_t)i * n + e;
            if (counts->chosen)
                counts->chosen[at] = of[0];
            if (counts->gate_mass)
                counts->gate_mass[at] = mass(of + 1);
            if (counts->prob_mass)
                counts->prob_mass[at] = mass(of + 3);
        }
    vkm_free(vkm_gpu_allocator(s->model->gpu), words);
    return VKMOE_OK;
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

/* A token's gates and probabilities in one layer: the record holds probabilities [keep], gates [k].
 */
static void read_weights(const struct vkm_router *routing, const float *record, float *gates,
                         float *probs)
{
    uint32_t keep = routing->keep, k = routing->k;
    if (probs)
        memcpy(probs, record, keep * sizeof(*probs));
    if (!gates)
        return;
    memcpy(gates, record + keep, k * sizeof(*gates));
    memset(gates + k, 0, (keep - k) * sizeof(*gates));
}

static void read_routes(const struct vkm_state *s, uint32_t layer, const vkmoe_routes *r)
{
    const struct vkm_router *routing = &s->params.routing;
    size_t keep = routing->keep, row = keep + routing->k, at = (size_t)layer * r->count * keep;
    const uint32_t *ids = words_at(s->kept_ids, layer * s->kept_ids_stride);
    const float *weights =
        (const float *)(const void *)words_at(s->kept_weights, layer * s->kept_weights_stride);
    if (r->ids)
        memcpy(r->ids + at, ids + r->first * keep, r->count * keep * sizeof(*ids));
    for (uint32_t i = 0; i < r->count; i++, at += keep)
        read_weights(routing, weights + ((size_t)r->first + i) * row,
                     r->gates ? r->gates + at : NULL, r->probs ? r->probs + at : NULL);
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
