/* Devices: what there is, and opening one. */
#ifndef VKMOE_DEVICE_H
#define VKMOE_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vkmoe/log.h"
#include "vkmoe/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a device is, in the order in which one is preferred as the default. */
typedef enum vkmoe_device_kind {
    VKMOE_DEVICE_DISCRETE,
    VKMOE_DEVICE_INTEGRATED,
    VKMOE_DEVICE_VIRTUAL,
    VKMOE_DEVICE_CPU,
    VKMOE_DEVICE_OTHER,
    VKMOE_DEVICE_REFERENCE, /* vkmoe's own float64 executor on the host; no Vulkan involved */
} vkmoe_device_kind;

/* One of the memories that a device reaches. */
typedef struct vkmoe_heap_info {
    uint64_t size;     /* bytes */
    uint64_t budget;   /* bytes this process may hold by the driver's estimate; size if unknown */
    bool device_local; /* the device's own; else the host's, reached over the bus */
} vkmoe_heap_info;

/* Vulkan has no more (VK_MAX_MEMORY_HEAPS). */
#define VKMOE_MAX_HEAPS 16

/* Whether a path may be trusted on a device. */
typedef enum vkmoe_path_state {
    VKMOE_PATH_MISSING,  /* the device cannot run it, or this build lacks it */
    VKMOE_PATH_TRUSTED,  /* it needs no test */
    VKMOE_PATH_UNTESTED, /* it is tested before its first use */
    VKMOE_PATH_PASSED,   /* its self-test passed with this driver */
    VKMOE_PATH_FAILED,   /* its self-test failed or crashed with this driver: it is not used */
} vkmoe_path_state;

/* One way of computing products that a device may offer; later ones are better where they run. */
typedef struct vkmoe_path_info {
    char name[16];          /* "base", "subgroup", ..., as the parameter `paths` takes it */
    vkmoe_path_state state; /* whether it may be trusted */
    bool suits;       /* used without being asked for, once trusted: the driver calls it fast */
    bool used;        /* by the device that was opened; false in a listing */
    char reason[256]; /* why it is missing, does not suit or failed; "" where all is well */
} vkmoe_path_info;

/* Room for paths; there are fewer. */
#define VKMOE_MAX_PATHS 8

/* What there is to know about a device. */
typedef struct vkmoe_device_info {
    uint32_t index;           /* position in the listing, as --device takes it */
    vkmoe_device_kind kind;   /* as the driver says */
    char name[256];           /* as the driver words it */
    char driver[256];         /* name and version, as the driver words them */
    char uuid[37];            /* deviceUUID, lower-case hexadecimal with dashes */
    uint32_t driver_id;       /* VkDriverId */
    uint32_t driver_version;  /* as the driver numbers it: a number to compare, not to read */
    uint32_t api_version;     /* VK_MAKE_API_VERSION form */
    bool usable;              /* Vulkan 1.3, with a queue for computing */
    char reason[256];         /* why it is not usable, or why it was or was not chosen as default */
    bool is_default;          /* opened where nothing is selected */
    uint32_t subgroup_size;   /* invocations that run together, unless asked otherwise */
    uint32_t subgroup_min;    /* least that can be asked for */
    uint32_t subgroup_max;    /* most that can be asked for */
    uint32_t subgroup_sizes;  /* the sum of all sizes, each a power of two, that the subgroup path
                                 can run with; 0: none */
    bool subgroup_arithmetic; /* the subgroup path can run */
    bool memory_budget;       /* VK_EXT_memory_budget */
    bool tuned;               /* kernels are launched as a tuning file says (vkmoe_bench_tune) */
    uint64_t tuning;          /* that file's hash, which is its last line; 0: none */
    uint32_t n_tuned;         /* choices that it has, in a listing; 0: none was better than the
                                 library's own */
    bool transfer_queue;      /* a queue family for copies alone */
    uint32_t shared_memory;   /* bytes per workgroup */
    uint32_t max_invocations; /* per workgroup */
    uint64_t max_allocation;  /* bytes in one allocation */
    uint32_t n_heaps;         /* of the entries that follow */
    vkmoe_heap_info heaps[VKMOE_MAX_HEAPS]; /* in the driver's order */
    /* In a listing, the path on which the device, opened with the same params, decodes; one that is
     * still to be tested counts as passed. */
    char decode_path[16];
    char f32_path[16];       /* likewise, that multiplies many rows by weights in float32, */
    char half_path[16];      /* in 16 bits, */
    char quantised_path[16]; /* and quantised */
    uint32_t n_paths;        /* of the entries that follow */
    vkmoe_path_info paths[VKMOE_MAX_PATHS]; /* the least demanding first */
} vkmoe_device_info;

/* How a device is opened. */
typedef struct vkmoe_device_params {
    const vkmoe_allocator *allocator; /* NULL: the C library; must outlive the device */
    const vkmoe_log *log;             /* NULL: silent; must outlive the device */
    /* Index, UUID, UUID/driver_id, part of a name (any case), "reference"; NULL: the environment's
     * VKMOE_DEVICE if set, else discrete before integrated before virtual before CPU. */
    const char *selector;
    bool validation;      /* Khronos validation layer on; its messages are logged as errors */
    bool check_addresses; /* slow: every shader checks each address it touches */
    bool force_staging;   /* upload through a staging buffer even where memory is mapped */
    bool no_subgroups;    /* without the path "subgroup" */
    /* Paths, separated by commas: -NAME never; +NAME wherever the device can run it, once its
     * self-test passed; ++NAME likewise, without a self-test. NULL or "": those that suit the
     * device and passed their self-test. */
    const char *paths;
    uint32_t tiled_rows;      /* steps of more rows use tiled products; 0: as suits the device */
    uint32_t split_positions; /* attention is split into runs of so many positions, rounded up to a
                                 multiple of 64; 0: as suits the device */
    const char *cache_dir;    /* pipelines, verdicts of self-tests, tuning; NULL: the user's cache
                                 folder, "": none */
    bool no_tuning;      /* launch kernels as the library's own table says, whatever tuning file
                            is in the cache folder; also with VKMOE_NO_TUNING in the environment */
    double hang_seconds; /* a submit that takes longer counts as hung, and a self-test that says
                            nothing for so long; 0: 120 s */
    /* Asked ten times a second while a path is tested; false ends that, and vkmoe_device_open with
     * CANCELLED. NULL: none. */
    bool (*go_on)(void *user);
    void *user; /* handed to go_on */
} vkmoe_device_params;

/* Lists the devices of every installed driver, in the order of --device's index. Writes at most
 * `capacity` entries and, on success, the full count to *count; infos may be NULL when capacity is
 * 0. Fails with NO_DEVICE when there is no Vulkan loader or no driver. Thread-safe. */
vkmoe_status vkmoe_device_list(const vkmoe_device_params *params, vkmoe_device_info *infos,
                               size_t capacity, size_t *count, vkmoe_error *err);

/* Whether `paths` can be read as vkmoe_device_params.paths: else INVALID_ARGUMENT. NULL can.
 * Thread-safe. */
vkmoe_status vkmoe_paths_check(const char *paths, vkmoe_error *err);

/* An opened device. Calls that use one device (models, sessions) must not run at the same time in
 * two threads unless said otherwise; different devices are independent. */
typedef struct vkmoe_device vkmoe_device;

/* params may be NULL. Fails with NO_DEVICE, NOT_FOUND for a selector that matches nothing or more
 * than one device, UNSUPPORTED for a device below Vulkan 1.3 or one that cannot run a path asked
 * for, INVALID_ARGUMENT for paths that cannot be read, CANCELLED as params->go_on wants it.
 *
 * A path that needs a self-test and would be used for the first time with this driver is tested by
 * a program of its own (the environment's VKMOE_SELFTEST, else libexec/vkmoe/vkmoe-selftest of the
 * installation), which takes seconds on a GPU; the log is told before (NOTICE). Its verdict is kept
 * in the cache folder. If it fails, crashes or hangs, a warning is logged and the device is opened
 * without the path; one that hangs may only have been slow, and is tested again the next time. */
vkmoe_status vkmoe_device_open(const vkmoe_device_params *params, vkmoe_device **out,
                               vkmoe_error *err);

/* Accepts NULL. Models made on the device must be destroyed before. */
void vkmoe_device_close(vkmoe_device *device);

/* What was opened; owned by the device. */
const vkmoe_device_info *vkmoe_device_get_info(const vkmoe_device *device);

#ifdef __cplusplus
}
#endif

#endif
