/* What the tests share. */
#ifndef VKM_TEST_SUPPORT_H
#define VKM_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "folder.h"
#include "vkmoe/vkmoe.h"

/* Whether VKMOE_TEST_BRIEF is set: tests that try much may try less. */
bool test_is_brief(void);

/* A log for devices under test: counts error lines (validation messages among them) and prints
 * them; counts warnings, and keeps the last. */
struct test_log {
    vkmoe_log log; /* hand &log to params */
    atomic_int errors;
    atomic_int warnings;
    char warning[1024];
};
void test_log_init(struct test_log *t);

/* Fails the test with the error's sentence unless status is OK. */
#define assert_ok(status, err) test_assert_ok((status), (err), #status, __FILE__, __LINE__)
void test_assert_ok(vkmoe_status status, const vkmoe_error *err, const char *expression,
                    const char *file, int line);

/* Fails unless status is `expected` and the sentence has `part` in it and no newline. */
void test_assert_fails(vkmoe_status status, const vkmoe_error *err, vkmoe_status expected,
                       const char *part);

#endif
