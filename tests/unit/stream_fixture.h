/* A small kernel set of its own for tests of recorded streams: kernels whose outputs depend on
 * every byte they read, so that any wrong order shows. */
#ifndef STREAM_FIXTURE_H
#define STREAM_FIXTURE_H

#include "unit.h"

#include "gpu/gpu.h"
#include "gpu/hazard.h"
#include "gpu/recorder.h"

enum { MIX, UPDATE, LOOKUP, MATRIX, FIXTURE_KERNELS };

/* y = mixed(a, b, seed) */
struct params_mix {
    struct vkm_view a, b, y;
    uint32_t seed;
};

/* y = mixed(y, a, seed) */
struct params_update {
    struct vkm_view a, y;
    uint32_t seed;
};

/* y = mixed(ids, pages): pages stands for what is reached through a table */
struct params_lookup {
    struct vkm_view ids, pages, y;
};

/* Has weights: variants F32 on both paths, BF16 on BASE alone. */
struct params_matrix {
    struct vkm_view w, y;
    float scale;
};

extern const struct vkm_kernel_set fixture_kernels;
/* 100 x 200 x 300 workgroups of 128 */
extern const struct vkm_caps fixture_caps;

struct fixture {
    struct vkm_stream stream;
    struct vkm_recorder recorder;
};

/* Buffers without memory, at addresses of their own, suffice where nothing runs. */
struct vkm_buffer fixture_buffer(uint64_t size);
void fixture_init(struct fixture *f);
void fixture_finish(struct fixture *f);

/* Record one dispatch of 1 x 1 x 1. */
void fixture_mix(struct fixture *f, struct vkm_view a, struct vkm_view b, struct vkm_view y);
void fixture_update(struct fixture *f, struct vkm_view a, struct vkm_view y);

/* The barrier flags as a string, for instance "..b.b"; in a static buffer. */
const char *fixture_barriers(const struct fixture *f);

static inline struct vkm_view range(struct vkm_buffer *buffer, uint64_t offset, uint64_t size)
{
    return (struct vkm_view){buffer, offset, size};
}

#endif
