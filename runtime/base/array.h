/* A growable array of plain values: struct { T *items; size_t count, capacity; }. */
#ifndef VKM_ARRAY_H
#define VKM_ARRAY_H

#include "base/base.h"

/* Makes room for `extra` more items; false when memory runs out (the array is unchanged). */
bool vkm_array_reserve(const vkmoe_allocator *a, void **items, size_t count, size_t *capacity,
                       size_t extra, size_t item_size);

/* Ensures room for `extra` more items in the array struct `array`; evaluates to a bool. */
#define VKM_ARRAY_RESERVE(a, array, extra)                                                         \
    vkm_array_reserve((a), (void **)&(array)->items, (array)->count, &(array)->capacity, (extra),  \
                      sizeof(*(array)->items))

#endif
