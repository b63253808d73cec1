/* The transcript in a window of its own: long lines, which are cut where nobody sees it, and text
 * that is followed. */
#include <string.h>

#include "desktop.h"

enum { LONGEST = 2000 /* characters of a paragraph, as cuts.c has it */, HEIGHT = 300 };

static const char words[] = "Now is the winter of our discontent made glorious summer. ";

struct view {
    GtkWindow *window;
    MoeTranscript *transcript;
    GtkTextView *view;
    GtkTextBuffer *buffer;
};

/* --- helpers --- */

static gboolean count_frame(GtkWidget *widget, GdkFrameClock *clock, gpointer data)
{
    (void)widget, (void)clock;
    return --*(int *)data > 0;
}

static bool is_zero(void *data)
{
    return *(int *)data <= 0;
}

/* Until all is laid out, drawn, and nothing waits to be done. */
static void settle(GtkWindow *window)
{
    int frames = 3;
    gtk_widget_add_tick_callback(GTK_WIDGET(window), count_frame, &frames, NULL);
    desktop_wait(is_zero, &frames, "the window should be drawn");
    while (g_main_context_iteration(NULL, FALSE))
        ;
}

static void show(GtkWindow *window, int width)
{
    gtk_widget_set_visible(GTK_WIDGET(window), FALSE); /* a window in sight keeps its size */
    gtk_window_set_default_size(window, width, HEIGHT);
    gtk_widget_set_visible(GTK_WIDGET(window), TRUE);
    settle(window);
}

static void open_view(struct view *v, int width)
{
    v->window = GTK_WINDOW(gtk_window_new());
    v->transcript = g_object_new(MOE_TYPE_TRANSCRIPT, NULL);
    v->view = moe_transcript_get_view(v->transcript);
    v->buffer = gtk_text_view_get_buffer(v->view);
    gtk_window_set_child(v->window, GTK_WIDGET(v->transcript));
    show(v->window, width);
}

static void close_view(struct view *v)
{
    gtk_window_destroy(v->window);
    while (g_main_context_iteration(NULL, FALSE))
        ;
}

/* As much of the words as asked for. */
static char *make_text(size_t length)
{
    GString *text = g_string_new(NULL);
    while (text->len < length)
        g_string_append(text, words);
    g_string_truncate(text, length);
    return g_string_free(text, FALSE);
}

/* A few characters at a time, as a model makes them. */
static void append_slowly(struct view *v, const char *text)
{
    for (size_t at = 0, n = strlen(text); at < n; at += 40) {
        g_autofree char *piece = g_strndup(text + at, 40);
        moe_transcript_append(v->transcript, piece);
    }
}

static void assert_text(struct view *v, const char *text)
{
    g_autofree char *shown = moe_transcript_get_text(v->transcript);
    assert_string_equal(shown, text);
}

/* Where a view without cuts that is as wide wraps the text there is. */
static GtkTextView *open_uncut(const struct view *v, const char *text, GtkWindow **window)
{
    GtkTextView *view = GTK_TEXT_VIEW(gtk_text_view_new());
    *window = GTK_WINDOW(gtk_window_new());
    gtk_text_view_set_wrap_mode(view, gtk_text_view_get_wrap_mode(v->view));
    gtk_text_view_set_left_margin(view, gtk_text_view_get_left_margin(v->view));
    gtk_text_view_set_right_margin(view, gtk_text_view_get_right_margin(v->view));
    gtk_widget_add_css_class(GTK_WIDGET(view), "transcript");
    gtk_text_buffer_set_text(gtk_text_view_get_buffer(view), text, -1);
    GtkWidget *scroller = gtk_scrolled_window_new();
    gtk_scrolled_window_set_policy(GTK_SCROLLED_WINDOW(scroller), GTK_POLICY_NEVER,
                                   GTK_POLICY_AUTOMATIC);
    gtk_scrolled_window_set_child(GTK_SCROLLED_WINDOW(scroller), GTK_WIDGET(view));
    gtk_window_set_child(*window, scroller);
    show(*window, gtk_widget_get_width(GTK_WIDGET(v->window)));
    assert_int_equal(gtk_widget_get_width(GTK_WIDGET(view)),
                     gtk_widget_get_width(GTK_WIDGET(v->view)));
    return view;
}

/* The text has no line ends of its own: all paragraphs are short, and each begins where a line is
 * wrapped without cuts. Returns how many cuts there are. */
static int assert_cuts_unseen(struct view *v, const char *text)
{
    GtkWindow *window;
    GtkTextView *uncut = open_uncut(v, text, &window);
    GtkTextIter line, same;
    int n = 0, offset = 0;
    gtk_text_buffer_get_start_iter(v->buffer, &line);
    for (;;) {
        int length = gtk_text_iter_get_chars_in_line(&line);
        assert_true(length <= LONGEST + 1);
        if (!gtk_text_iter_forward_line(&line))
            break;
        offset += length - 1;
        n++;
        gtk_text_buffer_get_iter_at_offset(gtk_text_view_get_buffer(uncut), &same, offset);
        if (!gtk_text_view_starts_display_line(uncut, &same))
            fail_msg("cut %d at character %d is in the middle of a line", n, offset);
    }
    gtk_window_destroy(window);
    return n;
}

static void note_copied(GObject *clipboard, GAsyncResult *result, gpointer data)
{
    *(char **)data = gdk_clipboard_read_text_finish(GDK_CLIPBOARD(clipboard), result, NULL);
}

static bool is_there(void *data)
{
    return *(char **)data != NULL;
}

/* --- tests --- */

static void a_long_line_is_cut_where_it_is_wrapped_and_copied_whole(void **state)
{
    struct view v;
    GtkTextIter start, end;
    char *copied = NULL;
    (void)state;
    open_view(&v, 500);
    g_autofree char *text = make_text(9000);
    moe_transcript_add_message(v.transcript, VKMOE_CHAT_ASSISTANT, "");
    append_slowly(&v, text);
    settle(v.window);
    assert_text(&v, text);
    assert_true(assert_cuts_unseen(&v, text) >= 4);
    GdkClipboard *clipboard = gtk_widget_get_clipboard(GTK_WIDGET(v.view));
    gtk_text_buffer_get_bounds(v.buffer, &start, &end);
    gtk_text_buffer_select_range(v.buffer, &start, &end);
    g_signal_emit_by_name(v.view, "copy-clipboard");
    gdk_clipboard_read_text_async(clipboard, NULL, note_copied, &copied);
    desktop_wait(is_there, &copied, "the text should be copied");
    assert_string_equal(copied, text);
    g_free(copied);
    close_view(&v);
}

static void a_text_that_is_opened_is_cut_as_well_and_anew_with_another_width(void **state)
{
    struct view v;
    (void)state;
    open_view(&v, 700);
    g_autofree char *text = make_text(11000);
    moe_transcript_add_message(v.transcript, VKMOE_CHAT_ASSISTANT, text);
    settle(v.window);
    assert_text(&v, text);
    assert_true(assert_cuts_unseen(&v, text) >= 5);
    show(v.window, 430);
    assert_text(&v, text);
    assert_true(assert_cuts_unseen(&v, text) >= 5);
    close_view(&v);
}

static void words_that_have_no_end_and_line_ends_are_left_whole(void **state)
{
    struct view v;
    (void)state;
    open_view(&v, 500);
    g_autoptr(GString) text = g_string_new(NULL);
    for (int i = 0; i < 5000; i++)
        g_string_append(text, i % 4 ? "é" : "e\xcc\x81"); /* two characters that are one */
    g_string_append(text, "\n\nlines\nthat are short\n");
    moe_transcript_add_message(v.transcript, VKMOE_CHAT_ASSISTANT, text->str);
    append_slowly(&v, "and more");
    settle(v.window);
    g_string_append(text, "and more");
    assert_text(&v, text->str);
    assert_true(gtk_text_buffer_get_line_count(v.buffer) >= 5 + 2);
    close_view(&v);
}

static void tokens_keep_their_characters_beside_cuts(void **state)
{
    struct view v;
    GtkTextIter at;
    (void)state;
    open_view(&v, 500);
    g_autofree char *text = make_text(6000);
    moe_transcript_add_message(v.transcript, VKMOE_CHAT_ASSISTANT, "");
    append_slowly(&v, text);
    settle(v.window);
    g_autoptr(GArray) tokens = g_array_new(FALSE, FALSE, sizeof(MoeToken));
    for (guint i = 0; i < 6000 / 5; i++) {
        const MoeToken token = {.position = i, .start = 5 * i, .length = 5};
        g_array_append_val(tokens, token);
    }
    moe_transcript_add_tokens(v.transcript, (const MoeToken *)(gpointer)tokens->data, tokens->len,
                              TRUE);
    for (guint i = 0; i < tokens->len; i++) {
        g_autofree char *shown = moe_transcript_dup_token_text(v.transcript, (int)i);
        g_autofree char *whole = g_strndup(text + (gsize)5 * i, 5);
        assert_string_equal(shown, whole);
    }
    /* The cursor finds the last one, whatever lies between; cutting never moves it. */
    gtk_text_buffer_get_end_iter(v.buffer, &at);
    gtk_text_iter_backward_chars(&at, 2);
    gtk_text_buffer_place_cursor(v.buffer, &at);
    assert_int_equal(moe_transcript_get_selected(v.transcript), (int)tokens->len - 1);
    show(v.window, 640);
    assert_int_equal(moe_transcript_get_selected(v.transcript), (int)tokens->len - 1);
    close_view(&v);
}

static void what_is_removed_takes_its_cuts_along(void **state)
{
    struct view v;
    (void)state;
    open_view(&v, 500);
    g_autofree char *text = make_text(5000);
    moe_transcript_add_message(v.transcript, VKMOE_CHAT_USER, text);
    moe_transcript_add_message(v.transcript, VKMOE_CHAT_ASSISTANT, text);
    moe_transcript_truncate(v.transcript, 1); /* before cuts were moved */
    assert_text(&v, text);
    settle(v.window);
    moe_transcript_add_message(v.transcript, VKMOE_CHAT_ASSISTANT, "");
    append_slowly(&v, text);
    settle(v.window);
    g_autofree char *twice = g_strconcat(text, text, NULL);
    assert_text(&v, twice);
    moe_transcript_clear(v.transcript);
    assert_text(&v, "");
    moe_transcript_add_message(v.transcript, VKMOE_CHAT_ASSISTANT, "short");
    settle(v.window);
    assert_text(&v, "short");
    assert_int_equal(gtk_text_buffer_get_line_count(v.buffer), 1);
    close_view(&v);
}

static GtkAdjustment *scrolled(struct view *v)
{
    return gtk_scrollable_get_vadjustment(GTK_SCROLLABLE(v->view));
}

static bool is_at_end(void *data)
{
    GtkAdjustment *a = scrolled(data);
    return gtk_adjustment_get_value(a) + gtk_adjustment_get_page_size(a) >=
           gtk_adjustment_get_upper(a) - 24;
}

static void add_lines(struct view *v, int count)
{
    for (int i = 0; i < count; i++)
        moe_transcript_append(v->transcript, "Speak, speak.\n");
}

static bool is_on_its_way(void *data)
{
    GtkAdjustment *a = scrolled(data);
    return gtk_adjustment_get_value(a) + gtk_adjustment_get_page_size(a) <
           gtk_adjustment_get_upper(a) - 200;
}

/* As GTK's layout does in the middle of an animation, by a fraction of a pixel or the top margin.
 */
static void text_is_followed_although_layout_moves_it_back_a_little(void **state)
{
    struct view v;
    (void)state;
    g_object_set(gtk_settings_get_default(), "gtk-enable-animations", TRUE, NULL);
    open_view(&v, 500);
    moe_transcript_add_message(v.transcript, VKMOE_CHAT_ASSISTANT, "");
    add_lines(&v, 100);
    desktop_wait(is_at_end, &v, "the end should be in sight");
    settle(v.window);
    add_lines(&v, 300);
    desktop_wait(is_on_its_way, &v, "it should scroll to the end");
    gtk_adjustment_set_value(scrolled(&v), gtk_adjustment_get_value(scrolled(&v)) - 18);
    add_lines(&v, 1);
    settle(v.window);
    add_lines(&v, 1);
    desktop_wait(is_at_end, &v, "the end should be in sight again");
    close_view(&v);
}

static void text_is_not_followed_by_who_scrolls_up_bit_by_bit(void **state)
{
    struct view v;
    (void)state;
    open_view(&v, 500);
    moe_transcript_add_message(v.transcript, VKMOE_CHAT_ASSISTANT, "");
    add_lines(&v, 100);
    desktop_wait(is_at_end, &v, "the end should be in sight");
    settle(v.window);
    for (int i = 0; i < 30; i++)
        gtk_adjustment_set_value(scrolled(&v), gtk_adjustment_get_value(scrolled(&v)) - 2);
    double here = gtk_adjustment_get_value(scrolled(&v));
    add_lines(&v, 50);
    settle(v.window);
    assert_float_equal(gtk_adjustment_get_value(scrolled(&v)), here, 1);
    moe_transcript_add_message(v.transcript, VKMOE_CHAT_ASSISTANT,
                               "More."); /* which one asked for */
    desktop_wait(is_at_end, &v, "the end should be in sight again");
    close_view(&v);
}

static void text_is_followed_after_another_width(void **state)
{
    struct view v;
    (void)state;
    open_view(&v, 400);
    g_autofree char *text = make_text(9000);
    moe_transcript_add_message(v.transcript, VKMOE_CHAT_ASSISTANT, text);
    desktop_wait(is_at_end, &v, "the end should be in sight");
    settle(v.window);
    show(v.window, 900);
    desktop_wait(is_at_end, &v, "the end should be in sight at another width");
    add_lines(&v, 20);
    settle(v.window);
    desktop_wait(is_at_end, &v, "what comes then should be, too");
    close_view(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_line_is_cut_where_it_is_wrapped_and_copied_whole),
        cmocka_unit_test(a_text_that_is_opened_is_cut_as_well_and_anew_with_another_width),
        cmocka_unit_test(words_that_have_no_end_and_line_ends_are_left_whole),
        cmocka_unit_test(tokens_keep_their_characters_beside_cuts),
        cmocka_unit_test(what_is_removed_takes_its_cuts_along),
        cmocka_unit_test(text_is_followed_although_layout_moves_it_back_a_little),
        cmocka_unit_test(text_is_not_followed_by_who_scrolls_up_bit_by_bit),
        cmocka_unit_test(text_is_followed_after_another_width),
    };
    return DESKTOP_RUN(tests);
}
