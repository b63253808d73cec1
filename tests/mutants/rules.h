/* Mutants of a shader's source: one small change each, by rule, at every place where the rule fits.
 *
 *   flip     a comparison the other way round: < and >, == and !=, lessThan and greaterThan
 *   edge     a comparison that takes its edge the other way: < and <=, so that ties change sides
 *   tie      min and max exchanged: bounds, and which of equals wins
 *   one      a whole number one larger, or 1 become 0
 *   tail     a loop or a guard that ends one early; a division that no longer rounds up
 *   swap     indices exchanged: .x and .y, .z and .w, / and %, a * b + c and c * b + a
 *   barrier  a barrier() left out
 *   narrow   an accumulator that keeps float16's eleven bits of each sum */
#ifndef MUTANTS_RULES_H
#define MUTANTS_RULES_H

#include <stddef.h>

/* source[at .. at + length) becomes `text`. */
struct mutant {
    unsigned file; /* as the caller numbers them */
    size_t at, length;
    char *text;
    /* "file: rule: line => changed line", with " (2)" and so on where a file has it several times
     */
    char *name;
};

struct mutants {
    struct mutant *items;
    size_t count, capacity;
};

/* Appends the mutants of one source. `name` is the file's name. */
void mutants_add(struct mutants *list, unsigned file, const char *name, const char *source);
/* The changed source, to be freed. */
char *mutant_source(const struct mutant *m, const char *source);
void mutants_free(struct mutants *list);

#endif
