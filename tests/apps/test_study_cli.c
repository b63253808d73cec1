/* vkmoe balance and vkmoe study as scripts see them, and the options that steer routing. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "folder.h"
#include "measured.h"

/* Of the shipped model. */
enum { LAYERS = 3, EXPERTS = 32, TRAINED = 6 };

static struct test_process with_text(void)
{
    struct test_process p = {.folder = test_folder()};
    test_folder_write_text("text", measured_document()->text);
    return p;
}

static double item(const json_t *root, const char *key, size_t i)
{
    return json_number_value(json_array_get(json_object_get(root, key), i));
}

/* The figures by their definitions, from the counts beside them. */
static void assert_layer(const json_t *layer, double tokens, uint32_t devices)
{
    double loss = 0, of_devices = 0, chosen = 0, probs = 0;
    for (uint32_t d = 0; d < devices; d++) {
        double f = 0, p = 0;
        for (uint32_t i = d * EXPERTS / devices; i < (d + 1) * EXPERTS / devices; i++) {
            double fi = EXPERTS / (TRAINED * tokens) * item(layer, "tokens", i);
            double pi = item(layer, "probability_mass", i) / tokens;
            loss += fi * pi;
            f += fi;
            p += pi;
            chosen += item(layer, "tokens", i);
            probs += item(layer, "probability_mass", i);
        }
        of_devices += f / (EXPERTS / devices) * p;
    }
    assert_true(chosen == tokens * TRAINED);
    assert_true(fabs(probs - tokens) < 1e-4 * tokens);
    assert_true(fabs(measured_number(layer, "expert_loss") - loss) < 1e-9);
    assert_true(fabs(measured_number(layer, "device_loss") - of_devices) < 1e-9);
    assert_true(measured_number(layer, "sequence_loss") >= 0.9 &&
                measured_number(layer, "busiest") >= 1);
    assert_true(measured_number(layer, "entropy") > 0 && measured_number(layer, "entropy") <= 1);
}

static void balance_tells_the_losses_of_the_paper(void **state)
{
    (void)state;
    struct test_process p = with_text();
    test_vkmoe(&p, "balance", "-f", "text", "--devices", "4", "--json");
    json_t *root = measured_json(&p), *layers = json_object_get(root, "layers");
    double tokens = measured_number(root, "tokens");
    assert_true(tokens == (double)measured_document()->n_tokens + 1); /* BOS as well */
    assert_true(measured_number(root, "sequences") == 1);
    assert_int_equal(json_array_size(layers), LAYERS);
    for (size_t i = 0; i < LAYERS; i++) {
        assert_layer(json_array_get(layers, i), tokens, 4);
        const json_t *one = json_array_get(layers, i); /* one sequence is the whole */
        assert_true(fabs(measured_number(one, "sequence_loss") -
                         measured_number(one, "expert_loss")) < 1e-9);
    }
    json_decref(root);
}

static void balance_prints_a_line_for_each_layer_or_each_expert(void **state)
{
    (void)state;
    struct test_process p = with_text(), csv = p;
    test_vkmoe(&p, "balance", "-f", "text", "-c", "32");
    test_process_assert_code(&p, 0);
    test_assert_part(p.out, "6 of 32 experts each, 1 devices");
    test_assert_part(p.out, "layer  busiest");
    test_process_free(&p);
    test_vkmoe(&csv, "balance", "-f", "text", "--csv");
    test_process_assert_code(&csv, 0);
    size_t lines = 0;
    for (const char *c = csv.out; *c; c++)
        lines += *c == '\n';
    assert_int_equal(lines, 1 + LAYERS * EXPERTS);
    test_assert_part(csv.out, "layer,expert,tokens,gate_mass,probability_mass\n0,0,");
    test_process_free(&csv);
}

/* With the others that a token chose, each of its experts makes a pair. */
static void pairs_of_experts_add_up_to_what_tokens_choose(void **state)
{
    struct test_process p = with_text();
    double sums[LAYERS][EXPERTS] = {{0}};
    size_t size, lines = 0;
    (void)state;
    test_vkmoe(&p, "balance", "-f", "text", "-c", "32", "--json", "--pairs", "pairs.csv");
    json_t *root = measured_json(&p), *layers = json_object_get(root, "layers");
    double tokens = measured_number(root, "tokens");
    assert_true(measured_number(root, "sequences") > 1);
    char *csv = test_file_read(test_folder_path("pairs.csv"), &size), *next;
    test_assert_part(csv, "layer,expert,other,tokens,expected\n0,0,1,");
    for (char *line = strchr(csv, '\n') + 1; (next = strchr(line, '\n')); line = next + 1) {
        unsigned l, i, j;
        double both, expected;
        assert_int_equal(sscanf(line, "%u,%u,%u,%lf,%lf", &l, &i, &j, &both, &expected), 5);
        assert_true(l < LAYERS && i < j && j < EXPERTS);
        const json_t *layer = json_array_get(layers, l);
        double independent = item(layer, "tokens", i) * item(layer, "tokens", j) / tokens;
        assert_true(fabs(expected - independent) <= 1e-6 * independent);
        sums[l][i] += both;
        sums[l][j] += both;
        lines++;
    }
    assert_int_equal(lines, LAYERS * EXPERTS * (EXPERTS - 1) / 2);
    for (size_t l = 0; l < LAYERS; l++)
        for (size_t i = 0; i < EXPERTS; i++)
            assert_true(sums[l][i] == (TRAINED - 1) * item(json_array_get(layers, l), "tokens", i));
    free(csv);
    json_decref(root);
}

/* Where the build can draw. */
static void balance_draws_a_map(void **state)
{
    (void)state;
    struct test_process svg = with_text(), png = svg, bad = svg;
    size_t size;
    test_vkmoe(&svg, "balance", "-f", "text", "--map", "map.svg");
    if (svg.code != 0) {
        test_process_assert_sentence(&svg, 1, "built without Cairo");
        test_process_free(&svg);
        skip();
    }
    test_process_free(&svg);
    char *picture = test_file_read(test_folder_path("map.svg"), &size);
    test_assert_part(picture, "<title>Which experts a text chooses</title>");
    test_assert_part(picture, "layer 2: expert ");
    test_assert_part(picture, "</svg>");
    free(picture);
    test_vkmoe(&png, "balance", "-f", "text", "--map", "map.png");
    test_process_assert_code(&png, 0);
    test_process_free(&png);
    picture = test_file_read(test_folder_path("map.png"), &size);
    assert_memory_equal(picture, "\x89PNG\r\n", 6);
    free(picture);
    test_vkmoe(&bad, "balance", "-f", "text", "--map", "gone/map.svg");
    test_process_assert_code(&bad, 1);
    test_assert_part(bad.err, "gone/map.svg");
    test_process_free(&bad);
}

static json_t *study(const char *kind, const char *option, const char *value)
{
    struct test_process p = with_text();
    if (option)
        test_vkmoe(&p, "study", kind, "-f", "text", "--json", option, value);
    else
        test_vkmoe(&p, "study", kind, "-f", "text", "--json");
    return measured_json(&p);
}

static const json_t *trial(const json_t *root, size_t i)
{
    return json_array_get(json_object_get(root, "trials"), i);
}

static void study_begins_with_the_model_as_it_is(void **state)
{
    static const char *const kinds[] = {"mask", "active", "shared"};
    double nll = measured_document()->nll / (double)measured_document()->n_tokens;
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        json_t *root = study(kinds[i], i < 2 ? "--list" : NULL, "3");
        assert_string_equal(json_string_value(json_object_get(root, "study")), kinds[i]);
        assert_true(fabs(measured_number(trial(root, 0), "nll") - nll) <= 1e-4 * nll);
        assert_true(measured_number(trial(root, 0), "active") == TRAINED);
        assert_true(fabs(measured_number(trial(root, 1), "nll") - nll) > 1e-3 * nll);
        json_decref(root);
    }
}

/* What another command measures with the same options. */
static void assert_perplexity(const json_t *trial, const char *option, const char *value)
{
    struct test_process p = with_text();
    test_vkmoe(&p, "perplexity", "-f", "text", "--json", option, value);
    json_t *root = measured_json(&p);
    assert_true(measured_number(root, "nll") == measured_number(trial, "nll"));
    json_decref(root);
}

static void study_tries_what_its_list_says(void **state)
{
    (void)state;
    json_t *root = study("mask", "--list", "2,26");
    assert_int_equal(json_array_size(json_object_get(root, "trials")), 3);
    assert_true(measured_number(trial(root, 1), "skip") == 2 &&
                measured_number(trial(root, 2), "skip") == 26);
    assert_perplexity(trial(root, 1), "--skip-experts", "2");
    json_decref(root);
    root = study("active", "--list", "1");
    assert_true(measured_number(trial(root, 1), "active") == 1);
    for (size_t i = 0; i < 2; i++) {
        double rate = measured_number(trial(root, i), "generated_per_second");
        double spread = measured_number(trial(root, i), "generated_deviation");
        assert_true(rate > 0 && spread > 0 && spread < 3 * rate);
    }
    assert_perplexity(trial(root, 1), "--experts", "1");
    json_decref(root);
}

static void nothing_is_tried_twice(void **state)
{
    (void)state;
    json_t *root = study("mask", "--list", "0,2,2,1");
    assert_int_equal(json_array_size(json_object_get(root, "trials")), 3);
    json_decref(root);
    root = study("active", "--list", "6,1,1");
    assert_int_equal(json_array_size(json_object_get(root, "trials")), 2);
    json_decref(root);
}

static void a_named_set_of_experts_is_masked_together(void **state)
{
    (void)state;
    json_t *root = study("mask", "--set", "2:0-3,1:7");
    assert_int_equal(json_array_size(json_object_get(root, "trials")), 2);
    assert_true(json_is_false(json_object_get(trial(root, 0), "set")));
    assert_true(json_is_true(json_object_get(trial(root, 1), "set")));
    assert_perplexity(trial(root, 1), "--experts-off", "2:0-3,1:7");
    double more = measured_number(trial(root, 1), "nll") - measured_number(trial(root, 0), "nll");
    assert_true(more != 0 && fabs(measured_number(trial(root, 1), "more") - more) < 1e-9);
    json_decref(root);
}

/* Experts that are off leave fewer to be passed over. */
static void studies_try_what_other_options_leave(void **state)
{
    struct test_process p = with_text();
    (void)state;
    test_vkmoe(&p, "study", "mask", "-f", "text", "--tokens", "8", "--json", "--experts-off",
               "1:0-2");
    json_t *root = measured_json(&p);
    size_t last = json_array_size(json_object_get(root, "trials")) - 1;
    assert_true(measured_number(trial(root, last), "skip") == EXPERTS - TRAINED - 3);
    json_decref(root);
}

static void study_by_itself_goes_from_one_to_all(void **state)
{
    (void)state;
    json_t *root = study("mask", "--tokens", "8");
    size_t last = json_array_size(json_object_get(root, "trials")) - 1;
    assert_true(measured_number(trial(root, 1), "skip") == 1);
    assert_true(measured_number(trial(root, last), "skip") == EXPERTS - TRAINED);
    json_decref(root);
    root = study("shared", NULL, NULL);
    assert_int_equal(json_array_size(json_object_get(root, "trials")), 3);
    assert_true(json_is_false(json_object_get(trial(root, 1), "shared")));
    assert_true(measured_number(trial(root, 2), "active") == TRAINED + 1);
    json_decref(root);
}

/* The documents of a kind, every second one from `first` on. */
static void write_documents(const char *name, size_t kind, size_t first, size_t step, size_t most)
{
    FILE *file = fopen(test_folder_path(name), "w");
    const struct golden_held *held = &measured_golden()->held[kind];
    size_t n = 0;
    assert_non_null(file);
    for (size_t i = first; i < held->count && n < most; i += step, n++)
        fputs(held->documents[i].text, file);
    assert_int_equal(fclose(file), 0);
}

static double layer_number(const json_t *root, size_t layer, const char *key)
{
    return measured_number(json_array_get(json_object_get(root, "layers"), layer), key);
}

static void texts_of_other_kinds_use_other_experts(void **state)
{
    struct test_process p = with_text();
    (void)state;
    write_documents("sums", 0, 0, 1, 8);
    write_documents("records", 1, 0, 1, 8);
    test_folder_write_text("plays", golden_case_find(measured_golden(), "long")->text);
    test_vkmoe(&p, "study", "affinity", "plays", "sums", "records", "-c", "48", "--json");
    json_t *root = measured_json(&p), *texts = json_object_get(root, "texts");
    assert_int_equal(json_array_size(texts), 3);
    assert_int_equal(json_array_size(json_object_get(root, "layers")), LAYERS);
    for (size_t l = 0; l < LAYERS; l++) {
        const json_t *layer = json_array_get(json_object_get(root, "layers"), l);
        size_t differing = 0;
        assert_true(layer_number(root, l, "p_adjusted") <= 0.01);
        assert_true(layer_number(root, l, "divergence") > 3 * layer_number(root, l, "chance"));
        for (size_t t = 0; t < 3; t++) {
            const json_t *chosen = json_array_get(json_object_get(layer, "chosen"), t);
            double sum = 0;
            for (size_t e = 0; e < EXPERTS; e++)
                sum += json_number_value(json_array_get(chosen, e));
            assert_true(sum == TRAINED * measured_number(json_array_get(texts, t), "tokens"));
        }
        for (size_t e = 0; e < EXPERTS; e++)
            differing += item(layer, "expert_p_adjusted", e) <= 0.05;
        assert_true(differing >= EXPERTS / 4);
    }
    json_decref(root);
}

/* Documents of one kind, dealt to two texts. */
static void one_text_dealt_to_two_does_not_differ_from_itself(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < 2; kind++) {
        struct test_process p = with_text();
        write_documents("odd", kind, 0, 2, 8);
        write_documents("even", kind, 1, 2, 8);
        test_vkmoe(&p, "study", "affinity", "odd", "even", "-c", "48", "--json");
        json_t *root = measured_json(&p);
        for (size_t l = 0; l < LAYERS; l++) {
            const json_t *layer = json_array_get(json_object_get(root, "layers"), l);
            assert_true(layer_number(root, l, "p_adjusted") > 0.05);
            for (size_t e = 0; e < EXPERTS; e++)
                assert_true(item(layer, "expert_p_adjusted", e) > 0.05);
        }
        json_decref(root);
    }
}

static size_t lines_of(struct test_process *p)
{
    size_t lines = 0;
    test_process_assert_code(p, 0);
    for (const char *c = p->out; *c; c++)
        lines += *c == '\n';
    test_process_free(p);
    return lines;
}

static void studies_of_experts_print_lines_for_people_and_for_programs(void **state)
{
    struct test_process table = with_text(), csv = table, affinity = table, affinity_csv = table;
    struct test_process mask = table;
    (void)state;
    test_vkmoe(&mask, "study", "mask", "-f", "text", "--tokens", "9", "--csv", "--list", "1");
    test_assert_part(mask.out, "generated_per_second,generated_deviation,set\n0,6,1,");
    test_assert_part(mask.out, ",,,0\n"); /* no speed was measured */
    assert_int_equal(lines_of(&mask), 1 + 2);
    test_vkmoe(&table, "study", "importance", "-f", "text", "--tokens", "9", "--only", "*:0-1");
    assert_int_equal(lines_of(&table), 2 + LAYERS * 2);
    test_vkmoe(&csv, "study", "importance", "-f", "text", "--tokens", "9", "--csv", "--only",
               "2:30-31");
    assert_int_equal(lines_of(&csv), 1 + 2);
    test_vkmoe(&affinity, "study", "affinity", "text", "text", "--tokens", "20", "-c", "16");
    assert_int_equal(lines_of(&affinity), 2 + 3 + LAYERS); /* no expert differs */
    test_vkmoe(&affinity_csv, "study", "affinity", "text", "text", "--tokens", "20", "--csv");
    assert_int_equal(lines_of(&affinity_csv), 1 + 2 * LAYERS * EXPERTS);
}

/* What an expert does for tokens that never reach it. */
static void an_expert_that_no_token_chose_harms_nobody_by_going(void **state)
{
    struct test_process p = with_text();
    size_t i, unused = 0;
    json_t *one;
    (void)state;
    test_vkmoe(&p, "study", "importance", "-f", "text", "--tokens", "4", "--json", "--only",
               "0:0-31");
    json_t *root = measured_json(&p);
    json_array_foreach(json_object_get(root, "experts"), i, one)
    {
        if (measured_number(one, "tokens") > 0)
            continue;
        unused++;
        assert_true(measured_number(one, "more") == 0);
    }
    assert_true(unused > 0 && unused < EXPERTS);
    json_decref(root);
}

static void studies_of_experts_draw_maps(void **state)
{
    struct test_process importance = with_text(), affinity = importance;
    size_t size;
    (void)state;
    test_vkmoe(&importance, "study", "importance", "-f", "text", "--tokens", "9", "--only", "0:0-3",
               "--map", "i.svg");
    if (importance.code != 0) {
        test_process_assert_sentence(&importance, 1, "built without Cairo");
        test_process_free(&importance);
        skip();
    }
    test_process_free(&importance);
    char *picture = test_file_read(test_folder_path("i.svg"), &size);
    test_assert_part(picture, "<title>What a text loses with each expert</title>");
    test_assert_part(picture, "</svg>");
    free(picture);
    test_vkmoe(&affinity, "study", "affinity", "text", "text", "--tokens", "20", "--map", "a.svg");
    test_process_assert_code(&affinity, 0);
    test_process_free(&affinity);
    picture = test_file_read(test_folder_path("a.svg"), &size);
    test_assert_part(picture, "<title>Which experts serve which text</title>");
    test_assert_part(picture, "Layer 2: divergence 0.000");
    free(picture);
}

static void loss_and_speed_are_drawn(void **state)
{
    struct test_process mask = with_text(), active = mask, early[3] = {mask, mask, mask};
    size_t size;
    (void)state;
    test_vkmoe(&mask, "study", "mask", "-f", "text", "--tokens", "9", "--list", "1,26", "--chart",
               "m.svg");
    if (mask.code != 0) {
        test_process_assert_sentence(&mask, 1, "built without Cairo");
        test_process_free(&mask);
        skip();
    }
    test_process_free(&mask);
    char *picture = test_file_read(test_folder_path("m.svg"), &size);
    test_assert_part(picture, "<title>Loss without the best experts</title>");
    test_assert_part(picture, "\n26: NLL ");
    free(picture);
    test_vkmoe(&active, "study", "active", "-f", "text", "--tokens", "9", "--list", "1", "--chart",
               "a.svg");
    test_process_assert_code(&active, 0);
    test_process_free(&active);
    picture = test_file_read(test_folder_path("a.svg"), &size);
    test_assert_part(picture, " +- ");
    test_assert_part(picture, " tokens per second\n6: NLL "); /* in order */
    free(picture);
    /* Said before the text is read, so before anything is measured. */
    test_vkmoe(&early[0], "study", "mask", "-f", "none", "--chart", "gone/m.svg");
    test_process_assert_sentence(&early[0], 1, "gone/m.svg");
    test_process_free(&early[0]);
    test_vkmoe(&early[1], "balance", "-f", "none", "--map", "gone/m.svg");
    test_process_assert_sentence(&early[1], 1, "gone/m.svg");
    test_process_free(&early[1]);
    test_vkmoe(&early[2], "study", "importance", "-f", "none", "--map", "m.gif");
    test_process_assert_sentence(&early[2], 2, "--map: 'm.gif' ends in neither .svg nor .png");
    test_process_free(&early[2]);
}

/* Worked out from the same study of one window, of two and of three. */
static void a_change_has_the_interval_of_its_differences(void **state)
{
    enum { CONTEXT = 17, WINDOWS = 3 };
    double d[WINDOWS], sum = 0, told = 0;
    (void)state;
    for (int w = 0; w < WINDOWS; w++) {
        struct test_process p = with_text();
        char tokens[8];
        snprintf(tokens, sizeof(tokens), "%d", (CONTEXT - 1) * (w + 1));
        test_vkmoe(&p, "study", "mask", "-f", "text", "-c", "17", "--tokens", tokens, "--list", "1",
                   "--json");
        json_t *root = measured_json(&p);
        d[w] = measured_number(trial(root, 1), "more") * (CONTEXT - 1) * (w + 1) - sum;
        sum += d[w];
        if (w == 0) /* of one window nothing is known */
            assert_true(json_is_null(json_object_get(trial(root, 1), "more_standard_error")));
        else
            told = measured_number(trial(root, 1), "more_standard_error");
        json_decref(root);
    }
    double mean = sum / WINDOWS, spread = 0;
    for (int w = 0; w < WINDOWS; w++)
        spread += (d[w] - mean) * (d[w] - mean);
    double expected = sqrt(spread / (WINDOWS - 1) / WINDOWS) / (CONTEXT - 1);
    assert_true(expected > 0 && fabs(told - expected) < 1e-6 * expected);
}

/* By then it is among the permutations, which take minutes; sooner would end it likewise. */
static void an_interrupt_among_permutations_ends_with_130(void **state)
{
    struct test_process p = with_text();
    (void)state;
    test_process_start(&p, (const char *const[]){VKMOE_PROGRAM, "study", "affinity", "text", "text",
                                                 "-c", "2", "--permutations", "1000000", NULL});
    sleep(5);
    time_t start = time(NULL);
    test_process_signal(p.pid, SIGINT);
    test_process_wait(&p);
    assert_true(time(NULL) - start < 20);
    test_process_assert_code(&p, 130);
    assert_string_equal(p.out, "");
    test_process_free(&p);
}

static void what_cannot_be_is_told_in_a_sentence(void **state)
{
    static const struct {
        const char *words[7];
        int code;
        const char *sentence;
    } cases[] = {
        {{"balance", "-f", "text", "--devices", "5"}, 1, "5 devices do not divide the 32"},
        {{"balance", "-f", "empty"}, 1, "the text empty is empty"},
        {{"balance", "-f", "text", "--devices", "0"}, 2, "--devices: '0' is not"},
        {{"balance"}, 2, "a text is needed"},
        {{"study", "-f", "text"}, 2, "one of mask, active, shared, importance and affinity"},
        {{"study", "masks", "-f", "text"}, 2, "'masks' is not mask"},
        {{"study", "mask", "-f", "gone"}, 1, "gone"},
        {{"study", "mask", "text"}, 2, "'text' is not an option; a text goes after -f"},
        {{"study", "mask", "-f", "empty"}, 1, "the text empty is empty"},
        {{"study", "mask", "-f", "text", "--list=27"},
         1,
         "27 is not a number of experts from 0 to"},
        {{"study", "active", "-f", "text", "--list=0"}, 1, "0 is not a number of experts from 1"},
        {{"study", "active", "-f", "text", "--list=33"}, 1, "33 is not a number of experts"},
        {{"study", "mask", "-f", "text", "--list=1,x"},
         2,
         "--list: 'x' is not a number of experts"},
        {{"study", "mask", "-f", "text", "--list="}, 2, "--list: '' has no number"},
        {{"study", "mask", "-f", "text", "--set="}, 2, "--set: an empty list"},
        {{"study", "mask", "-f", "text", "--set=*:0-26"}, 1, "5 of 32 experts are left"},
        {{"study", "mask", "-f", "text", "--set=3:0"}, 1, "--set: '3:0' is not LAYER:EXPERT"},
        {{"study", "mask", "-f", "text", "--set=0:9", "--experts-forced=0:9"},
         1,
         "--set: expert 9 of MoE layer 0 is also forced"},
        {{"study", "mask", "-f", "text", "--set=0:9", "--chart=m.svg"}, 2, "give --list"},
        {{"study", "active", "-f", "text", "--set=0:1"}, 2, "--set says nothing to active"},
        {{"study", "mask", "-f", "text", "--list=26", "--experts-off=0:1"},
         1,
         "26 is not a number of experts from 0 to 25"},
        {{"study", "active", "-f", "text", "--list=31", "--skip-experts=2",
          "--experts-forced=0:4-6"},
         1,
         "31 is not a number of experts from 3 to 30"},
        {{"balance", "-f", "text", "--pairs=gone/p.csv"}, 1, "gone/p.csv"},
        {{"balance", "-f", "text", "--pairs="}, 2, "--pairs: an empty name"},
        {{"study", "shared", "-f", "text", "--list=1"}, 2, "--list says nothing to shared"},
        {{"study", "mask", "-f", "text", "--only=0:1"}, 2, "--only says nothing to mask"},
        {{"study", "mask", "-f", "text", "--map=m.svg"}, 2, "--map says nothing to mask"},
        {{"study", "shared", "-f", "text", "--chart=m.svg"}, 2, "--chart says nothing to shared"},
        {{"study", "importance", "-f", "text", "--only=0:32"}, 1, "'0:32' is not LAYER:EXPERT"},
        {{"study", "importance", "-f", "text", "--only="}, 2, "--only: an empty list"},
        {{"study", "importance", "-f", "text", "--experts=32"}, 1, "31 of 32 experts are left"},
        {{"study", "importance", "-f", "text", "--context=1"}, 1, "windows of 1 tokens"},
        {{"study", "affinity", "text"}, 2, "affinity needs two texts or more, not 1"},
        {{"study", "affinity", "text", "-f", "text"}, 2, "-f says nothing to affinity"},
        {{"study", "affinity", "text", "gone"}, 1, "gone"},
        {{"study", "affinity", "text", "empty"}, 1, "the text empty is empty"},
        {{"study", "affinity", "text", "text", "--permutations=0"}, 2, "--permutations: '0'"},
        {{"perplexity", "-f", "text", "--csv", "--json"}, 2, "--json and --csv exclude"},
        {{"perplexity", "-f", "text", "--experts", "0"}, 2, "--experts: '0' is not"},
        {{"perplexity", "-f", "text", "--experts", "33"}, 1, "experts_per_token is 33"},
        {{"perplexity", "-f", "text", "--skip-experts", "27"}, 1, "27 of 32 experts passed over"},
        {{"perplexity", "-f", "text", "--router", "best"}, 2, "--router: 'best' is not"},
        {{"perplexity", "-f", "text", "--experts-off", "0:32"}, 1, "'0:32' is not LAYER:EXPERT"},
        {{"perplexity", "-f", "text", "--experts-off", "3:1"}, 1, "MoE layers 0 to 2"},
        {{"perplexity", "-f", "text", "--experts-off", "*:0-26"}, 1, "5 of 32 experts are left"},
        {{"perplexity", "-f", "text", "--experts-forced", "1:0-6"}, 1, "7 experts are forced"},
        {{"perplexity", "-f", "text", "--experts-off=*:4-8", "--experts-forced=1:6"},
         1,
         "--experts-forced: expert 6 of MoE layer 1 is also off"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct test_process p = with_text();
        const char *const *w = cases[i].words;
        test_folder_write_text("empty", "");
        const char *argv[] = {VKMOE_PROGRAM, w[0], w[1], w[2], w[3], w[4], w[5], w[6], NULL};
        test_process_run(&p, argv);
        test_process_assert_sentence(&p, cases[i].code, cases[i].sentence);
        test_process_free(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FOLDER(balance_tells_the_losses_of_the_paper),
        TEST_IN_FOLDER(balance_prints_a_line_for_each_layer_or_each_expert),
        TEST_IN_FOLDER(pairs_of_experts_add_up_to_what_tokens_choose),
        TEST_IN_FOLDER(balance_draws_a_map),
        TEST_IN_FOLDER(study_begins_with_the_model_as_it_is),
        TEST_IN_FOLDER(study_tries_what_its_list_says),
        TEST_IN_FOLDER(nothing_is_tried_twice),
        TEST_IN_FOLDER(a_named_set_of_experts_is_masked_together),
        TEST_IN_FOLDER(studies_try_what_other_options_leave),
        TEST_IN_FOLDER(study_by_itself_goes_from_one_to_all),
        TEST_IN_FOLDER(texts_of_other_kinds_use_other_experts),
        TEST_IN_FOLDER(one_text_dealt_to_two_does_not_differ_from_itself),
        TEST_IN_FOLDER(studies_of_experts_print_lines_for_people_and_for_programs),
        TEST_IN_FOLDER(an_expert_that_no_token_chose_harms_nobody_by_going),
        TEST_IN_FOLDER(studies_of_experts_draw_maps),
        TEST_IN_FOLDER(loss_and_speed_are_drawn),
        TEST_IN_FOLDER(a_change_has_the_interval_of_its_differences),
        TEST_IN_FOLDER(an_interrupt_among_permutations_ends_with_130),
        TEST_IN_FOLDER(what_cannot_be_is_told_in_a_sentence),
    };
    return cmocka_run_group_tests(tests, measured_setup, measured_teardown);
}
