/* An allocator for vkmoe's hook that counts what is in use, and fails once as planned. */
#ifndef MEMORY_H
#define MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vkmoe/log.h"

const vkmoe_allocator *memory_hook(void);
/* Counts anew; the nth allocation from now fails, none if that is 0. */
void memory_start(uint64_t nth);
uint64_t memory_asked(void); /* allocations since */
/* Whether the nth was refused. */
bool memory_failed(void);
/* Blocks that were not released. */
size_t memory_in_use(void);

#endif
