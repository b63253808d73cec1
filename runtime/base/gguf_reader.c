#include "base/gguf_reader.h"

#include <inttypes.h>
#include <string.h>

#define BLOCK (64u << 10) /* bytes read at a time */

void vkm_gguf_reading(struct vkm_gguf_reader *r, const char *what, const char *name)
{
    r->what = what;
    r->name[0] = '\0';
    if (name)
        vkm_printable(r->name, name);
}

static uint64_t bytes_left(const struct vkm_gguf_reader *r)
{
    return r->file->size - r->at;
}

static vkmoe_status check_left(struct vkm_gguf_reader *r, uint64_t size)
{
    if (size <= bytes_left(r))
        return VKMOE_OK;
    return VKM_GGUF_FAIL(r, VKMOE_BAD_FORMAT,
                         "takes %" PRIu64 " bytes from byte %" PRIu64
                         " on, expected at most the %" PRIu64 " up to the end of the file",
                         size, r->at, bytes_left(r));
}

/* Copies bytes that are there; they may go past the block. */
static vkmoe_status copy(struct vkm_gguf_reader *r, void *to, size_t size)
{
    if (!r->block && !(r->block = vkm_malloc(r->allocator, BLOCK, 1)))
        return vkm_fail_memory(r->err, BLOCK, r->file->path);
    if (size > BLOCK) {
        vkmoe_status status = vkm_file_read_at(r->file, r->at, to, size, r->err);
        r->at += status == VKMOE_OK ? size : 0;
        return status;
    }
    if (r->at < r->block_at || r->at + size > r->block_at + r->block_size) {
        uint64_t left = bytes_left(r);
        r->block_at = r->at;
        r->block_size = left < BLOCK ? (size_t)left : BLOCK;
        vkmoe_status status = vkm_file_read_at(r->file, r->at, r->block, r->block_size, r->err);
        if (status != VKMOE_OK) {
            r->block_size = 0;
            return status;
        }
    }
    memcpy(to, r->block + (r->at - r->block_at), size);
    r->at += size;
    return VKMOE_OK;
}

vkmoe_status vkm_gguf_skip(struct vkm_gguf_reader *r, uint64_t size)
{
    vkmoe_status status = check_left(r, size);
    r->at += status == VKMOE_OK ? size : 0;
    return status;
}

vkmoe_status vkm_gguf_number(struct vkm_gguf_reader *r, size_t size, uint64_t *value)
{
    unsigned char bytes[8];
    vkmoe_status status = check_left(r, size);
    if (status == VKMOE_OK)
        status = copy(r, bytes, size);
    *value = 0;
    for (size_t i = 0; i < size && status == VKMOE_OK; i++)
        *value |= (uint64_t)bytes[i] << (8 * i);
    return status;
}

vkmoe_status vkm_gguf_string(struct vkm_gguf_reader *r, uint64_t limit, char **text, size_t *size)
{
    uint64_t n;
    vkmoe_status status = vkm_gguf_number(r, 8, &n);
    if (status == VKMOE_OK)
        status = check_left(r, n);
    if (status != VKMOE_OK)
        return status;
    if (n > limit)
        return VKM_GGUF_FAIL(r, VKMOE_BAD_FORMAT,
                             "has a string of %" PRIu64 " bytes, expected at most %" PRIu64, n,
                             limit);
    char *copied = vkm_malloc(r->allocator, (size_t)n + 1, 1);
    if (!copied)
        return vkm_fail_memory(r->err, (size_t)n + 1, r->file->path);
    status = copy(r, copied, (size_t)n);
    copied[n] = '\0';
    if (status == VKMOE_OK && strlen(copied) < n)
        status = VKM_GGUF_FAIL(r, VKMOE_BAD_FORMAT,
                               "has a string with a zero byte in it, expected %s", "text");
    if (status != VKMOE_OK) {
        vkm_free(r->allocator, copied);
        return status;
    }
    *text = copied;
    *size = (size_t)n;
    return VKMOE_OK;
}

vkmoe_status vkm_gguf_count(struct vkm_gguf_reader *r, uint64_t least, uint64_t *count)
{
    vkmoe_status status = vkm_gguf_number(r, 8, count);
    if (status == VKMOE_OK && *count > bytes_left(r) / least)
        return VKM_GGUF_FAIL(r, VKMOE_BAD_FORMAT,
                             "has a count of %" PRIu64 ", expected at most the %" PRIu64
                             " that fit between byte %" PRIu64 " and the end of the file",
                             *count, bytes_left(r) / least, r->at);
    return status;
}

void vkm_gguf_reader_finish(struct vkm_gguf_reader *r)
{
    vkm_free(r->allocator, r->block);
    r->block = NULL;
}
