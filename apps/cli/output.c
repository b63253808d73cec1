/* Files that appear whole or not at all. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "output.h"

/* --- one after the other --- */

/* What a name stands for. */
static bool find_target(struct cli_file *f)
{
    struct stat there;
    char *real = realpath(f->path, NULL); /* behind symbolic links; NULL: nothing is there yet */
    f->target = real ? real : strdup(f->path);
    if (!f->target)
        return false;
    if (stat(f->target, &there) == 0 && !S_ISREG(there.st_mode))
        return true; /* a pipe or a device, which must not be replaced */
    size_t n = strlen(f->target) + sizeof(".XXXXXX");
    f->beside = malloc(n);
    if (f->beside)
        snprintf(f->beside, n, "%s.XXXXXX", f->target);
    return f->beside;
}

static void forget(struct cli_file *f)
{
    free(f->target);
    free(f->beside);
    *f = (struct cli_file){0};
}

static int fail_write(const struct cli_file *f, int error)
{
    return cli_fail("cannot write %s: %s", f->path ? f->path : "to stdout", strerror(error));
}

int cli_file_open(struct cli_file *f, const char *path)
{
    *f = (struct cli_file){.path = path};
    if (!path) {
        f->stream = stdout;
        return EXIT_DONE;
    }
    if (!find_target(f)) {
        forget(f);
        return cli_fail("host memory ran out for the name %s", path);
    }
    int fd = f->beside ? mkstemp(f->beside) : open(f->target, O_WRONLY | O_CLOEXEC);
    f->stream = fd >= 0 ? fdopen(fd, "wb") : NULL;
    if (f->stream)
        return EXIT_DONE;
    int error = errno;
    if (fd >= 0) {
        close(fd);
        if (f->beside)
            unlink(f->beside);
    }
    int code = fail_write(f, error);
    forget(f);
    return code;
}

bool cli_file_write(struct cli_file *f, const char *data, size_t size)
{
    errno = 0;
    if (f->error == 0 &&
        (fwrite(data, 1, size, f->stream) != size || (f->stream == stdout && fflush(stdout) != 0)))
        f->error = errno ? errno : EIO;
    return f->error == 0;
}

/* Everything is on the disk, and the mode is that of a new file. */
static bool settle(struct cli_file *f)
{
    mode_t mask = umask(0);
    umask(mask);
    if (fflush(f->stream) != 0)
        return false;
    return !f->beside ||
           (fchmod(fileno(f->stream), 0666 & ~mask) == 0 && fsync(fileno(f->stream)) == 0);
}

int cli_file_commit(struct cli_file *f)
{
    int code = EXIT_DONE;
    if (f->error == 0 && f->stream != stdout && !settle(f))
        f->error = errno;
    if (f->stream != stdout && fclose(f->stream) != 0 && f->error == 0)
        f->error = errno;
    if (f->error == 0 && f->beside && rename(f->beside, f->target) != 0)
        f->error = errno;
    if (f->error != 0) {
        if (f->beside)
            unlink(f->beside);
        code = fail_write(f, f->error);
    }
    forget(f);
    return code;
}

void cli_file_abort(struct cli_file *f)
{
    if (f->stream && f->stream != stdout)
        fclose(f->stream);
    if (f->beside)
        unlink(f->beside);
    forget(f);
}

/* --- at once --- */

int cli_write_file(const char *path, const char *data, size_t size)
{
    struct cli_file f;
    int code = cli_file_open(&f, path);
    if (code != EXIT_DONE)
        return code;
    cli_file_write(&f, data, size);
    return cli_file_commit(&f);
}

/* Opens neither a pipe, whose reader would take it for the report, nor what is there. */
static bool could_write(struct cli_file *f)
{
    struct stat there;
    if (!f->beside && stat(f->target, &there) == 0 && S_ISDIR(there.st_mode))
        errno = EISDIR;
    else if (!f->beside)
        return access(f->target, W_OK) == 0;
    else {
        int fd = mkstemp(f->beside);
        return fd >= 0 && unlink(f->beside) == 0 && close(fd) == 0;
    }
    return false;
}

int cli_try_file(const char *path)
{
    struct cli_file f = {.path = path};
    int code = EXIT_DONE;
    if (!path[0])
        return cli_fail("cannot write '': expected the name of a file");
    if (!find_target(&f))
        code = cli_fail("host memory ran out for the name %s", path);
    else if (!could_write(&f))
        code = fail_write(&f, errno);
    forget(&f);
    return code;
}
