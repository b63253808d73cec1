/* Checkpoints in several files under an index. */
#include "base/base.h"
#include "model/safetensors.h"
#include "unit.h"

#define INDEX "model.safetensors.index.json"

static vkmoe_status try_folder(const char *sub, vkmoe_error *err, size_t *count)
{
    struct vkm_checkpoint *c = NULL;
    vkmoe_status status = vkm_checkpoint_open(NULL, test_folder_path(sub), &c, err);
    if (status == VKMOE_OK)
        *count = vkm_checkpoint_count(c);
    vkm_checkpoint_close(c);
    return status;
}

static void write_shards(void)
{
    tensors_write(
        "one.safetensors",
        "{\"a\":" ENTRY("\"F32\"", "[1]", 0, 4) ",\"b\":" ENTRY("\"F32\"", "[1]", 4, 8) "}", 8);
    tensors_write(
        "two.safetensors",
        "{\"b\":" ENTRY("\"F32\"", "[1]", 0, 4) ",\"z\":" ENTRY("\"F32\"", "[1]", 4, 8) "}", 8);
}

static void shards_open_as_one_checkpoint_of_what_the_index_maps(void **state)
{
    (void)state;
    vkmoe_error err = {VKMOE_OK, "untouched"};
    struct vkm_checkpoint *c;
    write_shards();
    test_folder_write_text(INDEX, "{\"metadata\":{\"total_size\":8},\"weight_map\":"
                                  "{\"b\":\"two.safetensors\",\"a\":\"one.safetensors\"}}");
    assert_int_equal(vkm_checkpoint_open(NULL, test_folder_path("."), &c, &err), VKMOE_OK);
    assert_string_equal(err.message, "untouched");
    assert_int_equal(vkm_checkpoint_count(c), 2);
    assert_string_equal(vkm_checkpoint_at(c, 0)->name, "a");
    const struct vkm_tensor *b = vkm_checkpoint_find(c, "b");
    assert_non_null(strstr(b->file, "two.safetensors"));
    unsigned char first = 99;
    assert_int_equal(vkm_tensor_read(b, 0, &first, 1, &err), VKMOE_OK);
    assert_int_equal(first, 0);
    assert_null(vkm_checkpoint_find(c, "z"));
    vkm_checkpoint_close(c);
}

static void one_file_is_preferred_to_an_index(void **state)
{
    (void)state;
    vkmoe_error err;
    size_t count = 9;
    test_folder_write_text(INDEX, "broken");
    tensors_write("model.safetensors", "{}", 0);
    assert_int_equal(try_folder(".", &err, &count), VKMOE_OK);
    assert_int_equal(count, 0);
    test_folder_write_text("model.safetensors", "broken");
    expect_failure(try_folder(".", &err, &count), &err, VKMOE_BAD_FORMAT,
                   "/model.safetensors:", NULL);
}

static void a_folder_without_weights_is_not_found_by_both_names(void **state)
{
    (void)state;
    vkmoe_error err;
    size_t count;
    expect_failure(try_folder(".", &err, &count), &err, VKMOE_NOT_FOUND,
                   "neither model.safetensors", INDEX);
    expect_failure(try_folder("absent", &err, &count), &err, VKMOE_NOT_FOUND, "neither", "absent");
}

static void every_malformed_index_is_refused_with_its_reason(void **state)
{
    (void)state;
    static const struct {
        const char *map;
        vkmoe_status status;
        const char *text, *text2;
    } rows[] = {
        {"", VKMOE_BAD_FORMAT, INDEX, "not valid JSON"},
        {"[]", VKMOE_BAD_FORMAT, INDEX, "expected an object"},
        {"{}", VKMOE_BAD_FORMAT, "weight_map is absent", NULL},
        {"{\"weight_map\":[]}", VKMOE_BAD_FORMAT, "weight_map is an array", NULL},
        {"{\"weight_map\":{\"a\":1}}", VKMOE_BAD_FORMAT, "a is 1", "plain name"},
        {"{\"weight_map\":{\"a\":\"\"}}", VKMOE_BAD_FORMAT, "a is \"\"", "plain name"},
        {"{\"weight_map\":{\"a\":\".\"}}", VKMOE_BAD_FORMAT, "a is \".\"", "plain name"},
        {"{\"weight_map\":{\"a\":\"..\"}}", VKMOE_BAD_FORMAT, "a is \"..\"", "plain name"},
        {"{\"weight_map\":{\"a\":\"../x\"}}", VKMOE_BAD_FORMAT, "a is \"../x\"", "plain name"},
        {"{\"weight_map\":{\"a\":\"/dev/zero\"}}", VKMOE_BAD_FORMAT, "/dev/zero", "plain name"},
        {"{\"weight_map\":{\"a\":\"..\\\\x\"}}", VKMOE_BAD_FORMAT, "..\\x", "plain name"},
        {"{\"weight_map\":{\"a\\n\":\"x\\ny\"}}", VKMOE_BAD_FORMAT, "a? is \"x?y\"", NULL},
        {"{\"weight_map\":{\"a\":\"gone.safetensors\"}}", VKMOE_NOT_FOUND, INDEX, "gone"},
        {"{\"weight_map\":{\"a\":\"one.safetensors\",\"a\":\"two.safetensors\"}}", VKMOE_BAD_FORMAT,
         "duplicate", NULL},
        {"{\"weight_map\":{\"a\":\"two.safetensors\"}}", VKMOE_BAD_FORMAT, "tensor \"a\"",
         "two.safetensors"},
        {"{\"weight_map\":{\"a\":\"one.safetensors\",\"q\":\"one.safetensors\"}}", VKMOE_BAD_FORMAT,
         "tensor \"q\"", "one.safetensors"},
        {"{\"weight_map\":{\"a\":\"" INDEX "\"}}", VKMOE_BAD_FORMAT, "header claims", NULL},
    };
    write_shards();
    for (size_t i = 0; i < VKM_COUNT(rows); i++) {
        vkmoe_error err;
        size_t count;
        test_folder_write_text(INDEX, rows[i].map);
        expect_failure(try_folder(".", &err, &count), &err, rows[i].status, rows[i].text,
                       rows[i].text2);
    }
}

static void memory_running_out_at_any_allocation_is_a_status_and_no_leak(void **state)
{
    (void)state;
    vkmoe_status status = VKMOE_OUT_OF_HOST_MEMORY;
    write_shards();
    test_folder_write_text(INDEX, "{\"weight_map\":{\"b\":\"two.safetensors\","
                                  "\"a\":\"one.safetensors\"}}");
    for (long n = 0; status != VKMOE_OK; n++) {
        assert_true(n < 1000);
        struct scarce scarce = {.fail_at = n};
        vkmoe_allocator a = scarce_allocator(&scarce);
        struct vkm_checkpoint *c = NULL;
        vkmoe_error err;
        status = vkm_checkpoint_open(&a, test_folder_path("."), &c, &err);
        if (status != VKMOE_OK)
            expect_failure(status, &err, VKMOE_OUT_OF_HOST_MEMORY, NULL, NULL);
        else
            assert_true(n > 10);
        vkm_checkpoint_close(c);
        assert_int_equal(scarce.live, 0);
    }
}

static void the_error_may_be_null(void **state)
{
    (void)state;
    size_t count;
    assert_int_equal(try_folder(".", NULL, &count), VKMOE_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FOLDER(shards_open_as_one_checkpoint_of_what_the_index_maps),
        TEST_IN_FOLDER(one_file_is_preferred_to_an_index),
        TEST_IN_FOLDER(a_folder_without_weights_is_not_found_by_both_names),
        TEST_IN_FOLDER(every_malformed_index_is_refused_with_its_reason),
        TEST_IN_FOLDER(memory_running_out_at_any_allocation_is_a_status_and_no_leak),
        TEST_IN_FOLDER(the_error_may_be_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
