/* survivors.txt: mutants that the cases let live, with the reason why none of them can do
 * otherwise. A line is "NAME -- REASON"; empty lines and those that begin with # say nothing. */
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

#endif
