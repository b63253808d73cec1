/* The small model of tests that look at routing: two MoE layers after a dense one. */
#ifndef ENGINE_ROUTED_H
#define ENGINE_ROUTED_H

#include "fixture.h"

/* COUNT tokens are looked at. */
enum { COUNT = 70, TRAINED = 3, EXPERTS = 9, LAYERS = 2, VOCAB = 61 };

static const struct test_shape shape = {.vocab = VOCAB,
                                        .experts = EXPERTS,
                                        .top_k = TRAINED,
                                        .shared = 1,
                                        .first_dense = 1,
                                        .layers = LAYERS + 1,
                                        .scaling = 1.5};

#endif
