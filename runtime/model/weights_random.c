/* Weights that nobody trained, made on the device: any shape can be measured without a file. */
#include <math.h>

#include "gpu/once.h"
#include "kernels/ops.h"
#include "model/weights.h"

#define PIECES_AT_ONCE 512 /* dispatches of one submit list */

/* The exponent of floats about as large as keeps sums over a row of `cols` of them as large as the
 * activations, in float32's bias. */
static uint32_t exponent_for(uint32_t cols)
{
    return 127 - (uint32_t)ceil(log2(sqrt((double)cols)) + 0.6);
}

/* Words whose floats have random signs and mantissas and one exponent; of quantised rows random
 * quants, with one scale (and minimum) for all that makes them as large. */
static struct vkm_params_random_words words_of(const struct vkm_piece *p, uint32_t seed)
{
    /* What repeats: a block of a panel, of which the head are quants. */
    uint32_t block = (uint32_t)(vkm_matrix_bytes(p->dtype, VKM_PANEL_ROWS, VKM_PANEL_COLS) / 4);
    uint32_t quants = VKM_PANEL_ROWS * VKM_PANEL_COLS, e = exponent_for(p->cols);
    struct vkm_params_random_words words = {.w = p->target,
                                            .words = (uint32_t)(p->target.size / 4),
                                            .seed = seed,
                                            .mask = 0xffffffffu,
                                            .block_words = block,
                                            .block_head = block};
    uint32_t half = e - 112; /* the exponent as float16 has it */
    switch (p->dtype) {
    case VKM_DTYPE_BF16:
        words.mask = 0x807f807fu;
        words.base = e << 7 | e << 23;
        break;
    case VKM_DTYPE_F16:
        words.mask = 0x83ff83ffu;
        words.base = half << 10 | half << 26;
        break;
    case VKM_DTYPE_Q8: /* quants up to 127 */
        words.block_head = quants / 4;
        words.scales = half > 6 ? (half - 6) << 10 | (half - 6) << 26 : 0x04000400u;
        break;
    case VKM_DTYPE_Q4: /* from -8 to 7 scales: the minimum, above the scale, is -8 of them */
        words.block_head = quants / 8;
        words.scales = (half - 2) << 10 | (half + 1) << 26 | 0x80000000u;
        break;
    default:
        words.mask = 0x807fffffu;
        words.base = e << 23;
    }
    if (p->rows == 1) { /* a norm: ones */
        words.mask = 0;
        words.base = 0x3f800000u;
    }
    return words;
}

static vkmoe_status fill(struct vkm_gpu *gpu, const struct vkm_piece *pieces, size_t n,
                         uint32_t seed, vkmoe_error *err)
{
    struct vkm_once once;
    vkm_once_begin(&once, gpu);
    for (size_t i = 0; i < n; i++) {
        struct vkm_params_random_words words = words_of(&pieces[i], seed + (uint32_t)i);
        vkm_op_random_words(&once.recorder, (struct vkm_launch){.n_rows = 1}, &words);
    }
    return vkm_once_run(&once, err);
}

vkmoe_status vkm_weights_randomise(struct vkm_weights *w, uint32_t seed, vkmoe_error *err)
{
    vkmoe_status status = VKMOE_OK;
    for (size_t i = 0; i < w->pieces.count && status == VKMOE_OK; i += PIECES_AT_ONCE) {
        size_t left = w->pieces.count - i;
        status = fill(w->gpu, w->pieces.items + i, left < PIECES_AT_ONCE ? left : PIECES_AT_ONCE,
                      seed + (uint32_t)i, err);
    }
    w->pieces.count = 0; /* nothing is left to be read */
    return status == VKMOE_OK ? vkm_weights_upload(w, NULL, NULL, err) : status;
}
