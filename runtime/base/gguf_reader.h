/* Reading the header of a GGUF file in order, never beyond the file's end. Private to gguf*.c. */
#ifndef VKM_GGUF_READER_H
#define VKM_GGUF_READER_H

#include "base/gguf.h"

struct vkm_gguf_reader {
    const vkmoe_allocator *allocator;
    const struct vkm_file *file;
    vkmoe_error *err;
    uint64_t at;                   /* of the next byte, in the file */
    const char *what;              /* what is being read, for messages */
    char name[VKM_PRINTABLE_SIZE]; /* of it, or "" */
    unsigned char *block;          /* bytes from block_at on */
    uint64_t block_at;
    size_t block_size;
    size_t longest_array;
    uint64_t elements; /* of arrays kept so far */
};

/* One sentence about what is being read; takes at least one argument after the format. */
#define VKM_GGUF_FAIL(r, status, format, ...)                                                      \
    vkm_fail((r)->err, status, "%s: %s%s%s%s " format, (r)->file->path, (r)->what,                 \
             *(r)->name ? " \"" : "", (r)->name, *(r)->name ? "\"" : "", __VA_ARGS__)

/* Says what is read next: `what`, named so (NULL: nameless). */
void vkm_gguf_reading(struct vkm_gguf_reader *r, const char *what, const char *name);
vkmoe_status vkm_gguf_skip(struct vkm_gguf_reader *r, uint64_t size);
/* An unsigned integer of 1 to 8 bytes. */
vkmoe_status vkm_gguf_number(struct vkm_gguf_reader *r, size_t size, uint64_t *value);
/* A string of at most `limit` bytes without a zero byte; *text belongs to the caller (vkm_free). */
vkmoe_status vkm_gguf_string(struct vkm_gguf_reader *r, uint64_t limit, char **text, size_t *size);
/* A count of things of which each takes at least `least` bytes of the file. */
vkmoe_status vkm_gguf_count(struct vkm_gguf_reader *r, uint64_t least, uint64_t *count);
void vkm_gguf_reader_finish(struct vkm_gguf_reader *r);

/* Reads `count` keys and their values into the object. */
vkmoe_status vkm_gguf_metadata(struct vkm_gguf_reader *r, uint64_t count, json_t *object);

#endif
