#include "gpu/rates.h"

#include <math.h>

#define UNKNOWN_OP_NS 5e6   /* assumed at least of a variant that was never timed, */
#define UNKNOWN_WORK_NS 1.0 /* and per unit of its work: what slow CPU drivers take */
#define SAMPLES_LEAST 2     /* as the first has compilation in it on some drivers */
#define TIMED_ANEW 256      /* of so many streams, one is timed whatever is known */

vkmoe_status vkm_rates_init(struct vkm_rates *r, const struct vkm_kernel_set *set,
                            const vkmoe_allocator *a, vkmoe_error *err)
{
    uint32_t n = 0;
    *r = (struct vkm_rates){.set = set};
    r->first = vkm_calloc(a, set->count, sizeof(*r->first));
    for (uint32_t k = 0; r->first && k < set->count; k++) {
        r->first[k] = n;
        n += set->kernels[k].n_variants;
    }
    r->items = r->first ? vkm_calloc(a, n, sizeof(*r->items)) : NULL;
    return r->items ? VKMOE_OK : vkm_fail_memory(err, n * sizeof(*r->items), "kernel timings");
}

void vkm_rates_finish(struct vkm_rates *r, const vkmoe_allocator *a)
{
    vkm_free(a, r->first);
    vkm_free(a, r->items);
    *r = (struct vkm_rates){0};
}

/* Where nobody said, a workgroup is a unit; where counts are indirect, groups estimate them. */
static double work_of(const struct vkm_op *op)
{
    double groups = (double)op->groups[0] * (double)op->groups[1] * (double)op->groups[2];
    return op->work > 0 && isfinite(op->work) ? op->work : fmax(groups, 1);
}

static int size_of(double work)
{
    int size = ilogb(work) / 2;
    return size < 0 ? 0 : size < VKM_RATE_SIZES ? size : VKM_RATE_SIZES - 1;
}

static struct vkm_rate *row_of(const struct vkm_rates *r, const struct vkm_op *op)
{
    return r->items[r->first[op->kernel] + op->variant];
}

const struct vkm_rate *vkm_rates_of(const struct vkm_rates *r, const struct vkm_op *op)
{
    return &row_of(r, op)[size_of(work_of(op))];
}

/* Of dispatches with less work, the rate counts: they are no faster per unit. Those with more take
 * as long at least. */
double vkm_rates_estimate(const struct vkm_rates *r, const struct vkm_op *op)
{
    const struct vkm_rate *row = row_of(r, op);
    double work = work_of(op);
    int size = size_of(work);
    for (int i = size; i >= 0; i--)
        if (row[i].samples > 0)
            return row[i].ns * work;
    for (int i = size + 1; i < VKM_RATE_SIZES; i++)
        if (row[i].samples > 0)
            return row[i].ns * ldexp(1, 2 * i);
    return fmax(UNKNOWN_OP_NS, UNKNOWN_WORK_NS * work);
}

bool vkm_rates_wants(struct vkm_rates *r, const struct vkm_stream *stream, bool again)
{
    uint32_t least = again ? SAMPLES_LEAST : 1;
    bool wants = ++r->asked % TIMED_ANEW == 0;
    for (size_t i = 0; i < stream->ops.count && !wants; i++)
        wants = vkm_rates_of(r, &stream->ops.items[i])->samples < least;
    return wants;
}

/* What is newer counts more. */
void vkm_rates_learn(struct vkm_rates *r, const struct vkm_op *op, uint64_t ns)
{
    double work = work_of(op), rate = (double)(ns ? ns : 1) / work;
    struct vkm_rate *known = &row_of(r, op)[size_of(work)];
    if (known->samples == 0 || (known->samples < SAMPLES_LEAST && rate < known->ns))
        known->ns = rate;
    else
        known->ns += (rate < known->ns ? 0.5 : 0.25) * (rate - known->ns);
    known->samples += known->samples < UINT32_MAX;
}
