/* What of the application needs no display: characters of tokens, conversations, their folder, what
 * is remembered, events. */
#include <stdlib.h>
#include <string.h>

#include "conversation.h"
#include "events.h"
#include "prompt.h"
#include "settings.h"
#include "store.h"
#include "support.h"

static vkmoe_tokenizer *tokenizer;

static int load_tokenizer(void **state)
{
    (void)state;
    return vkmoe_tokenizer_load(VKMOE_TEST_MODEL, NULL, &tokenizer, NULL) != VKMOE_OK;
}

static int free_tokenizer(void **state)
{
    (void)state;
    vkmoe_tokenizer_destroy(tokenizer);
    return 0;
}

/* --- prompts --- */

static void add(GPtrArray *messages, vkmoe_chat_role role, const char *text)
{
    g_ptr_array_add(messages, moe_message_new(role, text));
}

/* The characters of message `index` that tokens stand for, put together. */
static char *covered(const MoePrompt *p, guint index, const char *text)
{
    GString *all = g_string_new(NULL);
    for (guint i = 0; i < p->tokens->len; i++) {
        const MoeToken *t = &g_array_index(p->tokens, MoeToken, i);
        assert_int_equal(t->position, i);
        if (t->message != index || t->length == 0)
            continue;
        const char *start = g_utf8_offset_to_pointer(text, (glong)t->start);
        const char *end = g_utf8_offset_to_pointer(start, (glong)t->length);
        g_string_append_len(all, start, end - start);
    }
    return g_string_free(all, FALSE);
}

static void check_covered(bool chat, vkmoe_chat_template chat_template, const char *const *texts,
                          guint n)
{
    g_autoptr(GPtrArray) messages = moe_messages_new();
    MoePrompt p;
    vkmoe_error err;
    for (guint i = 0; i < n; i++)
        add(messages, i % 2 ? VKMOE_CHAT_ASSISTANT : VKMOE_CHAT_USER, texts[i]);
    assert_ok(moe_prompt_init(&p, tokenizer, chat, chat_template, messages, &err), &err);
    for (guint i = 0; i < n; i++) {
        g_autofree char *seen = covered(&p, i, texts[i]);
        assert_string_equal(seen, texts[i]);
    }
    moe_prompt_clear(&p);
}

static void every_character_of_a_prompt_belongs_to_a_token(void **state)
{
    static const char *const texts[] = {"ROMEO: Ü, 日本 and \xf0\x9f\x98\x80!", " What light\n",
                                        "User", "Yes:", "\n\nU"};
    (void)state;
    check_covered(false, VKMOE_CHAT_PLAIN, texts, G_N_ELEMENTS(texts));
    check_covered(true, VKMOE_CHAT_PLAIN, texts, 3);
}

static void text_that_goes_on_keeps_its_tokens(void **state)
{
    static const int32_t ids[] = {40, 41, 42};
    g_autoptr(GPtrArray) messages = moe_messages_new();
    MoePrompt p;
    vkmoe_error err;
    (void)state;
    add(messages, VKMOE_CHAT_USER, "ROMEO:");
    add(messages, VKMOE_CHAT_ASSISTANT, "IJK");
    moe_message_set_tokens(g_ptr_array_index(messages, 1), ids, 3, "m");
    assert_ok(moe_prompt_init(&p, tokenizer, false, VKMOE_CHAT_PLAIN, messages, &err), &err);
    assert_memory_equal(&g_array_index(p.ids, int32_t, p.ids->len - 3), ids, sizeof(ids));
    moe_prompt_clear(&p);
}

/* Ids of another vocabulary would be another text. */
static void tokens_of_another_model_are_not_used(void **state)
{
    static const int32_t ids[] = {40, 41};
    g_autoptr(GPtrArray) messages = moe_messages_new();
    (void)state;
    add(messages, VKMOE_CHAT_ASSISTANT, "text");
    moe_message_set_tokens(g_ptr_array_index(messages, 0), ids, 2, "one");
    g_autoptr(GPtrArray) same = moe_messages_copy(messages, "one");
    g_autoptr(GPtrArray) other = moe_messages_copy(messages, "two");
    assert_non_null(((MoeMessage *)g_ptr_array_index(same, 0))->tokens);
    assert_null(((MoeMessage *)g_ptr_array_index(other, 0))->tokens);
}

static void pieces_make_whole_characters(void **state)
{
    static const char text[] = "  Ünï \xf0\x9f\x98\x80.";
    MoePieces pieces = {.tokenizer = tokenizer, .trim = true};
    g_autoptr(GString) all = g_string_new(NULL);
    int32_t *ids;
    size_t count;
    vkmoe_error err;
    (void)state;
    assert_ok(vkmoe_tokenizer_encode(tokenizer, text, strlen(text), false, &ids, &count, &err),
              &err);
    for (size_t i = 0; i < count; i++) {
        MoeToken token = {0};
        moe_pieces_add(&pieces, ids[i], all, &token);
        assert_true(g_utf8_validate(all->str, -1, NULL));
        assert_int_equal(token.start + token.length, g_utf8_strlen(all->str, -1));
    }
    assert_string_equal(all->str, "Ünï \xf0\x9f\x98\x80.");
    moe_pieces_finish(&pieces, all);
    assert_string_equal(all->str, "Ünï \xf0\x9f\x98\x80.");
    /* and cut in the middle of one */
    MoePieces cut = {.tokenizer = tokenizer};
    MoeToken token = {0};
    g_string_truncate(all, 0);
    vkmoe_tokenizer_free(tokenizer, ids);
    assert_ok(vkmoe_tokenizer_encode(tokenizer, "\xf0\x9f\x98\x80", 4, false, &ids, &count, &err),
              &err);
    assert_true(count > 1); /* bytes, in this vocabulary */
    moe_pieces_add(&cut, ids[0], all, &token);
    assert_string_equal(all->str, "");
    moe_pieces_finish(&cut, all);
    assert_true(g_str_has_prefix(all->str, "\xef\xbf\xbd"));
    assert_true(g_utf8_validate(all->str, -1, NULL));
    vkmoe_tokenizer_free(tokenizer, ids);
}

/* --- conversations --- */

static MoeConversation *make_conversation(void)
{
    static const int32_t ids[] = {1, 2, 1500};
    MoeConversation *c = moe_conversation_new(TRUE);
    moe_conversation_add(c, moe_message_new(VKMOE_CHAT_USER, "\n  Who \"is\" there?\nI."));
    moe_conversation_add(c, moe_message_new(VKMOE_CHAT_ASSISTANT, "Näy"));
    moe_conversation_append(c, ", answer me.");
    moe_message_set_tokens(moe_conversation_last(c), ids, 3, "/m");
    moe_conversation_last(c)->seed = UINT64_MAX;
    return c;
}

static void a_conversation_survives_its_file(void **state)
{
    g_autoptr(MoeConversation) c = make_conversation();
    g_autofree char *json = moe_conversation_to_json(c);
    g_autoptr(GError) error = NULL;
    (void)state;
    g_autoptr(MoeConversation) read = moe_conversation_from_json("x", json, strlen(json), &error);
    assert_non_null(read);
    g_autofree char *again = moe_conversation_to_json(read);
    assert_string_equal(json, again);
    assert_string_equal(moe_conversation_get_title(read), "Who \"is\" there? I.");
    assert_true(moe_conversation_last(read)->seed == UINT64_MAX);
    assert_int_equal(moe_conversation_last(read)->tokens->len, 3);
    g_autofree char *text = moe_conversation_to_text(read);
    assert_string_equal(text, "You: \n  Who \"is\" there?\nI.\n\nModel: Näy, answer me.\n");
}

static void a_title_is_the_first_line_unless_it_is_set(void **state)
{
    g_autoptr(MoeConversation) c = make_conversation();
    (void)state;
    moe_conversation_set_title(c, "Ghosts");
    assert_string_equal(moe_conversation_get_title(c), "Ghosts");
    moe_conversation_set_title(c, "");
    assert_string_equal(moe_conversation_get_title(c), "Who \"is\" there? I.");
    moe_conversation_truncate(c, 0);
    assert_string_equal(moe_conversation_get_title(c), "New text");
    g_autofree char *line = g_strnfill(200, 'a');
    moe_conversation_add(c, moe_message_new(VKMOE_CHAT_USER, line));
    assert_true(g_utf8_strlen(moe_conversation_get_title(c), -1) < 60);
    g_autoptr(MoeConversation) text = moe_conversation_new(FALSE);
    moe_conversation_add(text, moe_message_new(VKMOE_CHAT_USER, "ROMEO:"));
    moe_conversation_add(text, moe_message_new(VKMOE_CHAT_ASSISTANT, "\nAh,  me\n"));
    assert_string_equal(moe_conversation_get_title(text), "ROMEO: Ah, me");
}

static void a_broken_file_is_one_sentence(void **state)
{
    static const char *const files[] = {
        "",
        "[",
        "{}",
        "[1]",
        "{\"vkmoe_conversation\": 2, \"messages\": []}",
        "{\"vkmoe_conversation\": 1, \"messages\": [{\"role\": \"ghost\", \"text\": \"\"}]}",
        "{\"vkmoe_conversation\": 1, \"messages\": [{\"role\": \"user\"}]}",
        "{\"vkmoe_conversation\": 1, \"messages\": 3}"};
    (void)state;
    for (guint i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autoptr(GError) error = NULL;
        assert_null(moe_conversation_from_json("it", files[i], strlen(files[i]), &error));
        assert_non_null(error);
        assert_non_null(strstr(error->message, "it.json"));
        assert_null(strchr(error->message, '\n'));
    }
}

/* --- the folder --- */

static void handle_events(MoeStore *store)
{
    moe_store_flush(store);
    while (g_main_context_iteration(NULL, FALSE))
        ;
}

static void note_failure(MoeStore *store, const char *sentence, char **last)
{
    (void)store;
    g_free(*last);
    *last = g_strdup(sentence);
}

static void the_folder_keeps_what_is_saved(void **state)
{
    const char *folder = test_folder_path("deep/conversations");
    g_autofree char *failure = NULL;
    (void)state;
    MoeStore *store = moe_store_new(folder);
    g_autoptr(MoeConversation) first = make_conversation(), second = moe_conversation_new(FALSE);
    moe_conversation_add(second, moe_message_new(VKMOE_CHAT_USER, "ROMEO:"));
    moe_store_save(store, first);
    moe_store_save(store, second);
    moe_conversation_append(second, " Ah");
    moe_store_save(store, second); /* the last one counts */
    g_object_unref(store);         /* waits for the files */
    test_file_write(test_folder_path("deep/conversations/bad.json"), "{", 1);
    store = moe_store_new(folder);
    g_signal_connect(store, "failed", G_CALLBACK(note_failure), &failure);
    handle_events(store);
    GListModel *list = moe_store_get_list(store);
    assert_int_equal(g_list_model_get_n_items(list), 2);
    g_autoptr(MoeConversation) newest = g_list_model_get_item(list, 0);
    assert_string_equal(moe_conversation_last(newest)->text, "ROMEO: Ah");
    assert_non_null(strstr(failure, "bad.json"));
    moe_store_remove(store, newest);
    handle_events(store);
    assert_int_equal(g_list_model_get_n_items(list), 1);
    g_object_unref(store);
    assert_int_equal(test_folder_count(folder), 2); /* the first, and the bad one */
}

static void what_cannot_be_saved_is_said(void **state)
{
    g_autofree char *failure = NULL;
    (void)state;
    test_folder_write_text("file", "no folder");
    MoeStore *store = moe_store_new(test_folder_path("file/conversations"));
    g_autoptr(MoeConversation) c = make_conversation();
    g_signal_connect(store, "failed", G_CALLBACK(note_failure), &failure);
    moe_store_save(store, c);
    handle_events(store);
    assert_non_null(failure);
    assert_non_null(strstr(failure, test_folder_path("file")));
    g_object_unref(store);
}

static void settings_are_remembered(void **state)
{
    const char *path = test_folder_path("config/desktop.ini");
    (void)state;
    MoeSettings *settings = moe_settings_new(path);
    assert_int_equal(moe_settings_get_int(settings, "width", 1180), 1180);
    assert_null(moe_settings_get_text(settings, "model"));
    moe_settings_set_int(settings, "width", 800);
    moe_settings_set_text(settings, "model", "/a b");
    moe_settings_save(settings);
    moe_settings_free(settings);
    settings = moe_settings_new(path);
    g_autofree char *model = moe_settings_get_text(settings, "model");
    assert_int_equal(moe_settings_get_int(settings, "width", 1180), 800);
    assert_string_equal(model, "/a b");
    moe_settings_free(settings);
}

/* --- events --- */

static void runs_of_tokens_become_one_event(void **state)
{
    const MoeToken token = {.id = 7, .length = 1};
    const MoeTokenBatch prompt = {
        .run = 1, .prompt = true, .tokens = &token, .count = 1, .text = ""};
    MoeTokenBatch batch = {.run = 1, .tokens = &token, .count = 1, .text = "a", .generated = 1};
    const MoeRouteBatch routes = {.run = 1};
    GQueue events = G_QUEUE_INIT;
    (void)state;
    moe_events_push(&events, moe_event_new_tokens(&prompt));
    for (guint i = 1; i <= 3; i++) {
        batch.generated = i;
        moe_events_push(&events, moe_event_new_tokens(&batch));
        moe_events_push(&events, moe_event_new_routes(&routes));
    }
    batch.run = 2;
    moe_events_push(&events, moe_event_new_tokens(&batch));
    assert_int_equal(g_queue_get_length(&events), 6);
    const MoeEvent *merged = g_queue_peek_nth(&events, 1);
    assert_string_equal(merged->text->str, "aaa");
    assert_int_equal(merged->tokens->len, 3);
    assert_int_equal(merged->batch.generated, 3);
    g_queue_clear_full(&events, (GDestroyNotify)moe_event_free);
}

static void what_cannot_be_written_keeps_its_file(void **state)
{
    g_autofree char *failure = NULL;
    MoeStore *store = moe_store_new(test_folder());
    MoeConversation *c = moe_conversation_new(FALSE);
    (void)state;
    g_signal_connect(store, "failed", G_CALLBACK(note_failure), &failure);
    moe_conversation_set_title(c, "A draft");
    moe_conversation_add(c, moe_message_new(VKMOE_CHAT_USER, "O Romeo"));
    moe_store_save(store, c);
    moe_conversation_append(c, "\xff");
    moe_store_save(store, c);
    handle_events(store);
    assert_non_null(failure);
    assert_non_null(strstr(failure, "“A draft” could not be saved"));
    g_object_unref(c);
    g_object_unref(store);
    store = moe_store_new(test_folder()); /* the file has what was saved before */
    handle_events(store);
    assert_int_equal(g_list_model_get_n_items(moe_store_get_list(store)), 1);
    g_object_unref(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_character_of_a_prompt_belongs_to_a_token),
        cmocka_unit_test(text_that_goes_on_keeps_its_tokens),
        cmocka_unit_test(tokens_of_another_model_are_not_used),
        cmocka_unit_test(pieces_make_whole_characters),
        cmocka_unit_test(a_conversation_survives_its_file),
        cmocka_unit_test(a_title_is_the_first_line_unless_it_is_set),
        cmocka_unit_test(a_broken_file_is_one_sentence),
        TEST_IN_FOLDER(the_folder_keeps_what_is_saved),
        TEST_IN_FOLDER(what_cannot_be_saved_is_said),
        TEST_IN_FOLDER(what_cannot_be_written_keeps_its_file),
        TEST_IN_FOLDER(settings_are_remembered),
        cmocka_unit_test(runs_of_tokens_become_one_event),
    };
    return cmocka_run_group_tests(tests, load_tokenizer, free_tokenizer);
}
