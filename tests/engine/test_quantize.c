/* Models written quantised: loading them gives the bits that quantising while loading gives. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../golden/checkpoint.h"
#include "base/base.h"
#include "model/packed.h"

static struct test_log device_log;
static vkmoe_device *device;

static int open_device(void **state)
{
    vkmoe_error err;
    vkmoe_device_params params = {.log = &device_log.log};
    (void)state;
    test_log_init(&device_log);
    assert_ok(vkmoe_device_open(&params, &device, &err), &err);
    return 0;
}

static int close_device(void **state)
{
    (void)state;
    vkmoe_device_close(device);
    return device_log.errors;
}

static void quantize(const char *model, const char *folder, vkmoe_quantize_params params)
{
    vkmoe_error err;
    assert_ok(vkmoe_model_quantize(model, folder, &params, &err), &err);
}

static struct test_trace trace_of(const char *folder, const vkmoe_model_params *params,
                                  vkmoe_model_info *info)
{
    static const int32_t tokens[] = {1, 8, 5, 1, 2, 7, 3, 0, 4};
    vkmoe_model *model;
    vkmoe_session *session;
    vkmoe_error err;
    assert_ok(vkmoe_model_load(device, folder, params, &model, &err), &err);
    assert_ok(vkmoe_session_create(model, NULL, &session, &err), &err);
    struct test_trace t = test_trace_eval(model, session, tokens, VKM_COUNT(tokens));
    *info = *vkmoe_model_get_info(model);
    vkmoe_session_destroy(session);
    vkmoe_model_destroy(model);
    return t;
}

/* Quantises the model in every kind and compares. */
static void expect_same_bits(const char *model, vkmoe_quantize_params params, uint64_t memory_limit)
{
    const char *out = test_folder_path("out");
    for (int w = VKMOE_WEIGHTS_Q8; w <= VKMOE_WEIGHTS_Q4; w++) {
        vkmoe_model_params quantised = {.weights = (vkmoe_weights)w};
        vkmoe_model_params limited = {.memory_limit = memory_limit};
        vkmoe_model_info expected_info, info;
        params.weights = (vkmoe_weights)w;
        quantize(model, out, params);
        assert_int_equal(access(test_folder_path("out/model.safetensors.index.json"), F_OK) == 0,
                         params.shard_bytes > 0);
        struct test_trace expected = trace_of(model, &quantised, &expected_info);
        struct test_trace got = trace_of(out, &limited, &info);
        test_trace_assert_identical(&expected, &got);
        assert_int_equal(info.weights, w);
        assert_int_equal(expected_info.weights, w);
        if (memory_limit == 0)
            assert_int_equal(info.weight_bytes, expected_info.weight_bytes);
        else
            assert_true(info.n_host_experts > 0);
        test_trace_free(&expected);
        test_trace_free(&got);
        char command[4200];
        snprintf(command, sizeof(command), "rm -r '%s'", out);
        assert_int_equal(system(command), 0);
    }
    assert_int_equal(device_log.warnings, 0);
}

static void the_shipped_model_computes_the_same_bits(void **state)
{
    (void)state;
    expect_same_bits(VKMOE_TEST_MODEL, (vkmoe_quantize_params){0}, 0);
}

static void experts_in_host_memory_compute_the_same_bits(void **state)
{
    (void)state;
    expect_same_bits(VKMOE_TEST_MODEL, (vkmoe_quantize_params){0}, UINT64_C(16) << 20);
}

static void shards_compute_the_same_bits(void **state)
{
    (void)state;
    expect_same_bits(VKMOE_TEST_MODEL,
                     (vkmoe_quantize_params){.shard_bytes = 1 << 20, .threads = 3}, 0);
}

static void odd_shapes_compute_the_same_bits(void **state)
{
    static const struct test_shape shapes[] = {
        {.hidden = 54,
         .heads = 9,
         .kv_heads = 3,
         .dense_width = 131,
         .expert_width = 13,
         .shared = 1},
        {.tied = true, .bias = true, .first_dense = 1, .storage = STORE_MIXED},
        {.storage = STORE_F32, .shards = 3, .shared = 2, .expert_width = 129},
        {.dense = true, .storage = STORE_F16},
    };
    (void)state;
    for (size_t i = 0; i < VKM_COUNT(shapes); i++) {
        struct test_shape shape = test_shape_complete(&shapes[i]);
        char *folder = test_folder_make();
        checkpoint_write(&shape, folder);
        expect_same_bits(folder, (vkmoe_quantize_params){0}, 0);
        test_folder_remove(folder);
    }
}

static void *file_of(const char *folder, const char *name, size_t *size)
{
    char path[4200];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return test_file_read(path, size);
}

static void the_same_model_gives_the_same_file_with_any_threads(void **state)
{
    size_t size[2];
    (void)state;
    quantize(VKMOE_TEST_MODEL, test_folder_path("one"),
             (vkmoe_quantize_params){.weights = VKMOE_WEIGHTS_Q4, .threads = 1});
    quantize(VKMOE_TEST_MODEL, test_folder_path("five"),
             (vkmoe_quantize_params){.weights = VKMOE_WEIGHTS_Q4, .threads = 5});
    char *one = file_of(test_folder_path("one"), "model.safetensors", &size[0]);
    char *five = file_of(test_folder_path("five"), "model.safetensors", &size[1]);
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(one, five, size[0]);
    free(one);
    free(five);
}

static void a_plan_of_what_was_written_is_what_loading_takes(void **state)
{
    const char *out = test_folder_path("out");
    const vkmoe_model_params asked = {.weights = VKMOE_WEIGHTS_Q4};
    vkmoe_plan written, while_loading;
    vkmoe_description d;
    vkmoe_error err;
    (void)state;
    quantize(VKMOE_TEST_MODEL, out, (vkmoe_quantize_params){.weights = VKMOE_WEIGHTS_Q4});
    assert_ok(vkmoe_model_plan(device, out, NULL, &written, &err), &err);
    assert_ok(vkmoe_model_plan(device, VKMOE_TEST_MODEL, &asked, &while_loading, &err), &err);
    assert_int_equal(written.device_bytes, while_loading.device_bytes);
    assert_int_equal(written.weights, VKMOE_WEIGHTS_Q4);
    assert_int_equal(while_loading.weights, VKMOE_WEIGHTS_Q4);
    assert_ok(vkmoe_model_describe(out, &d, &err), &err);
    assert_int_equal(d.weights, VKMOE_WEIGHTS_Q4);
    assert_ok(vkmoe_model_describe(VKMOE_TEST_MODEL, &d, &err), &err);
    assert_int_equal(d.weights, VKMOE_WEIGHTS_STORED);
}

static void other_weights_are_not_made_of_quantised_ones(void **state)
{
    const char *out = test_folder_path("out");
    const vkmoe_model_params same = {.weights = VKMOE_WEIGHTS_Q4},
                             other = {.weights = VKMOE_WEIGHTS_Q8};
    vkmoe_model_info info;
    (void)state;
    quantize(VKMOE_TEST_MODEL, out, (vkmoe_quantize_params){.weights = VKMOE_WEIGHTS_Q4});
    struct test_trace plain = trace_of(out, NULL, &info);
    struct test_trace asked = trace_of(out, &same, &info);
    assert_int_equal(device_log.warnings, 0);
    struct test_trace warned = trace_of(out, &other, &info);
    assert_int_equal(info.weights, VKMOE_WEIGHTS_Q4);
    assert_int_equal(device_log.warnings, 1);
    assert_non_null(strstr(device_log.warning, "quantised as Q4 already"));
    device_log.warnings = 0;
    test_trace_assert_identical(&plain, &asked);
    test_trace_assert_identical(&plain, &warned);
    test_trace_free(&plain);
    test_trace_free(&asked);
    test_trace_free(&warned);
}

/* --- refusals --- */

static void what_cannot_be_quantised_is_refused_and_leaves_nothing(void **state)
{
    const char *out = test_folder_path("out"), *done = test_folder_path("done");
    const vkmoe_quantize_params q8 = {.weights = VKMOE_WEIGHTS_Q8}, none = {0},
                                beyond = {.weights = VKMOE_WEIGHTS_COUNT};
    vkmoe_error err;
    (void)state;
    quantize(VKMOE_TEST_MODEL, done, q8);
    test_folder_write_text("a.gguf", "GGUF");
    test_assert_fails(vkmoe_model_quantize(done, out, &q8, &err), &err, VKMOE_UNSUPPORTED,
                      "is quantised already");
    test_assert_fails(vkmoe_model_quantize(test_folder_path("a.gguf"), out, &q8, &err), &err,
                      VKMOE_UNSUPPORTED, "is a GGUF file");
    test_assert_fails(vkmoe_model_quantize(VKMOE_TEST_MODEL, done, &q8, &err), &err,
                      VKMOE_INVALID_ARGUMENT, "exists already");
    test_assert_fails(vkmoe_model_quantize(VKMOE_TEST_MODEL, out, &none, &err), &err,
                      VKMOE_INVALID_ARGUMENT, "expected Q8 or Q4");
    test_assert_fails(vkmoe_model_quantize(VKMOE_TEST_MODEL, out, &beyond, &err), &err,
                      VKMOE_INVALID_ARGUMENT, "expected Q8 or Q4");
    test_assert_fails(vkmoe_model_quantize(test_folder_path("no"), out, &q8, &err), &err,
                      VKMOE_NOT_FOUND, "config.json");
    test_assert_fails(vkmoe_model_quantize(NULL, out, &q8, &err), &err, VKMOE_INVALID_ARGUMENT,
                      "model is missing");
    test_assert_fails(vkmoe_model_quantize(VKMOE_TEST_MODEL, out, NULL, &err), &err,
                      VKMOE_INVALID_ARGUMENT, "params is missing");
    assert_int_equal(test_folder_count(test_folder()), 2);
}

struct stop {
    uint64_t after, calls, done, total;
};

static bool stop_after(void *user, uint64_t done, uint64_t total)
{
    struct stop *s = user;
    assert_true(done > s->done && done <= total);
    s->done = done;
    s->total = total;
    return s->after == 0 || ++s->calls < s->after;
}

static void progress_counts_up_to_all_and_cancelling_leaves_nothing(void **state)
{
    struct stop stop = {.after = 0};
    vkmoe_quantize_params params = {
        .weights = VKMOE_WEIGHTS_Q8, .progress = stop_after, .user = &stop};
    vkmoe_error err;
    (void)state;
    quantize(VKMOE_TEST_MODEL, test_folder_path("all"), params);
    assert_int_equal(stop.done, stop.total);
    for (uint64_t n = 1; n <= 21; n += 10) {
        stop = (struct stop){.after = n};
        test_assert_fails(
            vkmoe_model_quantize(VKMOE_TEST_MODEL, test_folder_path("out"), &params, &err), &err,
            VKMOE_CANCELLED, "cancelled");
        assert_int_equal(test_folder_count(test_folder()), 1);
    }
}

static void weights_that_are_not_finite_are_refused_by_name(void **state)
{
    const struct test_shape shape = test_shape_complete(&(struct test_shape){.shared = 1});
    const vkmoe_quantize_params q4 = {.weights = VKMOE_WEIGHTS_Q4};
    static const char *const names[] = {"model.layers.0.mlp.experts.1.up_proj.weight",
                                        "model.norm.weight"};
    vkmoe_error err;
    (void)state;
    for (size_t i = 0; i < VKM_COUNT(names); i++) {
        struct vkm_checkpoint *c;
        const uint16_t nan = 0x7fc0;
        char *folder = test_folder_make(), path[4200];
        checkpoint_write(&shape, folder);
        assert_ok(vkm_checkpoint_open(NULL, folder, &c, &err), &err);
        uint64_t at = vkm_checkpoint_find(c, names[i])->offset;
        vkm_checkpoint_close(c);
        snprintf(path, sizeof(path), "%s/model.safetensors", folder);
        FILE *file = fopen(path, "r+b");
        assert_int_equal(fseek(file, (long)at + 6, SEEK_SET), 0);
        assert_int_equal(fwrite(&nan, 1, 2, file), 2);
        fclose(file);
        test_assert_fails(vkmoe_model_quantize(folder, test_folder_path("out"), &q4, &err), &err,
                          VKMOE_BAD_FORMAT, names[i]);
        test_folder_remove(folder);
    }
    assert_int_equal(test_folder_count(test_folder()), 0);
}

/* --- hostile files --- */

/* Where in OUT/model.safetensors a tensor lies. */
static uint64_t place_of(const char *out, const char *name, uint64_t *size)
{
    struct vkm_checkpoint *c;
    vkmoe_error err;
    assert_ok(vkm_checkpoint_open(NULL, out, &c, &err), &err);
    const struct vkm_tensor *t = vkm_checkpoint_find(c, name);
    uint64_t at = t->offset;
    *size = t->size;
    vkm_checkpoint_close(c);
    return at;
}

static void expect_load_refused(const char *folder, vkmoe_status expected, const char *part,
                                const char *part2)
{
    vkmoe_model *model;
    vkmoe_error err;
    vkmoe_status status = vkmoe_model_load(device, folder, NULL, &model, &err);
    test_assert_fails(status, &err, expected, part);
    test_assert_fails(status, &err, expected, part2);
}

static void a_scale_that_no_kernel_may_read_is_refused_by_place(void **state)
{
    static const char name[] = "model.layers.1.mlp.experts.3.up_proj.weight"; /* [64, 256] */
    const char *out = test_folder_path("out");
    uint64_t bytes;
    size_t size;
    (void)state;
    quantize(VKMOE_TEST_MODEL, out, (vkmoe_quantize_params){.weights = VKMOE_WEIGHTS_Q8});
    uint64_t at = place_of(out, name, &bytes);
    unsigned char *file = file_of(out, "model.safetensors", &size);
    /* Block 3: rows 8 and on, columns 128 and on; its second group, second row. */
    uint64_t scale = at + 3 * 1088 + 1024 + 2 * (8 + 1);
    file[scale + 1] = 0x7c;
    file[scale] = 0;
    char path[4200];
    snprintf(path, sizeof(path), "%s/model.safetensors", out);
    test_file_write(path, file, size);
    expect_load_refused(out, VKMOE_BAD_FORMAT, "group 5 in row 9 of tensor", name);
    file[scale + 1] = 0xbc;
    test_file_write(path, file, size);
    expect_load_refused(out, VKMOE_BAD_FORMAT, "group 5 in row 9 of tensor", path);
    free(file);
}

/* Replaces text in the header of OUT/model.safetensors by as much other text. */
static void spell(const char *out, const char *from, const char *to)
{
    char path[4200];
    size_t size;
    char *file = file_of(out, "model.safetensors", &size);
    size_t n = strlen(from), at = 8;
    assert_int_equal(n, strlen(to));
    while (at + n < size && memcmp(file + at, from, n) != 0)
        at++;
    assert_true(at + n < size);
    memcpy(file + at, to, n);
    snprintf(path, sizeof(path), "%s/model.safetensors", out);
    test_file_write(path, file, size);
    free(file);
}

static void tensors_out_of_place_are_refused_by_name(void **state)
{
    const char *out = test_folder_path("out");
    (void)state;
    quantize(VKMOE_TEST_MODEL, out, (vkmoe_quantize_params){.weights = VKMOE_WEIGHTS_Q4});
    /* As many bytes, but not the shape of the model. */
    spell(out, "v_proj.weight\":\"Q4 256 256\"", "v_proj.weight\":\"Q4 256 255\"");
    expect_load_refused(out, VKMOE_BAD_FORMAT, "v_proj.weight has shape [256, 255]", "[256, 256]");
    spell(out, "v_proj.weight\":\"Q4 256 255\"", "v_proj.weight\":\"Q4 256 256\"");
    spell(out, "vkmoe_layout\":\"1", "vkmoe_layout\":\"9");
    expect_load_refused(out, VKMOE_UNSUPPORTED, "quantise the model again", "model.safetensors");
    spell(out, "vkmoe_layout", "vkmoe_lay0ut");
    expect_load_refused(out, VKMOE_UNSUPPORTED, "is U8, expected BF16, F16 or F32", ".weight");
}

/* A file whose experts differ in type. */
static void types_that_do_not_go_together_are_refused_by_name(void **state)
{
    static const char name[] = "model.layers.1.mlp.experts.3.up_proj.weight";
    const char *out = test_folder_path("a");
    char path[4200];
    struct vkm_checkpoint *c;
    vkmoe_error err;
    uint64_t bytes;
    (void)state;
    quantize(VKMOE_TEST_MODEL, out, (vkmoe_quantize_params){.weights = VKMOE_WEIGHTS_Q4});
    assert_ok(vkm_checkpoint_open(NULL, out, &c, &err), &err);
    size_t n = vkm_checkpoint_count(c);
    struct vkm_tensor_out *tensors = calloc(n, sizeof(*tensors));
    for (size_t k = 0; k < n; k++) {
        const struct vkm_tensor *t = vkm_checkpoint_at(c, k);
        bool changed = strcmp(t->name, name) == 0;
        tensors[k] = (struct vkm_tensor_out){t->name, t->dtype, t->n_dims, {0}, NULL};
        memcpy(tensors[k].shape, t->shape, sizeof(t->shape));
        if (changed)
            tensors[k].dtype = VKM_DTYPE_Q8;
        assert_true(vkm_safetensors_bytes(&tensors[k], &bytes));
        void *data = calloc(1, bytes);
        if (!changed)
            assert_ok(vkm_tensor_read(t, 0, data, bytes, &err), &err);
        else
            assert_true(t->shape[0] == 64 && t->shape[1] == 256);
        tensors[k].data = data;
    }
    snprintf(path, sizeof(path), "%s/model.safetensors", out);
    assert_ok(vkm_safetensors_write(NULL, path, tensors, n, &err), &err);
    for (size_t k = 0; k < n; k++)
        free((void *)(uintptr_t)tensors[k].data);
    free(tensors);
    vkm_checkpoint_close(c);
    expect_load_refused(out, VKMOE_BAD_FORMAT, "is quantised as Q", "to be F32");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FOLDER(the_shipped_model_computes_the_same_bits),
        TEST_IN_FOLDER(experts_in_host_memory_compute_the_same_bits),
        TEST_IN_FOLDER(shards_compute_the_same_bits),
        TEST_IN_FOLDER(odd_shapes_compute_the_same_bits),
        TEST_IN_FOLDER(the_same_model_gives_the_same_file_with_any_threads),
        TEST_IN_FOLDER(a_plan_of_what_was_written_is_what_loading_takes),
        TEST_IN_FOLDER(other_weights_are_not_made_of_quantised_ones),
        TEST_IN_FOLDER(what_cannot_be_quantised_is_refused_and_leaves_nothing),
        TEST_IN_FOLDER(progress_counts_up_to_all_and_cancelling_leaves_nothing),
        TEST_IN_FOLDER(weights_that_are_not_finite_are_refused_by_name),
        TEST_IN_FOLDER(a_scale_that_no_kernel_may_read_is_refused_by_place),
        TEST_IN_FOLDER(tensors_out_of_place_are_refused_by_name),
        TEST_IN_FOLDER(types_that_do_not_go_together_are_refused_by_name),
    };
    return cmocka_run_group_tests_name("quantize", tests, open_device, close_device);
}
