#include "stream_fixture.h"

#define FIELD(params, field, kind)                                                                 \
    {                                                                                              \
#field, VKM_FIELD_##kind, (uint32_t)offsetof(struct params_##params, field)                \
    }

static const struct vkm_field mix_fields[] = {FIELD(mix, a, READ), FIELD(mix, b, READ),
                                              FIELD(mix, y, WRITE_F32), FIELD(mix, seed, UINT)};
static const struct vkm_field update_fields[] = {
    FIELD(update, a, READ), FIELD(update, y, UPDATE_F32), FIELD(update, seed, UINT)};
static const struct vkm_field lookup_fields[] = {
    FIELD(lookup, ids, READ), FIELD(lookup, pages, TABLE), FIELD(lookup, y, WRITE_U32)};
static const struct vkm_field matrix_fields[] = {
    FIELD(matrix, w, READ), FIELD(matrix, y, WRITE_F32), FIELD(matrix, scale, FLOAT)};

static const struct vkm_variant plain_variants[] = {
    {.dtype = VKM_DTYPE_COUNT, .path = VKM_PATH_BASE}};
static const struct vkm_variant matrix_variants[] = {
    {.dtype = VKM_DTYPE_F32, .path = VKM_PATH_BASE},
    {.dtype = VKM_DTYPE_F32, .path = VKM_PATH_SUBGROUP},
    {.dtype = VKM_DTYPE_BF16, .path = VKM_PATH_BASE},
};

static uint32_t stir(uint32_t hash, const struct vkm_ref *ref, const struct vkm_view *view)
{
    const unsigned char *bytes = ref->view(ref->user, view, false);
    for (uint64_t i = 0; bytes && i < view->size; i++)
        hash = (hash ^ bytes[i]) * 16777619u + 1;
    return hash;
}

static void spread(uint32_t hash, const struct vkm_ref *ref, const struct vkm_view *y)
{
    unsigned char *bytes = ref->view(ref->user, y, true);
    for (int i = 0; i < 3; i++)
        hash = (hash ^ ref->groups[i]) * 16777619u + 1;
    for (uint64_t i = 0; bytes && i < y->size; i++) {
        hash = hash * 1664525u + 1013904223u;
        bytes[i] = (unsigned char)(hash >> 24);
    }
}

static void mix(const struct vkm_ref *ref, const void *params)
{
    const struct params_mix *p = params;
    spread(stir(stir(p->seed, ref, &p->a), ref, &p->b), ref, &p->y);
}

static void update(const struct vkm_ref *ref, const void *params)
{
    const struct params_update *p = params;
    spread(stir(stir(p->seed, ref, &p->a), ref, &p->y), ref, &p->y);
}

static void lookup(const struct vkm_ref *ref, const void *params)
{
    const struct params_lookup *p = params;
    spread(stir(stir(1, ref, &p->ids), ref, &p->pages), ref, &p->y);
}

static void matrix(const struct vkm_ref *ref, const void *params)
{
    const struct params_matrix *p = params;
    spread(stir(2, ref, &p->w), ref, &p->y);
}

#define KERNEL(id, variants_, weights)                                                             \
    {                                                                                              \
        .name = #id, .fields = id##_fields, .n_fields = VKM_COUNT(id##_fields),                    \
        .params_size = sizeof(struct params_##id), .n_spec = 1, .has_dtype = (weights),            \
        .reference = (id), .variants = (variants_), .n_variants = VKM_COUNT(variants_)             \
    }

static const struct vkm_kernel kernels[FIXTURE_KERNELS] = {
    [MIX] = KERNEL(mix, plain_variants, false),
    [UPDATE] = KERNEL(update, plain_variants, false),
    [LOOKUP] = KERNEL(lookup, plain_variants, false),
    [MATRIX] = KERNEL(matrix, matrix_variants, true),
};

const struct vkm_kernel_set fixture_kernels = {kernels, FIXTURE_KERNELS};

const struct vkm_caps fixture_caps = {
    .max_groups = {100, 200, 300}, .max_invocations = 128, .paths = {[VKM_PATH_BASE] = true}};

struct vkm_buffer fixture_buffer(uint64_t size)
{
    static uint64_t next = 1 << 20;
    struct vkm_buffer buffer = {.size = size, .address = next};
    next += vkm_align_up(size, 256);
    return buffer;
}

void fixture_init(struct fixture *f)
{
    vkm_stream_init(&f->stream, &fixture_kernels, NULL);
    vkm_recorder_init(&f->recorder, &f->stream, &fixture_caps);
}

void fixture_finish(struct fixture *f)
{
    vkm_recorder_finish(&f->recorder);
    vkm_stream_finish(&f->stream);
}

void fixture_mix(struct fixture *f, struct vkm_view a, struct vkm_view b, struct vkm_view y)
{
    struct params_mix p = {a, b, y, 1};
    struct vkm_dispatch d = {.kernel = MIX, .spec = {64}, .groups = {1, 1, 1}, .params = &p};
    vkm_record(&f->recorder, &d);
}

void fixture_update(struct fixture *f, struct vkm_view a, struct vkm_view y)
{
    struct params_update p = {a, y, 1};
    struct vkm_dispatch d = {.kernel = UPDATE, .spec = {64}, .groups = {1, 1, 1}, .params = &p};
    vkm_record(&f->recorder, &d);
}

const char *fixture_barriers(const struct fixture *f)
{
    static char text[256];
    size_t n = f->stream.ops.count;
    for (size_t i = 0; i < n && i < sizeof(text) - 1; i++)
        text[i] = f->stream.ops.items[i].barrier ? 'b' : '.';
    text[n < sizeof(text) ? n : sizeof(text) - 1] = '\0';
    return text;
}
