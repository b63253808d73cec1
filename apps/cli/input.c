#include "input.h"

#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <unistd.h>

#include <editline/readline.h>

#include "interrupt.h"
#include "messages.h"

#define HISTORY_LINES 1000

/* --- history --- */

/* Makes the folders that lead to the file; false with errno set. */
static bool make_folders(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        bool made = mkdir(path, 0700) == 0 || errno == EEXIST;
        *slash = '/';
        if (!made)
            return false;
    }
    return true;
}

/* $XDG_STATE_HOME/vkmoe/history; NULL where no folder for it is known. */
static char *history_path(void)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    bool absolute = state && state[0] == '/'; /* others are to be ignored */
    if (!absolute && (!home || !*home))
        return NULL;
    const char *base = absolute ? state : home;
    const char *rest = absolute ? "/vkmoe/history" : "/.local/state/vkmoe/history";
    size_t size = strlen(base) + strlen(rest) + 1;
    char *path = malloc(size);
    if (path)
        snprintf(path, size, "%s%s", base, rest);
    return path;
}

static void open_history(struct cli_input *in)
{
    in->history = history_path();
    using_history();
    stifle_history(HISTORY_LINES);
    if (!in->history)
        return;
    int error = read_history(in->history);
    if (error == 0 || error == ENOENT)
        return;
    cli_note("%s: the history cannot be read: %s", in->history, strerror(error));
    free(in->history);
    in->history = NULL;
}

static void remember(const char *line)
{
    const HIST_ENTRY *last = history_get(history_base + history_length - 1);
    if (*line && !(last && strcmp(last->line, line) == 0))
        add_history(line);
}

static void close_history(struct cli_input *in)
{
    mode_t mask = umask(0077); /* what was typed is nobody else's business */
    if (in->history && history_length > 0 &&
        (!make_folders(in->history) || (errno = write_history(in->history)) != 0))
        cli_note("%s: the history cannot be written: %s", in->history, strerror(errno));
    umask(mask);
    clear_history();
    free(in->history);
    in->history = NULL;
}

/* --- a terminal --- */

/* The line editor's callback and a signal handler reach nothing but static storage. */
static char *received;
static bool finished;
static volatile sig_atomic_t pressed;

static void on_line(char *line)
{
    received = line;
    finished = true;
    rl_callback_handler_remove();
}

static void on_interrupt(int signal)
{
    (void)signal;
    pressed = 1;
}

/* Waits for keys, and for Ctrl-C only while it waits. */
static bool wait_for_line(const sigset_t *waiting)
{
    while (!finished && !pressed) {
        fd_set set;
        FD_ZERO(&set);
        FD_SET(STDIN_FILENO, &set);
        if (pselect(STDIN_FILENO + 1, &set, NULL, NULL, NULL, waiting) > 0)
            rl_callback_read_char();
        else if (errno != EINTR)
            return false;
    }
    return true;
}

static enum cli_input_result edit_line(const char *prompt, char **line)
{
    struct sigaction action = {.sa_handler = on_interrupt}, old_action;
    sigset_t interrupt, old_mask, waiting;
    sigemptyset(&action.sa_mask);
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    sigprocmask(SIG_BLOCK, &interrupt, &old_mask);
    sigaction(SIGINT, &action, &old_action);
    waiting = old_mask;
    sigdelset(&waiting, SIGINT);
    finished = false;
    received = NULL;
    pressed = 0;
    rl_callback_handler_install(prompt, on_line);
    bool good = wait_for_line(&waiting);
    int error = errno;
    if (!finished)
        rl_callback_handler_remove();
    sigaction(SIGINT, &old_action, NULL);
    sigprocmask(SIG_SETMASK, &old_mask, NULL);
    if (!finished || !received)
        fputc('\n', stderr);
    if (!good)
        cli_note("cannot read stdin: %s", strerror(error));
    *line = received;
    return received   ? CLI_INPUT_LINE
           : finished ? CLI_INPUT_END
           : good     ? CLI_INPUT_INTERRUPTED
                      : CLI_INPUT_FAILED;
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
    open_history(in);
}

void cli_input_finish(struct cli_input *in)
{
    if (in->interactive)
        close_history(in);
}

static enum cli_input_result physical_line(struct cli_input *in, const char *prompt, char **line,
                                           size_t *size)
{
    if (!in->interactive)
        return read_line(line, size);
    enum cli_input_result result = edit_line(prompt, line);
    if (result == CLI_INPUT_LINE) {
        *size = strlen(*line);
        remember(*line);
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

enum cli_input_result cli_input_line(struct cli_input *in, const char *prompt, char **line,
                                     size_t *size)
{
    enum cli_input_result result = physical_line(in, prompt, line, size);
    while (result == CLI_INPUT_LINE && *size > 0 && (*line)[*size - 1] == '\\') {
        char *more;
        size_t n;
        result = physical_line(in, ". ", &more, &n);
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
