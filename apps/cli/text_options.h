/* What commands that measure texts have in common: options and progress. */
#ifndef VKMOE_CLI_TEXT_OPTIONS_H
#define VKMOE_CLI_TEXT_OPTIONS_H

#include "cli.h"

struct cli_text_options {
    const char *file; /* "-" is stdin; NULL: none was given */
    bool as_json, as_csv;
};

/* Short and long options, those of struct cli_common included, and their help, which a command puts
 * before CLI_COMMON_HELP. A command's own long options count from CLI_OPTION_TEXT_OWN. */
#define CLI_TEXT_SHORT CLI_COMMON_SHORT "f:c:"
enum { CLI_OPTION_JSON = CLI_OPTION_OWN, CLI_OPTION_CSV, CLI_OPTION_TEXT_OWN };
#define CLI_TEXT_LONG                                                                              \
    CLI_COMMON_LONG, {"file", required_argument, NULL, 'f'},                                       \
        {"context", required_argument, NULL, 'c'}, {"json", no_argument, NULL, CLI_OPTION_JSON},   \
    {                                                                                              \
        "csv", no_argument, NULL, CLI_OPTION_CSV                                                   \
    }
#define CLI_TEXT_HELP                                                                              \
    "  -f, --file FILE        the text; - is stdin\n"                                              \
    "  -c, --context N        tokens of a window, which is a sequence of its own (default: what\n" \
    "                         the model was made for, at most 4096)\n"                             \
    "      --json             as JSON\n"                                                           \
    "      --csv              as CSV\n"                                                            \
    "                         (layers are MoE layers, counted from 0, in either and in text)\n"

/* Applies one of these options, or a common one; returns as cli_common_option does. */
int cli_text_option(struct cli_text_options *t, struct cli_common *common, int option,
                    const char *help);
/* Whether they agree, once all have been read; -1, or an exit code after saying why not. */
int cli_text_check(const struct cli_text_options *t, const char *command);
/* The same where the text is needed, and nothing but options may stand there. */
int cli_text_check_file(const struct cli_text_options *t, const char *command, int argc,
                        char **argv);

/* Prints a result as the options want it: one of three expressions that do, of which that for JSON
 * is an exit code. An exit code. */
#define CLI_TEXT_PRINT(options, json, csv, text)                                                   \
    ((options)->as_json ? (json) : (options)->as_csv ? ((csv), EXIT_DONE) : ((text), EXIT_DONE))

/* How far a measurement is, on stderr if that is a terminal. */
struct cli_text_progress {
    double start, shown; /* set by the first call */
    uint64_t from;       /* likewise: what was done by then */
};
/* "WHAT: 3 of 96 UNIT, 12 s left". */
void cli_text_show(struct cli_text_progress *p, const char *what, uint64_t done, uint64_t total,
                   const char *unit);

#endif
