/* survivors.txt: mutants that the cases let live, with the reason why none of them can do
 * otherwise. A line is "NAME -- equivalent: REASON" (it computes the same everywhere) or "NAME --
 * undetectable: REASON" (it is wrong, but not so that a CPU driver shows it); empty lines and those
 * that begin with # say nothing. */
#ifndef MUTANTS_SURVIVORS_H
#define MUTANTS_SURVIVORS_H

#include <stdbool.h>

struct survivors {
    char **names, **reasons;
    unsigned count;
};

void survivors_load(struct survivors *s);
void survivors_free(struct survivors *s);
bool survivors_have(const struct survivors *s, const char *name);
/* Whether it is listed as equivalent. */
bool survivors_equivalent(const struct survivors *s, const char *name);

#endif
