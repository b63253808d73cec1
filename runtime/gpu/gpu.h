/* One opened device: a Vulkan device, or the reference executor that runs the same streams in
 * float64 on the host. Memory, uploads, pipelines and submission. Knows nothing of models. */
#ifndef VKM_GPU_H
#define VKM_GPU_H

#include <stdatomic.h>

#include "gpu/paths.h"
#include "gpu/stream.h"
#include "vkmoe/device.h"

struct vkm_gpu;

struct vkm_tuning;

/* What recording and launch geometry may depend on; fixed once the device is open, but for
 * vkm_gpu_tune.
 */
struct vkm_caps {
    uint32_t max_groups[3];
    uint32_t max_invocations; /* per workgroup */
    uint32_t shared_bytes;    /* per workgroup */
    uint32_t subgroup_size;   /* that subgroup variants run with; 0: path not available */
    uint32_t matrix;          /* what the path coopmat multiplies at a time, see kernel.h; else 0 */
    bool paths[VKM_PATH_COUNT];
    bool cpu;                 /* the device is the host's processor, or the reference executor */
    uint32_t cores;           /* of the host, where the device is its processor; else 0 */
    uint32_t tiled_rows;      /* as the params say; 0: the launch table decides */
    uint32_t split_positions; /* likewise */
    uint32_t tile_rows;       /* the only height of tiles; 0: those of kernels/tiles.c */
    /* What the launch table takes from a tuning file; this layer only hands it on. NULL: nothing.
     */
    const struct vkm_tuning *tuning;
};

/* A vkGetInstanceProcAddr, from which every other Vulkan call is had. */
struct VkInstance_T;
typedef void vkm_vulkan_call(void);
typedef vkm_vulkan_call *vkm_vulkan_loader(struct VkInstance_T *instance, const char *name);

struct vkm_gpu_params {
    const vkmoe_allocator *allocator;
    const vkmoe_log *log;
    const char
        *selector;   /* index, UUID, part of a name, or "reference"; NULL: the default device */
    bool validation; /* Khronos validation layer; its messages go to the log as errors */
    bool check_addresses; /* run the debug variant of every shader */
    bool host_visible;    /* keep all memory mapped, for lock-step comparison */
    bool force_staging;   /* upload through the staging ring even where memory is mapped */
    bool no_subgroups;    /* as if wishes had it off */
    bool all_paths; /* whatever the device can run and wishes do not forbid: for conformance */
    enum vkm_wish wishes[VKM_PATH_COUNT];
    /* Whether a path that needs a self-test passed it: asked while the device is opened, when its
     * info and its cache folder are known. NULL: none did. */
    bool (*admit)(struct vkm_gpu *gpu, enum vkm_path path);
    uint32_t tiled_rows; /* steps of more rows use tiled products; 0: the launch table decides */
    uint32_t split_positions;  /* attention takes so many in a workgroup; 0: likewise */
    const char *cache_dir;     /* NULL: $XDG_CACHE_HOME/vkmoe or ~/.cache/vkmoe; "": none */
    bool no_tuning;            /* leave the tuning file alone */
    double hang_seconds;       /* a submit that takes longer counts as hung; 0: 120 */
    bool (*go_on)(void *user); /* while a path is tested; false: no longer. NULL: always */
    void *user;                /* of go_on */
    vkm_vulkan_loader *loader; /* NULL: that of libvulkan.so.1; tests put theirs in its place */
};

/* Lists the devices as vkmoe_device_list does. */
vkmoe_status vkm_gpu_list(const struct vkm_gpu_params *params, vkmoe_device_info *infos,
                          size_t capacity, size_t *count, vkmoe_error *err);

/* The set must outlive the device. */
vkmoe_status vkm_gpu_open(const struct vkm_gpu_params *params, const struct vkm_kernel_set *set,
                          struct vkm_gpu **out, vkmoe_error *err);
void vkm_gpu_close(struct vkm_gpu *gpu); /* accepts NULL; every buffer must be destroyed before */

const struct vkm_caps *vkm_gpu_caps(const struct vkm_gpu *gpu);
/* What is recorded from now on goes by `tuning`, which must live until then; NULL: the launch
 * table. `hash` tells where it is from, for vkmoe_device_info. */
void vkm_gpu_tune(struct vkm_gpu *gpu, const struct vkm_tuning *tuning, uint64_t hash);
/* As it was opened; owned by the gpu. */
const struct vkm_gpu_params *vkm_gpu_get_params(const struct vkm_gpu *gpu);
const struct vkm_kernel_set *vkm_gpu_kernels(const struct vkm_gpu *gpu);
const vkmoe_allocator *vkm_gpu_allocator(const struct vkm_gpu *gpu);
const vkmoe_log *vkm_gpu_log(const struct vkm_gpu *gpu);
bool vkm_gpu_is_reference(const struct vkm_gpu *gpu);
/* Owned by the gpu. */
const vkmoe_device_info *vkm_gpu_info(const struct vkm_gpu *gpu);
/* Notes what came of a path's self-test. */
void vkm_gpu_judge_path(struct vkm_gpu *gpu, enum vkm_path path, vkmoe_path_state state,
                        const char *reason);
const struct vkm_gpu_params *vkm_gpu_parameters(const struct vkm_gpu *gpu);

/* --- memory (memory.c): thread-safe --- */

enum vkm_memory {
    VKM_MEMORY_DEVICE, /* fastest for the device; mapped only where that costs nothing */
    VKM_MEMORY_HOST,   /* mapped and coherent, quick for the host to read */
    VKM_MEMORY_SHARED, /* mapped and coherent, on the device where that can be had: small data that
                          the host writes and the device reads often */
};

struct vkm_buffer {
    uint64_t size;         /* bytes, as asked for */
    uint64_t address;      /* device address of the first byte; 256-byte aligned */
    unsigned char *mapped; /* host pointer, or NULL */
    void *block;           /* the allocation it lies in */
    uint64_t block_offset;
    struct vkm_buffer *next; /* another buffer of the same resource, reached only through tables */
};

/* `what` names the purpose in the message when memory runs out. */
vkmoe_status vkm_buffer_create(struct vkm_gpu *gpu, enum vkm_memory memory, uint64_t size,
                               const char *what, struct vkm_buffer **out, vkmoe_error *err);
void vkm_buffer_destroy(struct vkm_gpu *gpu, struct vkm_buffer *buffer); /* accepts NULL */
/* A view of the whole buffer. */
struct vkm_view vkm_buffer_view(struct vkm_buffer *buffer);
/* The part of a view from `offset` on, `size` bytes long. */
struct vkm_view vkm_view_slice(struct vkm_view view, uint64_t offset, uint64_t size);
/* The largest single buffer that can be had. */
uint64_t vkm_gpu_max_buffer(const struct vkm_gpu *gpu);
/* Whether to ask the driver for memory even where, by its own figures, it has none left. */
void vkm_gpu_ignore_budget(struct vkm_gpu *gpu, bool ignore);
/* Refuses memory as if no heap had more than `bytes` besides what is held now; UINT64_MAX: no more.
 * One thread at a time. */
void vkm_gpu_limit_growth(struct vkm_gpu *gpu, uint64_t bytes);
/* Bytes of device memory held in blocks now. */
uint64_t vkm_gpu_memory_used(const struct vkm_gpu *gpu);
/* The same in blocks of one kind. */
uint64_t vkm_gpu_kind_used(const struct vkm_gpu *gpu, enum vkm_memory kind);
/* Whether what goes to device memory passes through the staging ring. */
bool vkm_gpu_stages(const struct vkm_gpu *gpu);

struct vkm_heap_use {
    uint64_t blocks;  /* bytes held in blocks */
    uint64_t buffers; /* of them, bytes that lie in buffers */
    uint64_t left;    /* bytes that could be had besides */
};
/* One of info's heaps. */
void vkm_gpu_heap_use(const struct vkm_gpu *gpu, uint32_t heap, struct vkm_heap_use *use);

/* A stand-in for the device as it is now, in which every buffer is placed as the device would place
 * it, but has no memory: for plans. Nothing but buffers may be made of it. Where no heap has room
 * it goes on, so that the use of a heap tells what would have been needed. To be ended, with what
 * was made of it destroyed or not, before the device is closed. */
vkmoe_status vkm_gpu_rehearse(struct vkm_gpu *gpu, struct vkm_gpu **out, vkmoe_error *err);
void vkm_gpu_rehearsal_end(struct vkm_gpu *rehearsal); /* accepts NULL */
/* The host pointer behind a device address of mapped memory, or NULL. */
const void *vkm_gpu_resolve(const struct vkm_gpu *gpu, uint64_t address);

/* Copies from a view to host memory; the view's last writer must have finished. */
vkmoe_status vkm_buffer_read(struct vkm_gpu *gpu, struct vkm_view view, void *data,
                             vkmoe_error *err);

/* --- uploads (upload.c): one thread at a time per uploader --- */

struct vkm_uploader;
vkmoe_status vkm_uploader_create(struct vkm_gpu *gpu, struct vkm_uploader **out, vkmoe_error *err);
/* Where to write the next `size` bytes (at most VKM_UPLOAD_CHUNK) of `view` at `offset`. */
#define VKM_UPLOAD_CHUNK (8u << 20)
vkmoe_status vkm_uploader_begin(struct vkm_uploader *u, struct vkm_view view, uint64_t offset,
                                uint64_t size, void **data, vkmoe_error *err);
vkmoe_status vkm_uploader_end(struct vkm_uploader *u, vkmoe_error *err);
/* begin, copy, end for any size. */
vkmoe_status vkm_uploader_write(struct vkm_uploader *u, struct vkm_view view, const void *data,
                                uint64_t size, vkmoe_error *err);
/* Waits until everything has arrived; later submits see it. */
vkmoe_status vkm_uploader_flush(struct vkm_uploader *u, vkmoe_error *err);
void vkm_uploader_destroy(struct vkm_uploader *u); /* accepts NULL; waits */
#define VKM_UPLOAD_SLOTS 4u                        /* of a chunk each, in the staging ring */

/* --- pipelines (pipeline.c): thread-safe --- */

/* Makes sure that every pipeline of the stream exists, so that encoding it does not wait. */
vkmoe_status vkm_gpu_compile(struct vkm_gpu *gpu, const struct vkm_stream *stream,
                             const atomic_bool *cancel, vkmoe_error *err);
/* A copy of the SPIR-V module that the driver is given for a variant: the caller's (vkm_free). */
vkmoe_status vkm_gpu_shader(const struct vkm_gpu *gpu, const struct vkm_variant *variant,
                            uint32_t **code, size_t *size, vkmoe_error *err);
/* Writes the pipeline cache to disk if it grew; failure costs only speed and is logged. */
void vkm_gpu_save_cache(struct vkm_gpu *gpu);
/* The cache folder that such params ask for; NULL where there is none. The caller owns it
 * (vkm_free).
 */
char *vkm_cache_folder(const struct vkm_gpu_params *params);
/* Makes the folders above `path`, as far as they can be made. */
void vkm_cache_make_folders(const char *path);
/* Where a file of that name would lie in the cache folder; NULL where there is none. The caller
 * owns it (vkm_free). */
char *vkm_gpu_cache_file(const struct vkm_gpu *gpu, const char *name);

/* --- submission (commands.c): one thread at a time per gpu --- */

/* A stream made ready for a device; may be submitted again and again. Buffers of the stream must
 * outlive it; the stream itself too. */
struct vkm_commands;
vkmoe_status vkm_commands_create(struct vkm_gpu *gpu, const struct vkm_stream *stream,
                                 bool timestamps, struct vkm_commands **out, vkmoe_error *err);
void vkm_commands_destroy(struct vkm_commands *c); /* accepts NULL; must not be in flight */
/* Runs the stream and waits for it. Fails with DEVICE_LOST when the device is lost or hung, and
 * with CANCELLED when *cancel (may be NULL) turns true: what was submitted ends, the rest is left
 * out. */
vkmoe_status vkm_commands_run(struct vkm_commands *c, const atomic_bool *cancel, vkmoe_error *err);
/* The same in two halves, so that the device has the next run in hand when one ends. A stream of
 * more than one submit is run whole by the first half; whether it would be: */
bool vkm_commands_is_short(const struct vkm_commands *c);
vkmoe_status vkm_commands_start(struct vkm_commands *c, const atomic_bool *cancel,
                                vkmoe_error *err);
/* After a start that succeeded, before the next of the same commands. */
vkmoe_status vkm_commands_end(struct vkm_commands *c, vkmoe_error *err);
/* Makes the stream ready, runs it once and waits for it. Fails as those two do. */
vkmoe_status vkm_stream_run(struct vkm_gpu *gpu, const struct vkm_stream *stream, vkmoe_error *err);
/* Seconds that the host has waited for the device's queues since it was opened. */
double vkm_gpu_waited(const struct vkm_gpu *gpu);
/* Device time of op `index` in the last run, in nanoseconds; 0 without timestamps. */
uint64_t vkm_commands_time(const struct vkm_commands *c, size_t index);

/* --- the reference executor (reference.c) --- */

/* Runs the stream's reference kernels on mapped memory. With a non-zero `shuffle`, the dispatches
 * between two barriers run in an order drawn from that seed (in recorded order if memory for that
 * runs out). */
void vkm_reference_run(const struct vkm_gpu *gpu, const struct vkm_stream *stream,
                       uint64_t shuffle);

#endif
