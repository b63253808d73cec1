/* The kinds of vkmoe study, which share their options. */
#ifndef VKMOE_CLI_STUDY_H
#define VKMOE_CLI_STUDY_H

#include "text.h"
#include "text_options.h"

enum study_kind {
    STUDY_MASK,
    STUDY_ACTIVE,
    STUDY_SHARED,
    STUDY_IMPORTANCE,
    STUDY_AFFINITY,
    STUDY_COUNT
};

struct study_options {
    struct cli_common common;
    struct cli_text_options text;
    enum study_kind kind;
    uint64_t tokens;  /* of each text, the first; 0: all */
    const char *list; /* NULL: by default */
    const char *set;  /* mask: experts, as --experts-off has them; NULL: none */
    const char *only; /* experts, as --experts-off has them; NULL: all */
    const char *map;  /* pictures; NULL: none */
    const char *chart;
    uint64_t permutations, seed;
    char *const *files; /* affinity: the texts */
    int n_files;
};

const char *study_name(enum study_kind kind);
/* The tokens of a text that are looked at. */
size_t study_tokens(const struct study_options *o, const struct cli_text *text);

/* They measure and print, and complete the options. Each returns an exit code. */
int study_trials(struct study_options *o); /* mask, active, shared */
int study_importance(struct study_options *o);
int study_affinity(struct study_options *o);

#endif
