/* Traces and routes as safetensors files. */
#include <string.h>

#include "engine/engine.h"
#include "model/safetensors.h"

/* Sorts one token's experts by falling gate, lower id first; k is small. */
static void sort_route(int32_t *ids, float *gates, uint32_t k)
{
    for (uint32_t i = 1; i < k; i++) {
        int32_t id = ids[i];
        float gate = gates[i];
        uint32_t at = i;
        for (; at > 0 && (gates[at - 1] < gate || (gates[at - 1] == gate && ids[at - 1] > id));
             at--) {
            ids[at] = ids[at - 1];
            gates[at] = gates[at - 1];
        }
        ids[at] = id;
        gates[at] = gate;
    }
}

struct sorted {
    int32_t *ids;
    float *gates;
};

static vkmoe_status sort_routes(const vkmoe_allocator *a, const vkmoe_trace *trace, size_t rows,
                                uint32_t k, struct sorted *s, vkmoe_error *err)
{
    s->ids = vkm_malloc(a, rows * k, sizeof(*s->ids));
    s->gates = vkm_malloc(a, rows * k, sizeof(*s->gates));
    if (!s->ids || !s->gates)
        return vkm_fail_memory(err, rows * k * sizeof(*s->ids), "a sorted trace");
    memcpy(s->ids, trace->topk_ids, rows * k * sizeof(*s->ids));
    memcpy(s->gates, trace->topk_gates, rows * k * sizeof(*s->gates));
    for (size_t i = 0; i < rows; i++)
        sort_route(s->ids + i * k, s->gates + i * k, k);
    return VKMOE_OK;
}

/* What a file is made of: tensors of each MoE layer, [count, k] of four bytes each, and of all. */
enum { PER_LAYER = 3 };

struct contents {
    const int32_t *tokens;
    size_t count;
    const float *logits; /* or NULL, as all below */
    uint32_t k;
    struct {
        const char *name;
        enum vkm_dtype dtype;
        const void *data; /* [layers, count, k] */
    } parts[PER_LAYER];
};

/* Names are to be freed by the caller, but for those of the first two. */
static bool add_layer(const struct vkmoe_model *m, const struct contents *c, uint32_t index,
                      struct vkm_tensor_out *tensors, size_t *n)
{
    uint32_t layer = vkmoe_model_moe_layer(m, index);
    uint64_t size = (uint64_t)c->count * c->k * 4;
    for (size_t i = 0; i < PER_LAYER; i++) {
        if (!c->parts[i].data)
            continue;
        struct vkm_tensor_out *t = &tensors[*n];
        *t = (struct vkm_tensor_out){
            .name =
                vkm_format(vkm_gpu_allocator(m->gpu), "layers.%u.topk_%s", layer, c->parts[i].name),
            .dtype = c->parts[i].dtype,
            .n_dims = 2,
            .shape = {c->count, c->k},
            .data = (const unsigned char *)c->parts[i].data + index * size,
        };
        if (!t->name)
            return false;
        ++*n;
    }
    return true;
}

static vkmoe_status write_contents(const struct vkmoe_model *m, const struct contents *c,
                                   const char *path, vkmoe_error *err)
{
    const vkmoe_allocator *a = vkm_gpu_allocator(m->gpu);
    uint32_t layers = m->info.n_moe_layers;
    size_t n = 0, most = 2 + PER_LAYER * (size_t)layers;
    struct vkm_tensor_out *tensors = vkm_calloc(a, most, sizeof(*tensors));
    bool room = tensors;
    if (room)
        tensors[n++] = (struct vkm_tensor_out){"tokens", VKM_DTYPE_I32, 1, {c->count}, c->tokens};
    if (room && c->logits)
        tensors[n++] = (struct vkm_tensor_out){
            "logits", VKM_DTYPE_F32, 2, {c->count, m->info.vocab_size}, c->logits};
    size_t named = n;
    for (uint32_t i = 0; i < layers && room; i++)
        room = add_layer(m, c, i, tensors, &n);
    vkmoe_status status = room ? vkm_safetensors_write(a, path, tensors, n, err)
                               : vkm_fail_memory(err, most * sizeof(*tensors), path);
    for (size_t i = named; i < n; i++)
        vkm_free(a, (char *)(uintptr_t)tensors[i].name);
    vkm_free(a, tensors);
    return status;
}

vkmoe_status vkmoe_trace_write(const vkmoe_model *model, const int32_t *tokens, size_t count,
                               const vkmoe_trace *trace, const char *path, vkmoe_error *err)
{
    VKM_REQUIRE(model && tokens && trace && path, err);
    const vkmoe_allocator *a = vkm_gpu_allocator(model->gpu);
    uint32_t k =
        trace->experts_per_token > 0 ? trace->experts_per_token : model->info.n_experts_per_token;
    size_t rows = model->info.n_moe_layers * count;
    struct sorted s = {0};
    vkmoe_status status = VKMOE_OK;
    bool both = trace->topk_ids && trace->topk_gates && rows * k > 0;
    if (both)
        status = sort_routes(a, trace, rows, k, &s, err);
    if (status == VKMOE_OK)
        status = write_contents(
            model,
            &(struct contents){
                .tokens = tokens,
                .count = count,
                .logits = trace->logits,
                .k = k,
                .parts = {{"idx", VKM_DTYPE_I32, both ? s.ids : trace->topk_ids},
                          {"weight", VKM_DTYPE_F32, both ? s.gates : trace->topk_gates}}},
            path, err);
    vkm_free(a, s.ids);
    vkm_free(a, s.gates);
    return status;
}

vkmoe_status vkmoe_routes_write(const vkmoe_model *model, const int32_t *tokens,
                                const vkmoe_routes *routes, const char *path, vkmoe_error *err)
{
    VKM_REQUIRE(model && tokens && routes && path, err);
    return write_contents(model,
                          &(struct contents){.tokens = tokens,
                                             .count = routes->count,
                                             .k = routes->ranks,
                                             .parts = {{"idx", VKM_DTYPE_I32, routes->ids},
                                                       {"weight", VKM_DTYPE_F32, routes->gates},
                                                       {"prob", VKM_DTYPE_F32, routes->probs}}},
                          path, err);
}
