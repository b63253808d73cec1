/* How late the main loop is while text is generated: what a user would feel. The time that others
 * take from a busy machine is none of our doing, so the bound is for what the main thread itself
 * does between two ticks; how late those were is printed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "desktop.h"

enum {
    TICK_MS = 5,
    BOUND_MS = 50,
    TOKENS = 300,
    LONG_TEXT = 40000, /* characters: thousands of tokens */
};

struct watch {
    gint64 expected; /* microseconds of the clock */
    double used;     /* milliseconds of the thread's processor time */
    GArray *late;    /* double, milliseconds */
    GArray *busy;    /* double, milliseconds between two ticks */
    guint source;
};

static double thread_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static gboolean tick(gpointer data)
{
    struct watch *w = data;
    gint64 now = g_get_monotonic_time();
    double late = MAX(1e-3 * (double)(now - w->expected), 0), used = thread_ms();
    double busy = used - w->used;
    g_array_append_val(w->late, late);
    g_array_append_val(w->busy, busy);
    w->expected = now + TICK_MS * 1000;
    w->used = used;
    return G_SOURCE_CONTINUE;
}

static void watch_start(struct watch *w)
{
    w->expected = g_get_monotonic_time() + TICK_MS * 1000;
    w->used = thread_ms();
    w->late = g_array_new(FALSE, FALSE, sizeof(double));
    w->busy = g_array_new(FALSE, FALSE, sizeof(double));
    w->source = g_timeout_add_full(G_PRIORITY_DEFAULT, TICK_MS, tick, w, NULL);
}

static int ascending(gconstpointer a, gconstpointer b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(const GArray *sorted, double share)
{
    return g_array_index(sorted, double, (guint)(share * (double)(sorted->len - 1)));
}

/* Prints what was seen; the most that the main thread did between two ticks. */
static double watch_end(struct watch *w, const char *what)
{
    g_source_remove(w->source);
    assert_true(w->late->len > 10);
    g_array_sort(w->late, ascending);
    g_array_sort(w->busy, ascending);
    double most = quantile(w->busy, 1);
    printf("%s: %u ticks, late by %.1f ms (median), %.1f ms (99 %%), %.1f ms (most); the thread "
           "was busy for %.1f ms (99 %%), %.1f ms (most)\n",
           what, w->late->len, quantile(w->late, 0.5), quantile(w->late, 0.99),
           quantile(w->late, 1), quantile(w->busy, 0.99), most);
    g_array_unref(w->late);
    g_array_unref(w->busy);
    return most;
}

static void the_main_loop_stays_quick_while_text_comes(void **state)
{
    struct desktop d;
    struct watch w;
    (void)state;
    desktop_start(&d, NULL);
    desktop_wait_idle(&d);
    desktop_settle(&d);
    g_object_set(moe_window_get_sampler(d.window), "max-tokens", TOKENS, "seed", (guint64)1,
                 "keep-seed", TRUE, NULL);
    desktop_type(&d, "ROMEO:");
    watch_start(&w);
    desktop_do(&d, "win.run");
    desktop_wait_end(&d);
    assert_true(watch_end(&w, "a run") < BOUND_MS);
    desktop_stop(&d);
}

static double append_to(struct desktop *d, const char *line, const char *what)
{
    struct watch w;
    GString *text = g_string_new(NULL);
    while (text->len < LONG_TEXT)
        g_string_append(text, line);
    moe_transcript_clear(d->transcript);
    moe_transcript_add_message(d->transcript, VKMOE_CHAT_ASSISTANT, text->str);
    g_string_free(text, TRUE);
    desktop_settle(d);
    watch_start(&w);
    for (int i = 0; i < 30; i++) {
        moe_transcript_append(d->transcript, "and more ");
        desktop_settle(d);
    }
    return watch_end(&w, what);
}

static void a_long_text_makes_it_no_slower(void **state)
{
    struct desktop d;
    (void)state;
    desktop_start(&d, NULL);
    desktop_wait_idle(&d);
    assert_true(append_to(&d, "Now is the winter of our discontent made glorious summer.\n",
                          "after 40000 characters in lines") < BOUND_MS);
    /* GTK would lay a paragraph of that length out anew whenever it grows. */
    assert_true(append_to(&d, "Now is the winter of our discontent. ",
                          "after 40000 characters in one line") < BOUND_MS);
    desktop_stop(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_main_loop_stays_quick_while_text_comes),
        cmocka_unit_test(a_long_text_makes_it_no_slower),
    };
    return DESKTOP_RUN(tests);
}
