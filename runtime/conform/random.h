/* Reproducible random numbers for test data: a hash of a key and a counter. */
#ifndef VKM_RANDOM_H
#define VKM_RANDOM_H

#include "base/base.h"

struct vkm_random {
    uint64_t key, counter;
};

static inline uint64_t vkm_random_u64(struct vkm_random *r)
{
    uint64_t z = r->key + ++r->counter * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Below n, which must not be zero. */
static inline uint32_t vkm_random_below(struct vkm_random *r, uint32_t n)
{
    return (uint32_t)((vkm_random_u64(r) >> 32) * n >> 32);
}

/* Even in [low, high). */
static inline float vkm_random_f32(struct vkm_random *r, float low, float high)
{
    float unit = (float)(vkm_random_u64(r) >> 40) * 0x1p-24f;
    return low + (high - low) * unit;
}

#endif
