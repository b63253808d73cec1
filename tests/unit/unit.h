/* What unit tests share: checkpoints to read, failures to expect, memory that runs out. */
#ifndef VKM_TEST_UNIT_H
#define VKM_TEST_UNIT_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

/* A safetensors file in the folder of the running test: the header with spaces up to `length` bytes
 * (without one: to a multiple of 8) and `size` bytes of data that count up. */
void tensors_write_padded(const char *name, const char *header, size_t length, size_t size);
void tensors_write(const char *name, const char *header, size_t size);
/* A tensor's entry in such a header. */
#define ENTRY(dtype, shape, begin, end)                                                            \
    "{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end "]}"

/* Asserts a failure whose one-line sentence contains each of the given texts (NULL: any). */
void expect_failure(vkmoe_status status, const vkmoe_error *err, vkmoe_status wanted,
                    const char *text, const char *text2);
/* Asserts success, or any failure with a proper sentence. */
void expect_sane(vkmoe_status status, const vkmoe_error *err);

/* An allocator whose n-th allocation (from 0) fails; counts what is live. */
struct scarce {
    long fail_at, calls, live;
};
vkmoe_allocator scarce_allocator(struct scarce *s);

/* Makes every allocation of the JSON library from the n-th on fail; negative: none. */
void scarce_json(long n);

/* A fixed sequence of pseudo-random numbers. */
uint32_t random_u32(uint64_t *state);

#endif
