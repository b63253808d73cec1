/* Writing GGUF files, right ones and wrong ones. */
#ifndef VKM_TEST_GGUF_FILE_H
#define VKM_TEST_GGUF_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Types of values. */
enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64
};

struct gguf_bytes {
    unsigned char *items;
    size_t count, capacity;
};

struct gguf_file {
    uint32_t version, alignment;
    uint64_t n_keys, n_tensors;
    struct gguf_bytes keys, infos, data;
    uint64_t overlap; /* bytes that the next tensor begins too early */
};

/* A file of version 3 without anything in it, to be filled and written. */
struct gguf_file gguf_new(void);
void gguf_append(struct gguf_bytes *b, const void *bytes, size_t n);
void gguf_append_number(struct gguf_bytes *b, uint64_t value, size_t size);
void gguf_append_string(struct gguf_bytes *b, const char *text);

/* A key with an integer (or the bits of another scalar) of `size` bytes. */
void gguf_put(struct gguf_file *f, const char *key, enum gguf_type type, uint64_t bits,
              size_t size);
void gguf_put_u32(struct gguf_file *f, const char *key, uint32_t value);
void gguf_put_f32(struct gguf_file *f, const char *key, float value);
void gguf_put_bool(struct gguf_file *f, const char *key, bool value);
void gguf_put_string(struct gguf_file *f, const char *key, const char *value);
void gguf_put_strings(struct gguf_file *f, const char *key, const char *const *values, size_t n);
/* An array of integers of 4 bytes. */
void gguf_put_integers(struct gguf_file *f, const char *key, const int32_t *values, size_t n);

/* A tensor; shape innermost first, `type` the number in files. */
void gguf_tensor(struct gguf_file *f, const char *name, uint32_t type, uint32_t n_dims,
                 const uint64_t *shape, const void *data, size_t size);

/* The whole file, to be freed; gguf_write puts it at `path`. Either way f is empty afterwards. */
unsigned char *gguf_finish(struct gguf_file *f, size_t *size);
void gguf_write(struct gguf_file *f, const char *path);

/* Element i of a block of a type (its number in files), written from the formats' definition
 * without any code of the runtime. */
float gguf_block_value(uint32_t type, const unsigned char *block, uint32_t i);
/* Elements and bytes of a block. */
uint32_t gguf_block_elements(uint32_t type);
uint32_t gguf_block_bytes(uint32_t type);
/* A block of random quants, of values up to about `size`; scales have either sign where `exotic`.
 */
void gguf_block_random(uint32_t type, uint64_t *random, double size, bool exotic,
                       unsigned char *block);

#endif
