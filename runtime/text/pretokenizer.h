/* The pre-tokenizer: the steps that cut text into the pieces in which tokens are merged. */
#ifndef VKM_TEXT_PRETOKENIZER_H
#define VKM_TEXT_PRETOKENIZER_H

#include "text/source.h"

struct vkm_pretokenizer;

/* Reads the pre_tokenizer of a tokenizer.json: Split, Digits and ByteLevel steps, ByteLevel last.
 */
vkmoe_status vkm_pretokenizer_create(const struct vkm_source *s, const json_t *json,
                                     struct vkm_pretokenizer **out);
/* Accepts NULL. */
void vkm_pretokenizer_destroy(struct vkm_pretokenizer *p);

/* What one caller needs while it cuts texts. */
struct vkm_cutter;
vkmoe_status vkm_cutter_create(const struct vkm_pretokenizer *p, struct vkm_cutter **out,
                               vkmoe_error *err);
/* Accepts NULL. */
void vkm_cutter_destroy(struct vkm_cutter *c);

typedef vkmoe_status (*vkm_piece_fn)(void *user, const char *piece, size_t size);

/* Calls emit for each piece of valid UTF-8, in order; none is empty. Stops at the first failure. */
vkmoe_status vkm_cutter_run(struct vkm_cutter *c, const char *text, size_t size, vkm_piece_fn emit,
                            void *user, vkmoe_error *err);

#endif
