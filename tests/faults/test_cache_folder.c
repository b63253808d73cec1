/* Whatever becomes of the pipeline cache's folder, the program writes the same text and succeeds:
 * it costs time, and nothing else. (kernels/test_gpu_cache holds the library to it in detail; a
 * full disk is in test_null_driver, because lavapipe itself dies of one.) */
#include "process.h"
#include "support.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"

enum { HEADER = 24 }; /* of the file: magic, size, hash */

static char *folder;   /* of the running test */
static char *shaders;  /* the driver's own cache, kept apart: it is not what is tested */
static char *expected; /* text */

static const char *const command[] = {VKMOE_PROGRAM, "run",    "-p", "ROMEO:", "-n",
                                      "8",           "--temp", "0",  NULL};

/* The one file of our cache below the folder, and how many files there are. */
static char found[4096];
static int n_found;

static int visit(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st, (void)ftw;
    if (kind == FTW_F) {
        snprintf(found, sizeof(found), "%s", path);
        n_found++;
    }
    return 0;
}

static int count_files(void)
{
    n_found = 0;
    nftw(folder, visit, 16, FTW_PHYS);
    return n_found;
}

static void expect_text(struct test_process *p)
{
    if (p->code != 0 || strcmp(p->out, expected) != 0)
        fail_msg("exit code %d, text '%s', errors: %s", p->code, p->out, p->err);
    test_process_free(p);
}

static void expect_same(const char *cache)
{
    struct test_process p = {0};
    setenv("XDG_CACHE_HOME", cache, 1);
    test_process_run(&p, command);
    expect_text(&p);
}

static void write_found(const void *bytes, size_t size)
{
    FILE *file = fopen(found, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* What is in the file that a first run leaves; returns its size. */
static size_t make_cache(unsigned char *bytes, size_t room)
{
    expect_same(folder);
    assert_int_equal(count_files(), 1);
    FILE *file = fopen(found, "rb");
    assert_non_null(file);
    size_t size = fread(bytes, 1, room, file);
    fclose(file);
    assert_true(size > HEADER && size < room);
    return size;
}

static unsigned char bytes[64 << 20];

static void a_folder_that_cannot_be_made(void **state)
{
    char below[4096];
    (void)state;
    expect_same("/proc/vkmoe");
    snprintf(below, sizeof(below), "%s/file", folder);
    snprintf(found, sizeof(found), "%s", below);
    write_found("text", 4);
    strcat(below, "/below");
    expect_same(below);
    assert_int_equal(count_files(), 1);
}

static void a_truncated_file(void **state)
{
    (void)state;
    size_t size = make_cache(bytes, sizeof(bytes));
    const size_t lengths[] = {0, HEADER - 1, HEADER, size / 2, size - 1};
    for (size_t i = 0; i < VKM_COUNT(lengths); i++) {
        write_found(bytes, lengths[i]);
        expect_same(folder);
        assert_int_equal(count_files(), 1);
    }
}

static void a_file_of_garbage(void **state)
{
    (void)state;
    size_t size = make_cache(bytes, sizeof(bytes));
    memset(bytes, 0xa5, size + 4096);
    write_found(bytes, size + 4096);
    expect_same(folder);
}

/* In order as far as vkmoe can tell; the driver finds another UUID in it. */
static void a_file_of_another_driver(void **state)
{
    (void)state;
    size_t size = make_cache(bytes, sizeof(bytes));
    assert_true(size >= HEADER + 32); /* VkPipelineCacheHeaderVersionOne */
    memset(bytes + HEADER + 16, 0x3c, 16);
    uint64_t hash = vkm_hash(VKM_HASH_INIT, bytes + HEADER, size - HEADER);
    memcpy(bytes + 16, &hash, sizeof(hash));
    write_found(bytes, size);
    expect_same(folder);
}

static void two_processes_that_start_at_once(void **state)
{
    (void)state;
    struct test_process p[2] = {0};
    setenv("XDG_CACHE_HOME", folder, 1);
    for (int i = 0; i < 2; i++)
        test_process_start(&p[i], command);
    for (int i = 0; i < 2; i++) {
        test_process_wait(&p[i]);
        expect_text(&p[i]);
    }
    assert_int_equal(count_files(), 1);
}

static int make_folder(void **state)
{
    (void)state;
    folder = test_folder_make();
    return 0;
}

static int drop_folder(void **state)
{
    (void)state;
    test_folder_remove(folder);
    return 0;
}

static int measure(void **state)
{
    struct test_process p = {0};
    (void)state;
    shaders = test_folder_make();
    setenv("MESA_SHADER_CACHE_DIR", shaders, 1);
    make_folder(state);
    setenv("XDG_CACHE_HOME", folder, 1);
    test_process_run(&p, command);
    drop_folder(state);
    if (p.code != 0 || p.out_size == 0) {
        print_error("exit code %d: %s\n", p.code, p.err);
        return -1;
    }
    expected = strdup(p.out);
    test_process_free(&p);
    return 0;
}

static int drop_shaders(void **state)
{
    (void)state;
    free(expected);
    test_folder_remove(shaders);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, drop_folder)
    const struct CMUnitTest tests[] = {
        TEST(a_folder_that_cannot_be_made),
        TEST(a_truncated_file),
        TEST(a_file_of_garbage),
        TEST(a_file_of_another_driver),
        TEST(two_processes_that_start_at_once),
    };
    return cmocka_run_group_tests_name("the cache folder does not change the text", tests, measure,
                                       drop_shaders);
}
