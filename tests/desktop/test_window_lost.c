/* The device is lost in the middle of a text. The application's calls to vkmoe_device_open and
 * vkmoe_session_generate come here (see CMakeLists.txt). */
#include <string.h>

#include "../faults/lossy.h"
#include "desktop.h"

vkmoe_status __wrap_vkmoe_device_open(const vkmoe_device_params *params, vkmoe_device **out,
                                      vkmoe_error *err);
vkmoe_status __real_vkmoe_session_generate(vkmoe_session *s, const vkmoe_generate_params *params,
                                           size_t *count, vkmoe_error *err);
vkmoe_status __wrap_vkmoe_session_generate(vkmoe_session *s, const vkmoe_generate_params *params,
                                           size_t *count, vkmoe_error *err);

vkmoe_status __wrap_vkmoe_device_open(const vkmoe_device_params *params, vkmoe_device **out,
                                      vkmoe_error *err)
{
    return lossy_device_open(params, out, err);
}

vkmoe_status __wrap_vkmoe_session_generate(vkmoe_session *s, const vkmoe_generate_params *params,
                                           size_t *count, vkmoe_error *err)
{
    struct lossy_listener l;
    const vkmoe_generate_params own = lossy_params(&l, params);
    return __real_vkmoe_session_generate(s, &own, count, err);
}

static bool has_notice(void *data)
{
    return desktop_notice(data) != NULL;
}

static void a_lost_device_leaves_window_and_text(void **state)
{
    struct desktop d;
    (void)state;
    desktop_start(&d, NULL);
    desktop_wait_idle(&d);
    assert_null(desktop_notice(&d));
    desktop_type(&d, "ROMEO:");
    desktop_do(&d, "win.run");
    desktop_wait(has_notice, &d, "the loss should be said");
    assert_null(strchr(desktop_notice(&d), '\n'));
    desktop_screenshot(&d, 1280, 800, false, "device-lost");
    g_autofree char *text = desktop_text(&d);
    assert_true(g_str_has_prefix(text, "ROMEO:"));
    assert_true(strlen(text) > strlen("ROMEO:"));
    assert_false(desktop_can_do(&d, "win.run"));
    desktop_do(&d, "win.retry");
    desktop_wait_idle(&d);
    assert_null(desktop_notice(&d));
    g_object_set(moe_window_get_sampler(d.window), "max-tokens", 8, NULL);
    desktop_do(&d, "win.run"); /* goes on */
    desktop_wait_end(&d);
    g_autofree char *longer = desktop_text(&d);
    assert_true(g_str_has_prefix(longer, text));
    assert_true(strlen(longer) > strlen(text));
    desktop_stop(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lost_device_leaves_window_and_text),
    };
    return DESKTOP_RUN(tests);
}
