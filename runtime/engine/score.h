/* How likely several endings are after one text, for one text or for several at once. */
#ifndef VKM_SCORE_H
#define VKM_SCORE_H

#include "engine/engine.h"

struct vkm_ending {
    const int32_t *tokens; /* of the vocabulary */
    uint32_t count;        /* at least 1 */
    double loss;           /* out: -ln p(all of them | what comes before) */
};

/* A text from its beginning, and what might follow. */
struct vkm_stem {
    const int32_t *tokens; /* of the vocabulary */
    uint32_t count;        /* at least 1; with any ending it fits the session's context */
    struct vkm_ending *endings;
    uint32_t n_endings; /* at least 1 */
};

/* Scores the endings of the first stems, as many of n > 0 as find room in a step, at least one:
 * their number is *done. Two steps in all, where one stem with its endings finds room in a chunk
 * and in the cache. What the session holds that the stems begin with as well stays computed; then
 * it holds what they begin with, without logits. Fails as vkmoe_session_eval does. */
vkmoe_status vkm_session_score(struct vkmoe_session *s, const struct vkm_stem *stems, uint32_t n,
                               uint32_t *done, vkmoe_error *err);

#endif
