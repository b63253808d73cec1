/* How long dispatches take, as learnt from those that were timed, so that submits can be cut. */
#ifndef VKM_RATES_H
#define VKM_RATES_H

#include "gpu/stream.h"

/* Dispatches of a variant are told apart by their work, in powers of four. */
enum { VKM_RATE_SIZES = 24 };

struct vkm_rate {
    double ns;        /* per unit of work */
    uint32_t samples; /* that it comes from; 0: not known */
};

struct vkm_rates {
    const struct vkm_kernel_set *set;
    uint32_t *first;                          /* of each kernel, its first variant's row */
    struct vkm_rate (*items)[VKM_RATE_SIZES]; /* for each variant of each kernel */
    uint32_t asked;                           /* streams so far */
};

vkmoe_status vkm_rates_init(struct vkm_rates *r, const struct vkm_kernel_set *set,
                            const vkmoe_allocator *a, vkmoe_error *err);
void vkm_rates_finish(struct vkm_rates *r, const vkmoe_allocator *a);

/* What of it is known of dispatches like this one. */
const struct vkm_rate *vkm_rates_of(const struct vkm_rates *r, const struct vkm_op *op);
/* Nanoseconds that a dispatch is expected to take: rather more than less where it is not known. */
double vkm_rates_estimate(const struct vkm_rates *r, const struct vkm_op *op);
/* Whether the stream should be timed when it runs: where it has dispatches that are not known, or,
 * if it was timed before and is at hand `again`, hardly; and now and then, as clocks and loads
 * change. */
bool vkm_rates_wants(struct vkm_rates *r, const struct vkm_stream *stream, bool again);
void vkm_rates_learn(struct vkm_rates *r, const struct vkm_op *op, uint64_t ns);

#endif
