/* The window on a display of its own, with the shipped model. */
#include <string.h>

#include "composer.h"
#include "desktop.h"

/* --- helpers --- */

struct awaited {
    struct desktop *d;
    size_t length;
};

static bool has_text(void *data)
{
    const struct awaited *a = data;
    g_autofree char *text = desktop_text(a->d);
    return strlen(text) > a->length;
}

static void wait_for_text(struct desktop *d, size_t length)
{
    struct awaited a = {d, length};
    desktop_wait(has_text, &a, "text should come");
}

static bool has_no_run(void *data)
{
    struct desktop *d = data;
    return moe_window_get_current_run(d->window) == 0 &&
           moe_worker_get_state(d->worker) != MOE_WORKER_GENERATING;
}

static void wait_for_end(struct desktop *d)
{
    desktop_wait(has_no_run, d, "the run should end");
}

static void start_with_model(struct desktop *d)
{
    desktop_start(d, NULL);
    desktop_wait_idle(d);
    assert_null(desktop_notice(d));
}

/* --- tests --- */

static void one_button_runs_the_suggested_prompt(void **state)
{
    struct desktop d;
    (void)state;
    start_with_model(&d);
    MoeComposer *composer = MOE_COMPOSER(desktop_find(&d, MOE_TYPE_COMPOSER));
    g_autofree char *suggested = moe_composer_get_text(composer);
    assert_true(strlen(suggested) > 0);
    desktop_do(&d, "win.run");
    wait_for_text(&d, strlen(suggested) + 40);
    desktop_do(&d, "win.stop");
    wait_for_end(&d);
    g_autofree char *text = desktop_text(&d);
    assert_true(g_str_has_prefix(text, suggested));
    assert_true(desktop_can_do(&d, "win.run"));
    assert_null(desktop_notice(&d));
    desktop_stop(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_button_runs_the_suggested_prompt),
    };
    return DESKTOP_RUN(tests);
}
