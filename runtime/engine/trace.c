/* A trace as a safetensors file. */
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

struct routes {
    int32_t *ids;
    float *gates;
};

static bool copy_routes(const vkmoe_allocator *a, const vkmoe_trace *trace, size_t rows, uint32_t k,
                        struct routes *r)
{
    r->ids = vkm_malloc(a, rows * k, sizeof(*r->ids));
    r->gates = vkm_malloc(a, rows * k, sizeof(*r->gates));
    if (!r->ids || !r->gates)
        return false;
    if (rows * k > 0) {
        memcpy(r->ids, trace->topk_ids, rows * k * sizeof(*r->ids));
        memcpy(r->gates, trace->topk_gates, rows * k * sizeof(*r->gates));
    }
    for (size_t i = 0; i < rows; i++)
        sort_route(r->ids + i * k, r->gates + i * k, k);
    return true;
}

static void free_names(const vkmoe_allocator *a, struct vkm_tensor_out *tensors, size_t n)
{
    for (size_t i = 2; tensors && i < n; i++)
        vkm_free(a, (char *)(uintptr_t)tensors[i].name);
    vkm_free(a, tensors);
}

vkmoe_status vkmoe_trace_write(const vkmoe_model *model, const int32_t *tokens, size_t count,
                               const vkmoe_trace *trace, const char *path, vkmoe_error *err)
{
    VKM_REQUIRE(model && tokens && trace && path, err);
    VKM_REQUIRE(trace->logits && trace->topk_ids && trace->topk_gates, err);
    const vkmoe_allocator *a = vkm_gpu_allocator(model->gpu);
    uint32_t layers = model->info.n_moe_layers;
    uint32_t k =
        trace->experts_per_token > 0 ? trace->experts_per_token : model->info.n_experts_per_token;
    size_t n = 2 + 2 * (size_t)layers;
    struct routes r = {0};
    struct vkm_tensor_out *tensors = vkm_calloc(a, n, sizeof(*tensors));
    bool room = tensors && copy_routes(a, trace, layers * count, k, &r);
    if (room) {
        tensors[0] = (struct vkm_tensor_out){"tokens", VKM_DTYPE_I32, 1, {count}, tokens};
        tensors[1] = (struct vkm_tensor_out){
            "logits", VKM_DTYPE_F32, 2, {count, model->info.vocab_size}, trace->logits};
    }
    for (uint32_t i = 0; i < layers && room; i++) {
        uint32_t layer = vkmoe_model_moe_layer(model, i);
        struct vkm_tensor_out *t = &tensors[2 + 2 * i];
        t[0] = (struct vkm_tensor_out){vkm_format(a, "layers.%u.topk_idx", layer),
                                       VKM_DTYPE_I32,
                                       2,
                                       {count, k},
                                       r.ids + i * count * k};
        t[1] = (struct vkm_tensor_out){vkm_format(a, "layers.%u.topk_weight", layer),
                                       VKM_DTYPE_F32,
                                       2,
                                       {count, k},
                                       r.gates + i * count * k};
        room = t[0].name && t[1].name;
    }
    vkmoe_status status = room ? vkm_safetensors_write(a, path, tensors, n, err)
                               : vkm_fail_memory(err, count * k * 8, path);
    free_names(a, tensors, n);
    vkm_free(a, r.ids);
    vkm_free(a, r.gates);
    return status;
}
