/* The conformance suite: for every kernel, in every variant that the device can run, cases whose
 * outputs are held against the float64 reference. */
#ifndef VKM_CONFORM_H
#define VKM_CONFORM_H

#include "conform/lockstep.h"
#include "kernels/kernels.h"

/* One case as it went. */
struct vkm_conform_case {
    enum vkm_kernel_id kernel;
    const struct vkm_variant *variant;
    uint32_t subgroup_size; /* 0 off the subgroup path */
    const char *name;
    bool passed;
    const char *sentence;        /* what failed; empty when it passed */
    const char *bundle;          /* the folder it was exported to, or NULL */
    struct vkm_lockstep outcome; /* outcome.compare has the worst element */
};

/* All cases of one kernel in one variant and subgroup size. */
struct vkm_conform_variant {
    enum vkm_kernel_id kernel;
    const struct vkm_variant *variant;
    uint32_t subgroup_size; /* 0 off the subgroup path */
    uint32_t cases, failed;
    double nmse;     /* the worst */
    char worst[128]; /* the case that it is from */
};

enum vkm_conform_level {
    VKM_CONFORM_QUICK,
    VKM_CONFORM_BRIEF, /* fewer variants of a kind and fewer row blocks */
    VKM_CONFORM_FULL,  /* large shapes too */
};

struct vkm_conform_params {
    const char *kernels; /* pattern with * and ?; NULL: all */
    const char *cases;
    const char *path;
    const char *weights;
    uint64_t seed;
    enum vkm_conform_level level;
    bool list;              /* report each case as passed, and run none */
    const char *export_dir; /* where failing cases are exported to, or with `list` those listed;
                               NULL: nowhere */
    /* Sees each recorded case first and may take its place: what returns true is neither run nor
     * counted. For tests of the suite itself. */
    bool (*intercept)(void *user, struct vkm_gpu *gpu, struct vkm_stream *stream);
    /* Asked before each test, a kernel in one variant and subgroup size; false leaves it out. */
    bool (*takes)(void *user);
    bool (*stops)(void *user); /* asked before each case; true ends the suite with CANCELLED */
    void (*on_device)(void *user, const vkmoe_device_info *device); /* first */
    void (*on_case)(void *user, const struct vkm_conform_case *result);
    void (*on_variant)(void *user, const struct vkm_conform_variant *result);
    void *user;
};

struct vkm_conform_totals {
    uint32_t cases, failed;
};

/* Runs the suite on a device opened with host_visible; kernels with subgroups run in every size
 * that the device lets us ask for (at level BRIEF, in its own). Cases that fail are counted and
 * reported; the status tells only that the suite could not go on. */
vkmoe_status vkm_conform_run(struct vkm_gpu *gpu, const struct vkm_conform_params *params,
                             struct vkm_conform_totals *totals, vkmoe_error *err);

/* Whether text matches a shell pattern. */
bool vkm_glob(const char *pattern, const char *text);

#endif
