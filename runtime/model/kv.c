#include "model/kv.h"

#include <string.h>

#include "../../shaders/params.h"
#include "kernels/kv_layout.h"

enum vkm_dtype vkm_kv_dtype(vkmoe_kv kind)
{
    static const enum vkm_dtype types[VKMOE_KV_COUNT] = {[VKMOE_KV_F32] = VKM_DTYPE_F32,
                                                         [VKMOE_KV_F16] = VKM_DTYPE_F16,
                                                         [VKMOE_KV_BF16] = VKM_DTYPE_BF16,
                                                         [VKMOE_KV_Q8] = VKM_DTYPE_Q8};
    return types[kind];
}

static uint64_t layer_block_bytes(const struct vkm_config *c, enum vkm_dtype dtype)
{
    return (uint64_t)c->num_key_value_heads * vkm_kv_words(dtype, c->head_dim) * VKM_KV_BLOCK *
           sizeof(uint32_t);
}

uint64_t vkm_kv_bytes(const struct vkm_config *config, enum vkm_dtype dtype, uint32_t positions)
{
    return 2 * config->num_hidden_layers * layer_block_bytes(config, dtype) *
           vkm_ceil_div(positions, VKM_KV_BLOCK);
}

vkmoe_status vkm_kv_init(struct vkm_kv *kv, struct vkm_gpu *gpu, const struct vkm_config *config,
                         enum vkm_dtype dtype, uint32_t n_blocks, vkmoe_error *err)
{
    const vkmoe_allocator *a = vkm_gpu_allocator(gpu);
    *kv = (struct vkm_kv){.gpu = gpu,
                          .dtype = dtype,
                          .n_layers = config->num_hidden_layers,
                          .n_blocks = n_blocks,
                          .block_bytes = layer_block_bytes(config, dtype)};
    kv->keys = vkm_calloc(a, kv->n_layers, sizeof(struct vkm_buffer *));
    kv->values = vkm_calloc(a, kv->n_layers, sizeof(struct vkm_buffer *));
    kv->references = vkm_calloc(a, n_blocks, sizeof(uint32_t));
    kv->free = vkm_calloc(a, n_blocks, sizeof(uint32_t));
    uint64_t size = kv->block_bytes * n_blocks;
    vkmoe_status status = VKMOE_OK;
    if (!kv->keys || !kv->values || !kv->references || !kv->free)
        status = vkm_fail_memory(err, n_blocks * sizeof(uint32_t), "the KV cache's tables");
    for (uint32_t i = 0; i < kv->n_layers && status == VKMOE_OK; i++) {
        status = vkm_buffer_create(gpu, VKM_MEMORY_DEVICE, size, "the KV cache", &kv->keys[i], err);
        if (status == VKMOE_OK)
            status = vkm_buffer_create(gpu, VKM_MEMORY_DEVICE, size, "the KV cache", &kv->values[i],
                                       err);
    }
    if (status != VKMOE_OK) {
        vkm_kv_finish(kv);
        return status;
    }
    for (uint32_t i = 0; i < n_blocks; i++)
        kv->free[kv->n_free++] = n_blocks - 1 - i;
    return VKMOE_OK;
}

uint64_t vkm_kv_held(const struct vkm_kv *kv)
{
    return 2 * kv->n_layers * kv->block_bytes * kv->n_blocks;
}

void vkm_kv_finish(struct vkm_kv *kv)
{
    if (!kv->gpu)
        return;
    const vkmoe_allocator *a = vkm_gpu_allocator(kv->gpu);
    for (uint32_t i = 0; i < kv->n_layers; i++) {
        if (kv->keys)
            vkm_buffer_destroy(kv->gpu, kv->keys[i]);
        if (kv->values)
            vkm_buffer_destroy(kv->gpu, kv->values[i]);
    }
    vkm_free(a, kv->keys);
    vkm_free(a, kv->values);
    vkm_free(a, kv->references);
    vkm_free(a, kv->free);
    *kv = (struct vkm_kv){0};
}

vkmoe_status vkm_kv_sequence_init(struct vkm_kv *kv, struct vkm_kv_sequence *s,
                                  uint32_t max_positions, vkmoe_error *err)
{
    *s = (struct vkm_kv_sequence){.capacity = vkm_ceil_div(max_positions, VKM_KV_BLOCK)};
    s->blocks = vkm_calloc(vkm_gpu_allocator(kv->gpu), s->capacity, sizeof(*s->blocks));
    if (!s->blocks)
        return vkm_fail_memory(err, s->capacity * sizeof(*s->blocks), "a sequence");
    return VKMOE_OK;
}

vkmoe_status vkm_kv_extend(struct vkm_kv *kv, struct vkm_kv_sequence *s, uint32_t extra,
                           vkmoe_error *err)
{
    uint64_t wanted = ((uint64_t)s->length + extra + VKM_KV_BLOCK - 1) / VKM_KV_BLOCK;
    if (wanted > s->capacity || (wanted > s->count && wanted - s->count > kv->n_free))
        return vkm_fail(err, VKMOE_CONTEXT_FULL,
                        "the context is full: %u tokens are in it and %u more do not fit",
                        s->length, extra);
    vkmoe_status status = VKMOE_OK;
    while (s->count < wanted && status == VKMOE_OK)
        status = vkm_kv_take(kv, &s->blocks[s->count++], err);
    return status;
}

vkmoe_status vkm_kv_take(struct vkm_kv *kv, uint32_t *block, vkmoe_error *err)
{
    if (kv->n_free == 0)
        return vkm_fail(err, VKMOE_CONTEXT_FULL,
                        "the KV cache is full: all of its %u blocks of %u tokens are in use",
                        kv->n_blocks, VKM_KV_BLOCK);
    *block = kv->free[--kv->n_free];
    kv->references[*block] = 1;
    return VKMOE_OK;
}

void vkm_kv_give_back(struct vkm_kv *kv, uint32_t block)
{
    if (--kv->references[block] == 0)
        kv->free[kv->n_free++] = block;
}

bool vkm_kv_is_shared(const struct vkm_kv *kv, const struct vkm_kv_sequence *s, uint32_t position)
{
    uint32_t index = position / VKM_KV_BLOCK;
    return index < s->count && kv->references[s->blocks[index]] > 1;
}

void vkm_kv_put(struct vkm_kv *kv, struct vkm_kv_sequence *s, uint32_t index, uint32_t block)
{
    if (index < s->count)
        vkm_kv_give_back(kv, s->blocks[index]);
    else
        s->count++;
    s->blocks[index] = block;
}

void vkm_kv_truncate(struct vkm_kv *kv, struct vkm_kv_sequence *s, uint32_t length)
{
    uint32_t keep = vkm_ceil_div(length, VKM_KV_BLOCK);
    while (s->count > keep)
        vkm_kv_give_back(kv, s->blocks[--s->count]);
    if (s->length > length)
        s->length = length;
}

void vkm_kv_fork(struct vkm_kv *kv, const struct vkm_kv_sequence *from, uint32_t length,
                 struct vkm_kv_sequence *to)
{
    uint32_t whole = vkm_min_u32(length, from->length) / VKM_KV_BLOCK;
    if (whole > to->capacity)
        whole = to->capacity;
    for (uint32_t i = 0; i < whole; i++) {
        to->blocks[i] = from->blocks[i];
        kv->references[from->blocks[i]]++;
    }
    to->count = whole;
    to->length = whole * VKM_KV_BLOCK;
}

void vkm_kv_sequence_finish(struct vkm_kv *kv, struct vkm_kv_sequence *s)
{
    if (!s->blocks)
        return;
    vkm_kv_truncate(kv, s, 0);
    vkm_free(vkm_gpu_allocator(kv->gpu), s->blocks);
    *s = (struct vkm_kv_sequence){0};
}
