/* The permutation test, with a say in when it ends. */
#ifndef VKM_STUDY_PERMUTE_H
#define VKM_STUDY_PERMUTE_H

#include <stdbool.h>

#include "vkmoe/study.h"

/* vkmoe_affinity_of, which asks `stop` now and then whether to end with CANCELLED; NULL: never. */
vkmoe_status vkm_affinity_of(const uint32_t *chosen, const uint32_t *text_of, size_t n_windows,
                             uint32_t n_texts, uint32_t n_experts, uint32_t permutations,
                             uint64_t seed, bool (*stop)(void *user), void *user,
                             vkmoe_affinity_layer *out, vkmoe_error *err);

#endif
