/* The pipeline cache on disk: whatever is found there, the results are the same and nothing fails.
 * With --use FOLDER: one process of several that use that cache at once. */
#include "gpu_fixture.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HEADER = 24, SIZE = 256, STEPS = 3 }; /* of the file's own header: magic, size, hash */

static char *folder;
static uint64_t expected; /* result without any cache */

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

/* What a process that uses the cache in `dir` sees. */
struct use {
    struct test_log log;
    size_t loaded; /* bytes that the device took over */
    char path[4096];
};

static uint64_t use_cache(const char *dir, struct use *use)
{
    struct vkm_gpu_params params = gpu_test_params(&use->log);
    struct workload w;
    params.cache_dir = dir;
    struct vkm_gpu *gpu = gpu_test_open(&params);
    use->loaded = gpu->cache_loaded;
    snprintf(use->path, sizeof(use->path), "%s", gpu->cache_path ? gpu->cache_path : "");
    workload_init(&w, gpu, SIZE, STEPS);
    uint64_t result = workload_run(&w);
    vkm_gpu_save_cache(gpu);
    vkm_gpu_save_cache(gpu); /* has nothing more to do */
    workload_finish(&w);
    gpu_test_close(gpu, &use->log);
    return result;
}

static int measure_expected(void **state)
{
    (void)state;
    struct use use;
    expected = use_cache("", &use);
    return use.path[0] == '\0' && use.log.warnings == 0 ? 0 : -1;
}

#define expect_same(dir, use) assert_true(use_cache((dir), (use)) == expected)

static void a_cache_is_made_and_used_again(void **state)
{
    (void)state;
    struct use first, second;
    char missing[4096];
    struct stat st;
    snprintf(missing, sizeof(missing), "%s/not/yet/there", folder);
    expect_same(missing, &first);
    assert_int_equal(first.loaded, 0);
    assert_int_equal(stat(first.path, &st), 0);
    assert_int_equal(test_folder_count(missing), 1);
    assert_true(st.st_size > HEADER);
    expect_same(missing, &second);
    assert_string_equal(second.path, first.path);
    assert_int_equal(second.loaded, st.st_size - HEADER);
    struct stat again; /* not written anew when there is nothing new (SwiftShader's always grows) */
    assert_int_equal(stat(first.path, &again), 0);
    assert_true((again.st_mtim.tv_sec == st.st_mtim.tv_sec &&
                 again.st_mtim.tv_nsec == st.st_mtim.tv_nsec) ||
                again.st_size != st.st_size);
    assert_int_equal(test_folder_count(missing), 1);
    assert_int_equal(first.log.warnings + second.log.warnings, 0);
}

/* The file is replaced by these bytes: a device that opens ignores them with a warning. */
static void check_damaged(const char *path, const void *bytes, size_t size)
{
    struct test_log log;
    struct vkm_gpu_params params = gpu_test_params(&log);
    params.cache_dir = folder;
    test_file_write(path, bytes, size);
    struct vkm_gpu *gpu = gpu_test_open(&params);
    assert_int_equal(gpu->cache_loaded, 0);
    gpu_test_close(gpu, &log);
    assert_int_equal(log.warnings, 1);
    assert_non_null(strstr(log.warning, "damaged"));
    assert_non_null(strstr(log.warning, path));
}

static void a_damaged_file_is_ignored_and_mended(void **state)
{
    (void)state;
    struct use use;
    size_t size;
    expect_same(folder, &use);
    unsigned char *bytes = test_file_read(use.path, &size);
    assert_true(size > HEADER + 16);
    const size_t places[] = {0, 7, 8, 15, 16, 23, HEADER, HEADER + 8, size / 2, size - 1};
    for (size_t i = 0; i < VKM_COUNT(places); i++) {
        bytes[places[i]] ^= 0x10;
        check_damaged(use.path, bytes, size);
        bytes[places[i]] ^= 0x10;
    }
    const size_t lengths[] = {0, 1, HEADER - 1, HEADER, HEADER + 1, size - 1, size + 1};
    for (size_t i = 0; i < VKM_COUNT(lengths); i++)
        check_damaged(use.path, bytes, lengths[i]);
    bytes[size / 2] ^= 1;
    check_damaged(use.path, bytes, size);
    free(bytes);
    expect_same(folder, &use); /* and what it then makes takes the file's place */
    assert_int_equal(use.log.warnings, 1);
    expect_same(folder, &use);
    assert_true(use.loaded > 0);
    assert_int_equal(use.log.warnings, 0);
    assert_int_equal(test_folder_count(folder), 1);
}

/* A file that is in order as far as vkmoe can tell, with `change` made to what the driver gets. */
static void check_driver_sees(size_t at, unsigned char change, size_t length)
{
    struct use use;
    size_t size;
    expect_same(folder, &use);
    unsigned char *bytes = test_file_read(use.path, &size);
    bytes[HEADER + at] ^= change;
    size = length && HEADER + length < size ? HEADER + length : size;
    uint64_t payload = size - HEADER;
    uint64_t hash = vkm_hash(VKM_HASH_INIT, bytes + HEADER, payload);
    memcpy(bytes + 8, &payload, 8);
    memcpy(bytes + 16, &hash, 8);
    test_file_write(use.path, bytes, size);
    free(bytes);
    expect_same(folder, &use);
    assert_int_equal(use.log.errors, 0);
    remove(use.path);
}

static void another_drivers_cache_is_left_to_the_driver_to_refuse(void **state)
{
    (void)state;
    /* VkPipelineCacheHeaderVersionOne: size, version, vendor, device, 16 bytes of UUID */
    check_driver_sees(16, 0xff, 0);
    check_driver_sees(31, 0x01, 0);
    check_driver_sees(8, 0x20, 0);
    check_driver_sees(12, 0x20, 0);
    check_driver_sees(0, 0x00, 32); /* its header alone */
}

static void a_file_that_cannot_be_read_is_only_warned_about(void **state)
{
    (void)state;
    struct use use;
    expect_same(folder, &use);
    remove(use.path);
    assert_int_equal(mkdir(use.path, 0755), 0);
    expect_same(folder, &use);
    assert_int_equal(use.log.warnings, 3); /* read, and written twice */
    assert_non_null(strstr(use.log.warning, "not kept"));
    rmdir(use.path);
    assert_int_equal(symlink(use.path, use.path), 0);
    expect_same(folder, &use);
    assert_int_equal(use.log.warnings, 1); /* the link is replaced */
    assert_non_null(strstr(use.log.warning, "ignored"));
    expect_same(folder, &use);
    assert_int_equal(use.log.warnings, 0);
    if (geteuid() == 0)
        return; /* whom no permission keeps out */
    assert_int_equal(chmod(use.path, 0), 0);
    expect_same(folder, &use);
    assert_true(use.log.warnings > 0);
}

static void a_folder_that_cannot_be_written_is_only_warned_about(void **state)
{
    (void)state;
    struct use use;
    char dir[4096];
    expect_same("/proc/vkmoe", &use);
    assert_true(use.log.warnings > 0);
    assert_non_null(strstr(use.log.warning, "not kept"));
    snprintf(dir, sizeof(dir), "%s/file", folder);
    test_file_write(dir, "text", 4);
    strcat(dir, "/below");
    expect_same(dir, &use);
    assert_true(use.log.warnings > 0);
    if (geteuid() == 0)
        return;
    assert_int_equal(chmod(folder, 0555), 0);
    expect_same(folder, &use);
    assert_int_equal(chmod(folder, 0755), 0);
    assert_true(use.log.warnings > 0);
}

static void the_users_cache_folder_is_the_default(void **state)
{
    (void)state;
    struct use use;
    char start[4096], *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char *old_xdg = xdg ? strdup(xdg) : NULL, *old_home = home ? strdup(home) : NULL;
    setenv("XDG_CACHE_HOME", folder, 1);
    expect_same(NULL, &use);
    snprintf(start, sizeof(start), "%s/vkmoe/", folder);
    assert_int_equal(strncmp(use.path, start, strlen(start)), 0);
    setenv("XDG_CACHE_HOME", "relative/is/ignored", 1);
    setenv("HOME", folder, 1);
    expect_same(NULL, &use);
    snprintf(start, sizeof(start), "%s/.cache/vkmoe/", folder);
    assert_int_equal(strncmp(use.path, start, strlen(start)), 0);
    unsetenv("HOME"); /* then there is none */
    expect_same(NULL, &use);
    assert_string_equal(use.path, "");
    assert_int_equal(use.log.warnings, 0);
    unsetenv("XDG_CACHE_HOME");
    if (old_xdg)
        setenv("XDG_CACHE_HOME", old_xdg, 1);
    if (old_home)
        setenv("HOME", old_home, 1);
    free(old_xdg);
    free(old_home);
}

static pid_t start_user(const char *dir)
{
    pid_t child = fork();
    if (child == 0) {
        execl("/proc/self/exe", "test_gpu_cache", "--use", dir, (char *)NULL);
        _exit(99);
    }
    return child;
}

static void two_processes_may_share_a_cache(void **state)
{
    (void)state;
    struct use use;
    for (int round = 0; round < 2; round++) { /* without a file, and with one */
        pid_t children[2];
        for (int i = 0; i < 2; i++)
            children[i] = start_user(folder);
        for (int i = 0; i < 2; i++) {
            int status = -1;
            assert_int_equal(waitpid(children[i], &status, 0), children[i]);
            assert_true(WIFEXITED(status));
            assert_int_equal(WEXITSTATUS(status), 0);
        }
        assert_int_equal(test_folder_count(folder), 1);
    }
    expect_same(folder, &use);
    assert_true(use.loaded > 0);
    assert_int_equal(use.log.warnings, 0);
}

/* Exit status 0: no complaint, and the result that a fresh device without a cache gives. */
static void use_twice(void **state)
{
    (void)state;
    struct use use;
    assert_int_equal(measure_expected(NULL), 0);
    expect_same(folder, &use);
    assert_int_equal(use.log.warnings, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest child[] = {cmocka_unit_test(use_twice)};
    if (argc == 3 && strcmp(argv[1], "--use") == 0) {
        folder = argv[2];
        freopen("/dev/null", "w", stdout);
        return cmocka_run_group_tests(child, NULL, NULL);
    }
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, drop_folder)
    const struct CMUnitTest tests[] = {
        TEST(a_cache_is_made_and_used_again),
        TEST(a_damaged_file_is_ignored_and_mended),
        TEST(another_drivers_cache_is_left_to_the_driver_to_refuse),
        TEST(a_file_that_cannot_be_read_is_only_warned_about),
        TEST(a_folder_that_cannot_be_written_is_only_warned_about),
        TEST(the_users_cache_folder_is_the_default),
        TEST(two_processes_may_share_a_cache),
    };
    return cmocka_run_group_tests(tests, measure_expected, NULL);
}
