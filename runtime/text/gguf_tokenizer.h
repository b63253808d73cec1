/* The tokenizer in a GGUF file, as the JSON that a Hugging Face folder would have. */
#ifndef VKM_TEXT_GGUF_TOKENIZER_H
#define VKM_TEXT_GGUF_TOKENIZER_H

#include "base/gguf.h"

/* Makes what tokenizer.json and tokenizer_config.json would hold; the caller owns both
 * (json_decref). Fails with BAD_FORMAT, or with UNSUPPORTED for another kind of tokenizer or a
 * pre-tokenizer that is not known by name. */
vkmoe_status vkm_gguf_tokenizer(const struct vkm_gguf *g, json_t **root, json_t **config,
                                vkmoe_error *err);

#endif
