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

static char *shaders;  /* the driver's own cache, kept apart: it is not what is tested */
static char *expected; /* text */

static const char *const command[] = {VKMOE_PROGRAM, "run",    "-p", "ROMEO:", "-n",
                                      "8",           "--temp", "0",  NULL};

/* The one file of our cache below the test's folder, and how many files there are. */
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
    nftw(test_folder(), visit, 16, FTW_PHYS);
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

/* What is in the file that a first run leaves; released by the caller. */
static unsigned char *make_cache(size_t *size)
{
    expect_same(test_folder());
    assert_int_equal(count_files(), 1);
    unsigned char *bytes = test_file_read(found, size);
    assert_true(*size > HEADER);
    return bytes;
}

static void a_folder_that_cannot_be_made(void **state)
{
    char below[4096];
    (void)state;
    expect_same("/proc/vkmoe");
    snprintf(below, sizeof(below), "%s/file", test_folder());
    snprintf(found, sizeof(found), "%s", below);
    test_file_write(found, "text", 4);
    strcat(below, "/below");
    expect_same(below);
    assert_int_equal(count_files(), 1);
}

static void a_truncated_file(void **state)
{
    (void)state;
    size_t size;
    unsigned char *bytes = make_cache(&size);
    const size_t lengths[] = {0, HEADER - 1, HEADER, size / 2, size - 1};
    for (size_t i = 0; i < VKM_COUNT(lengths); i++) {
        test_file_write(found, bytes, lengths[i]);
        expect_same(test_folder());
        assert_int_equal(count_files(), 1);
    }
    free(bytes);
}

static void a_file_of_garbage(void **state)
{
    (void)state;
    size_t size;
    unsigned char *bytes = make_cache(&size);
    size += 4096;
    free(bytes);
    bytes = malloc(size);
    assert_non_null(bytes);
    memset(bytes, 0xa5, size);
    test_file_write(found, bytes, size);
    free(bytes);
    expect_same(test_folder());
}

/* In order as far as vkmoe can tell; the driver finds another UUID in it. */
static void a_file_of_another_driver(void **state)
{
    (void)state;
    size_t size;
    unsigned char *bytes = make_cache(&size);
    assert_true(size >= HEADER + 32); /* VkPipelineCacheHeaderVersionOne */
    memset(bytes + HEADER + 16, 0x3c, 16);
    uint64_t hash = vkm_hash(VKM_HASH_INIT, bytes + HEADER, size - HEADER);
    memcpy(bytes + 16, &hash, sizeof(hash));
    test_file_write(found, bytes, size);
    free(bytes);
    expect_same(test_folder());
}

static void two_processes_that_start_at_once(void **state)
{
    (void)state;
    struct test_process p[2] = {0};
    setenv("XDG_CACHE_HOME", test_folder(), 1);
    for (int i = 0; i < 2; i++)
        test_process_start(&p[i], command);
    for (int i = 0; i < 2; i++) {
        test_process_wait(&p[i]);
        expect_text(&p[i]);
    }
    assert_int_equal(count_files(), 1);
}

static int measure(void **state)
{
    struct test_process p = {0};
    (void)state;
    shaders = test_folder_make();
    setenv("MESA_SHADER_CACHE_DIR", shaders, 1);
    test_folder_setup(state);
    setenv("XDG_CACHE_HOME", test_folder(), 1);
    test_process_run(&p, command);
    test_folder_teardown(state);
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
    const struct CMUnitTest tests[] = {
        TEST_IN_FOLDER(a_folder_that_cannot_be_made),
        TEST_IN_FOLDER(a_truncated_file),
        TEST_IN_FOLDER(a_file_of_garbage),
        TEST_IN_FOLDER(a_file_of_another_driver),
        TEST_IN_FOLDER(two_processes_that_start_at_once),
    };
    return cmocka_run_group_tests_name("the cache folder does not change the text", tests, measure,
                                       drop_shaders);
}
