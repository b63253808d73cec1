/* Rotary positions, the KV cache and attention over it. */
#include "kernels/ref.h"

#include <float.h>
#include <string.h>

/* Rotates `in` by the angles of `position` into out[i * stride]; may be in place. */
static void rotate(const float *low, const float *high, size_t position, size_t head_dim,
                   const float *in, float *out, size_t stride)
{
    size_t half = head_dim / 2;
    low += position % VKM_ROPE_SPLIT * head_dim;
    high += position / VKM_ROPE_SPLIT * head_dim;
    for (size_t i = 0; i < half; i++) {
        double cl = (double)low[2 * i], sl = (double)low[2 * i + 1];
        double ch = (double)high[2 * i], sh = (double)high[2 * i + 1];
        double c = cl * ch - sl * sh, s = sl * ch + cl * sh;
        double a = (double)in[i], b = (double)in[i + half];
        out[i * stride] = (float)(a * c - b * s);
        out[(i + half) * stride] = (float)(b * c + a * s);
    }
}

/* Where a head's part of the cache block that holds `position` begins. */
static size_t block_offset(const uint32_t *blocks, uint32_t stride, uint32_t sequence,
                           size_t position, size_t n_kv_heads, size_t head, size_t head_dim)
{
    size_t block = blocks[(size_t)sequence * stride + position / VKM_KV_BLOCK];
    return (block * n_kv_heads + head) * head_dim * VKM_KV_BLOCK;
}

void vkm_ref_rope_kv(const struct vkm_ref *ref, const void *params)
{
    const struct vkm_params_rope_kv *p = params;
    const struct vkm_row *rows = vkm_ref_in(ref, &p->rows);
    const uint32_t *blocks = vkm_ref_in(ref, &p->blocks);
    const float *low = vkm_ref_in(ref, &p->rope_low);
    const float *high = vkm_ref_in(ref, &p->rope_high);
    float *qkv = vkm_ref_out(ref, &p->qkv);
    float *k_cache = vkm_ref_out(ref, &p->k_cache);
    float *v_cache = vkm_ref_out(ref, &p->v_cache);
    size_t dim = p->head_dim;
    for (size_t r = 0; r < ref->groups[1]; r++) {
        size_t position = rows[r].position, in_block = position % VKM_KV_BLOCK;
        float *q = qkv + r * p->qkv_ld;
        const float *k = q + p->n_heads * dim, *v = k + p->n_kv_heads * dim;
        for (size_t h = 0; h < p->n_heads; h++)
            rotate(low, high, position, dim, q + h * dim, q + h * dim, 1);
        for (size_t h = 0; h < p->n_kv_heads; h++) {
            size_t at = block_offset(blocks, p->block_stride, rows[r].sequence, position,
                                     p->n_kv_heads, h, dim);
            rotate(low, high, position, dim, k + h * dim, k_cache + at + in_block, VKM_KV_BLOCK);
            for (size_t i = 0; i < dim; i++)
                v_cache[at + in_block * dim + i] = v[h * dim + i];
        }
    }
}

struct attention {
    const struct vkm_params_attention *p;
    const uint32_t *blocks;
    const float *k_cache, *v_cache;
};

/* Where the values of a key-value head at `position` begin; its keys begin at *k. */
static size_t cache_at(const struct attention *a, const struct vkm_row *row, size_t head,
                       size_t position, size_t *k)
{
    const struct vkm_params_attention *p = a->p;
    size_t at = block_offset(a->blocks, p->block_stride, row->sequence, position, p->n_kv_heads,
                             head, p->head_dim);
    *k = at + position % VKM_KV_BLOCK;
    return at + position % VKM_KV_BLOCK * p->head_dim;
}

static double score(const struct attention *a, const float *q, size_t k)
{
    double sum = 0;
    for (size_t i = 0; i < a->p->head_dim; i++)
        sum += (double)q[i] * (double)a->k_cache[k + i * VKM_KV_BLOCK];
    return sum * (double)a->p->scale;
}

/* Elements [first, end) of one query head's result; a chunk fits the sums on the stack. */
#define CHUNK 256
static void attend(const struct attention *a, const struct vkm_row *row, size_t kv_head,
                   const float *q, double largest, size_t first, size_t end, float *y)
{
    double sums[CHUNK] = {0}, total = 0;
    for (size_t pos = 0; pos <= row->position; pos++) {
        size_t k, v = cache_at(a, row, kv_head, pos, &k);
        double weight = exp(score(a, q, k) - largest);
        total += weight;
        for (size_t i = first; i < end; i++)
            sums[i - first] += weight * (double)a->v_cache[v + i];
    }
    for (size_t i = first; i < end; i++)
        y[i] = (float)(sums[i - first] / total);
}

static void attend_head(const struct attention *a, const struct vkm_row *row, size_t head,
                        const float *q, float *y)
{
    size_t dim = a->p->head_dim, k;
    size_t kv_head = head / (a->p->n_heads / a->p->n_kv_heads);
    double largest = -DBL_MAX;
    for (size_t pos = 0; pos <= row->position; pos++) {
        cache_at(a, row, kv_head, pos, &k);
        largest = fmax(largest, score(a, q, k));
    }
    for (size_t i = 0; i < dim; i += CHUNK)
        attend(a, row, kv_head, q, largest, i, i + CHUNK < dim ? i + CHUNK : dim, y);
}

void vkm_ref_kv_copy(const struct vkm_ref *ref, const void *params)
{
    const struct vkm_params_kv_copy *p = params;
    const struct vkm_view *caches[] = {&p->k_cache, &p->v_cache};
    for (size_t i = 0; i < VKM_COUNT(caches); i++) {
        uint32_t *words = vkm_ref_out(ref, caches[i]);
        memmove(words + (size_t)p->to * p->words, words + (size_t)p->from * p->words,
                p->words * sizeof(uint32_t));
    }
}

void vkm_ref_attention(const struct vkm_ref *ref, const void *params)
{
    const struct vkm_params_attention *p = params;
    struct attention a = {
        .p = p,
        .blocks = vkm_ref_in(ref, &p->blocks),
        .k_cache = vkm_ref_in(ref, &p->k_cache),
        .v_cache = vkm_ref_in(ref, &p->v_cache),
    };
    const struct vkm_row *rows = vkm_ref_in(ref, &p->rows);
    const float *qkv = vkm_ref_in(ref, &p->qkv);
    float *y = vkm_ref_out(ref, &p->y);
    size_t dim = p->head_dim;
    for (size_t r = 0; r < p->n_rows; r++) {
        for (size_t h = 0; h < p->n_heads; h++)
            attend_head(&a, &rows[r], h, qkv + r * p->qkv_ld + h * dim, y + r * p->y_ld + h * dim);
        vkm_ref_pad(y + r * p->y_ld, p->n_heads * dim, p->y_ld);
    }
}
