/* Host memory that runs out while a tokenizer is read or used. */
#include "memory.h"
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "vkmoe/tokenizer.h"

static const char text[] = "ROMEO:\nO, she doth teach the torches to burn bright!";

/* Reads the shipped model's tokenizer, and takes the text there and back. */
static vkmoe_status live(char **bytes, size_t *size, vkmoe_error *err)
{
    const vkmoe_tokenizer_params params = {.allocator = memory_hook()};
    vkmoe_tokenizer *t = NULL;
    int32_t *ids = NULL;
    size_t count = 0;
    vkmoe_status status = vkmoe_tokenizer_load(VKMOE_TEST_MODEL, &params, &t, err);
    if (status == VKMOE_OK)
        status = vkmoe_tokenizer_encode(t, text, strlen(text), false, &ids, &count, err);
    if (status == VKMOE_OK)
        status = vkmoe_tokenizer_decode(t, ids, count, false, bytes, size, err);
    if (status == VKMOE_OK) {
        assert_int_equal(*size, strlen(text));
        assert_string_equal(*bytes, text);
        vkmoe_tokenizer_free(t, *bytes);
    }
    if (ids)
        vkmoe_tokenizer_free(t, ids);
    vkmoe_tokenizer_destroy(t);
    return status;
}

static void any_allocation_may_fail(void **state)
{
    char *bytes;
    size_t size;
    vkmoe_error err;
    unsigned failures = 0;
    (void)state;
    memory_start(0);
    assert_ok(live(&bytes, &size, &err), &err);
    assert_int_equal(memory_in_use(), 0);
    for (uint64_t nth = 1, all = memory_asked(); nth <= all; nth++) {
        memory_start(nth);
        err = (vkmoe_error){0};
        vkmoe_status status = live(&bytes, &size, &err);
        failures += status != VKMOE_OK; /* PCRE2 gets along without some of it */
        if (status != VKMOE_OK)
            test_assert_fails(status, &err, VKMOE_OUT_OF_HOST_MEMORY, "memory ran out");
        assert_true(memory_failed());
        assert_int_equal(memory_in_use(), 0);
    }
    print_message("%u failures of %llu\n", failures, (unsigned long long)memory_asked());
    assert_true(failures > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(any_allocation_may_fail)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
