/* The shipped model against golden files: logits, experts and text, by every path that a device
 * offers and through the command line program. */
#include "manifest.h"
#include "opened.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "chi_squared.h"
#include "engine/engine.h"
#include "process.h"

static struct golden golden;

/* --- an opened model --- */

/* One way of running the model. */
struct way {
    const char *name;
    vkmoe_device_params device;
    uint32_t chunk;
    size_t longest; /* tokens of a case; 0: all cases */
    bool thorough;  /* left out where tests are to be brief */
};

static const struct way plain = {.name = "default"};
static struct test_opened shared; /* opened by the first test that needs no special way */

static struct test_opened *plain_engine(void)
{
    if (!shared.session)
        test_open(&shared, &plain.device, VKMOE_TEST_MODEL, plain.chunk);
    return &shared;
}

/* --- generation --- */

struct tokens {
    int32_t ids[512];
    size_t count;
};

static bool keep_token(void *user, int32_t token)
{
    struct tokens *t = user;
    assert_true(t->count < sizeof(t->ids) / sizeof(t->ids[0]));
    t->ids[t->count++] = token;
    return true;
}

/* Evaluates the prompt in an empty session and continues it. */
static void continue_prompt(struct test_opened *e, const int32_t *ids, size_t count,
                            const vkmoe_generate_params *params, struct tokens *tokens)
{
    vkmoe_error err;
    vkmoe_generate_params p = *params;
    size_t n = 0;
    tokens->count = 0;
    p.on_token = keep_token;
    p.user = tokens;
    vkmoe_session_reset(e->session);
    assert_ok(vkmoe_session_eval(e->session, ids, count, NULL, &err), &err);
    assert_ok(vkmoe_session_generate(e->session, &p, &n, &err), &err);
    assert_int_equal(n, tokens->count);
    assert_int_equal(vkmoe_session_length(e->session), count + n);
}

static void check_greedy(struct test_opened *e, const struct golden_greedy *g, bool ignore_eos)
{
    const struct golden_case *prompt = golden_case_find(&golden, g->name);
    bool ends = g->stops_at_eos && !ignore_eos;
    size_t expected = g->n_ids - ends; /* EOS itself is not handed out */
    vkmoe_generate_params params = {.max_tokens = ends ? 400 : g->n_ids, .ignore_eos = ignore_eos};
    struct tokens tokens;
    continue_prompt(e, prompt->ids, prompt->n_ids, &params, &tokens);
    assert_int_equal(tokens.count, expected);
    assert_memory_equal(tokens.ids, g->ids, expected * sizeof(*g->ids));
}

/* --- through the library --- */

static void logits_experts_and_greedy_text_match(void **state)
{
    const struct way *way = *state;
    struct test_difference worst = {0};
    struct test_opened e;
    if (way->thorough && test_is_brief())
        skip();
    test_open(&e, &way->device, VKMOE_TEST_MODEL, way->chunk);
    for (size_t i = 0; i < golden.n_cases; i++) {
        const struct golden_case *c = &golden.cases[i];
        if (way->longest && c->n_ids > way->longest)
            continue;
        struct test_trace t = test_trace_eval(e.model, e.session, c->ids, (uint32_t)c->n_ids);
        test_trace_compare(&c->trace, 0, &t, c->name, &worst);
        test_trace_free(&t);
    }
    check_greedy(&e, &golden.greedy[0], false);
    test_close(&e);
    print_message("%s: logits within %.2g of the largest, weights within %.2g, %u swapped\n",
                  way->name, worst.logit, worst.weight, worst.swapped);
}

static void greedy_tokens_match_golden(void **state)
{
    struct test_opened *e = plain_engine();
    (void)state;
    for (size_t i = 0; i < golden.n_greedy; i++)
        check_greedy(e, &golden.greedy[i], false);
}

static void ignoring_eos_hands_it_out_and_goes_on(void **state)
{
    struct test_opened *e = plain_engine();
    (void)state;
    for (size_t i = 0; i < golden.n_greedy; i++) {
        if (golden.greedy[i].stops_at_eos)
            check_greedy(e, &golden.greedy[i], true);
    }
}

static void text_goes_on_where_a_token_was_left_pending(void **state)
{
    struct test_opened *e = plain_engine();
    const struct golden_greedy *g = &golden.greedy[0];
    const struct golden_case *prompt = golden_case_find(&golden, g->name);
    vkmoe_error err;
    struct tokens first;
    (void)state;
    /* A few tokens, then those again as a prompt together with what follows, then the rest. */
    continue_prompt(e, prompt->ids, prompt->n_ids, &(vkmoe_generate_params){.max_tokens = 5},
                    &first);
    assert_memory_equal(first.ids, g->ids, 5 * sizeof(*g->ids));
    assert_ok(vkmoe_session_eval(e->session, g->ids + 5, 3, NULL, &err), &err);
    struct tokens rest = {.count = 0};
    vkmoe_generate_params params = {
        .max_tokens = g->n_ids - 8, .on_token = keep_token, .user = &rest};
    assert_ok(vkmoe_session_generate(e->session, &params, NULL, &err), &err);
    assert_int_equal(rest.count, g->n_ids - 8);
    assert_memory_equal(rest.ids, g->ids + 8, rest.count * sizeof(*g->ids));
}

/* However long the list of tokens is by then: it may have to move. */
static void a_pending_token_is_computed_at_any_length(void **state)
{
    struct test_opened *e = plain_engine();
    const struct golden_greedy *g = &golden.greedy[0];
    const struct golden_case *prompt = golden_case_find(&golden, g->name);
    vkmoe_error err;
    (void)state;
    for (size_t n = 1; n <= 14; n++) {
        vkmoe_session *session = NULL;
        struct tokens next = {.count = 0};
        vkmoe_generate_params some = {.max_tokens = n};
        vkmoe_generate_params more = {.max_tokens = 2, .on_token = keep_token, .user = &next};
        assert_ok(vkmoe_session_create(e->model, NULL, &session, &err), &err);
        assert_ok(vkmoe_session_eval(session, prompt->ids, prompt->n_ids, NULL, &err), &err);
        assert_ok(vkmoe_session_generate(session, &some, NULL, &err), &err);
        assert_ok(vkmoe_session_eval(session, g->ids + n, 1, NULL, &err), &err);
        assert_ok(vkmoe_session_generate(session, &more, NULL, &err), &err);
        assert_memory_equal(next.ids, g->ids + n + 1, 2 * sizeof(*g->ids));
        vkmoe_session_destroy(session);
    }
}

static void a_session_repeats_itself_to_the_bit(void **state)
{
    struct test_opened *e = plain_engine();
    const struct golden_case *c = golden_case_find(&golden, "long");
    (void)state;
    struct test_trace a = test_trace_eval(e->model, e->session, c->ids, (uint32_t)c->n_ids);
    struct test_trace b = test_trace_eval(e->model, e->session, c->ids, (uint32_t)c->n_ids);
    test_trace_assert_identical(&a, &b);
    test_trace_free(&a);
    test_trace_free(&b);
}

/* --- sampling --- */

static void a_seed_decides_the_text(void **state)
{
    struct test_opened *e = plain_engine();
    const struct golden_case *c = golden_case_find(&golden, "romeo");
    vkmoe_generate_params params = {.max_tokens = 24, .sampling = {.temperature = 1, .seed = 1}};
    struct tokens one, same, other;
    (void)state;
    continue_prompt(e, c->ids, c->n_ids, &params, &one);
    continue_prompt(e, c->ids, c->n_ids, &params, &same);
    assert_int_equal(one.count, same.count);
    assert_memory_equal(one.ids, same.ids, one.count * sizeof(one.ids[0]));
    params.sampling.seed = 2;
    continue_prompt(e, c->ids, c->n_ids, &params, &other);
    assert_true(one.count != other.count ||
                memcmp(one.ids, other.ids, one.count * sizeof(one.ids[0])) != 0);
    /* The upper half of a seed counts as well. */
    params.sampling.seed = 1 | (uint64_t)1 << 32;
    continue_prompt(e, c->ids, c->n_ids, &params, &other);
    assert_true(one.count != other.count ||
                memcmp(one.ids, other.ids, one.count * sizeof(one.ids[0])) != 0);
}

/* softmax(logits / temperature) */
static void expected_shares(const float *logits, uint32_t n, double temperature, double *shares)
{
    double largest = (double)logits[test_argmax(logits, n)], sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += shares[i] = exp(((double)logits[i] - largest) / temperature);
    for (uint32_t i = 0; i < n; i++)
        shares[i] /= sum;
}

static void first_tokens_are_drawn_from_the_softmax(void **state)
{
    enum { DRAWS = 2000 };
    static const double temperatures[] = {1.0, 0.5};
    struct test_opened *e = plain_engine();
    const struct golden_case *c = golden_case_find(&golden, "empty");
    uint32_t vocab = c->trace.vocab;
    double *shares = calloc(vocab, sizeof(*shares));
    unsigned *seen = calloc(vocab, sizeof(*seen));
    vkmoe_error err;
    assert_true(shares && seen);
    (void)state;
    vkmoe_session_reset(e->session);
    assert_ok(vkmoe_session_eval(e->session, c->ids, c->n_ids, NULL, &err), &err);
    for (size_t t = 0; t < sizeof(temperatures) / sizeof(temperatures[0]); t++) {
        memset(seen, 0, vocab * sizeof(*seen));
        expected_shares(c->trace.logits, vocab, temperatures[t], shares);
        for (unsigned i = 0; i < DRAWS; i++) {
            vkmoe_generate_params params = {
                .max_tokens = 1,
                .sampling = {.temperature = (float)temperatures[t], .seed = 1000 + i},
                .ignore_eos = true};
            struct tokens token = {.count = 0};
            params.on_token = keep_token;
            params.user = &token;
            assert_ok(vkmoe_session_generate(e->session, &params, NULL, &err), &err);
            seen[token.ids[0]]++;
            /* Taken back: the next one is drawn from the same logits. */
            assert_ok(vkmoe_session_rollback(e->session, (uint32_t)c->n_ids, &err), &err);
        }
        double z = test_chi_squared(shares, seen, vocab, DRAWS, 5);
        print_message("temperature %g: %d draws, %.2f standard deviations off\n", temperatures[t],
                      DRAWS, z);
        assert_true(z < 4.5);
    }
    free(shares);
    free(seen);
}

/* --- held-out text --- */

/* -log of the probability that the model gives to the tokens after the first, summed. */
static double sum_nll(const struct test_trace *t)
{
    double sum = 0;
    for (uint32_t i = 0; i + 1 < t->count; i++) {
        const float *row = t->logits + (size_t)i * t->vocab;
        double largest = (double)row[test_argmax(row, t->vocab)], total = 0;
        for (uint32_t j = 0; j < t->vocab; j++)
            total += exp((double)row[j] - largest);
        sum += log(total) + largest - (double)row[t->tokens[i + 1]];
    }
    return sum;
}

static double document_nll(struct test_opened *e, const vkmoe_tokenizer *tokenizer,
                           const struct golden_document *d)
{
    vkmoe_error err;
    int32_t *ids;
    size_t count;
    assert_ok(vkmoe_tokenizer_encode(tokenizer, d->text, strlen(d->text), true, &ids, &count, &err),
              &err);
    assert_true(count >= d->n_tokens + 1);
    struct test_trace t = test_trace_eval(e->model, e->session, ids, (uint32_t)d->n_tokens + 1);
    double nll = sum_nll(&t);
    test_trace_free(&t);
    vkmoe_tokenizer_free(tokenizer, ids);
    return nll;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* All documents, or on a slow device every so many that it takes about ten seconds. */
static void check_held(struct test_opened *e, const vkmoe_tokenizer *tokenizer,
                       const struct golden_held *held)
{
    double sum = 0, expected = 0, start = now();
    size_t tokens = 0, step = 1;
    for (size_t i = 0; i < held->count; i += step) {
        const struct golden_document *d = &held->documents[i];
        sum += document_nll(e, tokenizer, d);
        expected += d->nll;
        tokens += d->n_tokens;
        if (i == 1)
            step = 1 + (size_t)((now() - start) * (double)held->count / 2 / 10);
    }
    print_message("%s: %zu of %zu tokens, mean nll %.7f, expected %.7f\n", held->kind, tokens,
                  held->n_tokens, sum / (double)tokens, expected / (double)tokens);
    assert_true(fabs(sum - expected) <= 1e-4 * expected);
    if (step == 1) {
        assert_int_equal(tokens, held->n_tokens);
        assert_true(fabs(sum / (double)tokens - held->mean_nll) <= 1e-4 * held->mean_nll);
    }
}

static void held_out_text_is_as_likely_as_it_should_be(void **state)
{
    struct test_opened *e = plain_engine();
    vkmoe_error err;
    vkmoe_tokenizer *tokenizer;
    (void)state;
    assert_ok(vkmoe_tokenizer_load(VKMOE_TEST_MODEL, NULL, &tokenizer, &err), &err);
    for (size_t h = 0; h < 2; h++)
        check_held(e, tokenizer, &golden.held[h]);
    vkmoe_tokenizer_destroy(tokenizer);
}

/* --- through the program --- */

static char *list_of(const int32_t *ids, size_t count)
{
    char *text = calloc(count + 1, 12);
    assert_non_null(text);
    for (size_t i = 0, at = 0; i < count; i++)
        at += (size_t)sprintf(text + at, i ? ",%d" : "%d", ids[i]);
    return text;
}

/* `vkmoe logits` of a case, with one more argument. */
static struct test_trace program_logits(const struct golden_case *c, const char *argument)
{
    struct test_process p = {0};
    char *folder = test_folder_make(), *list = list_of(c->ids, c->n_ids), path[4096];
    snprintf(path, sizeof(path), "%s/out.safetensors", folder);
    test_vkmoe(&p, "logits", "--tokens", list, "-o", path, argument);
    if (p.code != 0)
        fail_msg("%s: exit code %d: %s", c->name, p.code, p.err);
    assert_string_equal(p.out, "");
    struct test_trace t = test_trace_read(path);
    test_process_free(&p);
    test_folder_remove(folder);
    free(list);
    return t;
}

/* Of all cases of at most `longest` tokens. */
static void check_program_logits(const char *argument, size_t longest)
{
    struct test_difference worst = {0};
    for (size_t i = 0; i < golden.n_cases; i++) {
        if (golden.cases[i].n_ids > longest)
            continue;
        struct test_trace t = program_logits(&golden.cases[i], argument);
        assert_int_equal(t.count, golden.cases[i].n_ids);
        test_trace_compare(&golden.cases[i].trace, 0, &t, golden.cases[i].name, &worst);
        test_trace_free(&t);
    }
    print_message("program: logits within %.2g of the largest, weights within %.2g, %u swapped\n",
                  worst.logit, worst.weight, worst.swapped);
}

static void program_writes_golden_logits_and_experts(void **state)
{
    (void)state;
    check_program_logits(NULL, 512);
}

static void program_writes_golden_logits_on_the_reference(void **state)
{
    (void)state;
    check_program_logits("--reference", 40);
}

static void program_repeats_itself_to_the_bit(void **state)
{
    const struct golden_case *c = golden_case_find(&golden, "mixed");
    (void)state;
    struct test_trace a = program_logits(c, NULL), b = program_logits(c, NULL);
    test_trace_assert_identical(&a, &b);
    test_trace_free(&a);
    test_trace_free(&b);
}

static void program_takes_text_as_it_takes_its_tokens(void **state)
{
    struct test_process p = {0};
    const struct golden_case *c = golden_case_find(&golden, "unicode");
    char *folder = test_folder_make(), path[4096];
    (void)state;
    snprintf(path, sizeof(path), "%s/out.safetensors", folder);
    test_vkmoe(&p, "logits", "-p", c->text, "-o", path);
    assert_int_equal(p.code, 0);
    struct test_trace t = test_trace_read(path);
    assert_int_equal(t.count, c->n_ids);
    test_trace_compare(&c->trace, 0, &t, c->name, NULL);
    test_trace_free(&t);
    test_process_free(&p);
    test_folder_remove(folder);
}

static void program_prints_golden_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < golden.n_greedy; i++) {
        const struct golden_greedy *g = &golden.greedy[i];
        struct test_process p = {0};
        char n[16];
        size_t length = strlen(g->text);
        snprintf(n, sizeof(n), "%zu", g->stops_at_eos ? 400 : g->n_ids);
        test_vkmoe(&p, "run", "-p", g->prompt, "--temp", "0", "-n", n);
        assert_int_equal(p.code, 0);
        assert_int_equal(p.out_size, length + 1);
        assert_memory_equal(p.out, g->text, length);
        assert_int_equal(p.out[length], '\n');
        test_process_free(&p);
    }
}

static void program_draws_the_same_text_from_the_same_seed(void **state)
{
    static const char *const seeds[] = {"7", "7", "8"};
    struct test_process p[3] = {{0}};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        test_vkmoe(&p[i], "run", "-p", "ROMEO:\n", "--temp", "1", "-n", "24", "--seed", seeds[i]);
        assert_int_equal(p[i].code, 0);
    }
    assert_string_equal(p[0].out, p[1].out);
    assert_string_not_equal(p[0].out, p[2].out);
    for (size_t i = 0; i < 3; i++)
        test_process_free(&p[i]);
}

/* --- all of it --- */

static int load(void **state)
{
    (void)state;
    golden_load(&golden);
    return 0;
}

static int unload(void **state)
{
    (void)state;
    if (shared.session)
        test_close(&shared);
    golden_free(&golden);
    return 0;
}

#define WAY(words, ...)                                                                            \
    {                                                                                              \
        .name = "logits, experts and greedy text match golden: " words,                            \
        .test_func = logits_experts_and_greedy_text_match,                                         \
        .initial_state = &(struct way){.name = words, __VA_ARGS__},                                \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        WAY("default", .chunk = 0),
        WAY("only what every device has", .device.no_subgroups = true),
        WAY("tiled from two rows on", .device.tiled_rows = 1, .thorough = true),
        WAY("tiled, only what every device has", .device = {.tiled_rows = 1, .no_subgroups = true}),
        WAY("never tiled", .device.tiled_rows = 1000, .thorough = true),
        WAY("attention split at every block", .device.split_positions = 64, .thorough = true),
        WAY("staged uploads", .device.force_staging = true, .thorough = true),
        WAY("prompt in chunks of 7", .chunk = 7, .thorough = true),
        WAY("addresses checked", .device.check_addresses = true, .longest = 40, .thorough = true),
        WAY("validated", .device.validation = true, .chunk = 64),
        WAY("reference", .device.selector = "reference", .thorough = true),
        cmocka_unit_test(greedy_tokens_match_golden),
        cmocka_unit_test(ignoring_eos_hands_it_out_and_goes_on),
        cmocka_unit_test(text_goes_on_where_a_token_was_left_pending),
        cmocka_unit_test(a_pending_token_is_computed_at_any_length),
        cmocka_unit_test(a_session_repeats_itself_to_the_bit),
        cmocka_unit_test(a_seed_decides_the_text),
        cmocka_unit_test(first_tokens_are_drawn_from_the_softmax),
        cmocka_unit_test(held_out_text_is_as_likely_as_it_should_be),
        cmocka_unit_test(program_writes_golden_logits_and_experts),
        cmocka_unit_test(program_writes_golden_logits_on_the_reference),
        cmocka_unit_test(program_repeats_itself_to_the_bit),
        cmocka_unit_test(program_takes_text_as_it_takes_its_tokens),
        cmocka_unit_test(program_prints_golden_text),
        cmocka_unit_test(program_draws_the_same_text_from_the_same_seed),
    };
    return cmocka_run_group_tests_name("golden", tests, load, unload);
}
