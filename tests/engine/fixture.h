/* An opened model for tests of sessions. */
#ifndef ENGINE_FIXTURE_H
#define ENGINE_FIXTURE_H

#include "support.h"

#include "../golden/checkpoint.h"

struct engine {
    struct test_log log;
    char *folder; /* of a synthetic checkpoint, or NULL */
    vkmoe_device *device;
    vkmoe_model *model;
};

/* Opens the device under test, and on it the shape's random checkpoint, or the shipped model where
 * shape is NULL. */
void engine_open(struct engine *e, const struct test_shape *shape);
/* Fails the test if anything was logged as an error. */
void engine_close(struct engine *e);

vkmoe_session *engine_session(const struct engine *e, const vkmoe_session_params *params);

/* Some tokens of the model's vocabulary, the same ones for the same seed. */
void engine_tokens(const struct engine *e, uint64_t seed, int32_t *tokens, size_t count);

/* What a generation handed out. */
struct engine_text {
    int32_t ids[512];
    size_t count;
};
/* Generates up to `count` tokens, past EOS. */
struct engine_text engine_generate(vkmoe_session *s, const vkmoe_sampling *sampling, size_t count);
void assert_same_text(const struct engine_text *a, const struct engine_text *b);

#endif
