/* What a dispatch has to move and to compute at least: the arithmetic that its time is held
 * against.
 */
#ifndef VKM_COST_H
#define VKM_COST_H

#include "gpu/stream.h"

/* What a step's params do not tell, since the device finds it in memory. */
struct vkm_cost_facts {
    double positions; /* that the step's rows see, added up over the rows */
    double cached;    /* of the KV cache, that any of them sees: what a prompt's rows share once */
    double experts; /* routed ones that the step's rows chose, each once: the mean of its layers */
};

/* Every byte of memory that a dispatch needs counted once, however often its workgroups read it
 * (weights of an expert once for all rows that chose it, keys and values once for all rows of a
 * sequence), padding included. Operations: a multiply-add is two, an exponential one. */
struct vkm_cost {
    double bytes;
    double operations;
    double weights; /* bytes, of `bytes`, that products read of their matrices */
};

/* The cost of an op of a stream over the kernel table. */
struct vkm_cost vkm_op_cost(const struct vkm_stream *stream, const struct vkm_op *op,
                            const struct vkm_cost_facts *facts);

/* Bytes and operations together of an op that was just recorded, with as many positions and experts
 * as its params allow: what its time grows with. */
double vkm_op_work(const struct vkm_stream *stream, const struct vkm_op *op);

#endif
