/* The options of commands that generate text. */
#ifndef VKMOE_CLI_GENERATION_OPTIONS_H
#define VKMOE_CLI_GENERATION_OPTIONS_H

#include "cli.h"

#define CLI_MAX_STOPS 32

struct cli_generation {
    uint64_t tokens; /* at most so many */
    bool ignore_eos;
    const char *stops[CLI_MAX_STOPS];
    size_t n_stops;
    vkmoe_sampling sampling; /* the fields that `given` names */
    unsigned given;
};

#define CLI_GENERATION_DEFAULTS                                                                    \
    {                                                                                              \
        .tokens = 256                                                                              \
    }

/* To be put in a command's tables of options, beside those of struct cli_common. */
#define CLI_GENERATION_SHORT "n:c:"
enum {
    CLI_OPTION_TEMP = 512, /* beyond the commands' own */
    CLI_OPTION_TOP_K,
    CLI_OPTION_TOP_P,
    CLI_OPTION_MIN_P,
    CLI_OPTION_REPEAT_PENALTY,
    CLI_OPTION_REPEAT_LAST,
    CLI_OPTION_SEED,
    CLI_OPTION_STOP,
    CLI_OPTION_IGNORE_EOS
};
#define CLI_GENERATION_LONG                                                                        \
    {"tokens", required_argument, NULL, 'n'}, {"context", required_argument, NULL, 'c'},           \
        CLI_SAMPLING_LONG
/* But for those two. */
#define CLI_SAMPLING_LONG                                                                          \
    {"temp", required_argument, NULL, CLI_OPTION_TEMP},                                            \
        {"top-k", required_argument, NULL, CLI_OPTION_TOP_K},                                      \
        {"top-p", required_argument, NULL, CLI_OPTION_TOP_P},                                      \
        {"min-p", required_argument, NULL, CLI_OPTION_MIN_P},                                      \
        {"repeat-penalty", required_argument, NULL, CLI_OPTION_REPEAT_PENALTY},                    \
        {"repeat-last", required_argument, NULL, CLI_OPTION_REPEAT_LAST},                          \
        {"seed", required_argument, NULL, CLI_OPTION_SEED},                                        \
        {"stop", required_argument, NULL, CLI_OPTION_STOP},                                        \
    {                                                                                              \
        "ignore-eos", no_argument, NULL, CLI_OPTION_IGNORE_EOS                                     \
    }
#define CLI_GENERATION_HELP                                                                        \
    "  -n, --tokens N         at most N tokens of text (default: 256)\n"                           \
    "  -c, --context N        room for N tokens of prompt and text\n"                              \
    "                         (default: what the model was made for, at most "                     \
    "4096)\n" CLI_SAMPLING_HELP
#define CLI_SAMPLING_HELP                                                                          \
    "      --stop STRING      the text ends before STRING; may be given more than once\n"          \
    "      --ignore-eos       go on past the end of the document\n"                                \
    "The next token is chosen by these, in this order, each by default as the model's\n"           \
    "generation_config.json says:\n"                                                               \
    "      --repeat-penalty R tokens seen before become less likely; 1 is off\n"                   \
    "      --repeat-last N    of the last N tokens\n"                                              \
    "      --temp T           temperature; 0 takes the likeliest token each time\n"                \
    "      --top-k K          one of the K likeliest; 0 is off\n"                                  \
    "      --top-p P          one of the fewest that hold the share P of the probability\n"        \
    "      --min-p P          one at least P times as likely as the likeliest\n"                   \
    "      --seed S           of the choice (default: another one each time, told with -v)\n"

/* Applies one of these options. Returns -1 if it was one, EXIT_USAGE after saying what is wrong
 * with its value, or what cli_common_option makes of another one. */
int cli_generation_option(struct cli_generation *g, struct cli_common *common, int option,
                          const char *help);

/* What was asked for, and of the rest what the model wants; said with -v. */
vkmoe_sampling cli_generation_sampling(const struct cli_generation *g,
                                       const struct cli_common *common, const vkmoe_model *model);

#endif
