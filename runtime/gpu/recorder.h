/* Records dispatches into a stream and finds where barriers are needed. */
#ifndef VKM_RECORDER_H
#define VKM_RECORDER_H

#include "gpu/stream.h"

struct vkm_caps;

/* A dispatch as its caller describes it. */
struct vkm_dispatch {
    uint32_t kernel;
    enum vkm_dtype dtype; /* ignored by kernels without weights */
    enum vkm_path path;
    uint32_t spec[VKM_MAX_SPEC];
    uint32_t groups[3];
    struct vkm_view
        indirect;       /* the counts, when its buffer is set; groups estimate the work then */
    const void *params; /* the kernel's params struct; copied */
    bool beside; /* it and the dispatch before it, which may be beside another, write what no other
                    of them touches, though their views overlap: the same work in parts */
};

/* Byte ranges touched since the last barrier. */
struct vkm_access {
    const struct vkm_buffer *buffer;
    uint64_t begin, end;
    bool write;
};

/* The first failure sticks; later dispatches are dropped and vkm_recorder_status tells. */
struct vkm_recorder {
    struct vkm_stream *stream;
    const struct vkm_caps *caps;
    struct {
        struct vkm_access *items;
        size_t count, capacity;
    } open;
    size_t before; /* those of them that come before the dispatches beside one another */
    vkmoe_error error;
};

/* caps: of the device that the stream is for; borrowed, like the stream. */
void vkm_recorder_init(struct vkm_recorder *r, struct vkm_stream *stream,
                       const struct vkm_caps *caps);
void vkm_recorder_finish(struct vkm_recorder *r);

/* Appends a dispatch; a barrier goes before it if it touches what an earlier dispatch since the
 * last barrier wrote, or writes what one touched, but for those it is beside. Groups beyond the
 * device's limits, a missing variant or a view beyond its buffer fail. A dispatch with a zero group
 * count is dropped. */
void vkm_record(struct vkm_recorder *r, const struct vkm_dispatch *d);

vkmoe_status vkm_recorder_status(const struct vkm_recorder *r, vkmoe_error *err);

#endif
