/* Which part of a model is stored as what. */
#include "model/weights.h"

#define AS_FILE VKM_DTYPE_COUNT
#define F32 VKM_DTYPE_F32
#define Q8 VKM_DTYPE_Q8
#define Q4 VKM_DTYPE_Q4

/* Embeddings are looked up, not multiplied, and a head tied to them is the same matrix, so both
 * stay exact; routers decide which experts run, and norms are small. The head is read whole for
 * every token and weighs on every logit: Q8 in both. */
/* clang-format off: a table */
static const enum vkm_dtype policy[VKMOE_PART_COUNT][VKMOE_WEIGHTS_COUNT] = {
    /*                             as stored  Q8       Q4 */
    [VKMOE_PART_EMBEDDINGS] = {AS_FILE, AS_FILE, AS_FILE},
    [VKMOE_PART_ATTENTION] = {AS_FILE, Q8, Q4},
    [VKMOE_PART_NORMS] = {F32, F32, F32}, /* and biases */
    [VKMOE_PART_DENSE_FFN] = {AS_FILE, Q8, Q4},
    [VKMOE_PART_ROUTERS] = {F32, F32, F32},
    [VKMOE_PART_SHARED_EXPERTS] = {AS_FILE, Q8, Q4},
    [VKMOE_PART_ROUTED_EXPERTS] = {AS_FILE, Q8, Q4},
    [VKMOE_PART_HEAD] = {AS_FILE, Q8, Q8},
};
/* clang-format on */

enum vkm_dtype vkm_weights_dtype(vkmoe_part part, vkmoe_weights weights, enum vkm_dtype file)
{
    enum vkm_dtype dtype = policy[part][weights];
    return dtype == AS_FILE ? file : dtype;
}

struct vkm_widened vkm_weights_widened(const struct vkm_weights *w)
{
    struct vkm_widened sum = {0};
    for (size_t i = 0; i < w->pieces.count; i++) {
        const struct vkm_piece *p = &w->pieces.items[i];
        if (!p->source->blocks || vkm_dtype_is_quantised(p->dtype))
            continue;
        sum.bytes += p->target.size;
        sum.file_bytes += p->source->size;
    }
    return sum;
}
