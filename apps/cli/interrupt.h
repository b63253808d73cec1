/* Ctrl-C: the first stops what is going on, a second one ends the program. */
#ifndef VKMOE_CLI_INTERRUPT_H
#define VKMOE_CLI_INTERRUPT_H

#include <vkmoe/vkmoe.h>

/* From now on a first Ctrl-C is noted, to be asked for by cli_interrupted, and a second one ends
 * the program with EXIT_INTERRUPTED. */
void cli_catch_interrupt(void);
bool cli_interrupted(void);
/* What came so far has been dealt with: the next Ctrl-C is a first one again. */
void cli_forget_interrupt(void);
/* Ctrl-C also cancels what this session does, or will do next; NULL: none any more. */
void cli_cancel_on_interrupt(vkmoe_session *session);

#endif
