/* Inputs for cases. */
#include "base/rows.h"
#include "conform/case.h"
#include "kernels/ref.h"

#include <string.h>

struct vkm_view vkm_case_floats(struct vkm_suite *s, uint64_t n, float low, float high)
{
    struct vkm_view view = vkm_case_alloc(s, 4 * n);
    float *data = vkm_case_host(view);
    for (uint64_t i = 0; i < view.size / 4; i++)
        data[i] = vkm_random_f32(&s->random, low, high);
    return view;
}

struct vkm_view vkm_case_uints(struct vkm_suite *s, uint64_t n, uint32_t limit)
{
    struct vkm_view view = vkm_case_alloc(s, 4 * n);
    uint32_t *data = vkm_case_host(view);
    for (uint64_t i = 0; i < view.size / 4; i++)
        data[i] = vkm_random_below(&s->random, limit);
    return view;
}

/* Writes rows of `width` random elements, padded; returns the bytes written. */
static uint64_t fill_rows(struct vkm_suite *s, enum vkm_dtype dtype, unsigned char *data,
                          uint64_t rows, uint32_t width, float size)
{
    float *values = vkm_malloc(vkm_gpu_allocator(s->gpu), width, sizeof(*values));
    if (!values)
        vkm_fail_memory(&s->error, width * sizeof(*values), "a case's weights");
    for (uint64_t r = 0; r < vkm_stored_rows(dtype, rows) && values; r++) {
        for (uint32_t i = 0; i < width && r < rows; i++)
            values[i] = vkm_random_f32(&s->random, -size, size);
        vkm_row_store(data, dtype, vkm_ld(width), r, values, r < rows ? width : 0);
    }
    vkm_free(vkm_gpu_allocator(s->gpu), values);
    return vkm_matrix_bytes(dtype, rows, vkm_ld(width));
}

static struct vkm_view typed_rows(struct vkm_suite *s, enum vkm_dtype dtype, uint64_t rows,
                                  uint32_t width, float size)
{
    struct vkm_view view = vkm_case_alloc(s, vkm_matrix_bytes(dtype, rows, vkm_ld(width)));
    if (view.size > 0)
        fill_rows(s, dtype, vkm_case_host(view), rows, width, size);
    return view;
}

struct vkm_view vkm_case_rows(struct vkm_suite *s, uint64_t rows, uint32_t width, float size)
{
    return typed_rows(s, VKM_DTYPE_F32, rows, width, size);
}

struct vkm_view vkm_case_weights(struct vkm_suite *s, uint64_t rows, uint32_t width, float size)
{
    return typed_rows(s, s->dtype, rows, width, size);
}

static void shuffle(struct vkm_random *r, uint32_t *items, uint32_t n)
{
    for (uint32_t i = n; i > 1; i--) {
        uint32_t j = vkm_random_below(r, i), item = items[i - 1];
        items[i - 1] = items[j];
        items[j] = item;
    }
}

struct vkm_view vkm_case_permutation(struct vkm_suite *s, uint32_t n)
{
    struct vkm_view view = vkm_case_alloc(s, 4 * (uint64_t)n);
    uint32_t *items = vkm_case_host(view);
    if (view.size == 0)
        return view;
    for (uint32_t i = 0; i < n; i++)
        items[i] = i;
    shuffle(&s->random, items, n);
    return view;
}

struct vkm_view vkm_case_batch(struct vkm_suite *s, uint32_t n, uint32_t vocab, uint32_t positions,
                               uint32_t sequences)
{
    struct vkm_view view = vkm_case_alloc(s, n * sizeof(struct vkm_row));
    struct vkm_row *rows = vkm_case_host(view);
    for (uint32_t i = 0; i < view.size / sizeof(*rows); i++)
        rows[i] = (struct vkm_row){
            .token = vkm_random_below(&s->random, vocab),
            .position = vkm_random_below(&s->random, positions),
            .sequence = vkm_random_below(&s->random, sequences),
        };
    return view;
}

static uint64_t ffn_bytes(const struct vkm_suite *s, uint32_t hidden, uint32_t width)
{
    return 2 * vkm_matrix_bytes(s->dtype, width, vkm_ld(hidden)) +
           vkm_matrix_bytes(s->dtype, hidden, vkm_ld(width));
}

static void fill_ffn(struct vkm_suite *s, unsigned char *data, uint32_t hidden, uint32_t width)
{
    for (int i = 0; i < 2; i++)
        data += fill_rows(s, s->dtype, data, width, hidden, 3 / sqrtf((float)hidden));
    fill_rows(s, s->dtype, data, hidden, width, 3 / sqrtf((float)width));
}

struct vkm_view vkm_case_ffn(struct vkm_suite *s, uint32_t hidden, uint32_t width)
{
    struct vkm_view view = vkm_case_alloc(s, ffn_bytes(s, hidden, width));
    if (view.size > 0)
        fill_ffn(s, vkm_case_host(view), hidden, width);
    return view;
}

struct vkm_case_ffns vkm_case_ffns(struct vkm_suite *s, uint32_t n, uint32_t hidden, uint32_t width)
{
    uint64_t bytes = ffn_bytes(s, hidden, width);
    struct vkm_view order = vkm_case_permutation(s, n);
    struct vkm_case_ffns f = {
        .weights = vkm_case_alloc_in(s, &s->tables, n * bytes),
        .table = vkm_case_alloc(s, 8 * (uint64_t)n),
    };
    if (s->error.status != VKMOE_OK)
        return f;
    unsigned char *data = vkm_case_host(f.weights);
    uint32_t *table = vkm_case_host(f.table), *at = vkm_case_host(order);
    for (uint32_t e = 0; e < n; e++) {
        uint64_t offset = at[e] * bytes;
        uint64_t address = f.weights.buffer->address + f.weights.offset + offset;
        fill_ffn(s, data + offset, hidden, width);
        table[2 * e] = (uint32_t)address;
        table[2 * e + 1] = (uint32_t)(address >> 32);
    }
    return f;
}

const char *vkm_routing_name(enum vkm_routing routing)
{
    static const char *const names[] = {"even", "skewed", "one", "bounds"};
    return names[routing];
}

struct vkm_view vkm_case_ids(struct vkm_suite *s, uint32_t n_pairs, uint32_t n_experts,
                             enum vkm_routing routing)
{
    struct vkm_view view = vkm_case_uints(s, n_pairs, n_experts);
    uint32_t *ids = vkm_case_host(view);
    for (uint32_t i = 0; i < view.size / 4; i++) {
        uint32_t die = vkm_random_below(&s->random, 8);
        if (routing == VKM_ROUTING_ONE)
            ids[i] = n_experts - 1;
        else if (routing == VKM_ROUTING_SKEWED && die > 0)
            ids[i] = n_experts / 2 + (die == 1 && n_experts > 2);
        else if (routing == VKM_ROUTING_BOUNDS && die == 0)
            ids[i] = i % 2 ? n_experts : 0xffffffffu;
    }
    return view;
}

static void *arena_view(void *user, const struct vkm_view *view, bool written)
{
    (void)user;
    (void)written;
    return view->buffer ? vkm_case_host(*view) : NULL;
}

static const void *arena_address(void *user, uint64_t address)
{
    return vkm_gpu_resolve(user, address);
}

void vkm_case_reference(struct vkm_suite *s, enum vkm_kernel_id kernel, uint32_t rows,
                        const void *params)
{
    struct vkm_ref ref = {
        .user = s->gpu,
        .view = arena_view,
        .address = arena_address,
        .dtype = s->dtype,
        .groups = {1, rows, 1},
    };
    if (s->error.status == VKMOE_OK)
        vkm_kernels.kernels[kernel].reference(&ref, params);
}
