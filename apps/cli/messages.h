/* Sentences for the user, and the exit codes that go with them. */
#ifndef VKMOE_CLI_MESSAGES_H
#define VKMOE_CLI_MESSAGES_H

#include <stdbool.h>
#include <stddef.h>

#include <vkmoe/status.h>

/* Exit codes, which scripts rely on. */
enum {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_SIGNAL = 128, /* and the signal's number */
    EXIT_INTERRUPTED = 130
};

/* Prints "vkmoe: ..." on stderr, as one line whatever the arguments hold, and returns the exit code
 * for it. */
int cli_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
int cli_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
int cli_failed(const vkmoe_error *err);
/* The same for what is no failure. */
void cli_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Whether a text is UTF-8; false after saying where, in what `where` names, it is not. */
bool cli_check_utf8(const char *where, const char *text, size_t size);

#endif
