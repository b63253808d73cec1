/* Launch geometry: which variant, workgroup size and specialisation constants each kernel gets, and
 * how many workgroups. Everything that was chosen by measurement stands in the first section. */
#include "kernels/ops.h"

#include "base/rows.h"

/* --- choices --- */

/* Matrix-vector products: lanes in a workgroup, and outputs that a team of lanes owns (NR). */
struct gemv_shape {
    uint32_t lanes;
    uint32_t outputs;
    uint32_t swiglu_outputs; /* where each output is two products */
    uint32_t swiglu_panels;  /* likewise, of one row of activations with quantised weights: half a
                                panel at a time makes gaps in the stream of memory */
};
static const struct gemv_shape gemv_base = {64, 4, 2, 2};
static const struct gemv_shape gemv_subgroup_cpu = {32, 8, 4, VKM_PANEL_ROWS};
static const struct gemv_shape gemv_subgroup_gpu = {128, 4, 2, 2};

/* Batch rows that a team handles at once (RB). */
static uint32_t gemv_row_block(uint32_t n_rows)
{
    return n_rows <= 1 ? 1 : n_rows <= 2 ? 2 : n_rows <= 4 ? 4 : 8;
}

uint32_t vkm_gemm_threshold(const struct vkm_caps *caps)
{
    if (caps->tiled_rows > 0)
        return caps->tiled_rows;
    return caps->cpu ? 16 : 32;
}

/* Tiled products go through shared memory, except on CPU drivers, for which that is slow. */
static bool gemm_by_subgroup(const struct vkm_caps *caps)
{
    return caps->cpu && caps->paths[VKM_PATH_SUBGROUP];
}

enum {
    LANES_ROW = 128,        /* kernels with one workgroup per row */
    LANES_SMALL = 64,       /* those whose rows are short: a list of experts, a head */
    LANES_CUT = 1024,       /* at most, for the kernel that finds the sampler's cut */
    LANES_GEMM = 128,       /* fixed by lib/gemm_shared.glsl */
    GEMM_SUBGROUPS = 4,     /* columns of a tile / those of a block in lib/gemm_team.glsl */
    ATTENTION_ROWS = 4,     /* at most, of one attention workgroup, and */
    ATTENTION_ROWS_CPU = 2, /* where LLVM 19 ends the process at four, for want of mask registers */
    ATTENTION_SUMS = 8,     /* pairs of elements that one of its lanes sums up, */
    ATTENTION_SUMS_CPU = 16, /* where there are no registers to run out of */
    SPLIT_GROUPS = 1024,     /* attention workgroups that keep a GPU busy, of which Vulkan does not
                                tell the size, and */
    SPLIT_GROUPS_CORE = 4,   /* each core of a CPU */
    SPLIT_SPAN = 256,        /* positions of a split at least, */
    SPLIT_SPAN_CPU = 1024,   /* where a dispatch costs more */
    SPLIT_SPAN_MOST = 32768, /* positions of a split at most: Mesa 22's lavapipe leaves its loops
                                after 65535 turns in all */
    SPLIT_MAX = 64           /* splits, for each of which a row keeps a part */
};

/* --- geometry --- */

typedef void geometry_fn(const struct vkm_caps *caps, const struct vkm_launch *launch,
                         const void *params, struct vkm_dispatch *d);

static void set_groups(struct vkm_dispatch *d, uint32_t lanes, uint32_t x, uint32_t y)
{
    d->spec[0] = lanes;
    d->groups[0] = x;
    d->groups[1] = y;
    d->groups[2] = 1;
}

/* Moves what x cannot hold to z, as team_index and gemm.comp count it. */
static void fold_groups(const struct vkm_caps *caps, struct vkm_dispatch *d)
{
    d->groups[2] = vkm_ceil_div(d->groups[0], caps->max_groups[0]);
    if (d->groups[2] > 1)
        d->groups[0] = vkm_ceil_div(d->groups[0], d->groups[2]);
}

/* One workgroup per row, whatever the parameters. */
static void geometry_rows(const struct vkm_caps *caps, const struct vkm_launch *launch,
                          const void *params, struct vkm_dispatch *d)
{
    (void)caps, (void)params;
    set_groups(d, LANES_ROW, 1, launch->n_rows);
}
#define geometry_embed geometry_rows
#define geometry_rmsnorm geometry_rows
#define geometry_sample geometry_rows
#define geometry_token_loss geometry_rows

static void geometry_small_rows(const struct vkm_caps *caps, const struct vkm_launch *launch,
                                const void *params, struct vkm_dispatch *d)
{
    (void)caps, (void)params;
    set_groups(d, LANES_SMALL, 1, launch->n_rows);
}
#define geometry_softmax geometry_small_rows
#define geometry_topk geometry_small_rows
#define geometry_topk_steered geometry_small_rows

static void geometry_route_count(const struct vkm_caps *caps, const struct vkm_launch *launch,
                                 const void *params, struct vkm_dispatch *d)
{
    const struct vkm_params_route_count *p = params;
    (void)caps, (void)launch;
    set_groups(d, LANES_SMALL, vkm_ceil_div(p->n, LANES_SMALL),
               vkm_ceil_div(p->n_rows, VKM_COUNT_ROWS));
}

static uint32_t swiglu_outputs(const struct gemv_shape *shape, enum vkm_dtype dtype,
                               uint32_t row_block)
{
    bool panels = row_block == 1 && vkm_dtype_is_quantised(dtype);
    return panels ? shape->swiglu_panels : shape->swiglu_outputs;
}

/* n_out outputs of each row: the path, the team's shape, and how many workgroups that makes. */
static void set_gemv(const struct vkm_caps *caps, struct vkm_dispatch *d, uint32_t n_out,
                     bool swiglu, uint32_t row_block, uint32_t n_rows)
{
    const struct gemv_shape *shape = &gemv_base;
    uint32_t teams = 1;
    if (caps->paths[VKM_PATH_SUBGROUP]) {
        shape = caps->cpu ? &gemv_subgroup_cpu : &gemv_subgroup_gpu;
        d->path = VKM_PATH_SUBGROUP;
        teams = vkm_max_u32(1, shape->lanes / caps->subgroup_size);
    }
    uint32_t lanes = vkm_max_u32(shape->lanes, caps->subgroup_size);
    uint32_t outputs = swiglu ? swiglu_outputs(shape, d->dtype, row_block) : shape->outputs;
    set_groups(d, lanes, vkm_ceil_div(n_out, outputs * teams), vkm_ceil_div(n_rows, row_block));
    fold_groups(caps, d);
    d->spec[1] = outputs;
    d->spec[2] = row_block;
}

static void geometry_gemv(const struct vkm_caps *caps, const struct vkm_launch *launch,
                          const void *params, struct vkm_dispatch *d)
{
    const struct vkm_params_gemv *p = params;
    (void)launch;
    set_gemv(caps, d, p->y_ld, false, gemv_row_block(p->n_rows), p->n_rows);
}

static void geometry_gemv_add(const struct vkm_caps *caps, const struct vkm_launch *launch,
                              const void *params, struct vkm_dispatch *d)
{
    const struct vkm_params_gemv_add *p = params;
    (void)launch;
    set_gemv(caps, d, p->n_out, false, gemv_row_block(p->n_rows), p->n_rows);
}

static void geometry_ffn_gemv_up(const struct vkm_caps *caps, const struct vkm_launch *launch,
                                 const void *params, struct vkm_dispatch *d)
{
    const struct vkm_params_ffn_gemv_up *p = params;
    (void)launch;
    set_gemv(caps, d, p->h_ld, true, gemv_row_block(p->n_rows), p->n_rows);
}

static void geometry_moe_gemv_up(const struct vkm_caps *caps, const struct vkm_launch *launch,
                                 const void *params, struct vkm_dispatch *d)
{
    const struct vkm_params_moe_gemv_up *p = params;
    (void)launch;
    set_gemv(caps, d, p->h_ld, true, 1, p->n_pairs);
}

static void geometry_moe_gemv_down(const struct vkm_caps *caps, const struct vkm_launch *launch,
                                   const void *params, struct vkm_dispatch *d)
{
    const struct vkm_params_moe_gemv_down *p = params;
    set_gemv(caps, d, p->n_out, false, 1, launch->n_rows);
}

static uint32_t set_gemm_path(const struct vkm_caps *caps, struct vkm_dispatch *d)
{
    if (!gemm_by_subgroup(caps))
        return LANES_GEMM;
    d->path = VKM_PATH_SUBGROUP;
    return vkm_max_u32(caps->subgroup_size, vkm_min_u32(GEMM_SUBGROUPS * caps->subgroup_size, 128));
}

static void set_gemm(const struct vkm_caps *caps, struct vkm_dispatch *d, uint32_t n_out,
                     uint32_t n_rows)
{
    set_groups(d, set_gemm_path(caps, d), vkm_ceil_div(n_out, VKM_TILE_COLS),
               vkm_ceil_div(n_rows, VKM_TILE_ROWS));
    fold_groups(caps, d);
}

static void geometry_gemm(const struct vkm_caps *caps, const struct vkm_launch *launch,
                          const void *params, struct vkm_dispatch *d)
{
    const struct vkm_params_gemm *p = params;
    (void)launch;
    set_gemm(caps, d, p->y_ld, p->n_rows);
}

static void geometry_gemm_add(const struct vkm_caps *caps, const struct vkm_launch *launch,
                              const void *params, struct vkm_dispatch *d)
{
    const struct vkm_params_gemm_add *p = params;
    (void)launch;
    set_gemm(caps, d, p->n_out, p->n_rows);
}

static void geometry_ffn_gemm_up(const struct vkm_caps *caps, const struct vkm_launch *launch,
                                 const void *params, struct vkm_dispatch *d)
{
    const struct vkm_params_ffn_gemm_up *p = params;
    (void)launch;
    set_gemm(caps, d, p->h_ld, p->n_rows);
}

/* The device counts the workgroups of grouped products: moe_scan's args. */
static void geometry_grouped(const struct vkm_caps *caps, const struct vkm_launch *launch,
                             const void *params, struct vkm_dispatch *d)
{
    (void)params;
    set_groups(d, set_gemm_path(caps, d), launch->n_rows, 1);
    d->indirect = launch->indirect;
}
#define geometry_moe_gemm_up geometry_grouped
#define geometry_moe_gemm_down geometry_grouped

static void geometry_rope_kv(const struct vkm_caps *caps, const struct vkm_launch *launch,
                             const void *params, struct vkm_dispatch *d)
{
    const struct vkm_params_rope_kv *p = params;
    (void)caps;
    set_groups(d, LANES_SMALL, p->n_heads + 2 * p->n_kv_heads, launch->n_rows);
}

static void geometry_kv_copy(const struct vkm_caps *caps, const struct vkm_launch *launch,
                             const void *params, struct vkm_dispatch *d)
{
    const struct vkm_params_kv_copy *p = params;
    (void)caps, (void)launch;
    set_groups(d, LANES_ROW, vkm_ceil_div(p->words / 4, LANES_ROW), 1);
}

static void geometry_random_words(const struct vkm_caps *caps, const struct vkm_launch *launch,
                                  const void *params, struct vkm_dispatch *d)
{
    const struct vkm_params_random_words *p = params;
    (void)caps, (void)launch;
    set_groups(d, LANES_ROW, vkm_min_u32(vkm_ceil_div(p->words, LANES_ROW), 4096), 1);
}

/* On CPU drivers one subgroup, as barriers are slow there: more lanes only for heads so large that
 * one of them would have too many sums. */
static bool attention_by_subgroup(const struct vkm_caps *caps)
{
    return caps->cpu && caps->paths[VKM_PATH_SUBGROUP];
}

static uint32_t attention_lanes(const struct vkm_caps *caps, uint32_t head_dim)
{
    uint32_t lanes = caps->subgroup_size;
    if (!attention_by_subgroup(caps))
        return LANES_SMALL;
    while (vkm_ceil_div(head_dim, 2 * lanes) > ATTENTION_SUMS_CPU)
        lanes *= 2;
    return lanes;
}

/* Rows that one workgroup takes: a lane's sums, pairs * rows, stay in registers. */
static uint32_t attention_rows(const struct vkm_caps *caps, const struct vkm_attention_shape *shape)
{
    uint32_t pairs = vkm_ceil_div(shape->head_dim, 2 * attention_lanes(caps, shape->head_dim));
    uint32_t most = caps->cpu ? ATTENTION_ROWS_CPU : ATTENTION_ROWS, rows = 1;
    uint32_t sums = attention_by_subgroup(caps) ? ATTENTION_SUMS_CPU : ATTENTION_SUMS;
    while (shape->consecutive && 2 * rows <= most && rows < shape->n_rows &&
           2 * rows * pairs <= sums)
        rows *= 2;
    return rows;
}

static void geometry_attention(const struct vkm_caps *caps, const struct vkm_launch *launch,
                               const void *params, struct vkm_dispatch *d)
{
    const struct vkm_params_attention *p = params;
    const struct vkm_attention_shape shape = {p->n_heads, p->head_dim, p->n_rows, p->consecutive};
    uint32_t rows = attention_rows(caps, &shape), lanes = attention_lanes(caps, p->head_dim);
    (void)launch;
    set_groups(d, lanes, p->n_heads, vkm_ceil_div(p->n_rows, rows));
    d->groups[2] = p->n_splits;
    d->path = attention_by_subgroup(caps) ? VKM_PATH_SUBGROUP : VKM_PATH_BASE;
    d->spec[1] = vkm_ceil_div(p->head_dim, 2 * lanes);
    d->spec[2] = rows;
}

static void geometry_attention_combine(const struct vkm_caps *caps, const struct vkm_launch *launch,
                                       const void *params, struct vkm_dispatch *d)
{
    const struct vkm_params_attention_combine *p = params;
    (void)caps;
    set_groups(d, LANES_SMALL, p->n_heads, launch->n_rows);
}

static void geometry_sort(const struct vkm_caps *caps, const struct vkm_launch *launch,
                          const void *params, struct vkm_dispatch *d)
{
    (void)caps, (void)params;
    set_groups(d, VKM_SORT_TILE, vkm_moe_sort_tiles(launch->n_rows), 1);
}
#define geometry_moe_histogram geometry_sort
#define geometry_moe_scatter geometry_sort

static void geometry_moe_scan(const struct vkm_caps *caps, const struct vkm_launch *launch,
                              const void *params, struct vkm_dispatch *d)
{
    (void)caps, (void)launch, (void)params;
    set_groups(d, LANES_ROW, 1, 1);
}

static void geometry_moe_combine(const struct vkm_caps *caps, const struct vkm_launch *launch,
                                 const void *params, struct vkm_dispatch *d)
{
    const struct vkm_params_moe_combine *p = params;
    (void)caps, (void)launch;
    set_groups(d, LANES_ROW, vkm_ceil_div(p->ld / 4, LANES_ROW), p->n_rows);
}

static void geometry_penalise(const struct vkm_caps *caps, const struct vkm_launch *launch,
                              const void *params, struct vkm_dispatch *d)
{
    const struct vkm_params_penalise *p = params;
    (void)caps;
    set_groups(d, LANES_ROW, vkm_ceil_div(p->ld, VKM_VOCAB_BLOCK), launch->n_rows);
}

/* One workgroup passes over the vocabulary several times: as large a one as there is. */
static void geometry_sample_cut(const struct vkm_caps *caps, const struct vkm_launch *launch,
                                const void *params, struct vkm_dispatch *d)
{
    uint32_t lanes = LANES_ROW;
    (void)params;
    while (!caps->cpu && lanes < LANES_CUT && 2 * lanes <= caps->max_invocations)
        lanes *= 2;
    set_groups(d, lanes, 1, launch->n_rows);
}

static void geometry_sample_blocks(const struct vkm_caps *caps, const struct vkm_launch *launch,
                                   const void *params, struct vkm_dispatch *d)
{
    const struct vkm_params_sample_blocks *p = params;
    (void)caps;
    set_groups(d, LANES_ROW, vkm_ceil_div(p->vocab, VKM_VOCAB_BLOCK), launch->n_rows);
}

/* --- recording --- */

static geometry_fn *const geometry[VKM_KERNEL_COUNT] = {
#define KERNEL(name, ...) geometry_##name,
#include "kernels/table.def"
#undef KERNEL
};

void vkm_op(struct vkm_recorder *r, enum vkm_kernel_id kernel, struct vkm_launch launch,
            const void *params)
{
    struct vkm_dispatch d = {
        .kernel = kernel, .dtype = launch.dtype, .path = VKM_PATH_BASE, .params = params};
    geometry[kernel](r->caps, &launch, params, &d);
    vkm_record(r, &d);
}

#define KERNEL(name, ...)                                                                          \
    void vkm_op_##name(struct vkm_recorder *r, struct vkm_launch launch,                           \
                       const struct vkm_params_##name *params)                                     \
    {                                                                                              \
        vkm_op(r, VKM_K_##name, launch, params);                                                   \
    }
#include "kernels/table.def"
#undef KERNEL

/* --- sizes --- */

uint32_t vkm_moe_column_groups(uint32_t ld)
{
    return vkm_ceil_div(ld, VKM_TILE_COLS);
}

/* Each expert's last tile may be part full, and there are no more tiles than pairs. */
uint32_t vkm_moe_max_tiles(uint32_t n_pairs, uint32_t n_experts)
{
    return vkm_min_u32(n_pairs, n_pairs / VKM_TILE_ROWS + n_experts);
}

uint32_t vkm_moe_sort_tiles(uint32_t n_pairs)
{
    return vkm_ceil_div(n_pairs, VKM_SORT_TILE);
}

/* --- splitting attention --- */

uint32_t vkm_attention_bound(uint32_t positions)
{
    uint32_t bound = SPLIT_SPAN;
    while (bound < positions && bound <= UINT32_MAX / 2)
        bound *= 2;
    return vkm_max_u32(bound, positions);
}

struct vkm_split vkm_attention_split(const struct vkm_caps *caps,
                                     const struct vkm_attention_shape *shape, uint32_t bound)
{
    uint32_t groups = shape->n_heads * vkm_ceil_div(shape->n_rows, attention_rows(caps, shape));
    uint32_t wanted = caps->cpu ? SPLIT_GROUPS_CORE * caps->cores : SPLIT_GROUPS;
    uint32_t least = caps->cpu ? SPLIT_SPAN_CPU : SPLIT_SPAN;
    uint32_t count = vkm_min_u32(vkm_ceil_div(wanted, groups), bound / least);
    if (caps->split_positions > 0)
        count = vkm_ceil_div(bound, caps->split_positions);
    count = vkm_max_u32(count, vkm_ceil_div(bound, SPLIT_SPAN_MOST));
    count = vkm_max_u32(1, vkm_min_u32(count, SPLIT_MAX));
    uint32_t blocks = vkm_ceil_div(bound, VKM_KV_BLOCK);
    return (struct vkm_split){count, vkm_ceil_div(blocks, count) * VKM_KV_BLOCK};
}

uint64_t vkm_attention_max_parts(const struct vkm_caps *caps,
                                 const struct vkm_attention_shape *shape, uint32_t bound)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < 2 * shape->n_rows; i++) {
        struct vkm_attention_shape s = *shape;
        s.n_rows = i / 2 + 1;
        s.consecutive = i % 2;
        uint64_t rows = (uint64_t)s.n_rows * s.n_heads;
        uint32_t count = vkm_attention_split(caps, &s, bound).count;
        if (count > 1 && rows * count > most)
            most = rows * count;
    }
    return most;
}
