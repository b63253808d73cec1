/* A multiple-choice task of sums, as the shipped model was trained on them. */
#ifndef TEST_SUMS_TASK_H
#define TEST_SUMS_TASK_H

#include <stddef.h>

/* Lines of it, malloc'ed: a few sums that are solved, and one with the answer among four numbers,
 * the place of which is the line's number modulo 4. */
char *sums_task(size_t n_items);

#endif
