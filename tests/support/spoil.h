/* Shaders made wrong on purpose. */
#ifndef TEST_SPOIL_H
#define TEST_SPOIL_H

#include <stddef.h>
#include <stdint.h>

/* The SPIR-V module of `size` bytes with every sum of floats made a difference, and every fused
 * product and sum a mix of the two (malloc'ed); fails the test if there is none. */
uint32_t *test_spoil(const uint32_t *code, size_t size);

#endif
