#include "input.h"

#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <termios.h>
#include <unistd.h>

#include <editline/readline.h>

#include "history.h"
#include "interrupt.h"
#include "messages.h"

/* --- a terminal --- */

/* The line editor's callback and a signal handler reach nothing but static storage. */
static char *received;
static bool finished;
static volatile sig_atomic_t caught; /* the newest signal of `handled`; 0: none */
static pthread_t editor;             /* the thread that waits for keys */

/* Signals that would leave the terminal as the line editor has set it. */
static const int handled[] = {SIGINT, SIGTERM, SIGHUP, SIGTSTP};
enum { N_HANDLED = sizeof(handled) / sizeof(handled[0]) };

static void on_line(char *line)
{
    received = line;
    finished = true;
    rl_callback_handler_remove();
}

/* Ctrl-C throws away what is typed ahead, and by the kernel's rule what is printed too: even what
   is printed after the signal. Only the former is wanted; edit_line sees to it. */
static void keep_output_on_interrupt(void)
{
    struct termios settings;
    if (tcgetattr(STDIN_FILENO, &settings) != 0)
        return;
    settings.c_lflag |= NOFLSH;
    tcsetattr(STDIN_FILENO, TCSANOW, &settings);
}

/* A driver's thread may be given a signal that the editor's has blocked. It would not wake the
   editor, which may have looked at `caught` just before. */
static void on_signal(int signal)
{
    if (!pthread_equal(pthread_self(), editor)) {
        pthread_kill(editor, signal);
        return;
    }
    if (caught != SIGTERM && caught != SIGHUP) /* which nothing takes back */
        caught = signal;
}

/* What was in force before; signals that were ignored still are. */
struct guard {
    struct sigaction actions[N_HANDLED];
    sigset_t mask;    /* before */
    sigset_t waiting; /* while keys are awaited */
};

static void take_signals(struct guard *g)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t blocked;
    sigemptyset(&action.sa_mask);
    sigemptyset(&blocked);
    for (int i = 0; i < N_HANDLED; i++)
        sigaddset(&blocked, handled[i]);
    sigprocmask(SIG_BLOCK, &blocked, &g->mask);
    editor = pthread_self();
    g->waiting = g->mask;
    for (int i = 0; i < N_HANDLED; i++) {
        sigaction(handled[i], NULL, &g->actions[i]);
        if (g->actions[i].sa_handler != SIG_IGN || handled[i] == SIGINT)
            sigaction(handled[i], &action, NULL);
        sigdelset(&g->waiting, handled[i]);
    }
}

static void leave_signals(const struct guard *g)
{
    for (int i = 0; i < N_HANDLED; i++)
        sigaction(handled[i], &g->actions[i], NULL);
    sigprocmask(SIG_SETMASK, &g->mask, NULL);
}

/* Ctrl-Z: the shell gets its terminal back; later the line is shown again as it was. */
static void stop(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL}, old_action;
    sigset_t set, old_mask;
    sigemptyset(&action.sa_mask);
    sigemptyset(&set);
    sigaddset(&set, SIGTSTP);
    rl_deprep_terminal();
    fputc('\n', stderr);
    sigaction(SIGTSTP, &action, &old_action);
    raise(SIGTSTP);
    sigprocmask(SIG_UNBLOCK, &set, &old_mask); /* here it stops */
    sigprocmask(SIG_SETMASK, &old_mask, NULL);
    sigaction(SIGTSTP, &old_action, NULL);
    rl_prep_terminal(1);
    keep_output_on_interrupt();
    rl_forced_update_display();
}

/* Waits for keys, and for signals only while it waits. False with errno set. */
static bool wait_for_line(const sigset_t *waiting)
{
    while (!finished && !caught) {
        fd_set set;
        FD_ZERO(&set);
        FD_SET(STDIN_FILENO, &set);
        if (pselect(STDIN_FILENO + 1, &set, NULL, NULL, NULL, waiting) > 0)
            rl_callback_read_char();
        else if (errno != EINTR)
            return false;
        if (caught == SIGTSTP) {
            caught = 0;
            stop();
        }
    }
    return true;
}

static enum cli_input_result edit_line(struct cli_input *in, const char *prompt, char **line)
{
    struct guard guard;
    take_signals(&guard);
    finished = false;
    received = NULL;
    caught = 0;
    rl_callback_handler_install(prompt, on_line);
    keep_output_on_interrupt();
    bool good = wait_for_line(&guard.waiting);
    int error = errno;
    if (!finished)
        rl_callback_handler_remove();
    leave_signals(&guard);
    if (caught)
        tcflush(STDIN_FILENO, TCIFLUSH);
    if (!finished || !received)
        fputc('\n', stderr);
    if (!good)
        cli_note("cannot read stdin: %s", strerror(error));
    *line = received;
    in->signal = caught == SIGINT ? 0 : caught;
    return received           ? CLI_INPUT_LINE
           : finished         ? CLI_INPUT_END
           : !good            ? CLI_INPUT_FAILED
           : caught == SIGINT ? CLI_INPUT_INTERRUPTED
                              : CLI_INPUT_TERMINATED;
}

/* --- a pipe or file --- */

static enum cli_input_result read_line(char **line, size_t *size)
{
    size_t capacity = 0;
    *line = NULL;
    errno = 0;
    ssize_t n = getline(line, &capacity, stdin);
    if (n >= 0) {
        if (n > 0 && (*line)[n - 1] == '\n')
            (*line)[--n] = '\0';
        if (n > 0 && (*line)[n - 1] == '\r') /* of a line from Windows */
            (*line)[--n] = '\0';
        *size = (size_t)n;
        return CLI_INPUT_LINE;
    }
    free(*line);
    *line = NULL;
    if (cli_interrupted())
        return CLI_INPUT_INTERRUPTED;
    if (!ferror(stdin) && errno != ENOMEM)
        return CLI_INPUT_END;
    cli_note("cannot read stdin: %s", strerror(errno));
    return CLI_INPUT_FAILED;
}

/* --- both --- */

void cli_input_init(struct cli_input *in)
{
    *in = (struct cli_input){.interactive = isatty(STDIN_FILENO) != 0};
    if (!in->interactive)
        return;
    /* Lines are UTF-8, whatever the locale is; the line editor asks the environment for it. */
    if (!setlocale(LC_CTYPE, "") || strcmp(nl_langinfo(CODESET), "UTF-8") != 0) {
        setenv("LC_ALL", "C.UTF-8", 1);
        setlocale(LC_CTYPE, "");
    }
    rl_readline_name = "vkmoe";
    rl_catch_signals = 0;
    rl_outstream = stderr; /* stdout has the answers */
    rl_bind_key('\t', rl_insert);
    in->history = history_open();
}

void cli_input_finish(struct cli_input *in)
{
    if (in->interactive)
        history_close(in->history);
    in->history = NULL;
}

static enum cli_input_result physical_line(struct cli_input *in, const char *prompt, bool remember,
                                           char **line, size_t *size)
{
    if (!in->interactive)
        return read_line(line, size);
    enum cli_input_result result = edit_line(in, prompt, line);
    if (result == CLI_INPUT_LINE) {
        *size = strlen(*line);
        if (remember)
            in->history = history_add(in->history, *line);
    }
    return result;
}

/* Puts a newline and `more` in the place of the backslash at the end of the line. */
static bool join(char **line, size_t *size, const char *more, size_t n)
{
    char *joined = realloc(*line, *size + n + 1);
    if (!joined) {
        cli_note("host memory ran out for a line of %zu bytes", *size + n);
        return false;
    }
    joined[*size - 1] = '\n';
    memcpy(joined + *size, more, n + 1);
    *line = joined;
    *size += n;
    return true;
}

enum cli_input_result cli_input_answer(struct cli_input *in, const char *prompt, char **line,
                                       size_t *size)
{
    return physical_line(in, prompt, false, line, size);
}

enum cli_input_result cli_input_line(struct cli_input *in, const char *prompt, char **line,
                                     size_t *size)
{
    enum cli_input_result result = physical_line(in, prompt, true, line, size);
    while (result == CLI_INPUT_LINE && *size > 0 && (*line)[*size - 1] == '\\') {
        char *more;
        size_t n;
        result = physical_line(in, ". ", true, &more, &n);
        if (result == CLI_INPUT_LINE && !join(line, size, more, n))
            result = CLI_INPUT_FAILED;
        if (result == CLI_INPUT_END) { /* the backslash was the last byte */
            (*line)[--*size] = '\0';
            return CLI_INPUT_LINE;
        }
        free(more);
        if (result != CLI_INPUT_LINE)
            free(*line);
    }
    return result;
}
