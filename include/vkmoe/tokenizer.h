/* Text to token ids and back. */
#ifndef VKMOE_TOKENIZER_H
#define VKMOE_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vkmoe/log.h"
#include "vkmoe/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A byte-level BPE tokenizer read from a Hugging Face folder (tokenizer.json and, where present,
 * tokenizer_config.json) or from a GGUF file. Immutable once made: any number of threads may use
 * one at a time. */
typedef struct vkmoe_tokenizer vkmoe_tokenizer;

/* How a tokenizer is made. */
typedef struct vkmoe_tokenizer_params {
    const vkmoe_allocator *allocator; /* NULL: the C library; must outlive the tokenizer */
} vkmoe_tokenizer_params;

/* Reads the tokenizer of the model folder or GGUF file `path`. params may be NULL. The caller owns
 * *out. Fails with NOT_FOUND, IO, BAD_FORMAT, or UNSUPPORTED for a kind of tokenizer that is not
 * byte-level BPE or a pre-tokenizer, or a step of one, that is not known. */
vkmoe_status vkmoe_tokenizer_load(const char *path, const vkmoe_tokenizer_params *params,
                                  vkmoe_tokenizer **out, vkmoe_error *err);

/* Accepts NULL. */
void vkmoe_tokenizer_destroy(vkmoe_tokenizer *tokenizer);

/* The token ids of `size` bytes of UTF-8 `text`. With add_bos, the BOS token comes first if the
 * tokenizer's configuration asks for one (add_bos_token) and the text does not begin with it
 * already. *ids belongs to the caller and is released with vkmoe_tokenizer_free. Fails with
 * BAD_FORMAT, naming the byte offset, where the text is not UTF-8, and with UNSUPPORTED where the
 * vocabulary has no token for a byte or a pattern of the tokenizer needs too many steps. */
vkmoe_status vkmoe_tokenizer_encode(const vkmoe_tokenizer *tokenizer, const char *text, size_t size,
                                    bool add_bos, int32_t **ids, size_t *count, vkmoe_error *err);

/* The bytes that the ids stand for: any bytes, not only UTF-8. Special tokens give their text only
 * if `special` is set, else nothing. *bytes is zero-terminated (not counted in *size), belongs to
 * the caller and is released with vkmoe_tokenizer_free. Fails with INVALID_ARGUMENT for an id
 * outside the vocabulary. */
vkmoe_status vkmoe_tokenizer_decode(const vkmoe_tokenizer *tokenizer, const int32_t *ids,
                                    size_t count, bool special, char **bytes, size_t *size,
                                    vkmoe_error *err);

/* Releases what encode and decode gave out. Accepts NULL. */
void vkmoe_tokenizer_free(const vkmoe_tokenizer *tokenizer, void *memory);

/* One more than the largest id. */
int32_t vkmoe_tokenizer_size(const vkmoe_tokenizer *tokenizer);
/* The id that begins a document, or -1 where the tokenizer names none. */
int32_t vkmoe_tokenizer_bos(const vkmoe_tokenizer *tokenizer);
/* The id that ends one, or -1. */
int32_t vkmoe_tokenizer_eos(const vkmoe_tokenizer *tokenizer);

#ifdef __cplusplus
}
#endif

#endif
