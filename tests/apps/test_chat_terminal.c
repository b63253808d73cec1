/* vkmoe chat on a terminal: Ctrl-C, editing, and questions. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support.h"

#define WAIT_SECONDS 60

static char *folder; /* of the running test; the history is in it too */

/* The program on a terminal of its own, and all that it has printed. */
struct terminal {
    int fd;
    pid_t pid;
    char text[1 << 18];
    size_t size, seen; /* what expect_next has gone past */
};

static struct terminal terminal;

static const char *path_of(const char *name)
{
    static char path[4096];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void run_child(const char *slave, const char *const argv[])
{
    setsid();
    int fd = open(slave, O_RDWR); /* becomes the controlling terminal */
    if (fd < 0 || chdir(folder) != 0)
        _exit(125);
    for (int i = 0; i < 3; i++)
        dup2(fd, i);
    if (fd > 2)
        close(fd);
    setenv("TERM", "dumb", 1);
    setenv("LC_ALL", "C", 1); /* lines are UTF-8 all the same */
    setenv("XDG_STATE_HOME", folder, 1);
    alarm(300);
    execv(argv[0], (char *const *)(uintptr_t)argv);
    _exit(126);
}

static void start(const char *const argv[])
{
    memset(&terminal, 0, sizeof(terminal));
    terminal.fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(terminal.fd >= 0);
    assert_int_equal(grantpt(terminal.fd), 0);
    assert_int_equal(unlockpt(terminal.fd), 0);
    const char *slave = ptsname(terminal.fd);
    assert_non_null(slave);
    terminal.pid = fork();
    assert_true(terminal.pid >= 0);
    if (terminal.pid == 0)
        run_child(slave, argv);
}

#define start_chat(...)                                                                            \
    start((const char *const[]){VKMOE_PROGRAM, "chat", "--temp", "0", "--chat-template", "plain",  \
                                __VA_ARGS__, NULL})

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Reads what there is, waiting up to a tenth of a second for it; false when the program is gone. */
static bool read_some(void)
{
    struct pollfd poll_fd = {.fd = terminal.fd, .events = POLLIN};
    if (poll(&poll_fd, 1, 100) <= 0)
        return true;
    size_t room = sizeof(terminal.text) - 1 - terminal.size;
    assert_true(room > 0);
    ssize_t n = read(terminal.fd, terminal.text + terminal.size, room);
    if (n <= 0)
        return false;
    for (ssize_t i = 0; i < n; i++) { /* a zero byte would hide the rest */
        if (!terminal.text[terminal.size + (size_t)i])
            terminal.text[terminal.size + (size_t)i] = '?';
    }
    terminal.size += (size_t)n;
    return true;
}

/* Waits for text that comes after what was waited for before. */
static void expect_next(const char *part)
{
    double end = seconds() + WAIT_SECONDS;
    const char *found = NULL;
    bool alive = true;
    while (!(found = strstr(terminal.text + terminal.seen, part)) && alive && seconds() < end)
        alive = read_some();
    if (!found)
        fail_msg("'%s' does not come: %s", part, terminal.text + terminal.seen);
    terminal.seen = (size_t)(found - terminal.text) + strlen(part);
}

/* Waits until so many more bytes were printed. */
static void expect_bytes(size_t n)
{
    double end = seconds() + WAIT_SECONDS;
    while (terminal.size < terminal.seen + n && seconds() < end)
        assert_true(read_some());
    assert_true(terminal.size >= terminal.seen + n);
}

static void type(const char *keys)
{
    assert_int_equal(write(terminal.fd, keys, strlen(keys)), strlen(keys));
}

static int exit_code(void)
{
    int status;
    double end = seconds() + WAIT_SECONDS;
    while (read_some()) {
        if (seconds() > end)
            fail_msg("the program does not end: %s", terminal.text + terminal.seen);
    }
    assert_int_equal(waitpid(terminal.pid, &status, 0), terminal.pid);
    terminal.pid = 0;
    close(terminal.fd);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static json_t *saved(const char *name)
{
    json_t *root = json_load_file(path_of(name), 0, NULL);
    assert_non_null(root);
    json_t *list = json_incref(json_object_get(root, "messages"));
    json_decref(root);
    assert_non_null(list);
    return list;
}

static const char *content(const json_t *list, size_t index)
{
    const char *text = json_string_value(json_object_get(json_array_get(list, index), "content"));
    assert_non_null(text);
    return text;
}

#define CTRL_C "\x03"
#define CTRL_D "\x04"

/* --- Ctrl-C --- */

static void start_endless_answer(void)
{
    start_chat("-n", "100000", "-c", "40000", "--ignore-eos");
    expect_next("> ");
    type("ROMEO:\n");
    expect_next("ROMEO:");
    expect_bytes(60);
}

static void an_interrupt_stops_the_answer_and_keeps_the_conversation(void **state)
{
    (void)state;
    start_endless_answer();
    double before = seconds();
    type(CTRL_C);
    expect_next("\n> ");
    assert_true(seconds() - before < 20);
    type("/save a.json\n");
    expect_next("Saved to a.json");
    expect_next("> ");
    type("and then?\n"); /* it goes on from there */
    expect_next("and then?");
    expect_bytes(60);
    type(CTRL_C);
    expect_next("\n> ");
    type("/save b.json\n");
    expect_next("Saved to b.json");
    type("/quit\n");
    assert_int_equal(exit_code(), 0);
    json_t *a = saved("a.json"), *b = saved("b.json");
    assert_int_equal(json_array_size(a), 2);
    assert_string_equal(content(a, 0), "ROMEO:");
    assert_true(strlen(content(a, 1)) > 20);
    assert_int_equal(json_array_size(b), 4);
    assert_string_equal(content(b, 1), content(a, 1));
    assert_string_equal(content(b, 2), "and then?");
    json_decref(a);
    json_decref(b);
}

static void a_second_interrupt_leaves(void **state)
{
    (void)state;
    start_endless_answer();
    type(CTRL_C);
    expect_next("\n> ");
    type(CTRL_C);
    assert_int_equal(exit_code(), 130);
}

static void two_interrupts_in_one_answer_leave_too(void **state)
{
    (void)state;
    start_endless_answer();
    kill(terminal.pid, SIGINT);
    kill(terminal.pid, SIGINT); /* perhaps one with the first */
    usleep(1000);
    kill(terminal.pid, SIGINT);
    assert_int_equal(exit_code(), 130);
}

static void an_interrupt_drops_the_line_and_two_of_them_leave(void **state)
{
    (void)state;
    start_chat("-n", "4");
    expect_next("> ");
    type("never sent");
    expect_next("never sent");
    type(CTRL_C);
    expect_next("Ctrl-C again leaves");
    expect_next("> ");
    type("sent\n");
    expect_next("sent");
    expect_next("> ");
    type("/save a.json\n");
    expect_next("Saved");
    expect_next("> ");
    type(CTRL_C);
    expect_next("Ctrl-C again leaves");
    expect_next("> ");
    type(CTRL_C);
    assert_int_equal(exit_code(), 130);
    json_t *a = saved("a.json");
    assert_string_equal(content(a, 0), "sent");
    json_decref(a);
}

static void an_interrupt_while_it_loads_leaves(void **state)
{
    (void)state;
    start_chat("-vv", "--no-cache");
    expect_next("vkmoe: "); /* the template, before the device is looked for */
    expect_next("vkmoe: ");
    type(CTRL_C);
    assert_int_equal(exit_code(), 130);
    assert_null(strstr(terminal.text, "\n> "));
}

/* --- lines --- */

static void lines_are_edited_and_may_be_of_several(void **state)
{
    (void)state;
    start_chat("-n", "2");
    expect_next("> ");
    type("helpo\x7f\x7flo\\\n"); /* two deletions, and a backslash */
    expect_next(". ");
    type("\xe2\x82\xac\xc3\xa9\x7f!\n"); /* a whole character is deleted */
    expect_next("> ");
    type("/save a.json\n");
    expect_next("Saved");
    expect_next("> ");
    type(CTRL_D);
    assert_int_equal(exit_code(), 0);
    json_t *a = saved("a.json");
    assert_string_equal(content(a, 0), "hello\n\xe2\x82\xac!");
    json_decref(a);
}

static void lines_are_remembered_from_one_time_to_the_next(void **state)
{
    (void)state;
    start_chat("-n", "2");
    expect_next("> ");
    type("remember me\n");
    expect_next("remember me");
    expect_next("> ");
    type("/quit\n");
    assert_int_equal(exit_code(), 0);
    assert_int_equal(access(path_of("vkmoe/history"), R_OK), 0);
    start_chat("-n", "2");
    expect_next("> ");
    type("\x10\x10"); /* Ctrl-P, twice: past /quit */
    expect_next("remember me");
    type("\n");
    expect_next("> ");
    type("/save a.json\n/quit\n");
    assert_int_equal(exit_code(), 0);
    json_t *a = saved("a.json");
    assert_string_equal(content(a, 0), "remember me");
    json_decref(a);
}

static void an_unknown_command_is_said_and_the_chat_goes_on(void **state)
{
    (void)state;
    start_chat("-n", "2");
    expect_next("> ");
    type("/frobnicate\n");
    expect_next("no command '/frobnicate'");
    expect_next("> ");
    type("/quit\n");
    assert_int_equal(exit_code(), 0);
}

/* --- a full context --- */

static void a_full_context_is_a_question(void **state)
{
    (void)state;
    start_chat("-n", "30", "-c", "40", "--ignore-eos");
    expect_next("> ");
    type("one\n");
    expect_next("cut after 30 tokens");
    expect_next("> ");
    type("two\n");
    expect_next("the context of 40 tokens is full");
    expect_next("[s]top, or [d]rop the oldest turns? ");
    type("what\n");
    expect_next("[s]top, or [d]rop the oldest turns? ");
    type("s\n");
    expect_next("> ");
    type("/save stopped.json\n");
    expect_next("Saved");
    type("/retry\n");
    expect_next("[s]top, or [d]rop the oldest turns? ");
    type("d\n");
    expect_next("dropped the oldest turn");
    expect_next("> ");
    type("/save dropped.json\n/quit\n");
    assert_int_equal(exit_code(), 0);
    json_t *stopped = saved("stopped.json"), *dropped = saved("dropped.json");
    assert_int_equal(json_array_size(stopped), 4);
    assert_int_equal(json_array_size(dropped), 2);
    assert_string_equal(content(dropped, 0), "two");
    assert_true(strlen(content(dropped, 1)) > strlen(content(stopped, 3)));
    json_decref(stopped);
    json_decref(dropped);
}

static int make_folder(void **state)
{
    (void)state;
    folder = test_folder_make();
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    if (terminal.pid > 0)
        kill(terminal.pid, SIGKILL); /* of a test that failed */
    test_folder_remove(folder);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_interrupt_stops_the_answer_and_keeps_the_conversation),
        TEST(a_second_interrupt_leaves),
        TEST(two_interrupts_in_one_answer_leave_too),
        TEST(an_interrupt_drops_the_line_and_two_of_them_leave),
        TEST(an_interrupt_while_it_loads_leaves),
        TEST(lines_are_edited_and_may_be_of_several),
        TEST(lines_are_remembered_from_one_time_to_the_next),
        TEST(an_unknown_command_is_said_and_the_chat_goes_on),
        TEST(a_full_context_is_a_question),
    };
    return cmocka_run_group_tests_name("chat_terminal", tests, NULL, NULL);
}
