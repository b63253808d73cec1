#include "memory.h"

#include <stdatomic.h>
#include <stdlib.h>

static struct {
    uint64_t nth;
    atomic_ullong asked;
    atomic_size_t in_use;
} memory;

static bool refused(void)
{
    return atomic_fetch_add(&memory.asked, 1) + 1 == memory.nth;
}

static void *allocate(void *user, size_t size)
{
    (void)user;
    void *block = refused() ? NULL : malloc(size);
    if (block)
        memory.in_use++;
    return block;
}

static void *reallocate(void *user, void *block, size_t size)
{
    (void)user;
    void *grown = refused() ? NULL : realloc(block, size);
    if (grown && !block)
        memory.in_use++;
    return grown;
}

static void release(void *user, void *block)
{
    (void)user;
    if (block)
        memory.in_use--;
    free(block);
}

const vkmoe_allocator *memory_hook(void)
{
    static const vkmoe_allocator hook = {
        .allocate = allocate, .reallocate = reallocate, .release = release};
    return &hook;
}

void memory_start(uint64_t nth)
{
    memory.nth = nth;
    memory.asked = 0;
    memory.in_use = 0;
}

uint64_t memory_asked(void)
{
    return memory.asked;
}

bool memory_failed(void)
{
    return memory.nth > 0 && memory.asked >= memory.nth;
}

size_t memory_in_use(void)
{
    return memory.in_use;
}
