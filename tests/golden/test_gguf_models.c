/* GGUF files of every type of tensor and many shapes: they compute what the same values in a
 * Hugging Face folder do, and the shipped model in a GGUF file is the shipped model. */
#include "gguf_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint.h"
#include "manifest.h"

static struct test_log device_log;
static vkmoe_device *device;
static char *folder, *exact; /* of the test that runs */
static char path[4096];      /* of the GGUF file there */

static int open_device(void **state)
{
    vkmoe_error err;
    (void)state;
    test_log_init(&device_log);
    vkmoe_device_params params = {.log = &device_log.log};
    assert_ok(vkmoe_device_open(&params, &device, &err), &err);
    return 0;
}

static int close_device(void **state)
{
    (void)state;
    vkmoe_device_close(device);
    return device_log.errors;
}

static int make_folders(void **state)
{
    (void)state;
    folder = test_folder_make();
    exact = test_folder_make();
    snprintf(path, sizeof(path), "%s/model.gguf", folder);
    return 0;
}

static int remove_folders(void **state)
{
    (void)state;
    test_folder_remove(folder);
    test_folder_remove(exact);
    return 0;
}

struct loaded {
    vkmoe_model *model;
    vkmoe_session *session;
};

static struct loaded load(const char *from, vkmoe_weights weights)
{
    struct loaded l;
    vkmoe_error err;
    vkmoe_model_params params = {.weights = weights};
    assert_ok(vkmoe_model_load(device, from, &params, &l.model, &err), &err);
    assert_ok(vkmoe_session_create(l.model, NULL, &l.session, &err), &err);
    return l;
}

static void unload(struct loaded *l)
{
    vkmoe_session_destroy(l->session);
    vkmoe_model_destroy(l->model);
}

#define COUNT 40u /* tokens */

static struct test_trace trace_of(const char *from)
{
    int32_t tokens[COUNT];
    struct loaded l = load(from, VKMOE_WEIGHTS_STORED);
    uint32_t vocabulary = vkmoe_model_get_info(l.model)->vocab_size;
    for (uint32_t i = 0; i < COUNT; i++)
        tokens[i] = (int32_t)((i * 7919u + i * i * 31u + 5u) % vocabulary);
    struct test_trace t = test_trace_eval(l.model, l.session, tokens, COUNT);
    unload(&l);
    return t;
}

/* --- types --- */

/* All of its rows can be made of any type. */
static const struct test_shape wide = {.hidden = 256,
                                       .heads = 4,
                                       .vocab = 60,
                                       .dense_width = 256,
                                       .expert_width = 256,
                                       .experts = 4,
                                       .top_k = 2,
                                       .shared = 1,
                                       .first_dense = 1,
                                       .storage = STORE_F32};

struct type_case {
    uint32_t type;
    bool quantised; /* on the device too: other kernels, so the same values but other roundings */
};

static void a_file_of_one_type_computes_what_its_values_say(void **state)
{
    const struct type_case *t = *state;
    const struct gguf_recipe recipe = {.types = &t->type, .n_types = 1};
    const struct test_shape shape = test_shape_complete(&wide);
    struct test_difference worst = {0};
    checkpoint_write(&shape, folder);
    gguf_convert(folder, &recipe, path, exact);
    struct test_trace expected = trace_of(exact), got = trace_of(path);
    if (t->quantised)
        test_trace_compare(&expected, 0, &got, "a GGUF file", &worst);
    else
        test_trace_assert_identical(&expected, &got);
    print_message("logits within %.2g of the largest\n", worst.logit);
    test_trace_free(&expected);
    test_trace_free(&got);
}

/* --- shapes --- */

static void a_file_of_all_types_computes_what_its_values_say(void **state)
{
    static const uint32_t types[] = {2, 12, 3, 8, 14, 6, 0, 7, 13, 20, 1, 30};
    const struct gguf_recipe recipe = {.types = types, .n_types = sizeof(types) / sizeof(types[0])};
    const struct test_shape shape = test_shape_complete(*state);
    struct test_difference worst = {0};
    vkmoe_description d, e;
    vkmoe_error err;
    checkpoint_write(&shape, folder);
    gguf_convert(folder, &recipe, path, exact);
    assert_ok(vkmoe_model_describe(path, &d, &err), &err);
    assert_ok(vkmoe_model_describe(exact, &e, &err), &err);
    assert_true(d.n_stored > 0);
    d.n_stored = e.n_stored = 0;
    memset(d.stored, 0, sizeof(d.stored));
    memset(e.stored, 0, sizeof(e.stored));
    assert_memory_equal(&d, &e, sizeof(d));
    struct test_trace expected = trace_of(exact), got = trace_of(path);
    test_trace_compare(&expected, 0, &got, "a GGUF file", &worst);
    print_message("logits within %.2g of the largest, %u swapped\n", worst.logit, worst.swapped);
    test_trace_free(&expected);
    test_trace_free(&got);
}

/* --- the shipped model --- */

static const uint32_t bf16 = 30, q4_k[] = {12, 6};

static void the_shipped_model_in_a_gguf_file_gives_the_same_bits(void **state)
{
    const struct gguf_recipe recipe = {.types = &bf16, .n_types = 1};
    (void)state;
    gguf_convert(VKMOE_TEST_MODEL, &recipe, path, NULL);
    struct test_trace expected = trace_of(VKMOE_TEST_MODEL), got = trace_of(path);
    test_trace_assert_identical(&expected, &got);
    test_trace_free(&expected);
    test_trace_free(&got);
}

static void expect_same_ids(const vkmoe_tokenizer *a, const vkmoe_tokenizer *b, const char *text,
                            size_t size)
{
    int32_t *x, *y;
    size_t n, m;
    vkmoe_error err;
    assert_ok(vkmoe_tokenizer_encode(a, text, size, true, &x, &n, &err), &err);
    assert_ok(vkmoe_tokenizer_encode(b, text, size, true, &y, &m, &err), &err);
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n * sizeof(*x));
    char *bytes;
    assert_ok(vkmoe_tokenizer_decode(b, y, m, false, &bytes, &m, &err), &err);
    assert_int_equal(m, size);
    assert_memory_equal(bytes, text, size);
    vkmoe_tokenizer_free(b, bytes);
    vkmoe_tokenizer_free(b, y);
    vkmoe_tokenizer_free(a, x);
}

static void the_tokenizer_in_a_gguf_file_encodes_as_the_shipped_one(void **state)
{
    static const char *const texts[] = {
        "",
        " ",
        "\n\n\n  \n x  \r\n\ty   ",
        "12 + 7 = 19, 3.14159 and 1,000,000",
        "{\"id\": 7, \"tags\": [\"a\", \"b c\"], \"ok\": true}\n",
        "\xce\xb5\xe1\xbc\xb0\xce\xbc\xce\xaf \xd0\xbf\xd1\x80\xd0\xb8 \xe4\xbd\xa0\xe5\xa5\xbd"
        "\xef\xbc\x8c\xe4\xb8\x96\xe7\x95\x8c\xe3\x80\x82\xed\x95\x9c\xea\xb8\x80 "
        "\xf0\x9f\x98\x80\xd9\xa3\xc2\xbd\xe2\x80\x9cquoted\xe2\x80\x9d",
    };
    const struct gguf_recipe recipe = {.types = &bf16, .n_types = 1, .tokenizer = true};
    vkmoe_tokenizer *shipped, *own;
    struct golden golden;
    vkmoe_error err;
    (void)state;
    gguf_convert(VKMOE_TEST_MODEL, &recipe, path, NULL);
    assert_ok(vkmoe_tokenizer_load(VKMOE_TEST_MODEL, NULL, &shipped, &err), &err);
    assert_ok(vkmoe_tokenizer_load(path, NULL, &own, &err), &err);
    assert_int_equal(vkmoe_tokenizer_size(own), vkmoe_tokenizer_size(shipped));
    assert_int_equal(vkmoe_tokenizer_bos(own), vkmoe_tokenizer_bos(shipped));
    assert_int_equal(vkmoe_tokenizer_eos(own), vkmoe_tokenizer_eos(shipped));
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        expect_same_ids(shipped, own, texts[i], strlen(texts[i]));
    golden_load(&golden);
    for (size_t i = 0; i < golden.n_cases; i++)
        expect_same_ids(shipped, own, golden.cases[i].text, strlen(golden.cases[i].text));
    for (int h = 0; h < 2; h++) {
        for (size_t i = 0; i < golden.held[h].count; i++) {
            const char *text = golden.held[h].documents[i].text;
            expect_same_ids(shipped, own, text, strlen(text));
        }
    }
    golden_free(&golden);
    vkmoe_tokenizer_destroy(own);
    vkmoe_tokenizer_destroy(shipped);
}

static void special_tokens_in_a_gguf_file_are_matched(void **state)
{
    static const char text[] = "<\xef\xbd\x9c"
                               "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>a";
    const struct gguf_recipe recipe = {.types = &bf16, .n_types = 1, .tokenizer = true};
    vkmoe_tokenizer *own;
    vkmoe_error err;
    int32_t *ids;
    size_t n;
    (void)state;
    gguf_convert(VKMOE_TEST_MODEL, &recipe, path, NULL);
    assert_ok(vkmoe_tokenizer_load(path, NULL, &own, &err), &err);
    assert_ok(vkmoe_tokenizer_encode(own, text, strlen(text), true, &ids, &n, &err), &err);
    assert_int_equal(n, 3);
    assert_int_equal(ids[0], vkmoe_tokenizer_bos(own));
    assert_int_equal(ids[1], vkmoe_tokenizer_eos(own));
    vkmoe_tokenizer_free(own, ids);
    vkmoe_tokenizer_destroy(own);
}

static void the_chat_template_of_a_gguf_file_is_recognised(void **state)
{
    struct gguf_recipe recipe = {.types = &bf16, .n_types = 1};
    vkmoe_chat_template found = VKMOE_CHAT_DEEPSEEK;
    vkmoe_error err;
    (void)state;
    gguf_convert(VKMOE_TEST_MODEL, &recipe, path, NULL);
    assert_ok(vkmoe_chat_template_find(path, &found, &err), &err);
    assert_int_equal(found, VKMOE_CHAT_PLAIN);
    recipe.chat_template = "{% for m in messages %}<|im_start|>{{ m }}<|im_end|>{% endfor %}";
    gguf_convert(VKMOE_TEST_MODEL, &recipe, path, NULL);
    assert_ok(vkmoe_chat_template_find(path, &found, &err), &err);
    assert_int_equal(found, VKMOE_CHAT_CHATML);
    recipe.chat_template = "{{ messages }}";
    gguf_convert(VKMOE_TEST_MODEL, &recipe, path, NULL);
    test_assert_fails(vkmoe_chat_template_find(path, &found, &err), &err, VKMOE_UNSUPPORTED,
                      "model.gguf: the chat template is none of the known ones");
}

/* --- plans and settings --- */

static void a_plan_of_a_gguf_file_is_what_loading_takes(void **state)
{
    const struct gguf_recipe recipe = {.types = q4_k, .n_types = 2};
    vkmoe_plan plan;
    vkmoe_error err;
    uint64_t planned = 0;
    (void)state;
    gguf_convert(VKMOE_TEST_MODEL, &recipe, path, NULL);
    assert_ok(vkmoe_model_plan(device, path, NULL, &plan, &err), &err);
    for (uint32_t i = 0; i < plan.n_heaps; i++)
        planned += plan.heaps[i].weights;
    struct loaded l = load(path, VKMOE_WEIGHTS_STORED);
    assert_int_equal(planned, vkmoe_model_get_info(l.model)->weight_bytes);
    unload(&l);
}

/* Attention, experts, head and embeddings, whatever lies together. */
static void quantised_types_take_ten_bits_a_weight_at_most(void **state)
{
    static const uint32_t all[] = {2, 3, 6, 7, 8, 12, 13, 14, 20}, four_bits[] = {3, 12};
    static const struct {
        struct gguf_recipe recipe;
        double most; /* bits, with norms and routers */
    } files[] = {
        {{.types = all, .n_types = sizeof(all) / sizeof(all[0])}, 10.5},
        {{.types = four_bits, .n_types = sizeof(four_bits) / sizeof(four_bits[0])}, 6.5},
    };
    const struct test_shape shape = test_shape_complete(&wide);
    (void)state;
    checkpoint_write(&shape, folder);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        vkmoe_description d;
        vkmoe_error err;
        gguf_convert(folder, &files[i].recipe, path, NULL);
        assert_ok(vkmoe_model_describe(path, &d, &err), &err);
        struct loaded l = load(path, VKMOE_WEIGHTS_STORED);
        double bits = 8 * (double)vkmoe_model_get_info(l.model)->weight_bytes;
        assert_true(bits < files[i].most * (double)d.parameters.total);
        unload(&l);
    }
}

static void asking_for_other_weights_is_answered_with_a_warning(void **state)
{
    const struct gguf_recipe recipe = {.types = &bf16, .n_types = 1};
    (void)state;
    gguf_convert(VKMOE_TEST_MODEL, &recipe, path, NULL);
    struct loaded stored = load(path, VKMOE_WEIGHTS_STORED);
    int before = device_log.warnings;
    struct loaded asked = load(path, VKMOE_WEIGHTS_Q4);
    assert_int_equal(device_log.warnings, before + 1);
    assert_non_null(strstr(device_log.warning, "no other weights are made of them"));
    assert_int_equal(vkmoe_model_get_info(asked.model)->weight_bytes,
                     vkmoe_model_get_info(stored.model)->weight_bytes);
    unload(&asked);
    unload(&stored);
}

/* --- the list --- */

#define TEST(function) cmocka_unit_test_setup_teardown(function, make_folders, remove_folders)
#define TYPE(words, number, on_device)                                                             \
    {                                                                                              \
        .name = "a file of " words " computes what its values say",                                \
        .test_func = a_file_of_one_type_computes_what_its_values_say, .setup_func = make_folders,  \
        .teardown_func = remove_folders, .initial_state = &(struct type_case){number, on_device},  \
    }
#define SHAPE(words, ...)                                                                          \
    {                                                                                              \
        .name = words " in all types computes what its values say",                                \
        .test_func = a_file_of_all_types_computes_what_its_values_say, .setup_func = make_folders, \
        .teardown_func = remove_folders,                                                           \
        .initial_state = &(struct test_shape){.hidden = 256, .expert_width = 64, __VA_ARGS__},     \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        TYPE("F32", 0, false),
        TYPE("F16", 1, false),
        TYPE("BF16", 30, false),
        TYPE("Q4_0", 2, true),
        TYPE("Q4_1", 3, true),
        TYPE("Q5_0", 6, true),
        TYPE("Q5_1", 7, true),
        TYPE("Q8_0", 8, true),
        TYPE("IQ4_NL", 20, true),
        TYPE("Q4_K", 12, true),
        TYPE("Q5_K", 13, true),
        TYPE("Q6_K", 14, true),
        SHAPE("a dense model", .dense = true),
        SHAPE("a model without shared experts", .first_dense = 1, .layers = 3),
        SHAPE("8 heads on 2, normalised gates", .heads = 8, .kv_heads = 2, .normalise = true,
              .shared = 2, .scaling = 1.5),
        SHAPE("tied embeddings, stretched positions", .tied = true, .shared = 1, .rope = "linear",
              .rope_factor = 4),
        SHAPE("one expert", .experts = 1, .top_k = 1, .layers = 3, .first_dense = 2),
        TEST(the_shipped_model_in_a_gguf_file_gives_the_same_bits),
        TEST(the_tokenizer_in_a_gguf_file_encodes_as_the_shipped_one),
        TEST(special_tokens_in_a_gguf_file_are_matched),
        TEST(the_chat_template_of_a_gguf_file_is_recognised),
        TEST(a_plan_of_a_gguf_file_is_what_loading_takes),
        TEST(quantised_types_take_ten_bits_a_weight_at_most),
        TEST(asking_for_other_weights_is_answered_with_a_warning),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
