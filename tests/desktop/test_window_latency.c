/* How late the main loop is while text is generated: what a user would feel. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "desktop.h"

enum {
    TICK_MS = 5,
    BOUND_MS = 50,
    TOKENS = 300,
    LONG_TEXT = 20000, /* characters: thousands of tokens */
};

struct watch {
    gint64 expected;
    GArray *late; /* double, milliseconds */
};

static gboolean tick(gpointer data)
{
    struct watch *w = data;
    gint64 now = g_get_monotonic_time();
    double late = 1e-3 * (double)(now - w->expected);
    late = late > 0 ? late : 0;
    g_array_append_val(w->late, late);
    w->expected = now + TICK_MS * 1000;
    return G_SOURCE_CONTINUE;
}

static int ascending(gconstpointer a, gconstpointer b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(const struct watch *w, double share)
{
    guint at = (guint)(share * (double)(w->late->len - 1));
    return g_array_index(w->late, double, at);
}

/* Watches the loop for one run; the 99th percentile of its lateness in milliseconds. Single ticks
 * can be late because the machine gave the process no processor, which is none of our doing. */
static double watch_run(struct desktop *d, const char *what)
{
    struct watch w = {.expected = g_get_monotonic_time() + TICK_MS * 1000,
                      .late = g_array_new(FALSE, FALSE, sizeof(double))};
    guint source = g_timeout_add_full(G_PRIORITY_DEFAULT, TICK_MS, tick, &w, NULL);
    desktop_do(d, "win.run");
    desktop_wait_end(d);
    g_source_remove(source);
    assert_true(w.late->len > 10);
    g_array_sort(w.late, ascending);
    double p99 = quantile(&w, 0.99);
    printf("%s: %u ticks, late by %.1f ms (median), %.1f ms (99 %%), %.1f ms (most)\n", what,
           w.late->len, quantile(&w, 0.5), p99, quantile(&w, 1));
    g_array_unref(w.late);
    return p99;
}

static void the_loop_is_never_late_while_text_comes(void **state)
{
    struct desktop d;
    (void)state;
    desktop_start(&d, NULL);
    desktop_wait_idle(&d);
    g_object_set(moe_window_get_sampler(d.window), "max-tokens", TOKENS, "seed", (guint64)1,
                 "keep-seed", TRUE, NULL);
    desktop_type(&d, "ROMEO:");
    assert_true(watch_run(&d, "a short text") < BOUND_MS);
    desktop_stop(&d);
}

/* Without a line break, so that all of it is one paragraph to be laid out. */
static void a_long_text_makes_it_no_later(void **state)
{
    struct desktop d;
    (void)state;
    desktop_start(&d, NULL);
    desktop_wait_idle(&d);
    GString *text = g_string_new(NULL);
    while (text->len < LONG_TEXT)
        g_string_append(text, "Now is the winter of our discontent made glorious summer. ");
    moe_transcript_clear(d.transcript);
    moe_transcript_add_message(d.transcript, VKMOE_CHAT_USER, text->str);
    g_string_free(text, TRUE);
    desktop_settle(&d);
    struct watch w = {.expected = g_get_monotonic_time() + TICK_MS * 1000,
                      .late = g_array_new(FALSE, FALSE, sizeof(double))};
    guint source = g_timeout_add_full(G_PRIORITY_DEFAULT, TICK_MS, tick, &w, NULL);
    for (int i = 0; i < 30; i++) {
        moe_transcript_append(d.transcript, "and more ");
        desktop_settle(&d);
    }
    g_source_remove(source);
    g_array_sort(w.late, ascending);
    printf("appending to %d characters in one paragraph: %.1f ms (median), %.1f ms (99 %%)\n",
           LONG_TEXT, quantile(&w, 0.5), quantile(&w, 0.99));
    assert_true(quantile(&w, 0.99) < BOUND_MS);
    g_array_unref(w.late);
    desktop_stop(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_loop_is_never_late_while_text_comes),
        cmocka_unit_test(a_long_text_makes_it_no_later),
    };
    return DESKTOP_RUN(tests);
}
