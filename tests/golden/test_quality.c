/* What quantising weights while they are loaded, rounding keys and values, or a path that rounds
 * activations does to a model: how far its predictions and its choice of experts move from those of
 * the weights as stored and a KV cache in float32, or for a path, of the same weights and products
 * in float32. */
#include "checkpoint.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BOS 1534 /* of the shipped model */
#define TEXTS 6
#define TEXT_TOKENS 480u

/* What is rounded, and what that may cost, per token or choice. */
struct rounded {
    const char *name;
    vkmoe_weights weights;
    vkmoe_kv kv;
    double divergence, nll, flips, disagreed;
    const char *path; /* that products of prompts take, which is then what is looked at; or NULL */
};

static struct test_log device_log;
static vkmoe_device *device;

#define EXACT "-fp16,-int8,-coopmat"

static vkmoe_device *device_with(const char *paths, uint32_t tiled_rows)
{
    vkmoe_error err;
    vkmoe_device *opened;
    vkmoe_device_params params = {.log = &device_log.log, .paths = paths, .tiled_rows = tiled_rows};
    assert_ok(vkmoe_device_open(&params, &opened, &err), &err);
    return opened;
}

static int open_device(void **state)
{
    (void)state;
    test_log_init(&device_log);
    device = device_with(EXACT, 0);
    return 0;
}

static bool can_run(const char *path)
{
    const vkmoe_device_info *info = vkmoe_device_get_info(device);
    for (uint32_t i = 0; i < info->n_paths; i++)
        if (strcmp(info->paths[i].name, path) == 0)
            return info->paths[i].state != VKMOE_PATH_MISSING;
    fail_msg("there is no path %s", path);
    return false;
}

static int close_device(void **state)
{
    (void)state;
    vkmoe_device_close(device);
    return device_log.errors;
}

struct loaded {
    vkmoe_model *model;
    vkmoe_session *session;
};

static struct loaded load(vkmoe_device *on, const char *folder, vkmoe_weights weights, vkmoe_kv kv)
{
    struct loaded l;
    vkmoe_error err;
    vkmoe_model_params params = {.weights = weights, .kv = kv};
    vkmoe_session_params session = {.kv = kv};
    assert_ok(vkmoe_model_load(on, folder, &params, &l.model, &err), &err);
    assert_ok(vkmoe_session_create(l.model, &session, &l.session, &err), &err);
    return l;
}

static void unload(struct loaded *l)
{
    vkmoe_session_destroy(l->session);
    vkmoe_model_destroy(l->model);
}

/* --- distances --- */

/* Sums over tokens. */
struct distance {
    double divergence; /* of the likelihoods, in nats: sum of p log(p / q), p as stored */
    double nll;        /* by which the next token became less likely, in nats */
    double flips;      /* of experts chosen as stored, those that are not any more */
    double choices;    /* of experts */
    double agreed;     /* the likeliest token is the same */
    double tokens, next;
};

/* log of the sum of exp. */
static double log_sum(const float *logits, uint32_t n)
{
    double largest = (double)logits[test_argmax(logits, n)], sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += exp((double)logits[i] - largest);
    return largest + log(sum);
}

static void add_token(struct distance *d, const float *p, const float *q, uint32_t vocab)
{
    double p_sum = log_sum(p, vocab), q_sum = log_sum(q, vocab);
    for (uint32_t i = 0; i < vocab; i++) {
        double log_p = (double)p[i] - p_sum;
        d->divergence += exp(log_p) * (log_p - ((double)q[i] - q_sum));
    }
    d->agreed += test_argmax(p, vocab) == test_argmax(q, vocab);
    d->tokens++;
}

static void add_experts(struct distance *d, const int32_t *stored, const int32_t *now, uint32_t k)
{
    for (uint32_t i = 0; i < k; i++) {
        bool kept = false;
        for (uint32_t j = 0; j < k; j++)
            kept |= stored[i] == now[j];
        d->flips += !kept;
        d->choices++;
    }
}

static void add_trace(struct distance *d, const struct test_trace *p, const struct test_trace *q)
{
    for (uint32_t t = 0; t < p->count; t++) {
        const float *a = p->logits + (size_t)t * p->vocab, *b = q->logits + (size_t)t * p->vocab;
        add_token(d, a, b, p->vocab);
        if (t + 1 < p->count) {
            int32_t next = p->tokens[t + 1];
            d->nll +=
                ((double)a[next] - log_sum(a, p->vocab)) - ((double)b[next] - log_sum(b, p->vocab));
            d->next++;
        }
    }
    for (size_t i = 0; i < (size_t)p->n_layers * p->count; i++)
        add_experts(d, p->ids + i * p->k, q->ids + i * p->k, p->k);
}

static void expect_within(const struct distance *d, const struct rounded *b)
{
    double divergence = d->divergence / d->tokens, nll = d->nll / d->next;
    double flips = d->flips / d->choices, disagreed = 1 - d->agreed / d->tokens;
    print_message("%s, %.0f tokens: divergence %.2e, nll %+.2e, the same likeliest token %.2f %%, "
                  "experts flipped %.2f %%\n",
                  b->name, d->tokens, divergence, nll, 100 * (1 - disagreed), 100 * flips);
    if (!(divergence <= b->divergence && fabs(nll) <= b->nll && flips <= b->flips &&
          disagreed <= b->disagreed))
        fail_msg("%s moved the model further than %.1e, %.1e, %.1e and %.1e", b->name,
                 b->divergence, b->nll, b->flips, b->disagreed);
    assert_true(divergence > 0); /* something was rounded */
}

static struct test_trace stored[TEXTS];

/* Of the tokens of stored[0 .. n). */
static void trace_all(struct loaded *l, size_t n, struct test_trace *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = test_trace_eval(l->model, l->session, stored[i].tokens, stored[i].count);
}

/* From the traces in `before` to what the model computes now. */
static void compare_with(const struct rounded *r, struct loaded *l, size_t n,
                         const struct test_trace *before)
{
    struct distance d = {0};
    for (size_t i = 0; i < n; i++) {
        struct test_trace now =
            test_trace_eval(l->model, l->session, stored[i].tokens, stored[i].count);
        add_trace(&d, &before[i], &now);
        test_trace_free(&now);
    }
    expect_within(&d, r);
}

static void compare(const char *folder, const struct rounded *r, size_t n)
{
    struct loaded l = load(device, folder, r->weights, r->kv);
    compare_with(r, &l, n, stored);
    unload(&l);
}

/* Every product of a prompt goes by the path. */
static void compare_path(const char *folder, const struct rounded *r, size_t n)
{
    struct test_trace without[TEXTS];
    char paths[64];
    if (!can_run(r->path)) {
        print_message("%s: not on this device\n", r->name);
        return;
    }
    struct loaded l = load(device, folder, r->weights, r->kv);
    trace_all(&l, n, without);
    unload(&l);
    snprintf(paths, sizeof(paths), EXACT ",++%s", r->path);
    vkmoe_device *on = device_with(paths, 1);
    l = load(on, folder, r->weights, r->kv);
    compare_with(r, &l, n, without);
    unload(&l);
    vkmoe_device_close(on);
    for (size_t i = 0; i < n; i++)
        test_trace_free(&without[i]);
}

static void compare_all(const char *folder, const struct rounded *all, size_t n_all, size_t n)
{
    for (size_t i = 0; i < n_all; i++) {
        if (all[i].path)
            compare_path(folder, &all[i], n);
        else
            compare(folder, &all[i], n);
    }
}

static void free_stored(size_t n)
{
    for (size_t i = 0; i < n; i++)
        test_trace_free(&stored[i]);
}

/* --- tests --- */

/* A text that the model makes up, as it samples by default. */
static void make_text(struct loaded *l, uint64_t seed, struct test_trace *out)
{
    vkmoe_error err;
    int32_t bos = BOS;
    vkmoe_generate_params params = {.max_tokens = TEXT_TOKENS - 1,
                                    .sampling = *vkmoe_model_get_sampling(l->model),
                                    .ignore_eos = true};
    params.sampling.seed = seed;
    vkmoe_session_reset(l->session);
    assert_ok(vkmoe_session_eval(l->session, &bos, 1, NULL, &err), &err);
    assert_ok(vkmoe_session_generate(l->session, &params, NULL, &err), &err);
    assert_int_equal(vkmoe_session_length(l->session), TEXT_TOKENS);
    int32_t *tokens = malloc(TEXT_TOKENS * sizeof(*tokens));
    assert_non_null(tokens);
    memcpy(tokens, vkmoe_session_tokens(l->session), TEXT_TOKENS * sizeof(*tokens));
    *out = test_trace_eval(l->model, l->session, tokens, TEXT_TOKENS);
    free(tokens);
}

static void the_shipped_model_keeps_its_predictions(void **state)
{
    static const struct rounded all[] = {
        {"weights Q8", VKMOE_WEIGHTS_Q8, VKMOE_KV_F32, 2e-4, 1e-3, 0.006, 0.02, NULL},
        {"weights Q4", VKMOE_WEIGHTS_Q4, VKMOE_KV_F32, 0.01, 0.015, 0.06, 0.09, NULL},
        {"KV cache F16", VKMOE_WEIGHTS_STORED, VKMOE_KV_F16, 3e-6, 1e-4, 5e-4, 0.002, NULL},
        {"KV cache BF16", VKMOE_WEIGHTS_STORED, VKMOE_KV_BF16, 1e-4, 5e-4, 0.004, 0.006, NULL},
        {"KV cache Q8", VKMOE_WEIGHTS_STORED, VKMOE_KV_Q8, 4e-4, 1e-3, 0.012, 0.02, NULL},
        {"fp16, weights BF16", VKMOE_WEIGHTS_STORED, VKMOE_KV_F32, 8e-6, 1e-4, 0.001, 0.003,
         "fp16"},
        {"int8, weights Q8", VKMOE_WEIGHTS_Q8, VKMOE_KV_F32, 7e-4, 1.5e-3, 0.015, 0.03, "int8"},
        {"int8, weights Q4", VKMOE_WEIGHTS_Q4, VKMOE_KV_F32, 7e-4, 1.5e-3, 0.015, 0.03, "int8"},
    };
    (void)state;
    struct loaded l = load(device, VKMOE_TEST_MODEL, VKMOE_WEIGHTS_STORED, VKMOE_KV_F32);
    for (uint64_t i = 0; i < TEXTS; i++)
        make_text(&l, i + 1, &stored[i]);
    unload(&l);
    compare_all(VKMOE_TEST_MODEL, all, sizeof(all) / sizeof(all[0]), TEXTS);
    free_stored(TEXTS);
}

/* Random weights hold no knowledge that would steady the choice of experts. */
static void a_larger_random_model_keeps_its_predictions(void **state)
{
    static const struct rounded all[] = {
        {"weights Q8", VKMOE_WEIGHTS_Q8, VKMOE_KV_F32, 3e-4, 5e-3, 0.012, 0.06, NULL},
        {"weights Q4", VKMOE_WEIGHTS_Q4, VKMOE_KV_F32, 0.025, 0.03, 0.13, 0.4, NULL},
        {"KV cache F16", VKMOE_WEIGHTS_STORED, VKMOE_KV_F16, 1e-7, 1e-4, 5e-4, 0.005, NULL},
        {"KV cache BF16", VKMOE_WEIGHTS_STORED, VKMOE_KV_BF16, 3e-5, 1e-3, 0.003, 0.01, NULL},
        {"KV cache Q8", VKMOE_WEIGHTS_STORED, VKMOE_KV_Q8, 8e-5, 2e-3, 0.006, 0.04, NULL},
        {"fp16, weights BF16", VKMOE_WEIGHTS_STORED, VKMOE_KV_F32, 1.2e-5, 2e-4, 0.003, 0.01,
         "fp16"},
        {"int8, weights Q8", VKMOE_WEIGHTS_Q8, VKMOE_KV_F32, 6e-4, 4e-3, 0.025, 0.09, "int8"},
        {"int8, weights Q4", VKMOE_WEIGHTS_Q4, VKMOE_KV_F32, 6e-4, 4e-3, 0.025, 0.09, "int8"},
    };
    static const struct test_shape random = {.vocab = 4096,
                                             .hidden = 512,
                                             .heads = 8,
                                             .layers = 5,
                                             .experts = 48,
                                             .top_k = 6,
                                             .expert_width = 200,
                                             .shared = 2,
                                             .first_dense = 1,
                                             .dense_width = 1000,
                                             .max_position = 512,
                                             .storage = STORE_BF16};
    (void)state;
    const struct test_shape shape = test_shape_complete(&random);
    int32_t tokens[400];
    uint32_t state_of = 1;
    char *folder = test_folder_make();
    checkpoint_write(&shape, folder);
    for (size_t i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++) {
        state_of = state_of * 1664525u + 1013904223u;
        tokens[i] = (int32_t)((state_of >> 8) % shape.vocab);
    }
    struct loaded l = load(device, folder, VKMOE_WEIGHTS_STORED, VKMOE_KV_F32);
    stored[0] = test_trace_eval(l.model, l.session, tokens, sizeof(tokens) / sizeof(tokens[0]));
    unload(&l);
    compare_all(folder, all, sizeof(all) / sizeof(all[0]), 1);
    free_stored(1);
    test_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_shipped_model_keeps_its_predictions),
        cmocka_unit_test(a_larger_random_model_keeps_its_predictions),
    };
    return cmocka_run_group_tests_name("quality", tests, open_device, close_device);
}
