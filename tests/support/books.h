/* A discrete GPU that can be asked about buffers and has no memory, to plan on. */
#ifndef VKM_TEST_BOOKS_H
#define VKM_TEST_BOOKS_H

#include "gpu/block.h"

enum { BOOKS_LOCAL, BOOKS_HOST, BOOKS_HEAPS };

/* With so many bytes of its own, and of the host's. Nothing needs to be released. */
void books_gpu(struct vkm_gpu *gpu, uint64_t local, uint64_t host,
               const struct vkm_kernel_set *set);

#endif
