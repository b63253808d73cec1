/* vkmoe trace as scripts see it: against the float64 model's routing, what `logits` writes, and the
 * counters behind `balance`. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "folder.h"
#include "measured.h"
#include "model/checkpoint.h"

/* Of the shipped model. */
enum { LAYERS = 3, EXPERTS = 32, TRAINED = 6, BOS = 1534, MOST = 4096 };

static struct golden golden;

static int setup(void **state)
{
    golden_load(&golden);
    return measured_setup(state);
}

static int teardown(void **state)
{
    golden_free(&golden);
    return measured_teardown(state);
}

/* --- lines --- */

struct lines {
    json_t *items[MOST];
    size_t count;
};

/* Every line is an object; the process is released. */
static struct lines *lines_of(struct test_process *p)
{
    static struct lines lines;
    test_process_assert_code(p, 0);
    lines.count = 0;
    for (char *at = p->out; *at;) {
        char *end = strchr(at, '\n');
        assert_non_null(end);
        *end = '\0';
        assert_true(lines.count < MOST);
        lines.items[lines.count] = json_loads(at, 0, NULL);
        assert_non_null(lines.items[lines.count++]);
        at = end + 1;
    }
    test_process_free(p);
    return &lines;
}

static void free_lines(struct lines *lines)
{
    for (size_t i = 0; i < lines->count; i++)
        json_decref(lines->items[i]);
}

static const json_t *layer_of(const struct lines *lines, size_t token, size_t layer)
{
    const json_t *layers = json_object_get(lines->items[token], "layers");
    assert_int_equal(json_array_size(layers), LAYERS);
    return json_array_get(layers, layer);
}

static double item(const json_t *layer, const char *key, size_t i)
{
    const json_t *value = json_array_get(json_object_get(layer, key), i);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static int id(const json_t *layer, size_t i)
{
    return (int)item(layer, "ids", i);
}

/* "1,2,3", to be freed. */
static char *list_of(const int32_t *ids, size_t n)
{
    char *text = malloc(12 * n + 1), *at = text;
    assert_non_null(text);
    for (size_t i = 0; i < n; i++)
        at += sprintf(at, "%s%d", i > 0 ? "," : "", ids[i]);
    return text;
}

/* --- what they hold --- */

/* One token in one layer, all experts ranked: those that the float64 model chose come first. */
static void assert_golden(const json_t *layer, const int32_t *ids, const float *weights)
{
    bool seen[EXPERTS] = {false};
    double sum = 0;
    for (size_t i = 0; i < EXPERTS; i++) {
        double prob = item(layer, "probs", i);
        assert_in_range(id(layer, i), 0, EXPERTS - 1);
        assert_false(seen[id(layer, i)]);
        seen[id(layer, i)] = true;
        assert_true(i == 0 || prob <= item(layer, "probs", i - 1));
        assert_true(item(layer, "gates", i) == (i < TRAINED ? prob : 0));
        sum += prob;
    }
    assert_true(fabs(sum - 1) < 1e-5);
    for (size_t i = 0; i < TRAINED; i++) {
        assert_true(fabs(item(layer, "gates", i) - (double)weights[i]) < 1e-4);
        if (id(layer, i) == ids[i])
            continue;
        double above = i > 0 ? fabs((double)(weights[i - 1] - weights[i])) : 1;
        double below = fabs(item(layer, "probs", i) - item(layer, "probs", i + 1));
        assert_true(above < 1e-5 || below < 1e-5);
    }
}

static void experts_are_those_of_the_float64_model_and_the_rest_is_ranked_behind_them(void **state)
{
    (void)state;
    for (size_t c = 0; c < golden.n_cases; c++) {
        const struct golden_case *of = &golden.cases[c];
        uint32_t n = of->trace.count < 40 ? of->trace.count : 40;
        struct test_process p = {0};
        char *list = list_of(of->ids, n);
        test_vkmoe(&p, "trace", "--tokens", list, "--ranks", "32", "-o", "-");
        struct lines *lines = lines_of(&p);
        assert_int_equal(lines->count, n);
        for (size_t t = 0; t < n; t++) {
            assert_true(measured_number(lines->items[t], "token") == of->ids[t]);
            assert_true(measured_number(lines->items[t], "position") == (double)t);
            for (size_t l = 0; l < LAYERS; l++) {
                size_t at = (l * of->trace.count + t) * TRAINED;
                assert_golden(layer_of(lines, t, l), of->trace.ids + at, of->trace.weights + at);
            }
        }
        free_lines(lines);
        free(list);
    }
}

/* One layer of a file, [tokens, TRAINED]. */
struct tensors {
    int32_t ids[MOST];
    float gates[MOST], probs[MOST];
};

static void take_tensor(const struct vkm_checkpoint *file, int layer, const char *kind, void *to,
                        size_t count)
{
    char name[64];
    vkmoe_error err;
    snprintf(name, sizeof(name), "layers.%d.topk_%s", layer, kind);
    const struct vkm_tensor *t = vkm_checkpoint_find(file, name);
    assert_non_null(t);
    assert_true(t->size == count * 4 && count <= MOST);
    assert_ok(vkm_tensor_read(t, 0, to, count * 4, &err), &err);
}

/* Lines and tensors are the same numbers; the latter are handed on, layer by layer. */
static void assert_same(const struct lines *lines, const char *path, struct tensors *layers)
{
    struct vkm_checkpoint *file;
    vkmoe_error err;
    size_t n = lines->count * TRAINED;
    assert_ok(vkm_checkpoint_open_file(NULL, path, &file, &err), &err);
    assert_int_equal(vkm_checkpoint_count(file), 1 + 3 * LAYERS);
    for (size_t l = 0; l < LAYERS; l++) {
        struct tensors *got = &layers[l];
        int layer = (int)measured_number(layer_of(lines, 0, l), "layer");
        take_tensor(file, layer, "idx", got->ids, n);
        take_tensor(file, layer, "weight", got->gates, n);
        take_tensor(file, layer, "prob", got->probs, n);
        for (size_t i = 0; i < n; i++) {
            const json_t *line = layer_of(lines, i / TRAINED, l);
            assert_int_equal(id(line, i % TRAINED), got->ids[i]);
            assert_true((float)item(line, "gates", i % TRAINED) == got->gates[i]);
            assert_true((float)item(line, "probs", i % TRAINED) == got->probs[i]);
        }
    }
    vkm_checkpoint_close(file);
}

static struct tensors read_layers[LAYERS];

/* And so is what `vkmoe logits` writes. */
static void a_safetensors_file_holds_what_the_lines_do(void **state)
{
    struct test_process p = {.folder = test_folder()}, q = p, r = p;
    (void)state;
    test_vkmoe(&p, "trace", "-p", "ROMEO:\nWhat news", "-o", "a.safetensors");
    test_process_assert_code(&p, 0);
    assert_string_equal(p.out, "");
    test_process_free(&p);
    test_vkmoe(&q, "trace", "-p", "ROMEO:\nWhat news", "-o", "-");
    struct lines *lines = lines_of(&q);
    test_vkmoe(&r, "logits", "-p", "ROMEO:\nWhat news", "-o", "b.safetensors");
    test_process_assert_code(&r, 0);
    test_process_free(&r);
    struct test_trace trace = test_trace_read(test_folder_path("b.safetensors"));
    assert_int_equal(lines->count, trace.count);
    assert_same(lines, test_folder_path("a.safetensors"), read_layers);
    size_t n = (size_t)trace.count * TRAINED;
    for (size_t l = 0; l < LAYERS; l++) {
        assert_memory_equal(read_layers[l].ids, trace.ids + l * n, n * 4);
        assert_memory_equal(read_layers[l].gates, trace.weights + l * n, n * 4);
    }
    test_trace_free(&trace);
    free_lines(lines);
}

/* Fewer tokens than room was made for. */
static void a_text_that_ends_early_leaves_no_gap(void **state)
{
    struct test_process p = {.folder = test_folder()}, q = p;
    const struct golden_greedy *text = NULL;
    (void)state;
    for (size_t i = 0; i < golden.n_greedy; i++)
        if (golden.greedy[i].stops_at_eos)
            text = &golden.greedy[i];
    assert_non_null(text);
    test_vkmoe(&p, "trace", "-p", text->prompt, "-n", "200", "--temp", "0", "-o", "a.safetensors");
    test_process_assert_code(&p, 0);
    test_process_free(&p);
    test_vkmoe(&q, "trace", "-p", text->prompt, "-n", "200", "--temp", "0", "-o", "-");
    struct lines *lines = lines_of(&q);
    assert_in_range(lines->count, 2, 199);
    assert_same(lines, test_folder_path("a.safetensors"), read_layers);
    free_lines(lines);
}

static void what_is_generated_is_traced_to_the_last_token(void **state)
{
    enum { NEW = 12 };
    int32_t ids[64];
    int want[64][LAYERS];
    struct test_process p = {0}, q = {0};
    (void)state;
    test_vkmoe(&p, "trace", "-p", "ROMEO:\n", "-n", "12", "--temp", "0", "-o", "-");
    struct lines *lines = lines_of(&p);
    size_t n = lines->count;
    assert_in_range(n, NEW + 2, 63);
    for (size_t t = 0; t < n; t++) {
        ids[t] = (int32_t)measured_number(lines->items[t], "token");
        assert_true(json_is_boolean(json_object_get(lines->items[t], "generated")));
        assert_int_equal(json_is_true(json_object_get(lines->items[t], "generated")), t >= n - NEW);
        for (size_t l = 0; l < LAYERS; l++)
            want[t][l] = id(layer_of(lines, t, l), 0);
    }
    assert_int_equal(ids[0], BOS);
    assert_string_equal(json_string_value(json_object_get(lines->items[1], "text")), "ROMEO");
    free_lines(lines);
    char *list = list_of(ids, n);
    test_vkmoe(&q, "trace", "--tokens", list, "-o", "-");
    lines = lines_of(&q);
    assert_int_equal(lines->count, n);
    for (size_t t = 0; t < n; t++)
        for (size_t l = 0; l < LAYERS; l++)
            assert_int_equal(id(layer_of(lines, t, l), 0), want[t][l]);
    free_lines(lines);
    free(list);
}

/* Sequences as `balance` makes them, whose sums come from the counters on the device. */
static void a_long_text_is_cut_into_sequences_and_its_gates_add_up(void **state)
{
    struct test_process p = {.folder = test_folder()}, q = p;
    double mass[LAYERS][EXPERTS] = {{0}};
    (void)state;
    test_folder_write_text("text", measured_document()->text);
    test_vkmoe(&p, "balance", "-f", "text", "-c", "32", "--json");
    json_t *root = measured_json(&p), *layers = json_object_get(root, "layers");
    test_vkmoe(&q, "trace", "-f", "text", "-c", "32", "-o", "-", "--ranks", "10");
    struct lines *lines = lines_of(&q);
    assert_true((double)lines->count == measured_number(root, "tokens"));
    for (size_t t = 0; t < lines->count; t++) {
        assert_true(measured_number(lines->items[t], "sequence") == (double)(t / 32));
        assert_true(measured_number(lines->items[t], "position") == (double)(t % 32));
        assert_int_equal(measured_number(lines->items[t], "token") == BOS, t % 32 == 0);
        for (size_t l = 0; l < LAYERS; l++)
            for (size_t i = 0; i < 10; i++)
                mass[l][id(layer_of(lines, t, l), i)] += item(layer_of(lines, t, l), "gates", i);
    }
    for (size_t l = 0; l < LAYERS; l++)
        for (size_t e = 0; e < EXPERTS; e++)
            assert_true(fabs(mass[l][e] - item(json_array_get(layers, l), "gate_mass", e)) < 1e-4);
    json_decref(root);
    free_lines(lines);
}

static void a_table_s_choice_has_no_runners_up(void **state)
{
    struct test_process p = {0};
    (void)state;
    test_vkmoe(&p, "trace", "-p", "ROMEO", "--router", "hash", "--ranks", "9", "-o", "-");
    struct lines *lines = lines_of(&p);
    for (size_t t = 0; t < lines->count; t++)
        for (size_t l = 0; l < LAYERS; l++) {
            const json_t *layer = layer_of(lines, t, l);
            assert_int_equal(json_array_size(json_object_get(layer, "ids")), TRAINED);
            assert_int_equal(json_array_size(json_object_get(layer, "probs")), TRAINED);
            assert_true(fabs(item(layer, "gates", 0) - 1.0 / TRAINED) < 1e-6);
        }
    free_lines(lines);
}

static void a_map_is_drawn(void **state)
{
    struct test_process p = {.folder = test_folder()};
    size_t size;
    (void)state;
    test_vkmoe(&p, "trace", "-p", "ROMEO:", "--map", "map.svg");
    if (p.code != 0) {
        test_process_assert_sentence(&p, 1, "built without Cairo");
        test_process_free(&p);
        skip();
    }
    assert_string_equal(p.out, "");
    test_process_free(&p);
    char *picture = test_file_read(test_folder_path("map.svg"), &size);
    test_assert_part(picture, "<title>How much a text gives to which expert</title>");
    test_assert_part(picture, "layer 2: expert ");
    free(picture);
}

/* --- what goes wrong --- */

static void what_cannot_be_is_told_in_a_sentence(void **state)
{
    static const struct {
        const char *words[6];
        int code;
        const char *sentence;
    } cases[] = {
        {{"-p", "x"}, 2, "-o FILE or --map FILE is needed"},
        {{"-o", "-"}, 2, "give one of -p TEXT, -f FILE and --tokens LIST"},
        {{"-p", "x", "-f", "x", "-o", "-"}, 2, "give one of -p"},
        {{"-p", "x", "-o", "routes.txt"}, 2, "'routes.txt' ends in neither .jsonl nor"},
        {{"-p", "x", "-o", ".jsonl"}, 2, "'.jsonl' ends in neither"},
        {{"-p", "x", "-o", "-", "--ranks", "0"}, 2, "--ranks: '0' is not"},
        {{"-p", "x", "-o", "-", "--ranks", "5"}, 1, "--ranks is 5, expected 6, which a token"},
        {{"-p", "x", "-o", "-", "--ranks", "33"}, 1, "--ranks is 33, expected 6"},
        {{"-p", "", "-o", "-"}, 1, "the text is empty"},
        {{"-f", "empty", "-o", "-"}, 1, "the text empty is empty"},
        {{"-f", "gone", "-o", "-"}, 1, "gone"},
        {{"-p", "\xff", "-o", "-"}, 1, "-p"},
        {{"--tokens", "1,1536", "-o", "-"}, 1, "token 1 is 1536, outside the vocabulary"},
        {{"-p", "x", "-o", "gone/a.jsonl"}, 1, "cannot write gone/a.jsonl"},
        {{"-p", "x", "-o", "gone/a.safetensors"}, 1, "cannot write gone/a.safetensors"},
        {{"-p", "x", "-o", "-", "-n", "600"}, 1, "do not fit the context of 512 tokens; -c 602"},
        {{"-p", "x", "-o", "-", "-c", "1"}, 1, "room for the BOS token only"},
    };
    (void)state;
    test_folder_write_text("empty", "");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct test_process p = {.folder = test_folder()};
        const char *const *w = cases[i].words;
        const char *argv[] = {VKMOE_PROGRAM, "trace", w[0], w[1], w[2], w[3], w[4], w[5], NULL};
        test_process_run(&p, argv);
        test_process_assert_sentence(&p, cases[i].code, cases[i].sentence);
        test_process_free(&p);
    }
    assert_int_equal(test_folder_count(test_folder()), 1);
}

/* A disk that is full leaves what was there, and nothing besides. */
static void a_file_appears_whole_or_not_at_all(void **state)
{
    static const char *const names[] = {"a.jsonl", "a.safetensors"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct test_process p = {.folder = test_folder(), .file_limit = 1000};
        struct test_process q = {.folder = test_folder()};
        size_t size;
        test_folder_write_text(names[i], "before");
        test_vkmoe(&p, "trace", "-p", "ROMEO:\nWhat news?", "--device", "reference", "-o",
                   names[i]);
        test_process_assert_sentence(&p, 1, names[i]);
        test_process_free(&p);
        char *kept = test_file_read(test_folder_path(names[i]), &size);
        assert_string_equal(kept, "before");
        free(kept);
        test_vkmoe(&q, "trace", "-p", "ROMEO:\nWhat news?", "--device", "reference", "-o",
                   names[i]);
        test_process_assert_code(&q, 0);
        test_process_free(&q);
        kept = test_file_read(test_folder_path(names[i]), &size);
        assert_true(size > 1000);
        free(kept);
        assert_int_equal(test_folder_count(test_folder()), 1 + i);
    }
}

/* Lines that came before stay whole. */
static void ctrl_c_ends_it_between_two_lines(void **state)
{
    struct test_process p = {.folder = test_folder()};
    (void)state;
    char *text = malloc(400 * strlen(measured_document()->text) + 1), *at = text;
    assert_non_null(text);
    for (size_t i = 0; i < 400; i++)
        at = stpcpy(at, measured_document()->text);
    test_folder_write_text("text", text);
    free(text);
    test_process_start(&p, (const char *const[]){VKMOE_PROGRAM, "trace", "-f", "text", "-c", "64",
                                                 "-o", "-", NULL});
    while (test_process_written(&p) == 0)
        usleep(1000);
    test_process_signal(p.pid, SIGINT);
    test_process_wait(&p);
    test_process_assert_code(&p, 130);
    assert_true(p.out_size > 0 && p.out[p.out_size - 1] == '\n');
    assert_string_equal(p.err, "");
    test_process_free(&p);
}

static void a_reader_that_is_gone_ends_it(void **state)
{
    struct test_process p = {.output = TEST_OUTPUT_UNREAD};
    (void)state;
    test_vkmoe(&p, "trace", "-p", "ROMEO:\nWhat news", "-o", "-");
    test_process_assert_sentence(&p, 1, "cannot write to stdout: Broken pipe");
    test_process_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(experts_are_those_of_the_float64_model_and_the_rest_is_ranked_behind_them),
        TEST_IN_FOLDER(a_safetensors_file_holds_what_the_lines_do),
        TEST_IN_FOLDER(a_text_that_ends_early_leaves_no_gap),
        cmocka_unit_test(what_is_generated_is_traced_to_the_last_token),
        TEST_IN_FOLDER(a_long_text_is_cut_into_sequences_and_its_gates_add_up),
        cmocka_unit_test(a_table_s_choice_has_no_runners_up),
        TEST_IN_FOLDER(a_map_is_drawn),
        TEST_IN_FOLDER(what_cannot_be_is_told_in_a_sentence),
        TEST_IN_FOLDER(a_file_appears_whole_or_not_at_all),
        TEST_IN_FOLDER(ctrl_c_ends_it_between_two_lines),
        cmocka_unit_test(a_reader_that_is_gone_ends_it),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
