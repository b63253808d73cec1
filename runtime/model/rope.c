#include "model/rope.h"

#include <math.h>

#include "../../shaders/params.h"

uint32_t vkm_rope_high_count(uint32_t context)
{
    return vkm_ceil_div(context, VKM_ROPE_SPLIT);
}

static double rope_base(const struct vkm_config *c, uint32_t context)
{
    double base = c->rope_theta, dim = c->head_dim;
    if (c->rope_scaling == VKM_ROPE_DYNAMIC && context > c->max_position_embeddings && dim > 2) {
        double stretch =
            c->rope_factor * context / c->max_position_embeddings - (c->rope_factor - 1);
        base *= pow(stretch, dim / (dim - 2));
    }
    return base;
}

void vkm_rope_tables(const struct vkm_config *config, uint32_t context, float *low, float *high)
{
    uint32_t half = config->head_dim / 2;
    double base = rope_base(config, context);
    double scale = config->rope_scaling == VKM_ROPE_LINEAR ? 1 / config->rope_factor : 1;
    for (uint32_t i = 0; i < half; i++) {
        double frequency = scale * pow(base, -2.0 * i / config->head_dim);
        for (uint32_t p = 0; p < VKM_ROPE_SPLIT; p++) {
            low[2 * (p * half + i)] = (float)cos(p * frequency);
            low[2 * (p * half + i) + 1] = (float)sin(p * frequency);
        }
        for (uint32_t p = 0; p < vkm_rope_high_count(context); p++) {
            double angle = (double)p * VKM_ROPE_SPLIT * frequency;
            high[2 * (p * half + i)] = (float)cos(angle);
            high[2 * (p * half + i) + 1] = (float)sin(angle);
        }
    }
}
