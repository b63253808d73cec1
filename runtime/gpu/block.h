/* An allocation and what is cut from it. For memory.c and rehearse.c. */
#ifndef VKM_BLOCK_H
#define VKM_BLOCK_H

#include "gpu/vk.h"

struct vkm_range {
    uint64_t offset, size;
};

struct vkm_block {
    VkDeviceMemory memory;
    VkBuffer buffer;
    uint64_t size;
    uint64_t address;
    unsigned char *mapped;
    void *host; /* what the reference device allocated */
    uint32_t heap;
    bool booked;   /* its size counts in the heap's use */
    bool visible;  /* the host could map it */
    uint32_t live; /* buffers in it */
    enum vkm_memory kind;
    struct { /* sorted by offset, never touching each other */
        struct vkm_range *items;
        size_t count, capacity;
    } free;
};

/* Bytes that may still be taken from a heap. The memory lock is held. */
uint64_t vkm_heap_left(struct vkm_gpu *gpu, uint32_t heap);

#endif
