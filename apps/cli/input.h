/* Lines of text from the user: edited and remembered on a terminal, else as they come. */
#ifndef VKMOE_CLI_INPUT_H
#define VKMOE_CLI_INPUT_H

#include <stdbool.h>
#include <stddef.h>

struct cli_input {
    bool interactive; /* stdin is a terminal */
    char *history;    /* the file that remembers lines; NULL: none */
};

enum cli_input_result {
    CLI_INPUT_LINE,
    CLI_INPUT_END,
    CLI_INPUT_INTERRUPTED, /* by Ctrl-C, on a terminal; what was typed is dropped */
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

#endif
