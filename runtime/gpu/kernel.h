/* What a kernel row is made of. The rows themselves are in kernels/table.def. */
#ifndef VKM_KERNEL_H
#define VKM_KERNEL_H

#include "base/dtype.h"

/* A byte range of a buffer: what a kernel's view parameter is bound to. A zeroed view is "absent"
 * and lowers to address 0. */
struct vkm_buffer;
struct vkm_view {
    struct vkm_buffer *buffer;
    uint64_t offset; /* bytes from the buffer's start */
    uint64_t size;   /* bytes */
};

enum vkm_field_kind {
    VKM_FIELD_READ,
    VKM_FIELD_WRITE_F32,
    VKM_FIELD_WRITE_U32,
    VKM_FIELD_UPDATE_F32, /* read and written */
    VKM_FIELD_WRITE_KV,   /* float32, or words that hold numbers of the variant's storage type */
    VKM_FIELD_TABLE,      /* read through addresses found in another view */
    VKM_FIELD_UINT,
    VKM_FIELD_FLOAT,
};

static inline bool vkm_field_is_view(enum vkm_field_kind kind)
{
    return kind < VKM_FIELD_UINT;
}

static inline bool vkm_field_writes(enum vkm_field_kind kind)
{
    return kind == VKM_FIELD_WRITE_F32 || kind == VKM_FIELD_WRITE_U32 ||
           kind == VKM_FIELD_UPDATE_F32 || kind == VKM_FIELD_WRITE_KV;
}

struct vkm_field {
    const char *name;
    enum vkm_field_kind kind;
    uint32_t offset; /* in the C params struct */
};

#define VKM_MAX_FIELDS 24u
#define VKM_MAX_SPEC 5u
#define VKM_MAX_PUSH                                                                               \
    120u /* bytes; the debug variant needs 8 more of the 128 that Vulkan grants                    \
          */

/* How outputs are compared with the reference. Integers always match exactly. */
enum vkm_metric {
    VKM_METRIC_EXACT,
    VKM_METRIC_NMSE,
    VKM_METRIC_PRODUCT,
    VKM_METRIC_HALF,      /* a larger NMSE: of products with activations rounded to 11 bits */
    VKM_METRIC_HALF_SUMS, /* a larger one yet: their sums are rounded so too, a few at a time */
};

enum vkm_path {
#define PATH(name, ...) VKM_PATH_##name,
#include "gpu/paths.def"
#undef PATH
    VKM_PATH_COUNT
};

/* What matrix units multiply at a time, [rows, k] by [k, cols], in one number as shaders take it.
 */
static inline uint32_t vkm_matrix(uint32_t rows, uint32_t cols, uint32_t k)
{
    return rows | cols << 8 | k << 16;
}

static inline uint32_t vkm_matrix_rows(uint32_t matrix)
{
    return matrix & 255;
}

static inline uint32_t vkm_matrix_cols(uint32_t matrix)
{
    return matrix >> 8 & 255;
}

static inline uint32_t vkm_matrix_k(uint32_t matrix)
{
    return matrix >> 16;
}

/* What happens to activations before they are multiplied. */
enum vkm_rounding {
    VKM_ROUNDING_NONE,
    VKM_ROUNDING_F16,      /* to 11 bits of mantissa, ties to even; weights too */
    VKM_ROUNDING_F16_SUMS, /* activations likewise; sums of products are the device's own error */
    VKM_ROUNDING_INT8, /* to 8 bits, groups of 32 with a scale: vkm_round_int8 in kernels/ref.h */
};

/* One SPIR-V module of a kernel. */
struct vkm_variant {
    enum vkm_dtype
        dtype; /* of the weights or the KV cache; VKM_DTYPE_COUNT where there is neither */
    enum vkm_path path;
    const uint32_t *code;
    size_t code_size;           /* bytes */
    const uint32_t *debug_code; /* the same with every address checked against the views */
    size_t debug_code_size;
};

/* Hands a reference kernel its memory: the views of its params as host pointers, and addresses
 * found in tables translated. With `magnitude` set, loads return absolute values, which turns a
 * product into the sum of |a b| that bounds its rounding. */
struct vkm_ref {
    void *user;
    void *(*view)(void *user, const struct vkm_view *view, bool written);
    const void *(*address)(void *user, uint64_t address);
    enum vkm_dtype dtype; /* of the weights or the KV cache */
    uint32_t groups[3];   /* workgroup counts of the dispatch */
    bool magnitude;
    enum vkm_rounding rounding; /* of activations, by the path under test */
};

/* Computes what the kernel computes, in float64, one workgroup grid at a time. */
typedef void vkm_ref_fn(const struct vkm_ref *ref, const void *params);

struct vkm_kernel {
    const char *name;
    const struct vkm_field *fields; /* in push-constant order */
    uint32_t n_fields;
    uint32_t push_size;   /* bytes: 8 for each view, 4 for each scalar */
    uint32_t params_size; /* bytes of the C params struct */
    uint32_t n_spec;      /* specialisation constants 0 .. n_spec - 1; 0 is the workgroup size */
    enum vkm_metric metric;
    bool has_dtype; /* variants differ in the storage type of what they read or write */
    vkm_ref_fn *reference;
    const struct vkm_variant *variants;
    uint32_t n_variants;
};

/* How the outputs of one of its variants are compared. */
enum vkm_metric vkm_kernel_metric(const struct vkm_kernel *kernel,
                                  const struct vkm_variant *variant);

/* A set of kernels, indexed by kernel id. */
struct vkm_kernel_set {
    const struct vkm_kernel *kernels;
    uint32_t count;
};

/* The variant of a dtype and path, or NULL. Kernels without storage types ignore dtype. */
const struct vkm_variant *vkm_kernel_variant(const struct vkm_kernel *kernel, enum vkm_dtype dtype,
                                             enum vkm_path path);

#endif
