/* Lines of text from the user: edited and remembered on a terminal, else as they come. */
#ifndef VKMOE_CLI_INPUT_H
#define VKMOE_CLI_INPUT_H

#include <stdbool.h>
#include <stddef.h>

struct cli_input {
    bool interactive; /* stdin is a terminal */
    char *history;    /* the file that remembers lines; NULL: none */
    int signal;       /* that ended the newest line with CLI_INPUT_TERMINATED; 0: none did */
};

enum cli_input_result {
    CLI_INPUT_LINE,
    CLI_INPUT_END,
    CLI_INPUT_INTERRUPTED, /* by Ctrl-C, on a terminal; what was typed is dropped */
    CLI_INPUT_TERMINATED,  /* by SIGTERM or SIGHUP, on a terminal, which is as it was before */
    CLI_INPUT_FAILED,      /* after saying why */
};

/* Reads the history. The library that edits lines has one state for the whole program, so only one
 * of these can be in use. */
void cli_input_init(struct cli_input *in);
void cli_input_finish(struct cli_input *in);

/* The next line, its newline removed; where it ends in a backslash, a newline and the line after it
 * take the backslash's place. *line is malloc'ed and zero-terminated; *size are its bytes. The
 * prompt is shown on a terminal only. */
enum cli_input_result cli_input_line(struct cli_input *in, const char *prompt, char **line,
                                     size_t *size);
/* The same for the answer to a question: one line as it is, which is not remembered. */
enum cli_input_result cli_input_answer(struct cli_input *in, const char *prompt, char **line,
                                       size_t *size);

#endif
