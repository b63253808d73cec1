#include "base/array.h"

bool vkm_array_reserve(const vkmoe_allocator *a, void **items, size_t count, size_t *capacity,
                       size_t extra, size_t item_size)
{
    if (extra <= *capacity - count)
        return true;
    if (extra > SIZE_MAX - count)
        return false;
    size_t wanted = *capacity < 8 ? 8 : *capacity;
    while (wanted < count + extra) {
        if (wanted > SIZE_MAX / 2)
            return false;
        wanted *= 2;
    }
    void *grown = vkm_realloc(a, *items, wanted, item_size);
    if (!grown)
        return false;
    *items = grown;
    *capacity = wanted;
    return true;
}
