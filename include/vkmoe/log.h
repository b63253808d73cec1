/* Diagnostics and memory hooks handed in by the program that links the library. */
#ifndef VKMOE_LOG_H
#define VKMOE_LOG_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How much a line matters. */
typedef enum vkmoe_log_level {
    VKMOE_LOG_ERROR,   /* a call is about to fail, or a validation layer complained */
    VKMOE_LOG_WARNING, /* something is slower or poorer than it could be */
    VKMOE_LOG_NOTICE,  /* something that takes a while begins, and why */
    VKMOE_LOG_INFO,    /* choices made: device, paths, cache */
    VKMOE_LOG_DEBUG,   /* detail for developers */
} vkmoe_log_level;

/* Receives one line without a newline. May be called from any thread that is inside a vkmoe call or
 * that vkmoe started; it must not call back into vkmoe. A zero-initialised value is silent. */
typedef struct vkmoe_log {
    void (*write)(void *user, vkmoe_log_level level, const char *line); /* NULL: silent */
    void *user;                                                         /* handed to write */
} vkmoe_log;

/* Replaces malloc, realloc and free for the memory that vkmoe allocates itself. All three functions
 * must be set, or none (the C library is used); they must be thread-safe. */
typedef struct vkmoe_allocator {
    void *(*allocate)(void *user, size_t size);                 /* size > 0; NULL on failure */
    void *(*reallocate)(void *user, void *memory, size_t size); /* size > 0; memory may be NULL */
    void (*release)(void *user, void *memory);                  /* memory may be NULL */
    void *user;                                                 /* handed to all three */
} vkmoe_allocator;

#ifdef __cplusplus
}
#endif

#endif
