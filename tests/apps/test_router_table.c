/* --router-table: the experts that a file gives each token, and what is said of one that cannot be.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "folder.h"
#include "measured.h"

/* Of the shipped model. */
enum { LAYERS = 3, EXPERTS = 32, VOCABULARY = 1536, K = 2, ODD = 7 };

static uint32_t expert_of(uint32_t token, uint32_t i)
{
    return (5 * token + 4 * i) % EXPERTS;
}

/* So many tokens, of which the row of one (NULL: none) is something else. */
static void write_table(uint32_t tokens, const char *odd)
{
    FILE *file = fopen(test_folder_path("table.json"), "w");
    assert_non_null(file);
    for (uint32_t t = 0; t < tokens; t++) {
        fputs(t == 0 ? "[" : ",\n ", file);
        if (t == ODD && odd)
            fputs(odd, file);
        else
            fprintf(file, "[%u, %u]", expert_of(t, 0), expert_of(t, 1));
    }
    fputs("]\n", file);
    assert_int_equal(fclose(file), 0);
}

static void assert_token(const json_t *line)
{
    uint32_t token = (uint32_t)measured_number(line, "token");
    const json_t *layers = json_object_get(line, "layers");
    assert_int_equal(json_array_size(layers), LAYERS);
    for (size_t l = 0; l < LAYERS; l++) {
        const json_t *layer = json_array_get(layers, l), *ids = json_object_get(layer, "ids");
        assert_int_equal(json_array_size(ids), K);
        for (uint32_t i = 0; i < K; i++) {
            const json_t *gate = json_array_get(json_object_get(layer, "gates"), i);
            assert_int_equal(json_integer_value(json_array_get(ids, i)), expert_of(token, i));
            assert_true(fabs(json_number_value(gate) - 1.0 / K) < 1e-6);
        }
    }
}

static void every_token_goes_to_the_experts_that_the_file_gives_it(void **state)
{
    struct test_process p = {.folder = test_folder()};
    size_t lines = 0;
    (void)state;
    write_table(VOCABULARY, NULL);
    test_vkmoe(&p, "trace", "-p", "What news on the Rialto?", "-n", "4", "--temp", "0",
               "--router-table", "table.json", "-o", "-");
    test_process_assert_code(&p, 0);
    for (char *at = p.out, *end; (end = strchr(at, '\n')); at = end + 1, lines++) {
        json_t *line = json_loadb(at, (size_t)(end - at), 0, NULL);
        assert_non_null(line);
        assert_token(line);
        json_decref(line);
    }
    assert_true(lines > 8);
    test_process_free(&p);
}

/* The loss is that of the table, whichever command asks for it, and of no other one. */
static void studies_and_plans_go_by_the_table(void **state)
{
    struct test_process perplexity = {.folder = test_folder()}, drawn = perplexity,
                        importance = perplexity, plan = perplexity;
    (void)state;
    write_table(VOCABULARY, NULL);
    test_folder_write_text("text", measured_document()->text);
    test_vkmoe(&perplexity, "perplexity", "-f", "text", "--json", "--router", "hash",
               "--router-table", "table.json", "--experts", "2");
    test_vkmoe(&drawn, "perplexity", "-f", "text", "--json", "--router", "hash", "--experts", "2");
    test_vkmoe(&importance, "study", "importance", "-f", "text", "--json", "--only", "0:0",
               "--router-table", "table.json");
    json_t *a = measured_json(&perplexity), *b = measured_json(&drawn),
           *c = measured_json(&importance);
    assert_true(measured_number(a, "nll") != measured_number(b, "nll"));
    assert_true(measured_number(a, "nll") == measured_number(c, "nll"));
    json_decref(a);
    json_decref(b);
    json_decref(c);
    test_vkmoe(&plan, "plan", "--router-table", "table.json");
    test_process_assert_code(&plan, 0);
    test_process_free(&plan);
}

static void a_measurement_is_not_resumed_with_another_table(void **state)
{
    struct test_process begun = {.folder = test_folder()}, other = begun;
    (void)state;
    write_table(VOCABULARY, NULL);
    test_folder_write_text("text", measured_document()->text);
    test_vkmoe(&begun, "perplexity", "-f", "text", "-c", "16", "--resume", "kept", "--router-table",
               "table.json");
    test_process_assert_code(&begun, 0);
    test_process_free(&begun);
    write_table(VOCABULARY, "[1, 2]");
    test_vkmoe(&other, "perplexity", "-f", "text", "-c", "16", "--resume", "kept", "--router-table",
               "table.json");
    test_process_assert_sentence(&other, 1, "'routing' is hash k 2");
    test_process_free(&other);
}

static void assert_refused(int code, const char *part)
{
    struct test_process p = {.folder = test_folder()};
    test_vkmoe(&p, "run", "-p", "a", "-n", "1", "--router-table", "table.json");
    test_process_assert_sentence(&p, code, part);
    test_process_free(&p);
}

static void a_table_that_does_not_fit_the_model_is_refused_with_its_place(void **state)
{
    static const char *const rows[][2] = {
        {"[31, 32]", "table.json: token 7 has expert 32, expected 0 to 31"},
        {"[-1, 3]", "token 7 has expert -1"},
        {"[9223372036854775807, 3]", "token 7 has expert 9223372036854775807"},
        {"[1.5, 3]", "an expert of token 7 is no whole number, expected 0 to 31"},
        {"[\"3\", 3]", "an expert of token 7 is no whole number"},
        {"[3, 3]", "token 7 has expert 3 twice, expected 2 different ones"},
        {"[3]", "token 7 has 1 experts in an array, expected 2, as token 0 has"},
        {"[1, 2, 3]", "token 7 has 3 experts in an array, expected 2"},
        {"{\"a\": 1}", "token 7 has 0 experts in an array, expected 2"},
        {"null", "token 7 has 0 experts in an array, expected 2"},
        {"[1, 2", "table.json, line "},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        write_table(VOCABULARY, rows[i][0]);
        assert_refused(1, rows[i][1]);
    }
    write_table(VOCABULARY - 1, NULL);
    assert_refused(1, "table.json has 1535 tokens, expected the 1536 of the model's vocabulary");
    write_table(VOCABULARY + 1, NULL);
    assert_refused(1, "table.json has 1537 tokens, expected the 1536");
    test_folder_write_text("table.json", "{\"experts\": []}");
    assert_refused(1, "table.json is no JSON array");
    test_folder_write_text("table.json", "");
    assert_refused(1, "table.json, line 1");
}

/* How many experts token 0 has is how many all have. */
static void a_table_of_no_or_too_many_experts_is_refused(void **state)
{
    char text[16 * VOCABULARY] = "[[]";
    (void)state;
    for (size_t i = 1; i < VOCABULARY; i++)
        strcat(text, ",[]");
    strcat(text, "]");
    test_folder_write_text("table.json", text);
    assert_refused(1, "token 0 has 0 experts in an array, expected 1 to 32");
    strcpy(text, "[[0");
    for (size_t i = 0; i < EXPERTS; i++)
        strcat(text, ",0");
    strcat(text, "]");
    for (size_t i = 1; i < VOCABULARY; i++)
        strcat(text, ",[]");
    strcat(text, "]");
    test_folder_write_text("table.json", text);
    assert_refused(1, "token 0 has 33 experts in an array, expected 1 to 32");
}

/* The arguments come after the table, so that a file which they name takes its place. */
static void a_table_beside_options_that_contradict_it_is_refused(void **state)
{
    static const struct {
        const char *command, *arguments[4];
        int code;
        const char *part;
    } cases[] = {
        {"run", {"-p", "a", "--router", "topk"}, 2, "goes with --router hash, not topk"},
        {"run",
         {"-p", "a", "--experts", "3"},
         1,
         "2 experts for each token, and --experts wants 3"},
        {"plan", {"--config", "dense-2b"}, 1, "the model has no routed experts"},
        {"bench", {"--config", "hash-2b"}, 1, "has 1536 tokens, expected the 8192"},
        {"study", {"active", "-f", "x"}, 2, "which active is to change"},
        {"study", {"mask", "-f", "x"}, 2, "which mask is to change"},
        {"study", {"shared", "-f", "x"}, 2, "which shared is to change"},
        {"run", {"-p", "a", "--router-table", "gone"}, 1, "cannot read gone"},
        {"run", {"-p", "a", "--router-table", ""}, 2, "--router-table: an empty name"},
    };
    (void)state;
    write_table(VOCABULARY, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct test_process p = {.folder = test_folder()};
        const char *const *a = cases[i].arguments;
        test_vkmoe(&p, cases[i].command, "--router-table", "table.json", a[0], a[1], a[2], a[3]);
        test_process_assert_sentence(&p, cases[i].code, cases[i].part);
        test_process_free(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FOLDER(every_token_goes_to_the_experts_that_the_file_gives_it),
        TEST_IN_FOLDER(studies_and_plans_go_by_the_table),
        TEST_IN_FOLDER(a_measurement_is_not_resumed_with_another_table),
        TEST_IN_FOLDER(a_table_that_does_not_fit_the_model_is_refused_with_its_place),
        TEST_IN_FOLDER(a_table_of_no_or_too_many_experts_is_refused),
        TEST_IN_FOLDER(a_table_beside_options_that_contradict_it_is_refused),
    };
    return cmocka_run_group_tests_name("router table", tests, measured_setup, measured_teardown);
}
