/* Bundles of kernels that are wrong on purpose, and reading JSON of known shape. */
#ifndef TEST_EXPORTED_H
#define TEST_EXPORTED_H

#include <jansson.h>

#include "conform/bundle.h"

struct exported {
    uint32_t failed, bundles;
    char sentence[1024], bundle[1024]; /* of the first */
};

/* Runs cases of a kernel whose modules are spoiled, and exports those that fail to the test's
 * folder. */
void exported_spoiled(enum vkm_kernel_id id, const char *cases, struct exported *e);

/* Each fails the test where that is not there. */
json_t *exported_json(const char *path);
json_int_t exported_integer(const json_t *object, const char *key);
const char *exported_string(const json_t *object, const char *key);

#endif
