/* The command line of vkmoe-desktop, also where one is open already. */
#include <string.h>

#include "desktop.h"
#include "process.h"

static void the_command_line_says_version_and_options(void **state)
{
    struct test_process version = {0}, help = {0};
    (void)state;
    test_process_run(&version, (const char *const[]){VKMOE_DESKTOP_PROGRAM, "--version", NULL});
    test_process_assert_code(&version, 0);
    assert_string_equal(version.out, "vkmoe-desktop " VKMOE_VERSION "\n");
    test_process_run(&help, (const char *const[]){VKMOE_DESKTOP_PROGRAM, "--help", NULL});
    test_process_assert_code(&help, 0);
    test_assert_part(help.out, "--model");
    test_assert_part(help.out, "--device");
    test_assert_part(help.out, "[MODEL]");
    test_process_free(&version);
    test_process_free(&help);
}

static void a_wrong_command_line_is_one_sentence_and_exit_code_2(void **state)
{
    static const struct {
        const char *arguments[4], *part;
    } wrong[] = {
        {{"--bogus"}, "--bogus"},
        {{"--device"}, "--device"},
        {{"a", "b"}, "more than one model"},
        {{"-m", "a", "b"}, "more than one model"},
        {{"https://example.org/a.gguf"}, "https://example.org/a.gguf is no file of this machine"},
    };
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        struct test_process p = {0};
        const char *const *a = wrong[i].arguments;
        test_process_run(&p, (const char *const[]){VKMOE_DESKTOP_PROGRAM, a[0], a[1], a[2], NULL});
        test_process_assert_code(&p, 2);
        test_assert_part(p.err, wrong[i].part);
        test_process_free(&p);
    }
}

/* What a second vkmoe-desktop asks of the first, over the session's bus. */
static void ask(struct desktop *d, const char *device, const char *model)
{
    g_action_group_activate_action(G_ACTION_GROUP(d->application), "open-on",
                                   g_variant_new("(s^ay)", device, model));
    desktop_wait_idle(d);
}

static void one_that_is_open_takes_another_device_and_another_model(void **state)
{
    struct desktop d;
    (void)state;
    desktop_start(&d, NULL);
    desktop_wait_idle(&d);
    g_autofree char *shipped = g_strdup(moe_worker_get_loaded(d.worker)->params->model);
    assert_null(moe_worker_get_params(d.worker)->device);
    ask(&d, "reference", "");
    assert_null(desktop_notice(&d));
    assert_string_equal(moe_worker_get_loaded(d.worker)->params->device, "reference");
    assert_string_equal(moe_worker_get_loaded(d.worker)->params->model, shipped);
    ask(&d, "0", "/nonexistent");
    assert_string_equal(moe_worker_get_params(d.worker)->device, "0");
    assert_string_equal(moe_worker_get_params(d.worker)->model, "/nonexistent");
    assert_non_null(strstr(desktop_notice(&d), "/nonexistent"));
    desktop_stop(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_command_line_says_version_and_options),
        cmocka_unit_test(a_wrong_command_line_is_one_sentence_and_exit_code_2),
        cmocka_unit_test(one_that_is_open_takes_another_device_and_another_model),
    };
    return DESKTOP_RUN(tests);
}
