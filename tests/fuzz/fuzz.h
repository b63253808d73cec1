/* What the fuzz targets share: a folder in memory to put an input's files in, and a check that
 * holds in every build. */
#ifndef VKM_FUZZ_H
#define VKM_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "base/base.h"

/* Ends the run, which the fuzzer reports with its input. */
#define FUZZ_CHECK(condition)                                                                      \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fuzz_fail(#condition, __FILE__, __LINE__);                                             \
    } while (0)
_Noreturn void fuzz_fail(const char *condition, const char *file, int line);

/* The folder of this process, made when first asked for and removed when the process ends. */
const char *fuzz_folder(void);
/* FOLDER/name, in one of two static buffers. */
const char *fuzz_path(const char *name);
/* Makes FOLDER/name these bytes. */
void fuzz_write(const char *name, const void *bytes, size_t size);

/* A failure must come with its status and one printable sentence; a success with neither. */
void fuzz_check_outcome(vkmoe_status status, const vkmoe_error *err);

/* Called by the fuzzer for every input. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
