/* Weights that nobody trained, made on the device: any shape can be measured without a file. */
#include <math.h>

#include "gpu/once.h"
#include "kernels/ops.h"
#include "model/weights.h"

#define PIECES_AT_ONCE 512 /* dispatches of one submit list */

/* Words whose floats have random signs and mantissas and one exponent: the power of two that keeps
 * sums over a row of `cols` weights about as large as the activations. */
static struct vkm_params_random_words words_of(const struct vkm_piece *p, uint32_t seed)
{
    uint32_t exponent = 127 - (uint32_t)ceil(log2(sqrt((double)p->cols)) + 0.6);
    struct vkm_params_random_words words = {
        .w = p->target, .words = (uint32_t)(p->target.size / 4), .seed = seed};
    switch (p->dtype) {
    case VKM_DTYPE_BF16:
        words.mask = 0x807f807fu;
        words.base = exponent << 7 | exponent << 23;
        break;
    case VKM_DTYPE_F16:
        exponent -= 112;
        words.mask = 0x83ff83ffu;
        words.base = exponent << 10 | exponent << 26;
        break;
    default:
        words.mask = 0x807fffffu;
        words.base = exponent << 23;
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
