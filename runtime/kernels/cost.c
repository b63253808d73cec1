/* One function for each row of the table, as in ops.c; without one a kernel does not compile. */
#include "kernels/cost.h"

#include <math.h>

#include "base/rows.h"
#include "kernels/kernels.h"
#include "kernels/kv_layout.h"

#define WORD 4.0 /* bytes of a float or uint */

struct dispatch {
    const struct vkm_op *op;
    enum vkm_dtype dtype; /* of the weights, or of keys and values */
    double rows;          /* of kernels with workgroups along y for each */
    const struct vkm_cost_facts *facts;
};

typedef struct vkm_cost cost_fn(const struct dispatch *d, const void *params);

/* Words read and written, and operations. */
static struct vkm_cost words(double moved, double operations)
{
    return (struct vkm_cost){.bytes = WORD * moved, .operations = operations};
}

/* --- rows by themselves --- */

static struct vkm_cost cost_embed(const struct dispatch *d, const void *params)
{
    const struct vkm_params_embed *p = params;
    double row = (double)vkm_matrix_bytes(d->dtype, VKM_PANEL_ROWS, p->ld) / VKM_PANEL_ROWS;
    return (struct vkm_cost){.bytes = d->rows * (row + WORD * p->ld)};
}

static struct vkm_cost cost_rmsnorm(const struct dispatch *d, const void *params)
{
    const struct vkm_params_rmsnorm *p = params;
    return words((2 * d->rows + 1) * p->ld, 4 * d->rows * p->ld);
}

static struct vkm_cost cost_topk(const struct dispatch *d, const void *params)
{
    const struct vkm_params_topk *p = params;
    return words(d->rows * (2.0 * p->ld + 2.0 * p->k), d->rows * p->n * (4.0 + p->k));
}

static struct vkm_cost cost_topk_steered(const struct dispatch *d, const void *params)
{
    const struct vkm_params_topk_steered *p = params;
    return words(d->rows * (2.0 * p->ld + 2.0 * p->k + p->n), d->rows * p->n * (4.0 + p->k));
}

static struct vkm_cost cost_topk_kept(const struct dispatch *d, const void *params)
{
    const struct vkm_params_topk_kept *p = params;
    return words(d->rows * (2.0 * vkm_ld(p->n) + 2.0 * p->k + p->n + 3.0 * p->ranks),
                 d->rows * p->n * (4.0 + p->k));
}

static struct vkm_cost cost_route_count(const struct dispatch *d, const void *params)
{
    const struct vkm_params_route_count *p = params;
    (void)d;
    double counts = 2.0 * p->n * VKM_COUNT_WORDS, pairs = p->use_pairs ? 2.0 * p->k * p->k : 0;
    return words(p->n_rows * (p->ld + 2.0 * p->k + pairs) + counts,
                 (double)p->n_rows * p->n * p->k);
}

static struct vkm_cost cost_random_words(const struct dispatch *d, const void *params)
{
    const struct vkm_params_random_words *p = params;
    (void)d;
    return words(p->words, 0);
}

static struct vkm_cost cost_kv_copy(const struct dispatch *d, const void *params)
{
    const struct vkm_params_kv_copy *p = params;
    (void)d;
    return words(4.0 * p->words, 0); /* keys and values, read and written */
}

static struct vkm_cost cost_probe_read(const struct dispatch *d, const void *params)
{
    const struct vkm_params_probe_read *p = params;
    (void)d;
    return words(4.0 * p->quads + p->count, 4.0 * p->quads);
}

static struct vkm_cost cost_probe_fma(const struct dispatch *d, const void *params)
{
    const struct vkm_params_probe_fma *p = params;
    (void)d;
    return words(p->count,
                 2.0 * VKM_PROBE_CHAINS * VKM_PROBE_UNROLL * (double)p->rounds * p->count);
}

/* --- products: n_matrices of n_out rows, `rows` rows of x --- */

struct product {
    double n_matrices, n_out, k_ld, rows;
    double x_words, y_words;
};

static struct vkm_cost product(const struct dispatch *d, const struct product *p)
{
    double weights = (double)vkm_matrix_bytes(d->dtype, (uint64_t)p->n_out, (uint64_t)p->k_ld);
    return (struct vkm_cost){
        .bytes = p->n_matrices * weights + WORD * (p->x_words + p->y_words),
        .operations = 2 * p->n_out * p->k_ld * p->rows,
        .weights = p->n_matrices * weights,
    };
}

static struct vkm_cost cost_gemv(const struct dispatch *d, const void *params)
{
    const struct vkm_params_gemv *p = params;
    double rows = p->n_rows;
    return product(d, &(struct product){1, p->n_out, p->k_ld, rows, rows * p->k_ld,
                                        rows * p->y_ld + (p->use_bias ? p->n_out : 0)});
}
#define cost_gemm cost_gemv

static struct vkm_cost cost_gemv_add(const struct dispatch *d, const void *params)
{
    const struct vkm_params_gemv_add *p = params;
    double rows = p->n_rows;
    return product(d, &(struct product){1, p->n_out, p->k_ld, rows, rows * p->k_ld,
                                        2 * rows * p->n_out + (p->use_bias ? p->n_out : 0)});
}
#define cost_gemm_add cost_gemv_add

static struct vkm_cost cost_ffn_gemv_up(const struct dispatch *d, const void *params)
{
    const struct vkm_params_ffn_gemv_up *p = params;
    double rows = p->n_rows;
    return product(
        d, &(struct product){2, p->width, p->k_ld, 2 * rows, rows * p->k_ld, rows * p->h_ld});
}
#define cost_ffn_gemm_up cost_ffn_gemv_up

static struct vkm_cost cost_moe_gemv_up(const struct dispatch *d, const void *params)
{
    const struct vkm_params_moe_gemv_up *p = params;
    double pairs = p->n_pairs;
    return product(d, &(struct product){2 * d->facts->experts, p->width, p->k_ld, 2 * pairs,
                                        pairs / p->k * p->k_ld, pairs * p->h_ld});
}

static struct vkm_cost cost_moe_gemv_down(const struct dispatch *d, const void *params)
{
    const struct vkm_params_moe_gemv_down *p = params;
    double pairs = d->rows * p->k, shared = p->shared_width > 0 ? 1 : 0;
    struct vkm_cost routed =
        product(d, &(struct product){d->facts->experts, p->n_out, p->h_ld, pairs, pairs * p->h_ld,
                                     2 * d->rows * p->x_ld});
    struct vkm_cost always =
        product(d, &(struct product){shared, p->n_out, p->shared_ld, shared * d->rows,
                                     d->rows * p->shared_ld, 0});
    return (struct vkm_cost){.bytes = routed.bytes + always.bytes,
                             .operations = routed.operations + always.operations,
                             .weights = routed.weights + always.weights};
}

/* Grouped products: their workgroup counts are estimates, all pairs and the lists among which those
 * are shared, nobody knows how: equally here, so that all lists together come to what is true. */
static struct vkm_cost cost_moe_gemm_up(const struct dispatch *d, const void *params)
{
    const struct vkm_params_moe_gemm_up *p = params;
    double lists = d->op->groups[1], pairs = d->op->groups[0] / lists;
    return product(d, &(struct product){2 * d->facts->experts / lists, p->width, p->k_ld, 2 * pairs,
                                        pairs / p->k * p->k_ld, pairs * p->h_ld});
}

static struct vkm_cost cost_moe_gemm_down(const struct dispatch *d, const void *params)
{
    const struct vkm_params_moe_gemm_down *p = params;
    double lists = d->op->groups[1], pairs = d->op->groups[0] / lists;
    return product(d, &(struct product){d->facts->experts / lists, p->n_out, p->h_ld, pairs,
                                        pairs * p->h_ld, pairs * p->y_ld});
}

static struct vkm_cost cost_moe_combine(const struct dispatch *d, const void *params)
{
    const struct vkm_params_moe_combine *p = params;
    double elements = (double)p->n_rows * p->ld;
    (void)d;
    return words((p->k + 2.0) * elements, 2.0 * p->k * elements);
}

/* --- the expert sort --- */

static struct vkm_cost cost_moe_histogram(const struct dispatch *d, const void *params)
{
    const struct vkm_params_moe_histogram *p = params;
    return words(p->n_pairs + (double)d->op->groups[0] * p->n_experts, 0);
}

static struct vkm_cost cost_moe_scan(const struct dispatch *d, const void *params)
{
    const struct vkm_params_moe_scan *p = params;
    (void)d;
    return words(2.0 * p->n_sort_tiles * p->n_experts, 0);
}

static struct vkm_cost cost_moe_scatter(const struct dispatch *d, const void *params)
{
    const struct vkm_params_moe_scatter *p = params;
    return words(2.0 * p->n_pairs + (double)d->op->groups[0] * p->n_experts, 0);
}

/* --- attention --- */

static struct vkm_cost cost_rope_kv(const struct dispatch *d, const void *params)
{
    const struct vkm_params_rope_kv *p = params;
    double rotated = (double)p->n_heads + p->n_kv_heads;
    double queries = 2.0 * p->n_heads * p->head_dim;
    double kept = 2.0 * p->n_kv_heads * (p->head_dim + vkm_kv_words(d->dtype, p->head_dim));
    return words(d->rows * (queries + kept), 3 * d->rows * rotated * p->head_dim);
}

static struct vkm_cost cost_attention(const struct dispatch *d, const void *params)
{
    const struct vkm_params_attention *p = params;
    double width = (double)p->n_heads * p->head_dim;
    double out = p->n_splits > 1 ? (double)p->n_splits * p->n_heads * (p->head_dim + 2.0) : width;
    return words(2 * d->facts->cached * p->n_kv_heads * vkm_kv_words(d->dtype, p->head_dim) +
                     p->n_rows * (width + out),
                 d->facts->positions * (4 * width + 4.0 * p->n_heads));
}

static struct vkm_cost cost_attention_combine(const struct dispatch *d, const void *params)
{
    const struct vkm_params_attention_combine *p = params;
    double parts = d->rows * p->n_heads * p->n_splits;
    return words(parts * (p->head_dim + 2.0) + d->rows * p->n_heads * p->head_dim,
                 2 * parts * p->head_dim);
}

/* --- the vocabulary --- */

static struct vkm_cost cost_penalise(const struct dispatch *d, const void *params)
{
    const struct vkm_params_penalise *p = params;
    return words(2 * d->rows * p->ld, 0);
}

static struct vkm_cost cost_sample_cut(const struct dispatch *d, const void *params)
{
    const struct vkm_params_sample_cut *p = params;
    return words(d->rows * p->vocab, 2 * d->rows * p->vocab);
}

static struct vkm_cost cost_sample_blocks(const struct dispatch *d, const void *params)
{
    const struct vkm_params_sample_blocks *p = params;
    double blocks = vkm_ceil_div(p->vocab, VKM_VOCAB_BLOCK);
    return words(d->rows * (p->vocab + 3 * blocks), 4 * d->rows * p->vocab);
}

/* The blocks' summaries, and the logits of the block that the token lies in. */
static struct vkm_cost cost_sample(const struct dispatch *d, const void *params)
{
    const struct vkm_params_sample *p = params;
    double blocks = vkm_ceil_div(p->vocab, VKM_VOCAB_BLOCK);
    return words(d->rows * (3 * blocks + VKM_VOCAB_BLOCK), d->rows * 4 * VKM_VOCAB_BLOCK);
}

static struct vkm_cost cost_token_loss(const struct dispatch *d, const void *params)
{
    const struct vkm_params_token_loss *p = params;
    return words(d->rows * p->vocab, 4 * d->rows * p->vocab);
}

/* --- */

static cost_fn *const costs[VKM_KERNEL_COUNT] = {
#define KERNEL(name, ...) cost_##name,
#include "kernels/table.def"
#undef KERNEL
};

struct vkm_cost vkm_op_cost(const struct vkm_stream *stream, const struct vkm_op *op,
                            const struct vkm_cost_facts *facts)
{
    const struct dispatch d = {
        .op = op,
        .dtype = vkm_op_kernel(stream, op)->variants[op->variant].dtype,
        .rows = op->groups[1],
        .facts = facts,
    };
    return costs[op->kernel](&d, vkm_op_params(stream, op));
}

/* --- before it runs --- */

/* Positions and experts that an op may meet, by its params. */
static struct vkm_cost_facts most_facts(const struct vkm_stream *stream, const struct vkm_op *op)
{
    const void *params = vkm_op_params(stream, op);
    const struct vkm_params_attention *attention = params;
    const struct vkm_params_moe_gemv_up *gemv_up = params;
    const struct vkm_params_moe_gemv_down *gemv_down = params;
    const struct vkm_params_moe_gemm_up *gemm_up = params;
    const struct vkm_params_moe_gemm_down *gemm_down = params;
    double bound, pairs = op->groups[0];
    switch (op->kernel) {
    case VKM_K_attention:
        bound = (double)attention->n_splits * attention->span;
        return (struct vkm_cost_facts){
            .positions = attention->n_rows * bound,
            .cached = attention->consecutive ? bound : attention->n_rows * bound};
    case VKM_K_moe_gemv_up:
        return (struct vkm_cost_facts){.experts = fmin(gemv_up->n_pairs, gemv_up->n_experts)};
    case VKM_K_moe_gemv_down:
        return (struct vkm_cost_facts){
            .experts = fmin((double)op->groups[1] * gemv_down->k, gemv_down->n_experts)};
    case VKM_K_moe_gemm_up:
        return (struct vkm_cost_facts){.experts = fmin(pairs, gemm_up->n_experts)};
    case VKM_K_moe_gemm_down:
        return (struct vkm_cost_facts){.experts = fmin(pairs, gemm_down->n_experts)};
    default:
        return (struct vkm_cost_facts){0};
    }
}

double vkm_op_work(const struct vkm_stream *stream, const struct vkm_op *op)
{
    struct vkm_cost_facts facts = most_facts(stream, op);
    struct vkm_cost cost = vkm_op_cost(stream, op, &facts);
    return cost.bytes + cost.operations;
}
