#include "launches.h"

#include <string.h>

#define LARGEST_PARAMS 1024

static uint32_t scalar(const char *name, const struct test_launch *launch)
{
    const struct {
        const char *name;
        uint32_t value;
    } sizes[] = {
        {"ld", 2048},
        {"k_ld", 2048},
        {"n_out", 2048},
        {"y_ld", 2048},
        {"x_ld", 2048},
        {"width", 1408},
        {"h_ld", 1408},
        {"shared_width", 2816},
        {"shared_ld", 2816},
        {"n_heads", 2048 / launch->head_dim},
        {"n_kv_heads", 2048 / launch->head_dim},
        {"head_dim", launch->head_dim},
        {"qkv_ld", 6144},
        {"vocab", 102400},
        {"n_rows", launch->n_rows},
        {"n_pairs", launch->n_rows * 6},
        {"k", 6},
        {"use_bias", 0},
        {"use_index", 0},
    };
    for (size_t i = 0; i < VKM_COUNT(sizes); i++) {
        if (strcmp(name, sizes[i].name) == 0)
            return sizes[i].value;
    }
    return 64;
}

void test_record_launch(struct vkm_recorder *r, struct test_launch launch)
{
    static struct vkm_buffer memory = {.size = UINT64_C(1) << 40, .address = UINT64_C(1) << 20};
    const struct vkm_kernel *kernel = &vkm_kernels.kernels[launch.kernel];
    _Alignas(16) unsigned char params[LARGEST_PARAMS] = {0};
    for (uint32_t i = 0; i < kernel->n_fields; i++) {
        const struct vkm_field *field = &kernel->fields[i];
        struct vkm_view view = vkm_buffer_view(&memory);
        uint32_t value = scalar(field->name, &launch);
        float one = 1;
        if (vkm_field_is_view(field->kind))
            memcpy(params + field->offset, &view, sizeof(view));
        else if (field->kind == VKM_FIELD_UINT)
            memcpy(params + field->offset, &value, sizeof(value));
        else
            memcpy(params + field->offset, &one, sizeof(one));
    }
    enum vkm_dtype weights = kernel->has_dtype ? launch.dtype : VKM_DTYPE_F32;
    struct vkm_tiling tiling = vkm_moe_tiling(r->caps, weights, launch.n_rows);
    struct vkm_launch l = {.n_rows = launch.n_rows,
                           .dtype = launch.dtype,
                           .indirect = {&memory, 0, 12},
                           .tile_rows = vkm_tiling_most(&tiling),
                           .tile_cols = tiling.cols,
                           .lists = tiling.n_heights};
    vkm_op(r, launch.kernel, l, params);
}

bool test_is_launched(const struct vkm_caps *caps, enum vkm_kernel_id kernel,
                      const struct vkm_variant *variant)
{
    struct vkm_stream stream;
    struct vkm_recorder recorder;
    bool launched = false;
    vkm_stream_init(&stream, &vkm_kernels, NULL);
    vkm_recorder_init(&recorder, &stream, caps);
    test_record_launch(&recorder, (struct test_launch){kernel, variant->dtype, 1, 128});
    if (vkm_recorder_status(&recorder, NULL) == VKMOE_OK && stream.ops.count == 1)
        launched = &vkm_kernels.kernels[kernel].variants[stream.ops.items[0].variant] == variant;
    vkm_recorder_finish(&recorder);
    vkm_stream_finish(&stream);
    return launched;
}
