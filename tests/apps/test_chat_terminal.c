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
#include <termios.h>
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

/* As Ctrl-C does while the terminal is not the line editor's, but for what the kernel throws away of
   the program's output when it comes from the keyboard. */
static void interrupt_answer(void)
{
    kill(terminal.pid, SIGINT);
}

static void an_interrupt_stops_the_answer_and_keeps_the_conversation(void **state)
{
    (void)state;
    start_endless_answer();
    double before = seconds();
    interrupt_answer();
    expect_next("\n> ");
    assert_true(seconds() - before < 20);
    type("/save a.json\n");
    expect_next("Saved to a.json");
    expect_next("> ");
    type("and then?\n"); /* it goes on from there */
    expect_next("and then?");
    expect_bytes(60);
    interrupt_answer();
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
    interrupt_answer();
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
    type("remember \xe2\x82\xac\\me\n"); /* with what the file does not hold as it is */
    expect_next("me");
    expect_next("> ");
    type("/quit\n");
    assert_int_equal(exit_code(), 0);
    assert_int_equal(access(path_of("vkmoe/history"), R_OK), 0);
    start_chat("-n", "2");
    expect_next("> ");
    type("\x10\x10"); /* Ctrl-P, twice: past /quit */
    expect_next("\\me");
    type("\n");
    expect_next("> ");
    type("/save a.json\n/quit\n");
    assert_int_equal(exit_code(), 0);
    json_t *a = saved("a.json");
    assert_string_equal(content(a, 0), "remember \xe2\x82\xac\\me");
    json_decref(a);
}

static void the_progress_bar_keeps_to_a_row_of_the_terminal(void **state)
{
    size_t bars = 0;
    (void)state;
    start_chat("-n", "2");
    expect_next("> ");
    for (const char *at = terminal.text; (at = strstr(at, "\r\033[K")); bars++) {
        at += 4;
        assert_true(strcspn(at, "\r\n") < 80);
    }
    assert_true(bars >= 2);
    assert_non_null(strstr(terminal.text, "loading ["));
    type("/quit\n");
    assert_int_equal(exit_code(), 0);
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

static void a_second_chat_loses_nothing_that_the_first_remembers(void **state)
{
    struct terminal first;
    (void)state;
    start_chat("-n", "2");
    expect_next("> ");
    type("of the first\n");
    expect_next("of the first");
    expect_next("> ");
    first = terminal;
    start_chat("-n", "2");
    expect_next("> ");
    type("of the second\n");
    expect_next("of the second");
    expect_next("> ");
    type(CTRL_C);
    expect_next("> ");
    type(CTRL_C);
    assert_int_equal(exit_code(), 130);
    terminal = first;
    kill(terminal.pid, SIGKILL);
    assert_int_equal(exit_code(), 1000 + SIGKILL);
    start_chat("-n", "2");
    expect_next("> ");
    type("\x10"); /* Ctrl-P */
    expect_next("of the second");
    type("\x10");
    expect_next("first");
    type("\x03");
    expect_next("> ");
    type("/quit\n");
    assert_int_equal(exit_code(), 0);
}

static void a_history_that_has_grown_is_shortened(void **state)
{
    char path[4096], line[256];
    size_t lines = 0;
    (void)state;
    start_chat("-n", "2");
    expect_next("> ");
    type("/quit\n");
    assert_int_equal(exit_code(), 0);
    snprintf(path, sizeof(path), "%s", path_of("vkmoe/history"));
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    for (int i = 0; i < 2500; i++)
        fprintf(file, "line%d\n", i);
    assert_int_equal(fclose(file), 0);
    start_chat("-n", "2");
    expect_next("> ");
    type("/quit\n");
    assert_int_equal(exit_code(), 0);
    file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file))
        lines++;
    fclose(file);
    assert_int_equal(lines, 1002); /* with a heading, and /quit */
}

/* --- signals --- */

static bool lines_are_cooked(void)
{
    struct termios t;
    assert_int_equal(tcgetattr(terminal.fd, &t), 0);
    return (t.c_lflag & ICANON) && (t.c_lflag & ECHO);
}

static void a_signal_that_ends_it_leaves_the_terminal_as_it_was(void **state)
{
    static const int signals[] = {SIGTERM, SIGHUP};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        start_chat("-n", "2");
        expect_next("> ");
        assert_false(lines_are_cooked());
        kill(terminal.pid, signals[i]);
        expect_next("\n");
        int fd = dup(terminal.fd); /* which exit_code closes */
        assert_int_equal(exit_code(), 128 + signals[i]);
        terminal.fd = fd;
        assert_true(lines_are_cooked());
        close(fd);
    }
}

/* In a shell, as that is what takes the terminal over. */
static void a_stopped_chat_gives_the_terminal_back_and_goes_on_with_the_line(void **state)
{
    (void)state;
    start((const char *const[]){"/bin/sh", "-i", NULL});
    type(VKMOE_PROGRAM " chat -n 2 --chat-template plain\n");
    expect_next("/help lists commands.");
    expect_next("> ");
    type("half a");
    expect_next("half a");
    assert_false(lines_are_cooked());
    type("\x1a"); /* Ctrl-Z */
    expect_next("Stopped");
    assert_true(lines_are_cooked());
    type("fg\n");
    expect_next("> half a");
    type(" line\n");
    expect_next("> ");
    type("/save a.json\n");
    expect_next("Saved");
    expect_next("> ");
    type("/quit\n");
    expect_next("/quit");
    kill(terminal.pid, SIGKILL); /* the shell */
    assert_int_equal(exit_code(), 1000 + SIGKILL);
    json_t *a = saved("a.json");
    assert_string_equal(content(a, 0), "half a line");
    json_decref(a);
}

/* --- a full context --- */

static void a_turn_that_alone_is_too_long_is_no_question(void **state)
{
    (void)state;
    start_chat("-n", "100", "-c", "30", "--ignore-eos");
    expect_next("> ");
    type("one\n");
    expect_next("one\r\n");
    expect_next("\nvkmoe: this turn alone fills the context of 30 tokens; -c makes");
    expect_next("> ");
    type("/quit\n");
    assert_int_equal(exit_code(), 0);
    assert_null(strstr(terminal.text, "[s]top"));
}

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
    type("\x10\x10"); /* Ctrl-P: past /retry is /save, and no answer to a question */
    expect_next("/save stopped.json");
    type("\x15/save dropped.json\n/quit\n"); /* Ctrl-U */
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
        TEST(a_second_chat_loses_nothing_that_the_first_remembers),
        TEST(a_history_that_has_grown_is_shortened),
        TEST(the_progress_bar_keeps_to_a_row_of_the_terminal),
        TEST(an_unknown_command_is_said_and_the_chat_goes_on),
        TEST(a_signal_that_ends_it_leaves_the_terminal_as_it_was),
        TEST(a_stopped_chat_gives_the_terminal_back_and_goes_on_with_the_line),
        TEST(a_turn_that_alone_is_too_long_is_no_question),
        TEST(a_full_context_is_a_question),
    };
    return cmocka_run_group_tests_name("chat_terminal", tests, NULL, NULL);
}
