/* The launch table: how each kernel is launched on each class of device, as data, and the choices
 * of one device that was measured. */
#ifndef VKM_LAUNCH_H
#define VKM_LAUNCH_H

#include "gpu/gpu.h"
#include "kernels/kernels.h"

/* What decides how kernels are launched: who computes, and on which path. */
enum vkm_launch_class {
    VKM_LAUNCH_CPU_BASE,
    VKM_LAUNCH_CPU_SUBGROUP,
    VKM_LAUNCH_GPU_BASE,
    VKM_LAUNCH_GPU_SUBGROUP,
    VKM_LAUNCH_CPU_WIDE,
    VKM_LAUNCH_CLASSES
};
enum vkm_launch_class vkm_launch_class(const struct vkm_caps *caps);
/* The least that a device of a class has. */
struct vkm_caps vkm_launch_class_caps(enum vkm_launch_class class);

/* The best path with subgroup arithmetic that the device takes, or BASE. */
enum vkm_path vkm_launch_team_path(const struct vkm_caps *caps);

struct vkm_geometry {
    uint32_t lanes;   /* invocations of a workgroup; products on the path WIDE take a subgroup */
    uint32_t outputs; /* products of one row: outputs that a team of lanes owns, on the path WIDE a
                         lane (NR) */
    uint32_t panels;  /* the same for quantised weights, of which half a panel at a time makes gaps
                         in the stream of memory */
    uint32_t several; /* the same where several rows share the weights, of any type; not tuned */
};

/* What is chosen for the device, not for a kernel. */
#define VKM_SETTINGS(S)                                                                            \
    S(tiled_rows)     /* rows above which products are tiled */                                    \
    S(grouped_rows)   /* rows above which routed experts are, if fewer, where rows share some */   \
    S(tile_rows)      /* of the highest tiles of products, where shared memory has room */         \
    S(attention_rows) /* that one attention workgroup takes, at most */                            \
    S(attention_sums) /* pairs of elements times rows that one of its lanes sums up */             \
    S(split_groups)   /* attention workgroups that keep the device busy, or each core of a CPU */  \
    S(split_span)     /* positions of a split at least */
enum vkm_setting {
#define S(name) VKM_SETTING_##name,
    VKM_SETTINGS(S)
#undef S
        VKM_SETTING_COUNT
};
extern const char *const vkm_setting_names[VKM_SETTING_COUNT];

/* Launches are tuned by the storage type of the weights, the last of these for kernels that have
 * none. */
enum { VKM_TUNED_TYPES = VKM_DTYPE_COUNT + 1 };
enum vkm_dtype vkm_tuned_type(uint32_t kernel, enum vkm_dtype dtype);

/* Choices of one device in place of the table's. */
struct vkm_tuning {
    enum vkm_launch_class launch_class; /* that they were measured in, and hold for */
    /* lanes 0: the table's. Those of products hold for one row of activations. */
    struct vkm_geometry kernels[VKM_KERNEL_COUNT][VKM_TUNED_TYPES];
    uint32_t settings[VKM_SETTING_COUNT]; /* 0: the table's */
    uint64_t hash;                        /* of the text it was read from; 0: of none */
};
/* How many there are. */
uint32_t vkm_tuning_choices(const struct vkm_tuning *t);

/* The table's, or those of caps->tuning where it has any. `tuned`: whether it may; dtype: of the
 * weights, ignored by kernels without. */
struct vkm_geometry vkm_launch_geometry(const struct vkm_caps *caps, uint32_t kernel,
                                        enum vkm_dtype dtype, bool tuned);
uint32_t vkm_launch_setting(const struct vkm_caps *caps, enum vkm_setting setting);

/* Kernels whose geometry may be tuned: products of few rows, by lanes and outputs, and kernels with
 * a workgroup for each row, by lanes. */
bool vkm_launch_is_product(uint32_t kernel);
bool vkm_launch_is_tunable(uint32_t kernel);
/* Whether a device grants it, and the kernel can do with it. */
bool vkm_launch_fits(const struct vkm_caps *caps, uint32_t kernel, struct vkm_geometry geometry);
bool vkm_launch_setting_fits(enum vkm_setting setting, uint32_t value);

/* --- as text (tuning.c) --- */

/* What the library is: its version and everything that decides what a geometry is worth. */
uint64_t vkm_launch_build(void);

/* A text that holds what is tuned, after `identity`: lines that tell what it was measured on, each
 * ended. NULL when memory runs out; else the caller's (vkm_free). */
char *vkm_tuning_format(const vkmoe_allocator *a, const struct vkm_tuning *t, const char *identity);

enum vkm_tuning_verdict {
    VKM_TUNING_GOOD,
    VKM_TUNING_DAMAGED, /* not what was written */
    VKM_TUNING_OTHERS,  /* of another device, driver, build or form */
    VKM_TUNING_BEYOND,  /* asks for what the device does not grant */
};
/* Reads it back; *t is zeroed unless it is good. */
enum vkm_tuning_verdict vkm_tuning_parse(const char *text, size_t size, const char *identity,
                                         const struct vkm_caps *caps, struct vkm_tuning *t);

#endif
