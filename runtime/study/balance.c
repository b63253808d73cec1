/* Balance: how evenly experts are used. */
#include <math.h>
#include <string.h>

#include "engine/engine.h"
#include "vkmoe/eval.h"

static double device_loss(const uint64_t *chosen, const double *prob_mass, const double scale[2],
                          uint32_t n, const uint32_t *device_of, uint32_t n_devices)
{
    double sum = 0;
    for (uint32_t d = 0; d < n_devices; d++) {
        double f = 0, p = 0;
        uint32_t members = 0;
        for (uint32_t i = 0; i < n; i++) {
            uint32_t of = device_of ? device_of[i] : (uint32_t)((uint64_t)i * n_devices / n);
            if (of != d)
                continue;
            f += scale[0] * (double)chosen[i];
            p += scale[1] * prob_mass[i];
            members++;
        }
        sum += f / members * p;
    }
    return sum;
}

void vkmoe_balance_of(const uint64_t *chosen, const double *prob_mass, uint64_t tokens,
                      uint32_t n_experts, uint32_t k, const uint32_t *device_of, uint32_t n_devices,
                      vkmoe_balance *out)
{
    double n = n_experts, t = (double)tokens, mean = t * k / n, largest = 0, squares = 0;
    const double scale[2] = {n / (k * t), 1 / t}; /* of f and P */
    *out = (vkmoe_balance){0};
    for (uint32_t i = 0; i < n_experts; i++) {
        double load = (double)chosen[i], share = load / (t * k);
        out->expert_loss += scale[0] * load * scale[1] * prob_mass[i];
        largest = fmax(largest, load);
        squares += (load - mean) * (load - mean);
        out->entropy -= share > 0 ? share * log(share) : 0;
        out->dead += chosen[i] == 0;
    }
    out->busiest = largest / mean;
    out->variation = sqrt(squares / n) / mean;
    out->entropy = n_experts > 1 ? out->entropy / log(n) : 1;
    out->device_loss =
        device_loss(chosen, prob_mass, scale, n_experts, device_of, n_devices > 0 ? n_devices : 1);
}

struct run {
    struct vkmoe_session *session;
    const vkmoe_balance_params *params;
    vkmoe_balance_result *result;
    uint32_t n_layers, n_experts, k;
    int32_t *tokens;  /* of a sequence */
    uint64_t *chosen; /* of a sequence [n_layers, n_experts] */
    double *mass[2];  /* of gates and probabilities, likewise */
    uint32_t *pairs;  /* [n_layers, n_experts, n_experts], where they are wanted; or NULL */
};

static vkmoe_status check(const struct vkmoe_model *m, const vkmoe_balance_params *p, size_t count,
                          vkmoe_error *err)
{
    uint32_t n = m->info.n_routed_experts, devices = p->n_devices > 0 ? p->n_devices : 1;
    bool empty[VKM_MAX_EXPERTS];
    if (n == 0)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT, "the model has no routed experts");
    if (count == 0)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT, "there are no tokens to route");
    if (!p->device_of && n % devices != 0)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "%u devices do not divide the %u routed experts of a layer", devices, n);
    if (devices > n)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT, "%u devices for %u experts", devices, n);
    memset(empty, true, sizeof(empty));
    for (uint32_t i = 0; p->device_of && i < n; i++) {
        if (p->device_of[i] >= devices)
            return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                            "expert %u is on device %u, expected one below %u", i, p->device_of[i],
                            devices);
        empty[p->device_of[i]] = false;
    }
    for (uint32_t d = 0; p->device_of && d < devices; d++)
        if (empty[d])
            return vkm_fail(err, VKMOE_INVALID_ARGUMENT, "no expert is on device %u", d);
    return VKMOE_OK;
}

static vkmoe_status open_run(struct run *r, struct vkmoe_model *m, vkmoe_error *err)
{
    const vkmoe_allocator *a = vkm_gpu_allocator(m->gpu);
    const vkmoe_session_params params = {.context = r->params->context,
                                         .chunk = r->params->chunk,
                                         .routing = r->params->routing,
                                         .kv = r->params->kv,
                                         .count_routing = true,
                                         .count_pairs = r->result->counts.pairs != NULL};
    vkmoe_status status = vkmoe_session_create(m, &params, &r->session, err);
    if (status == VKMOE_OK && r->params->experts)
        status = vkmoe_session_set_experts(r->session, r->params->experts, err);
    if (status != VKMOE_OK)
        return status;
    size_t n = (size_t)r->n_layers * r->n_experts;
    bool pairs = params.count_pairs;
    r->k = vkmoe_session_experts_per_token(r->session);
    r->tokens = vkm_malloc(a, vkmoe_session_context(r->session), sizeof(*r->tokens));
    r->chosen = vkm_malloc(a, n, sizeof(*r->chosen));
    r->mass[0] = vkm_malloc(a, n, sizeof(double));
    r->mass[1] = vkm_malloc(a, n, sizeof(double));
    r->pairs = pairs ? vkm_malloc(a, n, r->n_experts * sizeof(*r->pairs)) : NULL;
    if (!r->tokens || !r->chosen || !r->mass[0] || !r->mass[1] || (pairs && !r->pairs))
        return vkm_fail_memory(err, n * sizeof(double), "the counts of a sequence");
    return VKMOE_OK;
}

static void close_run(struct run *r, const vkmoe_allocator *a)
{
    vkmoe_session_destroy(r->session);
    vkm_free(a, r->tokens);
    vkm_free(a, r->chosen);
    vkm_free(a, r->mass[0]);
    vkm_free(a, r->mass[1]);
    vkm_free(a, r->pairs);
}

/* Adds the counts of a sequence to the text's. */
static void add_sequence(struct run *r, uint64_t tokens)
{
    vkmoe_balance_result *out = r->result;
    for (uint32_t l = 0; l < r->n_layers; l++) {
        size_t first = (size_t)l * r->n_experts;
        vkmoe_balance of;
        vkmoe_balance_of(r->chosen + first, r->mass[1] + first, tokens, r->n_experts, r->k, NULL, 1,
                         &of);
        out->sequence_loss[l] += of.expert_loss * (double)tokens;
        for (size_t i = first; i < first + r->n_experts; i++) {
            out->counts.chosen[i] += r->chosen[i];
            out->counts.prob_mass[i] += r->mass[1][i];
            if (out->counts.gate_mass)
                out->counts.gate_mass[i] += r->mass[0][i];
        }
    }
    for (size_t i = 0; r->pairs && i < (size_t)r->n_layers * r->n_experts * r->n_experts; i++)
        out->counts.pairs[i] += r->pairs[i];
    out->counts.tokens += tokens;
    out->sequences++;
}

static vkmoe_status route_sequence(struct run *r, const int32_t *text, size_t count,
                                   vkmoe_error *err)
{
    bool bos = r->params->bos;
    vkmoe_routing_counts counts = {
        .chosen = r->chosen, .gate_mass = r->mass[0], .prob_mass = r->mass[1], .pairs = r->pairs};
    if (bos)
        r->tokens[0] = r->params->bos_token;
    memcpy(r->tokens + bos, text, count * sizeof(*text));
    vkmoe_session_reset(r->session);
    vkmoe_status status = vkmoe_session_reset_routing(r->session, err);
    if (status == VKMOE_OK)
        status = vkmoe_session_eval(r->session, r->tokens, count + bos, NULL, err);
    if (status == VKMOE_OK)
        status = vkmoe_session_read_routing(r->session, &counts, err);
    if (status == VKMOE_OK)
        add_sequence(r, counts.tokens);
    return status;
}

static vkmoe_status route_all(struct run *r, const int32_t *tokens, size_t count, vkmoe_error *err)
{
    size_t room = vkmoe_session_context(r->session) - r->params->bos, done = 0;
    vkmoe_status status = VKMOE_OK;
    if (room == 0)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "a sequence of one token has room for BOS only");
    while (done < count && status == VKMOE_OK) {
        size_t n = count - done < room ? count - done : room;
        status = route_sequence(r, tokens + done, n, err);
        done += n;
        if (status == VKMOE_OK && r->params->progress &&
            !r->params->progress(r->params->user, done, count))
            status = vkm_fail(err, VKMOE_CANCELLED, "cancelled");
    }
    return status;
}

static void finish(const struct run *r)
{
    vkmoe_balance_result *out = r->result;
    out->experts_per_token = r->k;
    for (uint32_t l = 0; l < r->n_layers; l++) {
        size_t first = (size_t)l * r->n_experts;
        out->sequence_loss[l] /= (double)out->counts.tokens;
        vkmoe_balance_of(out->counts.chosen + first, out->counts.prob_mass + first,
                         out->counts.tokens, r->n_experts, r->k, r->params->device_of,
                         r->params->n_devices, &out->batch[l]);
    }
}

vkmoe_status vkmoe_balance_run(vkmoe_model *model, const int32_t *tokens, size_t count,
                               const vkmoe_balance_params *params, vkmoe_balance_result *result,
                               vkmoe_error *err)
{
    static const vkmoe_balance_params defaults;
    VKM_REQUIRE(model && result && (tokens || count == 0), err);
    VKM_REQUIRE(result->counts.chosen && result->counts.prob_mass, err);
    VKM_REQUIRE(result->batch && result->sequence_loss, err);
    struct run r = {.params = params ? params : &defaults,
                    .result = result,
                    .n_layers = model->info.n_moe_layers,
                    .n_experts = model->info.n_routed_experts};
    size_t n = (size_t)r.n_layers * r.n_experts;
    vkmoe_status status = check(model, r.params, count, err);
    if (status != VKMOE_OK)
        return status;
    result->sequences = result->counts.tokens = 0;
    memset(result->counts.chosen, 0, n * sizeof(*result->counts.chosen));
    memset(result->counts.prob_mass, 0, n * sizeof(double));
    memset(result->sequence_loss, 0, r.n_layers * sizeof(double));
    if (result->counts.gate_mass)
        memset(result->counts.gate_mass, 0, n * sizeof(double));
    if (result->counts.pairs)
        memset(result->counts.pairs, 0, n * r.n_experts * sizeof(*result->counts.pairs));
    status = open_run(&r, model, err);
    if (status == VKMOE_OK && r.params->on_session)
        r.params->on_session(r.params->user, r.session);
    if (status == VKMOE_OK)
        status = route_all(&r, tokens, count, err);
    if (r.session && r.params->on_session)
        r.params->on_session(r.params->user, NULL);
    if (status == VKMOE_OK)
        finish(&r);
    close_run(&r, vkm_gpu_allocator(model->gpu));
    return status;
}
