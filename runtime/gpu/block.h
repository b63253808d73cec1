/* An allocation and what is cut from it. For memory.c, import.c and rehearse.c. */
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
    void *host;  /* what the reference device allocated */
    void *pages; /* what the process mapped and the driver imported, or NULL */
    size_t pages_size;
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

/* What the buffer over a block is for. */
#define VKM_BLOCK_USAGE                                                                            \
    (VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |                       \
     VK_BUFFER_USAGE_TRANSFER_DST_BIT | VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT |                      \
     VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT)

/* Gives a block memory that the process maps itself; false, and nothing done, where the driver does
 * not take it: then it is to allocate its own. */
bool vkm_block_import(struct vkm_gpu *gpu, struct vkm_block *block,
                      const VkMemoryAllocateInfo *info);
/* Unmaps that, once the driver has freed it. */
void vkm_block_unmap(struct vkm_block *block);

/* Bytes that may still be taken from a heap. The memory lock is held. */
uint64_t vkm_heap_left(struct vkm_gpu *gpu, uint32_t heap);

#endif
