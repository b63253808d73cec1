#include "engine/sampling.h"

#include <float.h>
#include <math.h>

bool vkm_sampling_penalises(const vkmoe_sampling *s)
{
    return s->repeat_penalty > 0 && s->repeat_penalty != 1;
}

bool vkm_sampling_cuts(const vkmoe_sampling *s)
{
    return s->temperature > 0 && (s->top_k > 0 || (s->top_p > 0 && s->top_p < 1) || s->min_p > 0);
}

vkmoe_status vkm_sampling_check(const vkmoe_sampling *s, vkmoe_error *err)
{
    const struct {
        const char *name;
        float value, low;
    } fields[] = {
        {"repeat_penalty", s->repeat_penalty, 0},
        {"temperature", s->temperature, -FLT_MAX},
        {"top_p", s->top_p, 0},
        {"min_p", s->min_p, 0},
    };
    for (size_t i = 0; i < VKM_COUNT(fields); i++) {
        if (!(fields[i].value >= fields[i].low && fields[i].value <= FLT_MAX))
            return vkm_fail(err, VKMOE_INVALID_ARGUMENT, "sampling: a %s of %g cannot be used",
                            fields[i].name, (double)fields[i].value);
    }
    return VKMOE_OK;
}

struct vkm_sampler vkm_sampling_lower(const vkmoe_sampling *s)
{
    struct vkm_sampler sampler = {
        .inverse_temperature =
            s->temperature > 0 ? fmaxf(fminf(1.0f / s->temperature, FLT_MAX), FLT_MIN) : 0,
        .seed_low = (uint32_t)s->seed,
        .seed_high = (uint32_t)(s->seed >> 32),
        .top_k = s->top_k,
        .min_p_distance = FLT_MAX,
        .repeat_penalty = s->repeat_penalty,
        .repeat_last = s->repeat_last ? s->repeat_last : VKMOE_DEFAULT_REPEAT_LAST,
    };
    if (s->top_p > 0 && s->top_p < 1)
        sampler.top_p = (uint32_t)fmin(ceil((double)s->top_p * 0x1p32), (double)UINT32_MAX);
    /* p >= min_p p_max, in logits */
    if (s->min_p > 0)
        sampler.min_p_distance =
            (float)fmin(fmax(-log((double)s->min_p), 0) * (double)s->temperature, (double)FLT_MAX);
    return sampler;
}
