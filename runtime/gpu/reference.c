#include "gpu/vk.h"

/* The views' memory, and the indirect counts, as the host sees them. */
static void *host_view(void *user, const struct vkm_view *view, bool written)
{
    (void)user;
    (void)written;
    return view->buffer ? view->buffer->mapped + view->offset : NULL;
}

static const void *host_address(void *user, uint64_t address)
{
    return vkm_gpu_resolve(user, address);
}

static void run_op(const struct vkm_gpu *gpu, const struct vkm_stream *s, const struct vkm_op *op)
{
    const struct vkm_kernel *kernel = vkm_op_kernel(s, op);
    struct vkm_ref ref = {
        .user = (void *)(uintptr_t)gpu,
        .view = host_view,
        .address = host_address,
        .dtype = kernel->variants[op->variant].dtype,
        .groups = {op->groups[0], op->groups[1], op->groups[2]},
    };
    if (op->indirect.buffer) {
        const uint32_t *counts = host_view(NULL, &op->indirect, false);
        for (int i = 0; i < 3; i++)
            ref.groups[i] = counts[i];
    }
    kernel->reference(&ref, vkm_op_params(s, op));
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Runs ops [first, end) in an order drawn from *state: repeatedly picks one of those left. */
static void run_shuffled(const struct vkm_gpu *gpu, const struct vkm_stream *s, size_t first,
                         size_t end, uint64_t *state, size_t *order)
{
    size_t n = end - first;
    for (size_t i = 0; i < n; i++)
        order[i] = first + i;
    for (size_t left = n; left > 0; left--) {
        size_t pick = (size_t)(next_random(state) % left);
        run_op(gpu, s, &s->ops.items[order[pick]]);
        order[pick] = order[left - 1];
    }
}

void vkm_reference_run(const struct vkm_gpu *gpu, const struct vkm_stream *s, uint64_t shuffle)
{
    const struct vkm_op *ops = s->ops.items;
    size_t *order = shuffle ? vkm_malloc(s->allocator, s->ops.count, sizeof(*order)) : NULL;
    if (!order) {
        for (size_t i = 0; i < s->ops.count; i++)
            run_op(gpu, s, &ops[i]);
        return;
    }
    for (size_t first = 0, end; first < s->ops.count; first = end) {
        for (end = first + 1; end < s->ops.count && !ops[end].barrier;)
            end++;
        run_shuffled(gpu, s, first, end, &shuffle, order);
    }
    vkm_free(s->allocator, order);
}
