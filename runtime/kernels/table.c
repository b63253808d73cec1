#include "base/rows.h"
#include "kernels/kernels.h"

/* Made by the build: for each kernel its SPIR-V and `static const struct vkm_variant
 * variants_NAME[]`. */
#include "vkm_spirv.inc"

_Static_assert(VKM_PAD % VKM_GROUP == 0, "rows end with a group");

/* What table.def's words stand for. */
#define HAS_NONE false
#define HAS_WEIGHTS true
#define HAS_KV true

#define FIELD(kernel, field, kind)                                                                 \
    {#field, VKM_FIELD_##kind, (uint32_t)offsetof(struct vkm_params_##kernel, field)},
#define FIELD_R(kernel, field) FIELD(kernel, field, READ)
#define FIELD_W(kernel, field) FIELD(kernel, field, WRITE_F32)
#define FIELD_I(kernel, field) FIELD(kernel, field, WRITE_U32)
#define FIELD_X(kernel, field) FIELD(kernel, field, UPDATE_F32)
#define FIELD_T(kernel, field) FIELD(kernel, field, TABLE)
#define FIELD_C(kernel, field) FIELD(kernel, field, WRITE_KV)
#define FIELD_U(kernel, field) FIELD(kernel, field, UINT)
#define FIELD_F(kernel, field) FIELD(kernel, field, FLOAT)

#define ADDRESS_BYTES(kernel, field) +8u
#define SCALAR_BYTES(kernel, field) +4u

#define KERNEL(name, source, dtypes, paths, n_spec, metric, defines)                               \
    static const struct vkm_field fields_##name[] = {VKM_PARAMS_##name(                            \
        name, FIELD_R, FIELD_W, FIELD_I, FIELD_X, FIELD_T, FIELD_C, FIELD_U, FIELD_F)};            \
    enum {                                                                                         \
        push_##name =                                                                              \
            0 VKM_PARAMS_##name(name, ADDRESS_BYTES, ADDRESS_BYTES, ADDRESS_BYTES, ADDRESS_BYTES,  \
                                ADDRESS_BYTES, ADDRESS_BYTES, SCALAR_BYTES, SCALAR_BYTES)          \
    };                                                                                             \
    _Static_assert(push_##name <= VKM_MAX_PUSH, #name ": too many bytes of push constants");       \
    _Static_assert(VKM_COUNT(fields_##name) <= VKM_MAX_FIELDS, #name ": too many parameters");     \
    _Static_assert((n_spec) <= VKM_MAX_SPEC, #name ": too many specialisation constants");
#include "kernels/table.def"
#undef KERNEL

static const struct vkm_kernel kernels[] = {
#define KERNEL(name_, source, dtypes, paths, n_spec_, metric_, defines)                            \
    {                                                                                              \
        .name = #name_,                                                                            \
        .fields = fields_##name_,                                                                  \
        .n_fields = (uint32_t)VKM_COUNT(fields_##name_),                                           \
        .push_size = push_##name_,                                                                 \
        .params_size = (uint32_t)sizeof(struct vkm_params_##name_),                                \
        .n_spec = n_spec_,                                                                         \
        .metric = VKM_METRIC_##metric_,                                                            \
        .has_dtype = HAS_##dtypes,                                                                 \
        .reference = vkm_ref_##name_,                                                              \
        .variants = variants_##name_,                                                              \
        .n_variants = (uint32_t)VKM_COUNT(variants_##name_),                                       \
    },
#include "kernels/table.def"
#undef KERNEL
};

const struct vkm_kernel_set vkm_kernels = {kernels, VKM_KERNEL_COUNT};
