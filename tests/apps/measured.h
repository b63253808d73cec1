/* A text whose tokens and loss are known, and what programs measure of it as JSON. */
#ifndef TEST_MEASURED_H
#define TEST_MEASURED_H

#include <jansson.h>

#include "../golden/manifest.h"
#include "process.h"

/* A document of the held-out records, whose tokens and loss an independent float64 implementation
 * has counted: BOS, then the text. There between the two calls, which a group of tests has as its
 * setup and teardown. */
const struct golden_document *measured_document(void);
const struct golden *measured_golden(void); /* all of them, likewise */
int measured_setup(void **state);
int measured_teardown(void **state);

/* What a process that succeeded printed; the process is released. */
json_t *measured_json(struct test_process *p);
/* A number that must be there. */
double measured_number(const json_t *root, const char *key);

#endif
