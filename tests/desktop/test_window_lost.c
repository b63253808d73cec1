/* The device is lost in the middle of a text. The application's calls to vkmoe_device_open and
 * vkmoe_session_generate come here (see CMakeLists.txt). */
#include <string.h>

#include "../faults/lossy.h"
#include "compare_page.h"
#include "desktop.h"
#include "process.h"

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
    test_assert_part(desktop_notice(&d), "The device was lost");
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

static bool has_ended(void *data)
{
    return !moe_compare_page_is_running(data);
}

/* The right side is asked for before anybody knows that there is no device any more. */
static void a_device_lost_in_a_comparison_can_be_opened_again(void **state)
{
    struct desktop d;
    (void)state;
    lossy_again();
    desktop_start(&d, NULL);
    desktop_wait_idle(&d);
    desktop_type(&d, "ROMEO:");
    GtkWidget *page = desktop_find(&d, MOE_TYPE_COMPARE_PAGE);
    assert_true(gtk_widget_activate_action(page, "compare.run", NULL));
    desktop_wait(has_ended, page, "both sides should end");
    desktop_wait_idle(&d);
    assert_int_equal(moe_worker_get_error_status(d.worker), VKMOE_DEVICE_LOST);
    test_assert_part(desktop_notice(&d), moe_worker_get_error(d.worker));
    desktop_do(&d, "win.retry");
    desktop_wait_idle(&d);
    assert_null(desktop_notice(&d));
    desktop_stop(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lost_device_leaves_window_and_text),
        cmocka_unit_test(a_device_lost_in_a_comparison_can_be_opened_again),
    };
    return DESKTOP_RUN(tests);
}
