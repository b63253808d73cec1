/* Files: read-only maps, whole small files, and writes that appear whole or not at all. */
#ifndef VKM_FILE_H
#define VKM_FILE_H

#include "base/base.h"

/* A read-only private map of a regular file. */
struct vkm_map {
    const unsigned char *data; /* NULL when the file is empty */
    uint64_t size;             /* bytes */
};

/* Maps `path`. Fails with NOT_FOUND, IO, or BAD_FORMAT for something that is no regular file. */
vkmoe_status vkm_map_open(const char *path, struct vkm_map *map, vkmoe_error *err);
void vkm_map_close(struct vkm_map *map); /* accepts a zeroed map */
/* Lets the system drop the resident pages of [offset, offset + size): they were read once. */
void vkm_map_release_pages(const struct vkm_map *map, uint64_t offset, uint64_t size);

/* Reads a file of at most `limit` bytes; *data gets a trailing zero byte and belongs to the caller
 * (vkm_free). */
vkmoe_status vkm_file_read(const vkmoe_allocator *a, const char *path, uint64_t limit, char **data,
                           size_t *size, vkmoe_error *err);

/* A file being written beside its final name; it takes that name only on commit. */
struct vkm_writer;
vkmoe_status vkm_writer_open(const vkmoe_allocator *a, const char *path, struct vkm_writer **out,
                             vkmoe_error *err);
/* The first failure is kept and reported by commit. */
void vkm_writer_write(struct vkm_writer *w, const void *bytes, size_t n);
/* Flushes and renames; on failure the old file, if any, is untouched. Destroys w either way. */
vkmoe_status vkm_writer_commit(struct vkm_writer *w, vkmoe_error *err);
/* Drops what was written. Accepts NULL. */
void vkm_writer_abort(struct vkm_writer *w);

#endif
