/* The cross entropy of a known token, as params.h has it. One workgroup per row, lanes along the row.
 * The likeliest token is left out of the sum, so that a loss near zero keeps its digits. */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "lib/mem.glsl"
#include "lib/math.glsl"
#include "lib/reduce.glsl"

/* ln(1 + x) for x >= 0: below 1 by the series of 2 artanh(x / (2 + x)), as log() of the driver's may be
 * wrong by 2^-21 near 1. */
float log1p(float x)
{
    if (x >= 1.0)
        return log(1.0 + x);
    float z = x / (2.0 + x);
    float s = z * z;
    float sum = 0.0;
    for (float n = 13.0; n > 0.0; n -= 2.0)
        sum = fma(sum, s, 1.0 / n);
    return 2.0 * z * sum;
}

void main()
{
    uint row = gl_WorkGroupID.y;
    uvec2 logits = addr_row(p.logits, row, p.ld * 4u);
    uint target = ld_u32(p.targets, row);
    uint key = 0u;
    uint at = p.vocab;
    for (uint i = gl_LocalInvocationID.x; i < p.vocab; i += gl_WorkGroupSize.x) {
        uint other = order_key(ld_f32(logits, i));
        if (other > key) {
            key = other;
            at = i;
        }
    }
    uint best = group_max(key);
    at = group_min(key == best ? at : p.vocab);
    float largest = from_order_key(best);
    float others = 0.0;
    for (uint i = gl_LocalInvocationID.x; i < p.vocab; i += gl_WorkGroupSize.x)
        others += i == at ? 0.0 : exp_below(ld_f32(logits, i), largest, 1.0);
    others = group_sum(others);
    if (gl_LocalInvocationID.x == 0u) {
        float loss = 0.0;
        if (target < p.vocab) {
            float logit = ld_f32(logits, target);
            float distance = largest - clamp(logit, -VKM_FLT_MAX, VKM_FLT_MAX);
            loss = is_nan(logit) ? uintBitsToFloat(0x7fc00000u)
                                 : min(distance, VKM_FLT_MAX) + log1p(others);
        }
        st_f32(p.loss, row, loss);
    }
}
