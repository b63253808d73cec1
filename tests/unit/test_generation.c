/* generation_config.json: what is read, what is left alone, and what is refused. */
#include "base/base.h"
#include "model/config.h"
#include "unit.h"

static const struct vkm_generation_defaults start = {
    true, {.temperature = 0.5f, .top_k = 7, .top_p = 0.25f}, {5, 6}, 2};

static vkmoe_status load_generation(const char *text, struct vkm_generation_defaults *d,
                                    vkmoe_error *err)
{
    *d = start;
    if (text)
        test_folder_write_text("generation_config.json", text);
    return vkm_generation_load(NULL, test_folder_path("."), d, err);
}

static void generation_defaults_are_read(void **state)
{
    (void)state;
    vkmoe_error err = {VKMOE_OK, "untouched"};
    struct vkm_generation_defaults d = start;
    assert_int_equal(vkm_generation_load(NULL, VKMOE_TEST_MODEL, &d, &err), VKMOE_OK);
    assert_true(d.do_sample);
    assert_true(d.sampling.temperature == 0.8f);
    assert_true(d.sampling.top_p == 0.95f);
    assert_int_equal(d.sampling.top_k, 7);
    assert_int_equal(d.n_eos, 1);
    assert_int_equal(d.eos_token_ids[0], 1535);
    assert_int_equal(load_generation("{\"do_sample\": false, \"top_k\": 50, \"temperature\": 1,"
                                     " \"eos_token_id\": [3, 2, 1]}",
                                     &d, &err),
                     VKMOE_OK);
    assert_false(d.do_sample);
    assert_int_equal(d.sampling.top_k, 50);
    assert_true(d.sampling.temperature == 1.0f);
    assert_true(d.sampling.top_p == 0.25f);
    assert_int_equal(d.n_eos, 3);
    assert_int_equal(d.eos_token_ids[2], 1);
    assert_string_equal(err.message, "untouched");
}

static void absent_generation_defaults_leave_what_was_there(void **state)
{
    (void)state;
    vkmoe_error err = {VKMOE_OK, "untouched"};
    struct vkm_generation_defaults d;
    static const char *const texts[] = {NULL, "{}", "{\"top_p\": null, \"eos_token_id\": null}"};
    for (size_t i = 0; i < VKM_COUNT(texts); i++) {
        assert_int_equal(load_generation(texts[i], &d, &err), VKMOE_OK);
        assert_memory_equal(&d, &start, sizeof(d));
        assert_string_equal(err.message, "untouched");
    }
}

static void malformed_generation_defaults_are_refused_and_change_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        vkmoe_status status;
        const char *key;
    } rows[] = {
        {"", VKMOE_BAD_FORMAT, "not valid JSON"},
        {"{\"do_sample\": 1}", VKMOE_BAD_FORMAT, "do_sample"},
        {"{\"do_sample\": false, \"temperature\": -1}", VKMOE_BAD_FORMAT, "temperature"},
        {"{\"temperature\": \"1\"}", VKMOE_BAD_FORMAT, "temperature"},
        {"{\"top_p\": 1.5}", VKMOE_BAD_FORMAT, "top_p"},
        {"{\"top_k\": -1}", VKMOE_BAD_FORMAT, "top_k"},
        {"{\"top_k\": 1.0}", VKMOE_BAD_FORMAT, "top_k"},
        {"{\"eos_token_id\": \"x\"}", VKMOE_BAD_FORMAT, "eos_token_id"},
        {"{\"eos_token_id\": [1, -1]}", VKMOE_BAD_FORMAT, "eos_token_id[1]"},
        {"{\"eos_token_id\": [1,2,3,4,5,6,7,8,9]}", VKMOE_UNSUPPORTED, "9 entries"},
    };
    for (size_t i = 0; i < VKM_COUNT(rows); i++) {
        struct vkm_generation_defaults d;
        vkmoe_error err;
        expect_failure(load_generation(rows[i].text, &d, &err), &err, rows[i].status, rows[i].key,
                       "generation_config.json");
        assert_memory_equal(&d, &start, sizeof(d));
    }
}

static void memory_running_out_at_any_allocation_is_a_status_and_no_leak(void **state)
{
    (void)state;
    vkmoe_status status = VKMOE_OUT_OF_HOST_MEMORY;
    for (long n = 0; status != VKMOE_OK; n++) {
        assert_true(n < 1000);
        struct scarce scarce = {.fail_at = n};
        vkmoe_allocator a = scarce_allocator(&scarce);
        struct vkm_generation_defaults d = start;
        vkmoe_error err;
        status = vkm_generation_load(&a, VKMOE_TEST_MODEL, &d, &err);
        if (status != VKMOE_OK)
            expect_failure(status, &err, VKMOE_OUT_OF_HOST_MEMORY, NULL, NULL);
        assert_int_equal(scarce.live, 0);
    }
}

static void the_error_may_be_null(void **state)
{
    (void)state;
    struct vkm_generation_defaults d;
    assert_int_equal(load_generation("[]", &d, NULL), VKMOE_BAD_FORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FOLDER(generation_defaults_are_read),
        TEST_IN_FOLDER(absent_generation_defaults_leave_what_was_there),
        TEST_IN_FOLDER(malformed_generation_defaults_are_refused_and_change_nothing),
        TEST_IN_FOLDER(memory_running_out_at_any_allocation_is_a_status_and_no_leak),
        TEST_IN_FOLDER(the_error_may_be_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
