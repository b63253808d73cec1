/* Conversations: turns, and the files they are kept in. */
#include "unit.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../apps/cli/conversation.h"

static void say(struct conversation *c, vkmoe_chat_role role, const char *text)
{
    const vkmoe_chat_message m = {.role = role, .text = text, .size = strlen(text)};
    assert_true(conversation_add(c, &m));
}

/* Two turns; `system` may be NULL. */
static struct conversation talk(const char *system)
{
    struct conversation c = {0};
    if (system)
        assert_true(conversation_set_system(&c, system));
    say(&c, VKMOE_CHAT_USER, "u1");
    say(&c, VKMOE_CHAT_ASSISTANT, "a1");
    say(&c, VKMOE_CHAT_USER, "u2");
    say(&c, VKMOE_CHAT_ASSISTANT, "a2");
    return c;
}

/* Compares with texts joined by spaces. */
static void expect_texts(const struct conversation *c, const char *wanted)
{
    char found[256] = "";
    for (size_t i = 0; i < c->count; i++) {
        size_t n = strlen(found);
        snprintf(found + n, sizeof(found) - n, "%s%.*s", i ? " " : "", (int)c->items[i].size,
                 c->items[i].text);
    }
    assert_string_equal(found, wanted);
}

static void turns_go_from_either_end_and_leave_the_system_prompt(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct conversation c = talk(i ? "s" : NULL);
        assert_int_equal(conversation_turns(&c), 2);
        assert_true(conversation_undo(&c));
        expect_texts(&c, i ? "s u1 a1" : "u1 a1");
        say(&c, VKMOE_CHAT_USER, "u3");
        assert_int_equal(conversation_turns(&c), 2);
        assert_true(conversation_drop_oldest(&c));
        expect_texts(&c, i ? "s u3" : "u3");
        assert_true(conversation_undo(&c));
        expect_texts(&c, i ? "s" : "");
        assert_false(conversation_undo(&c));
        assert_false(conversation_drop_oldest(&c));
        assert_null(conversation_last(&c));
        conversation_finish(&c);
    }
}

static void the_system_prompt_comes_and_goes(void **state)
{
    struct conversation c = talk(NULL);
    (void)state;
    assert_true(conversation_set_system(&c, "s"));
    expect_texts(&c, "s u1 a1 u2 a2");
    assert_true(conversation_set_system(&c, "t"));
    expect_texts(&c, "t u1 a1 u2 a2");
    assert_int_equal(conversation_turns(&c), 2);
    assert_true(conversation_set_system(&c, ""));
    expect_texts(&c, "u1 a1 u2 a2");
    assert_true(conversation_set_system(&c, "s"));
    conversation_reset(&c);
    expect_texts(&c, "s");
    conversation_finish(&c);
}

static void messages_are_copies(void **state)
{
    char text[] = "u1";
    int32_t ids[] = {1, 2};
    struct conversation c = {0};
    const vkmoe_chat_message m = {
        .role = VKMOE_CHAT_ASSISTANT, .text = text, .size = 2, .tokens = ids, .n_tokens = 2};
    (void)state;
    assert_true(conversation_add(&c, &m));
    text[0] = 'x';
    ids[0] = 9;
    expect_texts(&c, "u1");
    assert_int_equal(conversation_last(&c)->tokens[0], 1);
    const vkmoe_chat_message empty = {.role = VKMOE_CHAT_ASSISTANT, .text = "", .tokens = ids};
    assert_true(conversation_add(&c, &empty)); /* generated, though nothing */
    assert_non_null(conversation_last(&c)->tokens);
    conversation_finish(&c);
}

static void what_was_saved_is_loaded(void **state)
{
    static const char awkward[] = "\"quotes\"\n\\ \xe2\x82\xac\0 zero";
    struct conversation c = talk("s"), loaded = talk(NULL);
    const vkmoe_chat_message m = {
        .role = VKMOE_CHAT_USER, .text = awkward, .size = sizeof(awkward) - 1};
    (void)state;
    assert_true(conversation_add(&c, &m));
    assert_true(conversation_save(&c, test_folder_path("talk.json")));
    assert_true(conversation_load(&loaded, test_folder_path("talk.json")));
    assert_int_equal(loaded.count, c.count);
    assert_true(loaded.has_system);
    for (size_t i = 0; i < c.count; i++) {
        assert_int_equal(loaded.items[i].role, c.items[i].role);
        assert_int_equal(loaded.items[i].size, c.items[i].size);
        assert_memory_equal(loaded.items[i].text, c.items[i].text, c.items[i].size);
    }
    conversation_finish(&c);
    conversation_finish(&loaded);
}

static void a_failed_save_leaves_the_old_file_alone(void **state)
{
    struct conversation c = talk(NULL);
    char path[1024];
    size_t size;
    struct rlimit old, limit;
    (void)state;
    snprintf(path, sizeof(path), "%s", test_folder_path("talk.json"));
    test_folder_write_text("talk.json", "old");
    signal(SIGXFSZ, SIG_IGN); /* the write fails instead */
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    limit = (struct rlimit){10, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    bool saved = conversation_save(&c, path);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_false(saved);
    char *text = test_file_read(path, &size);
    assert_string_equal(text, "old");
    free(text);
    assert_int_equal(test_folder_count(test_folder()), 1);
    assert_false(conversation_save(&c, test_folder_path("nowhere/talk.json")));
    assert_true(conversation_save(&c, path));
    assert_int_equal(test_folder_count(test_folder()), 1);
    conversation_finish(&c);
}

static void a_save_keeps_the_files_access_and_follows_a_link(void **state)
{
    struct conversation c = talk(NULL), loaded = {0};
    char path[1024], link[1024], dangling[1024];
    struct stat st;
    (void)state;
    snprintf(path, sizeof(path), "%s", test_folder_path("talk.json"));
    snprintf(link, sizeof(link), "%s", test_folder_path("link.json"));
    snprintf(dangling, sizeof(dangling), "%s", test_folder_path("dangling.json"));
    test_folder_write_text("talk.json", "old");
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(symlink("talk.json", link), 0);
    assert_int_equal(symlink("new.json", dangling), 0);
    assert_true(conversation_save(&c, link));
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_true(conversation_load(&loaded, path));
    expect_texts(&loaded, "u1 a1 u2 a2");
    assert_true(conversation_save(&c, dangling));
    assert_int_equal(lstat(dangling, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_true(conversation_load(&loaded, test_folder_path("new.json")));
    assert_int_equal(test_folder_count(test_folder()), 4);
    conversation_finish(&loaded);
    conversation_finish(&c);
}

static void a_save_writes_to_what_is_no_regular_file(void **state)
{
    struct conversation c = talk(NULL);
    char pipe[1024], text[4096] = "";
    struct stat st;
    (void)state;
    snprintf(pipe, sizeof(pipe), "%s", test_folder_path("pipe"));
    assert_int_equal(mkfifo(pipe, 0600), 0);
    int fd = open(pipe, O_RDWR); /* so that neither end waits for the other */
    assert_true(fd >= 0);
    assert_true(conversation_save(&c, pipe));
    assert_true(read(fd, text, sizeof(text) - 1) > 0);
    assert_non_null(strstr(text, "\"messages\""));
    assert_int_equal(lstat(pipe, &st), 0);
    assert_true(S_ISFIFO(st.st_mode));
    assert_true(conversation_save(&c, "/dev/null"));
    assert_int_equal(lstat("/dev/null", &st), 0);
    assert_true(S_ISCHR(st.st_mode));
    assert_int_equal(test_folder_count(test_folder()), 1);
    close(fd);
    conversation_finish(&c);
}

static void what_is_no_conversation_changes_nothing(void **state)
{
    static const char *const texts[] = {
        "",
        "{",
        "[]",
        "{}",
        "{\"messages\": {}}",
        "{\"messages\": [1]}",
        "{\"messages\": [{\"role\": \"user\"}]}",
        "{\"messages\": [{\"role\": \"user\", \"content\": 1}]}",
        "{\"messages\": [{\"role\": \"wizard\", \"content\": \"a\"}]}",
        "{\"messages\": [{\"role\": \"assistant\", \"content\": \"a\"}]}",
        "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"},"
        " {\"role\": \"user\", \"content\": \"a\"}]}",
        "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"},"
        " {\"role\": \"system\", \"content\": \"a\"}]}",
    };
    struct conversation c = talk("s");
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        test_folder_write_text("talk.json", texts[i]);
        assert_false(conversation_load(&c, test_folder_path("talk.json")));
        expect_texts(&c, "s u1 a1 u2 a2");
    }
    assert_false(conversation_load(&c, test_folder_path("nowhere.json")));
    assert_false(conversation_load(&c, test_folder_path("")));
    expect_texts(&c, "s u1 a1 u2 a2");
    conversation_finish(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(turns_go_from_either_end_and_leave_the_system_prompt),
        cmocka_unit_test(the_system_prompt_comes_and_goes),
        cmocka_unit_test(messages_are_copies),
        TEST_IN_FOLDER(what_was_saved_is_loaded),
        TEST_IN_FOLDER(a_failed_save_leaves_the_old_file_alone),
        TEST_IN_FOLDER(a_save_keeps_the_files_access_and_follows_a_link),
        TEST_IN_FOLDER(a_save_writes_to_what_is_no_regular_file),
        TEST_IN_FOLDER(what_is_no_conversation_changes_nothing),
    };
    return cmocka_run_group_tests_name("conversation", tests, NULL, NULL);
}
