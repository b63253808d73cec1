/* Files: reads at any place, whole small files, and writes that appear whole or not at all. */
#ifndef VKM_FILE_H
#define VKM_FILE_H

#include "base/base.h"

/* A regular file open for reading. Nothing is mapped: a file that another program cuts short while
 * it is read is then a failure to be told, not a signal. */
struct vkm_file {
    const char *path; /* the caller's; outlives the struct */
    int fd;           /* -1 where it is not open */
    uint64_t size;    /* bytes, when it was opened */
};

/* Fails with NOT_FOUND, IO, or BAD_FORMAT for something that is no regular file. */
vkmoe_status vkm_file_open(const char *path, struct vkm_file *file, vkmoe_error *err);
void vkm_file_close(struct vkm_file *file); /* accepts one that failed to open */
/* Reads exactly `size` bytes from `offset` on; IO where they are not there. Thread-safe. */
vkmoe_status vkm_file_read_at(const struct vkm_file *file, uint64_t offset, void *to, size_t size,
                              vkmoe_error *err);

/* Asks for bytes that will be read soon, without waiting for them; a wish, no more. */
void vkm_file_expect(const struct vkm_file *file, uint64_t offset, uint64_t size);

/* Reads a file of at most `limit` bytes; *data gets a trailing zero byte and belongs to the caller
 * (vkm_free). */
vkmoe_status vkm_file_read(const vkmoe_allocator *a, const char *path, uint64_t limit, char **data,
                           size_t *size, vkmoe_error *err);

/* A file being written beside its final name; it takes that name, and the mode of what had it, only
 * on commit. What is no regular file (a pipe, a device) is written to as it is. */
struct vkm_writer;
vkmoe_status vkm_writer_open(const vkmoe_allocator *a, const char *path, struct vkm_writer **out,
                             vkmoe_error *err);
/* The first failure is kept and reported by commit. */
void vkm_writer_write(struct vkm_writer *w, const void *bytes, size_t n);
/* Whether that has happened: what is written from now on is lost. */
bool vkm_writer_failed(const struct vkm_writer *w);
/* Flushes and renames; on failure the old file, if any, is untouched. Destroys w either way. */
vkmoe_status vkm_writer_commit(struct vkm_writer *w, vkmoe_error *err);
/* Drops what was written. Accepts NULL. */
void vkm_writer_abort(struct vkm_writer *w);

#endif
