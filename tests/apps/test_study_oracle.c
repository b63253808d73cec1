/* What vkmoe balance and vkmoe study say of the shipped model, against the float64 implementation
 * of golden/oracle.c and the paper's definitions worked out from what that routes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../golden/checkpoint.h"
#include "folder.h"
#include "measured.h"

enum { CONTEXT = 64, ROOM = CONTEXT - 1, DEVICES = 4 };

#define STUDIED "126" /* tokens, which are two windows */
enum { STUDIED_TOKENS = 126 };

static struct golden golden;
static struct test_shape shipped;
static const int32_t *ids; /* BOS first, which begins every window */
static uint32_t count;     /* of the tokens after it */
static uint32_t windows;

static uint32_t key(const json_t *config, const char *name)
{
    return (uint32_t)measured_number(config, name);
}

static int open_all(void **state)
{
    json_t *config = json_load_file(VKMOE_TEST_MODEL "/config.json", 0, NULL);
    (void)state;
    golden_load(&golden);
    const struct golden_case *text = golden_case_find(&golden, "long");
    assert_non_null(config);
    shipped =
        (struct test_shape){.vocab = key(config, "vocab_size"),
                            .hidden = key(config, "hidden_size"),
                            .heads = key(config, "num_attention_heads"),
                            .kv_heads = key(config, "num_key_value_heads"),
                            .layers = key(config, "num_hidden_layers"),
                            .dense_width = key(config, "intermediate_size"),
                            .experts = key(config, "n_routed_experts"),
                            .top_k = key(config, "num_experts_per_tok"),
                            .expert_width = key(config, "moe_intermediate_size"),
                            .shared = key(config, "n_shared_experts"),
                            .first_dense = key(config, "first_k_dense_replace"),
                            .layer_freq = key(config, "moe_layer_freq"),
                            .max_position = key(config, "max_position_embeddings"),
                            .normalise = json_is_true(json_object_get(config, "norm_topk_prob")),
                            .eps = measured_number(config, "rms_norm_eps")};
    shipped = test_shape_complete(&shipped);
    json_decref(config);
    ids = text->ids;
    count = (uint32_t)text->n_ids - 1;
    windows = (count + ROOM - 1) / ROOM;
    assert_true(windows > 4);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    golden_free(&golden);
    return 0;
}

static struct test_process with_text(void)
{
    struct test_process p = {.folder = test_folder()};
    test_folder_write_text("text", golden_case_find(&golden, "long")->text);
    return p;
}

static uint32_t moe_layers(void)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < shipped.layers; i++)
        n += test_shape_is_moe(&shipped, i);
    return n;
}

/* A window by the oracle, BOS first. */
static struct test_trace window(const struct test_shape *shape, uint32_t at)
{
    int32_t tokens[CONTEXT];
    uint32_t n = count - at * ROOM < ROOM ? count - at * ROOM : ROOM;
    tokens[0] = ids[0];
    memcpy(tokens + 1, ids + 1 + at * ROOM, n * sizeof(*tokens));
    return oracle_trace(shape, VKMOE_TEST_MODEL, tokens, n + 1);
}

/* --- balance --- */

/* One layer of one sequence or of several: N experts, T tokens. */
struct load {
    double *chosen, *probs; /* [N]: sums over tokens */
    double tokens;
};

static void add(struct load *l, const struct test_trace *t, uint32_t layer)
{
    for (uint32_t i = 0; i < t->count * t->k; i++)
        l->chosen[t->ids[(size_t)layer * t->count * t->k + i]]++;
    for (uint32_t i = 0; i < t->count * shipped.experts; i++)
        l->probs[i % shipped.experts] +=
            (double)t->probs[(size_t)layer * t->count * shipped.experts + i];
    l->tokens += t->count;
}

/* Equations 12 to 14 of the paper without alpha_1. */
static double expert_loss(const struct load *l)
{
    double sum = 0, n = shipped.experts;
    for (uint32_t i = 0; i < shipped.experts; i++)
        sum += n / (shipped.top_k * l->tokens) * l->chosen[i] * (l->probs[i] / l->tokens);
    return sum;
}

/* Equations 15 to 17 without alpha_2, equal runs of experts on a device. */
static double device_loss(const struct load *l)
{
    uint32_t each = shipped.experts / DEVICES;
    double sum = 0, n = shipped.experts;
    for (uint32_t d = 0; d < DEVICES; d++) {
        double f = 0, p = 0;
        for (uint32_t i = d * each; i < (d + 1) * each; i++) {
            f += n / (shipped.top_k * l->tokens) * l->chosen[i] / each;
            p += l->probs[i] / l->tokens;
        }
        sum += f * p;
    }
    return sum;
}

static void assert_near(const json_t *layer, const char *name, double expected)
{
    double got = measured_number(layer, name);
    if (fabs(got - expected) > 1e-3 * fmax(1, expected))
        fail_msg("%s is %.9g, expected %.9g", name, got, expected);
}

/* Where a margin is within the rounding of float32 a token may choose otherwise: one in a layer. */
static void assert_load(const json_t *layer, const struct load *l)
{
    double mean = l->tokens * shipped.top_k / shipped.experts, largest = 0, squares = 0,
           entropy = 0;
    double off = 0;
    uint32_t dead = 0;
    for (uint32_t i = 0; i < shipped.experts; i++) {
        double share = l->chosen[i] / (l->tokens * shipped.top_k);
        off += fabs(json_number_value(json_array_get(json_object_get(layer, "tokens"), i)) -
                    l->chosen[i]);
        assert_true(
            fabs(json_number_value(json_array_get(json_object_get(layer, "probability_mass"), i)) -
                 l->probs[i]) < 1e-4 * l->tokens);
        largest = fmax(largest, l->chosen[i]);
        squares += pow(l->chosen[i] - mean, 2);
        entropy -= share > 0 ? share * log(share) : 0;
        dead += l->chosen[i] == 0;
    }
    assert_true(off <= 2);
    assert_near(layer, "busiest", largest / mean);
    assert_near(layer, "variation", sqrt(squares / shipped.experts) / mean);
    assert_near(layer, "entropy", entropy / log(shipped.experts));
    if (off == 0)
        assert_true(measured_number(layer, "dead") == dead);
}

static void balance_is_what_the_paper_defines(void **state)
{
    uint32_t layers = moe_layers(), n = shipped.experts;
    double *sums = calloc((size_t)layers * 4 * n, sizeof(*sums)), *by_sequence = calloc(layers, 8);
    struct load whole[16] = {{0}};
    struct test_process p = with_text();
    (void)state;
    assert_true(sums && by_sequence && layers <= 16);
    for (uint32_t l = 0; l < layers; l++)
        whole[l] = (struct load){sums + l * 2 * n, sums + (l * 2 + 1) * n, 0};
    for (uint32_t w = 0; w < windows; w++) {
        struct test_trace t = window(&shipped, w);
        for (uint32_t l = 0; l < layers; l++) {
            double *own = sums + (size_t)(layers + l) * 2 * n;
            struct load one = {own, own + n, 0};
            memset(own, 0, 2 * n * sizeof(*own));
            add(&one, &t, l);
            add(&whole[l], &t, l);
            by_sequence[l] += expert_loss(&one) * one.tokens / (count + windows);
        }
        test_trace_free(&t);
    }
    test_vkmoe(&p, "balance", "-f", "text", "-c", "64", "--devices", "4", "--json");
    json_t *root = measured_json(&p), *of = json_object_get(root, "layers");
    assert_true(measured_number(root, "tokens") == count + windows);
    assert_int_equal(json_array_size(of), layers);
    for (uint32_t l = 0; l < layers; l++) {
        const json_t *layer = json_array_get(of, l);
        assert_load(layer, &whole[l]);
        assert_near(layer, "expert_loss", expert_loss(&whole[l]));
        assert_near(layer, "sequence_loss", by_sequence[l]);
        assert_near(layer, "device_loss", device_loss(&whole[l]));
        assert_true(fabs(by_sequence[l] - expert_loss(&whole[l])) > 1e-3); /* told apart */
    }
    json_decref(root);
    free(sums);
    free(by_sequence);
}

/* --- studies --- */

/* The losses of the tokens of the text's first windows, and their mean. */
static double oracle_losses(const struct test_shape *shape, uint32_t n_windows, double *losses)
{
    double sum = 0;
    size_t n = 0;
    for (uint32_t w = 0; w < n_windows; w++) {
        struct test_trace t = window(shape, w);
        for (uint32_t i = 0; i + 1 < t.count; i++) {
            const float *row = t.logits + (size_t)i * t.vocab;
            double total = 0, largest = (double)row[test_argmax(row, t.vocab)];
            for (uint32_t v = 0; v < t.vocab; v++)
                total += exp((double)row[v] - largest);
            losses[n] = log(total) + largest - (double)row[t.tokens[i + 1]];
            sum += losses[n++];
        }
        test_trace_free(&t);
    }
    return sum / (double)n;
}

static double oracle_nll(const struct test_shape *shape, uint32_t n_windows)
{
    double losses[STUDIED_TOKENS];
    assert_true(n_windows * ROOM <= STUDIED_TOKENS);
    return oracle_losses(shape, n_windows, losses);
}

static void studies_change_what_they_say_they_change(void **state)
{
    static const struct {
        const char *kind, *list;
        uint32_t skip, k; /* of trial 1; 0: the model's K */
        bool no_shared;
    } cases[] = {{"mask", "3", 3, 0, false},
                 {"mask", "26", 26, 0, false},
                 {"active", "1", 0, 1, false},
                 {"active", "9", 0, 9, false},
                 {"shared", NULL, 0, 0, true}};
    double base = oracle_nll(&shipped, 2);
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct test_process p = with_text();
        struct test_shape wanted = shipped;
        const char *argv[] = {VKMOE_PROGRAM, "study",       cases[i].kind, "-f",    "text",
                              "-c",          "64",          "--tokens",    STUDIED, "--json",
                              "--list",      cases[i].list, NULL};
        if (!cases[i].list)
            argv[10] = NULL;
        wanted.skip = cases[i].skip;
        wanted.top_k = cases[i].k ? cases[i].k : shipped.top_k;
        wanted.shared = cases[i].no_shared ? 0 : shipped.shared;
        test_process_run(&p, argv);
        json_t *root = measured_json(&p), *trials = json_object_get(root, "trials");
        double expected = oracle_nll(&wanted, 2);
        assert_true(fabs(measured_number(json_array_get(trials, 0), "nll") - base) < 2e-4);
        assert_true(fabs(measured_number(json_array_get(trials, 1), "nll") - expected) < 2e-4);
        assert_true(fabs(expected - base) > 2e-3); /* which is not the same */
        if (cases[i].no_shared) {                  /* and one more routed */
            wanted.top_k++;
            expected = oracle_nll(&wanted, 2);
            assert_true(fabs(measured_number(json_array_get(trials, 2), "nll") - expected) < 2e-4);
        }
        json_decref(root);
    }
}

/* Of the mean difference, from the sums over 16 tokens at a time. */
static double standard_error(const double *with, const double *without)
{
    enum { RUN = 16, RUNS = (STUDIED_TOKENS + RUN - 1) / RUN };
    double sums[RUNS] = {0}, counts[RUNS] = {0}, sum = 0, squares = 0;
    for (int i = 0; i < STUDIED_TOKENS; i++) {
        sums[i / RUN] += without[i] - with[i];
        counts[i / RUN]++;
        sum += without[i] - with[i];
    }
    for (int i = 0; i < RUNS; i++)
        squares += pow(sums[i] - sum / STUDIED_TOKENS * counts[i], 2);
    return sqrt(squares * RUNS / (RUNS - 1)) / STUDIED_TOKENS;
}

static void importance_is_the_loss_without_one_expert(void **state)
{
    struct test_process p = with_text();
    size_t n = (size_t)moe_layers() * shipped.experts, at = 0;
    uint8_t *states = calloc(n, 1);
    double with[STUDIED_TOKENS], without[STUDIED_TOKENS];
    double base = oracle_losses(&shipped, 2, with), before = INFINITY, largest = 0;
    json_t *one;
    (void)state;
    assert_non_null(states);
    test_vkmoe(&p, "study", "importance", "-f", "text", "-c", "64", "--tokens", STUDIED, "--only",
               "0:3,2:5-7", "--json");
    json_t *root = measured_json(&p);
    assert_true(fabs(measured_number(root, "nll") - base) < 2e-4);
    assert_true(measured_number(root, "tokens") == STUDIED_TOKENS);
    assert_int_equal(json_array_size(json_object_get(root, "experts")), 4);
    json_array_foreach(json_object_get(root, "experts"), at, one)
    {
        struct test_shape wanted = shipped;
        size_t expert = (size_t)(measured_number(one, "layer") * shipped.experts +
                                 measured_number(one, "expert"));
        double more = measured_number(one, "more");
        memset(states, 0, n);
        states[expert] = VKMOE_EXPERT_OFF;
        wanted.states = states;
        assert_true(fabs(more - (oracle_losses(&wanted, 2, without) - base)) < 2e-4);
        assert_true(more <= before); /* the most harmful loss first */
        assert_true(fabs(measured_number(one, "standard_error") - standard_error(with, without)) <
                    1e-4);
        before = more;
        largest = fmax(largest, fabs(more));
    }
    assert_true(largest > 1e-3);
    json_decref(root);
    free(states);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FOLDER(balance_is_what_the_paper_defines),
        TEST_IN_FOLDER(studies_change_what_they_say_they_change),
        TEST_IN_FOLDER(importance_is_the_loss_without_one_expert),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
