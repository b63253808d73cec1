/* Folders that appear whole or not at all. */
#include <sys/stat.h>
#include <unistd.h>

#include "base/folder.h"
#include "unit.h"

static void put(const struct vkm_folder *f, const char *name, const char *text)
{
    char *path = vkm_folder_file(f, name);
    assert_non_null(path);
    test_file_write(path, text, strlen(text));
    vkm_free(NULL, path);
}

static void it_has_its_name_when_all_is_written(void **state)
{
    struct vkm_folder *f;
    vkmoe_error err;
    size_t size;
    (void)state;
    assert_ok(vkm_folder_create(NULL, test_folder_path("out//"), &f, &err), &err);
    put(f, "a", "one");
    put(f, "b", "two");
    assert_int_not_equal(access(test_folder_path("out"), F_OK), 0);
    assert_ok(vkm_folder_commit(f, &err), &err);
    assert_int_equal(test_folder_count(test_folder()), 1);
    assert_int_equal(test_folder_count(test_folder_path("out")), 2);
    char *text = test_file_read(test_folder_path("out/b"), &size);
    assert_string_equal(text, "two");
    free(text);
}

static void nothing_is_left_of_what_is_dropped(void **state)
{
    struct vkm_folder *f;
    vkmoe_error err;
    (void)state;
    assert_ok(vkm_folder_create(NULL, test_folder_path("out"), &f, &err), &err);
    put(f, "a", "one");
    assert_int_equal(test_folder_count(test_folder()), 1);
    vkm_folder_abort(f);
    vkm_folder_abort(NULL);
    assert_int_equal(test_folder_count(test_folder()), 0);
}

static void what_is_there_is_not_replaced(void **state)
{
    struct vkm_folder *f;
    vkmoe_error err;
    (void)state;
    assert_int_equal(mkdir(test_folder_path("folder"), 0700), 0);
    assert_int_equal(symlink("nowhere", test_folder_path("link")), 0);
    test_folder_write_text("file", "");
    static const char *const names[] = {"folder", "link", "file"};
    for (size_t i = 0; i < VKM_COUNT(names); i++)
        expect_failure(vkm_folder_create(NULL, test_folder_path(names[i]), &f, &err), &err,
                       VKMOE_INVALID_ARGUMENT, "exists already", names[i]);
    assert_int_equal(test_folder_count(test_folder()), 3);
}

static void a_name_taken_meanwhile_stays_with_who_took_it(void **state)
{
    struct vkm_folder *f;
    vkmoe_error err;
    (void)state;
    assert_ok(vkm_folder_create(NULL, test_folder_path("out"), &f, &err), &err);
    put(f, "a", "one");
    assert_int_equal(mkdir(test_folder_path("out"), 0700), 0);
    expect_failure(vkm_folder_commit(f, &err), &err, VKMOE_IO, "cannot write the folder", "exists");
    assert_int_equal(test_folder_count(test_folder()), 1);
    assert_int_equal(test_folder_count(test_folder_path("out")), 0);
}

static void where_no_folder_can_be_made_the_reason_is_told(void **state)
{
    struct vkm_folder *f;
    vkmoe_error err;
    (void)state;
    expect_failure(vkm_folder_create(NULL, test_folder_path("no/such"), &f, &err), &err, VKMOE_IO,
                   "no/such", "No such file");
}

static void memory_may_run_out_anywhere(void **state)
{
    vkmoe_status status = VKMOE_OUT_OF_HOST_MEMORY;
    (void)state;
    for (long n = 0; status != VKMOE_OK; n++) {
        struct scarce s = {.fail_at = n};
        vkmoe_allocator a = scarce_allocator(&s);
        struct vkm_folder *f = NULL;
        vkmoe_error err;
        status = vkm_folder_create(&a, test_folder_path("out"), &f, &err);
        if (status == VKMOE_OK)
            vkm_folder_abort(f);
        else
            expect_failure(status, &err, VKMOE_OUT_OF_HOST_MEMORY, "memory", NULL);
        assert_int_equal(s.live, 0);
        assert_int_equal(test_folder_count(test_folder()), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FOLDER(it_has_its_name_when_all_is_written),
        TEST_IN_FOLDER(nothing_is_left_of_what_is_dropped),
        TEST_IN_FOLDER(what_is_there_is_not_replaced),
        TEST_IN_FOLDER(a_name_taken_meanwhile_stays_with_who_took_it),
        TEST_IN_FOLDER(where_no_folder_can_be_made_the_reason_is_told),
        TEST_IN_FOLDER(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests_name("folder", tests, NULL, NULL);
}
