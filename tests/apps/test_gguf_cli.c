/* The command line program on GGUF files: good ones, and those that cannot be meant, which end in
 * one sentence and exit code 1. */
#include "broken_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../golden/gguf_model.h"
#include "folder.h"
#include "process.h"

static const struct test_shape small = {.shared = 1, .first_dense = 1, .expert_width = 64};

static char file[4096]; /* a GGUF file in the folder of the running test */

static const uint32_t f16 = 1, q8_0 = 8, q5_1_and_f16[] = {7, 1};

static int setup(void **state)
{
    int result = test_folder_setup(state);
    snprintf(file, sizeof(file), "%s/model.gguf", test_folder());
    return result;
}

/* Writes a model of this shape and its file, with tensors of several types. */
static void write_mixed_model(const struct test_shape *shape, const uint32_t *types, size_t n)
{
    const struct gguf_recipe recipe = {.types = types, .n_types = n, .tokenizer = true};
    broken_model_write(shape);
    gguf_convert(test_folder(), &recipe, file, NULL);
}

static void write_model(const struct test_shape *shape, const uint32_t *type)
{
    write_mixed_model(shape, type, 1);
}

static void a_gguf_file_runs_as_its_folder_does(void **state)
{
    struct test_process a = {0}, b = {0};
    const struct test_shape shape = {.shared = 1, .first_dense = 1, .storage = STORE_F16};
    (void)state;
    write_model(&shape, &f16);
    test_vkmoe(&a, "run", "-m", test_folder(), "-p", "12 + 7 =", "-n", "12", "--temp", "0");
    test_vkmoe(&b, "run", "-m", file, "-p", "12 + 7 =", "-n", "12", "--temp", "0");
    assert_int_equal(a.code, 0);
    assert_int_equal(b.code, 0);
    assert_true(a.out_size > 0);
    assert_string_equal(a.out, b.out);
    test_process_free(&a);
    test_process_free(&b);
}

static void info_tells_the_types_in_a_gguf_file(void **state)
{
    struct test_process p = {0};
    (void)state;
    write_model(&small, &q8_0);
    test_vkmoe(&p, "info", "-m", file);
    assert_int_equal(p.code, 0);
    assert_non_null(strstr(p.out, "of Q8_0"));
    assert_non_null(strstr(p.out, "of F32"));
    test_process_free(&p);
}

static void float32_in_place_of_blocks_is_said_where_one_asks(void **state)
{
    struct test_process p = {0};
    (void)state;
    write_mixed_model(&small, q5_1_and_f16, 2);
    test_vkmoe(&p, "run", "-m", file, "-p", "a", "-n", "1", "-v");
    assert_int_equal(p.code, 0);
    assert_non_null(strstr(p.err, "are kept as float32, exactly"));
    test_process_free(&p);
}

static void other_weights_than_the_files_are_not_made(void **state)
{
    struct test_process p = {0};
    (void)state;
    write_model(&small, &q8_0);
    test_vkmoe(&p, "run", "-m", file, "-p", "a", "-n", "1", "--weights", "q4");
    assert_int_equal(p.code, 0);
    assert_non_null(strstr(p.err, "model.gguf: the types of a GGUF file are used as they are"));
    test_process_free(&p);
}

/* Room for float32 weights by quarters: of the types in a safetensors file q8 would fit. */
static void a_refusal_offers_no_other_weights(void **state)
{
    struct test_process p = {0};
    (void)state;
    write_model(&small, &f16);
    test_vkmoe(&p, "run", "-m", file, "-p", "a", "-n", "1", "-c", "64", "--memory-limit", "600K");
    test_process_assert_sentence(&p, 1, "the memory limit grants");
    assert_null(strstr(p.err, "--weights"));
    test_process_free(&p);
}

static void a_gguf_file_cut_short_is_refused(void **state)
{
    struct stat st;
    (void)state;
    write_model(&small, &q8_0);
    assert_int_equal(stat(file, &st), 0);
    const off_t sizes[] = {st.st_size - 1, st.st_size / 2, 30000, 1000, 24, 23, 7, 3, 0};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        assert_int_equal(truncate(file, sizes[i]), 0);
        broken_model_expect(file, file, NULL);
    }
}

/* Writes these bytes over others of the same length, at their first place in the file. */
static void replace(const char *from, const char *to, size_t n)
{
    size_t size = 0, capacity = 1 << 16;
    char *bytes = NULL;
    FILE *f = fopen(file, "r+b");
    assert_non_null(f);
    do {
        bytes = realloc(bytes, capacity *= 2);
        assert_non_null(bytes);
        size += fread(bytes + size, 1, capacity - size, f);
    } while (size == capacity);
    for (size_t at = 0;; at++) {
        assert_true(at + n <= size);
        if (memcmp(bytes + at, from, n) == 0) {
            assert_int_equal(fseek(f, (long)at, SEEK_SET), 0);
            assert_int_equal(fwrite(to, 1, n, f), n);
            break;
        }
    }
    assert_int_equal(fclose(f), 0);
    free(bytes);
}

static void what_another_runtime_would_need_is_named(void **state)
{
    static const struct {
        const char *from, *to, *part, *part2;
    } changes[] = {
        {"deepseek-llm", "deepseek-xyz", "tokenizer.ggml.pre is \"deepseek-xyz\"", "deepseek-llm"},
        {"gpt2", "bert", "tokenizer.ggml.model is \"bert\"", "gpt2"},
        {"blk.0.ffn_up.weight", "blk.0.ffn_ab.weight", "tensor blk.0.ffn_ab.weight",
         "has no place"},
        {"blk.0.ffn_up.weight", "blk.7.ffn_up.weight", "has no tensor blk.0.ffn_up.weight", file},
        {"deepseek.block_count", "deepseek.block_Count", "deepseek.block_count is absent", file},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        write_model(&small, &q8_0);
        replace(changes[i].from, changes[i].to, strlen(changes[i].from));
        broken_model_expect(file, changes[i].part, changes[i].part2);
    }
}

static void tensors_that_are_not_what_they_should_be_are_named(void **state)
{
    struct test_shape shape = small;
    (void)state;
    shape.missing = "model.layers.1.self_attn.v_proj.weight";
    write_model(&shape, &f16);
    broken_model_expect(file, "has no tensor blk.1.attn_v.weight", file);
    shape = small;
    shape.misshapen = "model.layers.1.self_attn.o_proj.weight";
    write_model(&shape, &f16);
    broken_model_expect(file, "tensor blk.1.attn_output.weight has shape [64, 65]",
                        "expected [64, 64] by the file's metadata");
}

static void a_scale_that_is_not_finite_is_named_with_its_place(void **state)
{
    struct stat st;
    (void)state;
    write_model(&small, &q8_0);
    assert_int_equal(stat(file, &st), 0);
    FILE *f = fopen(file, "r+b");
    assert_non_null(f);
    /* the head is written last, 34 bytes for 32 elements; this is its last block */
    assert_int_equal(fseek(f, (long)st.st_size - 34, SEEK_SET), 0);
    assert_int_equal(fwrite("\x00\x7c", 1, 2, f), 2);
    assert_int_equal(fclose(f), 0);
    broken_model_expect(file, "of tensor output.weight is", "expected a finite number");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, test_folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_gguf_file_runs_as_its_folder_does),
        TEST(info_tells_the_types_in_a_gguf_file),
        TEST(float32_in_place_of_blocks_is_said_where_one_asks),
        TEST(other_weights_than_the_files_are_not_made),
        TEST(a_refusal_offers_no_other_weights),
        TEST(a_gguf_file_cut_short_is_refused),
        TEST(what_another_runtime_would_need_is_named),
        TEST(tensors_that_are_not_what_they_should_be_are_named),
        TEST(a_scale_that_is_not_finite_is_named_with_its_place),
    };
    return cmocka_run_group_tests_name("GGUF files", tests, NULL, NULL);
}
