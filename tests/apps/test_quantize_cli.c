/* vkmoe quantize as users meet it: what it writes runs, and what it refuses or leaves half done
 * leaves nothing. */
#include <dirent.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "process.h"
#include "support.h"

static json_t *json_of(struct test_process *p)
{
    test_process_assert_code(p, 0);
    json_t *root = json_loads(p->out, 0, NULL);
    assert_non_null(root);
    test_process_free(p);
    return root;
}

static void quantize(const char *weights, const char *out)
{
    struct test_process p = {0};
    test_vkmoe(&p, "quantize", "--weights", weights, "-o", out);
    test_process_assert_code(&p, 0);
    assert_string_equal(p.out, "");
    assert_string_equal(p.err, "");
    test_process_free(&p);
}

static void what_is_written_runs_like_what_is_quantised_while_loading(void **state)
{
    static const char *const kinds[] = {"q8", "q4"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct test_process loading = {0}, written = {0};
        const char *out = test_folder_path(kinds[i]);
        quantize(kinds[i], out);
        test_vkmoe(&loading, "run", "-p", "ROMEO:\n", "--temp", "0", "-n", "24", "--weights",
                   kinds[i]);
        test_vkmoe(&written, "run", "-m", out, "-p", "ROMEO:\n", "--temp", "0", "-n", "24");
        test_process_assert_code(&loading, 0);
        test_process_assert_code(&written, 0);
        assert_string_equal(written.out, loading.out);
        test_process_free(&loading);
        test_process_free(&written);
    }
}

static void it_is_told_what_the_weights_are(void **state)
{
    struct test_process p = {0};
    const char *out = test_folder_path("out");
    (void)state;
    quantize("q4", out);
    test_vkmoe(&p, "info", "-m", out);
    test_process_assert_code(&p, 0);
    test_assert_part(p.out, "quantised        to q4");
    test_assert_part(p.out, "316 tensors of Q4");
    test_process_free(&p);
    test_vkmoe(&p, "info", "--json", "-m", out);
    json_t *root = json_of(&p);
    assert_string_equal(json_string_value(json_object_get(root, "quantised")), "q4");
    json_decref(root);
    test_vkmoe(&p, "plan", "-m", out);
    test_process_assert_code(&p, 0);
    test_assert_part(p.out, "weights as q4, context 512");
    test_process_free(&p);
    test_vkmoe(&p, "plan", "--json", "-m", out);
    root = json_of(&p);
    assert_string_equal(json_string_value(json_object_get(root, "weights")), "q4");
    json_decref(root);
    test_vkmoe(&p, "bench", "-m", out, "-p", "4", "-n", "2", "-r", "1");
    test_process_assert_code(&p, 0);
    test_assert_part(p.out, ", weights as q4, KV cache in f32\n");
    test_process_free(&p);
    test_vkmoe(&p, "bench", "--json", "-m", out, "-p", "4", "-n", "2", "-r", "1");
    root = json_of(&p);
    assert_string_equal(json_string_value(json_object_get(root, "weights")), "q4");
    json_decref(root);
    test_vkmoe(&p, "run", "-m", out, "-p", "ROMEO:", "-n", "1", "-v");
    test_process_assert_code(&p, 0);
    test_assert_part(p.err, "the weights were quantised before, as Q4");
    test_process_free(&p);
    test_vkmoe(&p, "run", "-m", out, "-p", "ROMEO:", "-n", "1", "--weights", "q8");
    test_process_assert_code(&p, 0);
    test_assert_part(p.err, "quantised as Q4 already and used as they are");
    test_process_free(&p);
}

/* The other files are those of the model, config.json but for one key. */
static void the_folder_is_the_models_otherwise(void **state)
{
    static const char *const same[] = {"tokenizer.json", "tokenizer_config.json",
                                       "generation_config.json"};
    char path[4200];
    size_t size, copied;
    (void)state;
    quantize("q8", test_folder_path("out"));
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s/%s", VKMOE_TEST_MODEL, same[i]);
        char *text = test_file_read(path, &size);
        snprintf(path, sizeof(path), "%s/%s", test_folder_path("out"), same[i]);
        char *copy = test_file_read(path, &copied);
        assert_int_equal(size, copied);
        assert_memory_equal(text, copy, size);
        free(text);
        free(copy);
    }
    json_t *before = json_load_file(VKMOE_TEST_MODEL "/config.json", 0, NULL);
    json_t *after = json_load_file(test_folder_path("out/config.json"), 0, NULL);
    const json_t *added = json_object_get(after, "quantization_config");
    assert_string_equal(json_string_value(json_object_get(added, "quant_method")), "vkmoe");
    assert_string_equal(json_string_value(json_object_get(added, "weights")), "q8");
    json_object_del(after, "quantization_config");
    assert_true(json_equal(before, after));
    json_decref(before);
    json_decref(after);
}

static void shards_have_an_index(void **state)
{
    struct test_process p = {0};
    const char *out = test_folder_path("out");
    (void)state;
    test_vkmoe(&p, "quantize", "--weights", "q8", "-o", out, "--shard-size", "4M");
    test_process_assert_code(&p, 0);
    test_process_free(&p);
    assert_int_equal(access(test_folder_path("out/model-00001-of-00003.safetensors"), F_OK), 0);
    json_t *index = json_load_file(test_folder_path("out/model.safetensors.index.json"), 0, NULL);
    assert_int_equal(json_object_size(json_object_get(index, "weight_map")), 330);
    json_decref(index);
    test_vkmoe(&p, "info", "-m", out);
    test_process_assert_code(&p, 0);
    test_process_free(&p);
}

static void no_vulkan_device_is_needed(void **state)
{
    struct test_process p = {
        .variables = {{"VK_DRIVER_FILES", "/nonexistent"}, {"VK_LOADER_DRIVERS_DISABLE", "*"}}};
    (void)state;
    test_vkmoe(&p, "quantize", "--weights", "q8", "-o", test_folder_path("out"));
    test_process_assert_code(&p, 0);
    test_process_free(&p);
    assert_int_equal(access(test_folder_path("out/model.safetensors"), F_OK), 0);
}

/* --- refusals --- */

static void wrong_usage_is_told(void **state)
{
    static const struct {
        const char *argv[8];
        const char *part;
    } cases[] = {
        {{"quantize", "-o", "x"}, "--weights q8 or --weights q4 is needed"},
        {{"quantize", "--weights", "q8"}, "-o FOLDER is needed"},
        {{"quantize", "--weights", "q8", "-o", ""}, "-o FOLDER is needed"},
        {{"quantize", "--weights", "bf16", "-o", "x"}, "expected q8 or q4"},
        {{"quantize", "--weights", "q5", "-o", "x"}, "'q5' is not bf16, q8 or q4"},
        {{"quantize", "--weights", "q8", "-o", "x", "y"}, "'y' is not an option"},
        {{"quantize", "--weights", "q8", "-o", "x", "--shard-size", "0"}, "--shard-size"},
        {{"quantize", "--device", "0"}, "--device"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct test_process p = {.folder = test_folder()};
        const char *argv[10] = {VKMOE_PROGRAM};
        memcpy(argv + 1, cases[i].argv, sizeof(cases[i].argv));
        test_process_run(&p, argv);
        test_process_assert_sentence(&p, 2, cases[i].part);
        test_process_free(&p);
    }
    assert_int_equal(test_folder_count(test_folder()), 0);
}

static void expect_refused(const char *model, const char *out, const char *part)
{
    struct test_process p = {0};
    test_vkmoe(&p, "quantize", "-m", model, "--weights", "q8", "-o", out);
    test_process_assert_sentence(&p, 1, part);
    test_process_free(&p);
}

static void what_cannot_be_done_is_one_sentence_and_leaves_nothing(void **state)
{
    const char *done = test_folder_path("done"), *out = test_folder_path("out");
    (void)state;
    quantize("q8", done);
    test_folder_write_text("a.gguf", "GGUF");
    expect_refused(VKMOE_TEST_MODEL, done, "exists already");
    expect_refused(VKMOE_TEST_MODEL, test_folder_path("no/such"), "No such file or directory");
    expect_refused(done, out, "is quantised already");
    expect_refused(test_folder_path("a.gguf"), out, "is a GGUF file");
    expect_refused(test_folder_path("nowhere"), out, "no such folder");
    assert_int_equal(test_folder_count(test_folder()), 2);
}

/* As on a full disk: a file can have no more than so many bytes. */
static void where_writing_fails_nothing_is_left(void **state)
{
    static const size_t limits[] = {100, 20 << 10, 1 << 20, 9 << 20};
    (void)state;
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        struct test_process p = {.file_limit = limits[i]};
        test_vkmoe(&p, "quantize", "--weights", "q8", "-o", test_folder_path("out"));
        test_process_assert_sentence(&p, 1, "cannot write");
        test_process_free(&p);
        assert_int_equal(test_folder_count(test_folder()), 0);
    }
}

/* --- interrupting --- */

/* A model of one dense layer whose weights are gigabytes of zeros that take no room on the disk. */
static void write_large_model(const char *folder)
{
    enum { HIDDEN = 4096, WIDTH = 131072, VOCAB = 64 };
    static const struct {
        const char *name;
        json_int_t rows, cols;
    } tensors[] = {
        {"model.embed_tokens.weight", VOCAB, HIDDEN},
        {"lm_head.weight", VOCAB, HIDDEN},
        {"model.layers.0.self_attn.q_proj.weight", HIDDEN, HIDDEN},
        {"model.layers.0.self_attn.k_proj.weight", HIDDEN, HIDDEN},
        {"model.layers.0.self_attn.v_proj.weight", HIDDEN, HIDDEN},
        {"model.layers.0.self_attn.o_proj.weight", HIDDEN, HIDDEN},
        {"model.layers.0.mlp.gate_proj.weight", WIDTH, HIDDEN},
        {"model.layers.0.mlp.up_proj.weight", WIDTH, HIDDEN},
        {"model.layers.0.mlp.down_proj.weight", HIDDEN, WIDTH},
        {"model.norm.weight", 0, HIDDEN},
        {"model.layers.0.input_layernorm.weight", 0, HIDDEN},
        {"model.layers.0.post_attention_layernorm.weight", 0, HIDDEN},
    };
    char path[4200];
    unsigned char length[8] = {0};
    json_t *header = json_object();
    json_int_t at = 0;
    for (size_t i = 0; i < sizeof(tensors) / sizeof(tensors[0]); i++) {
        json_int_t rows = tensors[i].rows, cols = tensors[i].cols;
        json_int_t end = at + 2 * cols * (rows ? rows : 1);
        json_object_set_new(
            header, tensors[i].name,
            json_pack("{s:s, s:o, s:[I, I]}", "dtype", "BF16", "shape",
                      rows ? json_pack("[I, I]", rows, cols) : json_pack("[I]", cols),
                      "data_offsets", at, end));
        at = end;
    }
    char *text = json_dumps(header, JSON_COMPACT);
    size_t size = strlen(text) + strlen(text) % 2; /* even: the weights stay aligned */
    length[0] = (unsigned char)size;
    length[1] = (unsigned char)(size >> 8);
    assert_int_equal(mkdir(folder, 0700), 0);
    snprintf(path, sizeof(path), "%s/model.safetensors", folder);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fwrite(length, 1, 8, file);
    fprintf(file, "%-*s", (int)size, text);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(truncate(path, (off_t)(8 + size) + (off_t)at), 0);
    snprintf(path, sizeof(path), "%s/config.json", folder);
    json_t *config = json_pack("{s:i, s:i, s:i, s:i, s:i, s:n}", "vocab_size", VOCAB, "hidden_size",
                               HIDDEN, "intermediate_size", WIDTH, "num_hidden_layers", 1,
                               "num_attention_heads", 32, "n_routed_experts");
    assert_int_equal(json_dump_file(config, path, 0), 0);
    json_decref(config);
    json_decref(header);
    free(text);
}

/* Waits until there is a weights file below a folder whose name begins with `name`. */
static void await_writing(const char *name)
{
    for (bool found = false; !found; usleep(1000)) {
        DIR *dir = opendir(test_folder());
        assert_non_null(dir);
        for (struct dirent *e; (e = readdir(dir));) {
            char path[8600];
            snprintf(path, sizeof(path), "%s/%s", test_folder(), e->d_name);
            DIR *inner = strncmp(e->d_name, name, strlen(name)) == 0 ? opendir(path) : NULL;
            for (struct dirent *f; inner && (f = readdir(inner));)
                found |= strncmp(f->d_name, "model.safetensors", 17) == 0;
            if (inner)
                closedir(inner);
        }
        closedir(dir);
    }
}

static void an_interrupt_leaves_nothing(void **state)
{
    struct test_process p = {0};
    const char *model = test_folder_path("model"), *out = test_folder_path("out");
    (void)state;
    write_large_model(model);
    test_process_start(&p, (const char *const[]){VKMOE_PROGRAM, "quantize", "-m", model,
                                                 "--weights", "q4", "-o", out, NULL});
    await_writing("out.");
    test_process_signal(p.pid, SIGINT);
    test_process_wait(&p);
    test_process_assert_code(&p, 130);
    assert_string_equal(p.out, "");
    assert_string_equal(p.err, "");
    test_process_free(&p);
    assert_int_equal(test_folder_count(test_folder()), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FOLDER(what_is_written_runs_like_what_is_quantised_while_loading),
        TEST_IN_FOLDER(it_is_told_what_the_weights_are),
        TEST_IN_FOLDER(the_folder_is_the_models_otherwise),
        TEST_IN_FOLDER(shards_have_an_index),
        TEST_IN_FOLDER(no_vulkan_device_is_needed),
        TEST_IN_FOLDER(wrong_usage_is_told),
        TEST_IN_FOLDER(what_cannot_be_done_is_one_sentence_and_leaves_nothing),
        TEST_IN_FOLDER(where_writing_fails_nothing_is_left),
        TEST_IN_FOLDER(an_interrupt_leaves_nothing),
    };
    return cmocka_run_group_tests_name("quantize", tests, NULL, NULL);
}
