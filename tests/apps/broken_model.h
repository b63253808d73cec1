/* A small model in the folder of the running test, to be broken: configuration, checkpoint header,
 * weights, tokenizer. */
#ifndef VKM_TEST_BROKEN_MODEL_H
#define VKM_TEST_BROKEN_MODEL_H

#include <jansson.h>

#include "../golden/checkpoint.h"

/* A test whose folder is a valid model, until it breaks it. */
#define BROKEN_MODEL_TEST(function)                                                                \
    cmocka_unit_test_setup_teardown((function), broken_model_setup, test_folder_teardown)
int broken_model_setup(void **state);
/* Its shape. */
extern const struct test_shape broken_model_shape;

/* Writes a valid model of this shape, with the shipped tokenizer. Zeros in the shape stand for
 * small defaults; the vocabulary is the tokenizer's. */
void broken_model_write(const struct test_shape *shape);

/* The JSON of a file, to be changed and written back (which drops it). */
json_t *broken_model_json(const char *name);
void broken_model_write_json(const char *name, json_t *root);

/* Sets `key` of config.json to a value given as JSON, or removes it (NULL). */
void broken_model_configure(const char *key, const char *value);

/* The header of a file, a safetensors file, to be written back (which drops it) before the
 * data that the file has. */
json_t *broken_model_header(const char *name);
void broken_model_write_header(const char *name, json_t *header);

/* Puts `bytes` at element `index` of a tensor in model.safetensors; `size` is an element's. */
void broken_model_poke(const char *tensor, size_t index, const void *bytes, size_t size);

/* Runs the model in a folder, which must end with exit code 1 and one sentence that has both parts
 * in it (NULL: any). */
void broken_model_expect(const char *folder, const char *part, const char *part2);

#endif
