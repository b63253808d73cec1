/* How a token is chosen from logits. */
#ifndef VKMOE_SAMPLING_H
#define VKMOE_SAMPLING_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How many tokens a repeat penalty looks back, unless told otherwise. */
#define VKMOE_DEFAULT_REPEAT_LAST 64u

/* Applied in the order of the fields, on the device. Zero-initialised: greedy, nothing else. Tokens
 * with equal logits are kept or dropped together, so a cut may keep more than it says. */
typedef struct vkmoe_sampling {
    /* The logits of tokens among the last repeat_last are divided by it where positive, multiplied
     * where negative (arXiv 1909.05858). 0 or 1: off. */
    float repeat_penalty;
    uint32_t repeat_last; /* tokens; 0: VKMOE_DEFAULT_REPEAT_LAST, UINT32_MAX: all of them */
    float temperature;    /* logits are divided by it; 0 or less: the likeliest token is taken */
    uint32_t top_k;       /* of the tokens, those with the k largest logits; 0: all */
    /* Of what is left, the fewest likeliest tokens that hold this share of its probability; 0, or 1
     * and more: all. */
    float top_p;
    float
        min_p; /* of what is left, tokens at least this times as likely as the likeliest; 0: all */
    uint64_t seed; /* the same seed and tokens give the same text on the same device */
} vkmoe_sampling;

#ifdef __cplusplus
}
#endif

#endif
