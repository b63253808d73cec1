/* Arrays that grow. */
#ifndef VKMOE_CLI_ARRAY_H
#define VKMOE_CLI_ARRAY_H

#include <stdbool.h>
#include <stddef.h>

/* Makes room for `extra` items of `size` bytes after the first `count`. Returns the array,
 * malloc'ed and perhaps elsewhere than before; NULL when memory runs out, which leaves `items` as
 * it was. */
void *cli_reserve(void *items, size_t count, size_t *capacity, size_t extra, size_t size);

#endif
