/* One mutant against the cases that `vkmoe conform --quick` runs. */
#ifndef MUTANTS_TRIAL_H
#define MUTANTS_TRIAL_H

#include "killer.h"
#include "shaders.h"

/* How it ended; the exit code of the process that tries the mutant. */
enum verdict {
    VERDICT_KILLED = 10,
    VERDICT_SURVIVED,
    VERDICT_SAME,      /* no module differs from the original's: not counted */
    VERDICT_INVALID,   /* it does not compile: not counted */
    VERDICT_UNDECIDED, /* it took too long */
};

/* Seconds of processor time that one case may take; SIGPROF ends the process. */
#define TRIAL_CASE_SECONDS 10

/* Runs the cases of every kernel whose module the mutant changes, in BF16 and the quantised types;
 * in F32 and F16 where none of those has changed so far. Then those of the modules that check
 * addresses, in BF16 if any of that changed. Ends the process with the verdict, after a line on
 * stdout that says who found the mutant. `folder` is the process's own. Before all others comes the
 * case of `first`, if that is not NULL and the mutant changes its kernel. */
_Noreturn void trial_run(const struct shaders *s, const struct mutant *m, const char *folder,
                         const struct killer *first);

#endif
