#include "gpu/stream.h"

void vkm_stream_init(struct vkm_stream *s, const struct vkm_kernel_set *set,
                     const vkmoe_allocator *a)
{
    *s = (struct vkm_stream){.allocator = a, .set = set};
}

void vkm_stream_finish(struct vkm_stream *s)
{
    vkm_free(s->allocator, s->ops.items);
    vkm_free(s->allocator, s->params.items);
    *s = (struct vkm_stream){0};
}

void vkm_stream_clear(struct vkm_stream *s)
{
    s->ops.count = 0;
    s->params.count = 0;
}
