/* The base layer's files: maps, whole files, and writes that appear whole or not at all. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

#define NOBODY 65534

/* Others, too, may look into it: some tests run as another user. */
static int open_folder(void **state)
{
    test_folder_setup(state);
    return chmod(test_folder(), 0755);
}

/* Permissions do not hold root back: until be_owner, act as a user without rights. */
static void be_stranger(void)
{
    if (geteuid() == 0)
        assert_int_equal(seteuid(NOBODY), 0);
}

static void be_owner(void)
{
    if (getuid() == 0)
        assert_int_equal(seteuid(0), 0);
}

static void expect_content(const char *name, const char *text)
{
    size_t size;
    char *content = test_file_read(test_folder_path(name), &size);
    assert_string_equal(content, text);
    assert_int_equal(size, strlen(text));
    free(content);
}

/* --- reading --- */

static void a_file_is_read_at_any_place(void **state)
{
    (void)state;
    vkmoe_error err;
    struct vkm_file file;
    char part[8] = "";
    const char *path = test_folder_path("file");
    test_folder_write_text("file", "what is in it");
    assert_int_equal(vkm_file_open(path, &file, &err), VKMOE_OK);
    assert_int_equal(file.size, 13);
    assert_int_equal(vkm_file_read_at(&file, 8, part, 5, &err), VKMOE_OK);
    assert_string_equal(part, "in it");
    assert_int_equal(vkm_file_read_at(&file, 0, part, 4, &err), VKMOE_OK);
    assert_string_equal(part, "whatt");
    assert_int_equal(vkm_file_read_at(&file, 13, part, 0, &err), VKMOE_OK);
    vkm_file_close(&file);
    vkm_file_close(&file);
}

static void a_file_cut_while_it_is_open_is_an_io_failure(void **state)
{
    (void)state;
    vkmoe_error err;
    struct vkm_file file;
    char part[10000];
    const char *path = test_folder_path("file");
    memset(part, 7, sizeof(part));
    test_folder_write("file", part, sizeof(part));
    assert_int_equal(vkm_file_open(path, &file, &err), VKMOE_OK);
    assert_int_equal(truncate(path, 5000), 0);
    assert_int_equal(vkm_file_read_at(&file, 0, part, 5000, &err), VKMOE_OK);
    expect_failure(vkm_file_read_at(&file, 0, part, 5001, &err), &err, VKMOE_IO, path,
                   "ends before byte 5001, expected 10000 bytes");
    assert_int_equal(truncate(path, 0), 0);
    expect_failure(vkm_file_read_at(&file, 9999, part, 1, &err), &err, VKMOE_IO, path,
                   "ends before byte 10000");
    vkm_file_close(&file);
}

static void what_is_no_file_is_refused_without_waiting(void **state)
{
    (void)state;
    vkmoe_error err;
    struct vkm_file file;
    char *data = NULL;
    size_t size = 0;
    test_folder_write_text("file", "text");
    assert_int_equal(mkfifo(test_folder_path("pipe"), 0600), 0);
    assert_int_equal(symlink("loop", test_folder_path("loop")), 0);
    const struct {
        const char *path;
        vkmoe_status status;
    } cases[] = {
        {"nothing", VKMOE_NOT_FOUND}, {"file/below", VKMOE_NOT_FOUND},
        {".", VKMOE_BAD_FORMAT},      {"pipe", VKMOE_BAD_FORMAT},
        {"loop", VKMOE_IO},
    };
    for (size_t i = 0; i < VKM_COUNT(cases); i++) {
        const char *path = test_folder_path(cases[i].path);
        expect_failure(vkm_file_open(path, &file, &err), &err, cases[i].status, path, NULL);
        vkm_file_close(&file);
        expect_failure(vkm_file_read(NULL, path, 100, &data, &size, &err), &err, cases[i].status,
                       path, NULL);
    }
    expect_failure(vkm_file_read(NULL, "/dev/zero", 100, &data, &size, &err), &err,
                   VKMOE_BAD_FORMAT, "/dev/zero", "not a regular file");
    assert_null(data);
}

static void a_file_that_may_not_be_read_is_an_io_failure(void **state)
{
    (void)state;
    vkmoe_error err;
    struct vkm_file file;
    char *data;
    size_t size;
    test_folder_write_text("secret", "text");
    assert_int_equal(chmod(test_folder_path("secret"), 0), 0);
    be_stranger();
    vkmoe_status opened = vkm_file_open(test_folder_path("secret"), &file, &err);
    vkmoe_status read = vkm_file_read(NULL, test_folder_path("secret"), 100, &data, &size, &err);
    be_owner();
    assert_int_equal(opened, VKMOE_IO);
    expect_failure(read, &err, VKMOE_IO, "secret", strerror(EACCES));
}

static void a_whole_file_is_read_up_to_the_limit(void **state)
{
    (void)state;
    vkmoe_error err;
    char *data = NULL;
    size_t size = 99;
    test_folder_write("file", "ten\0bytes!", 10);
    assert_int_equal(vkm_file_read(NULL, test_folder_path("file"), 10, &data, &size, &err),
                     VKMOE_OK);
    assert_int_equal(size, 10);
    assert_memory_equal(data, "ten\0bytes!", 11);
    vkm_free(NULL, data);
    expect_failure(vkm_file_read(NULL, test_folder_path("file"), 9, &data, &size, &err), &err,
                   VKMOE_BAD_FORMAT, "10 bytes", "at most 9");
    test_folder_write_text("file", "");
    assert_int_equal(vkm_file_read(NULL, test_folder_path("file"), 0, &data, &size, &err),
                     VKMOE_OK);
    assert_int_equal(size, 0);
    assert_string_equal(data, "");
    vkm_free(NULL, data);
}

static void reading_without_memory_fails_cleanly(void **state)
{
    (void)state;
    vkmoe_error err;
    char *data = NULL;
    size_t size = 0;
    struct scarce scarce = {.fail_at = 0};
    vkmoe_allocator a = scarce_allocator(&scarce);
    test_folder_write_text("file", "text");
    expect_failure(vkm_file_read(&a, test_folder_path("file"), 100, &data, &size, &err), &err,
                   VKMOE_OUT_OF_HOST_MEMORY, "file", NULL);
    assert_null(data);
    assert_int_equal(scarce.live, 0);
}

/* --- writing --- */

static struct vkm_writer *open_writer(const char *name)
{
    vkmoe_error err;
    struct vkm_writer *w = NULL;
    if (vkm_writer_open(NULL, test_folder_path(name), &w, &err) != VKMOE_OK)
        fail_msg("%s", err.message);
    return w;
}

static void a_commit_replaces_the_old_file_whole(void **state)
{
    (void)state;
    vkmoe_error err;
    struct vkm_file before;
    char old[12];
    test_folder_write_text("out", "the old text");
    assert_int_equal(vkm_file_open(test_folder_path("out"), &before, &err), VKMOE_OK);
    struct vkm_writer *w = open_writer("out");
    vkm_writer_write(w, "new ", 4);
    vkm_writer_write(w, NULL, 0);
    vkm_writer_write(w, "text", 4);
    expect_content("out", "the old text");
    assert_int_equal(vkm_writer_commit(w, &err), VKMOE_OK);
    expect_content("out", "new text");
    assert_int_equal(test_folder_count(test_folder()), 1);
    /* who has the old one open keeps it */
    assert_int_equal(vkm_file_read_at(&before, 0, old, sizeof(old), &err), VKMOE_OK);
    assert_memory_equal(old, "the old text", 12);
    vkm_file_close(&before);
}

static void an_abort_leaves_nothing_behind(void **state)
{
    (void)state;
    test_folder_write_text("out", "the old text");
    struct vkm_writer *w = open_writer("out");
    vkm_writer_write(w, "new", 3);
    vkm_writer_abort(w);
    w = open_writer("never");
    vkm_writer_abort(w);
    vkm_writer_abort(NULL);
    expect_content("out", "the old text");
    assert_int_equal(test_folder_count(test_folder()), 1);
}

static void two_writers_of_one_path_do_not_meet(void **state)
{
    (void)state;
    vkmoe_error err;
    struct vkm_writer *first = open_writer("out"), *second = open_writer("out");
    vkm_writer_write(first, "first", 5);
    vkm_writer_write(second, "second", 6);
    assert_int_equal(vkm_writer_commit(second, &err), VKMOE_OK);
    expect_content("out", "second");
    assert_int_equal(vkm_writer_commit(first, &err), VKMOE_OK);
    expect_content("out", "first");
    assert_int_equal(test_folder_count(test_folder()), 1);
}

static void the_mode_is_what_the_umask_leaves(void **state)
{
    (void)state;
    static const mode_t masks[] = {022, 027, 077, 0};
    vkmoe_error err;
    mode_t old = umask(022);
    for (size_t i = 0; i < VKM_COUNT(masks); i++) {
        struct stat st;
        umask(masks[i]);
        unlink(test_folder_path("out"));
        struct vkm_writer *w = open_writer("out");
        mode_t during = umask(masks[i]);
        assert_int_equal(vkm_writer_commit(w, &err), VKMOE_OK);
        assert_int_equal(stat(test_folder_path("out"), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0666 & ~masks[i]);
        assert_int_equal(during, masks[i]);
    }
    umask(old);
}

static void write_over(const char *name)
{
    vkmoe_error err;
    struct vkm_writer *w = open_writer(name);
    vkm_writer_write(w, "new", 3);
    assert_int_equal(vkm_writer_commit(w, &err), VKMOE_OK);
}

static void a_file_keeps_its_mode_and_a_link_its_target(void **state)
{
    (void)state;
    struct stat st;
    char target[4096];
    write_over("out");
    assert_int_equal(chmod(test_folder_path("out"), 0640), 0);
    snprintf(target, sizeof(target), "%s", test_folder_path("out"));
    assert_int_equal(symlink(target, test_folder_path("link")), 0);
    write_over("link");
    assert_int_equal(lstat(test_folder_path("link"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    expect_content("out", "new");
    assert_int_equal(stat(test_folder_path("out"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(test_folder_count(test_folder()), 2);
}

static void a_pipe_is_written_to_as_it_is(void **state)
{
    (void)state;
    struct stat st;
    char text[8] = "";
    assert_int_equal(mkfifo(test_folder_path("pipe"), 0600), 0);
    int reader = open(test_folder_path("pipe"), O_RDONLY | O_NONBLOCK);
    assert_true(reader >= 0);
    write_over("pipe");
    assert_int_equal(read(reader, text, sizeof(text)), 3);
    assert_string_equal(text, "new");
    close(reader);
    assert_int_equal(lstat(test_folder_path("pipe"), &st), 0);
    assert_true(S_ISFIFO(st.st_mode));
    assert_int_equal(test_folder_count(test_folder()), 1);
}

/* A full disk, as far as one can be had without a disk: files may not grow beyond `bytes`. */
static void check_full_disk(rlim_t bytes, size_t size)
{
    vkmoe_error err;
    struct rlimit old, limit;
    unsigned char *data = calloc(size, 1);
    assert_non_null(data);
    test_folder_write_text("out", "the old text");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    limit = (struct rlimit){.rlim_cur = bytes, .rlim_max = old.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    struct vkm_writer *w = open_writer("out");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    vkm_writer_write(w, data, size);
    vkm_writer_write(w, "more", 4);
    vkmoe_status status = vkm_writer_commit(w, &err);
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, handler);
    free(data);
    expect_failure(status, &err, VKMOE_IO, "out", strerror(EFBIG));
    expect_content("out", "the old text");
    assert_int_equal(test_folder_count(test_folder()), 1);
}

static void a_write_that_does_not_fit_leaves_the_old_file(void **state)
{
    (void)state;
    check_full_disk(4096, 1 << 20);
}

static void a_flush_that_does_not_fit_leaves_the_old_file(void **state)
{
    (void)state;
    check_full_disk(0, 16);
}

static void a_folder_is_not_written_to(void **state)
{
    (void)state;
    vkmoe_error err;
    struct stat st;
    struct vkm_writer *w = NULL;
    assert_int_equal(mkdir(test_folder_path("folder"), 0755), 0);
    expect_failure(vkm_writer_open(NULL, test_folder_path("folder"), &w, &err), &err, VKMOE_IO,
                   "folder", strerror(EISDIR));
    assert_null(w);
    assert_int_equal(stat(test_folder_path("folder"), &st), 0);
    assert_true(S_ISDIR(st.st_mode));
    assert_int_equal(test_folder_count(test_folder()), 1);
}

static void a_folder_that_may_not_be_written_is_an_io_failure(void **state)
{
    (void)state;
    vkmoe_error err;
    struct vkm_writer *w = NULL;
    test_folder_write_text("out", "the old text");
    assert_int_equal(chmod(test_folder_path("."), 0555), 0);
    be_stranger();
    vkmoe_status status = vkm_writer_open(NULL, test_folder_path("out"), &w, &err);
    be_owner();
    assert_int_equal(chmod(test_folder_path("."), 0755), 0);
    expect_failure(status, &err, VKMOE_IO, "out", strerror(EACCES));
    assert_null(w);
    expect_failure(vkm_writer_open(NULL, test_folder_path("no/where"), &w, &err), &err, VKMOE_IO,
                   "no/where", strerror(ENOENT));
    expect_failure(vkm_writer_open(NULL, test_folder_path("out/below"), &w, &err), &err, VKMOE_IO,
                   "out/below", strerror(ENOTDIR));
    assert_null(w);
    expect_content("out", "the old text");
    assert_int_equal(test_folder_count(test_folder()), 1);
}

static void writing_without_memory_fails_cleanly(void **state)
{
    (void)state;
    vkmoe_error err;
    struct vkm_writer *w = NULL;
    for (long n = 0;; n++) {
        struct scarce scarce = {.fail_at = n};
        vkmoe_allocator a = scarce_allocator(&scarce);
        if (vkm_writer_open(&a, test_folder_path("out"), &w, &err) == VKMOE_OK) {
            assert_true(n >= 3);
            vkm_writer_abort(w);
            assert_int_equal(scarce.live, 0);
            break;
        }
        assert_int_equal(err.status, VKMOE_OUT_OF_HOST_MEMORY);
        assert_int_equal(scarce.live, 0);
    }
    assert_int_equal(test_folder_count(test_folder()), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_folder, test_folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_file_is_read_at_any_place),
        TEST(a_file_cut_while_it_is_open_is_an_io_failure),
        TEST(what_is_no_file_is_refused_without_waiting),
        TEST(a_file_that_may_not_be_read_is_an_io_failure),
        TEST(a_whole_file_is_read_up_to_the_limit),
        TEST(reading_without_memory_fails_cleanly),
        TEST(a_commit_replaces_the_old_file_whole),
        TEST(an_abort_leaves_nothing_behind),
        TEST(two_writers_of_one_path_do_not_meet),
        TEST(the_mode_is_what_the_umask_leaves),
        TEST(a_file_keeps_its_mode_and_a_link_its_target),
        TEST(a_pipe_is_written_to_as_it_is),
        TEST(a_write_that_does_not_fit_leaves_the_old_file),
        TEST(a_flush_that_does_not_fit_leaves_the_old_file),
        TEST(a_folder_is_not_written_to),
        TEST(a_folder_that_may_not_be_written_is_an_io_failure),
        TEST(writing_without_memory_fails_cleanly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
