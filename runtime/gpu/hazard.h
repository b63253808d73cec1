/* An independent check of a recorded stream: that every pair of dispatches that touch the same
 * bytes, one of them writing, has a barrier between. It shares no code with the recorder: it
 * compares the device addresses of all accesses between two barriers, pair by pair. */
#ifndef VKM_HAZARD_H
#define VKM_HAZARD_H

#include "gpu/stream.h"

/* OK, or INTERNAL with a sentence that names both kernels, their op indices and the field. */
vkmoe_status vkm_hazard_check(const struct vkm_stream *s, vkmoe_error *err);

#endif
