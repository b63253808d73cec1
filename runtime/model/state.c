#include "model/state.h"

#include <string.h>

#include "kernels/ops.h"
#include "model/rope.h"
#include "model/weights.h"

/* Cuts views off one buffer, one after the other. */
struct cutter {
    struct vkm_buffer *buffer;
    uint64_t at;
};

static struct vkm_view cut(struct cutter *c, uint64_t count, uint64_t size)
{
    struct vkm_view view = {c->buffer, c->at, count * size};
    c->at = vkm_align_up(c->at + view.size, 256);
    return view;
}

static void lay_out_host(struct vkm_state *s, const struct vkm_config *c, struct cutter *host)
{
    const struct vkm_state_params *p = &s->params;
    uint32_t k = p->routing.by_table ? vkm_router_most(&p->routing) : 0;
    s->block_stride = vkm_ceil_div(p->context, VKM_KV_BLOCK);
    s->rows = cut(host, p->max_rows, sizeof(struct vkm_row));
    s->next = cut(host, p->max_logits, sizeof(struct vkm_row));
    s->logit_rows = cut(host, p->max_logits, sizeof(uint32_t));
    s->blocks = cut(host, (uint64_t)p->sequences * s->block_stride, sizeof(uint32_t));
    s->samplers = cut(host, p->sequences, sizeof(struct vkm_sampler));
    s->sampled = cut(host, vkm_max_u32(p->max_logits, VKM_STEPS_AHEAD * VKM_SAMPLED_STRIDE),
                     sizeof(uint32_t));
    s->history = cut(host, (uint64_t)p->sequences * p->context, sizeof(uint32_t));
    s->targets = cut(host, p->max_logits, sizeof(uint32_t));
    s->losses = cut(host, p->max_logits, sizeof(float));
    s->experts_stride = vkm_align_up(c->n_routed_experts * sizeof(uint32_t), 256);
    s->experts = cut(host, vkm_config_moe_layers(c), s->experts_stride);
    s->table = cut(host, (uint64_t)c->vocab_size * k, sizeof(uint32_t));
}

static void lay_out_counts(struct vkm_state *s, const struct vkm_config *c, struct cutter *device)
{
    uint64_t n = c->n_routed_experts, layers = vkm_config_moe_layers(c);
    s->counts_stride = vkm_align_up(n * VKM_COUNT_WORDS * sizeof(uint32_t), 256);
    s->pairs_stride = vkm_align_up(n * n * sizeof(uint32_t), 256);
    s->counts = cut(device, s->params.routing.count ? layers : 0, s->counts_stride);
    s->pairs = cut(device, s->params.routing.count_pairs ? layers : 0, s->pairs_stride);
}

static void lay_out_kept(struct vkm_state *s, const struct vkm_config *c, struct cutter *kept)
{
    const struct vkm_state_params *p = &s->params;
    uint64_t rows = p->routing.keep > 0 ? (uint64_t)p->sequences * p->context : 0;
    uint64_t id_bytes = p->routing.keep * sizeof(uint32_t);
    uint64_t weight_bytes = 2 * p->routing.keep * sizeof(float);
    s->kept_ids_stride = vkm_align_up(rows * id_bytes, 256);
    s->kept_weights_stride = vkm_align_up(rows * weight_bytes, 256);
    s->kept_ids = cut(kept, vkm_config_moe_layers(c), s->kept_ids_stride);
    s->kept_weights = cut(kept, vkm_config_moe_layers(c), s->kept_weights_stride);
}

static void lay_out_moe(struct vkm_state *s, const struct vkm_config *c, struct cutter *device)
{
    uint64_t rows = s->params.max_rows;
    uint32_t pairs = s->params.max_rows * vkm_router_most(&s->params.routing);
    uint64_t sort_words = (uint64_t)vkm_moe_sort_tiles(pairs) * c->n_routed_experts;
    s->router_logits = cut(device, rows * vkm_ld(c->n_routed_experts), sizeof(float));
    s->router_probs = cut(device, rows * vkm_ld(c->n_routed_experts), sizeof(float));
    s->expert_hidden =
        cut(device, (uint64_t)pairs * vkm_ld(c->moe_intermediate_size), sizeof(float));
    s->expert_out = cut(device, (uint64_t)pairs * vkm_ld(c->hidden_size), sizeof(float));
    s->histogram = cut(device, sort_words, sizeof(uint32_t));
    s->offsets = cut(device, sort_words, sizeof(uint32_t));
    s->tiles = cut(device, vkm_moe_all_tiles(pairs, c->n_routed_experts), 4 * sizeof(uint32_t));
    s->sort_args = cut(device, 6 * VKM_TILE_HEIGHTS, sizeof(uint32_t));
    s->order = cut(device, pairs, sizeof(uint32_t));
    s->trace_stride = vkm_align_up((uint64_t)pairs * sizeof(uint32_t), 256);
    s->topk_ids = cut(device, vkm_config_moe_layers(c), s->trace_stride);
    s->topk_gates = cut(device, vkm_config_moe_layers(c), s->trace_stride);
    lay_out_counts(s, c, device);
}

static void lay_out_device(struct vkm_state *s, const struct vkm_config *c, struct cutter *device)
{
    uint64_t rows = s->params.max_rows, logits = s->params.max_logits;
    uint32_t half = c->head_dim / 2;
    uint32_t heads = c->num_attention_heads * c->head_dim;
    uint32_t kv = c->num_key_value_heads * c->head_dim;
    uint32_t vocab_blocks = vkm_ceil_div(c->vocab_size, VKM_VOCAB_BLOCK);
    uint32_t moe_layers = vkm_config_moe_layers(c);
    uint32_t width = moe_layers > 0 ? c->n_shared_experts * c->moe_intermediate_size : 0;
    if (moe_layers < c->num_hidden_layers)
        width = vkm_max_u32(width, c->intermediate_size);

    s->rope_low = cut(device, (uint64_t)VKM_ROPE_SPLIT * half, 2 * sizeof(float));
    s->rope_high =
        cut(device, (uint64_t)vkm_rope_high_count(s->params.context) * half, 2 * sizeof(float));
    s->x = cut(device, rows * vkm_ld(c->hidden_size), sizeof(float));
    s->normed = cut(device, rows * vkm_ld(c->hidden_size), sizeof(float));
    s->qkv = cut(device, rows * vkm_ld(heads + 2 * kv), sizeof(float));
    s->attended = cut(device, rows * vkm_ld(heads), sizeof(float));
    s->parts = cut(device, s->params.parts * (c->head_dim + 2), sizeof(float));
    s->ffn_hidden = cut(device, rows * vkm_ld(width), sizeof(float));
    s->logits = cut(device, logits * vkm_ld(c->vocab_size), sizeof(float));
    s->penalised =
        cut(device, (uint64_t)s->params.sequences * vkm_ld(c->vocab_size), sizeof(float));
    s->cut = cut(device, logits, sizeof(uint32_t));
    s->best = cut(device, logits * vocab_blocks, 2 * sizeof(float));
    s->best_at = cut(device, logits * vocab_blocks, sizeof(uint32_t));
    if (moe_layers > 0)
        lay_out_moe(s, c, device);
}

static struct vkm_state_bytes lay_out(struct vkm_state *s, const struct vkm_config *config,
                                      const struct vkm_state_params *params,
                                      struct vkm_buffer *device, struct vkm_buffer *host,
                                      struct vkm_buffer *kept)
{
    struct cutter d = {.buffer = device}, h = {.buffer = host}, k = {.buffer = kept};
    *s = (struct vkm_state){.params = *params};
    lay_out_device(s, config, &d);
    lay_out_host(s, config, &h);
    lay_out_kept(s, config, &k);
    return (struct vkm_state_bytes){d.at, h.at, k.at};
}

struct vkm_state_bytes vkm_state_bytes(const struct vkm_config *config,
                                       const struct vkm_state_params *params)
{
    struct vkm_state s;
    return lay_out(&s, config, params, NULL, NULL, NULL);
}

void vkm_state_plan(struct vkm_state *s, const struct vkm_config *config,
                    const struct vkm_state_params *params, struct vkm_buffer stand_ins[3])
{
    struct vkm_state_bytes bytes =
        lay_out(s, config, params, &stand_ins[0], &stand_ins[1], &stand_ins[2]);
    stand_ins[0] = (struct vkm_buffer){.size = bytes.device};
    stand_ins[1] = (struct vkm_buffer){.size = bytes.host};
    stand_ins[2] = (struct vkm_buffer){.size = bytes.kept};
}

static vkmoe_status upload_rope(struct vkm_state *s, const struct vkm_config *config,
                                vkmoe_error *err)
{
    const vkmoe_allocator *a = vkm_gpu_allocator(s->gpu);
    struct vkm_uploader *u = NULL;
    float *tables = vkm_malloc(a, (size_t)(s->rope_low.size + s->rope_high.size), 1);
    if (!tables)
        return vkm_fail_memory(err, (size_t)s->rope_high.size, "the RoPE tables");
    float *high = tables + s->rope_low.size / sizeof(float);
    vkm_rope_tables(config, s->params.context, tables, high);
    vkmoe_status status = vkm_uploader_create(s->gpu, &u, err);
    if (status == VKMOE_OK)
        status = vkm_uploader_write(u, s->rope_low, tables, s->rope_low.size, err);
    if (status == VKMOE_OK)
        status = vkm_uploader_write(u, s->rope_high, high, s->rope_high.size, err);
    if (status == VKMOE_OK)
        status = vkm_uploader_flush(u, err);
    vkm_uploader_destroy(u);
    vkm_free(a, tables);
    return status;
}

/* Host memory, and all views over it and over `device`. */
static vkmoe_status attach_host(struct vkm_state *s, struct vkm_gpu *gpu,
                                const struct vkm_config *config,
                                const struct vkm_state_params *params, struct vkm_buffer *device,
                                vkmoe_error *err)
{
    struct vkm_buffer *host = NULL, *kept = NULL;
    struct vkm_state_bytes bytes = vkm_state_bytes(config, params);
    vkmoe_status status =
        vkm_buffer_create(gpu, VKM_MEMORY_SHARED, bytes.host, "step state", &host, err);
    if (status == VKMOE_OK && bytes.kept > 0)
        status = vkm_buffer_create(gpu, VKM_MEMORY_HOST, bytes.kept,
                                   "the experts of each token that are kept", &kept, err);
    if (status != VKMOE_OK) {
        vkm_buffer_destroy(gpu, host);
        return status;
    }
    lay_out(s, config, params, device, host, kept);
    s->gpu = gpu;
    s->host = host;
    s->kept = kept;
    return VKMOE_OK;
}

vkmoe_status vkm_state_allocate(struct vkm_state *s, struct vkm_gpu *gpu,
                                const struct vkm_config *config,
                                const struct vkm_state_params *params, vkmoe_error *err)
{
    struct vkm_buffer *device = NULL;
    vkmoe_status status =
        vkm_buffer_create(gpu, VKM_MEMORY_DEVICE, vkm_state_bytes(config, params).device,
                          "activations", &device, err);
    if (status == VKMOE_OK)
        status = attach_host(s, gpu, config, params, device, err);
    if (status != VKMOE_OK) {
        vkm_buffer_destroy(gpu, device);
        return status;
    }
    s->device = device;
    return VKMOE_OK;
}

vkmoe_status vkm_state_init(struct vkm_state *s, struct vkm_gpu *gpu,
                            const struct vkm_config *config, const struct vkm_state_params *params,
                            vkmoe_error *err)
{
    vkmoe_status status = vkm_state_allocate(s, gpu, config, params, err);
    if (status != VKMOE_OK)
        return status;
    memset(s->host->mapped, 0, (size_t)s->host->size);
    status = upload_rope(s, config, err);
    if (status != VKMOE_OK)
        vkm_state_finish(s);
    return status;
}

vkmoe_status vkm_state_fork(struct vkm_state *s, const struct vkm_state *from,
                            const struct vkm_config *config, vkmoe_error *err)
{
    vkmoe_status status = attach_host(s, from->gpu, config, &from->params, from->x.buffer, err);
    if (status == VKMOE_OK)
        memset(s->host->mapped, 0, (size_t)s->host->size);
    return status;
}

void vkm_state_finish(struct vkm_state *s)
{
    if (!s->gpu)
        return;
    vkm_buffer_destroy(s->gpu, s->device);
    vkm_buffer_destroy(s->gpu, s->host);
    vkm_buffer_destroy(s->gpu, s->kept);
    *s = (struct vkm_state){0};
}
