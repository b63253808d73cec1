#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

#include "cli.h"

/* A signal handler reaches nothing but static storage. */
static atomic_int interrupts; /* more than one thread may take one */
static _Atomic(vkmoe_session *) cancelled;

static void on_interrupt(int signal)
{
    (void)signal;
    if (atomic_fetch_add(&interrupts, 1) > 0)
        _exit(EXIT_INTERRUPTED);
    vkmoe_session *session = atomic_load(&cancelled);
    if (session)
        vkmoe_session_cancel(session);
}

void cli_catch_interrupt(void)
{
    struct sigaction action = {.sa_handler = on_interrupt};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
}

bool cli_interrupted(void)
{
    return atomic_load(&interrupts) > 0;
}

void cli_forget_interrupt(void)
{
    atomic_store(&interrupts, 0);
}

void cli_cancel_on_interrupt(vkmoe_session *session)
{
    atomic_store(&cancelled, session);
    if (session && cli_interrupted())
        vkmoe_session_cancel(session);
}
