#include "array.h"

#include <stdint.h>
#include <stdlib.h>

void *cli_reserve(void *items, size_t count, size_t *capacity, size_t extra, size_t size)
{
    if (items && extra <= *capacity - count)
        return items;
    if (extra > SIZE_MAX / size / 2 - count)
        return NULL;
    size_t wanted = 2 * (count + extra);
    void *grown = realloc(items, wanted > 0 ? wanted * size : size);
    if (grown)
        *capacity = wanted;
    return grown;
}
