/* Small tokenizers made up for a test, written to the test's folder as a model's files. */
#ifndef TOKENIZER_FIXTURE_H
#define TOKENIZER_FIXTURE_H

#include <jansson.h>

#include "unit.h"
#include "vkmoe/tokenizer.h"

/* A tokenizer.json whose tokens are the 256 bytes (the id is the byte), without merges or added
 * tokens; its pre-tokenizer is one ByteLevel step that does not split. */
json_t *fixture_new(void);
/* Appends the merge of a and b and the token it makes (written in the byte-level alphabet), which
 * gets the next id. */
void fixture_merge(json_t *root, const char *a, const char *b);
/* Appends an added token; `flags` is a JSON object with what is not false. */
void fixture_add(json_t *root, int id, const char *content, const char *flags);
/* Puts the steps, a JSON array without its brackets, before the ByteLevel step. */
void fixture_steps(json_t *root, const char *steps);
/* Sets root's `key` to a value given as JSON. */
void fixture_set(json_t *root, const char *key, const char *value);
/* The same in root's model object. */
void fixture_set_model(json_t *root, const char *key, const char *value);

/* Writes the files (config is the text of tokenizer_config.json; NULL: there is none), drops root
 * and loads them, which must succeed. */
vkmoe_tokenizer *fixture_load(json_t *root, const char *config);
/* The same, to see it fail: any tokenizer is destroyed again. */
vkmoe_status fixture_try(json_t *root, const char *config, vkmoe_error *err);

/* Encodes text without BOS and compares the ids, written with spaces between. */
void expect_ids(const vkmoe_tokenizer *t, const char *text, const char *ids);
/* Encodes the text, decodes it again, special tokens included, and compares. */
void expect_round_trip(const vkmoe_tokenizer *t, const char *text, size_t size);

#endif
