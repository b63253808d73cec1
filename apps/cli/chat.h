/* The parts of `vkmoe chat`. */
#ifndef VKMOE_CLI_CHAT_H
#define VKMOE_CLI_CHAT_H

#include "conversation.h"
#include "generation_options.h"
#include "input.h"

/* What is done when the context is full. */
enum chat_on_full { CHAT_ASK, CHAT_STOP, CHAT_DROP };

struct chat {
    struct cli_common common;
    struct cli_generation generation;
    const char *system, *template_name; /* NULL: none, the model's */
    enum chat_on_full on_full;

    struct cli_engine engine;
    vkmoe_session *session;
    vkmoe_chat_template chat_template;
    vkmoe_sampling sampling;
    struct conversation conversation;
    struct cli_input input;
    bool device_lost;     /* and not opened again: `session` is of no use, or NULL */
    bool was_interrupted; /* and nothing was typed since: the next Ctrl-C leaves */
    size_t prompt_tokens; /* of the newest answer, */
    size_t reused_tokens; /* and how many of them were computed before */
};

/* What follows after a failure that has been said: a person goes on (-1), a script ends. */
static inline int chat_failed(const struct chat *c)
{
    return c->input.interactive ? -1 : EXIT_FAILED;
}

/* Opens the device, the model and a session, where there may have been others. Returns an exit
 * code; the reason for a failure has been said, and what it left is closed at the end. */
int chat_open_session(struct chat *c);

/* Answers the newest message, which is the user's: prints the answer on stdout and adds it to the
 * conversation. A message that gets no answer is taken back. Returns -1 to go on, or an exit code.
 */
int chat_answer(struct chat *c);

/* Does what a line that begins with a slash says. Returns -1 to go on, or an exit code. */
int chat_command(struct chat *c, char *line);
/* Prints the commands. */
void chat_print_commands(void);

#endif
