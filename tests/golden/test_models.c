/* Random checkpoints of many shapes: what a device computes, by each of its paths, against an
 * independent float64 implementation. */
#include "checkpoint.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST 130u /* tokens: two blocks of the KV cache and a bit */

/* --- devices: each path a device has, and the reference executor --- */

static struct engine {
    const char *name;
    bool thorough; /* left out where tests are to be brief */
    vkmoe_device_params params;
    struct test_log log;
    vkmoe_device *device;
} engines[] = {
    {.name = "default"},
    {.name = "tiled", .thorough = true, .params.tiled_rows = 1},
    {.name = "base", .thorough = true, .params.no_subgroups = true},
    {.name = "base, tiled", .params = {.no_subgroups = true, .tiled_rows = 1}},
    {.name = "base, split",
     .thorough = true,
     .params = {.no_subgroups = true, .split_positions = 64}},
    {.name = "reference", .params.selector = "reference"},
};
enum { N_ENGINES = sizeof(engines) / sizeof(engines[0]) };

/* Paths that round activations, in every product of a prompt, with weights that they take. */
static struct engine rounding[] = {
    {.name = "fp16", .params = {.paths = "-int8,-coopmat,++fp16", .tiled_rows = 1}},
    {.name = "int8", .params = {.paths = "-fp16,-coopmat,++int8", .tiled_rows = 1}},
};
enum { N_ROUNDING = sizeof(rounding) / sizeof(rounding[0]) };

static bool has_path(const vkmoe_device *device, const char *name)
{
    const vkmoe_device_info *info = vkmoe_device_get_info(device);
    for (uint32_t i = 0; i < info->n_paths; i++)
        if (strcmp(info->paths[i].name, name) == 0)
            return info->paths[i].state != VKMOE_PATH_MISSING;
    fail_msg("there is no path %s", name);
    return false;
}

static void open_engine(struct engine *e)
{
    vkmoe_error err;
    test_log_init(&e->log);
    e->params.log = &e->log.log;
    assert_ok(vkmoe_device_open(&e->params, &e->device, &err), &err);
}

static int open_devices(void **state)
{
    (void)state;
    for (int i = 0; i < N_ENGINES; i++)
        open_engine(&engines[i]);
    for (int i = 0; i < N_ROUNDING && !test_is_brief(); i++)
        if (has_path(engines[0].device, rounding[i].name))
            open_engine(&rounding[i]);
    return 0;
}

static int close_devices(void **state)
{
    (void)state;
    for (int i = 0; i < N_ENGINES; i++) {
        vkmoe_device_close(engines[i].device);
        assert_int_equal(engines[i].log.errors, 0);
    }
    for (int i = 0; i < N_ROUNDING; i++) {
        vkmoe_device_close(rounding[i].device);
        assert_int_equal(rounding[i].log.errors, 0);
    }
    return 0;
}

/* --- what is checked of a model --- */

struct subject {
    const char *engine;
    bool whole_only; /* slow: the longest prompt says it all */
    vkmoe_model *model;
    vkmoe_session *session;
    const struct test_trace *expected; /* of LONGEST tokens */
    struct test_difference worst;
};

static void describe(const struct subject *s, const char *what, uint32_t count, char text[128])
{
    snprintf(text, 128, "%s: %s of %u", s->engine, what, count);
}

static void prompts_match(struct subject *s)
{
    static const uint32_t lengths[] = {LONGEST, 1, 2, 33, 65};
    size_t n = s->whole_only ? 1 : sizeof(lengths) / sizeof(lengths[0]);
    char what[128];
    for (size_t i = 0; i < n; i++) {
        struct test_trace t =
            test_trace_eval(s->model, s->session, s->expected->tokens, lengths[i]);
        describe(s, "a prompt", lengths[i], what);
        test_trace_compare(s->expected, 0, &t, what, &s->worst);
        test_trace_free(&t);
    }
}

/* A prompt that ends just below a block of the KV cache, then token by token across it. */
static void single_tokens_match(struct subject *s)
{
    enum { PROMPT = 63, SINGLE = 3 };
    const int32_t *tokens = s->expected->tokens;
    vkmoe_error err;
    char what[128];
    vkmoe_session_reset(s->session);
    assert_ok(vkmoe_session_eval(s->session, tokens, PROMPT, NULL, &err), &err);
    for (uint32_t at = PROMPT; at < PROMPT + SINGLE; at++) {
        struct test_trace t = test_trace_append(s->model, s->session, tokens + at, 1);
        describe(s, "one token after a prompt", at, what);
        test_trace_compare(s->expected, at, &t, what, &s->worst);
        test_trace_free(&t);
    }
}

struct text {
    int32_t tokens[LONGEST];
    uint32_t count;
};

static bool keep_token(void *user, int32_t token)
{
    struct text *t = user;
    t->tokens[t->count++] = token;
    return true;
}

/* Greedy text is what evaluating prompt and text at once finds likeliest, token for token. */
static void greedy_text_follows(struct subject *s)
{
    enum { PROMPT = 61, TEXT = 6 };
    struct text text = {.count = PROMPT};
    vkmoe_error err;
    vkmoe_generate_params params = {.max_tokens = TEXT, .on_token = keep_token, .user = &text};
    for (uint32_t i = 0; i < PROMPT; i++)
        text.tokens[i] = s->expected->tokens[i];
    vkmoe_session_reset(s->session);
    assert_ok(vkmoe_session_eval(s->session, text.tokens, PROMPT, NULL, &err), &err);
    assert_ok(vkmoe_session_generate(s->session, &params, NULL, &err), &err);
    assert_int_equal(text.count, PROMPT + TEXT);
    struct test_trace t = test_trace_eval(s->model, s->session, text.tokens, text.count);
    for (uint32_t at = PROMPT; at < text.count; at++) {
        const float *logits = t.logits + (size_t)(at - 1) * t.vocab;
        float best = logits[test_argmax(logits, t.vocab)];
        if (!(logits[text.tokens[at]] >= best - 1e-4f))
            fail_msg("%s: token %u has a logit of %g, the likeliest %g", s->engine, at,
                     (double)logits[text.tokens[at]], (double)best);
    }
    test_trace_free(&t);
}

static void matches_on(struct engine *engine, const struct test_shape *shape, const char *folder,
                       const struct test_trace *expected, struct test_difference *worst)
{
    vkmoe_error err;
    struct subject s = {.engine = engine->name, .expected = expected, .worst = *worst};
    s.whole_only = engine->params.selector != NULL;
    vkmoe_session_params params = {.context = shape->context};
    assert_ok(vkmoe_model_load(engine->device, folder, NULL, &s.model, &err), &err);
    assert_ok(vkmoe_session_create(s.model, &params, &s.session, &err), &err);
    prompts_match(&s);
    if (!s.whole_only) {
        single_tokens_match(&s);
        greedy_text_follows(&s);
    }
    vkmoe_session_destroy(s.session);
    vkmoe_model_destroy(s.model);
    *worst = s.worst;
}

/* --- paths that round --- */

static struct test_trace trace_on(vkmoe_device *device, const char *folder, vkmoe_weights weights,
                                  const struct test_shape *shape, const struct test_trace *of)
{
    vkmoe_error err;
    vkmoe_model *model;
    vkmoe_session *session;
    const vkmoe_model_params params = {.weights = weights};
    const vkmoe_session_params with = {.context = shape->context};
    assert_ok(vkmoe_model_load(device, folder, &params, &model, &err), &err);
    assert_ok(vkmoe_session_create(model, &with, &session, &err), &err);
    struct test_trace t = test_trace_eval(model, session, of->tokens, of->count);
    vkmoe_session_destroy(session);
    vkmoe_model_destroy(model);
    return t;
}

/* Rounding may cost a product `error` (mean squared, as the project's bounds are), each layer adds
 * what it makes of that, and so does the head; gates move with the root of it. */
static struct test_rounding bounds_of(const struct test_shape *shape, double error)
{
    double all = error * (shape->layers + 1);
    return (struct test_rounding){all, 3 * sqrt(all) * fmax(1, shape->scaling)};
}

static void rounds_within(const struct engine *e, double error, vkmoe_weights weights,
                          const struct test_shape *shape, const char *folder,
                          const struct test_trace *expected)
{
    const struct test_rounding bounds = bounds_of(shape, error);
    struct test_difference worst = {0};
    struct test_trace got = trace_on(e->device, folder, weights, shape, expected);
    double off = test_trace_compare_rounded(expected, &got, &bounds, e->name, &worst);
    print_message("%s: logits off by %.2g of %.2g, gates within %.2g of %.2g, %u swapped\n",
                  e->name, off, bounds.logits, worst.weight, bounds.gates, worst.swapped);
    if (shape->storage != STORE_F32 || weights != VKMOE_WEIGHTS_STORED) /* what the path takes */
        assert_true(off > 1e-3 * error);
    test_trace_free(&got);
}

/* Against float64 with the very weights that the path multiplies: of quantised ones the reference
 * executor's, for which the oracle has vouched. */
static void rounding_paths_match(const struct test_shape *shape, const char *folder,
                                 const struct test_trace *oracle)
{
    vkmoe_device *reference = engines[N_ENGINES - 1].device;
    if (rounding[0].device)
        rounds_within(&rounding[0], 1e-6, VKMOE_WEIGHTS_STORED, shape, folder, oracle);
    for (int w = VKMOE_WEIGHTS_Q8; w <= VKMOE_WEIGHTS_Q4 && rounding[1].device; w++) {
        struct test_trace exact = trace_on(reference, folder, (vkmoe_weights)w, shape, oracle);
        rounds_within(&rounding[1], 1e-4, (vkmoe_weights)w, shape, folder, &exact);
        test_trace_free(&exact);
    }
}

static void matches_the_oracle(void **state)
{
    const struct test_shape shape = test_shape_complete(*state);
    struct test_difference worst = {0};
    int32_t tokens[LONGEST];
    char *folder = test_folder_make();
    for (uint32_t i = 0; i < LONGEST; i++)
        tokens[i] = (int32_t)((i * 7919u + i * i * 31u + 5u) % shape.vocab);
    checkpoint_write(&shape, folder);
    struct test_trace expected = oracle_trace(&shape, folder, tokens, LONGEST);
    for (int i = 0; i < N_ENGINES; i++)
        if (!engines[i].thorough || !test_is_brief())
            matches_on(&engines[i], &shape, folder, &expected, &worst);
    print_message("logits within %.2g of the largest, weights within %.2g, %u swapped\n",
                  worst.logit, worst.weight, worst.swapped);
    rounding_paths_match(&shape, folder, &expected);
    test_trace_free(&expected);
    test_folder_remove(folder);
}

/* --- what cannot be loaded --- */

struct damage {
    struct test_shape shape;
    vkmoe_status status;
    const char *sentence; /* a part of it */
};

static void is_refused_by_name(void **state)
{
    const struct damage *damage = *state;
    char *folder = test_folder_make();
    vkmoe_model *model = NULL;
    vkmoe_error err;
    struct test_shape shape = test_shape_complete(&damage->shape);
    checkpoint_write(&shape, folder);
    for (int i = 0; i < N_ENGINES; i += N_ENGINES - 1)
        test_assert_fails(vkmoe_model_load(engines[i].device, folder, NULL, &model, &err), &err,
                          damage->status, damage->sentence);
    test_folder_remove(folder);
}

static void a_missing_shard_is_refused_by_name(void **state)
{
    struct test_shape shape = test_shape_complete(&(struct test_shape){.dense = true, .shards = 2});
    char *folder = test_folder_make(), path[4096];
    vkmoe_model *model = NULL;
    vkmoe_error err;
    (void)state;
    checkpoint_write(&shape, folder);
    snprintf(path, sizeof(path), "%s/model-00002-of-00002.safetensors", folder);
    assert_int_equal(remove(path), 0);
    test_assert_fails(vkmoe_model_load(engines[0].device, folder, NULL, &model, &err), &err,
                      VKMOE_NOT_FOUND, "model-00002-of-00002.safetensors");
    test_folder_remove(folder);
}

/* --- the models --- */

#define MODEL(words, ...)                                                                          \
    {                                                                                              \
        .name = words " matches the oracle", .test_func = matches_the_oracle,                      \
        .initial_state = &(struct test_shape){__VA_ARGS__},                                        \
    }
#define REFUSED(words, code, part, ...)                                                            \
    {                                                                                              \
        .name = words " is refused by name", .test_func = is_refused_by_name,                      \
        .initial_state =                                                                           \
            &(struct damage){{.shared = 1, .first_dense = 1, __VA_ARGS__}, VKMOE_##code, part},    \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        MODEL("a dense model", .dense = true, .dense_width = 100),
        MODEL("every layer with experts", .shared = 1),
        MODEL("experts, but in no layer", .first_dense = 2),
        MODEL("experts in every other layer", .layers = 5, .layer_freq = 2, .first_dense = 1),
        MODEL("no shared experts", .first_dense = 1),
        MODEL("three shared experts, scaled gates", .shared = 3, .scaling = 2.5),
        MODEL("normalised gates", .shared = 1, .normalise = true, .scaling = 1.5),
        MODEL("8 heads on 2, with biases", .hidden = 160, .heads = 8, .kv_heads = 2, .bias = true,
              .shared = 1, .first_dense = 1),
        MODEL("6 heads of 48 on 3", .hidden = 288, .heads = 6, .kv_heads = 3, .shared = 2),
        MODEL("heads of 80, tied embeddings", .hidden = 160, .heads = 2, .tied = true),
        MODEL("5 heads of 20, a vocabulary of 1000", .vocab = 1000, .hidden = 100, .heads = 5,
              .shared = 1, .storage = STORE_MIXED),
        MODEL("one head of 130, a vocabulary of 513", .vocab = 513, .hidden = 130, .heads = 1,
              .shared = 1),
        MODEL("heads of 2, experts of width 1, a vocabulary of 3", .vocab = 3, .hidden = 6,
              .heads = 3, .dense_width = 5, .expert_width = 1, .first_dense = 1,
              .storage = STORE_F32),
        MODEL("float32 weights", .shared = 1, .first_dense = 1, .storage = STORE_F32),
        MODEL("float16 weights", .shared = 1, .first_dense = 1, .storage = STORE_F16),
        MODEL("mixed weights and biases", .shared = 1, .first_dense = 1, .layers = 3, .bias = true,
              .storage = STORE_MIXED),
        MODEL("linearly scaled positions", .rope = "linear", .rope_factor = 3, .max_position = 300),
        MODEL("dynamically scaled positions beyond the trained ones", .rope = "dynamic",
              .rope_factor = 2, .max_position = 48, .context = 320),
        MODEL("dynamically scaled positions within the trained ones", .rope = "dynamic",
              .rope_factor = 2, .context = 200),
        MODEL("experts of width 1407", .hidden = 96, .heads = 3, .experts = 4, .top_k = 2,
              .expert_width = 1407, .shared = 1),
        MODEL("one expert", .experts = 1, .top_k = 1),
        MODEL("one of 5 experts, never normalised", .experts = 5, .top_k = 1, .normalise = true),
        MODEL("all experts at once", .experts = 6, .top_k = 6, .shared = 1),
        MODEL("12 of 300 experts", .experts = 300, .top_k = 12, .expert_width = 10),
        MODEL("three files", .shared = 1, .first_dense = 1, .shards = 3),
        REFUSED("a checkpoint without embeddings", BAD_FORMAT, "model.embed_tokens.weight",
                .missing = "model.embed_tokens.weight"),
        REFUSED("a checkpoint without a head", BAD_FORMAT, "lm_head.weight",
                .missing = "lm_head.weight"),
        REFUSED("a checkpoint without an expert", BAD_FORMAT,
                "model.layers.1.mlp.experts.7.down_proj.weight",
                .missing = "model.layers.1.mlp.experts.7.down_proj.weight"),
        REFUSED("a checkpoint without a router", BAD_FORMAT, "model.layers.1.mlp.gate.weight",
                .missing = "model.layers.1.mlp.gate.weight"),
        REFUSED("a checkpoint without a bias", BAD_FORMAT, "model.layers.0.self_attn.o_proj.bias",
                .bias = true, .missing = "model.layers.0.self_attn.o_proj.bias"),
        REFUSED("a wrong shape", BAD_FORMAT,
                "model.layers.1.mlp.shared_experts.up_proj.weight has shape [40, 65], expected "
                "[40, 64]",
                .misshapen = "model.layers.1.mlp.shared_experts.up_proj.weight"),
        REFUSED("a wrong length", BAD_FORMAT, "model.norm.weight has shape [65], expected [64]",
                .misshapen = "model.norm.weight"),
        REFUSED("a wrong type", UNSUPPORTED, "model.layers.0.self_attn.k_proj.weight is I32",
                .mistyped = "model.layers.0.self_attn.k_proj.weight"),
        cmocka_unit_test(a_missing_shard_is_refused_by_name),
    };
    return cmocka_run_group_tests_name("models", tests, open_devices, close_devices);
}
