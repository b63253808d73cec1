/* What came of a task's items, and how it is told. */
#ifndef VKMOE_CLI_EVAL_RESULTS_H
#define VKMOE_CLI_EVAL_RESULTS_H

#include "cli.h"

struct eval_results {
    json_t *items; /* an object for each, as --json prints them */
    uint64_t count;
    uint64_t correct[VKMOE_CHOICE_RULE_COUNT];
    double chance; /* sum of 1 / choices */
};

/* What a table of them is about. */
struct eval_title {
    const char *model, *task;
    size_t n_items; /* of the task */
};

bool eval_results_init(struct eval_results *r);
void eval_results_finish(struct eval_results *r);

/* Appends an item, which is released: line, answer, and of each choice log_likelihood, tokens and
 * bytes. What was picked is worked out from them, and added to the object. False for NULL or an
 * object that does not have them. */
bool eval_results_add(struct eval_results *r, json_t *item);

/* The table on stdout. */
void eval_results_print(const struct eval_results *r, const struct eval_title *title);
/* To a file, or stdout for "-"; exit codes. */
int eval_results_write_json(const struct eval_results *r, const struct eval_title *title,
                            const char *path);
int eval_results_write_csv(const struct eval_results *r, const char *path);

#endif
