#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

vkmoe_status vkm_file_open(const char *path, struct vkm_file *file, vkmoe_error *err)
{
    struct stat st;
    *file = (struct vkm_file){.path = path, .fd = -1};
    /* O_NONBLOCK: a named pipe must be refused below, not waited for. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        vkmoe_status status = errno == ENOENT || errno == ENOTDIR ? VKMOE_NOT_FOUND : VKMOE_IO;
        return vkm_fail(err, status, "cannot open %s: %s", path, strerror(errno));
    }
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return vkm_fail(err, VKMOE_BAD_FORMAT, "%s is not a regular file", path);
    }
    file->fd = fd;
    file->size = (uint64_t)st.st_size;
    return VKMOE_OK;
}

void vkm_file_close(struct vkm_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
}

vkmoe_status vkm_file_read_at(const struct vkm_file *file, uint64_t offset, void *to, size_t size,
                              vkmoe_error *err)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n =
            pread(file->fd, (char *)to + done, size - done, (off_t)(offset + (uint64_t)done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return vkm_fail(err, VKMOE_IO, "cannot read %s: %s", file->path, strerror(errno));
        if (n == 0)
            return vkm_fail(err, VKMOE_IO,
                            "%s ends before byte %llu, expected %llu bytes: it was cut while it "
                            "was being read",
                            file->path, (unsigned long long)(offset + size),
                            (unsigned long long)file->size);
        done += (size_t)n;
    }
    return VKMOE_OK;
}

void vkm_file_expect(const struct vkm_file *file, uint64_t offset, uint64_t size)
{
    (void)posix_fadvise(file->fd, (off_t)offset, (off_t)size, POSIX_FADV_WILLNEED);
}

static vkmoe_status read_whole(const vkmoe_allocator *a, const struct vkm_file *file,
                               uint64_t limit, char **data, vkmoe_error *err)
{
    if (file->size > limit)
        return vkm_fail(err, VKMOE_BAD_FORMAT, "%s has %llu bytes, expected at most %llu",
                        file->path, (unsigned long long)file->size, (unsigned long long)limit);
    size_t size = (size_t)file->size;
    char *text = vkm_malloc(a, size + 1, 1);
    if (!text)
        return vkm_fail_memory(err, size, file->path);
    vkmoe_status status = vkm_file_read_at(file, 0, text, size, err);
    if (status != VKMOE_OK) {
        vkm_free(a, text);
        return status;
    }
    text[size] = '\0';
    *data = text;
    return VKMOE_OK;
}

vkmoe_status vkm_file_read(const vkmoe_allocator *a, const char *path, uint64_t limit, char **data,
                           size_t *size, vkmoe_error *err)
{
    struct vkm_file file;
    vkmoe_status status = vkm_file_open(path, &file, err);
    if (status != VKMOE_OK)
        return status;
    status = read_whole(a, &file, limit, data, err);
    if (status == VKMOE_OK)
        *size = (size_t)file.size;
    vkm_file_close(&file);
    return status;
}

#define TEMPORARY_SUFFIX 32 /* bytes that a temporary file's name is longer, at most */

struct vkm_writer {
    const vkmoe_allocator *allocator;
    FILE *file;
    char *path;      /* behind symbolic links */
    char *temporary; /* NULL: the path is no regular file, and written to as it is */
    int error;       /* errno of the first failed write */
};

static void writer_destroy(struct vkm_writer *w)
{
    const vkmoe_allocator *a = w->allocator;
    if (w->file)
        fclose(w->file);
    vkm_free(a, w->path);
    vkm_free(a, w->temporary);
    vkm_free(a, w);
}

/* A new file beside the path, with the mode that the process's umask leaves. (mkstemp would make it
 * private, and the umask cannot be asked for without changing it under other threads.) */
static int create_temporary(struct vkm_writer *w)
{
    int fd = -1;
    for (unsigned i = 0; i < 1000 && fd < 0; i++) {
        sprintf(w->temporary, "%s.%d-%u.tmp", w->path, (int)getpid(), i);
        fd = open(w->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0 && errno != EEXIST)
            break;
    }
    return fd;
}

static void drop_temporary(const struct vkm_writer *w)
{
    if (w->temporary)
        unlink(w->temporary);
}

/* Where the bytes go: beside a file, with its mode, or into what is a pipe or a device. Nothing is
 * there yet in most cases. */
static int open_target(struct vkm_writer *w)
{
    struct stat there;
    bool exists = stat(w->path, &there) == 0;
    if (exists && !S_ISREG(there.st_mode)) {
        vkm_free(w->allocator, w->temporary);
        w->temporary = NULL;
        return open(w->path, O_WRONLY | O_CLOEXEC);
    }
    int fd = create_temporary(w);
    if (fd >= 0 && exists)
        (void)fchmod(fd, there.st_mode & 07777); /* a foreign file system may have no modes */
    return fd;
}

vkmoe_status vkm_writer_open(const vkmoe_allocator *a, const char *path, struct vkm_writer **out,
                             vkmoe_error *err)
{
    struct vkm_writer *w = vkm_calloc(a, 1, sizeof(*w));
    if (!w)
        return vkm_fail_memory(err, sizeof(*w), path);
    char *real = realpath(path, NULL); /* NULL where nothing is there yet */
    w->allocator = a;
    w->path = vkm_strdup(a, real ? real : path);
    free(real);
    w->temporary = w->path ? vkm_malloc(a, strlen(w->path) + TEMPORARY_SUFFIX, 1) : NULL;
    if (!w->path || !w->temporary) {
        writer_destroy(w);
        return vkm_fail_memory(err, strlen(path), path);
    }
    int fd = open_target(w);
    if (fd >= 0)
        w->file = fdopen(fd, "wb");
    if (!w->file) {
        vkmoe_status status = vkm_fail(err, VKMOE_IO, "cannot write %s%s: %s",
                                       w->temporary ? "beside " : "", path, strerror(errno));
        if (fd >= 0) {
            close(fd);
            drop_temporary(w);
        }
        writer_destroy(w);
        return status;
    }
    *out = w;
    return VKMOE_OK;
}

void vkm_writer_write(struct vkm_writer *w, const void *bytes, size_t n)
{
    if (!w->error && n > 0 && fwrite(bytes, 1, n, w->file) != n)
        w->error = errno ? errno : EIO;
}

bool vkm_writer_failed(const struct vkm_writer *w)
{
    return w->error != 0;
}

vkmoe_status vkm_writer_commit(struct vkm_writer *w, vkmoe_error *err)
{
    vkmoe_status status = VKMOE_OK;
    int error = w->error;
    if (!error && fflush(w->file) != 0)
        error = errno;
    if (!error && fsync(fileno(w->file)) != 0 && errno != EINVAL)
        error = errno;
    if (fclose(w->file) != 0 && !error)
        error = errno;
    w->file = NULL;
    if (!error && w->temporary && rename(w->temporary, w->path) != 0)
        error = errno;
    if (error) {
        drop_temporary(w);
        status = vkm_fail(err, VKMOE_IO, "cannot write %s: %s", w->path, strerror(error));
    }
    writer_destroy(w);
    return status;
}

void vkm_writer_abort(struct vkm_writer *w)
{
    if (!w)
        return;
    drop_temporary(w);
    writer_destroy(w);
}
