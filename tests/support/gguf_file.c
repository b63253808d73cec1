#include "gguf_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

struct gguf_file gguf_new(void)
{
    return (struct gguf_file){.version = 3, .alignment = 32};
}

void gguf_append(struct gguf_bytes *b, const void *bytes, size_t n)
{
    if (b->capacity - b->count < n) {
        b->capacity = 2 * (b->capacity + n);
        b->items = realloc(b->items, b->capacity);
        assert_non_null(b->items);
    }
    if (n > 0)
        memcpy(b->items + b->count, bytes, n);
    b->count += n;
}

void gguf_append_number(struct gguf_bytes *b, uint64_t value, size_t size)
{
    unsigned char bytes[8];
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(value >> (8 * i));
    gguf_append(b, bytes, size);
}

void gguf_append_string(struct gguf_bytes *b, const char *text)
{
    gguf_append_number(b, strlen(text), 8);
    gguf_append(b, text, strlen(text));
}

static void begin(struct gguf_file *f, const char *key, enum gguf_type type)
{
    gguf_append_string(&f->keys, key);
    gguf_append_number(&f->keys, type, 4);
    f->n_keys++;
}

void gguf_put(struct gguf_file *f, const char *key, enum gguf_type type, uint64_t bits, size_t size)
{
    begin(f, key, type);
    gguf_append_number(&f->keys, bits, size);
}

void gguf_put_u32(struct gguf_file *f, const char *key, uint32_t value)
{
    gguf_put(f, key, GGUF_U32, value, 4);
}

void gguf_put_f32(struct gguf_file *f, const char *key, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    gguf_put(f, key, GGUF_F32, bits, 4);
}

void gguf_put_bool(struct gguf_file *f, const char *key, bool value)
{
    gguf_put(f, key, GGUF_BOOL, value, 1);
}

void gguf_put_string(struct gguf_file *f, const char *key, const char *value)
{
    begin(f, key, GGUF_STRING);
    gguf_append_string(&f->keys, value);
}

static void begin_array(struct gguf_file *f, const char *key, enum gguf_type type, size_t n)
{
    begin(f, key, GGUF_ARRAY);
    gguf_append_number(&f->keys, type, 4);
    gguf_append_number(&f->keys, n, 8);
}

void gguf_put_strings(struct gguf_file *f, const char *key, const char *const *values, size_t n)
{
    begin_array(f, key, GGUF_STRING, n);
    for (size_t i = 0; i < n; i++)
        gguf_append_string(&f->keys, values[i]);
}

void gguf_put_integers(struct gguf_file *f, const char *key, const int32_t *values, size_t n)
{
    begin_array(f, key, GGUF_I32, n);
    for (size_t i = 0; i < n; i++)
        gguf_append_number(&f->keys, (uint32_t)values[i], 4);
}

static void align(struct gguf_bytes *b, size_t alignment)
{
    while (b->count % alignment != 0)
        gguf_append_number(b, 0, 1);
}

void gguf_tensor(struct gguf_file *f, const char *name, uint32_t type, uint32_t n_dims,
                 const uint64_t *shape, const void *data, size_t size)
{
    align(&f->data, f->alignment);
    gguf_append_string(&f->infos, name);
    gguf_append_number(&f->infos, n_dims, 4);
    for (uint32_t i = 0; i < n_dims; i++)
        gguf_append_number(&f->infos, shape[i], 8);
    gguf_append_number(&f->infos, type, 4);
    gguf_append_number(&f->infos, f->data.count - f->overlap, 8);
    gguf_append(&f->data, data, size);
    f->n_tensors++;
}

unsigned char *gguf_finish(struct gguf_file *f, size_t *size)
{
    struct gguf_bytes all = {0};
    gguf_append(&all, "GGUF", 4);
    gguf_append_number(&all, f->version, 4);
    gguf_append_number(&all, f->n_tensors, 8);
    gguf_append_number(&all, f->n_keys, 8);
    gguf_append(&all, f->keys.items, f->keys.count);
    gguf_append(&all, f->infos.items, f->infos.count);
    align(&all, f->alignment);
    gguf_append(&all, f->data.items, f->data.count);
    free(f->keys.items);
    free(f->infos.items);
    free(f->data.items);
    *f = gguf_new();
    *size = all.count;
    return all.items;
}

void gguf_write(struct gguf_file *f, const char *path)
{
    size_t size;
    unsigned char *bytes = gguf_finish(f, &size);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    free(bytes);
}
