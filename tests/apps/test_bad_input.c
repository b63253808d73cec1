/* Bad input as users meet it: each ends with exit code 1 (2 for usage), nothing on stdout and one
 * sentence on stderr that names what is wrong. */
#include "broken_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "process.h"

static void the_model_that_the_other_tests_break_works(void **state)
{
    struct test_process p = {0};
    (void)state;
    test_vkmoe(&p, "run", "-m", test_folder(), "-p", "a", "-n", "2", "--temp", "0");
    test_process_assert_code(&p, 0);
    assert_true(p.out_size > 0);
    test_process_free(&p);
}

/* --- devices --- */

static void without_a_vulkan_loader_one_is_asked_for(void **state)
{
    struct test_process p = {.variables = {{"LD_LIBRARY_PATH", test_folder()}}};
    (void)state;
    test_folder_write_text("libvulkan.so.1", "not a library, so that none is loaded");
    test_folder_write_text("libvulkan.so", "not a library, so that none is loaded");
    test_vkmoe(&p, "run", "-p", "a");
    test_process_assert_sentence(&p, 1, "no Vulkan loader (libvulkan.so.1)");
    test_process_free(&p);
}

static void without_a_driver_one_is_asked_for(void **state)
{
    static const char *const commands[][3] = {{"run", "-p", "a"}, {"devices", NULL, NULL}};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct test_process p = {.variables = {{"VK_DRIVER_FILES", "/nowhere/icd.json"},
                                               {"VK_ICD_FILENAMES", "/nowhere/icd.json"}}};
        test_vkmoe(&p, commands[i][0], commands[i][1], commands[i][2]);
        test_process_assert_sentence(&p, 1, "no Vulkan d");
        test_process_free(&p);
    }
}

static void an_unknown_device_is_named(void **state)
{
    static const char *const unknown[] = {
        "voodoo", "99", "4294967296", "-1", "00000000-0000-0000-0000-000000000000", "a\nb\xff"};
    static const char *const shown[] = {
        "voodoo", "99", "4294967296", "-1", "00000000-0000-0000-0000-000000000000", "a?b?"};
    (void)state;
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        struct test_process flag = {0}, variable = {.variables = {{"VKMOE_DEVICE", unknown[i]}}};
        test_vkmoe(&flag, "run", "-p", "a", "--device", unknown[i]);
        test_process_assert_sentence(&flag, 1, shown[i]);
        test_vkmoe(&variable, "run", "-p", "a");
        test_process_assert_sentence(&variable, 1, shown[i]);
        test_process_free(&flag);
        test_process_free(&variable);
    }
}

static void a_path_that_is_not_there_is_named(void **state)
{
    static const char *const wrong[][2] = {
        {"int8", "--paths: found 'int8', expected"},
        {"+warp", "--paths: there is no 'warp', expected one of base"},
        {"-base", "--paths: found -base"},
        {"+int8,\n", "--paths: found '?', expected"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct test_process p = {0};
        test_vkmoe(&p, "run", "-p", "a", "--paths", wrong[i][0]);
        test_process_assert_sentence(&p, 2, wrong[i][1]);
        test_process_free(&p);
    }
}

/* --- flags and prompts --- */

static void every_absurd_number_is_refused_with_its_flag(void **state)
{
    static const char *const flags[] = {"-n", "-c", "--seed", "--tiled-rows", "--temp"};
    static const char *const absurd[] = {
        "",    " ",   "-1",   "-",        "1e999", "nan", "inf", "1,5",
        "1 2", "1\n", "\xff", "\xd9\xa3", "$(1)",  "--",  "0b1", "99999999999999999999x"};
    (void)state;
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        for (size_t k = 0; k < sizeof(absurd) / sizeof(absurd[0]); k++) {
            struct test_process p = {0};
            test_vkmoe(&p, "run", "-p", "a", flags[i], absurd[k]);
            test_process_assert_sentence(&p, 2, flags[i]);
            test_process_free(&p);
        }
    }
}

static void a_number_out_of_range_is_refused_with_the_range(void **state)
{
    static const struct {
        const char *flag, *value, *range;
    } cases[] = {
        {"-n", "0", "1 to 16777216"},
        {"-n", "16777217", "1 to 16777216"},
        {"-c", "0", "1 to 16777216"},
        {"-c", "18446744073709551616", "1 to 16777216"},
        {"--seed", "18446744073709551616", "0 to 18446744073709551615"},
        {"--tiled-rows", "0", "1 to 4294967295"},
        {"--tiled-rows", "4294967296", "1 to 4294967295"},
        {"--temp", "1000.1", "0 to 1000"},
        {"--temp", "-0.001", "0 to 1000"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct test_process p = {0};
        test_vkmoe(&p, "run", "-p", "a", cases[i].flag, cases[i].value);
        test_process_assert_sentence(&p, 2, cases[i].range);
        test_process_assert_sentence(&p, 2, cases[i].value);
        test_process_free(&p);
    }
}

static void a_prompt_that_cannot_be_continued_is_refused(void **state)
{
    static const char *const prompts[][2] = {
        {"", "empty"},
        {"ab\xc3", "not UTF-8 at byte offset 2"},
        {"\xed\xa0\x80", "not UTF-8 at byte offset 0"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(prompts) / sizeof(prompts[0]); i++) {
        struct test_process flag = {0}, file = {.folder = test_folder()};
        test_folder_write_text("prompt.txt", prompts[i][0]);
        test_vkmoe(&flag, "run", "-p", prompts[i][0]);
        test_process_assert_sentence(&flag, 1, prompts[i][1]);
        test_vkmoe(&file, "run", "-f", "prompt.txt");
        test_process_assert_sentence(&file, 1, prompts[i][1]);
        test_process_free(&flag);
        test_process_free(&file);
    }
}

static void a_prompt_longer_than_the_context_is_refused_with_both_sizes(void **state)
{
    static char prompt[40001];
    struct test_process p = {0};
    (void)state;
    memset(prompt, 'q', sizeof(prompt) - 1);
    test_vkmoe(&p, "run", "-m", test_folder(), "-p", prompt, "-c", "64");
    test_process_assert_sentence(&p, 1, "context of 64 tokens");
    test_process_assert_sentence(&p, 1, "-c ");
    test_process_free(&p);
}

static void text_that_is_no_utf8_is_refused_where_it_is(void **state)
{
    struct test_process prompt = {0}, file = {.folder = test_folder()}, system = {0}, logits = {0};
    struct test_process in = {.input = "a\xff", .input_size = 2};
    (void)state;
    test_folder_write_text("prompt.txt", "ab\xff");
    test_vkmoe(&prompt, "run", "-p", "ab\xff");
    test_process_assert_sentence(&prompt, 1, "-p: the text is not UTF-8 at byte offset 2");
    test_vkmoe(&file, "run", "-f", "prompt.txt");
    test_process_assert_sentence(&file, 1, "prompt.txt: the text is not UTF-8 at byte offset 2");
    test_vkmoe(&system, "chat", "--system", "abc\xff");
    test_process_assert_sentence(&system, 1, "--system: the text is not UTF-8 at byte offset 3");
    test_vkmoe(&logits, "logits", "-p", "\xff", "-o", "nowhere/x");
    test_process_assert_sentence(&logits, 1, "-p: the text is not UTF-8 at byte offset 0");
    test_vkmoe(&in, "tokenize");
    test_process_assert_sentence(&in, 1, "stdin: the text is not UTF-8 at byte offset 1");
    test_process_free(&prompt);
    test_process_free(&file);
    test_process_free(&system);
    test_process_free(&logits);
    test_process_free(&in);
}

static void a_flag_without_effect_is_said(void **state)
{
    struct test_process p = {0}, given = {0};
    (void)state;
    test_vkmoe(&p, "run", "-m", test_folder(), "-p", "a", "-n", "1", "--top-k", "5", "--seed", "1");
    test_process_assert_code(&p, 0);
    assert_non_null(strstr(p.err, "vkmoe: --top-k, --seed: no effect at temperature 0"));
    test_vkmoe(&given, "run", "-m", test_folder(), "-p", "a", "-n", "1", "--top-k", "5", "--temp",
               "1");
    test_process_assert_code(&given, 0);
    assert_null(strstr(given.err, "no effect"));
    test_process_free(&p);
    test_process_free(&given);
}

/* --- folders --- */

static void a_model_that_cannot_be_opened_is_named(void **state)
{
    static char endless[5001];
    char file[4096], loop[4096];
    (void)state;
    memset(endless, 'x', sizeof(endless) - 1);
    snprintf(file, sizeof(file), "%s/config.json", test_folder());
    snprintf(loop, sizeof(loop), "%s/loop", test_folder());
    assert_int_equal(symlink("loop", loop), 0);
    broken_model_expect("nosuch", "nosuch: there is no such folder", NULL);
    broken_model_expect(file, file, NULL);
    broken_model_expect(loop, loop, NULL);
    broken_model_expect(endless, "xxx...", NULL);
    broken_model_expect("/no\nwhere\xff/\x1b[31m", "/no?where?/?[31m: there is no such folder",
                        NULL);
}

static void a_folder_or_pipe_in_place_of_a_file_is_named(void **state)
{
    static const char *const files[] = {"config.json", "model.safetensors", "tokenizer.json"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        char away[4096];
        const char *path = test_folder_path(files[i]);
        snprintf(away, sizeof(away), "%s/away", test_folder());
        assert_int_equal(rename(path, away), 0);
        assert_int_equal(mkdir(path, 0700), 0);
        broken_model_expect(test_folder(), files[i], "not a regular file");
        assert_int_equal(rmdir(test_folder_path(files[i])), 0);
        assert_int_equal(mkfifo(test_folder_path(files[i]), 0600), 0);
        broken_model_expect(test_folder(), files[i], "not a regular file");
        assert_int_equal(rename(away, test_folder_path(files[i])), 0);
    }
}

/* --- config.json --- */

static void a_configuration_that_no_model_can_have_is_refused_by_key(void **state)
{
    static const struct {
        const char *key, *value, *part;
    } cases[] = {
        {"model_type", "\"deepseek_v2\"", "model_type is \"deepseek_v2\", expected deepseek"},
        {"model_type", "\"a\\nb\\u001b[31m\"", "model_type is \"a?b?[31m\""},
        {"architectures", "[\"LlamaForCausalLM\"]", "LlamaForCausalLM"},
        {"num_attention_heads", "7", "num_attention_heads of 7"},
        {"num_attention_heads", "0", "num_attention_heads is 0"},
        {"num_key_value_heads", "3", "num_key_value_heads is 3"},
        {"num_experts_per_tok", "9", "n_routed_experts of 8"},
        {"num_experts_per_tok", "0", "num_experts_per_tok is 0"},
        {"hidden_size", "-64", "hidden_size is -64"},
        {"hidden_size", "64.0", "hidden_size is the real number 64"},
        {"hidden_size", "64.5", "hidden_size is the real number 64.5"},
        {"hidden_size", "1e300", "hidden_size is the real number 1e+300"},
        {"hidden_size", "\"64\"", "hidden_size is \"64\""},
        {"hidden_size", "9223372036854775807", "hidden_size is 9223372036854775807"},
        {"hidden_size", NULL, "hidden_size is absent"},
        {"num_hidden_layers", "1000000", "num_hidden_layers is 1000000"},
        {"n_routed_experts", "1025", "n_routed_experts is 1025"},
        {"moe_intermediate_size", "-1", "moe_intermediate_size is -1"},
        {"vocab_size", "0.5", "vocab_size is the real number 0.5"},
        {"rms_norm_eps", "-1e-5", "rms_norm_eps is"},
        {"rms_norm_eps", "1e300", "rms_norm_eps is the real number 1e+300"},
        {"rope_theta", "1e300", "rope_theta is the real number 1e+300"},
        {"rope_scaling", "{\"type\": \"yarn\", \"factor\": 4}", "\"yarn\""},
        {"max_position_embeddings", "-1", "max_position_embeddings is -1"},
        {"eos_token_id", "1536", "eos_token_id is 1536"},
        {"norm_topk_prob", "1", "norm_topk_prob is 1, expected true or false"},
        {"vkmoe_router", "\"best\"", "vkmoe_router is \"best\", expected topk, hash or dense"},
        {"vkmoe_router", "\"dense\"",
         "expected the n_routed_experts of 8, as vkmoe_router is dense"},
    };
    (void)state;
    json_t *good = broken_model_json("config.json");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        broken_model_write_json("config.json", json_deep_copy(good));
        broken_model_configure(cases[i].key, cases[i].value);
        broken_model_expect(test_folder(), test_folder_path("config.json"), cases[i].part);
    }
    json_decref(good);
}

static void json_that_is_none_is_refused_with_its_place(void **state)
{
    static const char *const files[] = {"config.json", "generation_config.json", "tokenizer.json",
                                        "tokenizer_config.json"};
    static const char *const texts[][2] = {{"", "line 1"},
                                           {"{", "line 1"},
                                           {"{\"a\":1,\n}", "line 2"},
                                           {"[]", "an array"},
                                           {"{\"a\":1}x", "line 1"},
                                           {"{\"a\":1,\"a\":2}", "duplicate"},
                                           {"{\"\xff\":1}", "decode byte 0xff"},
                                           {"{\"a\":1e999}", "line 1"}};
    (void)state;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        for (size_t k = 0; k < sizeof(texts) / sizeof(texts[0]); k++) {
            test_folder_write_text(files[i], texts[k][0]);
            broken_model_expect(test_folder(), test_folder_path(files[i]), texts[k][1]);
        }
        broken_model_write(&broken_model_shape);
        unlink(test_folder_path("generation_config.json"));
    }
}

static void a_model_or_context_beyond_memory_is_refused(void **state)
{
    static const char header[] =
        "{\"model.embed_tokens.weight\":{\"dtype\":\"BF16\",\"shape\":[16777216,4096],"
        "\"data_offsets\":[0,137438953472]}}";
    char bytes[8 + sizeof(header) - 1] = {sizeof(header) - 1};
    struct test_process p = {0};
    (void)state;
    test_vkmoe(&p, "run", "-m", test_folder(), "-p", "a", "-c", "16777216");
    test_process_assert_sentence(&p, 1, "KV cache");
    test_process_free(&p);
    memcpy(bytes + 8, header, sizeof(header) - 1);
    test_folder_write("model.safetensors", bytes, sizeof(bytes));
    assert_int_equal(
        truncate(test_folder_path("model.safetensors"), (off_t)sizeof(bytes) + 137438953472),
        0); /* holes take no space */
    broken_model_configure("vocab_size", "16777216");
    broken_model_configure("hidden_size", "4096");
    broken_model_expect(test_folder(), "model.embed_tokens", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BROKEN_MODEL_TEST(the_model_that_the_other_tests_break_works),
        BROKEN_MODEL_TEST(without_a_vulkan_loader_one_is_asked_for),
        BROKEN_MODEL_TEST(without_a_driver_one_is_asked_for),
        BROKEN_MODEL_TEST(an_unknown_device_is_named),
        cmocka_unit_test(a_path_that_is_not_there_is_named),
        BROKEN_MODEL_TEST(every_absurd_number_is_refused_with_its_flag),
        BROKEN_MODEL_TEST(a_number_out_of_range_is_refused_with_the_range),
        BROKEN_MODEL_TEST(a_prompt_that_cannot_be_continued_is_refused),
        BROKEN_MODEL_TEST(a_prompt_longer_than_the_context_is_refused_with_both_sizes),
        BROKEN_MODEL_TEST(text_that_is_no_utf8_is_refused_where_it_is),
        BROKEN_MODEL_TEST(a_flag_without_effect_is_said),
        BROKEN_MODEL_TEST(a_model_that_cannot_be_opened_is_named),
        BROKEN_MODEL_TEST(a_folder_or_pipe_in_place_of_a_file_is_named),
        BROKEN_MODEL_TEST(a_configuration_that_no_model_can_have_is_refused_by_key),
        BROKEN_MODEL_TEST(json_that_is_none_is_refused_with_its_place),
        BROKEN_MODEL_TEST(a_model_or_context_beyond_memory_is_refused),
    };
    return cmocka_run_group_tests_name("bad input", tests, NULL, NULL);
}
