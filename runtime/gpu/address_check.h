/* The host's side of the debug shaders: which addresses each dispatch may touch, and the report of
 * the first that it should not have. Layouts as in shaders/lib/mem.glsl. */
#ifndef VKM_ADDRESS_CHECK_H
#define VKM_ADDRESS_CHECK_H

#include "gpu/gpu.h"

struct vkm_address_check {
    struct vkm_buffer *records; /* one for each op, and the report behind them */
    uint64_t report;            /* offset of the report */
    uint64_t record_size;       /* bytes from one op's record to the next */
};

vkmoe_status vkm_address_check_create(struct vkm_gpu *gpu, const struct vkm_stream *stream,
                                      struct vkm_address_check *check, vkmoe_error *err);
void vkm_address_check_destroy(struct vkm_gpu *gpu, struct vkm_address_check *check);
/* Device address of the record of op `index`. */
uint64_t vkm_address_check_record(const struct vkm_address_check *check, size_t index);
/* After a run: INTERNAL with a sentence if a shader left its views; clears the report. */
vkmoe_status vkm_address_check_result(const struct vkm_address_check *check,
                                      const struct vkm_stream *stream, vkmoe_error *err);

#endif
