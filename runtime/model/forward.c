#include "model/forward.h"

#include <math.h>

#include "kernels/ops.h"

/* What every part of the pass needs. */
struct pass {
    struct vkm_recorder *r;
    const struct vkm_weights *w;
    const struct vkm_config *c;
    const struct vkm_kv *kv;
    const struct vkm_state *s;
    const struct vkm_batch *batch;
    bool tiled;   /* enough rows for tiled products, */
    bool grouped; /* and for the expert sort */
};

/* An MoE layer: which one of them it is, and where its routing goes. */
struct moe {
    uint32_t index;
    struct vkm_view ids, gates;   /* [rows, k] */
    const struct vkm_ffn *shared; /* the shared experts, or NULL */
};

static struct vkm_launch rows(const struct pass *f, enum vkm_dtype dtype)
{
    return (struct vkm_launch){.n_rows = f->batch->n_rows, .dtype = dtype};
}

static void norm(const struct pass *f, struct vkm_view weight, struct vkm_view y)
{
    vkm_op_rmsnorm(f->r, rows(f, VKM_DTYPE_F32),
                   &(struct vkm_params_rmsnorm){.x = f->s->x,
                                                .weight = weight,
                                                .y = y,
                                                .width = f->c->hidden_size,
                                                .ld = vkm_ld(f->c->hidden_size),
                                                .eps = f->c->rms_norm_eps});
}

/* y = m x + bias for n_rows rows. */
static void linear(const struct pass *f, const struct vkm_matrix *m, struct vkm_view x,
                   struct vkm_view y, uint32_t n_rows, bool tiled)
{
    struct vkm_launch launch = {.n_rows = n_rows, .dtype = m->dtype};
    struct vkm_params_gemv p = {
        .w = m->view,
        .x = x,
        .bias = m->bias,
        .y = y,
        .k_ld = vkm_ld(m->n_in),
        .n_out = m->n_out,
        .n_rows = n_rows,
        .y_ld = vkm_ld(m->n_out),
        .use_bias = m->bias.buffer != NULL,
    };
    if (tiled)
        vkm_op(f->r, VKM_K_gemm, launch, &p);
    else
        vkm_op(f->r, VKM_K_gemv, launch, &p);
}

/* x += m y + bias: back into the residual stream. */
static void linear_add(const struct pass *f, const struct vkm_matrix *m, struct vkm_view y)
{
    struct vkm_params_gemv_add p = {
        .w = m->view,
        .x = y,
        .bias = m->bias,
        .y = f->s->x,
        .k_ld = vkm_ld(m->n_in),
        .n_out = m->n_out,
        .n_rows = f->batch->n_rows,
        .y_ld = vkm_ld(f->c->hidden_size),
        .use_bias = m->bias.buffer != NULL,
    };
    vkm_op(f->r, f->tiled ? VKM_K_gemm_add : VKM_K_gemv_add, rows(f, m->dtype), &p);
}

/* attended = softmax(q k / sqrt(head_dim)) v, the context split where rows and heads are few. */
static void attend(const struct pass *f, const struct vkm_layer *layer, struct vkm_view keys,
                   struct vkm_view values)
{
    const struct vkm_config *c = f->c;
    const struct vkm_state *s = f->s;
    const struct vkm_attention_shape shape = {c->num_attention_heads, c->head_dim, f->batch->n_rows,
                                              f->batch->consecutive, f->kv->dtype};
    struct vkm_split split = vkm_attention_split(f->r->caps, &shape, f->batch->bound);
    uint64_t parts = (uint64_t)shape.n_rows * shape.n_heads * split.count;
    uint64_t part_bytes = (c->head_dim + 2) * sizeof(float);
    struct vkm_params_attention p = {
        .rows = f->batch->rows,
        .blocks = s->blocks,
        .qkv = s->qkv,
        .k_cache = keys,
        .v_cache = values,
        .n_rows = f->batch->n_rows,
        .consecutive = f->batch->consecutive,
        .n_heads = c->num_attention_heads,
        .n_kv_heads = c->num_key_value_heads,
        .head_dim = c->head_dim,
        .qkv_ld = vkm_ld(layer->qkv.n_out),
        .y_ld = vkm_ld(layer->o.n_in),
        .block_stride = s->block_stride,
        .n_splits = split.count,
        .span = split.span,
        .scale = 1.0f / sqrtf((float)c->head_dim),
    };
    if (split.count == 1) {
        p.y = s->attended;
        vkm_op_attention(f->r, rows(f, f->kv->dtype), &p);
        return;
    }
    p.parts = vkm_view_slice(s->parts, 0, parts * part_bytes);
    vkm_op_attention(f->r, rows(f, f->kv->dtype), &p);
    vkm_op_attention_combine(f->r, rows(f, VKM_DTYPE_F32),
                             &(struct vkm_params_attention_combine){.rows = f->batch->rows,
                                                                    .parts = p.parts,
                                                                    .y = s->attended,
                                                                    .n_heads = p.n_heads,
                                                                    .head_dim = p.head_dim,
                                                                    .y_ld = p.y_ld,
                                                                    .n_splits = p.n_splits,
                                                                    .span = p.span});
}

/* x += Attention(RMSNorm(x)), equation 1. */
static void attention_block(const struct pass *f, const struct vkm_layer *layer, uint32_t index)
{
    const struct vkm_config *c = f->c;
    const struct vkm_state *s = f->s;
    struct vkm_view keys = vkm_buffer_view(f->kv->keys[index]);
    struct vkm_view values = vkm_buffer_view(f->kv->values[index]);

    norm(f, layer->input_norm, s->normed);
    linear(f, &layer->qkv, s->normed, s->qkv, f->batch->n_rows, f->tiled);
    vkm_op_rope_kv(f->r, rows(f, f->kv->dtype),
                   &(struct vkm_params_rope_kv){.rows = f->batch->rows,
                                                .blocks = s->blocks,
                                                .rope_low = s->rope_low,
                                                .rope_high = s->rope_high,
                                                .qkv = s->qkv,
                                                .k_cache = keys,
                                                .v_cache = values,
                                                .n_heads = c->num_attention_heads,
                                                .n_kv_heads = c->num_key_value_heads,
                                                .head_dim = c->head_dim,
                                                .qkv_ld = vkm_ld(layer->qkv.n_out),
                                                .block_stride = s->block_stride});
    attend(f, layer, keys, values);
    linear_add(f, &layer->o, s->attended);
}

/* h = silu(gate u) * (up u) of the FFN that every row passes: dense, or the shared experts. */
static void ffn_up(const struct pass *f, const struct vkm_ffn *ffn)
{
    struct vkm_params_ffn_gemv_up p = {
        .w = ffn->view,
        .x = f->s->normed,
        .h = f->s->ffn_hidden,
        .k_ld = vkm_ld(f->c->hidden_size),
        .width = ffn->width,
        .n_rows = f->batch->n_rows,
        .h_ld = vkm_ld(ffn->width),
    };
    vkm_op(f->r, f->tiled ? VKM_K_ffn_gemm_up : VKM_K_ffn_gemv_up, rows(f, ffn->dtype), &p);
}

/* x += down h. */
static void ffn_down(const struct pass *f, const struct vkm_ffn *ffn)
{
    uint64_t up_bytes = 2 * vkm_matrix_bytes(ffn->dtype, ffn->width, vkm_ld(f->c->hidden_size));
    struct vkm_matrix down = {
        .view = vkm_view_slice(ffn->view, up_bytes, ffn->view.size - up_bytes),
        .n_out = f->c->hidden_size,
        .n_in = ffn->width,
        .dtype = ffn->dtype,
    };
    linear_add(f, &down, f->s->ffn_hidden);
}

/* Which experts, by the scores and by what the host wants. */
static void choose_steered(const struct pass *f, const struct moe *moe)
{
    const struct vkm_config *c = f->c;
    const struct vkm_state *s = f->s;
    const struct vkm_router *routing = &s->params.routing;
    uint64_t size = c->n_routed_experts * sizeof(uint32_t);
    vkm_op_topk_steered(
        f->r, rows(f, VKM_DTYPE_F32),
        &(struct vkm_params_topk_steered){
            .logits = s->router_logits,
            .probs = s->router_probs,
            .rows = f->batch->rows,
            .states = vkm_view_slice(s->experts, moe->index * s->experts_stride, size),
            .table = routing->by_table ? s->table : (struct vkm_view){0},
            .ids = moe->ids,
            .gates = moe->gates,
            .n = c->n_routed_experts,
            .ld = vkm_ld(c->n_routed_experts),
            .k = routing->k,
            .normalise = routing->normalise,
            .skip = routing->skip,
            .vocab = routing->by_table ? c->vocab_size : 0,
            .layer = moe->index,
            .seed_low = (uint32_t)routing->seed,
            .seed_high = (uint32_t)(routing->seed >> 32),
            .scale = c->routed_scaling_factor,
            .noise = routing->noise / VKM_NOISE_DEVIATION});
}

/* The same, and what ranked first is kept for the host. */
static void choose_kept(const struct pass *f, const struct moe *moe)
{
    const struct vkm_config *c = f->c;
    const struct vkm_state *s = f->s;
    const struct vkm_router *routing = &s->params.routing;
    uint64_t size = c->n_routed_experts * sizeof(uint32_t);
    vkm_op_topk_kept(
        f->r, rows(f, VKM_DTYPE_F32),
        &(struct vkm_params_topk_kept){
            .logits = s->router_logits,
            .probs = s->router_probs,
            .rows = f->batch->rows,
            .states = vkm_view_slice(s->experts, moe->index * s->experts_stride, size),
            .table = routing->by_table ? s->table : (struct vkm_view){0},
            .ids = moe->ids,
            .gates = moe->gates,
            .kept_ids =
                vkm_view_slice(s->kept_ids, moe->index * s->kept_ids_stride, s->kept_ids_stride),
            .kept_weights = vkm_view_slice(s->kept_weights, moe->index * s->kept_weights_stride,
                                           s->kept_weights_stride),
            .n = c->n_routed_experts,
            .k = routing->k,
            .normalise = routing->normalise,
            .skip = routing->skip,
            .vocab = routing->by_table ? c->vocab_size : 0,
            .layer = moe->index,
            .seed_low = (uint32_t)routing->seed,
            .seed_high = (uint32_t)(routing->seed >> 32),
            .ranks = routing->keep,
            .positions = s->params.context,
            .scale = c->routed_scaling_factor,
            .noise = routing->noise / VKM_NOISE_DEVIATION});
}

static void choose(const struct pass *f, const struct moe *moe)
{
    const struct vkm_config *c = f->c;
    const struct vkm_state *s = f->s;
    vkm_op_topk(f->r, rows(f, VKM_DTYPE_F32),
                &(struct vkm_params_topk){.logits = s->router_logits,
                                          .probs = s->router_probs,
                                          .ids = moe->ids,
                                          .gates = moe->gates,
                                          .n = c->n_routed_experts,
                                          .ld = vkm_ld(c->n_routed_experts),
                                          .k = s->params.routing.k,
                                          .normalise = s->params.routing.normalise,
                                          .scale = c->routed_scaling_factor});
}

static void count(const struct pass *f, const struct moe *moe)
{
    const struct vkm_state *s = f->s;
    const struct vkm_router *routing = &s->params.routing;
    uint32_t n = f->c->n_routed_experts;
    struct vkm_params_route_count p = {
        .ids = moe->ids,
        .gates = moe->gates,
        .probs = s->router_probs,
        .counts = vkm_view_slice(s->counts, moe->index * s->counts_stride,
                                 (uint64_t)n * VKM_COUNT_WORDS * sizeof(uint32_t)),
        .n = n,
        .ld = vkm_ld(n),
        .k = routing->k,
        .n_rows = f->batch->n_rows,
        .use_pairs = routing->count_pairs,
    };
    if (routing->count_pairs)
        p.pairs = vkm_view_slice(s->pairs, moe->index * s->pairs_stride,
                                 (uint64_t)n * n * sizeof(uint32_t));
    vkm_op_route_count(f->r, rows(f, VKM_DTYPE_F32), &p);
}

/* Gates of equations 4 and 5: softmax over the router's scores, the top K kept. */
static void route(const struct pass *f, const struct vkm_layer *layer, const struct moe *moe)
{
    const struct vkm_state *s = f->s;
    linear(f, &layer->router, s->normed, s->router_logits, f->batch->n_rows, f->tiled);
    if (s->params.routing.keep > 0)
        choose_kept(f, moe);
    else if (f->batch->steer || vkm_router_is_steered(&s->params.routing))
        choose_steered(f, moe);
    else
        choose(f, moe);
    if (s->params.routing.count)
        count(f, moe);
}

/* Few rows: every (row, slot) pair by itself, then one long dot for each output. */
static void experts_by_pair(const struct pass *f, const struct vkm_layer *layer,
                            const struct moe *moe)
{
    const struct vkm_config *c = f->c;
    const struct vkm_state *s = f->s;
    uint32_t k = s->params.routing.k;
    struct vkm_launch pairs = {.n_rows = f->batch->n_rows * k, .dtype = layer->expert_dtype};
    bool fused_shared = moe->shared && moe->shared->dtype == layer->expert_dtype;

    if (moe->shared)
        ffn_up(f, moe->shared);
    vkm_op_moe_gemv_up(f->r, pairs,
                       &(struct vkm_params_moe_gemv_up){.x = s->normed,
                                                        .ids = moe->ids,
                                                        .experts = layer->experts,
                                                        .weights = layer->expert_ffn,
                                                        .h = s->expert_hidden,
                                                        .k = k,
                                                        .k_ld = vkm_ld(c->hidden_size),
                                                        .width = c->moe_intermediate_size,
                                                        .n_pairs = pairs.n_rows,
                                                        .h_ld = vkm_ld(c->moe_intermediate_size),
                                                        .n_experts = c->n_routed_experts});
    struct vkm_params_moe_gemv_down down = {
        .h = s->expert_hidden,
        .ids = moe->ids,
        .gates = moe->gates,
        .experts = layer->experts,
        .weights = layer->expert_ffn,
        .x = s->x,
        .k = k,
        .n_out = c->hidden_size,
        .x_ld = vkm_ld(c->hidden_size),
        .width = c->moe_intermediate_size,
        .h_ld = vkm_ld(c->moe_intermediate_size),
        .n_experts = c->n_routed_experts,
    };
    if (fused_shared) {
        down.shared_w = moe->shared->view;
        down.shared_h = s->ffn_hidden;
        down.shared_width = moe->shared->width;
        down.shared_ld = vkm_ld(moe->shared->width);
    } else if (moe->shared) {
        ffn_down(f, moe->shared);
    }
    vkm_op_moe_gemv_down(f->r, rows(f, layer->expert_dtype), &down);
}

/* Tiles that each list has room for. */
static uint32_t list_tiles(const struct pass *f, const struct vkm_tiling *tiling)
{
    return vkm_moe_list_tiles(f->batch->n_rows * f->s->params.routing.k, f->c->n_routed_experts,
                              vkm_tiling_most(tiling));
}

/* Sorts the pairs by expert on the device and leaves the tiles' workgroup counts in sort_args. */
static void sort_pairs(const struct pass *f, struct vkm_view ids, const struct vkm_tiling *tiling)
{
    const struct vkm_config *c = f->c;
    const struct vkm_state *s = f->s;
    uint32_t pairs = f->batch->n_rows * s->params.routing.k;
    struct vkm_launch launch = {.n_rows = pairs};
    vkm_op_moe_histogram(f->r, launch,
                         &(struct vkm_params_moe_histogram){.ids = ids,
                                                            .histogram = s->histogram,
                                                            .n_pairs = pairs,
                                                            .n_experts = c->n_routed_experts});
    vkm_op_moe_scan(f->r, launch,
                    &(struct vkm_params_moe_scan){
                        .histogram = s->histogram,
                        .offsets = s->offsets,
                        .tiles = s->tiles,
                        .args = s->sort_args,
                        .n_sort_tiles = vkm_moe_sort_tiles(pairs),
                        .n_experts = c->n_routed_experts,
                        .up_groups = vkm_ceil_div(vkm_ld(c->moe_intermediate_size), tiling->cols),
                        .down_groups = vkm_ceil_div(vkm_ld(c->hidden_size), tiling->cols),
                        .least_rows = tiling->least_rows,
                        .n_heights = tiling->n_heights,
                        .list_tiles = list_tiles(f, tiling)});
    vkm_op_moe_scatter(f->r, launch,
                       &(struct vkm_params_moe_scatter){.ids = ids,
                                                        .offsets = s->offsets,
                                                        .order = s->order,
                                                        .n_pairs = pairs,
                                                        .n_experts = c->n_routed_experts});
}

/* A list of tiles, the rows that they have room for, and its place among the lists. */
struct tile_list {
    struct vkm_view tiles, up_args, down_args;
    uint32_t rows, cols, index, count;
};

static struct tile_list tile_list(const struct pass *f, const struct vkm_tiling *tiling,
                                  uint32_t index)
{
    const uint64_t args_size = 3 * sizeof(uint32_t), tile_size = 4 * sizeof(uint32_t);
    uint64_t size = list_tiles(f, tiling) * tile_size;
    return (struct tile_list){
        .tiles = vkm_view_slice(f->s->tiles, index * size, size),
        .up_args = vkm_view_slice(f->s->sort_args, 2 * index * args_size, args_size),
        .down_args = vkm_view_slice(f->s->sort_args, (2 * index + 1) * args_size, args_size),
        .rows = tiling->least_rows << index,
        .cols = tiling->cols,
        .index = index,
        .count = tiling->n_heights,
    };
}

static struct vkm_launch grouped_launch(const struct pass *f, const struct vkm_layer *layer,
                                        const struct tile_list *list, struct vkm_view args)
{
    return (struct vkm_launch){.n_rows = f->batch->n_rows * f->s->params.routing.k,
                               .dtype = layer->expert_dtype,
                               .indirect = args,
                               .tile_rows = list->rows,
                               .tile_cols = list->cols,
                               .lists = list->count,
                               .beside = list->index > 0};
}

static void grouped_up(const struct pass *f, const struct vkm_layer *layer,
                       const struct tile_list *list)
{
    const struct vkm_config *c = f->c;
    const struct vkm_state *s = f->s;
    vkm_op_moe_gemm_up(f->r, grouped_launch(f, layer, list, list->up_args),
                       &(struct vkm_params_moe_gemm_up){.x = s->normed,
                                                        .tiles = list->tiles,
                                                        .order = s->order,
                                                        .experts = layer->experts,
                                                        .weights = layer->expert_ffn,
                                                        .h = s->expert_hidden,
                                                        .k = s->params.routing.k,
                                                        .k_ld = vkm_ld(c->hidden_size),
                                                        .width = c->moe_intermediate_size,
                                                        .h_ld = vkm_ld(c->moe_intermediate_size),
                                                        .n_experts = c->n_routed_experts});
}

static void grouped_down(const struct pass *f, const struct vkm_layer *layer,
                         const struct tile_list *list)
{
    const struct vkm_config *c = f->c;
    const struct vkm_state *s = f->s;
    vkm_op_moe_gemm_down(
        f->r, grouped_launch(f, layer, list, list->down_args),
        &(struct vkm_params_moe_gemm_down){.h = s->expert_hidden,
                                           .tiles = list->tiles,
                                           .order = s->order,
                                           .experts = layer->experts,
                                           .weights = layer->expert_ffn,
                                           .y = s->expert_out,
                                           .k_ld = vkm_ld(c->hidden_size),
                                           .width = c->moe_intermediate_size,
                                           .h_ld = vkm_ld(c->moe_intermediate_size),
                                           .n_out = c->hidden_size,
                                           .y_ld = vkm_ld(c->hidden_size),
                                           .n_experts = c->n_routed_experts});
}

/* More rows: sorted by expert, grouped products in tiles as high as an expert's rows are many, then
 * a weighted sum in fixed order. */
static void experts_grouped(const struct pass *f, const struct vkm_layer *layer,
                            const struct moe *moe)
{
    const struct vkm_config *c = f->c;
    const struct vkm_state *s = f->s;
    struct vkm_tiling tiling = vkm_moe_tiling(f->r->caps, layer->expert_dtype, f->batch->n_rows);
    struct tile_list lists[VKM_TILE_HEIGHTS];
    for (uint32_t i = 0; i < tiling.n_heights; i++)
        lists[i] = tile_list(f, &tiling, i);

    if (moe->shared) {
        ffn_up(f, moe->shared);
        ffn_down(f, moe->shared);
    }
    sort_pairs(f, moe->ids, &tiling);
    for (uint32_t i = 0; i < tiling.n_heights; i++)
        grouped_up(f, layer, &lists[i]);
    for (uint32_t i = 0; i < tiling.n_heights; i++)
        grouped_down(f, layer, &lists[i]);
    vkm_op_moe_combine(f->r, rows(f, VKM_DTYPE_F32),
                       &(struct vkm_params_moe_combine){.y = s->expert_out,
                                                        .gates = moe->gates,
                                                        .x = s->x,
                                                        .k = s->params.routing.k,
                                                        .ld = vkm_ld(c->hidden_size),
                                                        .n_rows = f->batch->n_rows});
}

/* x += sum of shared FFN_i(u) + sum of g_i FFN_i(u), u = RMSNorm(x), equation 3. */
static void moe_block(const struct pass *f, const struct vkm_layer *layer, uint32_t moe_index)
{
    const struct vkm_state *s = f->s;
    const struct vkm_router *routing = &s->params.routing;
    uint64_t at = moe_index * s->trace_stride;
    uint64_t size = (uint64_t)f->batch->n_rows * routing->k * sizeof(uint32_t);
    bool shared = layer->ffn.width > 0 && !routing->without_shared;
    struct moe moe = {
        .index = moe_index,
        .ids = vkm_view_slice(s->topk_ids, at, size),
        .gates = vkm_view_slice(s->topk_gates, at, size),
        .shared = shared ? &layer->ffn : NULL,
    };
    norm(f, layer->post_norm, s->normed);
    route(f, layer, &moe);
    if (f->grouped)
        experts_grouped(f, layer, &moe);
    else
        experts_by_pair(f, layer, &moe);
}

/* x += FFN(RMSNorm(x)). */
static void dense_block(const struct pass *f, const struct vkm_layer *layer)
{
    norm(f, layer->post_norm, f->s->normed);
    ffn_up(f, &layer->ffn);
    ffn_down(f, &layer->ffn);
}

/* logits = lm_head RMSNorm(x), for the rows that want them. */
static void head(const struct pass *f)
{
    const struct vkm_batch *batch = f->batch;
    vkm_op_rmsnorm(f->r, (struct vkm_launch){.n_rows = batch->n_logits},
                   &(struct vkm_params_rmsnorm){.x = f->s->x,
                                                .weight = f->w->final_norm,
                                                .index = f->s->logit_rows,
                                                .y = f->s->normed,
                                                .width = f->c->hidden_size,
                                                .ld = vkm_ld(f->c->hidden_size),
                                                .use_index = batch->select_logits,
                                                .eps = f->c->rms_norm_eps});
    linear(f, &f->w->lm_head, f->s->normed, f->s->logits, batch->n_logits,
           batch->n_logits > vkm_gemm_threshold(f->r->caps));
}

void vkm_forward(struct vkm_recorder *r, const struct vkm_weights *w, const struct vkm_kv *kv,
                 const struct vkm_state *s, const struct vkm_batch *batch)
{
    struct pass f = {.r = r,
                     .w = w,
                     .c = &w->config,
                     .kv = kv,
                     .s = s,
                     .batch = batch,
                     .tiled = batch->n_rows > vkm_gemm_threshold(r->caps),
                     .grouped = vkm_groups_experts(r->caps, batch->n_rows, s->params.routing.k,
                                                   w->config.n_routed_experts)};
    uint32_t moe_index = 0;
    vkm_op_embed(r, rows(&f, w->embed.dtype),
                 &(struct vkm_params_embed){.table = w->embed.view,
                                            .rows = batch->rows,
                                            .y = s->x,
                                            .history = s->history,
                                            .ld = vkm_ld(w->config.hidden_size),
                                            .vocab = w->config.vocab_size,
                                            .history_ld = s->params.context});
    for (uint32_t i = 0; i < w->config.num_hidden_layers; i++) {
        const struct vkm_layer *layer = &w->layers[i];
        attention_block(&f, layer, i);
        if (layer->is_moe)
            moe_block(&f, layer, moe_index++);
        else
            dense_block(&f, layer);
    }
    if (batch->n_logits > 0)
        head(&f);
}

void vkm_forward_copy_block(struct vkm_recorder *r, const struct vkm_kv *kv, uint32_t from,
                            uint32_t to)
{
    for (uint32_t i = 0; i < kv->n_layers; i++)
        vkm_op_kv_copy(
            r, (struct vkm_launch){.n_rows = 1},
            &(struct vkm_params_kv_copy){.k_cache = vkm_buffer_view(kv->keys[i]),
                                         .v_cache = vkm_buffer_view(kv->values[i]),
                                         .words = (uint32_t)(kv->block_bytes / sizeof(uint32_t)),
                                         .from = from,
                                         .to = to});
}
