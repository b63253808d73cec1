/* Launch geometry: which variant, workgroup size and specialisation constants each kernel gets, and
 * how many workgroups. What was chosen by measurement stands in launch.c. */
#include "kernels/ops.h"

#include "base/rows.h"
#include "gpu/paths.h"
#include "kernels/cost.h"
#include "kernels/kv_layout.h"
#include "kernels/launch.h"

enum {
    GEMM_BLOCK = 8,     /* rows of a tile that share a weight at a time */
    GEMM_SUBGROUPS = 4, /* columns of a tile / those of a block in lib/gemm_team.glsl */
    BOUND_LEAST = 256,  /* positions for which a step is recorded at least */
    TURNS_MOST = 32768, /* of a lane's loops: Mesa 22's lavapipe leaves them after 65535 turns
                           in all */
    SPLIT_SPAN_MOST = TURNS_MOST, /* positions of a split at most */
    SPLIT_MAX = 64                /* splits, for each of which a row keeps a part */
};

/* Of the pairs of few rows, so many experts at most are worth sorting them: an eighth less to read
 * at least. */
#define GROUPED_SHARE 0.875

/* Batch rows that a team handles at once (RB). */
static uint32_t gemv_row_block(uint32_t n_rows)
{
    return n_rows <= 1 ? 1 : n_rows <= 2 ? 2 : n_rows <= 4 ? 4 : 8;
}

uint32_t vkm_gemm_threshold(const struct vkm_caps *caps)
{
    return caps->tiled_rows > 0 ? caps->tiled_rows
                                : vkm_launch_setting(caps, VKM_SETTING_tiled_rows);
}

/* Experts that are chosen where each of n_rows rows chooses k of them at random. */
static double expected_experts(uint32_t n_rows, uint32_t k, uint32_t n_experts)
{
    double unchosen = 1;
    for (uint32_t i = 0; i < n_rows; i++)
        unchosen *= 1 - (double)k / n_experts;
    return n_experts * (1 - unchosen);
}

bool vkm_groups_experts(const struct vkm_caps *caps, uint32_t n_rows, uint32_t k,
                        uint32_t n_experts)
{
    if (caps->tiled_rows > 0 || n_rows > vkm_gemm_threshold(caps))
        return n_rows > vkm_gemm_threshold(caps);
    return n_experts > 0 && n_rows > vkm_launch_setting(caps, VKM_SETTING_grouped_rows) &&
           expected_experts(n_rows, k, n_experts) < GROUPED_SHARE * n_rows * k;
}

static bool cpu_subgroups(const struct vkm_caps *caps)
{
    return caps->cpu && vkm_launch_team_path(caps) != VKM_PATH_BASE;
}

/* Tiled products go by the best of the paths made for them that the weights have; else through
 * shared memory, except on CPU drivers, for which that is slow. */
static enum vkm_path gemm_path(const struct vkm_caps *caps, uint32_t kernel, enum vkm_dtype dtype)
{
    for (uint32_t i = VKM_PATH_COUNT; i-- > 0;) {
        enum vkm_path path = (enum vkm_path)i;
        if (vkm_path_row(path)->tested && caps->paths[path] &&
            vkm_kernel_variant(&vkm_kernels.kernels[kernel], dtype, path))
            return path;
    }
    return cpu_subgroups(caps) ? vkm_launch_team_path(caps) : VKM_PATH_BASE;
}

/* The same where `pairs` go to n_experts, most of which have few of them: each block is made whole.
 */
static uint32_t gemm_block(uint32_t pairs, uint32_t n_experts)
{
    return pairs <= n_experts ? 2 : pairs <= 3 * n_experts ? 4 : GEMM_BLOCK;
}

enum { GEMM_MATRICES = 4 }; /* of a tile in lib/gemm_coopmat.glsl, each by a subgroup */

/* --- geometry --- */

typedef void geometry_fn(const struct vkm_caps *caps, const struct vkm_launch *launch,
                         const void *params, struct vkm_dispatch *d);

/* Invocations of a workgroup, by the launch table. */
static uint32_t lanes_of(const struct vkm_caps *caps, const struct vkm_dispatch *d)
{
    return vkm_launch_geometry(caps, d->kernel, d->dtype, true).lanes;
}

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
    (void)params;
    set_groups(d, lanes_of(caps, d), 1, launch->n_rows);
}
#define geometry_embed geometry_rows
#define geometry_rmsnorm geometry_rows
#define geometry_sample geometry_rows
#define geometry_token_loss geometry_rows

/* A lane compares its experts with all others. */
static void set_topk(const struct vkm_caps *caps, const struct vkm_launch *launch, uint32_t n,
                     struct vkm_dispatch *d)
{
    uint32_t lanes = lanes_of(caps, d);
    while (lanes * TURNS_MOST < n * n)
        lanes *= 2;
    set_groups(d, lanes, 1, launch->n_rows);
}

static void geometry_topk(const struct vkm_caps *caps, const struct vkm_launch *launch,
                          const void *params, struct vkm_dispatch *d)
{
    set_topk(caps, launch, ((const struct vkm_params_topk *)params)->n, d);
}

static void geometry_topk_steered(const struct vkm_caps *caps, const struct vkm_launch *launch,
                                  const void *params, struct vkm_dispatch *d)
{
    set_topk(caps, launch, ((const struct vkm_params_topk_steered *)params)->n, d);
}

static void geometry_topk_kept(const struct vkm_caps *caps, const struct vkm_launch *launch,
                               const void *params, struct vkm_dispatch *d)
{
    set_topk(caps, launch, ((const struct vkm_params_topk_kept *)params)->n, d);
}

static void geometry_route_count(const struct vkm_caps *caps, const struct vkm_launch *launch,
                                 const void *params, struct vkm_dispatch *d)
{
    const struct vkm_params_route_count *p = params;
    uint32_t lanes = lanes_of(caps, d);
    (void)launch;
    set_groups(d, lanes, vkm_ceil_div(p->n, lanes), vkm_ceil_div(p->n_rows, VKM_COUNT_ROWS));
}

/* n_out outputs of each row: the path, the team's shape, and how many workgroups that makes. What
 * was tuned is for one row. */
static void set_gemv(const struct vkm_caps *caps, struct vkm_dispatch *d, uint32_t n_out,
                     uint32_t row_block, uint32_t n_rows)
{
    struct vkm_geometry g = vkm_launch_geometry(caps, d->kernel, d->dtype, row_block == 1);
    uint32_t outputs = row_block > 1                      ? g.several
                       : vkm_dtype_is_quantised(d->dtype) ? g.panels
                                                          : g.outputs;
    uint32_t lanes = vkm_max_u32(g.lanes, caps->subgroup_size), teams = 1;
    d->path = vkm_launch_team_path(caps);
    if (d->path == VKM_PATH_WIDE)
        lanes = teams = caps->subgroup_size; /* each of them is one */
    else if (d->path != VKM_PATH_BASE)
        teams = vkm_max_u32(1, g.lanes / caps->subgroup_size);
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
    set_gemv(caps, d, p->y_ld, gemv_row_block(p->n_rows), p->n_rows);
}

static void geometry_gemv_add(const struct vkm_caps *caps, const struct vkm_launch *launch,
                              const void *params, struct vkm_dispatch *d)
{
    const struct vkm_params_gemv_add *p = params;
    (void)launch;
    set_gemv(caps, d, p->n_out, gemv_row_block(p->n_rows), p->n_rows);
}

static void geometry_ffn_gemv_up(const struct vkm_caps *caps, const struct vkm_launch *launch,
                                 const void *params, struct vkm_dispatch *d)
{
    const struct vkm_params_ffn_gemv_up *p = params;
    (void)launch;
    set_gemv(caps, d, p->h_ld, gemv_row_block(p->n_rows), p->n_rows);
}

static void geometry_moe_gemv_up(const struct vkm_caps *caps, const struct vkm_launch *launch,
                                 const void *params, struct vkm_dispatch *d)
{
    const struct vkm_params_moe_gemv_up *p = params;
    (void)launch;
    set_gemv(caps, d, p->h_ld, 1, p->n_pairs);
}

static void geometry_moe_gemv_down(const struct vkm_caps *caps, const struct vkm_launch *launch,
                                   const void *params, struct vkm_dispatch *d)
{
    const struct vkm_params_moe_gemv_down *p = params;
    set_gemv(caps, d, p->n_out, 1, launch->n_rows);
}

/* The path, for tiles of so many rows and columns; returns how many lanes that makes. */
static uint32_t set_tiles(const struct vkm_caps *caps, struct vkm_dispatch *d, enum vkm_path path,
                          uint32_t rows, uint32_t cols)
{
    d->path = path;
    d->spec[1] = GEMM_BLOCK;
    d->spec[2] = rows;
    d->spec[3] = cols;
    d->spec[4] = path == VKM_PATH_COOPMAT ? caps->matrix : 0;
    if (!vkm_path_is_sized(path))
        return vkm_tile_lanes(rows);
    if (path == VKM_PATH_COOPMAT)
        return GEMM_MATRICES * caps->subgroup_size;
    if (path == VKM_PATH_WIDE)
        return caps->subgroup_size;
    return vkm_max_u32(caps->subgroup_size,
                       vkm_min_u32(GEMM_SUBGROUPS * caps->subgroup_size, lanes_of(caps, d)));
}

/* The rows are cut into tiles of one height, the lowest that is high enough for all, if any is. */
static void set_gemm(const struct vkm_caps *caps, struct vkm_dispatch *d, uint32_t n_out,
                     uint32_t n_rows)
{
    bool swiglu = d->kernel == VKM_K_ffn_gemm_up;
    enum vkm_path path = gemm_path(caps, d->kernel, d->dtype);
    struct vkm_tiling tiling = vkm_tiling_for(vkm_tiling(caps, path, d->dtype, swiglu), n_rows);
    uint32_t rows = vkm_tiling_most(&tiling), lanes = set_tiles(caps, d, path, rows, tiling.cols);
    set_groups(d, lanes, vkm_ceil_div(n_out, tiling.cols), vkm_ceil_div(n_rows, rows));
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
static void set_grouped(const struct vkm_caps *caps, const struct vkm_launch *launch,
                        uint32_t n_experts, struct vkm_dispatch *d)
{
    enum vkm_path path = gemm_path(caps, d->kernel, d->dtype);
    uint32_t lanes = set_tiles(caps, d, path, launch->tile_rows, launch->tile_cols);
    set_groups(d, lanes, launch->n_rows, launch->lists);
    if (path == VKM_PATH_SUBGROUP || path == VKM_PATH_WIDE)
        d->spec[1] = gemm_block(launch->n_rows, n_experts);
    d->indirect = launch->indirect;
    d->beside = launch->beside;
}

static void geometry_moe_gemm_up(const struct vkm_caps *caps, const struct vkm_launch *launch,
                                 const void *params, struct vkm_dispatch *d)
{
    set_grouped(caps, launch, ((const struct vkm_params_moe_gemm_up *)params)->n_experts, d);
}

static void geometry_moe_gemm_down(const struct vkm_caps *caps, const struct vkm_launch *launch,
                                   const void *params, struct vkm_dispatch *d)
{
    set_grouped(caps, launch, ((const struct vkm_params_moe_gemm_down *)params)->n_experts, d);
}

static void geometry_rope_kv(const struct vkm_caps *caps, const struct vkm_launch *launch,
                             const void *params, struct vkm_dispatch *d)
{
    const struct vkm_params_rope_kv *p = params;
    uint32_t lanes = lanes_of(caps, d);
    if (d->dtype == VKM_DTYPE_Q8)
        lanes = vkm_max_u32(lanes, 2 * VKM_KV_GROUP); /* that share a word of scales */
    set_groups(d, lanes, p->n_heads + 2 * p->n_kv_heads, launch->n_rows);
}

static void geometry_kv_copy(const struct vkm_caps *caps, const struct vkm_launch *launch,
                             const void *params, struct vkm_dispatch *d)
{
    const struct vkm_params_kv_copy *p = params;
    (void)caps, (void)launch;
    set_groups(d, lanes_of(caps, d), vkm_ceil_div(p->words / 4, lanes_of(caps, d)), 1);
}

static void geometry_random_words(const struct vkm_caps *caps, const struct vkm_launch *launch,
                                  const void *params, struct vkm_dispatch *d)
{
    const struct vkm_params_random_words *p = params;
    (void)caps, (void)launch;
    set_groups(d, lanes_of(caps, d), vkm_min_u32(vkm_ceil_div(p->words, lanes_of(caps, d)), 4096),
               1);
}

/* An invocation for each element of y. */
static void geometry_probe_read(const struct vkm_caps *caps, const struct vkm_launch *launch,
                                const void *params, struct vkm_dispatch *d)
{
    const struct vkm_params_probe_read *p = params;
    (void)caps, (void)launch;
    set_groups(d, lanes_of(caps, d), vkm_ceil_div(p->count, lanes_of(caps, d)), 1);
}

static void geometry_probe_fma(const struct vkm_caps *caps, const struct vkm_launch *launch,
                               const void *params, struct vkm_dispatch *d)
{
    const struct vkm_params_probe_fma *p = params;
    (void)caps, (void)launch;
    set_groups(d, lanes_of(caps, d), vkm_ceil_div(p->count, lanes_of(caps, d)), 1);
}

/* On CPU drivers one subgroup, as barriers are slow there: more lanes only for heads so large that
 * one of them would have too many sums. */
static bool attention_by_subgroup(const struct vkm_caps *caps)
{
    return cpu_subgroups(caps);
}

static uint32_t attention_lanes(const struct vkm_caps *caps, uint32_t head_dim)
{
    uint32_t lanes = caps->subgroup_size;
    uint32_t sums = vkm_launch_setting(caps, VKM_SETTING_attention_sums);
    if (!attention_by_subgroup(caps))
        return vkm_launch_geometry(caps, VKM_K_attention, VKM_DTYPE_F32, true).lanes;
    while (vkm_ceil_div(head_dim, 2 * lanes) > sums)
        lanes *= 2;
    return lanes;
}

/* Pairs of elements that a lane sums up: whole words of the cache (KV_RUN in lib/kv.glsl). */
static uint32_t attention_pairs(const struct vkm_caps *caps, const struct vkm_attention_shape *s)
{
    uint32_t run = s->kv == VKM_DTYPE_Q8 ? 2 : 1;
    return run * vkm_ceil_div(s->head_dim, 2 * run * attention_lanes(caps, s->head_dim));
}

/* Rows that one workgroup takes: a lane's sums, pairs * rows, stay in registers. */
static uint32_t attention_rows(const struct vkm_caps *caps, const struct vkm_attention_shape *shape)
{
    uint32_t pairs = attention_pairs(caps, shape);
    uint32_t most = vkm_launch_setting(caps, VKM_SETTING_attention_rows), rows = 1;
    uint32_t sums = vkm_launch_setting(caps, VKM_SETTING_attention_sums);
    while (shape->consecutive && 2 * rows <= most && rows < shape->n_rows &&
           2 * rows * pairs <= sums)
        rows *= 2;
    return rows;
}

static void geometry_attention(const struct vkm_caps *caps, const struct vkm_launch *launch,
                               const void *params, struct vkm_dispatch *d)
{
    const struct vkm_params_attention *p = params;
    const struct vkm_attention_shape shape = {p->n_heads, p->head_dim, p->n_rows, p->consecutive,
                                              launch->dtype};
    uint32_t rows = attention_rows(caps, &shape), lanes = attention_lanes(caps, p->head_dim);
    set_groups(d, lanes, p->n_heads, vkm_ceil_div(p->n_rows, rows));
    d->groups[2] = p->n_splits;
    d->path = attention_by_subgroup(caps) ? vkm_launch_team_path(caps) : VKM_PATH_BASE;
    d->spec[1] = attention_pairs(caps, &shape);
    d->spec[2] = rows;
}

static void geometry_attention_combine(const struct vkm_caps *caps, const struct vkm_launch *launch,
                                       const void *params, struct vkm_dispatch *d)
{
    const struct vkm_params_attention_combine *p = params;
    (void)caps;
    set_groups(d, lanes_of(caps, d), p->n_heads, launch->n_rows);
}

static void geometry_sort(const struct vkm_caps *caps, const struct vkm_launch *launch,
                          const void *params, struct vkm_dispatch *d)
{
    (void)caps, (void)params;
    set_groups(d, lanes_of(caps, d), vkm_moe_sort_tiles(launch->n_rows), 1);
}
#define geometry_moe_histogram geometry_sort
#define geometry_moe_scatter geometry_sort

static void geometry_moe_scan(const struct vkm_caps *caps, const struct vkm_launch *launch,
                              const void *params, struct vkm_dispatch *d)
{
    (void)caps, (void)launch, (void)params;
    set_groups(d, lanes_of(caps, d), 1, 1);
}

static void geometry_moe_combine(const struct vkm_caps *caps, const struct vkm_launch *launch,
                                 const void *params, struct vkm_dispatch *d)
{
    const struct vkm_params_moe_combine *p = params;
    (void)caps, (void)launch;
    set_groups(d, lanes_of(caps, d), vkm_ceil_div(p->ld / 4, lanes_of(caps, d)), p->n_rows);
}

static void geometry_penalise(const struct vkm_caps *caps, const struct vkm_launch *launch,
                              const void *params, struct vkm_dispatch *d)
{
    const struct vkm_params_penalise *p = params;
    (void)caps;
    set_groups(d, lanes_of(caps, d), vkm_ceil_div(p->ld, VKM_VOCAB_BLOCK), launch->n_rows);
}

/* One workgroup passes over the vocabulary several times: as large a one as there is. */
static void geometry_sample_cut(const struct vkm_caps *caps, const struct vkm_launch *launch,
                                const void *params, struct vkm_dispatch *d)
{
    uint32_t lanes = lanes_of(caps, d);
    (void)params;
    while (lanes > caps->max_invocations)
        lanes /= 2;
    set_groups(d, lanes, 1, launch->n_rows);
}

static void geometry_sample_blocks(const struct vkm_caps *caps, const struct vkm_launch *launch,
                                   const void *params, struct vkm_dispatch *d)
{
    const struct vkm_params_sample_blocks *p = params;
    (void)caps;
    set_groups(d, lanes_of(caps, d), vkm_ceil_div(p->vocab, VKM_VOCAB_BLOCK), launch->n_rows);
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
    size_t index = r->stream->ops.count;
    vkm_record(r, &d);
    if (r->stream->ops.count > index)
        r->stream->ops.items[index].work = vkm_op_work(r->stream, &r->stream->ops.items[index]);
}

#define KERNEL(name, ...)                                                                          \
    void vkm_op_##name(struct vkm_recorder *r, struct vkm_launch launch,                           \
                       const struct vkm_params_##name *params)                                     \
    {                                                                                              \
        vkm_op(r, VKM_K_##name, launch, params);                                                   \
    }
#include "kernels/table.def"
#undef KERNEL

enum vkm_path vkm_product_path(const struct vkm_caps *caps, enum vkm_dtype dtype)
{
    return gemm_path(caps, VKM_K_gemm, dtype);
}

/* --- sizes --- */

/* Gate and up need the most room, and down takes the same tiles. */
struct vkm_tiling vkm_moe_tiling(const struct vkm_caps *caps, enum vkm_dtype dtype, uint32_t n_rows)
{
    enum vkm_path path = gemm_path(caps, VKM_K_moe_gemm_up, dtype);
    return vkm_tiling_for(vkm_tiling(caps, path, dtype, true), n_rows);
}

/* Each expert's last tile may be part full, and there are no more tiles than pairs. */
uint32_t vkm_moe_list_tiles(uint32_t n_pairs, uint32_t n_experts, uint32_t most_rows)
{
    return vkm_min_u32(n_pairs, n_pairs / most_rows + n_experts);
}

uint32_t vkm_moe_all_tiles(uint32_t n_pairs, uint32_t n_experts)
{
    return VKM_TILE_HEIGHTS * vkm_moe_list_tiles(n_pairs, n_experts, VKM_TILE_LEAST);
}

uint32_t vkm_moe_sort_tiles(uint32_t n_pairs)
{
    return vkm_ceil_div(n_pairs, VKM_SORT_TILE);
}

/* --- splitting attention --- */

uint32_t vkm_attention_bound(uint32_t positions)
{
    uint32_t bound = BOUND_LEAST;
    while (bound < positions && bound <= UINT32_MAX / 2)
        bound *= 2;
    return vkm_max_u32(bound, positions);
}

struct vkm_split vkm_attention_split(const struct vkm_caps *caps,
                                     const struct vkm_attention_shape *shape, uint32_t bound)
{
    uint32_t groups = shape->n_heads * vkm_ceil_div(shape->n_rows, attention_rows(caps, shape));
    uint32_t wanted =
        vkm_launch_setting(caps, VKM_SETTING_split_groups) * (caps->cpu ? caps->cores : 1);
    uint32_t least = vkm_launch_setting(caps, VKM_SETTING_split_span);
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
