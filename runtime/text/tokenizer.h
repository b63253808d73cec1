/* The parts of a tokenizer, shared by its reader and its user. */
#ifndef VKM_TEXT_TOKENIZER_H
#define VKM_TEXT_TOKENIZER_H

#include "text/added.h"
#include "text/bpe.h"
#include "text/pretokenizer.h"
#include "vkmoe/tokenizer.h"

struct vkmoe_tokenizer {
    const vkmoe_allocator *allocator;
    struct vkm_vocab vocab;
    struct vkm_added raw;        /* matched in the text as it comes */
    struct vkm_added normalized; /* matched in normalised text */
    struct vkm_normalizer normalizer;
    struct vkm_pretokenizer *pretokenizer;
    struct vkm_bpe bpe;
    int32_t bos, eos; /* -1: none */
    bool add_bos;
};

/* Fills a zeroed tokenizer from a model folder or a GGUF file; what a failure leaves, destroy
 * releases. */
vkmoe_status vkm_tokenizer_read(vkmoe_tokenizer *t, const char *path, vkmoe_error *err);

/* Added tokens that text may not stand for, beside special ones, BOS and EOS. */
struct vkm_barred {
    const int32_t *ids;
    size_t count;
};

/* Appends the ids of UTF-8 text that nobody vouches for: where it spells a barred token, it gets
 * the ids of that spelling. No BOS is added. Fails like vkmoe_tokenizer_encode. */
vkmoe_status vkm_tokenizer_encode_barred(const vkmoe_tokenizer *t, const char *text, size_t size,
                                         const struct vkm_barred *barred, struct vkm_ids *ids,
                                         vkmoe_error *err);

#endif
