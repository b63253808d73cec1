/* What loading and running a model adds to the process, beyond an opened device. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

#define TOKENS 64

static double peak_bytes(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss * 1024;
}

static bool ignore_token(void *user, int32_t token)
{
    (void)user, (void)token;
    return true;
}

/* Bytes that the process took at most, beyond those of an opened device. */
static double added_by_a_model(void)
{
    vkmoe_error err;
    vkmoe_device *device;
    vkmoe_model *model;
    vkmoe_session *session;
    const int32_t prompt[] = {1534, 887, 58, 10};
    vkmoe_generate_params generation = {
        .max_tokens = TOKENS, .ignore_eos = true, .on_token = ignore_token};

    assert_ok(vkmoe_device_open(NULL, &device, &err), &err);
    double before = peak_bytes();
    assert_ok(vkmoe_model_load(device, VKMOE_TEST_MODEL, NULL, &model, &err), &err);
    assert_ok(vkmoe_session_create(model, NULL, &session, &err), &err);
    assert_ok(vkmoe_session_eval(session, prompt, 4, NULL, &err), &err);
    assert_ok(vkmoe_session_generate(session, &generation, NULL, &err), &err);
    double added = peak_bytes() - before;
    vkmoe_session_destroy(session);
    vkmoe_model_destroy(model);
    vkmoe_device_close(device);
    return added;
}

/* What a driver's compiler takes is not the model's: another process fills the caches first. */
static void fill_caches(void)
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        added_by_a_model();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void host_memory_stays_within_1_2_times_the_model_and_100_mib(void **state)
{
    struct stat file;
    (void)state;
    assert_int_equal(stat(VKMOE_TEST_MODEL "/model.safetensors", &file), 0);
    fill_caches();
    double added = added_by_a_model();
    printf("model %.1f MB, added %.1f MB\n", (double)file.st_size / 1e6, added / 1e6);
    assert_true(added <= 1.2 * (double)file.st_size + 100 * 0x1p20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(host_memory_stays_within_1_2_times_the_model_and_100_mib),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
