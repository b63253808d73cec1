#include "broken_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "process.h"

const char *broken_model_path(const char *folder, const char *name)
{
    static char paths[2][4096];
    static unsigned next;
    char *path = paths[next++ % 2];
    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

/* A copy: what breaks it must not break the shipped one. */
static void copy_tokenizer(const char *folder, const char *name)
{
    char from[4096];
    snprintf(from, sizeof(from), "%s/%s", VKMOE_TEST_MODEL, name);
    json_t *root = json_load_file(from, 0, NULL);
    assert_non_null(root);
    broken_model_write_json(folder, name, root);
}

void broken_model_write(const char *folder, const struct test_shape *shape)
{
    struct test_shape s = *shape;
    s.vocab = s.vocab ? s.vocab : 1536;
    s = test_shape_complete(&s);
    checkpoint_write(&s, folder);
    copy_tokenizer(folder, "tokenizer.json");
    copy_tokenizer(folder, "tokenizer_config.json");
}

void broken_model_put_bytes(const char *folder, const char *name, const void *bytes, size_t size)
{
    const char *path = broken_model_path(folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

void broken_model_put(const char *folder, const char *name, const char *text)
{
    broken_model_put_bytes(folder, name, text, strlen(text));
}

json_t *broken_model_json(const char *folder, const char *name)
{
    json_t *root = json_load_file(broken_model_path(folder, name), 0, NULL);
    assert_non_null(root);
    return root;
}

void broken_model_write_json(const char *folder, const char *name, json_t *root)
{
    char *text = json_dumps(root, 0);
    assert_non_null(text);
    broken_model_put(folder, name, text);
    free(text);
    json_decref(root);
}

void broken_model_configure(const char *folder, const char *key, const char *value)
{
    json_t *config = broken_model_json(folder, "config.json");
    if (value)
        assert_int_equal(json_object_set_new(config, key, json_loads(value, JSON_DECODE_ANY, NULL)),
                         0);
    else
        json_object_del(config, key);
    broken_model_write_json(folder, "config.json", config);
}

/* The whole file, to be freed; *header is the size of its header. */
static char *read_file(const char *folder, const char *name, size_t *size, size_t *header)
{
    FILE *file = fopen(broken_model_path(folder, name), "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *size = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*size);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    fclose(file);
    *header = 0;
    for (int i = 0; i < 8; i++)
        *header |= (size_t)(unsigned char)bytes[i] << (8 * i);
    return bytes;
}

json_t *broken_model_header(const char *folder, const char *name)
{
    size_t size, header;
    char *bytes = read_file(folder, name, &size, &header);
    json_t *root = json_loadb(bytes + 8, header, 0, NULL);
    assert_non_null(root);
    free(bytes);
    return root;
}

void broken_model_write_header(const char *folder, const char *name, json_t *root)
{
    size_t size, header;
    char *bytes = read_file(folder, name, &size, &header);
    char *text = json_dumps(root, JSON_COMPACT);
    size_t length = (strlen(text) + 7) / 8 * 8, data = size - 8 - header;
    char *file = malloc(8 + length + data);
    assert_non_null(file);
    for (int i = 0; i < 8; i++)
        file[i] = (char)(length >> (8 * i));
    memset(file + 8, ' ', length);
    memcpy(file + 8, text, strlen(text));
    memcpy(file + 8 + length, bytes + 8 + header, data);
    broken_model_put_bytes(folder, name, file, 8 + length + data);
    free(file);
    free(text);
    free(bytes);
    json_decref(root);
}

void broken_model_poke(const char *folder, const char *tensor, size_t index, const void *bytes,
                       size_t size)
{
    size_t file_size, header_size;
    char *file = read_file(folder, "model.safetensors", &file_size, &header_size);
    json_t *header = json_loadb(file + 8, header_size, 0, NULL);
    const json_t *entry = json_object_get(header, tensor);
    assert_non_null(entry);
    size_t begin =
        (size_t)json_integer_value(json_array_get(json_object_get(entry, "data_offsets"), 0));
    memcpy(file + 8 + header_size + begin + index * size, bytes, size);
    broken_model_put_bytes(folder, "model.safetensors", file, file_size);
    json_decref(header);
    free(file);
}

void broken_model_expect(const char *folder, const char *part, const char *part2)
{
    struct test_process p = {0};
    test_vkmoe(&p, "run", "-m", folder, "-p", "a", "-n", "2");
    test_process_assert_sentence(&p, 1, part);
    if (part2)
        test_process_assert_sentence(&p, 1, part2);
    test_process_free(&p);
}
