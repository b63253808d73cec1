/* Who found a mutant, read from what its process said last: what found one is tried first on its
 * neighbours, and on the same one again. */
#ifndef MUTANTS_KILLER_H
#define MUTANTS_KILLER_H

#include <stdbool.h>
#include <stddef.h>

struct killer {
    char kernel[64], dtype[16], path[16];
    char name[160]; /* of the case */
};

/* Reads "kernel (dtype, path size), case name: ..." in text[0 .. n). False if no case is named. */
bool killer_read(struct killer *killer, const char *text, size_t n);

/* The line of a log that the mutant of this name has; NULL if it has none. */
const char *log_find(const char *log, const char *name);
/* Whether the line says that the mutant ended so. */
bool log_says(const char *line, const char *how);
/* Who the line says found it; false if no case. */
bool log_killer(const char *line, struct killer *killer);

#endif
