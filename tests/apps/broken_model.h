/* A small model folder to be broken: configuration, checkpoint header, weights, tokenizer. */
#ifndef VKM_TEST_BROKEN_MODEL_H
#define VKM_TEST_BROKEN_MODEL_H

#include <jansson.h>

#include "../golden/checkpoint.h"

/* Writes a valid model of this shape into the folder, with the shipped tokenizer. Zeros in the
 * shape stand for small defaults; the vocabulary is the tokenizer's. */
void broken_model_write(const char *folder, const struct test_shape *shape);

/* FOLDER/name, in one of two static buffers. */
const char *broken_model_path(const char *folder, const char *name);

/* Makes FOLDER/name this text, or these bytes. */
void broken_model_put(const char *folder, const char *name, const char *text);
void broken_model_put_bytes(const char *folder, const char *name, const void *bytes, size_t size);

/* The JSON of FOLDER/name, to be changed and written back (which drops it). */
json_t *broken_model_json(const char *folder, const char *name);
void broken_model_write_json(const char *folder, const char *name, json_t *root);

/* Sets `key` of config.json to a value given as JSON, or removes it (NULL). */
void broken_model_configure(const char *folder, const char *key, const char *value);

/* The header of FOLDER/name, a safetensors file, to be written back (which drops it) before the
 * data that the file has. */
json_t *broken_model_header(const char *folder, const char *name);
void broken_model_write_header(const char *folder, const char *name, json_t *header);

/* Puts `bytes` at element `index` of a tensor in model.safetensors; `size` is an element's. */
void broken_model_poke(const char *folder, const char *tensor, size_t index, const void *bytes,
                       size_t size);

/* Runs the model, which must end with exit code 1 and one sentence that has both parts in it (NULL:
 * any). */
void broken_model_expect(const char *folder, const char *part, const char *part2);

#endif
