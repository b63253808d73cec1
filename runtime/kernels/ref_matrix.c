/* Products of a weight matrix with rows of activations. */
#include "kernels/ref.h"

struct product {
    const void *w;
    const float *x, *bias;
    float *y;
    size_t k_ld, n_out, n_rows, y_ld;
    bool add; /* to what y holds */
};

static void product(const struct vkm_ref *ref, const struct product *p)
{
    for (size_t r = 0; r < p->n_rows; r++) {
        float *y = p->y + r * p->y_ld;
        for (size_t o = 0; o < p->n_out; o++) {
            double sum = vkm_ref_dot(ref, p->w, o, p->k_ld, p->x + r * p->k_ld, p->k_ld);
            if (p->bias)
                sum += vkm_ref_f32(ref, p->bias, o);
            if (p->add)
                sum += vkm_ref_f32(ref, y, o);
            y[o] = (float)sum;
        }
        if (!p->add)
            vkm_ref_pad(y, p->n_out, p->y_ld);
    }
}

/* The tiled and the row-blocked kernels compute the same. */
#define PRODUCT(name, adds)                                                                        \
    void vkm_ref_##name(const struct vkm_ref *ref, const void *params)                             \
    {                                                                                              \
        const struct vkm_params_##name *p = params;                                                \
        product(ref, &(struct product){                                                            \
                         .w = vkm_ref_in(ref, &p->w),                                              \
                         .x = vkm_ref_in(ref, &p->x),                                              \
                         .bias = p->use_bias ? vkm_ref_in(ref, &p->bias) : NULL,                   \
                         .y = vkm_ref_out(ref, &p->y),                                             \
                         .k_ld = p->k_ld,                                                          \
                         .n_out = p->n_out,                                                        \
                         .n_rows = p->n_rows,                                                      \
                         .y_ld = p->y_ld,                                                          \
                         .add = adds,                                                              \
                     });                                                                           \
    }

PRODUCT(gemv, false)
PRODUCT(gemv_add, true)
PRODUCT(gemm, false)
PRODUCT(gemm_add, true)
