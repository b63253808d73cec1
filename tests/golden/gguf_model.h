/* Models in Hugging Face folders written a second time as GGUF files. */
#ifndef VKM_TEST_GGUF_MODEL_H
#define VKM_TEST_GGUF_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gguf_recipe {
    /* Numbers of types. Each matrix gets one of those that its rows can be made of; of blocks it
     * gets random ones, of about the size of its weights. Vectors and routers are F32. */
    const uint32_t *types;
    size_t n_types;
    bool tokenizer;            /* take the folder's along */
    const char *chat_template; /* NULL: none */
};

/* Writes the model of `folder` to the GGUF file `path`, and a checkpoint of the very same values to
 * the folder `exact` (NULL: not wanted): blocks as F32, what is no block in its own type. */
void gguf_convert(const char *folder, const struct gguf_recipe *recipe, const char *path,
                  const char *exact);

#endif
