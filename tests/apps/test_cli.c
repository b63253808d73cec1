/* The command line program as scripts see it: stdout, stderr, exit codes, and what it leaves. */
#include "../golden/checkpoint.h"
#include "../golden/manifest.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "process.h"

static struct golden golden;
/* --- usage --- */

struct usage {
    const char *arguments[8];
    const char *part; /* of the sentence */
};

static const struct usage usages[] = {
    {{"frobnicate"}, "frobnicate"},
    {{"run"}, "-p TEXT or -f FILE"},
    {{"run", "-p", "a", "-f", "b"}, "-p or -f, not both"},
    {{"run", "-p", "a", "b"}, "'b'"},
    {{"run", "-p"}, "run: -p needs a value"},
    {{"run", "--chunk"}, "run: --chunk needs a value"},
    {{"run", "-p", "a", "-x"}, "run: '-x' is not an option; `vkmoe run --help`"},
    {{"run", "-p", "a", "--t", "1"}, "run: '--t' is not an option, or short for several"},
    {{"run", "-p", "a", "--force=1"}, "'--force=1' has a value, but --force takes none"},
    {{"run", "-p", "a", "-m", ""}, "-m: an empty name"},
    {{"info", "-m", ""}, "-m: an empty name"},
    {{"run", "-p", "a", "--device", ""}, "--device: an empty text"},
    {{"help", "frobnicate"}, "'frobnicate'"},
    {{"run", "-p", "a", "--frobnicate"}, "--frobnicate"},
    {{"run", "-p", "a", "-n", "many"}, "-n: 'many'"},
    {{"run", "-p", "a", "-n", "0"}, "-n: '0'"},
    {{"run", "-p", "a", "-n", "-1"}, "-n: '-1'"},
    {{"run", "-p", "a", "-n", "1x"}, "-n: '1x'"},
    {{"run", "-p", "a", "-n", "99999999999999999999"}, "-n: '99999999999999999999'"},
    {{"run", "-p", "a", "-c", "0"}, "-c: '0'"},
    {{"run", "-p", "a", "--temp", "hot"}, "--temp: 'hot'"},
    {{"run", "-p", "a", "--temp", "-1"}, "--temp: '-1'"},
    {{"run", "-p", "a", "--temp", "nan"}, "--temp: 'nan'"},
    {{"run", "-p", "a", "--seed", "x"}, "--seed: 'x'"},
    {{"run", "-p", "a", "--tiled-rows", "0"}, "--tiled-rows: '0'"},
    {{"logits", "-o", "x"}, "--tokens LIST or -p TEXT"},
    {{"logits", "--tokens", "1"}, "-o FILE"},
    {{"logits", "--tokens", "1", "-p", "a", "-o", "x"}, "--tokens or -p, not both"},
    {{"logits", "--tokens", "1,two", "-o", "x"}, "--tokens: 'two'"},
    {{"logits", "--tokens", "-1", "-o", "x"}, "--tokens: '-1'"},
    {{"logits", "--tokens", "99999999999", "-o", "x"}, "--tokens: '99999999999'"},
    {{"devices", "--frobnicate"}, "--frobnicate"},
    {{"devices", "all"}, "'all'"},
    {{"info", "all"}, "'all'"},
    {{"info", "-m", "a", "--config", "b"}, "-m or --config, not both"},
    {{"plan", "all"}, "'all'"},
    {{"plan", "-m", "a", "--config", "b"}, "-m or --config, not both"},
    {{"run", "-p", "a", "--chunk", "0"}, "--chunk: '0'"},
    {{"run", "-p", "a", "--experts", "0"}, "--experts: '0'"},
    {{"run", "-p", "a", "--weights", "q5"}, "--weights: 'q5' is not bf16, q8 or q4"},
    {{"chat", "--kv", "q4"}, "--kv: 'q4' is not f32, f16, bf16 or q8"},
    {{"run", "-p", "a", "--memory-limit", "lots"}, "--memory-limit: 'lots'"},
    {{"tokenize", "text"}, "'text'"},
    {{"detokenize", "--bos"}, "--bos"},
};

static void wrong_usage_is_one_sentence_that_names_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(usages) / sizeof(usages[0]); i++) {
        const char *const *a = usages[i].arguments;
        struct test_process p = {.folder = test_folder()};
        test_vkmoe(&p, a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]);
        test_process_assert_sentence(&p, 2, usages[i].part);
        test_process_free(&p);
    }
    assert_int_equal(test_folder_count(test_folder()), 0);
}

static void ids_with_a_zero_byte_are_refused(void **state)
{
    struct test_process p = {.input = "1 2\0 3", .input_size = 6};
    (void)state;
    test_vkmoe(&p, "detokenize");
    test_process_assert_sentence(&p, 1, "stdin: byte offset 3 is zero");
    test_process_free(&p);
}

static void a_folder_that_is_no_utf8_can_be_put_as_json(void **state)
{
    struct test_process p = {.folder = test_folder()};
    (void)state;
    assert_int_equal(symlink(VKMOE_TEST_MODEL, test_folder_path("m\xff")), 0);
    test_vkmoe(&p, "info", "-m", "m\xff", "--json");
    test_process_assert_code(&p, 0);
    json_t *root = json_loads(p.out, 0, NULL);
    assert_non_null(root);
    assert_string_equal(json_string_value(json_object_get(root, "model")), "m\xef\xbf\xbd");
    json_decref(root);
    test_process_free(&p);
}

static void the_version_is_a_result_and_help_has_two_spellings(void **state)
{
    struct test_process version = {0}, all = {0}, flag = {0}, run = {0}, run_flag = {0};
    (void)state;
    test_vkmoe(&version, "--version");
    test_process_assert_code(&version, 0);
    assert_string_equal(version.out, "vkmoe " VKMOE_VERSION "\n");
    test_vkmoe(&all, "help");
    test_vkmoe(&flag, "--help");
    test_process_assert_code(&all, 0);
    assert_string_equal(all.out, flag.out);
    test_vkmoe(&run, "help", "run");
    test_vkmoe(&run_flag, "run", "--help");
    test_process_assert_code(&run, 0);
    assert_string_equal(run.out, run_flag.out);
    test_process_free(&version);
    test_process_free(&all);
    test_process_free(&flag);
    test_process_free(&run);
    test_process_free(&run_flag);
}

static void help_is_a_result(void **state)
{
    static const char *const commands[] = {"run",  "chat",  "logits",   "devices",   "info",
                                           "plan", "bench", "tokenize", "detokenize"};
    static const char *const flags[] = {"-h", "--help"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct test_process all = {0};
        test_vkmoe(&all, flags[i]);
        test_process_assert_code(&all, 0);
        assert_string_equal(all.err, "");
        for (size_t j = 0; j < sizeof(commands) / sizeof(commands[0]); j++) {
            struct test_process p = {0};
            char start[64];
            test_vkmoe(&p, commands[j], flags[i]);
            test_process_assert_code(&p, 0);
            assert_string_equal(p.err, "");
            snprintf(start, sizeof(start), "usage: vkmoe %s ", commands[j]);
            assert_memory_equal(p.out, start, strlen(start));
            test_assert_part(all.out, commands[j]);
            test_process_free(&p);
        }
        test_process_free(&all);
    }
}

/* --- run --- */

/* The likeliest text after "ROMEO:\n". */
static const struct golden_greedy *romeo(void)
{
    assert_string_equal(golden.greedy[0].prompt, "ROMEO:\n");
    return &golden.greedy[0];
}

static void expect_text(const struct test_process *p, const char *text)
{
    size_t size = strlen(text);
    test_process_assert_code(p, 0);
    assert_int_equal(p->out_size, size + 1);
    assert_memory_equal(p->out, text, size);
    assert_int_equal(p->out[size], '\n');
}

static void run_needs_no_model_in_any_folder(void **state)
{
    struct test_process p = {.folder = test_folder()};
    (void)state;
    test_vkmoe(&p, "run", "-p", romeo()->prompt, "--temp", "0", "-n", "64");
    expect_text(&p, romeo()->text);
    test_process_free(&p);
}

static void run_prints_text_alone_and_tells_the_rest_on_stderr(void **state)
{
    struct test_process p = {0};
    (void)state;
    test_vkmoe(&p, "run", "-p", romeo()->prompt, "--temp", "0", "-n", "64", "-vv");
    expect_text(&p, romeo()->text);
    test_assert_part(p.err, "prompt 4 tokens");
    test_assert_part(p.err, "text 64 tokens");
    test_process_free(&p);
}

static void run_reads_its_prompt_from_stdin_or_a_file(void **state)
{
    const char *prompt = romeo()->prompt;
    (void)state;
    test_folder_write_text("prompt.txt", prompt);
    for (int i = 0; i < 2; i++) {
        struct test_process p = {
            .folder = test_folder(), .input = prompt, .input_size = i ? 0 : strlen(prompt)};
        test_vkmoe(&p, "run", "-f", i ? "prompt.txt" : "-", "--temp", "0", "-n", "64");
        expect_text(&p, romeo()->text);
        test_process_free(&p);
    }
}

static void run_uses_the_device_it_is_told_to(void **state)
{
    struct test_process p = {0};
    (void)state;
    test_vkmoe(&p, "run", "-p", romeo()->prompt, "--temp", "0", "-n", "64", "--device",
               "reference");
    expect_text(&p, romeo()->text);
    test_process_free(&p);
}

static void an_interrupt_keeps_the_text_so_far(void **state)
{
    struct test_process p = {0};
    (void)state;
    test_process_start(&p, (const char *const[]){VKMOE_PROGRAM, "run", "-p", romeo()->prompt,
                                                 "--temp", "0", "-n", "100000", "-c", "100000",
                                                 "--ignore-eos", NULL});
    size_t seen = 0;
    for (int i = 0; i < 24000 && seen < 30; i++) {
        usleep(5000);
        seen = test_process_written(&p);
    }
    kill(p.pid, SIGINT);
    test_process_wait(&p);
    test_process_assert_code(&p, 130);
    assert_true(seen >= 30 && p.out_size > seen);
    assert_int_equal(p.out[p.out_size - 1], '\n');
    size_t known = strlen(romeo()->text);
    assert_memory_equal(p.out, romeo()->text, p.out_size - 1 < known ? p.out_size - 1 : known);
    test_assert_part(p.err, "text ");
    test_process_free(&p);
}

static void lost_output_is_a_failure(void **state)
{
    static const enum test_output outputs[] = {TEST_OUTPUT_UNREAD, TEST_OUTPUT_CLOSED,
                                               TEST_OUTPUT_FULL};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct test_process p = {.output = outputs[i]};
        test_vkmoe(&p, "run", "-p", romeo()->prompt, "-n", "50");
        test_process_assert_sentence(&p, 1, "stdout");
        test_process_free(&p);
    }
    for (size_t i = 1; i < 3; i++) {
        struct test_process help = {.output = outputs[i]}, devices = {.output = outputs[i]};
        struct test_process text = {.output = outputs[i], .input = "text", .input_size = 4};
        test_vkmoe(&help, "run", "-h");
        test_process_assert_sentence(&help, 1, "stdout");
        test_vkmoe(&devices, "devices", "--json");
        test_process_assert_sentence(&devices, 1, "stdout");
        test_vkmoe(&text, "tokenize");
        test_process_assert_sentence(&text, 1, "stdout");
        test_process_free(&help);
        test_process_free(&devices);
        test_process_free(&text);
    }
}

/* --- failures --- */

static const char *const model_files[] = {"config.json", "generation_config.json",
                                          "model.safetensors", "tokenizer.json",
                                          "tokenizer_config.json"};

/* Makes the test's folder a copy of the shipped model, but for one file. */
static void copy_model_without(const char *left_out)
{
    for (size_t i = 0; i < sizeof(model_files) / sizeof(model_files[0]); i++) {
        char from[4096];
        snprintf(from, sizeof(from), "%s/%s", VKMOE_TEST_MODEL, model_files[i]);
        if (strcmp(model_files[i], left_out) != 0)
            assert_int_equal(symlink(from, test_folder_path(model_files[i])), 0);
    }
}

static void expect_run_fails(const char *model, const char *part)
{
    struct test_process p = {0};
    test_vkmoe(&p, "run", "-m", model, "-p", "a", "-n", "2");
    test_process_assert_sentence(&p, 1, part);
    test_process_free(&p);
}

static void a_model_that_is_not_there_is_named(void **state)
{
    (void)state;
    expect_run_fails("/nowhere/at/all", "/nowhere/at/all");
    expect_run_fails(test_folder(), test_folder());
}

static void each_file_that_is_missing_is_named(void **state)
{
    static const char *const needed[] = {"config.json", "model.safetensors", "tokenizer.json"};
    (void)state;
    copy_model_without("");
    for (size_t i = 0; i < 3; i++) {
        const char *file = test_folder_path(needed[i]), *away = test_folder_path("away");
        assert_int_equal(rename(file, away), 0);
        expect_run_fails(test_folder(), needed[i]);
        assert_int_equal(rename(away, file), 0);
    }
}

static void a_truncated_checkpoint_is_named(void **state)
{
    static char bytes[100000];
    (void)state;
    copy_model_without("model.safetensors");
    FILE *whole = fopen(VKMOE_TEST_MODEL "/model.safetensors", "rb");
    assert_non_null(whole);
    assert_int_equal(fread(bytes, 1, sizeof(bytes), whole), sizeof(bytes));
    fclose(whole);
    test_folder_write("model.safetensors", bytes, sizeof(bytes));
    expect_run_fails(test_folder(), test_folder_path("model.safetensors"));
    test_folder_write("model.safetensors", bytes, 100);
    expect_run_fails(test_folder(), test_folder_path("model.safetensors"));
}

static void a_broken_configuration_is_named(void **state)
{
    static const char *const texts[] = {"", "{", "[]", "{\"hidden_size\": \"wide\"}"};
    (void)state;
    copy_model_without("config.json");
    for (size_t i = 0; i < 4; i++) {
        test_folder_write_text("config.json", texts[i]);
        expect_run_fails(test_folder(), test_folder_path("config.json"));
    }
}

static void a_missing_tensor_is_named(void **state)
{
    const struct test_shape shape =
        test_shape_complete(&(struct test_shape){.missing = "model.norm.weight"});
    (void)state;
    checkpoint_write(&shape, test_folder());
    assert_int_equal(
        symlink(VKMOE_TEST_MODEL "/tokenizer.json", test_folder_path("tokenizer.json")), 0);
    expect_run_fails(test_folder(), "model.norm.weight");
}

static void what_was_asked_for_wrongly_is_named(void **state)
{
    static const struct usage failures[] = {
        {{"run", "-p", "a", "--device", "voodoo"}, "voodoo"},
        {{"run", "-p", "ab\xff", "-n", "2"}, "byte offset 2"},
        {{"run", "-f", "no-such-file"}, "no-such-file"},
        {{"run", "-f", "."}, "."},
        {{"run", "-p", "a b c d e f g", "-c", "2"}, "2 tokens"},
        {{"logits", "--tokens", "1,1536", "-o", "out"}, "1536"},
        {{"logits", "--tokens", "", "-o", "out"}, "no tokens"},
        {{"logits", "-p", "\xc3", "-o", "out"}, "byte offset 0"},
        {{"logits", "--tokens", "1", "-o", "nowhere/out"}, "nowhere/out"},
        {{"logits", "--tokens", "1", "-o", "."}, "."},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
        const char *const *a = failures[i].arguments;
        struct test_process p = {.folder = test_folder()};
        test_vkmoe(&p, a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]);
        test_process_assert_sentence(&p, 1, failures[i].part);
        test_process_free(&p);
        assert_int_equal(test_folder_count(test_folder()), 0);
    }
}

static void a_full_disk_leaves_the_old_file_alone(void **state)
{
    struct test_process p = {.folder = test_folder(), .file_limit = 5000};
    struct test_process good = {.folder = test_folder()};
    (void)state;
    test_folder_write_text("out", "old");
    test_vkmoe(&p, "logits", "--tokens", "1,2", "-o", "out", "--reference");
    test_process_assert_sentence(&p, 1, "out");
    assert_int_equal(test_folder_count(test_folder()), 1);
    size_t size;
    char *text = test_file_read(test_folder_path("out"), &size);
    assert_int_equal(size, 3);
    assert_string_equal(text, "old");
    free(text);
    test_vkmoe(&good, "logits", "--tokens", "1,2", "-o", "out", "--reference");
    test_process_assert_code(&good, 0);
    assert_int_equal(test_folder_count(test_folder()), 1);
    struct test_trace t = test_trace_read(test_folder_path("out"));
    assert_int_equal(t.count, 2);
    test_trace_free(&t);
    test_process_free(&p);
    test_process_free(&good);
}

/* --- devices --- */

static void devices_are_listed_as_json_with_one_default(void **state)
{
    struct test_process p = {0};
    size_t defaults = 0;
    (void)state;
    test_vkmoe(&p, "devices", "--json");
    test_process_assert_code(&p, 0);
    json_t *root = json_loads(p.out, 0, NULL);
    assert_non_null(root);
    const json_t *devices = json_object_get(root, "devices");
    assert_true(json_array_size(devices) > 0);
    for (size_t i = 0; i < json_array_size(devices); i++) {
        const json_t *device = json_array_get(devices, i);
        assert_int_equal(json_integer_value(json_object_get(device, "index")), i);
        assert_true(strlen(json_string_value(json_object_get(device, "name"))) > 0);
        assert_true(strlen(json_string_value(json_object_get(device, "reason"))) > 0);
        assert_true(json_array_size(json_object_get(device, "heaps")) > 0);
        defaults += json_is_true(json_object_get(device, "default"));
    }
    assert_int_equal(defaults, 1);
    json_decref(root);
    test_process_free(&p);
}

static void a_device_answers_to_its_uuid_and_name(void **state)
{
    struct test_process p = {0};
    (void)state;
    test_vkmoe(&p, "devices", "--json");
    test_process_assert_code(&p, 0);
    json_t *root = json_loads(p.out, 0, NULL);
    const json_t *devices = json_object_get(root, "devices");
    const json_t *device = json_array_get(devices, 0);
    static const char *const keys[] = {"uuid", "name"};
    /* Of several devices some may share both. */
    for (size_t i = 0; i < 2 && json_array_size(devices) == 1; i++) {
        struct test_process run = {0};
        test_vkmoe(&run, "run", "-p", "a", "-n", "2", "--device",
                   json_string_value(json_object_get(device, keys[i])));
        test_process_assert_code(&run, 0);
        test_process_free(&run);
    }
    json_decref(root);
    test_process_free(&p);
}

/* --- tokenize, detokenize --- */

static void tokens_are_one_line_and_give_the_text_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < golden.n_cases; i++) {
        const struct golden_case *c = &golden.cases[i];
        struct test_process ids = {.input = c->text, .input_size = strlen(c->text)};
        test_vkmoe(&ids, "tokenize");
        test_process_assert_code(&ids, 0);
        assert_string_equal(ids.err, "");
        const char *at = ids.out;
        for (size_t j = 1; j < c->n_ids; j++) { /* after BOS */
            char *end;
            assert_int_equal(strtol(at, &end, 10), c->ids[j]);
            assert_int_equal(*end, j + 1 < c->n_ids ? ' ' : '\n');
            at = end;
        }
        assert_string_equal(at, "\n");
        struct test_process back = {.input = ids.out, .input_size = ids.out_size};
        test_vkmoe(&back, "detokenize");
        test_process_assert_code(&back, 0);
        assert_string_equal(back.err, "");
        assert_int_equal(back.out_size, strlen(c->text));
        assert_memory_equal(back.out, c->text, back.out_size);
        test_process_free(&ids);
        test_process_free(&back);
    }
}

static void the_first_token_is_bos_where_asked_for(void **state)
{
    struct test_process p = {.input = "ROMEO:\n", .input_size = 7};
    (void)state;
    test_vkmoe(&p, "tokenize", "--bos");
    test_process_assert_code(&p, 0);
    assert_string_equal(p.out, "1534 887 58 10\n");
    test_process_free(&p);
}

static void what_stands_for_no_token_is_named(void **state)
{
    struct test_process word = {.input = "1 two 3", .input_size = 7};
    struct test_process number = {.input = "1 1536", .input_size = 6};
    struct test_process text = {.input = "a\xff", .input_size = 2};
    (void)state;
    test_vkmoe(&word, "detokenize");
    test_process_assert_sentence(&word, 1, "two");
    test_vkmoe(&number, "detokenize");
    test_process_assert_sentence(&number, 1, "1536");
    test_vkmoe(&text, "tokenize");
    test_process_assert_sentence(&text, 1, "byte offset 1");
    test_process_free(&word);
    test_process_free(&number);
    test_process_free(&text);
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
    golden_free(&golden);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FOLDER(wrong_usage_is_one_sentence_that_names_it),
        TEST_IN_FOLDER(the_version_is_a_result_and_help_has_two_spellings),
        TEST_IN_FOLDER(ids_with_a_zero_byte_are_refused),
        TEST_IN_FOLDER(a_folder_that_is_no_utf8_can_be_put_as_json),
        TEST_IN_FOLDER(help_is_a_result),
        TEST_IN_FOLDER(run_needs_no_model_in_any_folder),
        TEST_IN_FOLDER(run_prints_text_alone_and_tells_the_rest_on_stderr),
        TEST_IN_FOLDER(run_reads_its_prompt_from_stdin_or_a_file),
        TEST_IN_FOLDER(run_uses_the_device_it_is_told_to),
        TEST_IN_FOLDER(an_interrupt_keeps_the_text_so_far),
        TEST_IN_FOLDER(lost_output_is_a_failure),
        TEST_IN_FOLDER(a_model_that_is_not_there_is_named),
        TEST_IN_FOLDER(each_file_that_is_missing_is_named),
        TEST_IN_FOLDER(a_truncated_checkpoint_is_named),
        TEST_IN_FOLDER(a_broken_configuration_is_named),
        TEST_IN_FOLDER(a_missing_tensor_is_named),
        TEST_IN_FOLDER(what_was_asked_for_wrongly_is_named),
        TEST_IN_FOLDER(a_full_disk_leaves_the_old_file_alone),
        TEST_IN_FOLDER(devices_are_listed_as_json_with_one_default),
        TEST_IN_FOLDER(a_device_answers_to_its_uuid_and_name),
        TEST_IN_FOLDER(tokens_are_one_line_and_give_the_text_back),
        TEST_IN_FOLDER(the_first_token_is_bos_where_asked_for),
        TEST_IN_FOLDER(what_stands_for_no_token_is_named),
    };
    return cmocka_run_group_tests_name("cli", tests, load, unload);
}
