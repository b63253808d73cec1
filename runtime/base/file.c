#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static vkmoe_status open_regular(const char *path, int *fd, uint64_t *size, vkmoe_error *err)
{
    struct stat st;
    /* O_NONBLOCK: a named pipe must be refused below, not waited for. */
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0) {
        vkmoe_status status = errno == ENOENT || errno == ENOTDIR ? VKMOE_NOT_FOUND : VKMOE_IO;
        return vkm_fail(err, status, "cannot open %s: %s", path, strerror(errno));
    }
    if (fstat(*fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(*fd);
        return vkm_fail(err, VKMOE_BAD_FORMAT, "%s is not a regular file", path);
    }
    *size = (uint64_t)st.st_size;
    return VKMOE_OK;
}

vkmoe_status vkm_map_open(const char *path, struct vkm_map *map, vkmoe_error *err)
{
    int fd;
    *map = (struct vkm_map){0};
    vkmoe_status status = open_regular(path, &fd, &map->size, err);
    if (status != VKMOE_OK)
        return status;
    if (map->size > 0) {
        void *data = map->size <= SIZE_MAX
                         ? mmap(NULL, (size_t)map->size, PROT_READ, MAP_PRIVATE, fd, 0)
                         : MAP_FAILED;
        if (data == MAP_FAILED)
            status = vkm_fail(err, VKMOE_IO, "cannot map %s: %s", path, strerror(errno));
        else
            map->data = data;
    }
    close(fd);
    return status;
}

void vkm_map_close(struct vkm_map *map)
{
    if (map->data)
        munmap((void *)(uintptr_t)map->data, (size_t)map->size);
    *map = (struct vkm_map){0};
}

void vkm_map_release_pages(const struct vkm_map *map, uint64_t offset, uint64_t size)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t first = vkm_align_up(offset, page);
    uint64_t end = (offset + size) / page * page;
    if (end > first)
        madvise((void *)(uintptr_t)(map->data + first), (size_t)(end - first), MADV_DONTNEED);
}

vkmoe_status vkm_file_read(const vkmoe_allocator *a, const char *path, uint64_t limit, char **data,
                           size_t *size, vkmoe_error *err)
{
    int fd;
    uint64_t bytes;
    vkmoe_status status = open_regular(path, &fd, &bytes, err);
    if (status != VKMOE_OK)
        return status;
    if (bytes > limit) {
        close(fd);
        return vkm_fail(err, VKMOE_BAD_FORMAT, "%s has %llu bytes, expected at most %llu", path,
                        (unsigned long long)bytes, (unsigned long long)limit);
    }
    char *text = vkm_malloc(a, (size_t)bytes + 1, 1);
    if (!text) {
        close(fd);
        return vkm_fail_memory(err, (size_t)bytes, path);
    }
    size_t done = 0;
    while (done < bytes) {
        ssize_t n = read(fd, text + done, (size_t)bytes - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    close(fd);
    if (done < bytes) {
        vkm_free(a, text);
        return vkm_fail(err, VKMOE_IO, "cannot read %s: %zu of %llu bytes came", path, done,
                        (unsigned long long)bytes);
    }
    text[done] = '\0';
    *data = text;
    *size = done;
    return VKMOE_OK;
}

#define TEMPORARY_SUFFIX 32 /* bytes that a temporary file's name is longer, at most */

struct vkm_writer {
    const vkmoe_allocator *allocator;
    FILE *file;
    char *path;
    char *temporary;
    int error; /* errno of the first failed write */
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

vkmoe_status vkm_writer_open(const vkmoe_allocator *a, const char *path, struct vkm_writer **out,
                             vkmoe_error *err)
{
    struct vkm_writer *w = vkm_calloc(a, 1, sizeof(*w));
    if (!w)
        return vkm_fail_memory(err, sizeof(*w), path);
    w->allocator = a;
    w->path = vkm_strdup(a, path);
    w->temporary = vkm_malloc(a, strlen(path) + TEMPORARY_SUFFIX, 1);
    if (!w->path || !w->temporary) {
        writer_destroy(w);
        return vkm_fail_memory(err, strlen(path), path);
    }
    int fd = create_temporary(w);
    if (fd >= 0)
        w->file = fdopen(fd, "wb");
    if (!w->file) {
        vkmoe_status status =
            vkm_fail(err, VKMOE_IO, "cannot write beside %s: %s", path, strerror(errno));
        if (fd >= 0) {
            close(fd);
            unlink(w->temporary);
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
    if (!error && rename(w->temporary, w->path) != 0)
        error = errno;
    if (error) {
        unlink(w->temporary);
        status = vkm_fail(err, VKMOE_IO, "cannot write %s: %s", w->path, strerror(error));
    }
    writer_destroy(w);
    return status;
}

void vkm_writer_abort(struct vkm_writer *w)
{
    if (!w)
        return;
    unlink(w->temporary);
    writer_destroy(w);
}
