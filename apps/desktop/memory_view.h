/* The memories of a device as bars: what a model's weights, its KV cache and its scratch take of
 * each, what others hold, and what stays free. */
#ifndef MOE_MEMORY_VIEW_H
#define MOE_MEMORY_VIEW_H

#include <gtk/gtk.h>
#include <vkmoe/vkmoe.h>

#define MOE_TYPE_MEMORY_VIEW (moe_memory_view_get_type())
G_DECLARE_FINAL_TYPE(MoeMemoryView, moe_memory_view, MOE, MEMORY_VIEW, GtkBox)

GtkWidget *moe_memory_view_new(void);
/* Shows a plan on the device it was made for; with plan NULL the device alone, with both NULL
 * nothing. Nothing is kept of either. */
void moe_memory_view_set(MoeMemoryView *self, const vkmoe_plan *plan,
                         const vkmoe_device_info *device);

/* What one memory holds, in bytes. */
typedef struct MoeMemory {
    uint64_t weights, kv_cache;
    uint64_t scratch; /* with what allocations leave unused, and what loading needs */
    uint64_t others;  /* held by other programs, or by this one for another model, and what is left
                         to the driver */
    uint64_t free;    /* 0 where there is too little */
    uint64_t missing; /* that there would have to be more */
    uint64_t size;    /* of the memory */
} MoeMemory;

/* Of heap `index` of the device; plan may be NULL. */
MoeMemory moe_memory_of(const vkmoe_plan *plan, const vkmoe_device_info *device, uint32_t index);

#endif
