/* Cases of the kernels that treat each row alone. */
#include "conform/case.h"

#include <string.h>

/* Zero, denormals, both infinities and NaN, in the storage type under test, as the first elements.
 */
static void put_special_weights(struct vkm_suite *s, void *row, uint32_t width)
{
    static const float values[] = {-0.0f, INFINITY, -INFINITY, NAN, 0x1p-24f, -0x1.8p-23f, 1e-45f};
    for (size_t i = 0; i < VKM_COUNT(values) && i < width; i++)
        vkm_store_f32(row, s->dtype, i, values[i]);
}

static void embed(struct vkm_suite *s, uint32_t vocab, uint32_t width, uint32_t rows)
{
    enum { SEQUENCES = 3, HISTORY = 100 };
    if (!vkm_case(s, "vocab=%u width=%u rows=%u", vocab, width, rows))
        return;
    uint32_t ld = vkm_ld(width);
    struct vkm_params_embed p = {
        .table = vkm_case_weights(s, vocab, width, 2),
        .rows = vkm_case_batch(s, rows, vocab, 1000, SEQUENCES),
        .y = vkm_case_output(s, (uint64_t)rows * ld),
        .history = vkm_case_uints(s, SEQUENCES * HISTORY, vocab),
        .ld = ld,
        .vocab = vocab,
        .history_ld = HISTORY,
    };
    struct vkm_row *batch = vkm_case_host(p.rows);
    /* No two rows at one place; the last of many lie beyond the history. */
    for (uint32_t r = 0; r < rows; r++) {
        batch[r].position = (r / SEQUENCES + HISTORY - 3) % (HISTORY + 2);
        batch[r].sequence = r % SEQUENCES;
    }
    put_special_weights(s, vkm_case_host(p.table), width);
    batch[0].token = 0;
    if (rows > 1)
        batch[1].token = vocab - 1;
    if (rows > 3) {
        batch[2].token = vocab;
        batch[3].token = 0xffffffffu;
    }
    vkm_case_run(s, (struct vkm_launch){.n_rows = rows, .dtype = s->dtype}, &p);
}

void vkm_cases_embed(struct vkm_suite *s)
{
    static const uint32_t shapes[][3] = {
        {1, 1, 1},     {2, 2, 2},      {7, 8, 5},     {33, 31, 33},     {128, 32, 9},
        {50, 33, 100}, {127, 1280, 8}, {64, 2048, 3}, {1000, 1407, 31}, {300, 10944, 2},
    };
    for (size_t i = 0; i < VKM_COUNT(shapes); i++)
        embed(s, shapes[i][0], shapes[i][1], shapes[i][2]);
    if (s->params->level == VKM_CONFORM_FULL)
        embed(s, 32000, 2048, 64);
}

enum norm_rows { NORM_PLAIN, NORM_EXTREME, NORM_NAN };

/* Rows of zeros, of tiny and of large values; or with a NaN and an infinity. */
static void put_norm_rows(float *x, uint32_t width, uint32_t ld, enum norm_rows kind)
{
    static const float sizes[] = {0, 1e-25f, 1e15f};
    for (uint32_t r = 0; r < 3 && kind == NORM_EXTREME; r++)
        for (uint32_t i = 0; i < width; i++)
            x[r * ld + i] *= sizes[r];
    if (kind == NORM_NAN) {
        x[width / 2] = NAN;
        x[ld + width / 2] = -INFINITY;
    }
}

static void rmsnorm(struct vkm_suite *s, uint32_t width, uint32_t rows, bool use_index,
                    enum norm_rows kind)
{
    static const char *const kinds[] = {"plain", "extreme", "nan"};
    if (!vkm_case(s, "width=%u rows=%u index=%d %s", width, rows, use_index, kinds[kind]))
        return;
    uint32_t ld = vkm_ld(width);
    struct vkm_params_rmsnorm p = {
        .x = vkm_case_rows(s, rows + 2, width, 3),
        .weight = vkm_case_rows(s, 1, width, 2),
        .y = vkm_case_output(s, (uint64_t)rows * ld),
        .width = width,
        .ld = ld,
        .use_index = use_index,
        .eps = 1e-6f,
    };
    if (use_index)
        p.index = vkm_case_uints(s, rows, rows + 2);
    put_norm_rows(vkm_case_host(p.x), width, ld, kind);
    vkm_case_run(s, (struct vkm_launch){.n_rows = rows, .dtype = s->dtype}, &p);
}

void vkm_cases_rmsnorm(struct vkm_suite *s)
{
    static const uint32_t widths[] = {1, 2, 7, 8, 31, 32, 33, 127, 128, 1280, 1407, 2048, 10944};
    static const uint32_t rows[] = {1, 2, 3, 5, 8, 9, 31, 32, 33, 64, 100};
    for (size_t i = 0; i < VKM_COUNT(widths); i++)
        rmsnorm(s, widths[i], 3, i % 2 == 0, NORM_PLAIN);
    for (size_t i = 0; i < VKM_COUNT(rows); i++)
        rmsnorm(s, 65, rows[i], i % 2 == 1, NORM_PLAIN);
    rmsnorm(s, 300, 3, false, NORM_EXTREME);
    rmsnorm(s, 40, 3, false, NORM_NAN);
    rmsnorm(s, 33, 3, false, NORM_NAN);
    rmsnorm(s, 1280, 3, false, NORM_NAN);
}

void vkm_cases_random_words(struct vkm_suite *s)
{
    static const uint32_t counts[] = {1, 127, 128, 129, 1407, 700000};
    for (uint32_t i = 0; i < VKM_COUNT(counts); i++) {
        if (!vkm_case(s, "words=%u", counts[i]))
            continue;
        struct vkm_params_random_words p = {
            .w = vkm_case_output(s, counts[i]),
            .words = counts[i],
            .seed = 77 * i,
            .mask = i % 2 ? 0x807f807fu : 0xffffffffu,
            .base = i % 2 ? 0x3c003c00u : 0,
            .block_words = 16 + 4 * i,
            .block_head = i < 3 ? 16 + 4 * i : 12,
            .scales = 0x2c002c00u,
        };
        vkm_case_run(s, (struct vkm_launch){.n_rows = 1}, &p);
    }
}
