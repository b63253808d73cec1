/* Rotary positions, the KV cache and attention over it. */
#include "kernels/kv_layout.h"
#include "kernels/ref.h"

#include <float.h>
#include <string.h>

/* How a head is rotated. */
struct turn {
    const float *low, *high; /* the tables at its position */
    uint32_t half_dim;
    bool stepwise; /* rounded to float32 after every operation, as the kernel does: what is rounded
                      once more to a storage type must not depend on a last bit */
};

static struct turn turn_at(const struct vkm_params_rope_kv *p, const float *low, const float *high,
                           size_t position)
{
    return (struct turn){.low = low + position % VKM_ROPE_SPLIT * p->head_dim,
                         .high = high + position / VKM_ROPE_SPLIT * p->head_dim,
                         .half_dim = p->head_dim / 2};
}

/* a b + sign c d */
static double sum_of_products(bool stepwise, double a, double b, double sign, double c, double d)
{
    if (!stepwise)
        return a * b + sign * (c * d);
    return (double)(float)((double)(float)(a * b) + sign * (double)(float)(c * d));
}

/* Elements i and i + half_dim of x, turned. */
static void turn(const struct turn *t, const float *x, uint32_t i, float out[2])
{
    double cl = (double)t->low[2 * i], sl = (double)t->low[2 * i + 1];
    double ch = (double)t->high[2 * i], sh = (double)t->high[2 * i + 1];
    double c = sum_of_products(t->stepwise, cl, ch, -1, sl, sh);
    double s = sum_of_products(t->stepwise, sl, ch, 1, cl, sh);
    double a = (double)x[i], b = (double)x[i + t->half_dim];
    out[0] = (float)sum_of_products(t->stepwise, a, c, -1, b, s);
    out[1] = (float)sum_of_products(t->stepwise, b, c, 1, a, s);
}

static void turn_query(const struct turn *t, float *q)
{
    for (uint32_t i = 0; i < t->half_dim; i++) {
        float pair[2];
        turn(t, q, i, pair);
        q[i] = pair[0];
        q[i + t->half_dim] = pair[1];
    }
}

/* A key or a value on its way into the cache. */
static void put_head(const struct turn *t, const struct vkm_kv_part *part, const float *x,
                     uint32_t at, void *data)
{
    uint32_t n;
    for (uint32_t g = 0; (n = vkm_kv_group_pairs(part, g)) > 0; g++) {
        float pairs[VKM_KV_GROUP][2];
        for (uint32_t i = 0; i < n; i++) {
            uint32_t pair = g * VKM_KV_GROUP + i;
            if (part->side == VKM_KV_KEYS)
                turn(t, x, pair, pairs[i]);
            else
                memcpy(pairs[i], x + 2 * pair, sizeof(pairs[i]));
        }
        vkm_kv_put_pairs(data, part, at, g, pairs);
    }
}

/* Bytes from the cache's beginning to a head's part of the block that holds `position`. */
static size_t part_offset(const uint32_t *blocks, size_t place, size_t position, size_t part_index,
                          size_t n_parts, size_t words)
{
    size_t block = blocks[place + position / VKM_KV_BLOCK];
    return (block * n_parts + part_index) * words * VKM_KV_BLOCK * sizeof(uint32_t);
}

void vkm_ref_rope_kv(const struct vkm_ref *ref, const void *params)
{
    const struct vkm_params_rope_kv *p = params;
    const struct vkm_row *rows = vkm_ref_in(ref, &p->rows);
    const uint32_t *blocks = vkm_ref_in(ref, &p->blocks);
    const float *low = vkm_ref_in(ref, &p->rope_low);
    const float *high = vkm_ref_in(ref, &p->rope_high);
    float *qkv = vkm_ref_out(ref, &p->qkv);
    unsigned char *k_cache = vkm_ref_out(ref, &p->k_cache);
    unsigned char *v_cache = vkm_ref_out(ref, &p->v_cache);
    const struct vkm_kv_part keys = {ref->dtype, VKM_KV_KEYS, p->head_dim};
    const struct vkm_kv_part values = {ref->dtype, VKM_KV_VALUES, p->head_dim};
    size_t dim = p->head_dim, words = vkm_kv_words(ref->dtype, p->head_dim);
    for (size_t r = 0; r < ref->groups[1]; r++) {
        struct turn t = turn_at(p, low, high, rows[r].position);
        size_t place = (size_t)rows[r].sequence * p->block_stride;
        uint32_t at = rows[r].position % VKM_KV_BLOCK;
        float *q = qkv + r * p->qkv_ld;
        const float *k = q + p->n_heads * dim, *v = k + p->n_kv_heads * dim;
        for (size_t h = 0; h < p->n_heads; h++)
            turn_query(&t, q + h * dim);
        t.stepwise = ref->dtype != VKM_DTYPE_F32;
        for (size_t h = 0; h < p->n_kv_heads; h++) {
            size_t part = part_offset(blocks, place, rows[r].position, h, p->n_kv_heads, words);
            put_head(&t, &keys, k + h * dim, at, k_cache + part);
            put_head(&t, &values, v + h * dim, at, v_cache + part);
        }
    }
}

struct attention {
    const struct vkm_params_attention *p;
    const uint32_t *blocks;
    const unsigned char *k_cache, *v_cache;
    struct vkm_kv_part keys, values;
    size_t words;
};

/* One row's query head. */
struct query {
    const struct vkm_row *row;
    const float *q;
    size_t kv_head;
};

/* Where the head's part of the block that holds a position begins, in either cache. */
static size_t part_at(const struct attention *a, const struct query *q, size_t position)
{
    const struct vkm_params_attention *p = a->p;
    return part_offset(a->blocks, (size_t)q->row->sequence * p->block_stride, position, q->kv_head,
                       p->n_kv_heads, a->words);
}

static double score(const struct attention *a, const struct query *q, size_t position)
{
    const unsigned char *part = a->k_cache + part_at(a, q, position);
    double sum = 0;
    for (uint32_t i = 0; i < a->p->head_dim; i++)
        sum += (double)q->q[i] * (double)vkm_kv_element(part, &a->keys, position % VKM_KV_BLOCK, i);
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
    size_t n = a->p->head_dim - first < CHUNK ? a->p->head_dim - first : CHUNK;
    *out = (struct sums){.largest = -DBL_MAX};
    for (size_t pos = begin; pos < end; pos++)
        out->largest = fmax(out->largest, score(a, q, pos));
    for (size_t pos = begin; pos < end; pos++) {
        const unsigned char *part = a->v_cache + part_at(a, q, pos);
        double weight = exp(score(a, q, pos) - out->largest);
        out->total += weight;
        for (size_t i = 0; i < n; i++)
            out->values[i] += weight * (double)vkm_kv_element(part, &a->values, pos % VKM_KV_BLOCK,
                                                              (uint32_t)(first + i));
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
        .keys = {ref->dtype, VKM_KV_KEYS, p->head_dim},
        .values = {ref->dtype, VKM_KV_VALUES, p->head_dim},
        .words = vkm_kv_words(ref->dtype, p->head_dim),
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
