#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

const char *vkmoe_status_text(vkmoe_status status)
{
    switch (status) {
#define STATUS_CASE(name, value, text)                                                             \
    case VKMOE_##name:                                                                             \
        return text;
        VKMOE_STATUS_LIST(STATUS_CASE)
#undef STATUS_CASE
    }
    return "an unknown status";
}

vkmoe_status vkm_fail(vkmoe_error *err, vkmoe_status status, const char *format, ...)
{
    if (err) {
        va_list args;
        va_start(args, format);
        err->status = status;
        int length = vsnprintf(err->message, sizeof(err->message), format, args);
        va_end(args);
        vkm_utf8_finish(err->message, sizeof(err->message), length);
    }
    return status;
}

vkmoe_status vkm_fail_memory(vkmoe_error *err, size_t bytes, const char *what)
{
    return vkm_fail(err, VKMOE_OUT_OF_HOST_MEMORY, "host memory ran out: %zu bytes for %s", bytes,
                    what);
}

void vkm_log(const vkmoe_log *log, vkmoe_log_level level, const char *format, ...)
{
    if (!log || !log->write)
        return;
    char line[2048];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    vkm_utf8_finish(line, sizeof(line), length);
    log->write(log->user, level, line);
}

static bool hooked(const vkmoe_allocator *a)
{
    return a && a->allocate && a->reallocate && a->release;
}

static bool total_size(size_t count, size_t size, size_t *total)
{
    if (size && count > SIZE_MAX / size)
        return false;
    *total = count * size;
    if (*total == 0)
        *total = 1;
    return true;
}

void *vkm_malloc(const vkmoe_allocator *a, size_t count, size_t size)
{
    size_t total;
    if (!total_size(count, size, &total))
        return NULL;
    return hooked(a) ? a->allocate(a->user, total) : malloc(total);
}

void *vkm_calloc(const vkmoe_allocator *a, size_t count, size_t size)
{
    size_t total;
    if (!total_size(count, size, &total))
        return NULL;
    if (!hooked(a))
        return calloc(total, 1);
    void *memory = a->allocate(a->user, total);
    if (memory)
        memset(memory, 0, total);
    return memory;
}

void *vkm_realloc(const vkmoe_allocator *a, void *memory, size_t count, size_t size)
{
    size_t total;
    if (!total_size(count, size, &total))
        return NULL;
    return hooked(a) ? a->reallocate(a->user, memory, total) : realloc(memory, total);
}

void vkm_free(const vkmoe_allocator *a, void *memory)
{
    if (hooked(a))
        a->release(a->user, memory);
    else
        free(memory);
}

char *vkm_strdup(const vkmoe_allocator *a, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = vkm_malloc(a, size, 1);
    if (copy)
        memcpy(copy, text, size);
    return copy;
}

char *vkm_format(const vkmoe_allocator *a, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = length < 0 ? NULL : vkm_malloc(a, (size_t)length + 1, 1);
    if (text)
        vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

uint64_t vkm_hash(uint64_t hash, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ p[i]) * 0x100000001b3u;
    return hash;
}
