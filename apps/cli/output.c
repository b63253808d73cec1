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

/* Where the bytes go: into a new file beside `path`, named in `beside`, or where `path` is a pipe
 * or a device into that, which must not be replaced; `beside` is empty then. */
static int open_target(const char *path, char *beside, size_t size)
{
    struct stat there;
    if (stat(path, &there) == 0 && !S_ISREG(there.st_mode)) {
        beside[0] = '\0';
        return open(path, O_WRONLY | O_CLOEXEC);
    }
    snprintf(beside, size, "%s.XXXXXX", path);
    return mkstemp(beside);
}

static bool finish_target(int fd, const char *path, const char *beside)
{
    mode_t mask = umask(0);
    umask(mask);
    bool good = !beside[0] || (fchmod(fd, 0666 & ~mask) == 0 && fsync(fd) == 0);
    if (close(fd) != 0)
        good = false;
    return good && (!beside[0] || rename(beside, path) == 0);
}

/* The path behind symbolic links, or a copy of it where nothing is there yet; and room for the name
 * beside. */
static bool name_target(const char *path, char **real, char **beside, size_t *size)
{
    *real = realpath(path, NULL);
    if (!*real)
        *real = strdup(path);
    *size = *real ? strlen(*real) + sizeof(".XXXXXX") : 0;
    *beside = *real ? malloc(*size) : NULL;
    if (*beside)
        return true;
    free(*real);
    cli_fail("host memory ran out for the name %s", path);
    return false;
}

/* Writes if there is data, and leaves everything as it was if there is none. */
static int write_or_try(const char *path, const char *data, size_t size)
{
    char *real, *beside;
    size_t room;
    if (!name_target(path, &real, &beside, &room))
        return EXIT_FAILED;
    int fd = open_target(real, beside, room), code = EXIT_DONE;
    bool good = fd >= 0 && (!data || write_all(fd, data, size));
    if (!good || (data && !finish_target(fd, real, beside)))
        code = cli_fail("cannot write %s: %s", path, strerror(errno));
    if (fd >= 0 && (!good || !data))
        close(fd);
    if (fd >= 0 && beside[0] && (code != EXIT_DONE || !data))
        unlink(beside);
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
