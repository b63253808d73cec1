/* Files that appear whole or not at all. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

static bool write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno != EINTR)
            return false;
        data += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

int cli_write_file(const char *path, const char *data, size_t size)
{
    size_t n = strlen(path) + sizeof(".XXXXXX");
    char *beside = malloc(n);
    if (!beside)
        return cli_fail("host memory ran out for the name %s", path);
    snprintf(beside, n, "%s.XXXXXX", path);
    int fd = mkstemp(beside);
    mode_t mask = umask(0);
    umask(mask);
    bool written =
        fd >= 0 && write_all(fd, data, size) && fchmod(fd, 0666 & ~mask) == 0 && fsync(fd) == 0;
    if (fd >= 0 && close(fd) != 0)
        written = false;
    int code = EXIT_DONE;
    if (!written || rename(beside, path) != 0) {
        code = cli_fail("cannot write %s: %s", path, strerror(errno));
        if (fd >= 0)
            unlink(beside);
    }
    free(beside);
    return code;
}
