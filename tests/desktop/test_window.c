/* The window on a display of its own, with the shipped model. */
#include <string.h>

#include <stdlib.h>

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
    assert_string_equal(moe_composer_get_hint(composer), "Stopping…"); /* before it has */
    desktop_wait_end(&d);
    assert_non_null(strstr(moe_composer_get_hint(composer), ", stopped"));
    g_autofree char *text = desktop_text(&d);
    assert_true(g_str_has_prefix(text, suggested));
    assert_true(desktop_can_do(&d, "win.run"));
    assert_null(desktop_notice(&d));
    desktop_stop(&d);
}

/* Runs `prompt` to its end and returns the text; to be freed. */
static char *run_to_end(struct desktop *d, const char *prompt, guint tokens, guint64 seed)
{
    MoeSampler *sampler = moe_window_get_sampler(d->window);
    g_object_set(sampler, "max-tokens", tokens, "seed", seed, "keep-seed", TRUE, NULL);
    desktop_type(d, prompt);
    desktop_do(d, "win.run");
    desktop_wait_end(d);
    return desktop_text(d);
}

static void the_same_seed_gives_the_same_text(void **state)
{
    struct desktop d;
    (void)state;
    start_with_model(&d);
    g_autofree char *first = run_to_end(&d, "JULIET:", 24, 7);
    desktop_do(&d, "win.new");
    g_autofree char *empty = desktop_text(&d);
    assert_string_equal(empty, "");
    g_autofree char *again = run_to_end(&d, "JULIET:", 24, 7);
    desktop_do(&d, "win.new");
    g_autofree char *other = run_to_end(&d, "JULIET:", 24, 8);
    assert_string_equal(first, again);
    assert_string_not_equal(first, other);
    desktop_stop(&d);
}

static void an_answer_is_given_again_and_a_prompt_edited(void **state)
{
    struct desktop d;
    (void)state;
    start_with_model(&d);
    g_autofree char *first = run_to_end(&d, "HAMLET:", 16, 1);
    g_object_set(moe_window_get_sampler(d.window), "seed", (guint64)2, NULL);
    desktop_do(&d, "win.regenerate");
    desktop_wait_end(&d);
    g_autofree char *second = desktop_text(&d);
    assert_true(g_str_has_prefix(second, "HAMLET:"));
    assert_string_not_equal(first, second);
    desktop_do(&d, "win.edit");
    g_autofree char *nothing = desktop_text(&d);
    g_autofree char *typed =
        moe_composer_get_text(MOE_COMPOSER(desktop_find(&d, MOE_TYPE_COMPOSER)));
    assert_string_equal(nothing, "");
    assert_string_equal(typed, "HAMLET:");
    assert_false(desktop_can_do(&d, "win.regenerate"));
    g_autofree char *third = run_to_end(&d, typed, 16, 1);
    assert_string_equal(third, first);
    desktop_stop(&d);
}

static void a_run_without_a_prompt_goes_on(void **state)
{
    struct desktop d;
    (void)state;
    start_with_model(&d);
    g_object_set(moe_window_get_sampler(d.window), "temperature", 0.0, NULL);
    g_autofree char *half = run_to_end(&d, "ROMEO:", 10, 0);
    g_autofree char *whole = run_to_end(&d, "", 10, 0);
    desktop_do(&d, "win.new");
    g_autofree char *at_once = run_to_end(&d, "ROMEO:", 20, 0);
    assert_true(g_str_has_prefix(whole, half));
    assert_string_equal(whole, at_once);
    desktop_stop(&d);
}

static void a_chat_labels_who_speaks(void **state)
{
    struct desktop d;
    (void)state;
    start_with_model(&d);
    moe_composer_set_chat(MOE_COMPOSER(desktop_find(&d, MOE_TYPE_COMPOSER)), TRUE);
    g_autofree char *text = run_to_end(&d, "Who is there?", 8, 3);
    assert_true(g_str_has_prefix(text, "You\nWho is there?\n\nModel\n"));
    g_autofree char *longer = run_to_end(&d, "Speak!", 8, 3);
    assert_true(g_str_has_prefix(longer, text));
    assert_non_null(strstr(longer, "\n\nYou\nSpeak!\n\nModel\n"));
    moe_composer_set_chat(MOE_COMPOSER(desktop_find(&d, MOE_TYPE_COMPOSER)), FALSE);
    desktop_stop(&d);
}

static bool is_listed(void *data)
{
    struct desktop *d = data;
    return g_list_model_get_n_items(moe_store_get_list(moe_application_get_store(d->application))) >
           0;
}

static bool is_shorter(void *data)
{
    const struct awaited *a = data;
    MoeStore *store = moe_application_get_store(a->d->application);
    return g_list_model_get_n_items(moe_store_get_list(store)) == a->length - 1;
}

static GtkWidget *find_button(GtkWidget *from, const char *action)
{
    GtkWidget *found = NULL;
    if (GTK_IS_BUTTON(from) &&
        g_strcmp0(gtk_actionable_get_action_name(GTK_ACTIONABLE(from)), action) == 0)
        return from;
    for (GtkWidget *w = gtk_widget_get_first_child(from); w && !found;
         w = gtk_widget_get_next_sibling(w))
        found = find_button(w, action);
    return found;
}

static GtkWidget *button_for(struct desktop *d, const char *action)
{
    GtkWidget *button = find_button(GTK_WIDGET(d->window), action);
    assert_non_null(button);
    return button;
}

static void a_conversation_is_there_after_reopening(void **state)
{
    struct desktop d;
    (void)state;
    start_with_model(&d);
    g_autofree char *before = run_to_end(&d, "KING:\nO ", 12, 4);
    desktop_stop(&d);
    desktop_start(&d, NULL);
    desktop_wait(is_listed, &d, "conversations should be read");
    GListModel *list = moe_store_get_list(moe_application_get_store(d.application));
    g_autoptr(MoeConversation) newest = g_list_model_get_item(list, 0);
    assert_true(g_str_has_prefix(moe_conversation_get_title(newest), "KING: O"));
    desktop_wait_idle(&d); /* a prompt is suggested, of which this one has no need */
    desktop_choose(&d, newest);
    g_autofree char *after = desktop_text(&d);
    g_autofree char *typed =
        moe_composer_get_text(MOE_COMPOSER(desktop_find(&d, MOE_TYPE_COMPOSER)));
    assert_string_equal(typed, "");
    assert_string_equal(after, before);
    desktop_wait_idle(&d);
    g_autofree char *longer = run_to_end(&d, "", 4, 4);
    assert_true(g_str_has_prefix(longer, before));
    guint n = g_list_model_get_n_items(list);
    desktop_do(&d, "win.delete");
    desktop_settle(&d);
    assert_int_equal(g_list_model_get_n_items(list), n); /* it asks */
    gtk_widget_activate(button_for(&d, "win.delete-now"));
    desktop_wait(is_shorter, &(struct awaited){&d, n}, "it should be deleted");
    g_autofree char *nothing = desktop_text(&d);
    assert_string_equal(nothing, "");
    desktop_stop(&d);
}

static void assert_shown(struct desktop *d, MoeConversation *c, const char *text)
{
    GtkListView *view = GTK_LIST_VIEW(desktop_find(d, GTK_TYPE_LIST_VIEW));
    GtkSingleSelection *rows = GTK_SINGLE_SELECTION(gtk_list_view_get_model(view));
    desktop_choose(d, c);
    desktop_settle(d);
    g_autofree char *shown = desktop_text(d);
    assert_string_equal(shown, text);
    assert_ptr_equal(gtk_single_selection_get_selected_item(rows), c);
}

static void one_switches_between_two_conversations(void **state)
{
    struct desktop d;
    (void)state;
    start_with_model(&d);
    GListModel *list = moe_store_get_list(moe_application_get_store(d.application));
    g_autofree char *text_a = run_to_end(&d, "First Citizen:", 6, 1);
    g_autoptr(MoeConversation) a = g_list_model_get_item(list, 0);
    desktop_do(&d, "win.new");
    g_autofree char *text_b = run_to_end(&d, "Second Citizen:", 6, 2);
    g_autoptr(MoeConversation) b = g_list_model_get_item(list, 0);
    assert_ptr_not_equal(a, b);
    guint n = g_list_model_get_n_items(list);
    assert_shown(&d, a, text_a);
    assert_shown(&d, b, text_b);
    assert_shown(&d, a, text_a);
    assert_int_equal(g_list_model_get_n_items(list), n);
    desktop_stop(&d);
}

static GtkAdjustment *scrolled(struct desktop *d)
{
    GtkWidget *view = GTK_WIDGET(moe_transcript_get_view(d->transcript));
    return gtk_scrollable_get_vadjustment(GTK_SCROLLABLE(view));
}

static bool is_at_end(void *data)
{
    GtkAdjustment *a = scrolled(data);
    double end = gtk_adjustment_get_upper(a) - gtk_adjustment_get_page_size(a);
    return end > 0 && gtk_adjustment_get_value(a) >= end - 24;
}

/* Lines come faster than they are laid out. */
static void add_lines(struct desktop *d)
{
    for (int i = 0; i < 200; i++) {
        moe_transcript_append(d->transcript, "Speak, speak.\n");
        g_main_context_iteration(NULL, FALSE);
    }
    desktop_settle(d);
}

static void text_is_followed_unless_one_scrolled_up(void **state)
{
    struct desktop d;
    (void)state;
    start_with_model(&d);
    desktop_settle(&d);
    moe_transcript_add_message(d.transcript, VKMOE_CHAT_ASSISTANT, "");
    add_lines(&d);
    desktop_wait(is_at_end, &d, "the end should be in sight");
    gtk_adjustment_set_value(scrolled(&d), 10);
    add_lines(&d);
    assert_float_equal(gtk_adjustment_get_value(scrolled(&d)), 10, 0.5);
    gtk_adjustment_set_value(scrolled(&d), gtk_adjustment_get_upper(scrolled(&d)));
    add_lines(&d);
    desktop_wait(is_at_end, &d, "the end should be in sight again");
    desktop_stop(&d);
}

static int selected;

static void note_selected(MoeTranscript *transcript, int position)
{
    (void)transcript;
    selected = position;
}

static void put_cursor(struct desktop *d, const char *before)
{
    GtkTextIter start, at, end;
    GtkTextBuffer *buffer = gtk_text_view_get_buffer(moe_transcript_get_view(d->transcript));
    gtk_text_buffer_get_start_iter(buffer, &start);
    assert_true(gtk_text_iter_forward_search(&start, before, 0, &at, &end, NULL));
    gtk_text_buffer_place_cursor(buffer, &at);
}

static void the_token_at_the_cursor_is_selected(void **state)
{
    struct desktop d;
    (void)state;
    start_with_model(&d);
    g_signal_connect(d.transcript, "token-selected", G_CALLBACK(note_selected), NULL);
    g_autofree char *text = run_to_end(&d, "12 + 7 =", 6, 5);
    selected = -1;
    put_cursor(&d, "12");
    assert_int_equal(selected, 1); /* the first one begins the document, and is not seen */
    put_cursor(&d, "+");
    assert_true(selected > 1);
    int plus = selected;
    GtkTextBuffer *buffer = gtk_text_view_get_buffer(moe_transcript_get_view(d.transcript));
    GtkTextIter answer;
    gtk_text_buffer_get_iter_at_offset(buffer, &answer, (int)strlen("12 + 7 ="));
    gtk_text_buffer_place_cursor(buffer, &answer);
    assert_true(selected > plus);
    assert_int_equal(selected, moe_transcript_get_selected(d.transcript));
    desktop_do(&d, "win.new");
    assert_int_equal(selected, -1);
    desktop_stop(&d);
}

struct routes {
    guint tokens, layers;
    bool wrong;
};

/* Chosen experts come first, their gates fall, and ids are in range. */
static void note_routes(MoeWorker *worker, const MoeRouteBatch *batch, struct routes *r)
{
    const MoeLoaded *loaded = moe_worker_get_loaded(worker);
    r->wrong =
        r->wrong || batch->first != r->tokens || batch->ranks <= loaded->model.n_experts_per_token;
    r->layers = batch->layers;
    r->tokens += batch->count;
    for (size_t i = 0; i < (size_t)batch->layers * batch->count * batch->ranks; i++) {
        bool chosen = i % batch->ranks < loaded->model.n_experts_per_token;
        r->wrong = r->wrong || batch->ids[i] < 0 ||
                   batch->ids[i] >= (int32_t)loaded->model.n_routed_experts ||
                   chosen != (batch->gates[i] > 0);
    }
}

static void every_token_has_a_route(void **state)
{
    struct desktop d;
    struct routes r = {0};
    (void)state;
    start_with_model(&d);
    g_signal_connect(d.worker, "routes", G_CALLBACK(note_routes), &r);
    g_autofree char *text = run_to_end(&d, "ROMEO:", 30, 6);
    assert_false(r.wrong);
    assert_int_equal(r.layers, moe_worker_get_loaded(d.worker)->model.n_moe_layers);
    assert_int_equal(r.tokens, moe_transcript_get_n_tokens(d.transcript));
    assert_true(r.tokens > 30);
    desktop_stop(&d);
}

static void a_broken_model_is_one_sentence(void **state)
{
    struct desktop d;
    (void)state;
    test_folder_write_text("config.json", "{\"vocab_size\": ");
    test_folder_write_text("tokenizer.json", "[");
    desktop_start(&d, test_folder());
    desktop_wait_idle(&d);
    const char *sentence = desktop_notice(&d);
    assert_non_null(sentence);
    assert_non_null(strstr(sentence, test_folder()));
    assert_null(strchr(sentence, '\n'));
    assert_false(desktop_can_do(&d, "win.run"));
    moe_worker_open(d.worker, NULL); /* another one */
    desktop_wait_idle(&d);
    assert_null(desktop_notice(&d));
    assert_true(desktop_can_do(&d, "win.run"));
    desktop_stop(&d);
}

static void without_a_device_the_window_opens_and_says_what_to_install(void **state)
{
    struct desktop d;
    g_autofree char *drivers = g_strdup(g_getenv("VK_DRIVER_FILES"));
    g_autofree char *device = g_strdup(g_getenv("VKMOE_DEVICE"));
    (void)state;
    g_setenv("VK_DRIVER_FILES", "/nonexistent.json", TRUE);
    g_unsetenv("VKMOE_DEVICE");
    desktop_start(&d, NULL);
    desktop_wait_idle(&d);
    const char *sentence = desktop_notice(&d);
    assert_non_null(sentence);
    assert_non_null(strstr(sentence, "mesa-vulkan-drivers"));
    assert_false(desktop_can_do(&d, "win.run"));
    desktop_screenshot(&d, 1280, 800, false, "no-device");
    gtk_widget_activate_action(GTK_WIDGET(d.window), "win.reference", NULL);
    desktop_wait_idle(&d);
    g_autofree char *text = run_to_end(&d, "ROMEO:", 2, 0);
    assert_true(strlen(text) > strlen("ROMEO:"));
    if (drivers)
        g_setenv("VK_DRIVER_FILES", drivers, TRUE);
    if (device)
        g_setenv("VKMOE_DEVICE", device, TRUE);
    gtk_widget_activate_action(GTK_WIDGET(d.window), "win.retry", NULL);
    desktop_stop(&d);
}

static void a_full_context_is_said_and_what_came_is_kept(void **state)
{
    struct desktop d;
    MoeOpenParams params = {.context = 24};
    (void)state;
    start_with_model(&d);
    moe_worker_open(d.worker, &params);
    desktop_wait_idle(&d);
    g_autofree char *text = run_to_end(&d, "ROMEO:", 100, 0);
    assert_non_null(desktop_notice(&d));
    assert_true(strlen(text) > strlen("ROMEO:"));
    /* A prompt that does not fit goes back to where it was typed. */
    g_autofree char *long_prompt = g_strnfill(400, 'x');
    desktop_do(&d, "win.new");
    g_autofree char *nothing = run_to_end(&d, long_prompt, 100, 0);
    g_autofree char *typed =
        moe_composer_get_text(MOE_COMPOSER(desktop_find(&d, MOE_TYPE_COMPOSER)));
    assert_string_equal(nothing, "");
    assert_string_equal(typed, long_prompt);
    GListModel *list = moe_store_get_list(moe_application_get_store(d.application));
    g_autoptr(MoeConversation) newest = g_list_model_get_item(list, 0);
    assert_true(g_str_has_prefix(moe_conversation_get_title(newest), "ROMEO:"));
    desktop_stop(&d);
}

static bool are_exported(void *data)
{
    static const char *const names[] = {"a.txt", "a.json", "b"};
    (void)data;
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *text = NULL;
        if (!g_file_get_contents(test_folder_path(names[i]), &text, NULL, NULL) || !*text)
            return false;
    }
    return true;
}

static bool has_notice(void *data)
{
    return desktop_notice(data) != NULL;
}

static void exports_are_text_or_json(void **state)
{
    struct desktop d;
    size_t size;
    (void)state;
    start_with_model(&d);
    g_autofree char *text = run_to_end(&d, "ROMEO:", 8, 9);
    g_autoptr(GFile) txt = g_file_new_for_path(test_folder_path("a.txt"));
    g_autoptr(GFile) json = g_file_new_for_path(test_folder_path("a.json"));
    g_autoptr(GFile) asked = g_file_new_for_path(test_folder_path("b"));
    moe_window_export(d.window, txt, FALSE);
    moe_window_export(d.window, json, FALSE);
    moe_window_export(d.window, asked, TRUE);
    desktop_wait(are_exported, NULL, "the conversation should be written");
    char *written = test_file_read(test_folder_path("a.txt"), &size);
    assert_true(g_str_has_prefix(written, text));
    free(written);
    written = test_file_read(test_folder_path("b"), &size);
    char *by_name = test_file_read(test_folder_path("a.json"), &size);
    assert_string_equal(written, by_name);
    free(by_name);
    g_autoptr(MoeConversation) read = moe_conversation_from_json("a", written, size, NULL);
    free(written);
    assert_non_null(read);
    assert_int_equal(moe_conversation_last(read)->seed, 9);
    assert_int_equal(moe_conversation_last(read)->tokens->len, 8);
    g_autoptr(GFile) nowhere = g_file_new_for_path("/nonexistent/a.txt");
    assert_null(desktop_notice(&d));
    moe_window_export(d.window, nowhere, FALSE);
    desktop_wait(has_notice, &d, "the window should say what failed");
    assert_non_null(strstr(desktop_notice(&d), "nonexistent"));
    desktop_stop(&d);
}

static void what_was_typed_can_be_undone(void **state)
{
    struct desktop d;
    (void)state;
    start_with_model(&d);
    MoeComposer *composer = MOE_COMPOSER(desktop_find(&d, MOE_TYPE_COMPOSER));
    GtkTextBuffer *buffer =
        gtk_text_view_get_buffer(GTK_TEXT_VIEW(moe_composer_get_view(composer)));
    g_autofree char *text = run_to_end(&d, "ROMEO: Ay", 4, 1);
    g_autofree char *empty = moe_composer_get_text(composer);
    assert_string_equal(empty, "");
    gtk_text_buffer_undo(buffer);
    g_autofree char *again = moe_composer_get_text(composer);
    assert_string_equal(again, "ROMEO: Ay");
    gtk_text_buffer_redo(buffer);
    g_autofree char *redone = moe_composer_get_text(composer);
    assert_string_equal(redone, "");
    desktop_stop(&d);
}

static void the_window_opens_as_it_was_closed(void **state)
{
    struct desktop d;
    int width, height;
    (void)state;
    desktop_start(&d, NULL);
    desktop_screenshot(&d, 1011, 707, false, "size");
    GtkRevealer *sidebar = GTK_REVEALER(
        gtk_widget_get_ancestor(desktop_find(&d, GTK_TYPE_LIST_VIEW), GTK_TYPE_REVEALER));
    gboolean shown = gtk_revealer_get_reveal_child(sidebar);
    desktop_do(&d, "win.sidebar");
    desktop_stop(&d);
    desktop_start(&d, NULL);
    gtk_window_get_default_size(GTK_WINDOW(d.window), &width, &height);
    assert_int_equal(width, 1011);
    assert_int_equal(height, 707);
    sidebar = GTK_REVEALER(
        gtk_widget_get_ancestor(desktop_find(&d, GTK_TYPE_LIST_VIEW), GTK_TYPE_REVEALER));
    assert_int_equal(gtk_revealer_get_reveal_child(sidebar), !shown);
    desktop_do(&d, "win.sidebar");
    desktop_stop(&d);
}

static void the_window_looks_as_it_should(void **state)
{
    struct desktop d;
    (void)state;
    start_with_model(&d);
    desktop_screenshot(&d, 1280, 800, false, "start-light");
    g_autofree char *text = run_to_end(&d, "ROMEO:", 200, 11);
    desktop_do(&d, "win.sidebar");
    desktop_screenshot(&d, 1280, 800, false, "text-1280-light");
    desktop_screenshot(&d, 1280, 800, true, "text-1280-dark");
    desktop_screenshot(&d, 1920, 1080, false, "text-1920-light");
    desktop_screenshot(&d, 1920, 1080, true, "text-1920-dark");
    moe_composer_set_chat(MOE_COMPOSER(desktop_find(&d, MOE_TYPE_COMPOSER)), TRUE);
    g_autofree char *chat = run_to_end(&d, "Who is there?", 60, 3);
    desktop_screenshot(&d, 1280, 800, false, "chat-1280-light");
    moe_window_show_error(d.window,
                          "The device is lost: vkQueueSubmit2 returned "
                          "VK_ERROR_DEVICE_LOST.",
                          TRUE);
    desktop_screenshot(&d, 1280, 800, true, "error-1280-dark");
    desktop_do(&d, "win.sidebar");
    moe_composer_set_chat(MOE_COMPOSER(desktop_find(&d, MOE_TYPE_COMPOSER)), FALSE);
    desktop_screenshot(&d, 1180, 760, false, "small");
    desktop_stop(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_button_runs_the_suggested_prompt),
        cmocka_unit_test(the_same_seed_gives_the_same_text),
        cmocka_unit_test(an_answer_is_given_again_and_a_prompt_edited),
        cmocka_unit_test(a_run_without_a_prompt_goes_on),
        cmocka_unit_test(a_chat_labels_who_speaks),
        cmocka_unit_test(a_conversation_is_there_after_reopening),
        cmocka_unit_test(one_switches_between_two_conversations),
        cmocka_unit_test(text_is_followed_unless_one_scrolled_up),
        cmocka_unit_test(the_token_at_the_cursor_is_selected),
        cmocka_unit_test(every_token_has_a_route),
        TEST_IN_FOLDER(a_broken_model_is_one_sentence),
        cmocka_unit_test(without_a_device_the_window_opens_and_says_what_to_install),
        cmocka_unit_test(a_full_context_is_said_and_what_came_is_kept),
        TEST_IN_FOLDER(exports_are_text_or_json),
        cmocka_unit_test(what_was_typed_can_be_undone),
        cmocka_unit_test(the_window_opens_as_it_was_closed),
        cmocka_unit_test(the_window_looks_as_it_should),
    };
    return DESKTOP_RUN(tests);
}
