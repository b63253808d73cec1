#include "trace.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/safetensors.h"

#define LOGIT_BOUND 1e-4  /* of the largest |logit| */
#define WEIGHT_BOUND 1e-4 /* absolute; weights are at most 1 */
#define MARGIN 1e-5       /* between experts that may change places */
#define MAX_LAYERS 64u

static void allocate(struct test_trace *t)
{
    size_t routes = (size_t)t->n_layers * t->count * t->k;
    t->tokens = calloc(t->count, sizeof(int32_t));
    t->logits = calloc((size_t)t->count * t->vocab, sizeof(float));
    t->ids = calloc(routes + 1, sizeof(int32_t));
    t->weights = calloc(routes + 1, sizeof(float));
    assert_true(t->tokens && t->logits && t->ids && t->weights);
}

struct test_trace test_trace_make(const vkmoe_model_info *info, const int32_t *tokens,
                                  uint32_t count)
{
    struct test_trace t = {.count = count,
                           .vocab = info->vocab_size,
                           .n_layers = info->n_moe_layers,
                           .k = info->n_experts_per_token};
    allocate(&t);
    memcpy(t.tokens, tokens, count * sizeof(*tokens));
    return t;
}

void test_trace_free(struct test_trace *t)
{
    free(t->tokens);
    free(t->logits);
    free(t->ids);
    free(t->weights);
    free(t->probs);
    *t = (struct test_trace){0};
}

static const struct vkm_tensor *find_route(const struct vkm_checkpoint *file, uint32_t layer,
                                           const char *kind)
{
    char name[64];
    snprintf(name, sizeof(name), "layers.%u.topk_%s", layer, kind);
    return vkm_checkpoint_find(file, name);
}

/* Copies a tensor of a known type and size. */
static void take(const struct vkm_tensor *t, enum vkm_dtype dtype, void *to, size_t count)
{
    assert_non_null(t);
    assert_int_equal(t->dtype, dtype);
    assert_int_equal(t->size, count * sizeof(float));
    vkmoe_error err;
    assert_ok(vkm_tensor_read(t, 0, to, count * sizeof(float), &err), &err);
}

struct test_trace test_trace_read(const char *path)
{
    vkmoe_error err;
    struct vkm_checkpoint *file;
    struct test_trace t = {0};
    assert_ok(vkm_checkpoint_open_file(NULL, path, &file, &err), &err);
    const struct vkm_tensor *logits = vkm_checkpoint_find(file, "logits");
    assert_non_null(logits);
    assert_int_equal(logits->n_dims, 2);
    t.count = (uint32_t)logits->shape[0];
    t.vocab = (uint32_t)logits->shape[1];
    for (uint32_t layer = 0; layer < MAX_LAYERS; layer++) {
        const struct vkm_tensor *ids = find_route(file, layer, "idx");
        if (!ids)
            continue;
        assert_int_equal(ids->n_dims, 2);
        assert_int_equal(ids->shape[0], t.count);
        t.k = (uint32_t)ids->shape[1];
        t.n_layers++;
    }
    assert_int_equal(vkm_checkpoint_count(file), 2 + 2 * t.n_layers);
    allocate(&t);
    take(vkm_checkpoint_find(file, "tokens"), VKM_DTYPE_I32, t.tokens, t.count);
    take(logits, VKM_DTYPE_F32, t.logits, (size_t)t.count * t.vocab);
    size_t routes = (size_t)t.count * t.k, at = 0;
    for (uint32_t layer = 0; layer < MAX_LAYERS; layer++) {
        const struct vkm_tensor *ids = find_route(file, layer, "idx");
        if (!ids)
            continue;
        take(ids, VKM_DTYPE_I32, t.ids + at, routes);
        take(find_route(file, layer, "weight"), VKM_DTYPE_F32, t.weights + at, routes);
        at += routes;
    }
    vkm_checkpoint_close(file);
    return t;
}

struct test_trace test_trace_append(vkmoe_model *model, vkmoe_session *session,
                                    const int32_t *tokens, uint32_t count)
{
    vkmoe_error err;
    vkmoe_model_info info = *vkmoe_model_get_info(model);
    info.n_experts_per_token = vkmoe_session_experts_per_token(session);
    struct test_trace t = test_trace_make(&info, tokens, count);
    vkmoe_trace out = {
        .logits = t.logits, .topk_ids = t.ids, .topk_gates = t.weights, .experts_per_token = t.k};
    uint32_t length = vkmoe_session_length(session);
    assert_ok(vkmoe_session_eval(session, tokens, count, &out, &err), &err);
    assert_int_equal(vkmoe_session_length(session), length + count);
    return t;
}

struct test_trace test_trace_eval(vkmoe_model *model, vkmoe_session *session, const int32_t *tokens,
                                  uint32_t count)
{
    vkmoe_session_reset(session);
    return test_trace_append(model, session, tokens, count);
}

/* --- comparison --- */

static double largest(const struct test_trace *t)
{
    double value = 0;
    for (size_t i = 0; i < (size_t)t->count * t->vocab; i++)
        value = fmax(value, fabs((double)t->logits[i]));
    return value;
}

static void compare_logits(const struct test_trace *expected, uint32_t first,
                           const struct test_trace *got, const char *what,
                           struct test_difference *worst)
{
    double scale = largest(expected);
    const float *start = expected->logits + (size_t)first * expected->vocab;
    assert_true(scale > 0);
    for (size_t i = 0; i < (size_t)got->count * got->vocab; i++) {
        double a = (double)start[i], b = (double)got->logits[i], difference = fabs(a - b) / scale;
        if (!(difference <= LOGIT_BOUND)) /* NaN too */
            fail_msg("%s: logit %zu of token %zu of %u is %g, expected %g (largest %g)", what,
                     i % got->vocab, first + i / got->vocab, got->count, b, a, scale);
        worst->logit = fmax(worst->logit, difference);
    }
}

static int find(const int32_t *ids, uint32_t k, int32_t id)
{
    for (uint32_t i = 0; i < k; i++) {
        if (ids[i] == id)
            return (int)i;
    }
    return -1;
}

/* One token's experts in two traces. */
struct route {
    const int32_t *ids;
    const float *weights;
    uint32_t k;
};

static struct route route_at(const struct test_trace *t, uint32_t layer, uint32_t row)
{
    size_t at = ((size_t)layer * t->count + row) * t->k;
    return (struct route){t->ids + at, t->weights + at, t->k};
}

/* By how much gates may differ, those of an expert on both sides and of one that changes places. */
struct gate_bounds {
    double kept, swapped;
};

/* Each expert of a that b has too has the same weight there; one that b has not is no better than
 * b's last. */
static void compare_route(const struct route *a, const struct route *b,
                          const struct gate_bounds *bounds, const char *what,
                          struct test_difference *worst)
{
    for (uint32_t i = 0; i < a->k; i++) {
        int at = find(b->ids, b->k, a->ids[i]);
        double other = (double)b->weights[at >= 0 ? (uint32_t)at : b->k - 1];
        double difference = fabs((double)a->weights[i] - other);
        if (!(difference <= (at >= 0 ? bounds->kept : bounds->swapped)))
            fail_msg("%s: expert %d has weight %g on one side, %s %g on the other", what, a->ids[i],
                     (double)a->weights[i], at >= 0 ? "and" : "and none, where the last has",
                     other);
        worst->weight = fmax(worst->weight, difference);
        worst->swapped += at < 0;
    }
}

static void check_route(const struct route *r, const char *what)
{
    for (uint32_t i = 1; i < r->k; i++) {
        if (find(r->ids, i, r->ids[i]) >= 0)
            fail_msg("%s: expert %d is chosen twice", what, r->ids[i]);
        if (!(r->weights[i] <= r->weights[i - 1]))
            fail_msg("%s: weight %u is %g after %g", what, i, (double)r->weights[i],
                     (double)r->weights[i - 1]);
    }
}

/* One layer's route of token `row` of `got`, which is that of `expected` from `first` on. */
static void compare_row(const struct test_trace *expected, uint32_t first,
                        const struct test_trace *got, uint32_t layer, uint32_t row,
                        const struct gate_bounds *bounds, const char *what,
                        struct test_difference *worst)
{
    char where[256];
    struct route e = route_at(expected, layer, first + row), g = route_at(got, layer, row);
    snprintf(where, sizeof(where), "%s: MoE layer %u, token %u", what, layer, first + row);
    check_route(&g, where);
    compare_route(&e, &g, bounds, where, worst);
    compare_route(&g, &e, bounds, where, worst);
}

static void check_shapes(const struct test_trace *expected, uint32_t first,
                         const struct test_trace *got)
{
    assert_true(first + got->count <= expected->count);
    assert_int_equal(got->vocab, expected->vocab);
    assert_int_equal(got->n_layers, expected->n_layers);
    assert_true(got->n_layers == 0 || got->k == expected->k);
    assert_memory_equal(got->tokens, expected->tokens + first, got->count * sizeof(*got->tokens));
}

void test_trace_compare(const struct test_trace *expected, uint32_t first,
                        const struct test_trace *got, const char *what,
                        struct test_difference *worst)
{
    static const struct gate_bounds bounds = {WEIGHT_BOUND, MARGIN};
    struct test_difference own = {0};
    worst = worst ? worst : &own;
    check_shapes(expected, first, got);
    for (uint32_t layer = 0; layer < got->n_layers; layer++)
        for (uint32_t row = 0; row < got->count; row++)
            compare_row(expected, first, got, layer, row, &bounds, what, worst);
    compare_logits(expected, first, got, what, worst);
}

/* --- what rounding does --- */

/* Whether a token has the same experts in every layer. Up to where it has not, gates are compared:
 * another expert makes it another token to the layers above. */
static bool same_experts(const struct test_trace *expected, const struct test_trace *got,
                         uint32_t row, const struct gate_bounds *bounds, const char *what,
                         struct test_difference *worst)
{
    uint32_t swapped = worst->swapped;
    for (uint32_t layer = 0; layer < got->n_layers && worst->swapped == swapped; layer++)
        compare_row(expected, 0, got, layer, row, bounds, what, worst);
    return worst->swapped == swapped;
}

double test_trace_compare_rounded(const struct test_trace *expected, const struct test_trace *got,
                                  const struct test_rounding *bounds, const char *what,
                                  struct test_difference *worst)
{
    const struct gate_bounds gates = {bounds->gates, bounds->gates};
    double error = 0, power = 0;
    uint32_t same = 0;
    check_shapes(expected, 0, got);
    for (uint32_t row = 0; row < got->count; row++) {
        const float *a = expected->logits + (size_t)row * got->vocab;
        const float *b = got->logits + (size_t)row * got->vocab;
        if (!same_experts(expected, got, row, &gates, what, worst))
            continue;
        same++;
        for (uint32_t i = 0; i < got->vocab; i++) {
            error += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
            power += (double)a[i] * (double)a[i];
        }
    }
    if (!(2 * same >= got->count && error <= bounds->logits * power)) /* NaN too */
        fail_msg("%s: %u of %u tokens have the same experts, and logits off by %.2e", what, same,
                 got->count, error / power);
    return error / power;
}

void test_trace_assert_identical(const struct test_trace *a, const struct test_trace *b)
{
    size_t routes = (size_t)a->n_layers * a->count * a->k;
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->vocab, b->vocab);
    assert_int_equal(a->n_layers, b->n_layers);
    assert_int_equal(a->k, b->k);
    assert_memory_equal(a->logits, b->logits, (size_t)a->count * a->vocab * sizeof(float));
    assert_memory_equal(a->ids, b->ids, routes * sizeof(int32_t));
    assert_memory_equal(a->weights, b->weights, routes * sizeof(float));
}

uint32_t test_argmax(const float *values, uint32_t n)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++) {
        if (values[i] > values[best])
            best = i;
    }
    return best;
}
