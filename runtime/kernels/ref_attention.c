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

/* One row's query head. */
struct query {
    const struct vkm_row *row;
    const float *q;
    size_t kv_head;
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

/* The sums of one row and head over positions [begin, end), elements from `first` on: what the
 * parts of params.h hold. A chunk fits the sums on the stack. */
#define CHUNK 256
struct sums {
    double largest, total, values[CHUNK];
};

static void attend(const struct attention *a, const struct query *q, size_t begin, size_t end,
                   size_t first, struct sums *out)
{
    size_t n = a->p->head_dim - first < CHUNK ? a->p->head_dim - first : CHUNK, k;
    *out = (struct sums){.largest = -DBL_MAX};
    for (size_t pos = begin; pos < end; pos++) {
        cache_at(a, q->row, q->kv_head, pos, &k);
        out->largest = fmax(out->largest, score(a, q->q, k));
    }
    for (size_t pos = begin; pos < end; pos++) {
        size_t v = cache_at(a, q->row, q->kv_head, pos, &k) + first;
        double weight = exp(score(a, q->q, k) - out->largest);
        out->total += weight;
        for (size_t i = 0; i < n; i++)
            out->values[i] += weight * (double)a->v_cache[v + i];
    }
}

static void attend_whole(const struct attention *a, const struct query *q, float *y)
{
    struct sums sums;
    for (size_t first = 0; first < a->p->head_dim; first += CHUNK) {
        attend(a, q, 0, (size_t)q->row->position + 1, first, &sums);
        for (size_t i = 0; i < CHUNK && first + i < a->p->head_dim; i++)
            y[first + i] = (float)(sums.values[i] / sums.total);
    }
}

/* The parts of all splits that hold a position of the row. */
static void attend_splits(const struct attention *a, const struct query *q, float *parts)
{
    size_t dim = a->p->head_dim, length = (size_t)q->row->position + 1;
    struct sums sums;
    for (size_t s = 0; s < a->p->n_splits && s * a->p->span < length; s++) {
        float *part = parts + s * (dim + 2);
        size_t begin = s * a->p->span;
        size_t end =
            s + 1 < a->p->n_splits && begin + a->p->span < length ? begin + a->p->span : length;
        for (size_t first = 0; first < dim; first += CHUNK) {
            attend(a, q, begin, end, first, &sums);
            for (size_t i = 0; i < CHUNK && first + i < dim; i++)
                part[first + i] = (float)sums.values[i];
        }
        part[dim] = (float)sums.largest;
        part[dim + 1] = (float)sums.total;
    }
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
    float *y = vkm_ref_out(ref, &p->y), *parts = vkm_ref_out(ref, &p->parts);
    size_t dim = p->head_dim;
    for (size_t r = 0; r < p->n_rows; r++) {
        for (size_t h = 0; h < p->n_heads; h++) {
            struct query q = {&rows[r], qkv + r * p->qkv_ld + h * dim,
                              h / (p->n_heads / p->n_kv_heads)};
            if (p->n_splits > 1)
                attend_splits(&a, &q, parts + (r * p->n_heads + h) * p->n_splits * (dim + 2));
            else
                attend_whole(&a, &q, y + r * p->y_ld + h * dim);
        }
        if (p->n_splits <= 1)
            vkm_ref_pad(y + r * p->y_ld, p->n_heads * dim, p->y_ld);
    }
}

/* One head of one row: its parts in order. */
static void combine(const float *parts, size_t n, size_t dim, float *y)
{
    double largest = -DBL_MAX, total = 0;
    for (size_t s = 0; s < n; s++)
        largest = fmax(largest, (double)parts[s * (dim + 2) + dim]);
    for (size_t s = 0; s < n; s++)
        total += exp((double)parts[s * (dim + 2) + dim] - largest) *
                 (double)parts[s * (dim + 2) + dim + 1];
    for (size_t i = 0; i < dim; i++) {
        double sum = 0;
        for (size_t s = 0; s < n; s++)
            sum += exp((double)parts[s * (dim + 2) + dim] - largest) *
                   (double)parts[s * (dim + 2) + i];
        y[i] = (float)(sum / total);
    }
}

void vkm_ref_attention_combine(const struct vkm_ref *ref, const void *params)
{
    const struct vkm_params_attention_combine *p = params;
    const struct vkm_row *rows = vkm_ref_in(ref, &p->rows);
    const float *parts = vkm_ref_in(ref, &p->parts);
    float *y = vkm_ref_out(ref, &p->y);
    size_t dim = p->head_dim;
    for (size_t r = 0; r < ref->groups[1]; r++) {
        size_t n = rows[r].position / p->span + 1;
        for (size_t h = 0; h < p->n_heads; h++)
            combine(parts + (r * p->n_heads + h) * p->n_splits * (dim + 2),
                    n < p->n_splits ? n : p->n_splits, dim, y + r * p->y_ld + h * dim);
        vkm_ref_pad(y + r * p->y_ld, p->n_heads * dim, p->y_ld);
    }
}
