/* Status codes and error sentences. */
#ifndef VKMOE_STATUS_H
#define VKMOE_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

/* X(name, value, what it means). Values are part of the ABI and never change. */
#define VKMOE_STATUS_LIST(X)                                                                       \
    X(OK, 0, "success")                                                                            \
    X(INVALID_ARGUMENT, 1, "an argument is out of its range")                                      \
    X(NOT_FOUND, 2, "a file, device or name was not found")                                        \
    X(IO, 3, "the operating system could not read or write")                                       \
    X(BAD_FORMAT, 4, "a file is malformed or contradicts itself")                                  \
    X(UNSUPPORTED, 5, "a valid request that this build or device cannot serve")                    \
    X(OUT_OF_HOST_MEMORY, 6, "host memory is exhausted")                                           \
    X(OUT_OF_DEVICE_MEMORY, 7, "device memory is exhausted")                                       \
    X(NO_DEVICE, 8, "no usable Vulkan 1.3 device")                                                 \
    X(DEVICE_LOST, 9, "the device is lost or hung")                                                \
    X(CANCELLED, 10, "cancelled by the caller")                                                    \
    X(CONTEXT_FULL, 11, "the sequence has reached its context size")                               \
    X(DRIVER, 12, "the driver failed a call for a reason of its own")                              \
    X(INTERNAL, 13, "a defect in vkmoe itself")

/* What a call came to: VKMOE_OK, or what VKMOE_STATUS_LIST says. */
typedef enum vkmoe_status {
/* One entry of the enumeration. */
#define VKMOE_STATUS_ENUM(name, value, text) VKMOE_##name = value,
    VKMOE_STATUS_LIST(VKMOE_STATUS_ENUM)
#undef VKMOE_STATUS_ENUM
} vkmoe_status;

/* What went wrong, as a status and one sentence that names the file, tensor or flag, what was found
 * and what was expected. Owned by the caller; functions that take a vkmoe_error accept NULL, and
 * write to it only when they fail. */
typedef struct vkmoe_error {
    vkmoe_status status; /* never OK */
    char message[1024];  /* UTF-8, zero-terminated, no newline at the end */
} vkmoe_error;

/* The general meaning of a status, for a caller without a vkmoe_error. Static storage, never NULL;
 * thread-safe. */
const char *vkmoe_status_text(vkmoe_status status);

#ifdef __cplusplus
}
#endif

#endif
