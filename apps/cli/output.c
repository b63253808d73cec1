/* Files that appear whole or not at all. */
#include <errno.h>
#include <fcntl.h>
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

/* Writes to a new file beside the path and puts it in its place. */
static bool replace(const char *path, char *beside, const char *data, size_t size)
{
    int fd = mkstemp(beside);
    mode_t mask = umask(0);
    umask(mask);
    bool good =
        fd >= 0 && write_all(fd, data, size) && fchmod(fd, 0666 & ~mask) == 0 && fsync(fd) == 0;
    if (fd >= 0 && close(fd) != 0)
        good = false;
    good = good && rename(beside, path) == 0;
    if (fd >= 0 && !good) {
        int error = errno;
        unlink(beside);
        errno = error;
    }
    return good;
}

/* Writes into a pipe or a device, which must not be replaced. */
static bool write_into(const char *path, const char *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool good = fd >= 0 && write_all(fd, data, size);
    if (fd >= 0 && close(fd) != 0)
        good = false;
    return good;
}

/* Opens neither a pipe, whose reader would take it for the report, nor what is there. */
static bool could_write(const char *path, char *beside, bool is_file)
{
    struct stat there;
    if (!is_file && stat(path, &there) == 0 && S_ISDIR(there.st_mode))
        errno = EISDIR;
    else if (!is_file)
        return access(path, W_OK) == 0;
    else {
        int fd = mkstemp(beside);
        return fd >= 0 && unlink(beside) == 0 && close(fd) == 0;
    }
    return false;
}

/* Writes the data, or where there is none finds out whether it could be. */
static int write_or_try(const char *path, const char *data, size_t size)
{
    struct stat there;
    char *real = realpath(path, NULL); /* behind symbolic links; NULL: nothing is there yet */
    const char *target = real ? real : path;
    size_t n = strlen(target) + sizeof(".XXXXXX");
    char *beside = malloc(n);
    bool is_file = stat(target, &there) != 0 || S_ISREG(there.st_mode);
    int code = EXIT_DONE;
    if (beside)
        snprintf(beside, n, "%s.XXXXXX", target);
    if (!beside)
        code = cli_fail("host memory ran out for the name %s", path);
    else if (!data ? !could_write(target, beside, is_file)
                   : !(is_file ? replace(target, beside, data, size)
                               : write_into(target, data, size)))
        code = cli_fail("cannot write %s: %s", path, strerror(errno));
    free(beside);
    free(real);
    return code;
}

int cli_write_file(const char *path, const char *data, size_t size)
{
    return write_or_try(path, data, size);
}

int cli_try_file(const char *path)
{
    return write_or_try(path, NULL, 0);
}
