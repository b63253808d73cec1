/* vkmoe chat on a terminal: Ctrl-C, editing, and questions. */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include "process.h"
#include "saved.h"
#include "support.h"
#include "terminal.h"

static struct terminal terminal; /* of the running test */

#define start_chat(...)                                                                            \
    terminal_start(&terminal,                                                                      \
                   (const char *const[]){VKMOE_PROGRAM, "chat", "--temp", "0", "--chat-template",  \
                                         "plain", __VA_ARGS__, NULL})

/* --- Ctrl-C --- */

static void start_endless_answer(void)
{
    start_chat("-n", "100000", "-c", "40000", "--ignore-eos");
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal, "ROMEO:\n");
    terminal_expect(&terminal, "ROMEO:");
    terminal_expect_bytes(&terminal, 60);
}

/* As Ctrl-C does while the terminal is not the line editor's, but for what the kernel throws away
   of the program's output when it comes from the keyboard. */
static void interrupt_answer(void)
{
    kill(terminal.pid, SIGINT);
}

static void an_interrupt_stops_the_answer_and_keeps_the_conversation(void **state)
{
    (void)state;
    start_endless_answer();
    double before = terminal_seconds();
    interrupt_answer();
    terminal_expect(&terminal, "\n> ");
    assert_true(terminal_seconds() - before < 20);
    terminal_type(&terminal, "/save a.json\n");
    terminal_expect(&terminal, "Saved to a.json");
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal, "and then?\n"); /* it goes on from there */
    terminal_expect(&terminal, "and then?");
    terminal_expect_bytes(&terminal, 60);
    interrupt_answer();
    terminal_expect(&terminal, "\n> ");
    terminal_type(&terminal, "/save b.json\n");
    terminal_expect(&terminal, "Saved to b.json");
    terminal_type(&terminal, "/quit\n");
    assert_int_equal(terminal_exit_code(&terminal), 0);
    json_t *a = saved("a.json"), *b = saved("b.json");
    assert_int_equal(json_array_size(a), 2);
    assert_string_equal(saved_content(a, 0), "ROMEO:");
    assert_true(strlen(saved_content(a, 1)) > 20);
    assert_int_equal(json_array_size(b), 4);
    assert_string_equal(saved_content(b, 1), saved_content(a, 1));
    assert_string_equal(saved_content(b, 2), "and then?");
    json_decref(a);
    json_decref(b);
}

static void a_second_interrupt_leaves(void **state)
{
    (void)state;
    start_endless_answer();
    interrupt_answer();
    terminal_expect(&terminal, "\n> ");
    terminal_type(&terminal, CTRL_C);
    assert_int_equal(terminal_exit_code(&terminal), 130);
}

static void two_interrupts_in_one_answer_leave_too(void **state)
{
    (void)state;
    start_endless_answer();
    test_process_signal(terminal.pid, SIGINT);
    test_process_signal(terminal.pid, SIGINT);
    assert_int_equal(terminal_exit_code(&terminal), 130);
}

static void an_interrupt_drops_the_line_and_two_of_them_leave(void **state)
{
    (void)state;
    start_chat("-n", "4");
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal, "never sent");
    terminal_expect(&terminal, "never sent");
    terminal_type(&terminal, CTRL_C);
    terminal_expect(&terminal, "Ctrl-C again leaves");
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal, "sent\n");
    terminal_expect(&terminal, "sent");
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal, "/save a.json\n");
    terminal_expect(&terminal, "Saved");
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal, CTRL_C);
    terminal_expect(&terminal, "Ctrl-C again leaves");
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal, CTRL_C);
    assert_int_equal(terminal_exit_code(&terminal), 130);
    json_t *a = saved("a.json");
    assert_string_equal(saved_content(a, 0), "sent");
    json_decref(a);
}

static void an_interrupt_while_it_loads_leaves(void **state)
{
    (void)state;
    start_chat("-vv", "--no-cache");
    terminal_expect(&terminal, "vkmoe: "); /* the template, before the device is looked for */
    terminal_expect(&terminal, "vkmoe: ");
    terminal_type(&terminal, CTRL_C);
    assert_int_equal(terminal_exit_code(&terminal), 130);
    assert_null(strstr(terminal.text, "\n> "));
}

/* --- lines --- */

static void lines_are_edited_and_may_be_of_several(void **state)
{
    (void)state;
    start_chat("-n", "2");
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal, "helpo\x7f\x7flo\\\n"); /* two deletions, and a backslash */
    terminal_expect(&terminal, ". ");
    terminal_type(&terminal, "\xe2\x82\xac\xc3\xa9\x7f!\n"); /* a whole character is deleted */
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal, "/save a.json\n");
    terminal_expect(&terminal, "Saved");
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal, CTRL_D);
    assert_int_equal(terminal_exit_code(&terminal), 0);
    json_t *a = saved("a.json");
    assert_string_equal(saved_content(a, 0), "hello\n\xe2\x82\xac!");
    json_decref(a);
}

static void lines_are_remembered_from_one_time_to_the_next(void **state)
{
    (void)state;
    start_chat("-n", "2");
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal,
                  "remember \xe2\x82\xac\\me\n"); /* with what the file does not hold as it is */
    terminal_expect(&terminal, "me");
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal, "/quit\n");
    assert_int_equal(terminal_exit_code(&terminal), 0);
    assert_int_equal(access(test_folder_path("vkmoe/history"), R_OK), 0);
    start_chat("-n", "2");
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal, "\x10\x10"); /* Ctrl-P, twice: past /quit */
    terminal_expect(&terminal, "\\me");
    terminal_type(&terminal, "\n");
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal, "/save a.json\n/quit\n");
    assert_int_equal(terminal_exit_code(&terminal), 0);
    json_t *a = saved("a.json");
    assert_string_equal(saved_content(a, 0), "remember \xe2\x82\xac\\me");
    json_decref(a);
}

static void the_progress_bar_keeps_to_a_row_of_the_terminal(void **state)
{
    size_t bars = 0;
    (void)state;
    start_chat("-n", "2");
    terminal_expect(&terminal, "> ");
    for (const char *at = terminal.text; (at = strstr(at, "\r\033[K")); bars++) {
        at += 4;
        assert_true(strcspn(at, "\r\n") < 80);
    }
    assert_true(bars >= 2);
    assert_non_null(strstr(terminal.text, "loading ["));
    terminal_type(&terminal, "/quit\n");
    assert_int_equal(terminal_exit_code(&terminal), 0);
}

static void an_unknown_command_is_said_and_the_chat_goes_on(void **state)
{
    (void)state;
    start_chat("-n", "2");
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal, "/frobnicate\n");
    terminal_expect(&terminal, "no command '/frobnicate'");
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal, "/quit\n");
    assert_int_equal(terminal_exit_code(&terminal), 0);
}

static void a_second_chat_loses_nothing_that_the_first_remembers(void **state)
{
    struct terminal first;
    (void)state;
    start_chat("-n", "2");
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal, "of the first\n");
    terminal_expect(&terminal, "of the first");
    terminal_expect(&terminal, "> ");
    first = terminal;
    start_chat("-n", "2");
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal, "of the second\n");
    terminal_expect(&terminal, "of the second");
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal, CTRL_C);
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal, CTRL_C);
    assert_int_equal(terminal_exit_code(&terminal), 130);
    terminal = first;
    kill(terminal.pid, SIGKILL);
    assert_int_equal(terminal_exit_code(&terminal), 1000 + SIGKILL);
    start_chat("-n", "2");
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal, "\x10"); /* Ctrl-P */
    terminal_expect(&terminal, "of the second");
    terminal_type(&terminal, "\x10");
    terminal_expect(&terminal, "first");
    terminal_type(&terminal, "\x03");
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal, "/quit\n");
    assert_int_equal(terminal_exit_code(&terminal), 0);
}

static void a_history_that_has_grown_is_shortened(void **state)
{
    char line[256];
    const char *path;
    size_t lines = 0;
    (void)state;
    start_chat("-n", "2");
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal, "/quit\n");
    assert_int_equal(terminal_exit_code(&terminal), 0);
    path = test_folder_path("vkmoe/history");
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    for (int i = 0; i < 2500; i++)
        fprintf(file, "line%d\n", i);
    assert_int_equal(fclose(file), 0);
    start_chat("-n", "2");
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal, "/quit\n");
    assert_int_equal(terminal_exit_code(&terminal), 0);
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
        terminal_expect(&terminal, "> ");
        assert_false(lines_are_cooked());
        kill(terminal.pid, signals[i]);
        terminal_expect(&terminal, "\n");
        int fd = dup(terminal.fd); /* which exit_code closes */
        assert_int_equal(terminal_exit_code(&terminal), 128 + signals[i]);
        terminal.fd = fd;
        assert_true(lines_are_cooked());
        close(fd);
    }
}

static bool takes(int thread, int signal)
{
    char path[64], line[128];
    unsigned long long blocked = ~0ULL;
    snprintf(path, sizeof(path), "/proc/%d/task/%d/status", (int)terminal.pid, thread);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof(line), file))
        if (sscanf(line, "SigBlk: %llx", &blocked) == 1)
            break;
    if (file)
        fclose(file);
    return !(blocked >> (signal - 1) & 1);
}

/* One that does not block the signal, besides the first; 0: none. */
static int another_thread(int signal)
{
    char path[64];
    int found = 0;
    snprintf(path, sizeof(path), "/proc/%d/task", (int)terminal.pid);
    DIR *folder = opendir(path);
    assert_non_null(folder);
    for (struct dirent *e; !found && (e = readdir(folder));) {
        int thread = atoi(e->d_name);
        if (thread > 0 && thread != terminal.pid && takes(thread, signal))
            found = thread;
    }
    closedir(folder);
    return found;
}

/* The kernel gives it to a driver's thread while the first is busy. */
static void a_signal_that_another_thread_takes_ends_it_too(void **state)
{
    (void)state;
    start_chat("-n", "2");
    terminal_expect(&terminal, "> ");
    int thread = another_thread(SIGTERM);
    if (!thread) {
        terminal_drop(&terminal);
        skip(); /* all of this driver's threads block it */
    }
    assert_int_equal(syscall(SYS_tgkill, terminal.pid, thread, SIGTERM), 0);
    terminal_expect(&terminal, "\n");
    assert_int_equal(terminal_exit_code(&terminal), 128 + SIGTERM);
}

/* In a shell, as that is what takes the terminal over. */
static void a_stopped_chat_gives_the_terminal_back_and_goes_on_with_the_line(void **state)
{
    (void)state;
    terminal_start(&terminal, (const char *const[]){"/bin/sh", "-i", NULL});
    terminal_type(&terminal, VKMOE_PROGRAM " chat -n 2 --chat-template plain\n");
    terminal_expect(&terminal, "/help lists commands.");
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal, "half a");
    terminal_expect(&terminal, "half a");
    assert_false(lines_are_cooked());
    terminal_type(&terminal, "\x1a"); /* Ctrl-Z */
    terminal_expect(&terminal, "Stopped");
    assert_true(lines_are_cooked());
    terminal_type(&terminal, "fg\n");
    terminal_expect(&terminal, "> half a");
    terminal_type(&terminal, " line\n");
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal, "/save a.json\n");
    terminal_expect(&terminal, "Saved");
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal, "/quit\n");
    terminal_expect(&terminal, "/quit");
    kill(terminal.pid, SIGKILL); /* the shell */
    assert_int_equal(terminal_exit_code(&terminal), 1000 + SIGKILL);
    json_t *a = saved("a.json");
    assert_string_equal(saved_content(a, 0), "half a line");
    json_decref(a);
}

/* --- a full context --- */

static void a_turn_that_alone_is_too_long_is_no_question(void **state)
{
    (void)state;
    start_chat("-n", "100", "-c", "30", "--ignore-eos");
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal, "one\n");
    terminal_expect(&terminal, "one\r\n");
    terminal_expect(&terminal, "\nvkmoe: this turn alone fills the context of 30 tokens; -c makes");
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal, "/quit\n");
    assert_int_equal(terminal_exit_code(&terminal), 0);
    assert_null(strstr(terminal.text, "[s]top"));
}

static void a_full_context_is_a_question(void **state)
{
    (void)state;
    start_chat("-n", "30", "-c", "40", "--ignore-eos");
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal, "one\n");
    terminal_expect(&terminal, "cut after 30 tokens");
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal, "two\n");
    terminal_expect(&terminal, "the context of 40 tokens is full");
    terminal_expect(&terminal, "[s]top, or [d]rop the oldest turns? ");
    terminal_type(&terminal, "what\n");
    terminal_expect(&terminal, "[s]top, or [d]rop the oldest turns? ");
    terminal_type(&terminal, "s\n");
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal, "/save stopped.json\n");
    terminal_expect(&terminal, "Saved");
    terminal_type(&terminal, "/retry\n");
    terminal_expect(&terminal, "[s]top, or [d]rop the oldest turns? ");
    terminal_type(&terminal, "d\n");
    terminal_expect(&terminal, "dropped the oldest turn");
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal,
                  "\x10\x10"); /* Ctrl-P: past /retry is /save, and no answer to a question */
    terminal_expect(&terminal, "/save stopped.json");
    terminal_type(&terminal, "\x15/save dropped.json\n/quit\n"); /* Ctrl-U */
    assert_int_equal(terminal_exit_code(&terminal), 0);
    json_t *stopped = saved("stopped.json"), *dropped = saved("dropped.json");
    assert_int_equal(json_array_size(stopped), 4);
    assert_int_equal(json_array_size(dropped), 2);
    assert_string_equal(saved_content(dropped, 0), "two");
    assert_true(strlen(saved_content(dropped, 1)) > strlen(saved_content(stopped, 3)));
    json_decref(stopped);
    json_decref(dropped);
}

static int end_and_remove(void **state)
{
    terminal_drop(&terminal); /* of a test that failed */
    return test_folder_teardown(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, test_folder_setup, end_and_remove)

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
        TEST(a_signal_that_another_thread_takes_ends_it_too),
        TEST(a_stopped_chat_gives_the_terminal_back_and_goes_on_with_the_line),
        TEST(a_turn_that_alone_is_too_long_is_no_question),
        TEST(a_full_context_is_a_question),
    };
    return cmocka_run_group_tests_name("chat_terminal", tests, NULL, NULL);
}
