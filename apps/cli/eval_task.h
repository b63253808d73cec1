/* Multiple-choice tasks: a JSON object on each line of a file. */
#ifndef VKMOE_CLI_EVAL_TASK_H
#define VKMOE_CLI_EVAL_TASK_H

#include "cli.h"

struct eval_task {
    const char *file;
    char *text;
    size_t size, at; /* bytes of it, and where the next line begins */
    size_t line;     /* lines before that */
    size_t n_items;  /* lines that are not blank */
};

struct eval_item {
    size_t line; /* counted from 1 */
    json_t *root;
    const json_t *id; /* of root; NULL: none */
    vkmoe_text context;
    vkmoe_text *choices; /* [n_choices] */
    uint32_t n_choices, answer;
};

/* Reads a file, "-" for stdin. Returns an exit code, after saying why. */
int eval_task_open(const char *file, struct eval_task *task);
void eval_task_close(struct eval_task *task);

/* The next item, which eval_item_free releases, or what else there is; of a broken line, *err tells
 * number and reason. */
enum eval_found { EVAL_ITEM, EVAL_END, EVAL_BROKEN };
enum eval_found eval_task_next(struct eval_task *task, struct eval_item *item, vkmoe_error *err);
/* Says in *err that a line is no item, and why. */
void eval_broken(const char *file, size_t line, const char *why, vkmoe_error *err);
/* Goes past lines until so many lie behind; false where there are fewer. */
bool eval_task_skip(struct eval_task *task, size_t lines);
void eval_item_free(struct eval_item *item);

#endif
