/* What every layer uses: statuses with sentences, logging, memory through the caller's hook. */
#ifndef VKM_BASE_H
#define VKM_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vkmoe/log.h"
#include "vkmoe/status.h"

#if defined(__GNUC__)
#define VKM_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define VKM_PRINTF(text, first)
#endif

#define VKM_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Fills *err (which may be NULL) and returns status, so that a failure is one statement:
 * return vkm_fail(err, VKMOE_BAD_FORMAT, "%s: ...", path);
 * Paths and other text may hold any bytes: what cannot be shown becomes '?'. */
vkmoe_status vkm_fail(vkmoe_error *err, vkmoe_status status, const char *format, ...)
    VKM_PRINTF(3, 4);

/* The sentence for host memory running out while making `what`. */
vkmoe_status vkm_fail_memory(vkmoe_error *err, size_t bytes, const char *what);

/* Writes one line to the log, made printable likewise; a silent or NULL log ignores it. */
void vkm_log(const vkmoe_log *log, vkmoe_log_level level, const char *format, ...) VKM_PRINTF(3, 4);

/* Memory through the hook; a NULL allocator means the C library. count * size is checked for
 * overflow; a product of zero yields a non-NULL pointer. vkm_calloc zeroes. */
void *vkm_malloc(const vkmoe_allocator *a, size_t count, size_t size);
void *vkm_calloc(const vkmoe_allocator *a, size_t count, size_t size);
void *vkm_realloc(const vkmoe_allocator *a, void *memory, size_t count, size_t size);
void vkm_free(const vkmoe_allocator *a, void *memory);
char *vkm_strdup(const vkmoe_allocator *a, const char *text);
/* A formatted string, or NULL when memory runs out. */
char *vkm_format(const vkmoe_allocator *a, const char *format, ...) VKM_PRINTF(2, 3);

static inline uint64_t vkm_align_up(uint64_t value, uint64_t alignment)
{
    return (value + alignment - 1) / alignment * alignment;
}

static inline uint32_t vkm_ceil_div(uint32_t value, uint32_t divisor)
{
    return value / divisor + (value % divisor != 0);
}

static inline uint32_t vkm_min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static inline uint32_t vkm_max_u32(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* *product = a * b; false when it does not fit 64 bits. */
static inline bool vkm_mul_u64(uint64_t a, uint64_t b, uint64_t *product)
{
    *product = a * b;
    return a == 0 || *product / a == b;
}

/* FNV-1a over bytes, continuing from `hash` (start with VKM_HASH_INIT): for cache keys and
 * checksums against accident, not against malice. */
#define VKM_HASH_INIT 0xcbf29ce484222325u
uint64_t vkm_hash(uint64_t hash, const void *bytes, size_t n);

#endif
