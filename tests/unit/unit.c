#include "unit.h"

#include <jansson.h>

void tensors_write_padded(const char *name, const char *header, size_t length, size_t size)
{
    size_t total = 8 + length + size;
    unsigned char *bytes = malloc(total);
    assert_non_null(bytes);
    memset(bytes, ' ', total);
    for (unsigned i = 0; i < 8; i++)
        bytes[i] = (unsigned char)((uint64_t)length >> (8 * i));
    memcpy(bytes + 8, header, strlen(header));
    for (size_t i = 0; i < size; i++)
        bytes[8 + length + i] = (unsigned char)i;
    test_folder_write(name, bytes, total);
    free(bytes);
}

void tensors_write(const char *name, const char *header, size_t size)
{
    tensors_write_padded(name, header, (strlen(header) + 7) / 8 * 8, size);
}

void expect_sane(vkmoe_status status, const vkmoe_error *err)
{
    if (status == VKMOE_OK)
        return;
    assert_int_equal(err->status, status);
    assert_true(strlen(err->message) > 10);
    assert_null(strchr(err->message, '\n'));
}

void expect_failure(vkmoe_status status, const vkmoe_error *err, vkmoe_status wanted,
                    const char *text, const char *text2)
{
    if (status != wanted || (text && !strstr(err->message, text)) ||
        (text2 && !strstr(err->message, text2)))
        fail_msg("status %d, expected %d with \"%s\" and \"%s\": %s", status, wanted,
                 text ? text : "", text2 ? text2 : "", status == VKMOE_OK ? "" : err->message);
    expect_sane(status, err);
}

static bool scarce_now(struct scarce *s)
{
    return s->calls++ == s->fail_at;
}

static void *scarce_allocate(void *user, size_t size)
{
    struct scarce *s = user;
    void *memory = scarce_now(s) ? NULL : malloc(size);
    s->live += memory != NULL;
    return memory;
}

static void *scarce_reallocate(void *user, void *memory, size_t size)
{
    struct scarce *s = user;
    void *moved = scarce_now(s) ? NULL : realloc(memory, size);
    s->live += moved != NULL && memory == NULL;
    return moved;
}

static void scarce_release(void *user, void *memory)
{
    struct scarce *s = user;
    s->live -= memory != NULL;
    free(memory);
}

vkmoe_allocator scarce_allocator(struct scarce *s)
{
    return (vkmoe_allocator){scarce_allocate, scarce_reallocate, scarce_release, s};
}

static long json_left;

static void *scarce_json_allocate(size_t size)
{
    return json_left > 0 && json_left-- ? malloc(size) : NULL;
}

void scarce_json(long n)
{
    json_left = n;
    json_set_alloc_funcs(n < 0 ? malloc : scarce_json_allocate, free);
}

uint32_t random_u32(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}
