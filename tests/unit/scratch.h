/* For unit tests about files: a folder to write in, failures to expect, memory that runs out. */
#ifndef SCRATCH_H
#define SCRATCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vkmoe/log.h"
#include "vkmoe/status.h"

/* A fresh folder; the path has static storage. */
const char *scratch_open(void);
/* Removes the folder and all in it. */
void scratch_close(void);
/* A test that has an empty folder of its own. */
int scratch_setup(void **state);
int scratch_teardown(void **state);
#define SCRATCH_TEST(function)                                                                     \
    cmocka_unit_test_setup_teardown(function, scratch_setup, scratch_teardown)
/* FOLDER/name, in one of a few static buffers. */
const char *scratch_path(const char *name);
void scratch_write(const char *name, const void *bytes, size_t size);
void scratch_write_text(const char *name, const char *text);

/* A safetensors file: the header with spaces up to `length` bytes (without one: to a multiple of 8)
 * and `size` bytes of data that count up. */
void scratch_write_padded(const char *name, const char *header, size_t length, size_t size);
void scratch_write_tensors(const char *name, const char *header, size_t size);
/* A tensor's entry in such a header. */
#define ENTRY(dtype, shape, begin, end)                                                            \
    "{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end "]}"

/* The whole of a file, to be freed. */
char *scratch_read(const char *path, size_t *size);

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
uint32_t scratch_random(uint64_t *state);

#endif
