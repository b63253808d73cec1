#include "fuzz.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/utf8.h"

_Noreturn void fuzz_fail(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s:%d: not so: %s\n", file, line, condition);
    abort();
}

static char folder[64];

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st, (void)kind, (void)ftw;
    return remove(path);
}

static void remove_folder(void)
{
    nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *fuzz_folder(void)
{
    if (folder[0])
        return folder;
    /* In memory where there is such a folder: every input is written to files. */
    snprintf(folder, sizeof(folder), "%s/vkmoe-fuzz-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    FUZZ_CHECK(mkdtemp(folder));
    atexit(remove_folder);
    return folder;
}

const char *fuzz_path(const char *name)
{
    static char paths[2][256];
    static unsigned next;
    char *path = paths[next++ % 2];
    snprintf(path, sizeof(paths[0]), "%s/%s", fuzz_folder(), name);
    return path;
}

void fuzz_write(const char *name, const void *bytes, size_t size)
{
    FILE *file = fopen(fuzz_path(name), "wb");
    FUZZ_CHECK(file);
    FUZZ_CHECK(fwrite(bytes, 1, size, file) == size);
    FUZZ_CHECK(fclose(file) == 0);
}

void fuzz_check_outcome(vkmoe_status status, const vkmoe_error *err)
{
    char printable[sizeof(err->message)];
    if (status == VKMOE_OK) {
        FUZZ_CHECK(err->status == VKMOE_OK && err->message[0] == '\0');
        return;
    }
    FUZZ_CHECK(err->status == status);
    FUZZ_CHECK(status != VKMOE_INTERNAL);
    size_t size = strlen(err->message);
    FUZZ_CHECK(size > 0);
    memcpy(printable, err->message, size + 1);
    vkm_utf8_make_printable(printable);
    FUZZ_CHECK(strcmp(printable, err->message) == 0);
}
