/* Cases of rotary positions, the KV cache and attention over it. */
#include "conform/case.h"
#include "kernels/kv_layout.h"

#include <float.h>
#include <stdio.h>
#include <string.h>

#define MOST_DIM 256 /* of a head */

struct heads {
    uint32_t n_heads, n_kv_heads, head_dim;
};

/* A batch over paged sequences; each logical block has a physical block of its own. */
struct paged {
    struct vkm_view rows, blocks;
    uint32_t n_blocks, block_stride;
};

/* `positions` of the rows, of `n_sequences` sequences by turns. Only blocks up to the last position
 * are mapped; the rest of the table points nowhere, or for a single row is not there. */
static struct paged make_paged(struct vkm_suite *s, const uint32_t *positions, uint32_t n_rows,
                               uint32_t n_sequences)
{
    uint32_t last = 0;
    for (uint32_t r = 0; r < n_rows; r++)
        last = vkm_max_u32(last, positions[r]);
    uint32_t mapped = last / VKM_KV_BLOCK + 1;
    struct paged p = {.block_stride = mapped + (n_rows > 1)};
    p.n_blocks = n_sequences * mapped;
    p.rows = vkm_case_alloc(s, n_rows * sizeof(struct vkm_row));
    p.blocks = vkm_case_alloc(s, 4 * (uint64_t)n_sequences * p.block_stride);
    struct vkm_view order = vkm_case_permutation(s, p.n_blocks);
    struct vkm_row *rows = vkm_case_host(p.rows);
    uint32_t *blocks = vkm_case_host(p.blocks), *physical = vkm_case_host(order);
    for (uint32_t r = 0; r < n_rows; r++)
        rows[r] = (struct vkm_row){.position = positions[r], .sequence = r % n_sequences};
    for (uint32_t q = 0; q < n_sequences; q++)
        for (uint32_t b = 0; b < mapped; b++)
            blocks[q * p.block_stride + b] = physical[q * mapped + b];
    return p;
}

/* cos and sin of p * step * frequency for p < n. */
static struct vkm_view make_angles(struct vkm_suite *s, uint32_t n, uint32_t step,
                                   uint32_t head_dim)
{
    struct vkm_view view = vkm_case_alloc(s, 4 * (uint64_t)n * head_dim);
    float *table = vkm_case_host(view);
    uint32_t half = head_dim / 2;
    for (uint32_t i = 0; i < half; i++) {
        double frequency = pow(10000, -(double)i / half);
        for (uint32_t p = 0; p < n; p++) {
            double angle = (double)p * step * frequency;
            table[(p * half + i) * 2] = (float)cos(angle);
            table[(p * half + i) * 2 + 1] = (float)sin(angle);
        }
    }
    return view;
}

static uint32_t qkv_width(const struct heads *h)
{
    return (h->n_heads + 2 * h->n_kv_heads) * h->head_dim;
}

static const char awkward[] = "awkward values";

/* Ties between quants, whose largest makes the scale 0x1.e8p0: its inverse is rounded down, so that
 * a guess from it may be one too small. */
static float tie_of_quants(uint32_t i)
{
    const float scale = 0x1.e8p0f;
    return i % 32 == 0 ? 127 * scale : ((float)(i % 120) + 0.5f) * (i % 4 < 2 ? scale : -scale);
}

/* At most the least magnitude that has a scale, or the number before it. */
static float least_magnitude(uint32_t i, bool before)
{
    return i % 8 > 0 ? -0x1p-101f : before ? 0x1.fffffep-101f : 0x1p-100f;
}

/* Numbers at which rounding could go wrong: ties and their neighbours, the ends of ranges, tiny
 * ones, what is no number. A head in five has an infinity or a NaN in it. */
static void make_awkward(const struct heads *h, uint32_t n_rows, struct vkm_view qkv)
{
    static const float numbers[] = {
        0x1.01p0f,
        0x1.03p0f,
        0x1.010002p0f,
        0x1.00fffep0f,
        0x1.002p0f,
        0x1.006p0f,
        0x1.002002p0f,
        0x1.001ffep0f,
        -0x1.03p0f,
        -0x1.006p0f,
        127,
        2.5f,
        -3.5f,
        0.5f,
        1.5f,
        2.5000002f,
        2.4999998f,
        -126.5f,
        65504,
        65519.996f,
        65520,
        -1e30f,
        0x1p-14f,
        0x1.ffcp-15f,
        0x1.8p-24f,
        0x1p-25f,
        0x1.000002p-25f,
        0x1p-26f,
        0x1p-100f,
        0x1p-101f,
        0,
        -0x1p-24f,
        3,
        0x1.fep-3f,
        0x1.ffp-3f,
        100,
        FLT_MAX,
    };
    const float no_numbers[] = {NAN, INFINITY, vkm_bits_f32(0x7f800001u), -INFINITY};
    uint32_t ld = vkm_ld(qkv_width(h));
    float *data = vkm_case_host(qkv);
    for (uint32_t r = 0; r < n_rows; r++) {
        for (uint32_t i = 0; i < h->n_kv_heads * h->head_dim; i++) {
            uint32_t head = r * h->n_kv_heads + i / h->head_dim, in_head = i % h->head_dim;
            float *value = &data[r * ld + (h->n_heads + h->n_kv_heads) * h->head_dim + i];
            /* Heads begin with numbers of their own, and every other one is of one magnitude. */
            *value = numbers[(in_head + 5 * head) % VKM_COUNT(numbers)];
            if (head % 2 == 1 && fabsf(*value) > 127)
                *value = 127;
            if (head % 5 == 2)
                *value = tie_of_quants(in_head);
            if (head % 5 == 3)
                *value = least_magnitude(in_head, head % 2);
            if (head % 5 == 4 && in_head == head % h->head_dim)
                *value = no_numbers[head / 5 % VKM_COUNT(no_numbers)];
        }
    }
}

static void rope_kv(struct vkm_suite *s, const struct heads *h, const uint32_t *positions,
                    uint32_t n_rows, uint32_t n_sequences, const char *name)
{
    if (!vkm_case(s, "heads=%u kv=%u dim=%u rows=%u %s", h->n_heads, h->n_kv_heads, h->head_dim,
                  n_rows, name))
        return;
    struct paged paged = make_paged(s, positions, n_rows, n_sequences);
    /* Far positions share blocks, so that the cache stays small; each row has one to itself. */
    uint32_t *blocks = vkm_case_host(paged.blocks);
    uint32_t n_blocks = vkm_min_u32(paged.n_blocks, 64);
    if (n_blocks < paged.n_blocks) {
        for (uint32_t i = 0; i < n_sequences * paged.block_stride; i++)
            blocks[i] = blocks[i] == VKM_POISON ? VKM_POISON : i % n_blocks;
        for (uint32_t r = 0; r < n_rows; r++)
            blocks[r % n_sequences * paged.block_stride + positions[r] / VKM_KV_BLOCK] = r;
    }
    uint32_t n_high = (paged.block_stride * VKM_KV_BLOCK) / VKM_ROPE_SPLIT + 1;
    uint64_t cache =
        (uint64_t)n_blocks * h->n_kv_heads * vkm_kv_words(s->dtype, h->head_dim) * VKM_KV_BLOCK;
    struct vkm_params_rope_kv p = {
        .rows = paged.rows,
        .blocks = paged.blocks,
        .rope_low = make_angles(s, VKM_ROPE_SPLIT, 1, h->head_dim),
        .rope_high = make_angles(s, n_high, VKM_ROPE_SPLIT, h->head_dim),
        .qkv = vkm_case_rows(s, n_rows, qkv_width(h), 2),
        .k_cache = vkm_case_output(s, cache),
        .v_cache = vkm_case_output(s, cache),
        .n_heads = h->n_heads,
        .n_kv_heads = h->n_kv_heads,
        .head_dim = h->head_dim,
        .qkv_ld = vkm_ld(qkv_width(h)),
        .block_stride = paged.block_stride,
    };
    if (strcmp(name, awkward) == 0)
        make_awkward(h, n_rows, p.qkv);
    vkm_case_run(s, (struct vkm_launch){.n_rows = n_rows, .dtype = s->dtype}, &p);
}

static const struct heads head_shapes[] = {
    {1, 1, 2},  {4, 4, 20}, {3, 1, 32},    {8, 2, 64},   {10, 10, 80},
    {5, 5, 64}, {6, 3, 40}, {16, 16, 128}, {16, 2, 128}, {2, 1, 256},
};

void vkm_cases_rope_kv(struct vkm_suite *s)
{
    static const uint32_t near[] = {0, 1, 63, 64, 65, 127, 128, 255, 256, 257, 511, 1000};
    static const uint32_t far[] = {4095, 4096, 32767, 65535, 131072, 999937, 1000000};
    static const struct heads pair = {2, 1, 64};
    uint32_t chunk[100];
    for (uint32_t i = 0; i < VKM_COUNT(chunk); i++)
        chunk[i] = 30 + i;
    for (size_t i = 0; i < VKM_COUNT(head_shapes); i++) {
        rope_kv(s, &head_shapes[i], near, 12, 1, "near");
        rope_kv(s, &head_shapes[i], near, 12, 1, awkward);
        rope_kv(s, &head_shapes[i], chunk, (uint32_t)(i * 11 + 1), 1, "chunk");
    }
    rope_kv(s, &pair, near, 12, 3, "three sequences");
    rope_kv(s, &pair, far, 7, 7, "far");
    rope_kv(s, &pair, chunk, 100, 1, "long chunk");
}

/* Shapes of heads are pipelines of their own, which take long to compile: unless all is wanted,
 * other types than float32 get those that differ in how pairs and groups end, and of the two whose
 * words are laid out alike one goes without the large ones. */
static bool wants_heads(const struct vkm_suite *s, const struct heads *h)
{
    if (s->dtype == VKM_DTYPE_F32 || s->params->level == VKM_CONFORM_FULL)
        return true;
    return h->head_dim == 2 || h->head_dim == 32 || h->head_dim == 40 ||
           (s->dtype != VKM_DTYPE_F16 && h->head_dim == 128 && h->n_kv_heads == 2);
}

static bool consecutive(const uint32_t *positions, uint32_t n_rows, uint32_t n_sequences)
{
    for (uint32_t r = 1; r < n_rows; r++)
        if (positions[r] != positions[r - 1] + 1)
            return false;
    return n_sequences == 1;
}

struct attention {
    const struct heads *heads;
    const uint32_t *positions;
    uint32_t n_rows, n_sequences;
    float spread; /* of the keys; 0: all positions count alike and hold the same values, so that
                     rounding errors go one way */
    uint32_t n_splits, span; /* 0: not split */
};

static bool begin_attention(struct vkm_suite *s, const struct attention *a)
{
    char split[32] = "";
    if (a->n_splits > 0)
        snprintf(split, sizeof(split), " splits=%ux%u", a->n_splits, a->span);
    return vkm_case(s, "heads=%u kv=%u dim=%u rows=%u last=%u sequences=%u spread=%g%s",
                    a->heads->n_heads, a->heads->n_kv_heads, a->heads->head_dim, a->n_rows,
                    a->positions[a->n_rows - 1], a->n_sequences, (double)a->spread, split);
}

/* One of the two caches of a case. */
struct cache {
    struct vkm_kv_part part;
    float low, high; /* what it holds */
    bool all_alike;  /* every position holds the same */
};

/* A row of what position `pos` of head `head` of a sequence holds. */
static void random_row(struct vkm_suite *s, const struct cache *c, float *row)
{
    for (uint32_t i = 0; i < c->part.head_dim; i++)
        row[i] = vkm_random_f32(&s->random, c->low, c->high);
}

/* What lies behind the last position of a sequence is whatever was there before: nothing that it
 * could be, large or NaN, may count. */
static void spoil(const struct cache *c, uint32_t pos, float *row)
{
    bool large = c->part.side == VKM_KV_KEYS && pos % 2 == 0;
    for (uint32_t i = 0; i < c->part.head_dim; i++)
        row[i] = large ? 1e30f : NAN;
}

static struct vkm_view make_cache(struct vkm_suite *s, const struct attention *a,
                                  const struct paged *paged, const struct cache *c)
{
    float same[MOST_DIM], row[MOST_DIM];
    uint32_t words = vkm_kv_words(c->part.dtype, c->part.head_dim) * VKM_KV_BLOCK;
    uint32_t n_heads = a->heads->n_kv_heads, mapped = paged->n_blocks / a->n_sequences;
    struct vkm_view view = vkm_case_output(s, (uint64_t)paged->n_blocks * n_heads * words);
    uint32_t *data = vkm_case_host(view);
    const uint32_t *blocks = vkm_case_host(paged->blocks);
    random_row(s, c, same);
    for (uint32_t q = 0; q < a->n_sequences; q++) {
        uint32_t last = 0;
        for (uint32_t r = q; r < a->n_rows; r += a->n_sequences)
            last = vkm_max_u32(last, a->positions[r]);
        for (uint32_t i = 0; i < mapped * VKM_KV_BLOCK * n_heads; i++) {
            uint32_t pos = i / n_heads;
            size_t block = blocks[q * paged->block_stride + pos / VKM_KV_BLOCK];
            if (pos > last)
                spoil(c, pos, row);
            else
                random_row(s, c, row);
            vkm_kv_put_row(data + (block * n_heads + i % n_heads) * words, &c->part,
                           pos % VKM_KV_BLOCK, c->all_alike && pos <= last ? same : row);
        }
    }
    return view;
}

/* Inputs and outputs of a case. */
static struct vkm_params_attention attention_params(struct vkm_suite *s, const struct attention *a)
{
    const struct heads *h = a->heads;
    struct paged paged = make_paged(s, a->positions, a->n_rows, a->n_sequences);
    uint32_t y_ld = vkm_ld(h->n_heads * h->head_dim), dim = h->head_dim;
    /* So many values of both signs would cancel to less than what rounding leaves of them. */
    bool far = a->positions[a->n_rows - 1] > 10000;
    const struct cache keys = {{s->dtype, VKM_KV_KEYS, dim}, -a->spread, a->spread, false};
    const struct cache values = {{s->dtype, VKM_KV_VALUES, dim}, far ? 0 : -2, 2, a->spread <= 0};
    struct vkm_params_attention p = {
        .rows = paged.rows,
        .blocks = paged.blocks,
        .qkv = vkm_case_rows(s, a->n_rows, qkv_width(h), 1),
        .k_cache = make_cache(s, a, &paged, &keys),
        .v_cache = make_cache(s, a, &paged, &values),
        .n_rows = a->n_rows,
        .consecutive = consecutive(a->positions, a->n_rows, a->n_sequences),
        .n_heads = h->n_heads,
        .n_kv_heads = h->n_kv_heads,
        .head_dim = dim,
        .qkv_ld = vkm_ld(qkv_width(h)),
        .y_ld = y_ld,
        .block_stride = paged.block_stride,
        .n_splits = vkm_max_u32(1, a->n_splits),
        .span = a->span,
        .scale = 1 / sqrtf((float)dim),
    };
    if (a->n_splits > 0)
        p.parts = vkm_case_output(s, (uint64_t)a->n_rows * h->n_heads * a->n_splits * (dim + 2));
    else
        p.y = vkm_case_output(s, (uint64_t)a->n_rows * y_ld);
    return p;
}

static void attention(struct vkm_suite *s, const struct attention *a)
{
    if (!wants_heads(s, a->heads) || !begin_attention(s, a))
        return;
    struct vkm_params_attention p = attention_params(s, a);
    vkm_case_run(s, (struct vkm_launch){.n_rows = a->n_rows, .dtype = s->dtype}, &p);
}

static void attention_combine(struct vkm_suite *s, const struct attention *a)
{
    if (!begin_attention(s, a))
        return;
    struct vkm_params_attention p = attention_params(s, a);
    struct vkm_params_attention_combine c = {
        .rows = p.rows,
        .parts = p.parts,
        .y = vkm_case_output(s, (uint64_t)a->n_rows * p.y_ld),
        .n_heads = p.n_heads,
        .head_dim = p.head_dim,
        .y_ld = p.y_ld,
        .n_splits = p.n_splits,
        .span = p.span,
    };
    vkm_case_reference(s, VKM_K_attention, a->n_rows, &p);
    vkm_case_run(s, (struct vkm_launch){.n_rows = a->n_rows}, &c);
}

static const uint32_t edges[] = {0, 1, 31, 62, 63, 64, 65, 126, 127, 128, 129, 200};
static const struct heads one = {2, 1, 32}, wide = {2, 2, 128}, smallest = {1, 1, 2};

static void count_up(uint32_t *positions, uint32_t n, uint32_t from)
{
    for (uint32_t i = 0; i < n; i++)
        positions[i] = from + i;
}

/* Splits that begin and end at, before and behind rows' last positions; empty ones; one that takes
 * more than its span. */
static void for_each_split(struct vkm_suite *s,
                           void (*run)(struct vkm_suite *s, const struct attention *a))
{
    uint32_t chunk[13];
    count_up(chunk, VKM_COUNT(chunk), 185);
    for (size_t i = 0; i < VKM_COUNT(edges); i++)
        run(s, &(struct attention){&one, edges + i, 1, 1, 1, 3, 64});
    run(s, &(struct attention){&one, edges, 12, 3, 1, 5, 64});
    run(s, &(struct attention){&one, edges, 12, 1, 1, 2, 128});
    for (size_t i = 0; i < VKM_COUNT(head_shapes); i++)
        run(s, &(struct attention){&head_shapes[i], chunk, 5 + (uint32_t)i % 3, 1, 1, 4, 64});
    run(s, &(struct attention){&one, chunk, 13, 1, 1, 2, 64});
    run(s, &(struct attention){&wide, chunk, 13, 1, 2, 64, 64});
    run(s, &(struct attention){&wide, (const uint32_t[]){1300}, 1, 1, 1, 5, 320});
    run(s, &(struct attention){&smallest, (const uint32_t[]){20000}, 1, 1, 1, 64, 320});
    if (s->params->level == VKM_CONFORM_FULL) {
        /* As far as positions go, split as the launch table would. */
        static const struct heads small = {1, 1, 8};
        static const uint32_t last[] = {999999, 1000000};
        run(s, &(struct attention){&smallest, last + 1, 1, 1, 0, 32, 32768});
        run(s, &(struct attention){&smallest, last + 1, 1, 1, 1, 32, 32768});
        run(s, &(struct attention){&small, last, 2, 1, 1, 32, 32768});
    }
}

static void whole(struct vkm_suite *s, const struct heads *heads, const uint32_t *positions,
                  uint32_t n_rows, uint32_t n_sequences, float spread)
{
    attention(s, &(struct attention){heads, positions, n_rows, n_sequences, spread, 0, 0});
}

void vkm_cases_attention(struct vkm_suite *s)
{
    uint32_t chunk[100];
    count_up(chunk, VKM_COUNT(chunk), 30);
    for (size_t i = 0; i < VKM_COUNT(head_shapes); i++)
        whole(s, &head_shapes[i], edges, 7, 1, 1);
    for (size_t i = 0; i < VKM_COUNT(edges); i++)
        whole(s, &one, edges + i, 1, 1, 1);
    whole(s, &one, edges, 12, 3, 1);
    whole(s, &one, chunk, 100, 1, 1);
    whole(s, &wide, chunk, 33, 1, 1);
    for (uint32_t n = 2; n <= 9; n++) /* blocks of rows, part full */
        whole(s, &one, chunk + n, n, 1, 1);
    count_up(chunk, VKM_COUNT(chunk), 251); /* over the end of a run of positions */
    whole(s, &one, chunk, 13, 1, 1);
    whole(s, &wide, chunk, 6, 1, 10);
    for (size_t i = 0; i < VKM_COUNT(head_shapes); i++)
        whole(s, &head_shapes[i], chunk, 5, 1, 1);
    if (s->params->level != VKM_CONFORM_BRIEF) { /* checking addresses takes many more loops */
        whole(s, &wide, (const uint32_t[]){1023}, 1, 1, 1);
        whole(s, &wide, (const uint32_t[]){1024}, 1, 1, 10);
        whole(s, &smallest, (const uint32_t[]){200000}, 1, 1, 0);
    }
    whole(s, &one, edges, 12, 1, 30);
    for_each_split(s, attention);
    if (s->params->level == VKM_CONFORM_FULL) {
        /* Far positions, with heads so small that the cache of all before them fits. */
        whole(s, &smallest, (const uint32_t[]){65536, 65535}, 2, 1, 1);
        whole(s, &smallest, (const uint32_t[]){131072}, 1, 1, 1);
        whole(s, &wide, (const uint32_t[]){5000, 4095, 4096}, 3, 3, 1);
        whole(s, &head_shapes[7], chunk, 100, 2, 1);
    }
}

void vkm_cases_attention_combine(struct vkm_suite *s)
{
    for_each_split(s, attention_combine);
}

static void kv_copy(struct vkm_suite *s, uint32_t words, uint32_t blocks, uint32_t from,
                    uint32_t to)
{
    if (!vkm_case(s, "words=%u blocks=%u from=%u to=%u", words, blocks, from, to))
        return;
    uint64_t n = (uint64_t)words * blocks;
    struct vkm_params_kv_copy p = {
        .k_cache = vkm_case_floats(s, n, -1, 1),
        .v_cache = vkm_case_floats(s, n, -1, 1),
        .words = words,
        .from = from,
        .to = to,
    };
    vkm_case_run(s, (struct vkm_launch){.n_rows = 1}, &p);
}

void vkm_cases_kv_copy(struct vkm_suite *s)
{
    kv_copy(s, 4 * VKM_KV_BLOCK, 2, 0, 1);
    kv_copy(s, 4 * VKM_KV_BLOCK, 3, 2, 0);
    kv_copy(s, 7 * 6 * VKM_KV_BLOCK, 5, 1, 4);
    kv_copy(s, 2048 * VKM_KV_BLOCK, 3, 0, 2);
    kv_copy(s, 2 * VKM_KV_BLOCK, 64, 63, 1);
    kv_copy(s, 33 * 2 * VKM_KV_BLOCK, 2, 1, 0);
}
